//! Why a request cannot be said in SQL.

use bridge_core::BridgeError;
use protocol::Invalid;
use thiserror::Error;

/// Why a request cannot be said in a dialect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SqlError {
    /// The request does not fit the table.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The dialect has no words for it.
    #[error("{what} is not supported by {dialect}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// The dialect's name.
        dialect: &'static str,
    },
}

impl SqlError {
    /// What a caller is told: refusals name the bridge, not its dialect.
    pub fn of_bridge(self, bridge: &str) -> BridgeError {
        match self {
            Self::Invalid(invalid) => BridgeError::Invalid(invalid),
            Self::Unsupported { what, .. } => {
                BridgeError::UnsupportedKind { what, bridge: bridge.to_owned() }
            }
        }
    }

    /// The same mistake seen from one level up.
    #[must_use]
    pub(crate) fn within(self, prefix: &str) -> Self {
        match self {
            Self::Invalid(invalid) => Self::Invalid(invalid.within(prefix)),
            unsupported @ Self::Unsupported { .. } => unsupported,
        }
    }
}

impl From<SqlError> for BridgeError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Invalid(invalid) => Self::Invalid(invalid),
            SqlError::Unsupported { what, dialect } => {
                Self::UnsupportedKind { what, bridge: dialect.to_owned() }
            }
        }
    }
}
