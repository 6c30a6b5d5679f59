//! One connection: commands that wait to be sent, bytes that wait to be read, and how many replies are still owed.

use bridge_net::Socket;
use bytes::{Buf, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::WireError;
use super::resp::{self, Assembler, Reply, Token};

/// What is asked of the socket at once.
const READ: usize = 64 * 1024;
/// A read buffer that has grown beyond this is not kept.
const KEPT: usize = 256 * 1024;
/// What the answer to one small question may have.
const SMALL_REPLY: usize = 1024 * 1024;

/// A connection. Everything that waits can be dropped at any point and done again.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
    inbox: BytesMut,
    outbox: Vec<u8>,
    sent: usize,
    owed: usize,
    /// Whether it failed, so that nobody may use it again.
    broken: bool,
}

impl Connection {
    pub(super) fn new(socket: Box<dyn Socket>) -> Self {
        Self { socket, inbox: BytesMut::new(), outbox: Vec::new(), sent: 0, owed: 0, broken: false }
    }

    /// Takes down a command; it leaves with the next [`flush`](Self::flush) or [`fill`](Self::fill).
    pub(crate) fn queue(&mut self, parts: &[&[u8]]) {
        self.begin(parts.len());
        parts.iter().for_each(|part| self.argument(part));
    }

    /// Takes down the head of a command of `count` arguments, its name included.
    pub(crate) fn begin(&mut self, count: usize) {
        resp::command(&mut self.outbox, count);
        self.owed += 1;
    }

    /// Takes down one of them.
    pub(crate) fn argument(&mut self, bytes: &[u8]) {
        resp::argument(&mut self.outbox, bytes);
    }

    /// The token at the front of what was received; nothing when it is not all there.
    pub(crate) fn peek(&mut self, limit: usize) -> Result<Option<Token>, WireError> {
        resp::token(&self.inbox, limit).inspect_err(|_| self.broken = true)
    }

    /// The value at the front, where it is one and all there, and how many bytes it takes with what is around it.
    #[inline]
    pub(crate) fn value(&self, limit: usize) -> Option<(&[u8], usize)> {
        let (from, to) = resp::value(&self.inbox, limit)?;
        Some((self.inbox.get(from..to)?, to + 2))
    }

    /// The token that stands `before` bytes behind the front.
    pub(crate) fn peek_after(&mut self, before: usize, limit: usize) -> Result<Option<Token>, WireError> {
        let rest = self.inbox.get(before..).unwrap_or_default();
        let token = resp::token(rest, limit).inspect_err(|_| self.broken = true)?;
        Ok(token.map(|token| Token { from: before + token.from, to: before + token.to, ..token }))
    }

    /// A token's bytes.
    pub(crate) fn bytes(&self, token: Token) -> &[u8] {
        self.inbox.get(token.from..token.to).unwrap_or_default()
    }

    /// How many bytes wait to be read.
    pub(crate) fn received(&self) -> usize {
        self.inbox.len()
    }

    /// Passes over the front.
    pub(crate) fn advance(&mut self, token: Token) {
        self.pass(token.used);
    }

    /// Passes over so many bytes.
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) {
        self.inbox.advance(count.min(self.inbox.len()));
    }

    /// A reply has been read to its end.
    pub(crate) fn settle(&mut self) {
        self.owed = self.owed.saturating_sub(1);
    }

    /// Goes on with a reply from what was received; nothing when more is needed.
    pub(crate) fn assemble(&mut self, assembler: &mut Assembler) -> Result<Option<Reply>, WireError> {
        let reply = self.assemble_part(assembler)?;
        if reply.is_some() {
            self.settle();
        }
        Ok(reply)
    }

    /// The same with an entry of a reply.
    pub(crate) fn assemble_part(&mut self, assembler: &mut Assembler) -> Result<Option<Reply>, WireError> {
        let taken = assembler.take(&self.inbox);
        let (reply, used) = taken.inspect_err(|_| self.broken = true)?;
        self.inbox.advance(used);
        Ok(reply)
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self) -> Result<(), WireError> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = self.socket.write(rest).await.map_err(|error| self.failed(error))?;
            if sent == 0 {
                self.broken = true;
                return Err(WireError::Closed);
            }
            self.sent += sent;
        }
        self.socket.flush().await.map_err(|error| self.failed(error))?;
        self.outbox.clear();
        self.sent = 0;
        Ok(())
    }

    /// Sends what waits, then waits for at least one byte.
    pub(crate) async fn fill(&mut self) -> Result<(), WireError> {
        self.flush().await?;
        self.inbox.reserve(READ);
        match self.socket.read_buf(&mut self.inbox).await {
            Ok(0) => {
                self.broken = true;
                Err(WireError::Closed)
            }
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The next reply, of at most `limit` bytes.
    pub(crate) async fn reply(&mut self, limit: usize) -> Result<Reply, WireError> {
        let mut assembler = Assembler::new(limit);
        loop {
            if let Some(reply) = self.assemble(&mut assembler)? {
                return Ok(reply);
            }
            self.fill().await?;
        }
    }

    /// Asks and waits for the small answer, which may be an error reply.
    pub(crate) async fn ask(&mut self, parts: &[&[u8]]) -> Result<Reply, WireError> {
        self.queue(parts);
        self.reply(SMALL_REPLY).await
    }

    /// Whether everything that was asked has been answered, so that somebody else can ask.
    pub(crate) fn is_idle(&self) -> bool {
        !self.broken && self.owed == 0 && self.inbox.is_empty() && self.outbox.is_empty()
    }

    /// Whether an idle connection still stands: a server that went away, or talks unasked, has left something to read.
    pub(crate) fn check_alive(&mut self) -> bool {
        self.is_idle() && self.socket.read_buf(&mut self.inbox).now_or_never().is_none()
    }

    /// Gives large buffers back.
    pub(crate) fn shrink(&mut self) {
        if self.inbox.capacity() > KEPT {
            self.inbox = BytesMut::new();
        }
        self.outbox.shrink_to(KEPT);
    }

    fn failed(&mut self, error: std::io::Error) -> WireError {
        self.broken = true;
        WireError::from_io(error)
    }
}
