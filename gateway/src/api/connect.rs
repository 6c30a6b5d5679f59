//! `GET /connect`: where runners dial in.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::Secret;
use serde::Deserialize;

use crate::access::bearer;
use crate::api::error::ApiError;
use crate::session::{Caller, frame_limit, serve};
use crate::snapshot::Refusal;
use crate::state::Gateway;

/// What may stand in the query string. It is never logged.
#[derive(Debug, Deserialize)]
pub(crate) struct ConnectQuery {
    token: Option<Secret>,
}

/// Upgrades a runner's connection. The token comes in `Authorization: Bearer`, or as `?token=`; without one the first
/// frame must carry a secret. An unknown token and an unknown runner are the same 401; a revoked one is 403.
#[utoipa::path(
    get,
    path = "/connect",
    tag = "runners",
    operation_id = "connect",
    responses(
        (status = 101, description = "The runner socket begins"),
        (status = 401, description = "The token is not known", body = crate::api::schema::Envelope),
        (status = 403, description = "The runner is revoked", body = crate::api::schema::Envelope),
        (status = 426, description = "Not a WebSocket upgrade", body = crate::api::schema::Envelope),
    ),
    security(("runner" = []))
)]
pub(crate) async fn connect(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<ConnectQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let caller = match caller(&gateway, &headers, query) {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(_) => {
            let message = "this is the runners' WebSocket; dial it with semilayer-runner";
            return ApiError::http(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message).into_response();
        }
    };
    let remote = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()).map(str::to_owned);
    upgrade.max_message_size(frame_limit()).max_frame_size(frame_limit()).on_upgrade(move |socket| async move {
        let drain = gateway.drain.clone();
        // The drain waits for it: what a runner has sent for a running query must still arrive.
        drop(drain.spawn_companion("runner socket", serve(gateway, socket, caller, remote)));
    })
}

fn caller(gateway: &Gateway, headers: &HeaderMap, query: ConnectQuery) -> Result<Caller, ApiError> {
    let Some(token) = bearer(headers).map(Secret::new).or(query.token) else { return Ok(Caller::Anonymous) };
    match gateway.runner_of(&token) {
        Ok(_) => Ok(Caller::Known { token }),
        Err(Refusal::Unknown) => {
            gateway.metrics.auth_failed("token");
            Err(ApiError::unauthorized("the runner token is not valid"))
        }
        Err(Refusal::Revoked(_)) => {
            gateway.metrics.auth_failed("revoked");
            Err(ApiError::http(StatusCode::FORBIDDEN, "revoked", "the runner was revoked"))
        }
    }
}
