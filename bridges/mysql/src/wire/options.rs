//! Everything that decides how a connection is made. Names and meanings are those of MySQL's own clients.

use std::time::Duration;

use bridge_net::{ClientIdentity, Endpoint, Roots};
use protocol::Secret;

use super::packet::FRAME_FULL;

/// How to reach a server, who to be there, and what to tell the session.
#[derive(Clone, Debug)]
pub(crate) struct ConnectOptions {
    pub(crate) endpoint: Endpoint,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) tls: TlsOptions,
    /// Bound from the first packet to the end of the login. `None` leaves the caller's deadline alone.
    pub(crate) connect_timeout: Option<Duration>,
    /// Statements that a new session runs. It is of no use where one of them fails.
    pub(crate) session: &'static [&'static str],
    /// More of them, which a server may refuse.
    pub(crate) wishes: &'static [&'static str],
    pub(crate) time_limit: TimeLimit,
    /// A row that is longer than this on the wire is refused with [`RowTooLarge`](super::WireError::RowTooLarge). Less than
    /// one frame, which as JSON is more than any caller takes.
    pub(crate) max_row_bytes: usize,
    /// Prepared statements that are kept, at least one.
    pub(crate) statement_cache: usize,
}

impl ConnectOptions {
    /// Options for `endpoint` with the defaults of MySQL's clients.
    pub(crate) fn new(endpoint: Endpoint, user: impl Into<String>) -> Self {
        Self {
            endpoint,
            user: user.into(),
            password: None,
            database: None,
            tls: TlsOptions::default(),
            connect_timeout: None,
            session: &[],
            wishes: &[],
            time_limit: TimeLimit::Session,
            max_row_bytes: FRAME_FULL - 1,
            statement_cache: 64,
        }
    }
}

/// How a statement is told when to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeLimit {
    /// By a setting of the session: `max_execution_time`, or MariaDB's `max_statement_time`.
    Session,
    /// By a hint in the statement, for proxies that keep no such setting.
    Hint,
}

/// Encryption of TCP connections. Unix sockets are never encrypted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    pub(crate) mode: TlsMode,
    /// `ssl-ca`.
    pub(crate) roots: Roots,
    /// `ssl-cert` and `ssl-key`.
    pub(crate) identity: Option<ClientIdentity>,
}

/// `ssl-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disabled,
    /// Encrypted if the server can; plain otherwise.
    #[default]
    Preferred,
    /// Encrypted. The certificate is checked only where roots are given, then as with [`VerifyCa`](Self::VerifyCa).
    Required,
    /// Encrypted, and the certificate descends from a root that was given.
    VerifyCa,
    /// As [`VerifyCa`](Self::VerifyCa), and an alternative name of the certificate is the host; the system's roots where
    /// none were given.
    VerifyIdentity,
}
