//! Rows on their way: what a plugin gives back, and what the runner pulls.

use crate::bindings::semilayer::bridge::types as wit;
use crate::{Column, Error};

/// Rows on their way. Dropping it ends the query at the database.
///
/// Most plugins take one of the ready ones, see [`Rows`](crate::Rows).
pub trait Cursor {
    /// The columns of what [`next_batch`](Self::next_batch) packs. Where its batches are JSON, those whose kind the runner
    /// shall know; none by default. Always the same.
    fn columns(&self) -> &[Column] {
        &[]
    }

    /// The next rows, nothing after the last. A cursor does not wait for more when it has rows.
    ///
    /// # Errors
    /// The job ends with it; the cursor is asked nothing more.
    fn next_batch(&mut self, room: Room) -> Result<Option<Batch>, Error>;

    /// What is known at the end. Asked once, after the last row.
    fn tail(&mut self) -> Tail {
        Tail::default()
    }
}

/// Some rows, at least one: what [`Table::take`](crate::Table::take) and [`JsonRows::take`](crate::JsonRows::take) make.
#[derive(Debug)]
pub struct Batch(pub(crate) wit::Batch);

impl Batch {
    /// How many rows it has.
    pub fn rows(&self) -> u32 {
        match &self.0 {
            wit::Batch::Columns(batch) => batch.rows,
            wit::Batch::Json(batch) => batch.rows,
        }
    }
}

/// How large a batch may become. Both are wishes: a batch ends with the row that reaches one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Rows.
    pub rows: u32,
    /// Bytes of JSON, roughly.
    pub bytes: usize,
}

/// 1 000 rows or 256 KiB.
impl Default for Room {
    fn default() -> Self {
        Self { rows: 1_000, bytes: 256 * 1024 }
    }
}

impl Room {
    /// Whether a batch of this size is not full yet.
    pub fn has_left(&self, rows: u32, bytes: usize) -> bool {
        rows < self.rows.max(1) && bytes < self.bytes.max(1)
    }
}

/// What is known once the last row has been given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tail {
    /// Where the next page begins, if there is one. The plugin gets it back as it is.
    pub next_cursor: Option<String>,
    /// Rows that match regardless of limit and offset, when that was asked for.
    pub total: Option<u64>,
    /// Whether `total` is an estimate.
    pub approximate: bool,
    /// How a `search` has found its rows.
    pub method: Option<protocol::SearchMethod>,
}

impl Tail {
    /// A page after which another begins at `cursor`.
    pub fn next(cursor: impl Into<String>) -> Self {
        Self { next_cursor: Some(cursor.into()), ..Self::default() }
    }
}

impl From<Tail> for wit::Tail {
    fn from(tail: Tail) -> Self {
        Self {
            next_cursor: tail.next_cursor,
            total: tail.total,
            approximate: tail.approximate,
            method: tail.method.map(|method| method.as_str().to_owned()),
        }
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

impl Counted {
    /// Exactly so many.
    pub fn exactly(total: u64) -> Self {
        Self { total, approximate: false }
    }

    /// About so many.
    pub fn about(total: u64) -> Self {
        Self { total, approximate: true }
    }
}
