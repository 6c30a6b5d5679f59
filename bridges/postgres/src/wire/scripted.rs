//! A server whose words were written down beforehand, for fuzzing and tests of rows: how to connect to it, and some of
//! its words.

use std::path::PathBuf;

use bridge_net::{Address, Socket};

use super::cancel::CancelToken;
use super::dial::{Route, Security};
use super::link::Link;
use super::session::Session;
use super::{ConnectOptions, Connection, Endpoint, Oid};

/// A connection over `socket` that is through with the login. It has no way to cancel what runs on it.
pub(crate) fn connection(socket: impl Socket + 'static, max_row_bytes: usize) -> Connection {
    let nowhere = PathBuf::from("/nowhere/at/all");
    let mut options = ConnectOptions::new(Endpoint::Unix { path: nowhere.clone() }, "someone", "somewhere");
    options.max_row_bytes = max_row_bytes;
    let route = Route { address: Address::Unix(nowhere), security: Security::Plain };
    let link = Link::new(Box::new(socket));
    Connection::new(link, CancelToken::new(route, None), Session::new(&options), &options)
}

/// A message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// Has prepared a statement with these columns, and runs it: all up to the rows.
pub fn begin(columns: &[(String, Oid)]) -> Vec<u8> {
    let count = u16::try_from(columns.len()).unwrap_or(u16::MAX);
    let mut description = count.to_be_bytes().to_vec();
    for (name, type_oid) in columns {
        description.extend(name.bytes().filter(|byte| *byte != 0));
        description.extend([0; 7]);
        description.extend(type_oid.to_be_bytes());
        description.extend([0, 8, 255, 255, 255, 255, 0, 0]);
    }
    let prepared = [message(b'1', b""), message(b't', b"\0\0"), message(b'T', &description), ready()];
    [prepared.concat(), message(b'2', b"")].concat()
}

/// A row.
pub fn row(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    for value in values {
        match value {
            Some(bytes) => {
                body.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                body.extend(bytes);
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    message(b'D', &body)
}

/// The end of the rows.
pub fn end() -> Vec<u8> {
    [message(b'C', b"SELECT 1\0"), ready()].concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}
