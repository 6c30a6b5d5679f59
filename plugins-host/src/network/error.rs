//! Why a plugin has no connection or no answer, and how it is told.
//!
//! Messages go to the guest, from it to the job's caller, and so beyond this machine: they name no host and no address.

use std::io;

use bridge_net::TlsError;
use thiserror::Error;

use crate::bindings::types::{self, ErrorCode};
use crate::call::Ended;

/// Why there is no connection or no answer.
#[derive(Debug, Error)]
pub(crate) enum NetworkError {
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error("{field} must be {expected}")]
    Invalid { field: &'static str, expected: &'static str },
    #[error("the runner does not let this plugin connect there; its log says what to allow")]
    Refused,
    #[error("{limit} sockets are open, which is the most that this plugin may have")]
    TooMany { limit: usize },
    #[error("answers that are open hold {limit} bytes, which is the most that this plugin may have")]
    Full { limit: usize },
    #[error("cannot resolve the host: {0}")]
    Resolve(#[source] io::Error),
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("cannot connect: nobody answers")]
    Silent,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    #[error("the connection was given up in the middle of an earlier call")]
    Abandoned,
    #[error("the server did not answer in time")]
    Late,
    #[error("the connection broke before the answer was complete: {0}")]
    Lost(#[source] hyper::Error),
    #[error("the answer is no HTTP/1.1: {0}")]
    Nonsense(#[source] hyper::Error),
    #[error("the answer's head is larger than 64 KiB, or has more than 100 headers")]
    HeadTooLarge,
    #[error("the server sent nothing but interim answers")]
    Flood,
    #[error("the server wants to speak another protocol")]
    Upgrade,
}

impl NetworkError {
    pub(crate) fn invalid(field: &'static str, expected: &'static str) -> Self {
        Self::Invalid { field, expected }
    }

    /// What a failure of hyper's means.
    pub(crate) fn of_exchange(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLarge
        } else if error.is_parse() {
            Self::Nonsense(error)
        } else {
            Self::Lost(error)
        }
    }

    /// What a failure in the middle of a body means.
    pub(crate) fn of_body(error: hyper::Error) -> Self {
        if error.is_parse() { Self::Nonsense(error) } else { Self::Lost(error) }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Ended(Ended::Cancelled) => ErrorCode::Cancelled,
            Self::Ended(Ended::TimedOut) | Self::Late => ErrorCode::Timeout,
            Self::Invalid { .. } => ErrorCode::InvalidRequest,
            Self::Refused => ErrorCode::PermissionDenied,
            Self::TooMany { .. } | Self::Full { .. } => ErrorCode::ResourceExhausted,
            Self::Resolve(_)
            | Self::Connect(_)
            | Self::Silent
            | Self::Tls(_)
            | Self::Broken(_)
            | Self::Abandoned
            | Self::Lost(_)
            | Self::Nonsense(_)
            | Self::HeadTooLarge
            | Self::Flood
            | Self::Upgrade => ErrorCode::Unreachable,
        }
    }

    /// Whether a stream that failed so is of no more use.
    fn is_the_end(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Abandoned)
    }
}

impl From<NetworkError> for types::Error {
    fn from(error: NetworkError) -> Self {
        let field = match &error {
            NetworkError::Invalid { field, .. } => Some((*field).to_owned()),
            _ => None,
        };
        Self {
            code: error.code(),
            connection_lost: error.is_the_end(),
            message: error.to_string(),
            field,
            native_code: None,
            retry_after_ms: None,
        }
    }
}
