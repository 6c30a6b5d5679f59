use std::time::Duration;

use tokio::time::Instant;

/// Between two tries at the most, however often running jobs have taken too long.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// When a socket gives way to another one, on which the gateway hears of other bridges.
///
/// A moment without jobs is best. Under a load that never has one, new jobs are refused after a while, as when the runner
/// stops, and the running ones finish. Those that take longer than a stop would let them are not worth refusing all others
/// for: jobs are taken again, and the next try comes later.
#[derive(Debug)]
pub(super) struct Renewal {
    wait: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The gateway knows every bridge.
    NotNeeded,
    /// A moment without jobs is waited for.
    Needed { until: Instant },
    /// Jobs are refused.
    Refusing { until: Instant },
}

/// What has just changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// New jobs are refused from now on.
    Refuse,
    /// They are taken again.
    TakeAgain,
}

impl Renewal {
    /// None is needed yet; one that is waits so long for a moment without jobs.
    pub(super) fn new(wait: Duration) -> Self {
        Self { wait, state: State::NotNeeded }
    }

    /// Other bridges are there than the gateway knows of, or, again, just those.
    pub(super) fn need(&mut self, needed: bool, now: Instant) {
        self.state = match (needed, self.state) {
            (true, State::NotNeeded) => State::Needed { until: now + self.wait },
            (false, State::Needed { .. }) => State::NotNeeded,
            // A socket that has begun to leave does so: a new `hello` is never wrong.
            (_, state) => state,
        };
    }

    /// Whether another socket is wanted.
    pub(super) fn is_needed(&self) -> bool {
        self.state != State::NotNeeded
    }

    /// Whether new jobs are refused.
    pub(super) fn refuses(&self) -> bool {
        matches!(self.state, State::Refusing { .. })
    }

    /// Looks whether a time has come. Running jobs get `grace` to finish.
    pub(super) fn look(&mut self, now: Instant, is_idle: bool, grace: Duration) -> Option<Turn> {
        match self.state {
            State::Needed { until } if is_idle || now >= until => {
                self.state = State::Refusing { until: now + grace };
                Some(Turn::Refuse)
            }
            State::Refusing { until } if !is_idle && now >= until => {
                self.wait = self.wait.saturating_mul(2).min(LONGEST_WAIT);
                self.state = State::Needed { until: now + self.wait };
                Some(Turn::TakeAgain)
            }
            State::NotNeeded | State::Needed { .. } | State::Refusing { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GRACE: Duration = Duration::from_secs(30);

    #[test]
    fn a_moment_without_jobs_is_taken_at_once() {
        let now = Instant::now();
        let mut renewal = Renewal::new(10 * SECOND);
        assert_eq!(renewal.look(now, true, GRACE), None, "nothing is needed");
        renewal.need(true, now);
        assert_eq!(renewal.look(now + SECOND, false, GRACE), None);
        assert_eq!(renewal.look(now + 2 * SECOND, true, GRACE), Some(Turn::Refuse));
        assert!(renewal.refuses());
    }

    #[test]
    fn without_such_a_moment_new_jobs_are_refused_after_the_wait() {
        let now = Instant::now();
        let mut renewal = Renewal::new(10 * SECOND);
        renewal.need(true, now);
        renewal.need(true, now + 9 * SECOND);
        assert_eq!(renewal.look(now + 9 * SECOND, false, GRACE), None);
        assert_eq!(
            renewal.look(now + 10 * SECOND, false, GRACE),
            Some(Turn::Refuse),
            "counted from the first need"
        );
        assert_eq!(renewal.look(now + 39 * SECOND, false, GRACE), None, "what runs finishes");
    }

    #[test]
    fn jobs_that_run_too_long_put_it_off_and_each_time_for_longer() {
        let mut now = Instant::now();
        let mut renewal = Renewal::new(10 * SECOND);
        renewal.need(true, now);
        for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
            assert_eq!(renewal.look(now + (wait - 1) * SECOND, false, GRACE), None);
            now += wait * SECOND;
            assert_eq!(renewal.look(now, false, GRACE), Some(Turn::Refuse));
            now += GRACE;
            assert_eq!(renewal.look(now, false, GRACE), Some(Turn::TakeAgain));
            assert!(renewal.is_needed() && !renewal.refuses());
        }
    }

    #[test]
    fn bridges_that_are_as_they_were_end_the_need_but_not_a_farewell() {
        let now = Instant::now();
        let mut renewal = Renewal::new(10 * SECOND);
        renewal.need(true, now);
        renewal.need(false, now);
        assert_eq!(renewal.look(now + 20 * SECOND, true, GRACE), None);
        renewal.need(true, now);
        assert_eq!(renewal.look(now, true, GRACE), Some(Turn::Refuse));
        renewal.need(false, now);
        assert!(renewal.refuses());
    }
}
