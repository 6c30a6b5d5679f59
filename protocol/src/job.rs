//! What a job asks for.

use std::fmt;

use serde_json::value::RawValue;

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Rows by filter, order, limit and offset.
    Query,
    /// One page of a full scan.
    Read,
    /// Rows by keys.
    BatchRead,
    /// How many rows match.
    Count,
    /// The tables, collections or prefixes.
    ListTargets,
    /// The columns of one target.
    IntrospectTarget,
    /// Ranked by text.
    Search,
    /// Ranked by distance.
    Similar,
    /// Connect and leave.
    Test,
    /// Buckets and measures.
    Aggregate,
    /// A kind that this build does not know; answered `unsupported_kind`.
    Unknown(String),
}

impl JobKind {
    /// Every known kind.
    pub const ALL: [Self; 10] = [
        Self::Query,
        Self::Read,
        Self::BatchRead,
        Self::Count,
        Self::ListTargets,
        Self::IntrospectTarget,
        Self::Search,
        Self::Similar,
        Self::Test,
        Self::Aggregate,
    ];

    /// The kind of that wire name.
    pub fn of(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        known.unwrap_or_else(|| Self::Unknown(name.to_owned()))
    }

    /// The wire name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Query => "query",
            Self::Read => "read",
            Self::BatchRead => "batchRead",
            Self::Count => "count",
            Self::ListTargets => "listTargets",
            Self::IntrospectTarget => "introspectTarget",
            Self::Search => "search",
            Self::Similar => "similar",
            Self::Test => "test",
            Self::Aggregate => "aggregate",
            Self::Unknown(name) => name,
        }
    }

    /// A name of bounded cardinality for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Read => "read",
            Self::BatchRead => "batchRead",
            Self::Count => "count",
            Self::ListTargets => "listTargets",
            Self::IntrospectTarget => "introspectTarget",
            Self::Search => "search",
            Self::Similar => "similar",
            Self::Test => "test",
            Self::Aggregate => "aggregate",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A job for one source.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// Name of the source (or its id, which a gateway may send instead).
    pub source: String,
    /// What to do.
    pub kind: JobKind,
    /// Table, collection or prefix; empty where the kind needs none.
    pub target: String,
    /// The kind's options, not yet parsed: `{}` where the frame has none.
    pub options: Box<RawValue>,
}
