//! Everything that decides how a connection is made. Names and meanings are those of libpq where it has them.

use std::time::Duration;

use bridge_net::{ClientIdentity, Endpoint, IpFamily, Roots};
use protocol::{ROW_LIMIT_BYTES, Secret};

/// How to reach a server and who to be there.
#[derive(Clone, Debug)]
pub(crate) struct ConnectOptions {
    /// Tried in this order until one accepts a connection.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: String,
    pub(crate) tls: TlsOptions,
    /// Which addresses of a host name are tried. Literal addresses and sockets are not filtered.
    pub(crate) ip_family: IpFamily,
    /// Bound for one address, from its first packet to the end of the login. `None` leaves the caller's deadline alone.
    pub(crate) connect_timeout: Option<Duration>,
    /// Shown in `pg_stat_activity`.
    pub(crate) application_name: String,
    /// What a proxy in front of the server goes by: the startup message's `options`.
    pub(crate) route: Option<String>,
    /// Session settings; a statement that changes one changes it for itself. `client_encoding` is always UTF8.
    pub(crate) parameters: Vec<(String, String)>,
    /// Whether they travel in the startup message, which some poolers refuse, or with the first statement.
    pub(crate) parameters_at_start: bool,
    /// Names of parameters that no statement may change for a later one.
    pub(crate) guarded: &'static [&'static str],
    /// A row that is longer than this on the wire is refused with [`RowTooLarge`](super::WireError::RowTooLarge).
    pub(crate) max_row_bytes: usize,
    /// Prepared statements that are kept, at least one.
    pub(crate) statement_cache: usize,
}

impl ConnectOptions {
    /// Options for `endpoint` with libpq's defaults: TLS if the server offers it, no timeout, every address family.
    pub(crate) fn new(endpoint: Endpoint, user: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            endpoints: vec![endpoint],
            user: user.into(),
            password: None,
            database: database.into(),
            tls: TlsOptions::default(),
            ip_family: IpFamily::Any,
            connect_timeout: None,
            application_name: "semilayer".to_owned(),
            route: None,
            parameters: Vec::new(),
            parameters_at_start: true,
            guarded: &[],
            max_row_bytes: ROW_LIMIT_BYTES + ROW_SLACK_BYTES,
            statement_cache: 128,
        }
    }
}

/// The wire form of a row may be longer than its JSON, for which the limit is meant.
const ROW_SLACK_BYTES: usize = 1024 * 1024;

/// Encryption of TCP connections. Unix sockets are never encrypted, as in libpq.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    pub(crate) mode: TlsMode,
    /// `sslrootcert`.
    pub(crate) roots: Roots,
    /// `sslcert` and `sslkey`.
    pub(crate) identity: Option<ClientIdentity>,
    pub(crate) negotiation: TlsNegotiation,
    pub(crate) channel_binding: ChannelBinding,
}

/// `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disable,
    /// Plain first; encrypted if the server refuses plain connections.
    Allow,
    /// Encrypted if the server can; plain otherwise.
    #[default]
    Prefer,
    /// Encrypted. The certificate is checked only where roots are given, then as with [`VerifyCa`](Self::VerifyCa).
    Require,
    /// Encrypted, and the certificate descends from a root.
    VerifyCa,
    /// As [`VerifyCa`](Self::VerifyCa), and an alternative name of the certificate is the host. Unlike libpq, rustls does
    /// not look at the common name.
    VerifyFull,
}

/// `sslnegotiation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsNegotiation {
    /// Asks for TLS in the clear first.
    #[default]
    Postgres,
    /// Begins with the handshake, as PostgreSQL 17 and TLS proxies understand it.
    Direct,
}

/// `channel_binding`: whether SCRAM proves that both ends see the same TLS session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    #[default]
    Prefer,
    Require,
}
