//! How a bridge fails. The host turns each variant into a public code in one place.

use std::error::Error;

use protocol::{Invalid, RequestError, UnsupportedOperator};
use thiserror::Error;

use crate::ConfigMistakes;

type Source = Box<dyn Error + Send + Sync>;

/// Why a bridge could not do what it was asked. `message`s are for the caller and are scrubbed of the source's secrets
/// before they leave the process; the `source` goes to the log only.
#[derive(Debug, Error)]
pub enum BridgeError {
    /// The source's settings do not make sense.
    #[error("{0}")]
    Config(#[from] ConfigMistakes),
    /// The options do not make sense for this target.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The filter uses an operator that this bridge does not have.
    #[error(transparent)]
    Operator(#[from] UnsupportedOperator),
    /// The bridge does not do this kind of job.
    #[error("{what} is not supported by {bridge}")]
    UnsupportedKind {
        /// The job kind, or the part of it that is missing.
        what: String,
        /// The bridge's package name.
        bridge: String,
    },
    /// Connecting, TLS or logging in failed, or the connection broke before the first row.
    #[error("{message}")]
    Unreachable {
        /// What failed, for the caller.
        message: String,
        /// The driver's own words.
        #[source]
        source: Option<Source>,
    },
    /// The database refused or aborted the query.
    #[error("{message}")]
    Query {
        /// What the database said, for the caller.
        message: String,
        /// The database's own code: a SQLSTATE, an error number.
        native: Option<String>,
        /// The driver's own words.
        #[source]
        source: Option<Source>,
    },
    /// The deadline passed. The statement has been cancelled at the server.
    #[error("the query did not finish before its deadline")]
    Timeout,
    /// One row is larger than the caller takes.
    #[error("a row is larger than {limit} bytes")]
    RowTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// A bridge that was brought along failed: it trapped, went beyond its limits, or answered what is no answer.
    #[error("{0}")]
    Plugin(String),
    /// A fault of the bridge itself.
    #[error("{0}")]
    Internal(String),
}

impl BridgeError {
    /// Connecting failed.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::Unreachable { message: message.into(), source: None }
    }

    /// The database refused.
    pub fn query(message: impl Into<String>) -> Self {
        Self::Query { message: message.into(), native: None, source: None }
    }
}

impl From<RequestError> for BridgeError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Invalid(invalid) => Self::Invalid(invalid),
            RequestError::Operator(operator) => Self::Operator(operator),
        }
    }
}

/// An error's words with those of its causes, each said once: for messages about connections, whose causes say what to
/// mend.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = source.source();
    }
    text
}
