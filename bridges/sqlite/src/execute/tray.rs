//! Where a connection's thread puts rows and an async reader takes them.
//!
//! The thread stops when as much lies there as the reader takes at once, so a reader that stops, stops the scan, and a
//! result of any length needs the memory of two batches: the one in the reader's hands and the one on the tray. The
//! reader takes what it finds once a row has lain there for [`Call::LINGER`], even while SQLite still looks for the next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bridge_core::{BoxFuture, BridgeError, Call, RowBatch, RowWriter, Rows};
use protocol::Tail;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::connect::{Control, Stop, Ticket, thread_ended};
use crate::error::Failure;

/// How much the thread puts down before the reader has said how much it takes.
const FIRST_ROOM: usize = 64 * 1024;
/// More than this never lies on a tray, however much the reader would take.
const LARGEST_ROOM: usize = 4 * protocol::CHUNK_BYTES;

/// Shared by a connection's thread and the reader of its rows.
pub(crate) struct Tray {
    state: Mutex<State>,
    /// The reader took something or went away.
    taken: Condvar,
    /// There is a first row, a full batch, or an end.
    filled: Notify,
}

/// The thread's end of a tray. When it is dropped without an outcome, the reader learns that, too.
pub(crate) struct Filler(pub(crate) Arc<Tray>);

struct State {
    writer: RowWriter,
    /// Where each row ends.
    ends: Vec<usize>,
    room: usize,
    /// When the first of the rows that lie there was put down.
    since: Option<Instant>,
    abandoned: bool,
    end: Option<Result<Tail, BridgeError>>,
}

impl Tray {
    pub(crate) fn new(call: &Call) -> Arc<Self> {
        let state = State {
            writer: RowWriter::new(call.row_limit),
            ends: Vec::new(),
            room: FIRST_ROOM,
            since: None,
            abandoned: false,
            end: None,
        };
        Arc::new(Self { state: Mutex::new(state), taken: Condvar::new(), filled: Notify::new() })
    }

    /// Puts one row down, when there is room; waits for room no longer than the job may go on.
    pub(crate) fn put(
        &self,
        control: &Control,
        write: impl FnOnce(&mut RowWriter) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut state = self.lock();
        while state.writer.len() >= state.room {
            if state.abandoned {
                return Err(Failure::Stopped(Stop::Cancelled));
            }
            if let Some(stop) = control.stop() {
                return Err(Failure::Stopped(stop));
            }
            let left = control.remaining();
            state = self.taken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Err(failure) = write(&mut state.writer) {
            state.writer.abandon_row();
            return Err(failure);
        }
        let end = state.writer.len();
        state.ends.push(end);
        if state.since.is_none() {
            state.since = Some(Instant::now());
            self.filled.notify_one();
        } else if end >= state.room {
            self.filled.notify_one();
        }
        Ok(())
    }

    fn end(&self, outcome: Result<Tail, BridgeError>) {
        self.lock().end.get_or_insert(outcome);
        self.filled.notify_one();
    }

    /// Whether there is a row or an end; an end that is a failure without any row before it is handed out at once.
    fn has_begun(&self) -> Result<bool, BridgeError> {
        let mut state = self.lock();
        if state.ends.is_empty() && matches!(state.end, Some(Err(_))) {
            state.hand_out_end()?;
        }
        Ok(!state.ends.is_empty() || state.end.is_some())
    }

    /// What the reader finds who takes `room` bytes.
    fn look(&self, room: usize) -> Result<Found, BridgeError> {
        let mut state = self.lock();
        state.room = room.clamp(1, LARGEST_ROOM);
        let Some(since) = state.since else {
            return Ok(if state.end.is_some() { Found::End(state.hand_out_end()?) } else { Found::Nothing });
        };
        let patience = since + Call::LINGER;
        let is_ready = state.end.is_some() || state.writer.len() >= state.room || patience <= Instant::now();
        if !is_ready {
            return Ok(Found::Few(patience));
        }
        let rows = state.take();
        self.taken.notify_one();
        Ok(rows.map_or(Found::Nothing, Found::Rows))
    }

    /// The reader went away.
    fn abandon(&self) {
        self.lock().abandoned = true;
        self.taken.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filler {
    /// Nothing more comes.
    pub(crate) fn end(self, outcome: Result<Tail, BridgeError>) {
        self.0.end(outcome);
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.0.end(Err(thread_ended()));
    }
}

impl State {
    fn take(&mut self) -> Option<Pieces> {
        self.since = None;
        let ends = std::mem::take(&mut self.ends);
        self.writer.take().map(|batch| Pieces { text: batch.rows, ends, given: 0 })
    }

    /// A failure is handed out once; a tail as often as one asks.
    fn hand_out_end(&mut self) -> Result<Tail, BridgeError> {
        let end = self.end.take().unwrap_or(Ok(Tail::default()));
        self.end = Some(Ok(end.as_ref().map(Tail::clone).unwrap_or_default()));
        end
    }
}

/// What the reader finds on the tray.
enum Found {
    /// Rows to take.
    Rows(Pieces),
    /// Rows that may become more until then.
    Few(Instant),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    End(Tail),
}

/// The reader of a [`Tray`]. Dropping it ends the job.
pub(crate) struct SqliteRows {
    tray: Arc<Tray>,
    /// Ends the job when it is dropped.
    ticket: Option<Ticket>,
    deadline: Instant,
    hand: Option<Pieces>,
    tail: Tail,
}

impl SqliteRows {
    /// Waits for the first row or the end; a query that fails before its first row fails here.
    pub(crate) async fn begin(
        tray: Arc<Tray>,
        ticket: Ticket,
        deadline: Instant,
    ) -> Result<Self, BridgeError> {
        let mut rows = Self { tray, ticket: Some(ticket), deadline, hand: None, tail: Tail::default() };
        while !rows.tray.has_begun()? {
            rows.news(deadline).await?;
        }
        Ok(rows)
    }

    async fn pull(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        loop {
            if let Some(batch) = self.hand_on(room) {
                return Ok(Some(batch));
            }
            match self.tray.look(room)? {
                Found::Rows(pieces) => self.hand = Some(pieces),
                Found::Few(patience) => self.news(patience.min(self.deadline)).await?,
                Found::Nothing => self.news(self.deadline).await?,
                Found::End(tail) => {
                    self.tail = tail;
                    return Ok(None);
                }
            }
        }
    }

    fn hand_on(&mut self, room: usize) -> Option<RowBatch> {
        let (batch, rest) = self.hand.take()?.split(room);
        self.hand = rest;
        Some(batch)
    }

    /// Waits for something to change on the tray, until then. A thread that does not end by itself at the deadline
    /// hangs in the file system; nobody has to wait for it.
    async fn news(&mut self, until: Instant) -> Result<(), BridgeError> {
        let came = timeout_at(until.into(), self.tray.filled.notified()).await;
        if came.is_err() && until >= self.deadline {
            self.ticket = None;
            return Err(BridgeError::Timeout);
        }
        Ok(())
    }
}

impl Rows for SqliteRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(self.pull(room))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

impl Drop for SqliteRows {
    fn drop(&mut self) {
        self.tray.abandon();
    }
}

/// Rows that the reader has taken, to be given on in as many batches as there is room for.
struct Pieces {
    /// Rows joined with commas.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// How many of them have been given on.
    given: usize,
}

impl Pieces {
    /// The next batch of about `room` bytes, and what is left.
    fn split(self, room: usize) -> (RowBatch, Option<Self>) {
        let left = self.ends.len() - self.given;
        if self.given == 0 && (self.text.len() <= room || left <= 1) {
            return (RowBatch { rows: self.text, count: count_of(left) }, None);
        }
        // The comma after a row is not part of it.
        let start = self.given.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| end + 1);
        let fitting = self.ends.partition_point(|end| *end <= start.saturating_add(room));
        let given = fitting.max(self.given + 1);
        let end = self.ends.get(given - 1).copied().unwrap_or(self.text.len());
        let rows = self.text.get(start..end).unwrap_or_default().to_owned();
        let batch = RowBatch { rows, count: count_of(given - self.given) };
        (batch, (given < self.ends.len()).then_some(Self { given, ..self }))
    }
}

fn count_of(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &str, room: usize) -> Vec<(String, u64)> {
        let ends = text.match_indices('}').map(|(at, _)| at + 1).collect();
        let mut rest = Some(Pieces { text: text.to_owned(), ends, given: 0 });
        let mut batches = Vec::new();
        while let Some(pieces) = rest.take() {
            let (batch, left) = pieces.split(room);
            batches.push((batch.rows, batch.count));
            rest = left;
        }
        batches
    }

    #[test]
    fn rows_are_given_on_in_batches_that_fit() {
        let text = r#"{"a":1},{"a":22},{"a":3}"#;
        assert_eq!(batches(text, 100), [(text.to_owned(), 3)]);
        assert_eq!(batches(text, 16), [(r#"{"a":1},{"a":22}"#.to_owned(), 2), (r#"{"a":3}"#.to_owned(), 1)]);
        assert_eq!(batches(text, 1).len(), 3);
        assert_eq!(batches(text, 0).concat_rows(), text);
    }

    trait ConcatRows {
        fn concat_rows(&self) -> String;
    }

    impl ConcatRows for Vec<(String, u64)> {
        fn concat_rows(&self) -> String {
            let texts: Vec<&str> = self.iter().map(|(rows, _)| rows.as_str()).collect();
            texts.join(",")
        }
    }
}
