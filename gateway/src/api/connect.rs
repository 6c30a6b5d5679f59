//! `GET /connect`: where runners dial in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::{FRAME_LIMIT_BYTES, Secret};
use serde::Deserialize;

use crate::access::bearer;
use crate::address;
use crate::api::error::ApiError;
use crate::api::request::{Peer, RequestId};
use crate::audit::Actor;
use crate::session::{Caller, HELLO_LIMIT, Origin, connect_row, serve};
use crate::snapshot::Refusal;
use crate::state::Gateway;
use crate::token::TokenHash;

/// Bytes that may come before the hello is accepted: the hello, what WebSocket adds to it, and a ping or two.
const BEFORE_HELLO: usize = HELLO_LIMIT + 4 * 1024;
/// When a stranger that finds no place should come again.
const RETRY_SECONDS: u32 = 2;

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
        (status = 503, description = "Too many sockets wait for their hello", body = crate::api::schema::Envelope),
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
    let peer = peer.map(|Extension(peer)| peer);
    let address = peer.as_ref().map(|peer| address::remote(peer, &headers));
    let remote = peer.as_ref().map(|peer| address::shown(peer, &headers));
    let origin = Origin { remote, address, request_id, watch: peer.map(|peer| peer.watch) };
    let caller = match caller(&gateway, &headers, query, address) {
        Ok(caller) => caller,
        Err((actor, error)) => {
            gateway.audit.refuse(connect_row(actor, error.code(), &origin), address);
            return error.into_response();
        }
    };
    let Ok(upgrade) = upgrade else {
        let message = "this is the runners' WebSocket; dial it with semilayer-runner";
        return ApiError::http(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message).into_response();
    };
    if let Some(watch) = &origin.watch {
        watch.limit(BEFORE_HELLO);
    }
    let upgrade = upgrade.max_message_size(FRAME_LIMIT_BYTES).max_frame_size(FRAME_LIMIT_BYTES);
    upgrade.on_upgrade(move |socket| async move {
        let drain = gateway.drain.clone();
        // Lasts as long as there is work: what a runner has sent for a running query must still arrive.
        drop(drain.spawn_companion("runner socket", serve(gateway, socket, caller, origin)));
    })
}

fn caller(
    gateway: &Gateway,
    headers: &HeaderMap,
    query: ConnectQuery,
    address: Option<IpAddr>,
) -> Result<Caller, (Actor, ApiError)> {
    let Some(token) = bearer(headers).map(|token| Secret::new(token.into_owned())).or(query.token) else {
        let place = gateway.strangers.admit(address);
        return place.map(Caller::Anonymous).ok_or_else(|| (Actor::Anonymous, crowded()));
    };
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

fn crowded() -> ApiError {
    let message = "too many sockets wait for their hello; try again, or send the token with the upgrade";
    ApiError::http(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", message)
        .retry_after(RETRY_SECONDS)
}
