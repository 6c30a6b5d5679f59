//! Rows as they are read: none is kept.

use bridge_core::{BoxFuture, BridgeError, RowBatch, Rows};
use protocol::Tail;

use super::Reader;
use super::feed::{Cut, Feed};
use super::selection::{Place, Selection};
use super::sight::Sight;
use crate::ReduceError;
use crate::layout::{Layout, Schema};
use crate::matcher::Matcher;

/// The rows of a query without an order.
pub(super) struct Stream<R> {
    feed: Option<Feed<R>>,
    /// The batch that is being looked at.
    cut: Cut,
    sieve: Sieve,
    tail: Tail,
}

/// Which rows are shown, and how.
struct Sieve {
    sight: Sight,
    matcher: Option<Matcher>,
    /// Rows to pass over first.
    skip: u64,
    /// Rows that may still be shown.
    left: Option<u64>,
    paged: bool,
    /// Whether there is a row after the last that is shown.
    more: bool,
    /// Rows up to the last that is shown, those of the pages before included.
    behind: u64,
    /// How many rows match, where that is wanted.
    total: Option<u64>,
}

impl<R: Reader> Stream<R> {
    pub(super) fn new(feed: Feed<R>, schema: Schema, selection: Selection, row_limit: usize) -> Self {
        let mut layout = Layout::new(schema);
        let filter = &selection.filter;
        let matcher = (!filter.is_everything()).then(|| Matcher::new(filter, &mut layout));
        let skip = selection.behind();
        let sieve = Sieve {
            sight: Sight::new(layout, &selection.projection, row_limit),
            matcher,
            skip,
            left: selection.limit,
            paged: selection.paged,
            more: false,
            behind: skip,
            total: selection.total.then_some(0),
        };
        Self { feed: Some(feed), cut: Cut::default(), sieve, tail: Tail::default() }
    }

    async fn next_or_nothing(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        let batch = self.next_batch(room).await;
        if batch.is_err() {
            // Nothing follows an error.
            self.feed = None;
        }
        batch
    }

    async fn next_batch(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        let mut out = RowBatch::default();
        loop {
            let Some(feed) = &mut self.feed else { return Ok(None) };
            self.sieve.sift(&mut self.cut, room, &mut out).map_err(|error| feed.blamed(error))?;
            // What was found leaves at once: nobody knows how long the next rows take.
            if out.count > 0 {
                return Ok(Some(out));
            }
            if self.sieve.is_done() {
                self.finish();
                return Ok(None);
            }
            match feed.next(room).await? {
                Some(batch) if self.sieve.lets_pass(&batch) => return Ok(Some(batch)),
                Some(batch) => self.cut = Cut::new(batch),
                None => {
                    self.finish();
                    return Ok(None);
                }
            }
        }
    }

    fn finish(&mut self) {
        self.feed = None;
        self.tail.total = self.sieve.total;
        if self.sieve.paged && self.sieve.more {
            self.tail.next_cursor = Some(Place::new([].iter(), Some(self.sieve.behind)).encode());
        }
    }
}

impl<R: Reader> Rows for Stream<R> {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(self.next_or_nothing(room))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

impl Sieve {
    /// Whether no further row can change the answer.
    fn is_done(&self) -> bool {
        self.left == Some(0) && (!self.paged || self.more) && self.total.is_none()
    }

    /// Shows rows until the batch ends or the room is full.
    fn sift(&mut self, cut: &mut Cut, room: usize, out: &mut RowBatch) -> Result<(), ReduceError> {
        while out.rows.len() < room || out.count == 0 {
            let Some(row) = cut.next()? else { break };
            self.take(row, out)?;
        }
        Ok(())
    }

    fn take(&mut self, row: &str, out: &mut RowBatch) -> Result<(), ReduceError> {
        if self.is_done() {
            return Ok(());
        }
        let seen = self.sight.see(row)?;
        if self.matcher.as_ref().is_some_and(|matcher| !matcher.matches(&seen.columns)) {
            return Ok(());
        }
        self.total = self.total.map(|total| total + 1);
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        if self.left == Some(0) {
            self.more = true;
            return Ok(());
        }
        self.left = self.left.map(|left| left - 1);
        self.behind += 1;
        if out.count > 0 {
            out.rows.push(',');
        }
        out.count += 1;
        self.sight.show(&seen, &mut out.rows)
    }

    /// Whether a batch is shown as it is.
    fn lets_pass(&mut self, batch: &RowBatch) -> bool {
        let passes = self.matcher.is_none()
            && !self.sight.looks()
            && self.skip == 0
            && self.left.is_none_or(|left| left >= batch.count);
        if passes {
            self.left = self.left.map(|left| left - batch.count);
            self.behind += batch.count;
            self.total = self.total.map(|total| total + batch.count);
        }
        passes
    }
}
