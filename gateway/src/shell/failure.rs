//! Why a shell job was refused or has failed: one shape, with the status of its code.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::{ErrorCode, ErrorFrame, ExecError};
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::dispatch::failure_of;
use crate::jobs::Ending;

/// Characters of a rule's name that are passed on.
const MAX_RULE: usize = 200;

/// Why a shell job was refused or has failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: FailureKind,
    error: ApiError,
    /// The rule that refused it.
    rule: Option<String>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    /// The caller's: the request as it is will never be done.
    Validation,
    /// Somebody else's: the same request may be done another time, or was begun.
    Execution,
}

impl Failure {
    /// The request is at fault.
    pub(crate) fn validation(error: ApiError) -> Self {
        Self { kind: FailureKind::Validation, error, rule: None }
    }

    /// The execution is.
    pub(crate) fn execution(error: ApiError) -> Self {
        Self { kind: FailureKind::Execution, error, rule: None }
    }

    /// The request is refused by one of our rules.
    pub(crate) fn denied(rule: impl Into<String>, message: impl Into<String>) -> Self {
        let (rule, error) = (rule.into(), ApiError::coded(ErrorCode::PolicyDenied, message));
        Self { rule: Some(rule.clone()), ..Self::validation(error.with("rule", rule)) }
    }

    /// Somebody else than its caller has ended the command.
    pub(crate) fn ended(why: Ending) -> Self {
        let message = why.message("command");
        match why.rule() {
            Some(rule) => Self::ruled(rule, ErrorCode::Cancelled, message),
            None => Self::execution(ApiError::coded(ErrorCode::Cancelled, message)),
        }
    }

    /// The execution is ended by one of our rules.
    pub(crate) fn ruled(rule: impl Into<String>, code: ErrorCode, message: impl Into<String>) -> Self {
        let (rule, error) = (rule.into(), ApiError::coded(code, message));
        Self { rule: Some(rule.clone()), ..Self::execution(error.with("rule", rule)) }
    }

    /// The gateway is about to stop and begins nothing more.
    pub(crate) fn draining() -> Self {
        let message = "the gateway is about to stop";
        let error = ApiError::http(StatusCode::SERVICE_UNAVAILABLE, "draining", message);
        Self::execution(error.retry_after(1))
    }

    /// What a runner says. Only what the caller did may be called cancelled: a runner that ends a command by itself, because
    /// it stops, has failed it.
    pub(crate) fn of_runner(error: ExecError) -> Self {
        let cut = |rule: String| rule.chars().take(MAX_RULE).collect::<String>();
        let rule = error.rule.map(cut).filter(|rule| !rule.is_empty());
        let code = ErrorCode::from_wire(&error.code);
        let code = if code == Some(ErrorCode::Cancelled) { Some(ErrorCode::RunnerFailed) } else { code };
        let frame = ErrorFrame { code: error.code, message: error.error, ..ErrorFrame::default() };
        let failure = failure_of(code, frame);
        let failure = match &rule {
            Some(rule) => failure.with("rule", rule.as_str()),
            None => failure,
        };
        Self { rule, ..Self::execution(failure) }
    }

    /// The code that the caller sees.
    pub(crate) fn code(&self) -> &'static str {
        self.error.code()
    }

    /// The message that the caller sees.
    pub(crate) fn message(&self) -> &str {
        self.error.message()
    }

    /// The rule that refused it.
    pub(crate) fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// The same with one more field in the envelope.
    #[must_use]
    pub(crate) fn with(self, key: &str, value: impl Into<Value>) -> Self {
        Self { error: self.error.with(key, value), ..self }
    }

    /// `{ok: false, error_type, user_message, code, …}`, with the message under the name that it has in every other answer, too.
    pub(crate) fn envelope(&self) -> Value {
        let kind = match self.kind {
            FailureKind::Validation => "validation_error",
            FailureKind::Execution => "execution_error",
        };
        let mut envelope = json!({"ok": false, "error_type": kind, "user_message": self.error.message()});
        if let (Value::Object(envelope), Value::Object(fields)) = (&mut envelope, self.error.body()) {
            envelope.extend(fields);
        }
        envelope
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let envelope = self.envelope();
        self.error.respond(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_one_shape() {
        let refused = Failure::denied("capability.sandbox", "no").with("target", "edge");
        assert_eq!(
            refused.envelope(),
            json!({"ok": false, "error_type": "validation_error", "user_message": "no", "error": "no", "code": "POLICY_DENIED",
                "rule": "capability.sandbox", "target": "edge"})
        );
        assert_eq!(refused.into_response().status(), 403);
    }

    #[test]
    fn a_runners_words_are_cut_and_its_codes_are_ours() {
        let said = |code: &str, rule: Option<&str>| {
            let error = ExecError {
                code: code.to_owned(),
                error: "m".repeat(100_000),
                rule: rule.map(str::to_owned),
                ..ExecError::default()
            };
            Failure::of_runner(error)
        };
        let denied = said("POLICY_DENIED", Some(&"r".repeat(1_000)));
        assert_eq!((denied.code(), denied.rule().unwrap().len()), ("POLICY_DENIED", MAX_RULE));
        assert!(denied.message().len() < 5_000);
        assert_eq!(denied.envelope()["error_type"], "execution_error");
        for (code, ours) in [
            ("QUERY_TIMEOUT", "QUERY_TIMEOUT"),
            ("RUNNER_BUSY", "RUNNER_BUSY"),
            ("RUNNER_DRAINING", "no_runners_online"),
            ("bad_request", "bad_request"),
            ("CANCELLED", "runner_failed"),
            ("E_ELSE", "runner_failed"),
        ] {
            assert_eq!(said(code, None).code(), ours, "{code}");
        }
    }
}
