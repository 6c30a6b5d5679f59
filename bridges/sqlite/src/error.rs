//! What SQLite says when it refuses, and what a caller is told.

use bridge_core::BridgeError;
use bridge_sql::SqlError;
use protocol::Invalid;
use rusqlite::ErrorCode;
use thiserror::Error;

use crate::connect::Stop;

/// Why a piece of work on a connection ended. Knows more than [`BridgeError`]: whether waiting may help, and whether the
/// connection is still good.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// SQLite refused.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The request cannot be said in SQL.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The work was told to end.
    #[error("{0}")]
    Stopped(Stop),
    /// Anything that a bridge can say by itself.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
}

impl Failure {
    /// Whether a writer is in the way, so that trying again may help.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Whether the next job should open the file anew: it is damaged, was moved away or could not be read.
    pub(crate) fn spoils_connection(&self) -> bool {
        match self.code() {
            Some(
                ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed,
            ) => true,
            Some(_) | None => false,
        }
    }

    /// What the caller is told. `stop` is why the work had to end, if it had to: SQLite itself only says "interrupted".
    pub(crate) fn into_bridge(self, stop: Option<Stop>) -> BridgeError {
        match self {
            Self::Bridge(error) => error,
            Self::Sql(error) => error.of_bridge(crate::NAME),
            Self::Stopped(stop) => stop.into(),
            Self::Database(error) => match (error.sqlite_error_code(), stop) {
                (Some(ErrorCode::OperationInterrupted), Some(stop)) => stop.into(),
                (Some(ErrorCode::TooBig), _) => BridgeError::RowTooLarge { limit: protocol::ROW_LIMIT_BYTES },
                (Some(ErrorCode::CannotOpen), _) => while_connecting(refused(error)),
                (Some(ErrorCode::ReadOnly), _) => needs_writer(error),
                _ => refused(error),
            },
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Database(error) => error.sqlite_error_code(),
            Self::Sql(_) | Self::Stopped(_) | Self::Bridge(_) => None,
        }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Bridge(invalid.into())
    }
}

impl From<Stop> for BridgeError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Deadline => Self::Timeout,
            Stop::Cancelled => Self::query("the query was cancelled"),
        }
    }
}

/// The same failure, said by an attempt to connect.
pub(crate) fn while_connecting(error: BridgeError) -> BridgeError {
    match error {
        BridgeError::Query { message, source, .. } => BridgeError::Unreachable { message, source },
        BridgeError::Config(_)
        | BridgeError::Invalid(_)
        | BridgeError::Operator(_)
        | BridgeError::UnsupportedKind { .. }
        | BridgeError::Unreachable { .. }
        | BridgeError::Timeout
        | BridgeError::RowTooLarge { .. }
        | BridgeError::Plugin(_)
        | BridgeError::Internal(_) => error,
    }
}

/// A reader found what only a writer can put in order.
fn needs_writer(error: rusqlite::Error) -> BridgeError {
    let message = "a writer left the database in the middle of its work: it has to be opened once to write, \
        before it can be read";
    match refused(error) {
        BridgeError::Query { native, source, .. } => {
            BridgeError::Query { message: message.to_owned(), native, source }
        }
        other => other,
    }
}

/// SQLite's own words and number. The statement's text stays in the source, which goes to the log only.
fn refused(error: rusqlite::Error) -> BridgeError {
    let message = match &error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(code, None) => code.to_string(),
        other => other.to_string(),
    };
    let native = error.sqlite_error().map(|code| code.extended_code.to_string());
    BridgeError::Query { message, native, source: Some(Box::new(error)) }
}
