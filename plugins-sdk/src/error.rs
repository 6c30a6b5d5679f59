//! Why something failed, in the words and codes that a caller sees.

use std::io;
use std::time::Duration;

use protocol::{Invalid, RequestError, UnsupportedOperator};

use crate::bindings::semilayer::bridge::types as wit;

pub use wit::ErrorCode;

/// A failure. Its message is for the caller of the job: a lowercase fragment that names what was wrong, without any secret
/// of the source.
///
/// ```
/// use std::time::Duration;
/// use semilayer_plugin::{Error, ErrorCode};
///
/// let error = Error::rate_limited("the service asks for patience").retry_after(Duration::from_secs(5));
/// assert_eq!(error.code(), ErrorCode::RateLimited);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: ErrorCode,
    message: String,
    field: Option<String>,
    native_code: Option<String>,
    retry_after: Option<Duration>,
    connection_lost: bool,
}

impl Error {
    /// A failure of this code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            native_code: None,
            retry_after: None,
            connection_lost: false,
        }
    }

    /// The setting `field` does not make sense; `expected` stands after "expected".
    pub fn invalid_config(field: &str, expected: &str) -> Self {
        Self::new(ErrorCode::InvalidConfig, format!("{field}: expected {expected}")).field(field)
    }

    /// The database does not accept who is asking.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unauthenticated, message)
    }

    /// The database knows who is asking and refuses.
    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::PermissionDenied, message)
    }

    /// The database cannot be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unreachable, message)
    }

    /// The job's deadline has passed.
    pub fn timeout() -> Self {
        Self::new(ErrorCode::Timeout, "the deadline has passed")
    }

    /// The job was cancelled.
    pub fn cancelled() -> Self {
        Self::new(ErrorCode::Cancelled, "the job was cancelled")
    }

    /// There is no such target.
    pub fn not_found(target: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is no target \"{target}\""))
    }

    /// An option does not make sense for the target; `field` names the option or the column.
    pub fn invalid_request(field: &str, expected: &str) -> Self {
        Self::new(ErrorCode::InvalidRequest, format!("{field}: expected {expected}")).field(field)
    }

    /// The filter uses an operator that the plugin does not have, e.g. `$ilike`.
    pub fn unsupported_operator(operator: &str) -> Self {
        let message = format!("the operator {operator} is not supported");
        Self::new(ErrorCode::UnsupportedOperator, message).field(operator)
    }

    /// The plugin does not do this, or not for this target.
    pub fn unsupported_kind(what: &str) -> Self {
        Self::new(ErrorCode::UnsupportedKind, format!("{what} is not supported"))
    }

    /// The database refused or aborted the query, or answered what makes no sense.
    pub fn query_failed(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::QueryFailed, message)
    }

    /// The database asks for patience.
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::RateLimited, message)
    }

    /// A limit of the database or of the plugin was reached.
    pub fn resource_exhausted(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ResourceExhausted, message)
    }

    /// A fault of the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The same about this setting, option, column or operator.
    #[must_use]
    pub fn field(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// The same with the database's own code: a SQLSTATE, an HTTP status.
    #[must_use]
    pub fn native_code(self, code: impl ToString) -> Self {
        Self { native_code: Some(code.to_string()), ..self }
    }

    /// The same with how long to wait before another try makes sense.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The same, and the connection is of no more use: the runner drops it and opens another for the next job.
    #[must_use]
    pub fn connection_lost(self) -> Self {
        Self { connection_lost: true, ..self }
    }

    /// The same with words in front: `context: message`.
    #[must_use]
    pub fn within(self, context: &str) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }

    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What the caller reads.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What it is about, see [`field`](Self::field).
    pub fn about(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The database's own code.
    pub fn native(&self) -> Option<&str> {
        self.native_code.as_deref()
    }

    /// How long to wait before another try, where that is known.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the connection is of no more use.
    pub fn is_connection_lost(&self) -> bool {
        self.connection_lost
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        let ms = |wait: Duration| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        Self {
            code: error.code,
            message: error.message,
            field: error.field,
            native_code: error.native_code,
            retry_after_ms: error.retry_after.map(ms),
            connection_lost: error.connection_lost,
        }
    }
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        Self {
            code: error.code,
            message: error.message,
            field: error.field,
            native_code: error.native_code,
            retry_after: error.retry_after_ms.map(|ms| Duration::from_millis(ms.into())),
            connection_lost: error.connection_lost,
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::invalid_request(&invalid.field, &invalid.expected)
    }
}

impl From<UnsupportedOperator> for Error {
    fn from(operator: UnsupportedOperator) -> Self {
        Self::unsupported_operator(&operator.op)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Invalid(invalid) => invalid.into(),
            RequestError::Operator(operator) => operator.into(),
        }
    }
}

/// What was to be JSON is none, or not of the expected shape.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::query_failed(format!("the answer is not the JSON that was expected ({error})"))
    }
}

/// So that `?` works on what reads from and writes to a [`net::Stream`](crate::net::Stream): its own errors come back as
/// they were, others mean that the connection is lost.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => Self::unreachable(format!("the connection broke ({error})")).connection_lost(),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.code {
            ErrorCode::Timeout => io::ErrorKind::TimedOut,
            ErrorCode::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorCode::Unreachable => io::ErrorKind::ConnectionAborted,
            // Not `Interrupted`: that would make `read_exact` and its like try again.
            ErrorCode::Cancelled
            | ErrorCode::InvalidConfig
            | ErrorCode::Unauthenticated
            | ErrorCode::NotFound
            | ErrorCode::InvalidRequest
            | ErrorCode::UnsupportedOperator
            | ErrorCode::UnsupportedKind
            | ErrorCode::QueryFailed
            | ErrorCode::RateLimited
            | ErrorCode::ResourceExhausted
            | ErrorCode::Internal => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_a_reader() {
        let cancelled = Error::cancelled();
        assert_eq!(Error::from(io::Error::from(cancelled.clone())), cancelled);
        let torn = Error::from(io::Error::new(io::ErrorKind::UnexpectedEof, "early end"));
        assert_eq!((torn.code(), torn.is_connection_lost()), (ErrorCode::Unreachable, true));
    }

    #[test]
    fn an_error_survives_the_way_over_the_boundary() {
        let error = Error::query_failed("syntax error")
            .field("name")
            .native_code(42601)
            .retry_after(Duration::from_millis(1_500))
            .connection_lost();
        assert_eq!(Error::from(wit::Error::from(error.clone())), error);
    }

    #[test]
    fn a_wait_of_months_is_cut_to_what_fits() {
        let error = Error::rate_limited("later").retry_after(Duration::from_secs(10_000_000));
        assert_eq!(wit::Error::from(error).retry_after_ms, Some(u32::MAX));
    }
}
