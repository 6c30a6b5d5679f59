//! A client of RESP2, the protocol of Redis and Valkey, made for streaming values out of the read buffer.
//!
//! The general client (`redis`) makes a value of its own of every reply before anybody sees its first byte: an `MGET` of
//! large values is in memory as a whole, whatever the limit of a row, and each value is an allocation. Here a reply is
//! read token by token where the socket has put it, a value above the limit is refused at its header, and a reader that
//! stops stops the server.
//!
//! - [`resp`]: tokens, commands, and whole replies with a budget.
//! - [`connection`]: one connection; what is sent and what is still owed.
//! - [`dial`], [`tls`]: TCP, unix sockets and TLS.
//! - [`startup`]: the login.

mod connection;
mod dial;
mod error;
mod options;
mod resp;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod scripted;
mod startup;
mod tls;

pub(crate) use bridge_net::{ClientIdentity, Endpoint, Pem, Roots};
pub(crate) use connection::Connection;
pub(crate) use dial::Dialer;
pub(crate) use error::{ServerError, TlsError, WireError};
pub(crate) use options::{ConnectOptions, TlsMode, TlsOptions};
pub(crate) use resp::{Assembler, Kind, Reply, Token};
pub(crate) use startup::log_in;
