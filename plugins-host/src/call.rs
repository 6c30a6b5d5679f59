//! The job that a guest is working for: how long it may take, and whether anybody still wants its answer.

use std::future::Future;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// Why waiting for something was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Ended {
    /// The caller has gone.
    #[error("the job was cancelled")]
    Cancelled,
    /// The deadline passed.
    #[error("the job's deadline passed")]
    TimedOut,
}

/// Limits of one job, as every wait on its behalf sees them. Clones are the same job.
#[derive(Debug, Clone)]
pub(crate) struct CallState {
    deadline: Instant,
    row_limit: usize,
    cancel: CancellationToken,
}

impl CallState {
    /// A job with the limits of `call`, not cancelled.
    pub(crate) fn new(call: &bridge_core::Call) -> Self {
        Self { deadline: call.deadline, row_limit: call.row_limit, cancel: CancellationToken::new() }
    }

    /// The same, cancelled together with `parent`, too.
    pub(crate) fn below(call: &bridge_core::Call, parent: &CancellationToken) -> Self {
        Self { cancel: parent.child_token(), ..Self::new(call) }
    }

    /// Work that no caller waits for, such as tidying up.
    pub(crate) fn within(limit: Duration) -> Self {
        Self::new(&bridge_core::Call::within(limit))
    }

    /// What is left.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The largest row that is taken, in bytes of JSON.
    pub(crate) fn row_limit(&self) -> usize {
        self.row_limit
    }

    /// Whether the caller has gone.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Says that the caller has gone.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits until the caller has gone or the deadline has passed.
    pub(crate) async fn ended(&self) -> Ended {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Ended::Cancelled,
            () = tokio::time::sleep_until(self.deadline.into()) => Ended::TimedOut,
        }
    }

    /// Runs `work` until it ends, the job is cancelled or its deadline passes. What is given up is dropped.
    pub(crate) async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        if self.is_cancelled() {
            return Err(Ended::Cancelled);
        }
        tokio::select! {
            biased;
            done = work => Ok(done),
            ended = self.ended() => Err(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn work_ends_with_its_job() {
        let call = CallState::within(Duration::from_secs(60));
        assert_eq!(call.bounded(async { 7 }).await, Ok(7));
        let other = call.clone();
        let (waited, ()) = tokio::join!(call.bounded(pending::<()>()), async { other.cancel() });
        assert_eq!(waited, Err(Ended::Cancelled));
        assert_eq!(call.bounded(async { 7 }).await, Err(Ended::Cancelled), "nothing new begins");
    }

    #[tokio::test]
    async fn work_ends_at_the_deadline() {
        let call = CallState::within(Duration::from_millis(20));
        assert_eq!(call.bounded(pending::<()>()).await, Err(Ended::TimedOut));
        assert_eq!(call.remaining(), Duration::ZERO);
    }
}
