//! What the server and the way to it can say, and what a caller is told.

use std::io;

use bridge_core::{BridgeError, with_causes};
use bridge_net::{Pem, TlsError};
use bridge_sql::SqlError;
use thiserror::Error;

/// What a table that has become another one answers: unknown column, table or function, types that no longer fit, a
/// label that an enum has lost.
pub(crate) const STALE_CATALOG: &[&str] = &["10", "16", "36", "43", "47", "53", "60", "691"];
/// `TIMEOUT_EXCEEDED`, `SOCKET_TIMEOUT`.
const TIMEOUTS: [u32; 2] = [159, 209];
/// `UNKNOWN_USER`, `WRONG_PASSWORD`, `REQUIRED_PASSWORD`, `IP_ADDRESS_NOT_ALLOWED`, `AUTHENTICATION_FAILED`.
const LOGINS: [u32; 5] = [192, 193, 194, 195, 516];
/// `UNKNOWN_DATABASE`.
pub(crate) const UNKNOWN_DATABASE: u32 = 81;
/// `TYPE_MISMATCH`.
pub(crate) const TYPE_MISMATCH: u32 = 53;
/// `UNKNOWN_TABLE`.
pub(crate) const UNKNOWN_TABLE: u32 = 60;
/// What a setting of ours is refused with: unknown, read-only, out of the bounds that an administrator has set.
const SETTINGS: [u32; 3] = [115, 164, 452];
/// A message says no more than this.
const MESSAGE_BYTES: usize = 4_000;

/// Why a request has no answer.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    #[error("cannot resolve the host")]
    Dns(#[source] io::Error),
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection is not encrypted as it must be")]
    Tls(#[source] io::Error),
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    #[error("the server does not answer in time")]
    Silent,
    #[error("the connection broke")]
    Lost(#[source] hyper::Error),
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(&'static str),
    #[error("ClickHouse {found} is too old: {needed} or later is needed")]
    TooOld { found: String, needed: &'static str },
    #[error(transparent)]
    Server(#[from] Exception),
}

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    #[error("{pem} holds no {wanted} that can be used")]
    Unusable { pem: Pem, wanted: &'static str },
    #[error("the system has no certificates")]
    NoSystemRoots,
    #[error("the client certificate and its key cannot be used")]
    Identity(#[source] rustls::Error),
    #[error("the host is no name that a certificate could have")]
    Name,
    #[error(transparent)]
    Setup(TlsError),
}

impl From<TlsError> for CertificateError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Unusable { pem, wanted } => Self::Unusable { pem, wanted },
            TlsError::NoSystemRoots => Self::NoSystemRoots,
            TlsError::Identity(source) => Self::Identity(source),
            TlsError::Name(_) => Self::Name,
            other => Self::Setup(other),
        }
    }
}

/// What the server says when it refuses or gives up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct Exception {
    /// The server's number of it; 0 where it said none.
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl Exception {
    /// Reads `Code: 60. DB::Exception: Unknown table … (UNKNOWN_TABLE) (version 25.8.1.1)`.
    pub(crate) fn read(text: &[u8], status: Option<u16>) -> Self {
        let text = String::from_utf8_lossy(text);
        let text = text.trim();
        let code = text.strip_prefix("Code: ").and_then(|rest| {
            let end = rest.find(|character: char| !character.is_ascii_digit())?;
            rest.get(..end)?.parse().ok()
        });
        let told =
            text.find("DB::").and_then(|at| text.get(at..)?.split_once(": ")).map_or(text, |(_, told)| told);
        let told = told.rfind(" (version ").map_or(told, |at| told.get(..at).unwrap_or(told));
        let mut message = told.to_owned();
        if message.is_empty() {
            message = format!("the server answered with HTTP status {}", status.unwrap_or_default());
        }
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        Self { code: code.unwrap_or_default(), message }
    }

    /// Whether it may be about a setting that was sent along.
    pub(crate) fn is_about_settings(&self) -> bool {
        SETTINGS.contains(&self.code)
    }
}

/// A failure while connecting or logging in: the source is unreachable, whatever the reason.
pub(crate) fn while_connecting(error: RequestError) -> BridgeError {
    BridgeError::Unreachable {
        message: format!("cannot connect to ClickHouse: {}", with_causes(&error)),
        source: Some(error.into()),
    }
}

/// A failure of a statement.
pub(crate) fn while_running(error: RequestError) -> BridgeError {
    match error {
        RequestError::Server(exception) if TIMEOUTS.contains(&exception.code) => BridgeError::Timeout,
        RequestError::Server(exception) if LOGINS.contains(&exception.code) => {
            while_connecting(RequestError::Server(exception))
        }
        RequestError::Server(exception) => refused(exception),
        lost @ (RequestError::Lost(_) | RequestError::Nonsense(_)) => BridgeError::Unreachable {
            message: format!("lost the connection to ClickHouse: {}", with_causes(&lost)),
            source: Some(lost.into()),
        },
        other @ (RequestError::Dns(_)
        | RequestError::Connect(_)
        | RequestError::Tls(_)
        | RequestError::Certificates(_)
        | RequestError::Silent
        | RequestError::TooOld { .. }) => while_connecting(other),
    }
}

/// Refusals of a translation name ClickHouse's bridge, not its dialect.
pub(crate) fn of_sql(error: SqlError) -> BridgeError {
    error.of_bridge(crate::NAME)
}

fn refused(exception: Exception) -> BridgeError {
    let native = (exception.code > 0).then(|| exception.code.to_string());
    BridgeError::Query { message: exception.message.clone(), native, source: Some(exception.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_version_read() {
        let new = b"Code: 60. DB::Exception: Unknown table expression identifier 'x.ty'. (UNKNOWN_TABLE) (version 26.9.2.1 (official build))\n";
        let exception = Exception::read(new, None);
        assert_eq!(exception.code, 60);
        assert_eq!(exception.message, "Unknown table expression identifier 'x.ty'. (UNKNOWN_TABLE)");
        let old = b"Code: 60, e.displayText() = DB::Exception: Table default.x doesn't exist., e.what() = DB::Exception";
        assert_eq!(Exception::read(old, None).code, 60);
        assert!(Exception::read(old, None).message.starts_with("Table default.x doesn't exist."));
        let other = Exception::read(b"<html>Bad Gateway</html>", Some(502));
        assert_eq!((other.code, other.message.as_str()), (0, "<html>Bad Gateway</html>"));
        assert_eq!(Exception::read(b"", Some(502)).message, "the server answered with HTTP status 502");
    }

    #[test]
    fn a_timeout_is_the_callers_deadline_and_a_cancel_is_not() {
        let failed = |code| while_running(RequestError::Server(Exception { code, message: String::new() }));
        assert!(matches!(failed(159), BridgeError::Timeout));
        assert!(matches!(failed(394), BridgeError::Query { .. }));
        assert!(matches!(failed(516), BridgeError::Unreachable { .. }));
        let is_told = |code| matches!(failed(code), BridgeError::Query { native: Some(code), .. } if STALE_CATALOG.contains(&code.as_str()));
        assert!(is_told(47) && !is_told(241));
    }
}
