//! Signals as values to wait for.
//!
//! The handlers are installed by [`Stops::listen`] and [`Reloads::listen`], so that a signal that arrives while the
//! daemon is still starting is kept and not fatal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to stop: SIGTERM and SIGINT (Ctrl-C), counted together.
#[derive(Debug)]
pub struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    /// Installs the handlers. Must be called inside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next request and names its signal. The first call answers the first signal (drain), the second
    /// call the second one (abort).
    ///
    /// Cancel safe: a signal is never lost by dropping the future.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Requests to read the configuration again: SIGHUP. Several that arrive before the next wait count as one.
#[derive(Debug)]
pub struct Reloads {
    hangup: Signal,
}

impl Reloads {
    /// Installs the handler. Must be called inside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    /// Waits for the next request. Cancel safe.
    pub async fn next(&mut self) {
        self.hangup.recv().await;
    }
}

impl futures::Stream for Reloads {
    type Item = ();

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<()>> {
        self.hangup.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn send_to_self(name: &str) {
        let status = Command::new("kill").args([name, &std::process::id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    #[tokio::test]
    async fn the_first_and_the_second_stop_are_told_apart() {
        let mut stops = Stops::listen().unwrap();
        send_to_self("-TERM");
        assert_eq!(stops.next().await, "SIGTERM");
        send_to_self("-INT");
        assert_eq!(stops.next().await, "SIGINT");
    }

    #[tokio::test]
    async fn a_hangup_asks_for_a_reload_each_time() {
        let mut reloads = Reloads::listen().unwrap();
        for _ in 0..2 {
            send_to_self("-HUP");
            reloads.next().await;
        }
    }
}
