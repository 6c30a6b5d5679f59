//! Every answer that is a no, in the shapes that clients of this interface know.
//!
//! What the interface itself refuses is `{"error": code}`, with `details` where a body is wrong field by field. What lies
//! below it (routes, bodies as such, faults) is `{"statusCode", "code", "error", "message"}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::check::Issue;
use crate::{SandboxError, SandboxErrorCode};

/// Why a request is refused or has failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// 401.
    Unauthorized,
    /// 403: the name in `Host` is not one of this machine, or the page in `Origin` is from elsewhere.
    ForbiddenHost,
    /// 400: what is wrong with which field.
    BadRequest(Vec<Issue>),
    /// Another refusal of the interface: a status and a code, and sometimes a message.
    Coded(StatusCode, &'static str, Option<String>),
    /// 503: try again after so many seconds.
    Busy(&'static str, u32),
    /// A refusal from below the interface.
    Framework(StatusCode, Option<&'static str>, String),
}

impl Refusal {
    /// No such run, network, or whatever `code` says.
    pub(crate) fn not_found(code: &'static str) -> Self {
        Self::Coded(StatusCode::NOT_FOUND, code, None)
    }

    /// One wrong field.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self::BadRequest(vec![Issue::custom(vec![field.into()], message)])
    }

    /// A path that is not served, or not with this method.
    pub(crate) fn no_route(method: &str, path: &str) -> Self {
        Self::Framework(StatusCode::NOT_FOUND, None, format!("Route {method}:{path} not found"))
    }

    /// A body that is larger than it may be.
    pub(crate) fn too_large() -> Self {
        let code = "FST_ERR_CTP_BODY_TOO_LARGE";
        Self::Framework(StatusCode::PAYLOAD_TOO_LARGE, Some(code), "Request body is too large".to_owned())
    }

    /// A body that is no JSON by its own account.
    pub(crate) fn media_type(found: &str) -> Self {
        let message = format!("Unsupported Media Type: {found}; send application/json");
        let code = "FST_ERR_CTP_INVALID_MEDIA_TYPE";
        Self::Framework(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some(code), message)
    }

    /// A body that claims to be JSON and is not.
    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        let code = "FST_ERR_CTP_INVALID_JSON_BODY";
        Self::Framework(StatusCode::BAD_REQUEST, Some(code), format!("Body is not valid JSON: {error}"))
    }

    /// A body that broke off or did not come in time.
    pub(crate) fn incomplete(status: StatusCode) -> Self {
        Self::Framework(status, None, "the body did not arrive whole and in time".to_owned())
    }

    /// A parameter of the path that is longer than any could be.
    pub(crate) fn long_parameter() -> Self {
        let message = "a parameter of the path is longer than 100 characters".to_owned();
        Self::Framework(StatusCode::URI_TOO_LONG, Some("FST_ERR_MAX_PARAM_LENGTH"), message)
    }

    /// A fault of ours. What it was goes to the log under an incident id, which is all that the caller gets.
    pub(crate) fn internal(detail: &dyn std::fmt::Display) -> Self {
        let incident = uuid::Uuid::new_v4();
        tracing::error!(%incident, %detail, "request failed by a fault of the server");
        let message = format!("internal error, incident {incident}");
        Self::Framework(StatusCode::INTERNAL_SERVER_ERROR, None, message)
    }

    /// The server is about to stop.
    pub(crate) const fn draining() -> Self {
        Self::Busy("draining", 1)
    }

    /// The status that the caller sees.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForbiddenHost => StatusCode::FORBIDDEN,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Coded(status, ..) | Self::Framework(status, ..) => *status,
            Self::Busy(..) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn body(&self) -> Value {
        match self {
            Self::Unauthorized => json!({"error": "unauthorized"}),
            Self::ForbiddenHost => json!({
                "error": "forbidden_host",
                "message": "without a token, requests must name this machine (localhost, 127.0.0.1 or [::1]) and come from no page of another",
            }),
            Self::BadRequest(issues) => json!({"error": "bad_request", "details": issues}),
            Self::Coded(_, code, None) | Self::Busy(code, _) => json!({"error": code}),
            Self::Coded(_, code, Some(message)) => json!({"error": code, "message": message}),
            Self::Framework(status, code, message) => framework(*status, *code, message),
        }
    }
}

/// The code of a failed operation stands where the framework's own would.
impl From<SandboxError> for Refusal {
    fn from(error: SandboxError) -> Self {
        let failed =
            |status| Self::Framework(status, Some(error.code().as_str()), error.message().to_owned());
        match error.code() {
            SandboxErrorCode::InvalidRequest => {
                Self::field(error.field().unwrap_or_default(), error.message())
            }
            SandboxErrorCode::InvalidRunStep => Self::field("run", error.message()),
            SandboxErrorCode::RunNotFound => Self::not_found("not_found"),
            SandboxErrorCode::RunEnded => Self::not_found("not_found_or_done"),
            SandboxErrorCode::Busy => Self::Busy("busy", 1),
            SandboxErrorCode::DockerUnreachable => failed(StatusCode::SERVICE_UNAVAILABLE),
            // Its message may name folders of this machine.
            SandboxErrorCode::StateFailed => Self::internal(&error),
            SandboxErrorCode::VolumeCreateFailed
            | SandboxErrorCode::SeedFailed
            | SandboxErrorCode::ContainerStartFailed
            | SandboxErrorCode::NetworkConnectFailed
            | SandboxErrorCode::ExtractFailed
            | SandboxErrorCode::BuildFailed
            | SandboxErrorCode::EngineFailed => failed(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Self::Busy(_, seconds) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self == Self::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn framework(status: StatusCode, code: Option<&str>, message: &str) -> Value {
    let reason = status.canonical_reason().unwrap_or("Error");
    match code {
        Some(code) => {
            json!({"statusCode": status.as_u16(), "code": code, "error": reason, "message": message})
        }
        None => json!({"statusCode": status.as_u16(), "error": reason, "message": message}),
    }
}

/// A refusal of the interface itself.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct RefusalBody {
    /// The code: `unauthorized`, `bad_request`, `not_found`, …
    error: String,
    /// What is wrong with which field, of `bad_request`.
    details: Option<Vec<Issue>>,
    /// For people, where there is more to say.
    message: Option<String>,
}

/// A refusal from below the interface: routes, media types, sizes, faults.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct FrameworkBody {
    /// The status again.
    status_code: u16,
    /// Which refusal, where it has a name; of a failed operation the code of the error.
    code: Option<String>,
    /// The status in words.
    error: String,
    /// For people.
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_shapes_are_those_that_clients_know() {
        assert_eq!(Refusal::not_found("not_found_or_done").body(), json!({"error": "not_found_or_done"}));
        assert_eq!(
            Refusal::no_route("GET", "/x").body(),
            json!({"statusCode": 404, "error": "Not Found", "message": "Route GET:/x not found"})
        );
        assert_eq!(
            Refusal::too_large().body(),
            json!({"statusCode": 413, "code": "FST_ERR_CTP_BODY_TOO_LARGE", "error": "Payload Too Large",
                "message": "Request body is too large"})
        );
        let wrong = Refusal::field("image", "image: expected text");
        assert_eq!(
            wrong.body(),
            json!({"error": "bad_request", "details": [
                {"code": "custom", "path": ["image"], "message": "image: expected text"}]})
        );
    }

    #[test]
    fn a_message_that_may_name_folders_stays_here() {
        let error = SandboxError::new(SandboxErrorCode::StateFailed, "cannot write /var/lib/secret");
        assert!(!Refusal::from(error).body().to_string().contains("secret"));
    }

    #[test]
    fn who_is_turned_away_for_now_hears_when_to_come_back() {
        let response = Refusal::Busy("queue_full", 5).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "5");
    }
}
