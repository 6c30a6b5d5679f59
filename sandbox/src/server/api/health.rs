//! `/health` and `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Api;
use crate::server::refusal::RefusalBody;

/// Whether the engine answers. Open to everybody.
#[utoipa::path(get, path = "/health", tag = "server", operation_id = "health",
    responses((status = 200, description = "`{\"status\": \"ok\", \"docker\": true}`"),
        (status = 503, description = "`{\"status\": \"degraded\", \"docker\": false}`")))]
pub(super) async fn health(State(api): State<Api>) -> Response {
    if api.sandbox().is_available().await {
        (StatusCode::OK, Json(json!({"status": "ok", "docker": true}))).into_response()
    } else {
        let body = Json(json!({"status": "degraded", "docker": false}));
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    }
}

/// Metrics in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "metrics",
    responses((status = 200, description = "Metrics", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, runtime::metrics::CONTENT_TYPE)], api.runs.metrics()).into_response()
}
