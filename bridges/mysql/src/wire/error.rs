//! What can go wrong between this client and a server, by cause.

use std::fmt;
use std::io;

use super::TlsError;

/// Why connecting or running a statement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("failed to resolve \"{host}\": {source}")]
    Dns {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot connect to {address}: {source}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("connection failed: {0}")]
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
    #[error("the statement cannot be sent: {0}")]
    Encode(&'static str),
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
            Self::Server(error) => error.ends_session(),
            Self::RowTooLarge { .. } | Self::Encode(_) | Self::Busy => false,
            Self::Dns { .. }
            | Self::Connect { .. }
            | Self::Io(_)
            | Self::Tls(_)
            | Self::Auth(_)
            | Self::Protocol(_)
            | Self::Timeout
            | Self::Closed => true,
        }
    }

    /// Whether a prepared statement went stale under us, so that preparing it again helps.
    pub(super) fn is_stale_statement(&self) -> bool {
        matches!(self, Self::Server(error) if matches!(error.number, number::UNKNOWN_STATEMENT | number::NEEDS_REPREPARE))
    }
}

/// Error numbers with a meaning to this client (MySQL error message reference; MariaDB shares those below 1900).
pub(crate) mod number {
    pub(crate) const SERVER_SHUTDOWN: u16 = 1053;
    pub(crate) const ABORTING_CONNECTION: u16 = 1152;
    pub(crate) const PACKET_TOO_LARGE: u16 = 1153;
    pub(crate) const NEW_ABORTING_CONNECTION: u16 = 1184;
    pub(crate) const UNKNOWN_STATEMENT: u16 = 1243;
    pub(crate) const NEEDS_REPREPARE: u16 = 1615;
    /// MariaDB: killed by `KILL CONNECTION`.
    pub(crate) const CONNECTION_KILLED: u16 = 1927;
    /// MySQL: the idle connection was closed.
    pub(crate) const CLIENT_INTERACTION_TIMEOUT: u16 = 4031;
    pub(crate) const STATEMENT_TIMEOUT_MARIADB: u16 = 1969;
    pub(crate) const STATEMENT_TIMEOUT_MYSQL: u16 = 3024;
}

/// Why the login failed, other than by the server's word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    /// Whoever sits in between could ask for the password or, by sending a key of its own, read it.
    #[error(
        "the server asks for the password itself ({0}), which is not sent over an unencrypted connection: use TLS"
    )]
    NeedsPrivacy(&'static str),
    #[error("the server asks for a way of authentication that is not supported: {0}")]
    Unsupported(String),
}

/// An error of the server. Texts are bounded, and bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerError {
    pub(crate) number: u16,
    /// SQLSTATE; empty where the server sent none.
    pub(crate) state: String,
    pub(crate) message: String,
}

impl ServerError {
    /// Whether the server closes the connection after this.
    pub(crate) fn ends_session(&self) -> bool {
        matches!(
            self.number,
            number::SERVER_SHUTDOWN
                | number::ABORTING_CONNECTION
                | number::PACKET_TOO_LARGE
                | number::NEW_ABORTING_CONNECTION
                | number::CONNECTION_KILLED
                | number::CLIENT_INTERACTION_TIMEOUT
        )
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.number)
    }
}

impl std::error::Error for ServerError {}
