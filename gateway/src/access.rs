//! Who asks, and whether the lens lets them. Nothing of a body is kept before its sender is known.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use runtime::body::discard;

use crate::api::error::ApiError;
use crate::api::request::{Peer, whole_body};
use crate::attempt::Attempt;
use crate::audit::Actor;
use crate::lens::{Grant, Lens};
use crate::model::{Key, KeyKind, Source};
use crate::snapshot::Snapshot;
use crate::state::Gateway;

/// A request that was let through, as of one moment.
pub(crate) struct Admitted {
    pub(crate) caller: Arc<Key>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) lens: Arc<Lens>,
    pub(crate) source: Arc<Source>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Finds out who asks, reads the body, and finds out whether the lens called `name` lets them. Each is noted in the attempt
/// as soon as it is known.
pub(crate) async fn admit(
    gateway: &Gateway,
    request: Request,
    name: &str,
    attempt: &mut Attempt,
) -> Result<Admitted, ApiError> {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    attempt.from(head.extensions.get::<Peer>(), &headers);
    let key = match authenticate(&gateway.snapshots.load(), &headers) {
        Ok(key) => key,
        Err(refused) => {
            gateway.metrics.auth_failed("key");
            turn_away(&headers, body).await;
            return Err(refused);
        }
    };
    attempt.by(actor_of(&key)).await;
    let body = whole_body(body, gateway.limits.body).await?;
    attempt.with(&body);
    // A body may take its time; what is in force is what is so now.
    let snapshot = gateway.snapshots.load();
    if snapshot.key(key.id).is_none_or(|key| key.revoked_at.is_some()) {
        return Err(not_valid());
    }
    let unknown = || ApiError::not_found(format!("there is no lens \"{name}\""));
    let lens = snapshot.lens(name).cloned().ok_or_else(unknown)?;
    may_query(&key, &lens)?;
    let source =
        snapshot.source(lens.source).cloned().ok_or_else(|| ApiError::internal(&"lens without source"))?;
    attempt.of(&source.name, &lens.table);
    Ok(Admitted { caller: key, snapshot, lens, source, headers, body })
}

/// A key as the log names it.
pub(crate) fn actor_of(key: &Key) -> Actor {
    Actor::Key { id: key.id, kind: key.kind }
}

/// A stranger's body is read past, for a moment, so that the refusal arrives. Who waits to be told to send it never is.
pub(crate) async fn turn_away(headers: &HeaderMap, body: Body) {
    if !headers.contains_key(header::EXPECT) {
        discard(body).await;
    }
}

/// The key in `Authorization: Bearer …`. Unknown, revoked and runners' tokens are all the same to a caller.
pub(crate) fn authenticate(snapshot: &Snapshot, headers: &HeaderMap) -> Result<Arc<Key>, ApiError> {
    let token = bearer(headers)
        .ok_or_else(|| ApiError::unauthorized("an API key is needed: Authorization: Bearer sk_… or pk_…"))?;
    snapshot.authenticate_key(&token).cloned().map_err(|_| not_valid())
}

pub(crate) fn not_valid() -> ApiError {
    ApiError::unauthorized("the API key is not valid")
}

/// The token of a bearer authorization (RFC 6750; the scheme's case does not matter). One with other characters than ASCII
/// is somebody's token, too, and fits none of ours.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let blank = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at_checked(blank)?;
    scheme.eq_ignore_ascii_case(b"bearer").then(|| String::from_utf8_lossy(token.trim_ascii()))
}

/// Whether `key` may query and count `lens`: a secret key always, a public one by grant.
fn may_query(key: &Key, lens: &Lens) -> Result<(), ApiError> {
    match (key.kind, lens.grants.query) {
        (KeyKind::Secret, _) | (KeyKind::Public, Some(Grant::Public)) => Ok(()),
        (KeyKind::Public, None) => Err(ApiError::forbidden("Access denied by lens rules")),
    }
}
