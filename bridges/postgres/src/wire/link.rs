//! A socket with its two buffers: whole messages in, coalesced messages out.
//!
//! Every step leaves the state complete before it waits, so a caller may drop any future and go on later: what was
//! written is written, what was received is buffered, and a message that is being skipped goes on being skipped.

use std::fmt;
use std::io;
use std::ops::ControlFlow;

use bridge_net::Socket;
use bridge_net::buffer::{Inbox, LARGE};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::{Backend, HEADER_BYTES, Header};
use super::rows::{Scan, scan_rows};
use super::{RowView, WireError};

pub(super) struct Link {
    socket: Box<dyn Socket>,
    inbox: Inbox,
    outbox: BytesMut,
    /// Bytes of a message that nobody wants, still to come.
    skipping: usize,
    /// Set by the first error after which the byte stream means nothing any more.
    broken: bool,
}

impl Link {
    pub(super) fn new(socket: Box<dyn Socket>) -> Self {
        Self { socket, inbox: Inbox::new(), outbox: BytesMut::new(), skipping: 0, broken: false }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether everything that was encoded has been handed to the socket.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Appends messages to what [`flush`](Self::flush) sends, all of `write`'s or, if it fails, none.
    pub(super) fn encode(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), WireError> {
        let before = self.outbox.len();
        write(&mut self.outbox).map_err(|error| {
            self.outbox.truncate(before);
            WireError::Encode(error)
        })
    }

    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        let written = write_out(&mut self.socket, &mut self.outbox).await;
        if self.outbox.is_empty() && self.outbox.capacity() > LARGE {
            self.outbox = BytesMut::new();
        }
        self.judge(written.map_err(WireError::from_io))
    }

    /// The next message. Rows are skipped without being buffered.
    pub(super) async fn next(&mut self) -> Result<Backend, WireError> {
        let message = self.read_message().await;
        self.judge(message)
    }

    /// Hands the rows at the front of the buffer to `each`, without waiting.
    pub(super) fn scan<B>(
        &mut self,
        columns: usize,
        limit: usize,
        each: impl FnMut(RowView<'_>) -> ControlFlow<B>,
    ) -> Result<Scan<B>, WireError> {
        let (consumed, scan) = scan_rows(self.inbox.bytes(), columns, limit, each);
        self.inbox.consume(consumed);
        self.judge(scan)
    }

    /// Waits until there is more in the buffer, and nothing left to skip.
    pub(super) async fn fill(&mut self) -> Result<(), WireError> {
        let filled = self.receive().await;
        self.judge(filled)
    }

    /// Finishes skipping a message, so that the buffer begins with the next one.
    pub(super) async fn align(&mut self) -> Result<(), WireError> {
        while self.skipping > 0 {
            self.fill().await?;
        }
        Ok(())
    }

    /// Gives memory back between statements.
    pub(super) fn shrink(&mut self) {
        self.inbox.shrink();
    }

    /// Marks the link broken for an error that its user found, and returns the error.
    pub(super) fn violation(&mut self, what: &'static str) -> WireError {
        self.broken = true;
        WireError::Protocol(what)
    }

    /// Says goodbye, so that the server need not log a lost connection.
    pub(super) async fn close(mut self) -> io::Result<()> {
        if !self.broken {
            postgres_protocol::message::frontend::terminate(&mut self.outbox);
            write_out(&mut self.socket, &mut self.outbox).await?;
        }
        self.socket.shutdown().await
    }

    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.inbox.capacity()
    }

    async fn read_message(&mut self) -> Result<Backend, WireError> {
        self.align().await?;
        let header = loop {
            match Header::parse(self.inbox.bytes())? {
                Some(header) => break header,
                None => self.receive().await?,
            }
        };
        let kept = HEADER_BYTES.saturating_add(header.kept()?);
        while self.inbox.bytes().len() < kept {
            self.receive().await?;
        }
        let body = self.inbox.bytes().get(HEADER_BYTES..kept).unwrap_or_default();
        let message = Backend::decode(header.tag, body);
        self.discard(HEADER_BYTES.saturating_add(header.body));
        message
    }

    async fn receive(&mut self) -> Result<(), WireError> {
        match self.socket.read(self.inbox.room()).await {
            Ok(0) => return Err(WireError::Closed),
            Ok(count) => self.inbox.received(count),
            Err(error) => return Err(WireError::from_io(error)),
        }
        let skipping = std::mem::take(&mut self.skipping);
        self.discard(skipping);
        Ok(())
    }

    /// Consumes `count` bytes, now and as they arrive.
    fn discard(&mut self, count: usize) {
        self.skipping = count - self.inbox.consume(count);
    }

    fn judge<T>(&mut self, result: Result<T, WireError>) -> Result<T, WireError> {
        self.broken |= result.as_ref().is_err_and(WireError::is_fatal);
        result
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
