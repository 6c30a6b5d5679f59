use std::sync::atomic::{AtomicI64, Ordering};

use protocol::CHUNK_BYTES;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

/// How many bytes of row payload a job may still send (`flow/1`).
///
/// Rows are sent while there is any credit, and read one batch ahead at the most, so a caller that stops reading stops the
/// cursor. A row may be larger than what is left: it is sent whole and the balance goes below zero, because a window
/// smaller than a row would otherwise never open.
#[derive(Debug)]
pub(crate) struct Window {
    /// `None` without `flow/1`, or when the gateway set no credit: the bounded lane and TCP hold the job back.
    balance: Option<AtomicI64>,
    more: Notify,
}

impl Window {
    /// No limit.
    pub(crate) fn unlimited() -> Self {
        Self { balance: None, more: Notify::new() }
    }

    /// A window of `bytes`.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { balance: Some(AtomicI64::new(signed(bytes))), more: Notify::new() }
    }

    /// How many bytes may be sent now, a chunk at the most; 0 when the job must wait.
    pub(crate) fn room(&self) -> usize {
        let Some(balance) = &self.balance else { return CHUNK_BYTES };
        usize::try_from(balance.load(Ordering::Acquire)).unwrap_or(0).min(CHUNK_BYTES)
    }

    /// Takes what is sent.
    fn take(&self, bytes: usize) {
        if let Some(balance) = &self.balance {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            balance.fetch_sub(bytes, Ordering::AcqRel);
        }
    }

    /// The gateway grants more. Hostile amounts saturate.
    pub(crate) fn add(&self, bytes: u64) {
        if let Some(balance) = &self.balance {
            let grown = |balance: i64| Some(balance.saturating_add(signed(bytes)));
            // The closure always answers, so the update cannot fail.
            let _always = balance.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown);
            self.more.notify_one();
        }
    }

    /// Waits for credit and takes it; answers how long that took, where it had to wait.
    pub(crate) async fn pay(&self, bytes: usize) -> Option<Duration> {
        let waited = if self.room() == 0 {
            let asked = Instant::now();
            self.opened().await;
            Some(asked.elapsed())
        } else {
            None
        };
        self.take(bytes);
        waited
    }

    /// Waits until there is room.
    async fn opened(&self) {
        while self.room() == 0 {
            self.more.notified().await;
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_window_without_credit_is_as_wide_as_a_chunk() {
        let window = Window::unlimited();
        window.take(10 * CHUNK_BYTES);
        assert_eq!(window.room(), CHUNK_BYTES);
    }

    #[test]
    fn a_row_larger_than_the_window_leaves_a_debt_that_credit_pays_first() {
        let window = Window::of(100);
        assert_eq!(window.room(), 100);
        window.take(250);
        assert_eq!(window.room(), 0);
        window.add(150);
        assert_eq!(window.room(), 0);
        window.add(10);
        assert_eq!(window.room(), 10);
    }

    #[tokio::test]
    async fn a_waiting_job_wakes_when_credit_comes() {
        let window = Window::of(0);
        let mut opened = Box::pin(window.opened());
        assert_eq!(opened.as_mut().now_or_never(), None);
        window.add(7);
        opened.await;
        assert_eq!(window.room(), 7);
    }

    #[test]
    fn absurd_credit_does_not_overflow() {
        let window = Window::of(u64::MAX);
        window.add(u64::MAX);
        assert_eq!(window.room(), CHUNK_BYTES);
    }
}
