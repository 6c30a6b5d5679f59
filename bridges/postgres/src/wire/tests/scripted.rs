//! A peer that says what a test wants it to say, over a pipe in memory.

use std::time::Duration;

use bridge_net::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use crate::wire::cancel::CancelToken;
use crate::wire::dial::{Route, Security};
use crate::wire::link::Link;
use crate::wire::session::Session;
use crate::wire::{ConnectOptions, Connection, Endpoint, Format, Query, ResultFormats, WireError};

/// The peer's end.
pub(super) struct Peer {
    pub(super) stream: DuplexStream,
}

impl Peer {
    pub(super) async fn say(&mut self, messages: &[Vec<u8>]) {
        self.stream.write_all(&messages.concat()).await.unwrap();
    }

    /// What the client has sent up to now, without waiting for more than the first byte.
    pub(super) async fn heard(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 64 * 1024];
        let count = self.stream.read(&mut bytes).await.unwrap();
        bytes.truncate(count);
        bytes
    }

    /// Sends `count` times a piece of `body`, for messages that no test wants to hold.
    pub(super) async fn pour(&mut self, count: usize) {
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..count {
            if self.stream.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}

pub(super) fn options() -> ConnectOptions {
    ConnectOptions::new(Endpoint::Unix { path: "/nowhere/at/all".into() }, "someone", "somewhere")
}

/// A link to a scripted peer, before the login.
pub(super) fn link() -> (Link, Peer) {
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    (Link::new(Box::new(ours)), Peer { stream: theirs })
}

/// A connection to a scripted peer that is through with the login. It cannot be cancelled.
pub(super) fn connection(options: &ConnectOptions) -> (Connection, Peer) {
    let (link, peer) = link();
    let route = Route { address: Address::Unix("/nowhere/at/all".into()), security: Security::Plain };
    (Connection::new(link, CancelToken::new(route, None), Session::new(options), options), peer)
}

pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// A header alone, with whatever length.
pub(super) fn header(tag: u8, length: u32) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes()].concat()
}

pub(super) fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// Answers to a new statement with one text column, up to where rows begin.
pub(super) fn begin_rows() -> Vec<u8> {
    let description = b"\0\x01c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    [message(b'1', b""), message(b't', b"\0\0"), message(b'T', description), message(b'2', b"")].concat()
}

pub(super) fn row(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    message(b'D', &[&b"\0\x01"[..], &length.to_be_bytes(), text].concat())
}

pub(super) fn end_rows() -> Vec<u8> {
    [message(b'C', b"SELECT 1\0"), ready()].concat()
}

/// A statement without parameters, all of its columns as text.
pub(super) fn text(sql: &str) -> Query<'_> {
    Query { sql, param_types: &[], params: &[], formats: ResultFormats::Uniform(Format::Text) }
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(super) fn protocol_error<T: std::fmt::Debug>(result: Result<T, WireError>) -> &'static str {
    match result {
        Err(WireError::Protocol(what)) => what,
        other => panic!("expected a protocol error, got {other:?}"),
    }
}
