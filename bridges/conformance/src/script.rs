//! A server's end of a connection that says what was written down for it, in pieces of any size.
//!
//! For tests and fuzzing of what reads a wire protocol: whatever is made of the bytes must not depend on how they come.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream that gives one piece with each read, and after all of them its end. What is written to it is forgotten.
///
/// It speaks in turns: those after the first begin when something is written to it after the turn before was heard to its
/// end. Until then there is nothing to read, as with servers between statements. Otherwise nothing here waits, so a future
/// that asks before it reads is ready when it is polled for the first time.
#[derive(Debug, Default)]
pub struct Script {
    now: Pieces,
    later: VecDeque<Pieces>,
}

type Pieces = VecDeque<Vec<u8>>;

impl Script {
    /// Says these turns, each in pieces. Empty pieces are left out, because they would mean the end.
    pub fn new(turns: impl IntoIterator<Item = Vec<Vec<u8>>>) -> Self {
        let pieces = |turn: Vec<Vec<u8>>| turn.into_iter().filter(|piece| !piece.is_empty()).collect();
        let mut later: VecDeque<Pieces> = turns.into_iter().map(pieces).collect();
        Self { now: later.pop_front().unwrap_or_default(), later }
    }

    /// Says nothing before something is written to it, and then `pieces`.
    pub fn answer(pieces: Vec<Vec<u8>>) -> Self {
        Self::new([Vec::new(), pieces])
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.now.pop_front() {
            Some(mut piece) => {
                let rest = piece.split_off(piece.len().min(out.remaining()));
                out.put_slice(&piece);
                if !rest.is_empty() {
                    self.now.push_front(rest);
                }
                Poll::Ready(Ok(()))
            }
            None if self.later.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.now.is_empty()
            && let Some(next) = self.later.pop_front()
        {
            self.now = next;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// `bytes` cut at the places that `cuts` name, each counted from the place before it.
pub fn cut(bytes: &[u8], cuts: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn each_read_gets_one_piece_and_what_did_not_fit_comes_next() {
        let mut script = Script::new([cut(b"abcdef", &[0, 2, 3])]);
        let mut buffer = [0; 2];
        let mut heard = Vec::new();
        for _ in 0..5 {
            let count = script.read(&mut buffer).await.unwrap();
            heard.push(buffer[..count].to_vec());
        }
        assert_eq!(heard, [&b"ab"[..], b"cd", b"e", b"f", b""]);
    }

    #[tokio::test]
    async fn a_turn_waits_until_something_is_said_after_the_one_before() {
        let mut script = Script::answer(vec![b"yes".to_vec()]);
        let mut told = String::new();
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, script.read_to_string(&mut told));
        assert!(waiting.await.is_err());
        script.write_all(b"?").await.unwrap();
        script.read_to_string(&mut told).await.unwrap();
        assert_eq!(told, "yes");
    }
}
