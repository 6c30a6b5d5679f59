//! What happens to every request before its handler and to every answer after it: an id, a whole body within its limit,
//! and the one error envelope.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use runtime::body;
use runtime::error::BodyError;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;

use crate::api::error::ApiError;
use crate::api::{exec, openapi};
use crate::guard::Watch;
use crate::settings::Origins;
use crate::state::Gateway;

/// The header that carries a request's id both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a message that is put into the envelope after the fact.
const PLAIN_LIMIT: usize = 4 * 1024;
/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3_600);

/// The id of a request: the caller's own if it is sane, otherwise a new one. In the answer, the log and the audit rows.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Who is at the other end of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// What the connection is watched for.
    pub(crate) watch: Arc<Watch>,
}

impl Peer {
    /// A new connection from `address`.
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self { address, watch: Arc::default() }
    }
}

/// What lies around every route: an id and a span, no new work while draining, one envelope for refusals.
///
/// One layer, because the router clones and boxes all that is inside a layer for every request.
pub(crate) async fn around(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = identify(&mut request);
    // The path alone: a query may hold a runner's token.
    let span = tracing::info_span!("request", %id, method = %request.method(), path = request.uri().path());
    let answer = async {
        if gateway.drain.refusing().is_cancelled() && !is_probe(&request) && !refuses_itself(&request) {
            return draining();
        }
        envelope(next.run(request).await).await
    };
    let mut response = answer.instrument(span).await;
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Gives the request its id.
fn identify(request: &mut Request) -> String {
    let id = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
    let id = id.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    id
}

fn is_sane(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    (1..=128).contains(&id.len()) && id.chars().all(allowed)
}

/// Reads the body of an operator's request to its end before the handler runs, so that no handler holds anything while a
/// caller dawdles. At most so many bytes.
pub(crate) async fn read_body(State(limit): State<usize>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match whole_body(body, limit).await {
        Ok(body) => next.run(Request::from_parts(head, Body::from(body))).await,
        Err(refused) => refused.into_response(),
    }
}

/// The body to its end, within `limit` bytes and its time.
pub(crate) async fn whole_body(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    body::whole(body, limit, BODY_TIMEOUT).await.map_err(|error| match error {
        BodyError::TooLarge => {
            let message = format!("the body is larger than {limit} bytes");
            ApiError::http(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        }
        BodyError::Broken => ApiError::invalid("body", "a body that arrives whole"),
        BodyError::Late => ApiError::http(StatusCode::REQUEST_TIMEOUT, "timeout", error.to_string()),
    })
}

/// Puts the refusals of the HTTP library itself into the envelope.
async fn envelope(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || has_body_type(&response) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, PLAIN_LIMIT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let message = if text.is_empty() { status.canonical_reason().unwrap_or("failed") } else { text.as_ref() };
    let mut wrapped = ApiError::http(status, plain_code(status), message).into_response();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::CONTENT_TYPE);
    wrapped.headers_mut().extend(head.headers);
    wrapped
}

/// Whether the answer is something other than the plain text of a rejection.
fn has_body_type(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| !kind.starts_with("text/plain"))
}

fn plain_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::INTERNAL_SERVER_ERROR => "INTERNAL",
        _ => "bad_request",
    }
}

/// Probes are answered until the end.
fn is_probe(request: &Request) -> bool {
    matches!(request.uri().path(), "/health" | "/ready" | "/metrics")
}

/// Each attempt to run a command has an envelope and a row in the log, this one, too.
fn refuses_itself(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == exec::PATH
}

/// The refusal of new work once the gateway is about to stop.
fn draining() -> Response {
    let refused = ApiError::http(StatusCode::SERVICE_UNAVAILABLE, "draining", "the gateway is about to stop");
    let mut response = refused.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 404 for a path that is not served.
pub(crate) async fn no_route() -> ApiError {
    ApiError::not_found("no such route; all of them are listed at /docs and /openapi.json")
}

/// 405 for a path that is served with other methods. The router adds the header `Allow`.
pub(crate) async fn no_method(path: Option<MatchedPath>) -> ApiError {
    let allowed = path.and_then(|path| openapi::methods_of(path.as_str())).unwrap_or("GET");
    let message = format!("this route takes {allowed}");
    ApiError::http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Cross-origin rules of `/v1`.
pub(crate) fn cors(origins: &Origins) -> CorsLayer {
    let origins = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::These(list) => AllowOrigin::list(list.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("x-user-token"),
            REQUEST_ID,
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
        ])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

/// The route that a request was matched to, as it is written in the list of routes.
pub(crate) fn route_of(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_log_is_not_taken() {
        for good in ["a", "req-1.2:3_4", "0197c0de-0000-7000-8000-000000000000"] {
            assert!(is_sane(good), "{good}");
        }
        for bad in ["", "a b", "a\"", "a\n", "ä", &"a".repeat(129)] {
            assert!(!is_sane(bad), "{bad}");
        }
    }
}
