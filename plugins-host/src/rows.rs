//! Rows of a plugin on their way to the caller.
//!
//! A plugin's batch is checked as a whole before anything of it leaves: columns become JSON text here (`columns`), JSON
//! text is taken when every byte of it is what it should be (`text`). A batch that is larger than the caller wants leaves in
//! pieces, so that neither long names nor many escapes make memory of the runner's out of little of the plugin's. The
//! plugin makes the next batch while one is written: a job holds two of them at the most.

mod columns;
mod form;
mod text;

use std::sync::Arc;

use bridge_core::{BoxFuture, BridgeError, RowBatch, RowWriter, Rows};
use protocol::{SearchMethod, Tail};

use crate::answer::Asked;
use crate::ask::{Ask, Failed};
use crate::bindings::types::{self, Batch};
use crate::error::PluginFailure;
use crate::lease::{Lease, Underway};
use crate::limits::{BATCH_ROWS, BATCH_WISH, CURSOR_BYTES, MOST_BATCH_ROWS};
use columns::Grid;
pub(crate) use form::{Form, Shape};
use text::Texts;

/// The least that a batch is asked for, in bytes.
const LEAST_WISH: usize = 4 << 10;

/// From this batch on the next one is asked for before this one is written. Not before: most jobs end with one or two, and
/// those that have enough then shall not have a request under way that has to be given up.
const AHEAD_FROM: u64 = 2;

/// An open cursor of a plugin.
pub(crate) struct PluginRows {
    /// Nothing once the last row has come: another job may have the instance.
    lease: Option<Arc<Lease>>,
    asked: Asked,
    form: Form,
    row_limit: usize,
    /// Rows that may still come.
    left: Option<u64>,
    pending: Pending,
    /// The batch after that, which the plugin makes meanwhile.
    ahead: Option<Underway<Option<Batch>>>,
    /// Batches that have come.
    batches: u64,
    writer: RowWriter,
    tail: Tail,
}

/// What has come from the plugin and has not left.
enum Pending {
    Nothing,
    Grid(Grid),
    Texts(Texts),
}

impl PluginRows {
    /// The rows of the cursor that the instance has open; more than `most` are a failure.
    pub(crate) fn new(lease: Arc<Lease>, asked: Asked, form: Form, most: Option<u64>) -> Self {
        let row_limit = lease.call().row_limit();
        Self {
            lease: Some(lease),
            asked,
            form,
            row_limit,
            left: most,
            pending: Pending::Nothing,
            ahead: None,
            batches: 0,
            writer: RowWriter::new(row_limit),
            tail: Tail::default(),
        }
    }

    async fn pull(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        loop {
            if let Some(batch) = self.take(room)? {
                return Ok(Some(batch));
            }
            let Some(lease) = self.lease.clone() else { return Ok(None) };
            let answer = self.answer(&lease, room).await.map_err(|failed| self.asked.failure(failed));
            // A cursor that has failed has no more rows.
            let answer = answer.inspect_err(|_| self.lease = None)?;
            let Some(batch) = answer else {
                self.end(&lease).await?;
                return Ok(None);
            };
            self.count(&batch).inspect_err(|_| self.lease = None)?;
            if self.batches >= AHEAD_FROM {
                // An instance that has gone is told of when the batch is missed.
                self.ahead = self.begin(&lease, room).ok();
                lease.let_others_run_it();
            }
            self.pending = self.checked(batch).inspect_err(|_| self.lease = None)?;
        }
    }

    async fn answer(&mut self, lease: &Lease, room: usize) -> Result<Option<Batch>, Failed> {
        let asked = match self.ahead.take() {
            Some(asked) => asked,
            None => self.begin(lease, room)?,
        };
        lease.finish(asked).await
    }

    fn begin(&self, lease: &Lease, room: usize) -> Result<Underway<Option<Batch>>, Failed> {
        let left = self.left.map_or(BATCH_ROWS, |left| u32::try_from(left).unwrap_or(u32::MAX));
        let rows = left.clamp(1, BATCH_ROWS);
        let bytes = u32::try_from(room.clamp(LEAST_WISH, BATCH_WISH)).unwrap_or(u32::MAX);
        lease.begin(|answer| Ask::Next { rows, bytes, answer })
    }

    /// Counts what has come, which must not be more than was asked for.
    fn count(&mut self, batch: &Batch) -> Result<(), BridgeError> {
        let rows = match batch {
            Batch::Columns(columns) => columns.rows,
            Batch::Json(json) => json.rows,
        };
        if rows == 0 || rows > MOST_BATCH_ROWS {
            return Err(wrong(format!("a batch of {rows} rows; 1 to {MOST_BATCH_ROWS} may be in one")));
        }
        if let Some(left) = &mut self.left {
            let still = left.checked_sub(u64::from(rows));
            *left = still.ok_or_else(|| wrong("more rows than the limit that it was asked with"))?;
        }
        self.batches = self.batches.saturating_add(1);
        Ok(())
    }

    /// Makes sure that a batch is one.
    fn checked(&self, batch: Batch) -> Result<Pending, BridgeError> {
        match batch {
            Batch::Columns(batch) => Ok(Pending::Grid(Grid::check(batch, &self.form).map_err(wrong)?)),
            Batch::Json(batch) => Ok(Pending::Texts(Texts::check(batch, &self.form).map_err(wrong)?)),
        }
    }

    /// Some of what has come, about as much as there is room for.
    fn take(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        let (batch, empty) = match &mut self.pending {
            Pending::Nothing => return Ok(None),
            Pending::Grid(grid) => (grid.take(&self.form, room, &mut self.writer)?, grid.is_empty()),
            Pending::Texts(texts) => (texts.take(&self.form, room, self.row_limit)?, texts.is_empty()),
        };
        if empty {
            self.pending = Pending::Nothing;
        }
        Ok(batch)
    }

    async fn end(&mut self, lease: &Lease) -> Result<(), BridgeError> {
        let tail = lease.ask(|answer| Ask::Tail { answer }).await;
        self.lease = None;
        self.tail = checked_tail(tail.map_err(|failed| self.asked.failure(failed))?)?;
        Ok(())
    }
}

impl Rows for PluginRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(self.pull(room))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

fn checked_tail(tail: types::Tail) -> Result<Tail, BridgeError> {
    if tail.next_cursor.as_ref().is_some_and(|cursor| cursor.len() > CURSOR_BYTES) {
        return Err(wrong(format!("a cursor of more than {CURSOR_BYTES} bytes")));
    }
    let method = |name: String| SearchMethod::of(&name).ok_or_else(|| wrong("an unknown method of search"));
    Ok(Tail {
        // An empty cursor would be the first page's.
        next_cursor: tail.next_cursor.filter(|cursor| !cursor.is_empty()),
        total: tail.total,
        approximate: tail.approximate,
        method: tail.method.map(method).transpose()?,
    })
}

fn wrong(what: impl Into<String>) -> BridgeError {
    PluginFailure::Wrong(what.into()).into()
}
