//! An answer with many entries, which are taken one by one as they come.

use bridge_core::BridgeError;

use super::{refused, unexpected};
use crate::error::while_running;
use crate::wire::{Connection, Kind, ServerError, Token};

/// A cursor is a number of 64 bits.
const LONGEST_CURSOR: usize = 20;
/// Entries of one step of a scan: far more than the largest collection that Redis gives as a whole.
const MOST_SCANNED: usize = 16 * 1024 * 1024;

/// A list of entries; that of a scan stands behind the next cursor.
#[derive(Debug)]
pub(super) struct Answer {
    state: State,
    /// Entries that the list can have at most.
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Scan,
    Cursor,
    List,
    Entries { left: usize },
}

/// What is next of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More must be received.
    Receive,
    /// Where the scan goes on; nothing at its end.
    Cursor(Option<Vec<u8>>),
    /// So many entries follow.
    Entries(usize),
    /// An entry, for the caller to take.
    Entry,
    /// The answer has been read.
    End,
}

impl Answer {
    /// Of a command that gives a list of at most `most` entries.
    pub(super) fn list(most: usize) -> Self {
        Self { state: State::List, most }
    }

    /// Of one that goes through something step by step.
    pub(super) fn scan() -> Self {
        Self { state: State::Scan, most: MOST_SCANNED }
    }

    /// Goes on. The caller who took an entry says so by [`took_one`](Self::took_one).
    pub(super) fn next(&mut self, connection: &mut Connection) -> Result<Next, BridgeError> {
        if let State::Entries { left } = self.state {
            if left > 0 {
                return Ok(Next::Entry);
            }
            connection.settle();
            return Ok(Next::End);
        }
        loop {
            let Some(token) = connection.peek(LONGEST_CURSOR).map_err(while_running)? else {
                return Ok(Next::Receive);
            };
            let next = self.head(connection, token)?;
            connection.advance(token);
            if let Some(next) = next {
                return Ok(next);
            }
        }
    }

    pub(super) fn took_one(&mut self) {
        if let State::Entries { left } = &mut self.state {
            *left = left.saturating_sub(1);
        }
    }

    fn head(&mut self, connection: &mut Connection, token: Token) -> Result<Option<Next>, BridgeError> {
        match (self.state, token.kind) {
            (State::Scan, Kind::Array(2)) => {
                self.state = State::Cursor;
                Ok(None)
            }
            (State::Cursor, Kind::Bulk) => {
                self.state = State::List;
                let cursor = connection.bytes(token);
                Ok(Some(Next::Cursor((cursor != b"0").then(|| cursor.to_vec()))))
            }
            (State::List, Kind::Array(count)) if count <= self.most => {
                self.state = State::Entries { left: count };
                Ok(Some(Next::Entries(count)))
            }
            (State::Scan | State::List, Kind::Error) => {
                let error = ServerError::parse(connection.bytes(token));
                connection.advance(token);
                connection.settle();
                Err(refused(error))
            }
            _ => Err(unexpected()),
        }
    }
}
