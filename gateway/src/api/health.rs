//! `/health`, `/ready` and `/metrics`.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::request::Peer;

/// Headers by which a proxy on this machine says that the caller is elsewhere.
const FORWARDED: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-forwarded-for")];

/// Whether the process works.
#[utoipa::path(get, path = "/health", tag = "health", operation_id = "health",
    responses((status = 200, description = "`{\"ok\": true}`")))]
pub(super) async fn health() -> Json<Value> {
    Json(json!({"ok": true}))
}

/// Whether requests are taken: the store answers and the gateway is not about to stop.
#[utoipa::path(get, path = "/ready", tag = "health", operation_id = "ready",
    responses((status = 200, description = "Ready"), (status = 503, description = "Draining, or the store does not answer")))]
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let draining = api.gateway.drain.refusing().is_cancelled();
    let store = api
        .control
        .store()
        .ping()
        .await
        .inspect_err(|error| tracing::warn!(%error, "store check failed"))
        .is_ok();
    let runners = api.gateway.registry.all().len();
    let jobs = api.gateway.jobs.list().len();
    let (status, word) = match (draining, store) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "store unavailable"),
        (false, true) => (StatusCode::OK, "ready"),
    };
    let body = json!({
        "status": word, "draining": draining, "store": store, "runnersConnected": runners, "activeJobs": jobs,
    });
    (status, Json(body)).into_response()
}

/// Metrics in the OpenMetrics text format, for this machine or with the admin token.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "Metrics", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "From elsewhere and without the admin token", body = super::schema::Envelope)),
    security((), ("admin" = [])))]
pub(super) async fn metrics(
    State(api): State<Api>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let proxied = FORWARDED.iter().any(|name| headers.contains_key(name));
    let here = api.metrics_for_loopback
        && !proxied
        && peer.is_some_and(|Extension(peer)| peer.address.ip().is_loopback());
    if !here && !api.admin.admit(&headers) {
        let message = "metrics are for this machine, or with the admin token";
        return ApiError::unauthorized(message).into_response();
    }
    let waiting = api.gateway.registry.all().iter().map(|link| link.waiting()).sum();
    let text = api.gateway.metrics.encode(api.gateway.jobs.pending(), waiting);
    ([(header::CONTENT_TYPE, runtime::metrics::CONTENT_TYPE)], text).into_response()
}
