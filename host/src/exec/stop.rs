//! How a process is stopped: asked, waited for, killed. Only the states; whoever holds one sends the signals.

use tokio::time::{Duration, Instant};

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Please end.
    Terminate,
    /// End.
    Kill,
}

/// How far stopping has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    grace: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has asked it to end.
    Running,
    /// It was asked, and may take until then.
    Asked { until: Instant },
    /// It was killed; there is nothing more to send.
    Killed,
}

impl Stop {
    /// Nobody has asked yet; once asked it may take `grace`.
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, state: State::Running }
    }

    /// Somebody wants it to end. Asked again, it gets no more time.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<Signal> {
        match self.state {
            State::Running if self.grace.is_zero() => self.kill(),
            State::Running => {
                self.state = State::Asked { until: now + self.grace };
                Some(Signal::Terminate)
            }
            State::Asked { .. } => self.kill(),
            State::Killed => None,
        }
    }

    /// Time has passed.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Signal> {
        match self.state {
            State::Asked { until } if now >= until => self.kill(),
            State::Running | State::Asked { .. } | State::Killed => None,
        }
    }

    /// When to look again.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self.state {
            State::Asked { until } => Some(until),
            State::Running | State::Killed => None,
        }
    }

    fn kill(&mut self) -> Option<Signal> {
        self.state = State::Killed;
        Some(Signal::Kill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn what_ends_alone_is_sent_nothing() {
        let mut stop = Stop::new(GRACE);
        assert_eq!((stop.look(Instant::now() + 10 * GRACE), stop.until()), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_its_grace_is_only_asked() {
        let mut stop = Stop::new(GRACE);
        let now = Instant::now();
        assert_eq!(stop.ask(now), Some(Signal::Terminate));
        assert_eq!(stop.until(), Some(now + GRACE));
        assert_eq!(stop.look(now + GRACE / 2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_heed_is_killed_once() {
        let mut stop = Stop::new(GRACE);
        let now = Instant::now();
        stop.ask(now);
        assert_eq!(stop.look(now + GRACE), Some(Signal::Kill));
        assert_eq!((stop.look(now + 2 * GRACE), stop.ask(now + 2 * GRACE), stop.until()), (None, None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn asking_again_skips_the_grace() {
        let mut stop = Stop::new(GRACE);
        let now = Instant::now();
        stop.ask(now);
        assert_eq!(stop.ask(now), Some(Signal::Kill));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_grace_it_is_killed_at_once() {
        assert_eq!(Stop::new(Duration::ZERO).ask(Instant::now()), Some(Signal::Kill));
    }
}
