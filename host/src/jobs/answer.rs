//! What a job sends: chunks through its lane, each paid for with credit.

use std::sync::Arc;

use protocol::{Chunk, Tail};
use tokio::sync::mpsc;

use crate::error::Failure;
use crate::flow::Window;
use crate::metrics::Metrics;

/// A job's way to the gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    id: Arc<str>,
    lane: mpsc::Sender<String>,
    window: Arc<Window>,
    metrics: Arc<Metrics>,
    /// The next chunk's number, where the gateway wants them numbered.
    seq: Option<u64>,
    buckets: bool,
    count: u64,
}

impl Answer {
    /// A way through `lane`, as wide as `window`.
    pub(crate) fn new(
        id: Arc<str>,
        lane: mpsc::Sender<String>,
        window: Arc<Window>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { id, lane, window, metrics, seq: None, buckets: false, count: 0 }
    }

    /// The same with numbered chunks (`resume/1`).
    #[must_use]
    pub(crate) fn numbered(mut self, numbered: bool) -> Self {
        self.seq = numbered.then_some(0);
        self
    }

    /// The same for rows that are an aggregate's buckets.
    #[must_use]
    pub(crate) fn of_buckets(mut self, buckets: bool) -> Self {
        self.buckets = buckets;
        self
    }

    /// Rows or buckets sent so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes of rows may be sent now; 0 when there is no credit.
    pub(super) fn room(&self) -> usize {
        self.window.room()
    }

    /// Sends rows after which more will come.
    pub(super) async fn rows(&mut self, rows: &str, count: u64) -> Result<(), Failure> {
        self.chunk(rows, count, None).await
    }

    /// Sends the last rows with what is known at the end. Nothing is sent when there are neither.
    pub(super) async fn end(&mut self, rows: &str, count: u64, tail: &Tail) -> Result<(), Failure> {
        match (count, tail.is_empty()) {
            (0, true) => Ok(()),
            (_, true) => self.chunk(rows, count, None).await,
            (_, false) => self.chunk(rows, count, Some(tail)).await,
        }
    }

    async fn chunk(&mut self, rows: &str, count: u64, tail: Option<&Tail>) -> Result<(), Failure> {
        if count > 0 {
            self.pay(rows.len()).await;
        }
        let chunk = Chunk { id: &self.id, rows, buckets: self.buckets, seq: self.seq, tail };
        // A lane without a receiver means that the socket is gone, and with it everyone who wanted the rows.
        self.lane.send(chunk.encode()).await.map_err(|_| Failure::Cancelled)?;
        self.seq = self.seq.map(|seq| seq + 1);
        self.count += count;
        self.metrics.sent(count, rows.len());
        Ok(())
    }

    /// Waits for credit, and takes it.
    async fn pay(&self, bytes: usize) {
        if let Some(stalled) = self.window.pay(bytes).await {
            self.metrics.stalled(stalled);
        }
    }
}
