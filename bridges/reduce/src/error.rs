use bridge_core::BridgeError;
use protocol::Invalid;
use thiserror::Error;

/// Why rows could not be reduced.
#[derive(Debug, Error)]
pub enum ReduceError {
    /// The buckets and measures need more memory than they may have.
    #[error("the aggregate needs more than its limit of {limit} bytes of memory")]
    Memory {
        /// Bytes.
        limit: usize,
    },
    /// The rows that may be in the answer need more memory than they may have.
    #[error(
        "the rows to choose from need more than their limit of {limit} bytes of memory: ask for fewer with limit, \
         select or where"
    )]
    Rows {
        /// Bytes.
        limit: usize,
    },
    /// One row is larger than the caller takes.
    #[error("a row is larger than {limit} bytes")]
    RowTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The options ask for something that cannot be done in process.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A row is not a JSON object.
    #[error("a row is not a JSON object: {0}")]
    Row(#[source] serde_json::Error),
}

impl From<ReduceError> for BridgeError {
    fn from(error: ReduceError) -> Self {
        match error {
            ReduceError::Memory { .. } | ReduceError::Rows { .. } => Self::query(error.to_string()),
            ReduceError::RowTooLarge { limit } => Self::RowTooLarge { limit },
            ReduceError::Invalid(invalid) => Self::Invalid(invalid),
            ReduceError::Row(_) => Self::Internal(error.to_string()),
        }
    }
}
