//! What a guest's refusals mean for the caller.

use std::sync::Arc;

use bridge_core::{BridgeError, ConfigMistakes};
use protocol::{Invalid, JobKind, UnsupportedOperator};

use crate::ask::Failed;
use crate::bindings::types::{Error, ErrorCode, Mistake};
use crate::call::Ended;
use crate::error::PluginFailure;
use crate::limits::{CODE_BYTES, MESSAGE_BYTES, MISTAKES};
use crate::log::{cut, flat};

/// What was asked, for the words of a failure.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) plugin: Arc<str>,
    pub(crate) kind: JobKind,
    pub(crate) target: String,
}

impl Asked {
    /// Why there is no answer.
    pub(crate) fn failure(&self, failed: Failed) -> BridgeError {
        match failed {
            Failed::Said(error) => self.refusal(error),
            Failed::Mistaken(mistakes) => BridgeError::Config(mistaken(mistakes)),
            Failed::Broke(failure) => failure.into(),
            Failed::Over(Ended::TimedOut) => BridgeError::Timeout,
            // A job whose caller has gone is not answered; what is left is a source that is being closed.
            Failed::Over(Ended::Cancelled) => BridgeError::unreachable("the source has been closed"),
        }
    }

    fn refusal(&self, error: Error) -> BridgeError {
        let message = told(&error);
        let native = error.native_code.as_deref().map(|code| line(code, CODE_BYTES));
        let field = error.field.as_deref().map(|field| line(field, CODE_BYTES));
        match error.code {
            ErrorCode::InvalidConfig => {
                let field = field.unwrap_or_else(|| "config".to_owned());
                BridgeError::Config(ConfigMistakes(vec![other_than(field, &message)]))
            }
            ErrorCode::Unauthenticated | ErrorCode::Unreachable => BridgeError::unreachable(message),
            ErrorCode::Timeout => BridgeError::Timeout,
            ErrorCode::Cancelled => {
                PluginFailure::Wrong("that the job was cancelled, which it was not".to_owned()).into()
            }
            ErrorCode::InvalidRequest => match field {
                Some(field) => BridgeError::Invalid(other_than(field, &message)),
                None => BridgeError::Invalid(other_than("options".to_owned(), &message)),
            },
            ErrorCode::UnsupportedOperator => {
                let operator = UnsupportedOperator::new(&field.unwrap_or(message));
                BridgeError::Operator(operator.on(&self.target, &self.plugin))
            }
            ErrorCode::UnsupportedKind => {
                BridgeError::UnsupportedKind { what: self.kind.to_string(), bridge: self.plugin.to_string() }
            }
            ErrorCode::PermissionDenied
            | ErrorCode::NotFound
            | ErrorCode::QueryFailed
            | ErrorCode::RateLimited
            | ErrorCode::ResourceExhausted => BridgeError::Query { message, native, source: None },
            ErrorCode::Internal => BridgeError::Plugin(format!("the plugin failed: {message}")),
        }
    }
}

/// Whether the guest leaves such a job to the runner.
pub(crate) fn is_left_to_us(failed: &Failed) -> bool {
    matches!(failed, Failed::Said(error) if error.code == ErrorCode::UnsupportedKind)
}

/// What a guest finds wrong with a configuration.
pub(crate) fn mistaken(mistakes: Vec<Mistake>) -> ConfigMistakes {
    let mistake = |mistake: Mistake| {
        Invalid::new(line(&mistake.field, CODE_BYTES), line(&mistake.expected, MESSAGE_BYTES))
    };
    ConfigMistakes(mistakes.into_iter().take(MISTAKES).map(mistake).collect())
}

/// The guest says what is wrong, not what would have been right.
fn other_than(field: String, message: &str) -> Invalid {
    Invalid::new(field, format!("something else: {message}"))
}

fn told(error: &Error) -> String {
    let mut message = line(&error.message, MESSAGE_BYTES);
    if message.is_empty() {
        message.push_str("no reason was given");
    }
    if let Some(wait) = error.retry_after_ms {
        message.push_str(&format!(" (retry after {wait} ms)"));
    }
    message
}

/// A text of a guest as one line, cut.
fn line(text: &str, most: usize) -> String {
    flat(cut(text, most)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: ErrorCode, message: &str, field: Option<&str>) -> BridgeError {
        let asked = Asked { plugin: "@acme/things".into(), kind: JobKind::Search, target: "t".to_owned() };
        asked.failure(Failed::Said(Error {
            code,
            message: message.to_owned(),
            field: field.map(str::to_owned),
            native_code: Some("42P01".to_owned()),
            retry_after_ms: Some(1_500),
            connection_lost: false,
        }))
    }

    #[test]
    fn every_code_becomes_what_a_native_bridge_would_say() {
        let says = |code, field| refusal(code, "no\nway", field).to_string();
        assert_eq!(
            says(ErrorCode::InvalidConfig, Some("url")),
            "url: expected something else: no way (retry after 1500 ms)"
        );
        assert_eq!(says(ErrorCode::Unreachable, None), "no way (retry after 1500 ms)");
        assert_eq!(
            says(ErrorCode::UnsupportedOperator, Some("$or")),
            "Bridge does not support where operator \"$or\" on target \"t\" (@acme/things)"
        );
        assert_eq!(says(ErrorCode::UnsupportedKind, None), "search is not supported by @acme/things");
        assert!(matches!(refusal(ErrorCode::Timeout, "", None), BridgeError::Timeout));
        assert!(matches!(refusal(ErrorCode::Internal, "", None), BridgeError::Plugin(_)));
        assert!(matches!(refusal(ErrorCode::Cancelled, "", None), BridgeError::Plugin(_)));
        let BridgeError::Query { native, .. } = refusal(ErrorCode::NotFound, "x", None) else {
            panic!("a query")
        };
        assert_eq!(native.as_deref(), Some("42P01"));
    }

    #[test]
    fn messages_are_cut_between_characters() {
        let BridgeError::Query { message, .. } = refusal(ErrorCode::QueryFailed, &"ü".repeat(10_000), None)
        else {
            panic!("a query")
        };
        assert!(message.len() <= MESSAGE_BYTES + 30, "{}", message.len());
    }
}
