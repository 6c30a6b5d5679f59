//! A server whose words were written down beforehand, for tests and fuzzing: how to connect to it, and how its words are
//! read in two ways.

use bridge_net::Socket;

use super::Connection;
use super::resp::{Kind, Token, token, value};

/// A connection over `socket` that is through with the login.
pub(crate) fn connection(socket: impl Socket + 'static) -> Connection {
    Connection::new(Box::new(socket))
}

/// Where the value at the front of `buffer` stands, found in the short way and in the long one.
pub fn value_both_ways(buffer: &[u8], limit: usize) -> [Option<(usize, usize)>; 2] {
    let long = match token(buffer, limit) {
        Ok(Some(Token { kind: Kind::Bulk, from, to, .. })) => Some((from, to)),
        Ok(_) | Err(_) => None,
    };
    [value(buffer, limit), long]
}
