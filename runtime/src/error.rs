//! What can go wrong here. Messages name hosts and files, never credentials.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An error and what caused it, in one line. A cause that the text ends with already is not repeated.
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A secret file cannot be used. Its path is not repeated: a secret may have been put where the path belongs.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be opened or read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("the path is not a regular file")]
    NotAFile,
    /// No secret is that long.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The largest size.
        limit: u64,
    },
    /// The content is not UTF-8.
    #[error("the file is not text in UTF-8")]
    NotText,
    /// There is nothing in it but a newline.
    #[error("the file is empty")]
    Empty,
}

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The process has a subscriber already.
    #[error("logging was set up before")]
    AlreadySet,
}

/// The health port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The port is taken, or the address is not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A body cannot be had whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than it may.
    #[error("the body is too large")]
    TooLarge,
    /// The connection broke, or what came was no body.
    #[error("the body did not arrive whole")]
    Broken,
    /// It took too long.
    #[error("the body did not arrive in time")]
    Late,
}

/// Certificates cannot be used, or a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or a key cannot be read or holds something else.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's name cannot stand in a certificate.
    #[error("{host:?} is not a valid server name")]
    ServerName {
        /// The name.
        host: String,
    },
    /// The peer's certificate is not accepted.
    #[error("the certificate of {host} is not trusted: {source}{}", issued_by(.issuer.as_deref()))]
    Untrusted {
        /// The server's name.
        host: String,
        /// Who issued the certificate, if it can be read.
        issuer: Option<String>,
        /// Why it is not accepted.
        source: Box<rustls::Error>,
    },
    /// The handshake failed for another reason.
    #[error("TLS handshake with {host} failed: {source}")]
    Handshake {
        /// The server's name.
        host: String,
        /// What went wrong.
        source: io::Error,
    },
    /// rustls does not accept the configuration.
    #[error("TLS cannot be configured: {0}")]
    Configuration(#[source] Box<rustls::Error>),
}

fn issued_by(issuer: Option<&str>) -> String {
    issuer.map(|issuer| format!(" (issued by {issuer})")).unwrap_or_default()
}

/// The stage of a dial that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The URL itself.
    Url,
    /// Finding the addresses of a name.
    Dns,
    /// Connecting to an address.
    Tcp,
    /// Asking the proxy for a tunnel.
    Proxy,
    /// The handshake with the server.
    Tls,
}

impl Stage {
    /// The stage as a lowercase word, for messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
        }
    }
}

/// A stream to a URL cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The scheme is not `ws`, `wss`, `http` or `https`, or there is no host.
    #[error("expected a ws, wss, http or https URL with a host")]
    Url,
    /// The name has no address, or the resolver does not answer.
    #[error("cannot resolve {host}: {source}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address accepts a connection.
    #[error("cannot connect to {host}:{port}: {source}")]
    Tcp {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// What the last address answered.
        source: io::Error,
    },
    /// The proxy does not open a tunnel.
    #[error("proxy {proxy}: {source}")]
    Proxy {
        /// Host and port of the proxy, without credentials.
        proxy: String,
        /// What went wrong.
        source: ProxyError,
    },
    /// The handshake with the server failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The deadline passed in this stage.
    #[error("timed out while in stage {} of dialing {host}", .stage.name())]
    TimedOut {
        /// What was under way.
        stage: Stage,
        /// The host that was meant.
        host: String,
    },
}

impl DialError {
    /// The stage that failed.
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Url => Stage::Url,
            Self::Dns { .. } => Stage::Dns,
            Self::Tcp { .. } => Stage::Tcp,
            Self::Proxy { .. } => Stage::Proxy,
            Self::Tls(_) => Stage::Tls,
            Self::TimedOut { stage, .. } => *stage,
        }
    }
}

/// What went wrong between us and a proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Its name has no address.
    #[error("cannot resolve its name: {0}")]
    Dns(#[source] io::Error),
    /// It does not accept connections.
    #[error("cannot connect: {0}")]
    Tcp(#[source] io::Error),
    /// The handshake with an https proxy failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It wants credentials, or others than those it was given (status 407).
    #[error("it refuses the credentials (407)")]
    Credentials,
    /// It answered CONNECT with another status.
    #[error("it refuses the tunnel with status {0}")]
    Refused(u16),
    /// It did not answer in HTTP/1, or with too long a header.
    #[error("its answer to CONNECT is not HTTP")]
    NotHttp,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[source] io::Error),
}

/// Spans cannot be sent to the collector.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// No stream to the collector.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The exchange failed.
    #[error("the exchange with the collector failed: {0}")]
    Http(#[from] hyper::Error),
    /// The endpoint cannot be written into a request.
    #[error("the collector's address cannot stand in a request")]
    Endpoint,
    /// The collector answered with this status.
    #[error("the collector answered with status {0}")]
    Refused(u16),
    /// No answer in time.
    #[error("the collector did not answer in time")]
    TimedOut,
}

impl ExportError {
    /// Whether the same batch may be accepted later; the statuses are those that the OTLP specification lists.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Http(_) | Self::TimedOut => true,
            Self::Endpoint => false,
            Self::Refused(status) => matches!(status, 429 | 502 | 503 | 504),
        }
    }
}
