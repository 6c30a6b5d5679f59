//! What can be wrong with a request or a frame, in the words that a caller sees.

use std::fmt;

use thiserror::Error;

use crate::ErrorCode;
use crate::json::quoted;

/// Characters of a field's path that are kept; keys of a filter can be megabytes.
const MAX_PATH: usize = 1_000;

/// A value that is not what its field takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: expected {expected}")]
pub struct Invalid {
    /// Dotted path of the field, e.g. `where.price.$gt` or `orderBy[1].field`.
    pub field: String,
    /// What would have been right, e.g. `a string, a number or a boolean`.
    pub expected: String,
}

impl Invalid {
    /// A mistake in `field`, which takes `expected`.
    pub fn new(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: bounded(field.into()), expected: expected.into() }
    }

    /// The same mistake seen from one level up: `prefix.field`.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        let field = match self.field.as_str() {
            "" => prefix.to_owned(),
            field if field.starts_with('[') => format!("{prefix}{field}"),
            field => format!("{prefix}.{field}"),
        };
        Self { field: bounded(field), ..self }
    }
}

fn bounded(mut path: String) -> String {
    if let Some((end, _)) = path.char_indices().nth(MAX_PATH) {
        path.truncate(end);
    }
    path
}

/// A `where` operator that the bridge does not have. The message follows spec section "Unsupported operators", because
/// callers of the published bridges match on it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct UnsupportedOperator {
    /// The operator with its `$`.
    pub op: String,
    /// The table, collection or prefix that was asked for.
    pub target: Option<String>,
    /// Package name of the bridge.
    pub bridge: Option<String>,
}

impl UnsupportedOperator {
    /// An operator that is not known; the `$` is added where it is missing, and of a very long one the beginning is kept.
    pub fn new(op: &str) -> Self {
        let op = quoted(op);
        let op = if op.starts_with('$') { op } else { format!("${op}") };
        Self { op, target: None, bridge: None }
    }

    /// Says for which target and bridge the operator was meant.
    #[must_use]
    pub fn on(mut self, target: &str, bridge: &str) -> Self {
        self.target = Some(target.to_owned());
        self.bridge = Some(bridge.to_owned());
        self
    }
}

impl fmt::Display for UnsupportedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bridge does not support where operator \"{}\"", self.op)?;
        if let Some(target) = &self.target {
            write!(f, " on target \"{target}\"")?;
        }
        if let Some(bridge) = &self.bridge {
            write!(f, " ({bridge})")?;
        }
        Ok(())
    }
}

/// Why options were refused before any IO.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A field has a wrong value.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A filter uses an operator that does not exist, or that the bridge does not have.
    #[error(transparent)]
    Operator(#[from] UnsupportedOperator),
}

impl RequestError {
    /// The same mistake seen from one level up.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        match self {
            Self::Invalid(invalid) => Self::Invalid(invalid.within(prefix)),
            Self::Operator(operator) => Self::Operator(operator),
        }
    }

    /// The code that a caller sees.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::BadRequest,
            Self::Operator(_) => ErrorCode::UnsupportedOperator,
        }
    }
}

/// Why a text is not a frame. The first two close the socket with 1002; the others answer or skip that frame alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Not JSON, or not one JSON object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// An object without a string `type`.
    #[error("no string \"type\"")]
    NoType,
    /// A known type with a field that is missing or of the wrong kind.
    #[error("{kind} frame: {invalid}")]
    Field {
        /// The frame's `type`.
        kind: &'static str,
        /// The frame's `id`, where it has one, so that the job can be answered.
        id: Option<String>,
        /// What is wrong.
        invalid: Invalid,
    },
}

impl FrameError {
    /// Whether the socket must be closed with 1002: after such a text nothing on it can be trusted.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::NotJson(_) | Self::NoType => true,
            Self::Field { .. } => false,
        }
    }
}
