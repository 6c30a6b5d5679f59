//! Stops a run: asks its process by a signal, waits, then kills.
//!
//! Output is read all the while by the run's own task, or a process that is blocked on a full pipe would never see the
//! request.

use std::time::Duration;

use bollard::query_parameters::KillContainerOptionsBuilder;

use crate::engine;
use crate::execution::{Live, Stage};
use crate::{SandboxError, SandboxErrorCode};

/// Names of the signals that end or tell a process something, as the engine takes them.
const SIGNALS: [&str; 11] = [
    "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGABRT", "SIGALRM",
    "SIGCONT", "SIGWINCH",
];

/// How long that look may take.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// A signal that the engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(&'static str);

impl Signal {
    /// `SIGTERM`, `TERM` or `sigterm`.
    ///
    /// # Errors
    /// `INVALID_REQUEST`.
    pub(crate) fn parse(text: &str) -> Result<Self, SandboxError> {
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        let known = SIGNALS.into_iter().find(|name| name.strip_prefix("SIG") == Some(short));
        known
            .map(Self)
            .ok_or_else(|| SandboxError::invalid("signal", format!("one of {}", SIGNALS.join(", "))))
    }
}

/// Ends a run gently. Returns when it has ended.
pub(crate) async fn stop(live: &Live, signal: &Signal, grace: Duration) -> Result<(), SandboxError> {
    if live.stage() == Stage::Ended {
        return Err(SandboxError::new(SandboxErrorCode::RunEnded, "the run has ended already"));
    }
    live.note_stop();
    // Of a run that another process began it takes a look at the engine to know that it runs.
    drop(tokio::time::timeout(FIRST_LOOK, live.seen()).await);
    if grace.is_zero() || tokio::time::timeout(grace, gently(live, signal)).await.is_err() {
        live.cancel();
        drop(live.verdict().await);
    }
    Ok(())
}

async fn gently(live: &Live, signal: &Signal) {
    // The engine may say that it runs before it has answered who started it.
    if live.stage() == Stage::Starting {
        live.begun().await;
    }
    // What does not run yet cannot be asked.
    if live.stage() < Stage::Running {
        live.cancel();
    } else if !live.is_killed() {
        ask(live, signal).await;
    }
    drop(live.verdict().await);
}

/// A refusal means that it has ended, or that the kill after the grace must do.
async fn ask(live: &Live, signal: &Signal) {
    let options = KillContainerOptionsBuilder::default().signal(signal.0).build();
    let asked = async {
        let docker = live.engine.docker().await?;
        let sent = docker.kill_container(live.id.as_str(), Some(options)).await;
        sent.map_err(|error| engine::failed(SandboxErrorCode::EngineFailed, "kill", error))
    };
    if let Err(error) = asked.await {
        tracing::debug!(run = %live.id, %error, "the signal was not delivered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_its_long_and_short_name() {
        for text in ["SIGTERM", "TERM", "term", "SigTerm"] {
            assert_eq!(Signal::parse(text).unwrap(), Signal("SIGTERM"), "{text}");
        }
        for text in ["", "SIG", "SIGNOPE", "15; rm", "SIGSTOP"] {
            assert_eq!(Signal::parse(text).unwrap_err().code(), SandboxErrorCode::InvalidRequest, "{text}");
        }
    }
}
