//! An opened source, and how it is asked.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use protocol::{
    AggregateOptions, BatchReadOptions, CountOptions, JobKind, PoolUse, QueryOptions, ReadOptions,
    SearchOptions, SimilarOptions, Tail,
};

use crate::{BridgeError, RowBatch, TargetSchema};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Rows on their way. Dropping it cancels the query at the server and gives the connection back.
pub type RowStream = Box<dyn Rows>;

/// An opened source. Many jobs use it at once; it bounds its own connections and waits for one no longer than the call's
/// deadline. Dropping any future or row stream of it cancels that work at the server.
pub trait Bridge: Send + Sync {
    /// Proves that the database answers.
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>>;

    /// Rows by filter, order, limit and offset, or by key.
    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>>;

    /// One page of a full scan in the order of the primary key.
    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>>;

    /// Rows by keys.
    fn batch_read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        self.query(call, target, options.into())
    }

    /// How many rows match.
    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>>;

    /// Buckets, each a row `{"dims":{…},"measures":{…},"count":n}`.
    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>>;

    /// The targets, sorted by name.
    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>>;

    /// The columns of one target.
    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>>;

    /// Rows ranked by text, best first, each with [`protocol::SCORE`]; the tail says by which method. Rows of equal score
    /// come in the order of the primary key.
    fn search<'a>(
        &'a self,
        _call: &'a Call,
        _target: &'a str,
        _options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(std::future::ready(Err(self.unsupported(&JobKind::Search))))
    }

    /// Rows ranked by the distance of vectors, nearest first, each with [`protocol::SCORE`]. A server without a vector
    /// type refuses, as this does.
    fn similar<'a>(
        &'a self,
        _call: &'a Call,
        _target: &'a str,
        _options: SimilarOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(std::future::ready(Err(self.unsupported(&JobKind::Similar))))
    }

    /// Package name of the driver that made this.
    fn driver_name(&self) -> &str;

    /// Connections now.
    fn pool_use(&self) -> PoolUse;

    /// Closes every connection. Jobs that still run fail.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// The refusal of a job kind.
    fn unsupported(&self, kind: &JobKind) -> BridgeError {
        BridgeError::UnsupportedKind { what: kind.to_string(), bridge: self.driver_name().to_owned() }
    }
}

/// A cursor that is pulled. Back-pressure is not pulling.
pub trait Rows: Send {
    /// The next batch of at least one row, or nothing after the last.
    ///
    /// A batch holds about `room` bytes at the most, but always at least one row. A bridge does not hold rows back to
    /// fill a batch: once it has a row it waits no longer than [`Call::LINGER`] for more.
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>>;

    /// Cursor and total, once [`next`](Rows::next) has returned nothing.
    fn tail(&self) -> Tail {
        Tail::default()
    }
}

/// Limits of one call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When the work must have ended. Bridges hand it to the database as a statement timeout too, so that the statement
    /// ends even when the runner does not.
    pub deadline: Instant,
    /// A row above so many bytes fails the job.
    pub row_limit: usize,
}

impl Call {
    /// How long a batch with rows in it waits for more.
    pub const LINGER: Duration = Duration::from_millis(5);

    /// A call that may take `limit`, with the default row limit.
    pub fn within(limit: Duration) -> Self {
        let now = Instant::now();
        Self { deadline: now.checked_add(limit).unwrap_or(now), row_limit: protocol::ROW_LIMIT_BYTES }
    }

    /// What is left.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What is left in milliseconds, for a timeout that a session keeps. Rounded up, to tenths of a second below one and
    /// to seconds above, so that calls with the same limit give equal values, which need not be told again. The exact
    /// deadline is kept on this side.
    pub fn timeout_ms(&self) -> u32 {
        let left = u32::try_from(self.remaining().as_millis()).unwrap_or(u32::MAX).max(1);
        let step = if left <= 1_000 { 100 } else { 1_000 };
        left.div_ceil(step).saturating_mul(step)
    }
}

/// How many rows match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Rows.
    pub total: u64,
    /// Whether that is an estimate.
    pub approximate: bool,
}

/// A stream of rows that are already there.
pub fn answer_rows(batches: Vec<RowBatch>, tail: Tail) -> RowStream {
    Box::new(Answer { batches: batches.into_iter(), tail })
}

struct Answer {
    batches: std::vec::IntoIter<RowBatch>,
    tail: Tail,
}

impl Rows for Answer {
    fn next(&mut self, _room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(std::future::ready(Ok(self.batches.next())))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_limits_give_equal_timeouts() {
        let timeout = |ms| Call::within(Duration::from_millis(ms)).timeout_ms();
        assert_eq!(timeout(29_990), 30_000);
        assert_eq!(timeout(30_000), 30_000);
        assert_eq!(timeout(950), 1_000);
        assert_eq!(timeout(0), 100);
    }
}
