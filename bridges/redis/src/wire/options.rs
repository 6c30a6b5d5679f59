//! Everything that decides how a connection is made.

use std::time::Duration;

use bridge_net::{ClientIdentity, Endpoint, Roots};
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

/// Encryption of TCP connections. Unix sockets are never encrypted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    pub(crate) mode: TlsMode,
    /// The authorities that may have signed the server's certificate; the system's without.
    pub(crate) roots: Roots,
    /// The client's certificate and its key.
    pub(crate) identity: Option<ClientIdentity>,
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
