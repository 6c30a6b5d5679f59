//! Where rows come from: the keys under a prefix, or the elements of one key.
//!
//! A feed is a machine that looks at what has been received and says what it needs: it never waits itself, so whoever
//! drives it can stop at any point. Questions go out ahead of answers, so that the server works while rows are written:
//! at most two windows of values are under way, and a window is as many keys as about half a megabyte has.

mod answer;
mod elements;
mod members;

use bridge_core::BridgeError;

use crate::error::while_running;
use crate::values::Record;
use crate::wire::{Connection, Kind, ServerError, Token, WireError};

pub(crate) use elements::{Collection, Elements};
pub(crate) use members::Members;

/// Keys or elements of the first window: nothing is known of their size yet.
const FIRST_WINDOW: usize = 16;
/// The most that are asked for at once; the server does nothing else meanwhile.
const LARGEST_WINDOW: usize = 1_000;
/// The bytes that a window aims at.
const WINDOW_BYTES: usize = 512 * 1024;
/// What a value may be longer than its row: it may have spaces that the row has not.
const SLACK: usize = 1024 * 1024;

/// What a feed did, or needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Rows were visited.
    Rows,
    /// Questions wait to be sent.
    Send,
    /// More must be received.
    Receive,
    /// There are no more rows.
    End,
}

/// Takes rows as they are found. They are only there for the call.
pub(crate) type Visit<'v> = dyn FnMut(&Record<'_>) -> Result<(), BridgeError> + Send + 'v;

/// Either feed.
pub(crate) enum Feed {
    Members(Box<Members>),
    Elements(Box<Elements>),
}

impl Feed {
    /// Goes one step further. `needed` is how many more rows somebody wants, where that is known.
    pub(crate) fn step(
        &mut self,
        connection: &mut Connection,
        needed: Option<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        match self {
            Self::Members(members) => members.step(connection, needed, visit),
            Self::Elements(elements) => elements.step(connection, needed, visit),
        }
    }
}

/// The next window, after one of `count` took `bytes`.
fn next_window(window: usize, count: usize, bytes: usize) -> usize {
    let average = (bytes / count.max(1)).max(1);
    (WINDOW_BYTES / average).clamp(1, LARGEST_WINDOW).min(window.saturating_mul(4))
}

/// A value's bytes.
fn bulk(connection: &Connection, token: Token) -> Result<&[u8], BridgeError> {
    match token.kind {
        Kind::Bulk => Ok(connection.bytes(token)),
        Kind::Status | Kind::Error | Kind::Integer(_) | Kind::Null | Kind::Array(_) => Err(unexpected()),
    }
}

/// A value that is too large for a row is told with the limit of rows.
fn too_large(error: WireError, row_limit: usize) -> BridgeError {
    match while_running(error) {
        BridgeError::RowTooLarge { .. } => BridgeError::RowTooLarge { limit: row_limit },
        other => other,
    }
}

fn refused(error: ServerError) -> BridgeError {
    while_running(WireError::Server(error))
}

/// The server has answered something that no Redis answers.
fn unexpected() -> BridgeError {
    while_running(WireError::Protocol("an answer of another kind than was asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_while_values_are_small_and_shrink_when_they_are_not() {
        assert_eq!(next_window(16, 16, 16 * 200), 64);
        assert_eq!(next_window(1_000, 1_000, 200_000), 1_000);
        assert_eq!(next_window(64, 64, 64 * 1024 * 1024), 1);
    }
}
