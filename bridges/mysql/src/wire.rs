//! A client of the MySQL protocol made for streaming rows out of the read buffer.
//!
//! The general clients cost what this bridge cannot pay. sqlx 0.9 hands every row over as owned bytes, reads what is left
//! of a stream that was dropped to its end before the connection serves again (millions of rows, perhaps), has no `KILL
//! QUERY`, and its typed decoders refuse `0000-00-00`; without TLS it logs in through its feature `rsa`, the crate of
//! RUSTSEC-2023-0071. mysql_async reads to the end, too. Here a row is a view into the bytes that the socket delivered,
//! values come in the binary form (text would round singles to six digits), and a statement that is given up is killed.
//! Half a million rows take two thirds of the time of `mysql --batch --quick`, and a
//! megabyte of memory.
//!
//! A [`Connector`] makes [`Connection`]s; [`Connection::start`] runs a statement. Whatever the server sends is hostile
//! input: each kind of packet has a bound, and what breaks the protocol ends the connection with a typed error. Dropping
//! any future here leaves a connection that [`Connection::recover`] can mend or says that it cannot.

mod auth;
mod column;
mod connection;
mod connector;
mod dial;
mod error;
mod link;
mod login;
mod options;
mod packet;
mod row;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod scripted;
mod statement;
mod tls;

pub(crate) use bridge_net::{ClientIdentity, Endpoint, Pem, Roots, TlsError};
pub(crate) use column::{Column, ColumnType};
pub(crate) use connection::{Connection, Step};
pub(crate) use connector::Connector;
pub(crate) use error::{AuthError, ServerError, WireError, number};
pub(crate) use options::{ConnectOptions, TimeLimit, TlsMode, TlsOptions};
pub(crate) use packet::Param;
pub(crate) use row::RowView;
