//! Bytes between code that waits and code that blocks: a few pieces in between, never a whole file.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::mpsc::{Receiver, Sender, channel};

const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

/// What goes through: the end is said, so that a writer that has vanished is not taken for one that has finished.
enum Piece {
    Bytes(Bytes),
    End(io::Result<()>),
}

/// The blocking end that writes. It fails once nobody reads any more.
pub(super) struct PipeWriter {
    pieces: Sender<Piece>,
    collected: Vec<u8>,
}

/// The blocking end that reads. It fails where the writer went away before it had finished.
pub(super) struct PipeReader {
    pieces: Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

/// The waiting end that writes.
pub(super) struct PipeFeeder(Sender<Piece>);

/// What `write` produces on a thread that may block, as a stream. Dropping the stream ends the thread's work.
pub(super) fn produced(
    write: impl FnOnce(&mut PipeWriter) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (pieces, received) = channel(PIECES);
    // It ends by itself: the work is finite, and writing fails as soon as the stream is dropped.
    tokio::task::spawn_blocking(move || {
        let mut writer = PipeWriter { pieces, collected: Vec::with_capacity(PIECE) };
        let end = write(&mut writer).and_then(|()| writer.flush());
        // Where nobody reads any more, nobody wants to know the end either.
        drop(writer.pieces.blocking_send(Piece::End(end)));
    });
    unfold(Some(received), |state| async {
        let mut received = state?;
        match received.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(received))),
            Some(Piece::End(Ok(()))) => None,
            Some(Piece::End(Err(error))) => Some((Err(error), None)),
            None => Some((Err(gone()), None)),
        }
    })
}

/// A pipe from waiting code to a thread that may block.
pub(super) fn pipe() -> (PipeFeeder, PipeReader) {
    let (pieces, received) = channel(PIECES);
    (PipeFeeder(pieces), PipeReader { pieces: received, current: Bytes::new(), ended: false })
}

impl PipeFeeder {
    /// Hands on a piece; false once nobody reads any more.
    pub(super) async fn feed(&self, bytes: Bytes) -> bool {
        self.0.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Says that this was all.
    pub(super) async fn end(self) {
        // A reader that has what it wants has gone already.
        drop(self.0.send(Piece::End(Ok(()))).await);
    }
}

impl PipeWriter {
    fn hand_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.collected, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Piece::Bytes(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE.saturating_sub(self.collected.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.collected.extend_from_slice(taken);
        if self.collected.len() >= PIECE {
            self.hand_on()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.collected.is_empty() { Ok(()) } else { self.hand_on() }
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End(end)) => {
                    self.ended = true;
                    end?;
                }
                None => return Err(gone()),
            }
        }
        let taken = buffer.len().min(self.current.len());
        self.current.split_to(taken).copy_to_slice(buffer.get_mut(..taken).unwrap_or_default());
        Ok(taken)
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the other end went away")
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, TryStreamExt as _};

    use super::*;

    #[tokio::test]
    async fn all_that_is_written_arrives_in_order_and_in_small_pieces() {
        let content: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let written = content.clone();
        let pieces: Vec<Bytes> = produced(move |to| to.write_all(&written)).try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(pieces.concat(), content);
    }

    #[tokio::test]
    async fn a_failure_comes_after_what_was_written() {
        let failing =
            |to: &mut PipeWriter| to.write_all(b"half").and_then(|()| Err(io::Error::other("no more")));
        let pieces: Vec<_> = produced(failing).collect().await;
        assert_eq!(pieces.len(), 1, "what is not handed on yet is not sent before a failure");
        assert_eq!(pieces[0].as_ref().unwrap_err().to_string(), "no more");
    }

    #[tokio::test]
    async fn a_writer_ends_when_nobody_reads() {
        let (ended, end) = tokio::sync::oneshot::channel();
        let stream = produced(move |to| {
            let error = std::iter::repeat_with(|| to.write_all(&[0; PIECE])).find_map(Result::err).unwrap();
            ended.send(error.kind()).unwrap();
            Ok(())
        });
        drop(stream);
        assert_eq!(end.await.unwrap(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_reader_knows_an_end_from_a_feeder_that_went_away() {
        for finished in [true, false] {
            let (feeder, mut reader) = pipe();
            let reading = tokio::task::spawn_blocking(move || {
                let mut all = String::new();
                reader.read_to_string(&mut all).map(|_| all)
            });
            assert!(feeder.feed(Bytes::from_static(b"some")).await);
            if finished {
                feeder.end().await;
            } else {
                drop(feeder);
            }
            assert_eq!(reading.await.unwrap().ok(), finished.then(|| "some".to_owned()));
        }
    }
}
