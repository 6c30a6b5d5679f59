//! The one match from failures to what callers see.
//!
//! A message may quote a driver, so it is scrubbed of the source's secrets before it leaves the process. A fault of ours
//! shows only an incident id; what happened stands in the log under the same id.

#![deny(clippy::wildcard_enum_match_arm)]

use std::io;

use bridge_core::BridgeError;
use protocol::{ErrorCode, ErrorFrame, ExecError, RequestError, UnsupportedOperator};
use runtime::secrets::Scrubber;
use sandbox::{SandboxError, SandboxErrorCode};

use crate::error::{Failure, SourceProblem};
use crate::exec::Rule;

/// What a caller hears of a failed job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    operator: Option<UnsupportedOperator>,
    rule: Option<Rule>,
}

impl Outcome {
    /// What `failure` looks like from outside. `scrubber` knows the secrets of the source that the job was for.
    pub(crate) fn of(failure: &Failure, scrubber: &Scrubber) -> Self {
        let mut outcome = public(failure);
        if outcome.code == ErrorCode::Internal {
            outcome.message = report_incident(failure, scrubber);
        }
        outcome.message = scrubber.scrub(&outcome.message).into_owned();
        outcome
    }

    /// The frame that says so.
    pub(crate) fn frame(self, id: &str) -> ErrorFrame {
        let operator = self.operator;
        ErrorFrame {
            id: id.to_owned(),
            code: self.code.as_str().to_owned(),
            message: self.message,
            op: operator.as_ref().map(|operator| operator.op.clone()),
            target: operator.as_ref().and_then(|operator| operator.target.clone()),
            bridge: operator.and_then(|operator| operator.bridge),
        }
    }
}

impl Outcome {
    /// The frame that says so of a shell job.
    pub(crate) fn shell_frame(self, job_id: &str) -> ExecError {
        ExecError {
            job_id: job_id.to_owned(),
            error: self.message,
            code: self.code.as_str().to_owned(),
            rule: self.rule.map(|rule| rule.as_str().to_owned()),
            ..ExecError::default()
        }
    }
}

fn public(failure: &Failure) -> Outcome {
    match failure {
        Failure::Request(request) => of_request(request),
        Failure::DuplicateId => says(ErrorCode::BadRequest, "id: expected one that no running job has"),
        Failure::Draining => says(ErrorCode::RunnerDraining, failure),
        Failure::Busy => says(ErrorCode::RunnerBusy, failure),
        Failure::UnknownSource { .. } => says(ErrorCode::SourceNotConfigured, failure),
        Failure::Source(problem) => of_problem(problem),
        Failure::Connect(bridge) => of_connect(bridge),
        Failure::ConnectTooSlow | Failure::ConnectAbandoned => says(ErrorCode::SourceUnreachable, failure),
        Failure::Bridge(bridge) => of_bridge(bridge),
        Failure::Cancelled => says(ErrorCode::Cancelled, failure),
        Failure::TimedOut | Failure::CommandTimedOut(_) => says(ErrorCode::QueryTimeout, failure),
        Failure::Denied(denied) => {
            Outcome { rule: Some(denied.rule), ..says(ErrorCode::PolicyDenied, &denied.message) }
        }
        Failure::Start(error) if is_callers(error) => says(ErrorCode::BadRequest, failure),
        Failure::Start(_) | Failure::NoSandbox => says(ErrorCode::RunnerFailed, failure),
        Failure::Sandbox(error) => of_sandbox(error),
        Failure::Unwritable(_) | Failure::Panicked => internal(),
    }
}

/// Whether a program could not be started because there is none of that name.
fn is_callers(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind())
}

fn of_sandbox(error: &SandboxError) -> Outcome {
    match error.code() {
        SandboxErrorCode::InvalidRequest | SandboxErrorCode::InvalidRunStep => {
            says(ErrorCode::BadRequest, error)
        }
        SandboxErrorCode::Busy => says(ErrorCode::RunnerBusy, error),
        SandboxErrorCode::DockerUnreachable
        | SandboxErrorCode::VolumeCreateFailed
        | SandboxErrorCode::SeedFailed
        | SandboxErrorCode::ContainerStartFailed
        | SandboxErrorCode::NetworkConnectFailed
        | SandboxErrorCode::ExtractFailed
        | SandboxErrorCode::BuildFailed
        | SandboxErrorCode::EngineFailed
        | SandboxErrorCode::StateFailed
        | SandboxErrorCode::RunNotFound
        | SandboxErrorCode::RunEnded => says(ErrorCode::RunnerFailed, format!("{}: {error}", error.code())),
    }
}

fn of_request(request: &RequestError) -> Outcome {
    match request {
        RequestError::Invalid(invalid) => says(ErrorCode::BadRequest, invalid),
        RequestError::Operator(operator) => of_operator(operator),
    }
}

fn of_problem(problem: &SourceProblem) -> Outcome {
    match problem {
        SourceProblem::NotConfigured { .. } => says(ErrorCode::SourceNotConfigured, problem),
        SourceProblem::UnknownBridge { .. } => says(ErrorCode::UnknownBridge, problem),
    }
}

/// While a source is being opened, being late and being refused both mean that it cannot be reached.
fn of_connect(bridge: &BridgeError) -> Outcome {
    match bridge {
        BridgeError::Timeout => {
            says(ErrorCode::SourceUnreachable, "the source did not answer in time while it was being opened")
        }
        BridgeError::Unreachable { .. } | BridgeError::Query { .. } => {
            says(ErrorCode::SourceUnreachable, bridge)
        }
        BridgeError::Config(_) | BridgeError::Invalid(_) => says(ErrorCode::SourceNotConfigured, bridge),
        BridgeError::Operator(_) | BridgeError::UnsupportedKind { .. } | BridgeError::RowTooLarge { .. } => {
            of_bridge(bridge)
        }
        BridgeError::Plugin(_) => says(ErrorCode::PluginFailed, bridge),
        BridgeError::Internal(_) => internal(),
    }
}

fn of_bridge(bridge: &BridgeError) -> Outcome {
    match bridge {
        BridgeError::Config(_) => says(ErrorCode::SourceNotConfigured, bridge),
        BridgeError::Invalid(_) => says(ErrorCode::BadRequest, bridge),
        BridgeError::Operator(operator) => of_operator(operator),
        BridgeError::UnsupportedKind { .. } => says(ErrorCode::UnsupportedKind, bridge),
        BridgeError::Unreachable { .. } => says(ErrorCode::SourceUnreachable, bridge),
        BridgeError::Query { .. } => says(ErrorCode::SourceQueryFailed, bridge),
        BridgeError::Timeout => says(ErrorCode::QueryTimeout, bridge),
        BridgeError::RowTooLarge { .. } => says(ErrorCode::RowTooLarge, bridge),
        BridgeError::Plugin(_) => says(ErrorCode::PluginFailed, bridge),
        BridgeError::Internal(_) => internal(),
    }
}

fn of_operator(operator: &UnsupportedOperator) -> Outcome {
    Outcome { operator: Some(operator.clone()), ..says(ErrorCode::UnsupportedOperator, operator) }
}

fn says(code: ErrorCode, message: impl ToString) -> Outcome {
    Outcome { code, message: message.to_string(), operator: None, rule: None }
}

fn internal() -> Outcome {
    says(ErrorCode::Internal, "")
}

fn report_incident(failure: &Failure, scrubber: &Scrubber) -> String {
    let incident = uuid::Uuid::now_v7();
    let detail = runtime::error::with_sources(failure);
    tracing::error!(%incident, detail = scrubber.scrub(&detail).as_ref(), "internal error");
    format!("internal error, incident {incident}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::{Invalid, Secret};

    use super::*;

    fn outcome(failure: Failure) -> (ErrorCode, String) {
        let outcome = Outcome::of(&failure, &Scrubber::new(&[Secret::new("hunter2")]));
        (outcome.code, outcome.message)
    }

    #[test]
    fn a_wrong_field_is_named() {
        let failure = Invalid::new("where.price", "a number").into();
        assert_eq!(outcome(failure), (ErrorCode::BadRequest, "where.price: expected a number".to_owned()));
    }

    #[test]
    fn a_secret_in_a_drivers_words_does_not_leave() {
        let failure = Failure::Connect(Arc::new(BridgeError::unreachable(
            "login of app with hunter2 failed for postgres://app:hunter2@db/app",
        )));
        let (code, message) = outcome(failure);
        assert_eq!(code, ErrorCode::SourceUnreachable);
        assert!(!message.contains("hunter2") && message.contains("[redacted]"), "{message}");
    }

    #[test]
    fn a_fault_of_ours_shows_only_an_incident() {
        let (code, message) = outcome(BridgeError::Internal("the cache is empty".into()).into());
        assert_eq!(code, ErrorCode::Internal);
        assert!(message.starts_with("internal error, incident ") && !message.contains("cache"), "{message}");
    }

    #[test]
    fn being_late_is_a_timeout_in_a_query_and_unreachable_in_a_connect() {
        assert_eq!(outcome(BridgeError::Timeout.into()).0, ErrorCode::QueryTimeout);
        assert_eq!(outcome(Failure::Connect(Arc::new(BridgeError::Timeout))).0, ErrorCode::SourceUnreachable);
        assert_eq!(outcome(Failure::ConnectTooSlow).0, ErrorCode::SourceUnreachable);
    }

    #[test]
    fn an_operator_travels_in_its_own_fields() {
        let operator = UnsupportedOperator::new("$near").on("shops", "@semilayer/bridge-sqlite");
        let failure = Failure::Bridge(BridgeError::Operator(operator));
        let frame = Outcome::of(&failure, &Scrubber::default()).frame("7");
        assert_eq!(frame.code, "unsupported_operator");
        assert_eq!(
            (frame.op.as_deref(), frame.target.as_deref(), frame.bridge.as_deref()),
            (Some("$near"), Some("shops"), Some("@semilayer/bridge-sqlite"))
        );
    }
}
