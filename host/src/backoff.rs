use std::time::Duration;

/// How long to wait before the next attempt to connect: full jitter under a ceiling that doubles with each failure.
///
/// The count of failures goes back to nothing only after a session that lasted, not on connect: a gateway that accepts
/// and drops at once must not be hammered.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    healthy: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait is up to `base`, no wait is above `cap`, and a session of at least `healthy` starts anew.
    pub fn new(base: Duration, cap: Duration, healthy: Duration) -> Self {
        Self { base, cap, healthy, failures: 0 }
    }

    /// Notes how long the session lasted that has just ended; zero for an attempt that failed.
    pub fn ended(&mut self, lasted: Duration) {
        self.failures = if lasted >= self.healthy { 0 } else { self.failures.saturating_add(1) };
    }

    /// The next wait; `random` is evenly distributed over 0 to `u64::MAX`.
    pub fn wait(&self, random: u64) -> Duration {
        let ceiling = self.ceiling().as_micros();
        // A product of two 64-bit numbers fits into 128 bits, and the quotient is at most the ceiling.
        let micros = ceiling.min(u128::from(u64::MAX)).saturating_mul(u128::from(random)) >> 64;
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn ceiling(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(60))
    }

    fn longest(backoff: &Backoff) -> u128 {
        backoff.wait(u64::MAX).as_millis() + 1
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let mut backoff = backoff();
        let ceilings: Vec<_> = (0..7)
            .map(|_| {
                backoff.ended(Duration::ZERO);
                longest(&backoff) / 1_000
            })
            .collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn the_wait_is_anywhere_below_the_ceiling() {
        let mut backoff = backoff();
        backoff.ended(Duration::ZERO);
        assert_eq!(backoff.wait(0), Duration::ZERO);
        assert_eq!(backoff.wait(u64::MAX / 2).as_millis(), 499);
    }

    #[test]
    fn only_a_session_that_lasted_starts_anew() {
        let mut backoff = backoff();
        for _ in 0..4 {
            backoff.ended(Duration::from_secs(59));
        }
        assert_eq!(longest(&backoff), 8_000);
        backoff.ended(Duration::from_secs(60));
        assert_eq!(longest(&backoff), 1_000);
    }

    #[test]
    fn thousands_of_failures_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX, ..backoff() };
        backoff.ended(Duration::ZERO);
        assert_eq!(longest(&backoff), 30_000);
    }
}
