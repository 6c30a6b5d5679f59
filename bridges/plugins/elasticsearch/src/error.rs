//! What a server's refusals mean.

use semilayer_plugin::http::Response;
use semilayer_plugin::{Error, ErrorCode};
use serde_json::Value as Json;

/// Characters of the server's own words that are kept.
const MESSAGE_CHARACTERS: usize = 500;
/// A scan whose place at the server is gone.
const CONTEXT_MISSING: &str = "search_context_missing_exception";
/// How both engines begin to say so; the type is that of many other mistakes.
const PAGE_TOO_LARGE: &str = "Result window is too large";

/// The answer, when it says success.
pub(crate) fn succeeded(response: Response) -> Result<Response, Error> {
    let status = response.status();
    if (200..300).contains(&status) {
        return Ok(response);
    }
    let retry_after = response.header("retry-after").and_then(|wait| wait.trim().parse().ok());
    let body = response.bytes().unwrap_or_default();
    let error = refused(status, &serde_json::from_slice(&body).unwrap_or(Json::Null));
    Err(match retry_after {
        Some(seconds) => error.retry_after(std::time::Duration::from_secs(seconds)),
        None => error,
    })
}

/// Whether the place of a scan at the server is gone: it was closed, or nobody asked for too long.
pub(crate) fn is_context_missing(error: &Error) -> bool {
    error.native() == Some(CONTEXT_MISSING)
}

/// Whether more documents were asked for at once than the index allows (`index.max_result_window`).
pub(crate) fn is_page_too_large(error: &Error) -> bool {
    error.code() == ErrorCode::QueryFailed && error.message().contains(PAGE_TOO_LARGE)
}

/// Why a search that was answered is no answer: a part of the index is missing in it, or the server gave up.
pub(crate) fn check_complete(answer: &Shards, timed_out: bool) -> Result<(), Error> {
    if timed_out {
        return Err(Error::timeout());
    }
    if answer.failed == 0 {
        return Ok(());
    }
    let reason = answer.failures.first().map(reason_of).unwrap_or_default();
    let (failed, total) = (answer.failed, answer.total);
    Err(Error::query_failed(cut(&format!("{failed} of {total} shards failed: {reason}"))))
}

/// Why there is nothing to read columns from.
pub(crate) fn keeps_no_documents() -> Error {
    Error::query_failed("the index keeps no documents (_source is switched off): only _id can be read")
}

/// How the parts of an index have answered.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Shards {
    pub(crate) total: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<Json>,
}

fn refused(status: u16, body: &Json) -> Error {
    let cause = cause(body);
    let kind = cause.and_then(|cause| cause.get("type")).and_then(Json::as_str);
    let words = body.get("error").and_then(Json::as_str);
    let reason = cause.map(reason_of).filter(|reason| !reason.is_empty());
    let reason = reason.or_else(|| words.map(str::to_owned));
    let message = match reason {
        Some(reason) => cut(&format!("the server answered {status}: {reason}")),
        None => format!("the server answered {status}"),
    };
    let error = match (status, kind) {
        (_, Some("index_not_found_exception")) => Error::new(ErrorCode::NotFound, message),
        (401, _) => Error::unauthenticated(message),
        (403, _) => Error::permission_denied(message),
        (404 | 410, _) => Error::new(ErrorCode::NotFound, message),
        (408 | 504, _) => Error::timeout(),
        (429, _) => Error::rate_limited(message),
        (502 | 503, _) => Error::unreachable(message),
        _ => Error::query_failed(message),
    };
    match kind {
        Some(kind) => error.native_code(kind),
        None => error.native_code(status),
    }
}

/// What says most: "all shards failed" is no reason.
fn cause(body: &Json) -> Option<&Json> {
    let root = body.pointer("/error/root_cause/0").filter(|root| root.is_object());
    root.or_else(|| body.get("error")).filter(|cause| cause.is_object())
}

/// The innermost words of a failure.
fn reason_of(cause: &Json) -> String {
    let cause = cause.get("reason").filter(|inner| inner.is_object()).unwrap_or(cause);
    let said = |cause: &Json| cause.get("reason").and_then(Json::as_str).unwrap_or_default().to_owned();
    match cause.get("caused_by").filter(|inner| inner.is_object()) {
        Some(inner) => {
            let (outer, inner) = (said(cause), said(inner));
            if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") }
        }
        None => said(cause),
    }
}

fn cut(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_has_the_servers_own_code_and_words() {
        let error = refused(
            400,
            &json!({"error": {
                "type": "search_phase_execution_exception", "reason": "all shards failed",
                "root_cause": [{"type": "query_shard_exception", "reason": "failed to create query: no"}],
            }, "status": 400}),
        );
        assert_eq!(error.native(), Some("query_shard_exception"));
        assert_eq!(error.message(), "the server answered 400: failed to create query: no");
        let plain = refused(404, &json!({"error": "alias [x] missing", "status": 404}));
        assert_eq!(
            (plain.code(), plain.message()),
            (ErrorCode::NotFound, "the server answered 404: alias [x] missing")
        );
        assert_eq!(refused(500, &Json::Null).native(), Some("500"));
    }

    #[test]
    fn status_and_type_decide_the_code() {
        let code = |status: u16, kind: &str| {
            refused(status, &json!({"error": {"type": kind, "reason": "r"}})).code()
        };
        assert_eq!(code(401, "security_exception"), ErrorCode::Unauthenticated);
        assert_eq!(code(403, "security_exception"), ErrorCode::PermissionDenied);
        assert_eq!(code(404, "index_not_found_exception"), ErrorCode::NotFound);
        assert_eq!(code(429, "es_rejected_execution_exception"), ErrorCode::RateLimited);
        assert_eq!(code(503, "no_shard_available_action_exception"), ErrorCode::Unreachable);
        assert_eq!(code(500, "null_pointer_exception"), ErrorCode::QueryFailed);
    }

    #[test]
    fn a_part_of_an_answer_is_none() {
        let failure = json!({"shard": 1, "reason": {"type": "x", "reason": "too many clauses"}});
        let shards = Shards { total: 3, failed: 1, failures: vec![failure] };
        let error = check_complete(&shards, false).unwrap_err();
        assert_eq!(error.message(), "1 of 3 shards failed: too many clauses");
        assert_eq!(check_complete(&Shards::default(), true).unwrap_err().code(), ErrorCode::Timeout);
        assert!(check_complete(&Shards { total: 3, ..Shards::default() }, false).is_ok());
    }
}
