//! `/health` and `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Mutex;

use super::Api;
use crate::Sandbox;
use crate::server::refusal::RefusalBody;

/// How long an answer of the engine holds. Anybody may ask, and each look is a request to it.
const FRESH: Duration = Duration::from_secs(1);

/// Whether the engine answered when it was last asked. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<Mutex<Option<(Instant, bool)>>>);

impl Pulse {
    async fn feel(&self, sandbox: &Sandbox) -> bool {
        // One look at a time: whoever asks meanwhile waits for it and has its answer.
        let mut last = self.0.lock().await;
        if let Some((at, answered)) = *last
            && at.elapsed() < FRESH
        {
            return answered;
        }
        let answered = sandbox.is_available().await;
        *last = Some((Instant::now(), answered));
        answered
    }
}

/// Whether the engine answers, as of the last second. Open to everybody.
#[utoipa::path(get, path = "/health", tag = "server", operation_id = "health",
    responses((status = 200, description = "`{\"status\": \"ok\", \"docker\": true}`"),
        (status = 503, description = "`{\"status\": \"degraded\", \"docker\": false}`")))]
pub(super) async fn health(State(api): State<Api>) -> Response {
    if api.pulse.feel(api.sandbox()).await {
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
