//! The gate before the operators' API: checks the token, and writes an audit row for what was refused.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::bearer;
use crate::address;
use crate::api::Api;
use crate::api::error::{ApiError, Refused};
use crate::api::request::{Peer, RequestId, route_of};
use crate::audit::{self, Actor, action};
use crate::control::By;
use crate::token::TokenHash;

/// Characters of a path that an audit row keeps.
const MAX_TARGET: usize = 200;

/// The tokens that open the operators' API, as hashes. Shared, because every request clones what handlers share.
#[derive(Debug, Clone)]
pub(crate) struct AdminTokens(Arc<[TokenHash]>);

impl AdminTokens {
    /// Any of these.
    pub(crate) fn new(hashes: Vec<TokenHash>) -> Self {
        Self(hashes.into())
    }

    /// Whether the request carries one of them. Looks at all, so that the time says nothing.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(token) = bearer(headers) else { return false };
        let hash = TokenHash::of(&token);
        self.0.iter().fold(false, |found, known| known.matches(&hash) | found)
    }
}

/// Lets operators through. What changes something writes its own audit row; what does not get that far has it written
/// here, and so does whoever is not let through.
pub(crate) async fn gate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let admitted = api.admin.admit(request.headers());
    let by = By::new(if admitted { Actor::Admin } else { Actor::Anonymous }, request_id);
    let action = action_of(request.method(), &route_of(&request));
    let address = request.extensions().get::<Peer>().map(|peer| address::remote(peer, request.headers()));
    let target: String = request.uri().path().chars().take(MAX_TARGET).collect();
    let response = if admitted {
        request.extensions_mut().insert(by.clone());
        next.run(request).await
    } else {
        api.gateway.metrics.auth_failed("admin");
        let message = match bearer(request.headers()) {
            Some(token) if !token.is_ascii() => {
                "the admin token is not valid: a token is of visible ASCII characters alone"
            }
            Some(_) => "the admin token is not valid",
            None => "the admin token is needed: Authorization: Bearer ak_…",
        };
        ApiError::unauthorized(message).into_response()
    };
    // Looking around is not worth a row; trying to without a token is.
    let unremarkable = admitted && action == action::ADMIN_READ;
    if !by.is_recorded() && !unremarkable {
        let refused = response.extensions().get::<Refused>().map_or(audit::OK, |refused| refused.0);
        let row = by.row(action, refused).on(target);
        if admitted {
            api.audit.record(row).await;
        } else {
            api.audit.refuse(row, address);
        }
    }
    response
}

/// What a request to a route is called in the log.
fn action_of(method: &Method, route: &str) -> &'static str {
    match (method.as_str(), route) {
        ("POST", "/api/runners") => action::RUNNER_CREATE,
        ("PATCH", "/api/runners/{runner}") => action::RUNNER_UPDATE,
        ("DELETE", "/api/runners/{runner}") => action::RUNNER_DELETE,
        ("POST", "/api/runners/{runner}/revoke") => action::RUNNER_REVOKE,
        ("POST", "/api/runners/{runner}/rotate") => action::RUNNER_ROTATE,
        ("PUT", "/api/runners/{runner}/sources/{source}") => action::RUNNER_ASSIGN,
        ("DELETE", "/api/runners/{runner}/sources/{source}") => action::RUNNER_UNASSIGN,
        ("POST", "/api/sources") => action::SOURCE_CREATE,
        ("PATCH", "/api/sources/{source}") => action::SOURCE_UPDATE,
        ("DELETE", "/api/sources/{source}") => action::SOURCE_DELETE,
        ("POST", "/api/sources/{source}/test") => action::SOURCE_TEST,
        ("POST", "/api/keys") => action::KEY_CREATE,
        ("POST", "/api/keys/{key}/revoke") => action::KEY_REVOKE,
        ("POST", "/api/jobs/{job}/cancel") => action::JOB_CANCEL,
        ("PUT", "/api/config") => action::CONFIG_PUSH,
        ("POST", "/api/config/diff") => action::CONFIG_DIFF,
        _ => action::ADMIN_READ,
    }
}
