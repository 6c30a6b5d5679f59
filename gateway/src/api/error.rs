//! The one error envelope of every HTTP route: `{"error": message, "code": code, …extra}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::{Comparison, ErrorCode, LogicalOp, RequestError, StringOp};
use runtime::spelling::closest;
use serde_json::{Map, Value};

/// Why a request was refused or failed, as the caller sees it.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    extra: Map<String, Value>,
    retry_after: Option<u32>,
}

/// The code of a refusal, in the extensions of its response: what logs a request reads it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str);

impl ApiError {
    /// A failure with one of the protocol's codes, and its status.
    pub fn coded(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A busy runner may have a slot a second later; a missing one may be back after its reconnect.
        let retry_after = matches!(code, ErrorCode::RunnerBusy | ErrorCode::NoRunnersOnline).then_some(1);
        Self { status, code: code.as_str(), message: message.into(), extra: Map::new(), retry_after }
    }

    /// A failure of the HTTP interface itself: `not_found`, `unauthorized`, `conflict`, …
    pub fn http(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), extra: Map::new(), retry_after: None }
    }

    /// 400: a field has a wrong value.
    pub fn invalid(field: &str, expected: &str) -> Self {
        Self::coded(ErrorCode::BadRequest, format!("{field}: expected {expected}")).with("field", field)
    }

    /// 401: no credentials, or none that are known.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::http(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: known, and not allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::http(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::http(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 409: it is there already, or its state forbids this.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::http(StatusCode::CONFLICT, "conflict", message)
    }

    /// 500: a fault of ours. The detail goes to the log under an incident id, which is all that the caller gets.
    pub fn internal(detail: &dyn std::fmt::Display) -> Self {
        let incident = uuid::Uuid::now_v7();
        tracing::error!(%incident, %detail, "request failed by a fault of the gateway");
        Self::coded(ErrorCode::Internal, format!("internal error, incident {incident}"))
    }

    /// The same with one more field in the envelope.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// The same with the seconds after which trying again makes sense.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The code that the caller sees.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The status that the caller sees.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The message that the caller sees.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The rule that is told with it, if there is one.
    pub(crate) fn rule(&self) -> Option<&str> {
        self.extra.get("rule")?.as_str()
    }

    /// The envelope.
    pub fn body(&self) -> Value {
        let mut body = self.extra.clone();
        body.insert("error".to_owned(), self.message.clone().into());
        body.insert("code".to_owned(), self.code.into());
        Value::Object(body)
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::Invalid(invalid) => {
                Self::coded(ErrorCode::BadRequest, message).with("field", invalid.field)
            }
            RequestError::Operator(operator) => {
                let message = message + &hint(&operator.op);
                Self::coded(ErrorCode::UnsupportedOperator, message).with("op", operator.op)
            }
        }
    }
}

/// What may have been meant by an operator that nobody knows. It stands behind the published text, which callers match on.
fn hint(op: &str) -> String {
    const OTHERS: [&str; 5] = ["$eq", "$ne", "$in", "$nin", "$exists"];
    let compared =
        [Comparison::Greater, Comparison::GreaterOrEqual, Comparison::Less, Comparison::LessOrEqual];
    let known: Vec<&str> = OTHERS
        .into_iter()
        .chain(compared.map(Comparison::as_str))
        .chain(StringOp::ALL.map(StringOp::as_str))
        .chain(LogicalOp::ALL.map(LogicalOp::as_str))
        .collect();
    match closest(op, &known) {
        // An operator in the wrong place is spelled right.
        Some(meant) if meant != op => format!("; did you mean {meant}?"),
        _ => String::new(),
    }
}

impl From<protocol::Invalid> for ApiError {
    fn from(invalid: protocol::Invalid) -> Self {
        RequestError::from(invalid).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = self.body();
        self.respond(body)
    }
}

impl ApiError {
    /// The answer with another body, for routes that have an envelope of their own.
    pub(crate) fn respond(&self, body: Value) -> Response {
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(Refused(self.code));
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_has_message_code_and_extras() {
        let error = ApiError::invalid("where.a", "a string");
        assert_eq!(
            error.body().to_string(),
            r#"{"code":"bad_request","error":"where.a: expected a string","field":"where.a"}"#
        );
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_misspelt_operator_is_told_behind_the_published_words() {
        let refusal = |op: &str| {
            let error = ApiError::from(RequestError::from(protocol::UnsupportedOperator::new(op)));
            assert_eq!(error.code(), "unsupported_operator");
            error.message().to_owned()
        };
        for (op, meant) in [
            ("$greater", None),
            ("$gtee", Some("$gte")),
            ("$GTE", Some("$gte")),
            ("$startswith", Some("$startsWith")),
            ("$contain", Some("$contains")),
            ("$exist", Some("$exists")),
            ("$regex", None),
            ("in", None),
            ("$where", None),
        ] {
            let published = protocol::UnsupportedOperator::new(op).to_string();
            let hint = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            assert_eq!(refusal(op), published + &hint);
        }
    }
}
