//! What can go wrong between this client and a server, by cause.

use std::fmt;
use std::io;

use super::{IpFamily, TlsError};

/// Why connecting or running a statement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error("cannot connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("connection failed")]
    Io(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The peer broke the protocol; the connection cannot be used any more.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("a row of {bytes} bytes exceeds the limit of {limit} bytes")]
    RowTooLarge { bytes: usize, limit: usize },
    /// The statement cannot be put into messages: a NUL byte, or too many parameters.
    #[error("the statement cannot be sent")]
    Encode(#[source] io::Error),
    #[error("the server did not answer in time")]
    Timeout,
    #[error("the connection is closed")]
    Closed,
    /// An earlier statement is unfinished; [`recover`](super::Connection::recover) first.
    #[error("the connection is busy with another statement")]
    Busy,
}

impl WireError {
    /// Sorts out the failures that hide in an [`io::Error`]: TLS alerts, and all the ways to lose a peer.
    pub(super) fn from_io(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return Self::Tls(TlsError::from_handshake(error));
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }

    /// Whether the byte stream is lost or no longer understood.
    pub(super) fn is_fatal(&self) -> bool {
        match self {
            Self::Server(error) => error.is_fatal(),
            Self::RowTooLarge { .. } | Self::Encode(_) | Self::Busy => false,
            Self::Dns(_)
            | Self::Connect { .. }
            | Self::Io(_)
            | Self::Tls(_)
            | Self::Auth(_)
            | Self::Protocol(_)
            | Self::Timeout
            | Self::Closed => true,
        }
    }

    /// Whether the server's host rules refused this kind of connection, so that the other kind may be welcome.
    pub(super) fn is_rejected_kind(&self) -> bool {
        matches!(self, Self::Auth(AuthError::Rejected(error)) if error.code == sqlstate::INVALID_AUTHORIZATION)
    }

    /// Whether a prepared statement went stale under us, so that preparing it again helps.
    pub(super) fn is_stale_statement(&self) -> bool {
        let Self::Server(error) = self else { return false };
        match error.code.as_str() {
            sqlstate::INVALID_STATEMENT_NAME => true,
            // The message is translated by the server, the routine's name is not.
            sqlstate::FEATURE_NOT_SUPPORTED => error.routine.as_deref() == Some("RevalidateCachedQuery"),
            _ => false,
        }
    }
}

/// SQLSTATE codes with a meaning to this client.
pub(super) mod sqlstate {
    pub(in crate::wire) const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub(in crate::wire) const INVALID_STATEMENT_NAME: &str = "26000";
    pub(in crate::wire) const INVALID_AUTHORIZATION: &str = "28000";
    pub(in crate::wire) const CANNOT_CONNECT_NOW: &str = "57P03";
    pub(in crate::wire) const TOO_MANY_CONNECTIONS: &str = "53300";
    pub(in crate::wire) const UNKNOWN: &str = "XX000";
}

/// A host name without a usable address.
#[derive(Debug)]
pub(crate) struct DnsError {
    pub(crate) host: String,
    pub(crate) family: IpFamily,
    pub(crate) cause: io::Error,
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failed to resolve \"{}\"", self.host)?;
        match self.family {
            IpFamily::V4 => f.write_str(" to IPv4")?,
            IpFamily::V6 => f.write_str(" to IPv6")?,
            IpFamily::Any => {}
        }
        write!(f, ": {}", self.cause)
    }
}

/// The cause is in the text already, and not a source as well, or it would be printed twice.
impl std::error::Error for DnsError {}

/// Why the login failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    /// The server's own words, with a code of class 28.
    #[error(transparent)]
    Rejected(Box<ServerError>),
    #[error("the server asks for a password and none is configured")]
    NoPassword,
    #[error("the server asks for the password in clear text over an unencrypted connection")]
    ClearText,
    #[error("the server asks for a way of authentication that is not supported: {0}")]
    Unsupported(&'static str),
    #[error("channel binding is required and the server does not do it")]
    NoChannelBinding,
    /// The server could not prove that it knows the password, or abuses SCRAM.
    #[error("the server failed the SCRAM exchange: {0}")]
    Scram(#[source] io::Error),
}

/// An `ErrorResponse`. Texts are bounded, and bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, never translated where the server is 9.6 or newer.
    pub(crate) severity: String,
    /// SQLSTATE; `XX000` where the server sent none that is well-formed.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub(crate) position: Option<u32>,
    /// The server's C function, which names a cause more finely than the code.
    pub(crate) routine: Option<String>,
}

impl ServerError {
    /// Whether the server ends the session with this error.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ServerError {}
