//! `GET /connect`: where runners dial in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::Secret;
use serde::Deserialize;

use crate::access::bearer;
use crate::api::error::ApiError;
use crate::api::request::{Peer, RequestId};
use crate::audit::Actor;
use crate::session::{Caller, Origin, connect_row, serve};
use crate::snapshot::Refusal;
use crate::state::Gateway;
use crate::token::TokenHash;

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
    Extension(RequestId(request_id)): Extension<RequestId>,
    peer: Option<Extension<Peer>>,
    Query(query): Query<ConnectQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let origin = Origin { remote: remote(peer.map(|Extension(peer)| peer), &headers), request_id };
    let caller = match caller(&gateway, &headers, query) {
        Ok(caller) => caller,
        Err((actor, error)) => {
            gateway.record(connect_row(actor, error.code(), &origin));
            return error.into_response();
        }
    };
    let Ok(upgrade) = upgrade else {
        let message = "this is the runners' WebSocket; dial it with semilayer-runner";
        return ApiError::http(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message).into_response();
    };
    let limit = caller.frame_limit();
    upgrade.max_message_size(limit).max_frame_size(limit).on_upgrade(move |socket| async move {
        let drain = gateway.drain.clone();
        // Lasts as long as there is work: what a runner has sent for a running query must still arrive.
        drop(drain.spawn_companion("runner socket", serve(gateway, socket, caller, origin)));
    })
}

/// The other end's address; of a proxy on this machine, the one that the proxy says.
fn remote(peer: Option<Peer>, headers: &HeaderMap) -> Option<String> {
    let Peer(peer) = peer?;
    let forwarded = headers.get("x-forwarded-for").filter(|_| peer.ip().is_loopback());
    let first =
        forwarded.and_then(|list| list.to_str().ok()?.split(',').next()?.trim().parse::<IpAddr>().ok());
    Some(first.map_or_else(|| peer.to_string(), |address| address.to_string()))
}

fn caller(gateway: &Gateway, headers: &HeaderMap, query: ConnectQuery) -> Result<Caller, (Actor, ApiError)> {
    let Some(token) = bearer(headers).map(Secret::new).or(query.token) else { return Ok(Caller::Anonymous) };
    let token = TokenHash::of(token.expose());
    match gateway.runner_of(&token) {
        Ok(_) => Ok(Caller::Known { token }),
        Err(Refusal::Unknown) => {
            gateway.metrics.auth_failed("token");
            Err((Actor::Anonymous, ApiError::unauthorized("the runner token is not valid")))
        }
        Err(Refusal::Revoked(runner)) => {
            gateway.metrics.auth_failed("revoked");
            let error = ApiError::http(StatusCode::FORBIDDEN, "revoked", "the runner was revoked");
            Err((Actor::Runner(runner.id), error))
        }
    }
}
