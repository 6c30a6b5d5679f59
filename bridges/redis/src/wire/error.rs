//! What can go wrong between this client and a server, by cause.

use std::fmt;
use std::io;

use super::Pem;

/// Why connecting or asking failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("cannot resolve \"{host}\"")]
    Dns {
        host: String,
        #[source]
        source: io::Error,
    },
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
    Server(#[from] ServerError),
    /// The peer broke the protocol; the connection cannot be used any more.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("a value is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error(
        "the server is part of a cluster, which this bridge does not read: it would see the keys of one node only"
    )]
    Cluster,
    #[error("the server is a Sentinel: configure the server that it watches")]
    Sentinel,
    #[error("the server did not answer in time")]
    Timeout,
    #[error("the connection is closed")]
    Closed,
}

impl WireError {
    /// Sorts out the failures that hide in an [`io::Error`]: TLS alerts, and all the ways to lose a peer.
    pub(super) fn from_io(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return Self::Tls(TlsError::Handshake(error));
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// An error reply: its first word and the rest, as `NOPERM this user has no permissions ..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ServerError {
    /// Longer messages are cut; Redis repeats arguments in some of them.
    const LONGEST: usize = 500;

    pub(crate) fn parse(line: &[u8]) -> Self {
        let text: String = String::from_utf8_lossy(line).chars().take(Self::LONGEST).collect();
        let (first, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let is_code = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_uppercase());
        if is_code {
            Self { code: first.to_owned(), message: rest.to_owned() }
        } else {
            Self { code: "ERR".to_owned(), message: text }
        }
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is("ERR") { f.write_str(&self.message) } else { write!(f, "{} {}", self.code, self.message) }
    }
}

impl std::error::Error for ServerError {}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("TLS failed")]
    Handshake(#[source] io::Error),
    #[error("{pem} holds no usable {wanted}")]
    Unusable { pem: Pem, wanted: &'static str },
    #[error("\"{0}\" is no name that a certificate can have")]
    Name(String),
    #[error("the client certificate and its key do not go together")]
    Identity(#[source] rustls::Error),
    #[error(transparent)]
    Setup(bridge_net::TlsError),
}

impl From<bridge_net::TlsError> for TlsError {
    fn from(error: bridge_net::TlsError) -> Self {
        match error {
            bridge_net::TlsError::Unusable { pem, wanted } => Self::Unusable { pem, wanted },
            bridge_net::TlsError::Name(host) => Self::Name(host),
            bridge_net::TlsError::Identity(source) => Self::Identity(source),
            other => Self::Setup(other),
        }
    }
}
