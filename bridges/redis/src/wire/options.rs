//! Everything that decides how a connection is made.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use protocol::Secret;

/// How to reach a server and who to be there.
#[derive(Clone, Debug)]
pub(crate) struct ConnectOptions {
    pub(crate) endpoint: Endpoint,
    /// The ACL user; the default user without.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    /// The logical database.
    pub(crate) database: u32,
    pub(crate) tls: TlsOptions,
    /// Bound for making one connection, from its first packet to the end of the login. `None` leaves the caller's
    /// deadline alone.
    pub(crate) connect_timeout: Option<Duration>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix { path: PathBuf },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => path.display().fmt(f),
        }
    }
}

/// Encryption of TCP connections. Unix sockets are never encrypted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    pub(crate) mode: TlsMode,
    /// The authorities that may have signed the server's certificate; the system's without.
    pub(crate) roots: Option<Pem>,
    /// The client's certificate and its key.
    pub(crate) identity: Option<(Pem, Pem)>,
}

/// How much of TLS is wanted. Redis has a port of its own for it, so nothing is negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsMode {
    #[default]
    Disable,
    /// Encrypted, with whoever answers.
    Require,
    /// Encrypted, and the certificate descends from a root.
    VerifyCa,
    /// As [`VerifyCa`](Self::VerifyCa), and an alternative name of the certificate is the host.
    VerifyFull,
}

/// Certificates or a key in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pem {
    File(PathBuf),
    Text(Secret),
}

impl Pem {
    /// Text where it looks like PEM, else a path.
    pub(crate) fn of(value: &str) -> Self {
        if value.contains("-----BEGIN") {
            Self::Text(value.to_owned().into())
        } else {
            Self::File(value.into())
        }
    }
}

/// Where it is, never what it says.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("the text that was given"),
        }
    }
}
