//! A PostgreSQL client made for streaming rows out of the read buffer.
//!
//! The general clients hand every row over as an owned value through a channel. Here a row is a view into the bytes that
//! the socket delivered, result formats are chosen per column, a statement that is known takes one round trip, and a
//! statement that is given up is cancelled at the server. Message encoding and SCRAM come from `postgres-protocol`.
//!
//! A [`Connector`] holds what connecting needs and makes [`Connection`]s; [`Rows::start`] runs a statement on one.
//! Whatever the server sends is hostile input: each kind of message has a bound, and what breaks the protocol ends the
//! connection with a typed error. Dropping any future here leaves a connection that [`Connection::recover`] can mend.

mod cancel;
mod certificate;
mod connection;
mod connector;
mod dial;
mod error;
mod link;
mod message;
mod options;
mod row;
mod rows;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod scripted;
mod session;
mod startup;
mod statement;
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use bridge_net::{ClientIdentity, Endpoint, IpFamily, Pem, Roots, TlsError};
use cancel::CancelToken;
pub(crate) use connection::{Connection, Format, Param, Query, ResultFormats};
pub(crate) use connector::Connector;
pub(crate) use error::{AuthError, DnsError, ServerError, WireError};
pub(crate) use options::{ChannelBinding, ConnectOptions, TlsMode, TlsNegotiation, TlsOptions};
pub(crate) use row::RowView;
pub(crate) use rows::{Holder, Rows, Step};
pub(crate) use statement::Column;
use statement::Statement;

/// The identity of a type in PostgreSQL's catalogue.
pub(crate) type Oid = u32;
