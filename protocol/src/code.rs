use std::fmt;

/// The closed list of failures that callers see, with the name on the wire and the HTTP status of each.
///
/// Spec: protocol, section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorCode {
    /// Malformed where, options or body; the message names the field.
    BadRequest,
    /// An operator that the bridge does not have.
    UnsupportedOperator,
    /// A job kind that the bridge cannot do.
    UnsupportedKind,
    /// The runner has no bridge of that name.
    UnknownBridge,
    /// A runner-local source without variables on this runner.
    SourceNotConfigured,
    /// Connect, TLS or login to the database failed.
    SourceUnreachable,
    /// The database refused the query.
    SourceQueryFailed,
    /// The deadline passed, and the statement was cancelled at the server.
    QueryTimeout,
    /// The caller went away or cancelled.
    Cancelled,
    /// One row above the row limit.
    RowTooLarge,
    /// No slot before the deadline.
    RunnerBusy,
    /// The runner is about to stop; the gateway places the job elsewhere.
    RunnerDraining,
    /// The source has assignments, and no runner of them is online.
    NoRunnersOnline,
    /// The runner was lost after rows had been delivered.
    RunnerFailed,
    /// A command or image was refused by policy.
    PolicyDenied,
    /// No such runner.
    TargetNotFound,
    /// A plugin trapped, or ran out of memory or time.
    PluginFailed,
    /// Ours; the message carries only an incident id.
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of the specification.
    pub const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::UnsupportedOperator,
        Self::UnsupportedKind,
        Self::UnknownBridge,
        Self::SourceNotConfigured,
        Self::SourceUnreachable,
        Self::SourceQueryFailed,
        Self::QueryTimeout,
        Self::Cancelled,
        Self::RowTooLarge,
        Self::RunnerBusy,
        Self::RunnerDraining,
        Self::NoRunnersOnline,
        Self::RunnerFailed,
        Self::PolicyDenied,
        Self::TargetNotFound,
        Self::PluginFailed,
        Self::Internal,
    ];

    /// The name on the wire and in HTTP bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnsupportedOperator => "unsupported_operator",
            Self::UnsupportedKind => "unsupported_kind",
            Self::UnknownBridge => "unknown_bridge",
            Self::SourceNotConfigured => "SOURCE_NOT_CONFIGURED",
            Self::SourceUnreachable => "SOURCE_UNREACHABLE",
            Self::SourceQueryFailed => "SOURCE_QUERY_FAILED",
            Self::QueryTimeout => "QUERY_TIMEOUT",
            Self::Cancelled => "CANCELLED",
            Self::RowTooLarge => "ROW_TOO_LARGE",
            Self::RunnerBusy => "RUNNER_BUSY",
            Self::RunnerDraining => "RUNNER_DRAINING",
            Self::NoRunnersOnline => "no_runners_online",
            Self::RunnerFailed => "runner_failed",
            Self::PolicyDenied => "POLICY_DENIED",
            Self::TargetNotFound => "TARGET_NOT_FOUND",
            Self::PluginFailed => "PLUGIN_FAILED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The HTTP status that goes with the code. `RUNNER_DRAINING` never reaches a caller; should it, it reads as busy.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest | Self::UnsupportedOperator => 400,
            Self::PolicyDenied => 403,
            Self::TargetNotFound => 404,
            Self::RowTooLarge => 413,
            Self::SourceQueryFailed => 422,
            Self::Cancelled => 499,
            Self::Internal => 500,
            Self::UnsupportedKind => 501,
            Self::UnknownBridge | Self::SourceUnreachable | Self::RunnerFailed | Self::PluginFailed => 502,
            Self::SourceNotConfigured | Self::RunnerBusy | Self::RunnerDraining | Self::NoRunnersOnline => {
                503
            }
            Self::QueryTimeout => 504,
        }
    }

    /// The code with this wire name. Foreign runners may spell a code in the other case; that is understood too.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_are_distinct_and_read_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::from_wire("cancelled"), Some(ErrorCode::Cancelled));
        assert_eq!(ErrorCode::from_wire("nonsense"), None);
    }
}
