//! A socket with its two buffers: packets in, coalesced packets out.
//!
//! Every step leaves the state complete before it waits, so a caller may drop any future and go on later: what was
//! written is written, what was received is buffered, and a packet that is being skipped goes on being skipped.

use std::fmt;
use std::io;
use std::ops::ControlFlow;

use bridge_net::buffer::{Inbox, LARGE};
use bridge_net::{Socket, TlsClient};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial;
use super::packet::{FRAME_FULL, HEADER_BYTES, OK, frame_length};
use super::{Column, RowView, WireError};

/// Every packet but rows: descriptions of columns, errors, answers to commands.
const CONTROL_LIMIT: usize = 1024 * 1024;
/// What says goodbye.
const COM_QUIT: u8 = 0x01;

pub(super) struct Link {
    socket: Box<dyn Socket>,
    inbox: Inbox,
    outbox: BytesMut,
    /// The next frame's number.
    sequence: u8,
    /// Bytes of a frame that nobody wants, still to come.
    skipping: usize,
    /// Whether the frame that was skipped last goes on in the next one.
    continued: bool,
    /// Set by the first error after which the byte stream means nothing any more.
    broken: bool,
}

/// A packet that is at the front, by its length and first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
}

/// Why [`Link::scan`] stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan<B> {
    /// The rest is not a whole packet.
    Starved,
    Stopped(B),
    /// The next packet is not a row.
    Other,
}

impl Link {
    pub(super) fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            socket,
            inbox: Inbox::new(),
            outbox: BytesMut::new(),
            sequence: 0,
            skipping: 0,
            continued: false,
            broken: false,
        }
    }

    /// The same link, encrypted. What came before the handshake must have been read, so that nothing that somebody in
    /// between has put there can pass for the server's words.
    pub(super) async fn encrypted(self, client: &TlsClient) -> Result<Self, WireError> {
        if !self.inbox.bytes().is_empty() {
            return Err(WireError::Protocol("something was said before the TLS handshake"));
        }
        let socket = dial::encrypt(self.socket, client).await?;
        Ok(Self { socket, ..self })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether everything that was encoded has been handed to the socket.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Appends a command to what [`flush`](Self::flush) sends.
    pub(super) fn command(&mut self, body: &[u8]) {
        self.sequence = 0;
        self.reply(body);
    }

    /// Appends a packet of a conversation that goes on.
    pub(super) fn reply(&mut self, body: &[u8]) {
        let mut rest = body;
        loop {
            let (frame, after) = rest.split_at_checked(FRAME_FULL).unwrap_or((rest, &[]));
            self.outbox.put_uint_le(frame.len() as u64, 3);
            self.outbox.put_u8(self.sequence);
            self.outbox.put_slice(frame);
            self.sequence = self.sequence.wrapping_add(1);
            rest = after;
            if frame.len() < FRAME_FULL {
                return;
            }
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        let written = write_out(&mut self.socket, &mut self.outbox).await;
        if self.outbox.is_empty() && self.outbox.capacity() > LARGE {
            self.outbox = BytesMut::new();
        }
        self.judge(written.map_err(WireError::from_io))
    }

    /// The next packet, which is no row.
    pub(super) async fn packet(&mut self) -> Result<Vec<u8>, WireError> {
        let head = self.head().await?;
        if head.length > CONTROL_LIMIT {
            return Err(self.violation("a packet is longer than its kind allows"));
        }
        let end = HEADER_BYTES + head.length;
        while self.inbox.bytes().len() < end {
            self.fill().await?;
        }
        let body = self.inbox.bytes().get(HEADER_BYTES..end).unwrap_or_default().to_vec();
        self.note_sequence();
        self.inbox.consume(end);
        Ok(body)
    }

    /// What is at the front, left there.
    pub(super) async fn head(&mut self) -> Result<Head, WireError> {
        loop {
            while self.skipping > 0 {
                self.fill().await?;
            }
            let Some(length) = frame_length(self.inbox.bytes()) else {
                self.fill().await?;
                continue;
            };
            if self.continued {
                self.skip(length);
                continue;
            }
            match self.inbox.bytes().get(HEADER_BYTES) {
                Some(kind) if length > 0 => return Ok(Head { length, kind: *kind }),
                _ if length == 0 => return Err(self.violation("an empty packet")),
                _ => self.fill().await?,
            }
        }
    }

    /// Skips a packet of `length` at the front, now and as it arrives.
    pub(super) fn skip(&mut self, length: usize) {
        self.note_sequence();
        self.continued = length == FRAME_FULL;
        let count = HEADER_BYTES + length;
        self.skipping = count - self.inbox.consume(count);
    }

    /// Hands the rows at the front of the buffer to `each`, without waiting.
    pub(super) fn scan<B>(
        &mut self,
        columns: &[Column],
        limit: usize,
        each: impl FnMut(RowView<'_>) -> ControlFlow<B>,
    ) -> Result<Scan<B>, WireError> {
        let (consumed, scan) = scan_rows(self.inbox.bytes(), columns, limit, each);
        self.inbox.consume(consumed);
        self.judge(scan)
    }

    /// Waits until there is more in the buffer.
    pub(super) async fn fill(&mut self) -> Result<(), WireError> {
        let filled = self.receive().await;
        self.judge(filled)
    }

    /// Gives memory back between statements.
    pub(super) fn shrink(&mut self) {
        self.inbox.shrink();
    }

    /// Whether nothing has been received that nobody has read.
    pub(super) fn is_silent(&self) -> bool {
        self.inbox.bytes().is_empty() && self.skipping == 0 && !self.continued
    }

    /// Marks the link broken for an error that its user found, and returns the error.
    pub(super) fn violation(&mut self, what: &'static str) -> WireError {
        self.broken = true;
        WireError::Protocol(what)
    }

    /// Marks the link broken where the error says so.
    pub(super) fn judge<T>(&mut self, result: Result<T, WireError>) -> Result<T, WireError> {
        self.broken |= result.as_ref().is_err_and(WireError::is_fatal);
        result
    }

    /// Says goodbye, so that the server need not log a lost connection.
    pub(super) async fn close(mut self, idle: bool) -> io::Result<()> {
        if idle && !self.broken {
            self.command(&[COM_QUIT]);
            write_out(&mut self.socket, &mut self.outbox).await?;
        }
        self.socket.shutdown().await
    }

    fn note_sequence(&mut self) {
        if let Some(number) = self.inbox.bytes().get(HEADER_BYTES - 1) {
            self.sequence = number.wrapping_add(1);
        }
    }

    async fn receive(&mut self) -> Result<(), WireError> {
        match self.socket.read(self.inbox.room()).await {
            Ok(0) => return Err(WireError::Closed),
            Ok(count) => self.inbox.received(count),
            Err(error) => return Err(WireError::from_io(error)),
        }
        let skipping = std::mem::take(&mut self.skipping);
        self.skipping = skipping - self.inbox.consume(skipping);
        Ok(())
    }
}

impl fmt::Debug for Link {
    /// Without the buffers, which hold what applications ask and databases answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("skipping", &self.skipping)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// Unlike `write_all`, this may be dropped at any time: what was sent has left `outbox`.
async fn write_out(socket: &mut Box<dyn Socket>, outbox: &mut BytesMut) -> io::Result<()> {
    while !outbox.is_empty() {
        if socket.write_buf(outbox).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    socket.flush().await
}

/// Finds the rows at the front of `bytes`. Returns how many bytes they took, also beside an error.
#[inline]
fn scan_rows<B>(
    bytes: &[u8],
    columns: &[Column],
    limit: usize,
    mut each: impl FnMut(RowView<'_>) -> ControlFlow<B>,
) -> (usize, Result<Scan<B>, WireError>) {
    let mut rest = bytes;
    let end = loop {
        let Some(length) = frame_length(rest) else { break Ok(Scan::Starved) };
        match rest.get(HEADER_BYTES) {
            // What follows is not its first byte.
            _ if length == 0 => break Ok(Scan::Other),
            Some(&OK) => {}
            Some(_) => break Ok(Scan::Other),
            None => break Ok(Scan::Starved),
        }
        if length > limit {
            break Err(WireError::RowTooLarge { bytes: length, limit });
        }
        let Some((packet, after)) = rest.split_at_checked(HEADER_BYTES + length) else {
            break Ok(Scan::Starved);
        };
        let row = match RowView::parse(packet.get(HEADER_BYTES..).unwrap_or_default(), columns) {
            Ok(row) => row,
            Err(error) => break Err(error),
        };
        rest = after;
        if let ControlFlow::Break(value) = each(row) {
            break Ok(Scan::Stopped(value));
        }
    };
    (bytes.len() - rest.len(), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ColumnType;

    fn columns() -> Vec<Column> {
        vec![Column { name: "c".into(), kind: ColumnType::Text, decimals: 0 }]
    }

    fn row(text: &[u8]) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[length + 3, 0, 0, 9, 0, 0, length], text].concat()
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_whole_rows_before_the_cut() {
        let stream: Vec<u8> = [&b"one"[..], b"", b"three"].into_iter().flat_map(row).collect();
        let columns = columns();
        for cut in 0..=stream.len() {
            let mut seen = Vec::new();
            let (consumed, scan) = scan_rows(&stream[..cut], &columns, 100, |row| {
                seen.push(row.value(0).unwrap().unwrap().to_vec());
                ControlFlow::<()>::Continue(())
            });
            assert_eq!(scan.unwrap(), Scan::Starved);
            let whole: Vec<u8> = seen.iter().flat_map(|text| row(text)).collect();
            assert_eq!(stream[..consumed], whole);
        }
    }

    #[test]
    fn a_long_row_needs_no_body_to_be_refused_and_stays_in_front() {
        let stream = [row(b"one"), vec![0xFF, 0xFF, 0xFF, 1, 0]].concat();
        let (consumed, scan) =
            scan_rows(&stream, &columns(), FRAME_FULL - 1, |_| ControlFlow::<()>::Continue(()));
        assert!(matches!(scan, Err(WireError::RowTooLarge { .. })));
        assert_eq!(consumed, row(b"one").len());
    }

    #[tokio::test]
    async fn what_continues_a_skipped_packet_is_never_taken_for_another_one() {
        let (mut server, client) = tokio::io::duplex(1 << 26);
        let mut link = Link::new(Box::new(client));
        let mut sent = vec![0xFF, 0xFF, 0xFF, 1];
        sent.resize(HEADER_BYTES + FRAME_FULL, 0);
        // The rest of that row looks like the end of the rows.
        sent.extend([1, 0, 0, 2, 0xFE, 2, 0, 0, 3, 0xFE, 7]);
        tokio::io::AsyncWriteExt::write_all(&mut server, &sent).await.unwrap();
        let head = link.head().await.unwrap();
        assert_eq!((head.length, head.kind), (FRAME_FULL, 0));
        link.skip(head.length);
        assert_eq!(link.packet().await.unwrap(), [0xFE, 7]);
    }
}
