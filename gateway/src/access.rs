//! Who asks, and whether the lens lets them.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::api::error::ApiError;
use crate::attempt::Attempt;
use crate::lens::{Grant, Lens};
use crate::model::{Key, KeyKind, Source};
use crate::snapshot::Snapshot;
use crate::state::Gateway;

/// Who was let through to what, as of one moment.
pub(crate) struct Admitted {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) lens: Arc<Lens>,
    pub(crate) source: Arc<Source>,
}

/// Finds out who asks and whether the lens called `name` lets them, and notes each in the attempt as soon as it is known.
pub(crate) fn admit(
    gateway: &Gateway,
    headers: &HeaderMap,
    name: &str,
    attempt: &mut Attempt,
) -> Result<Admitted, ApiError> {
    let snapshot = gateway.snapshots.load();
    let key = authenticate(&snapshot, headers).inspect_err(|_| gateway.metrics.auth_failed("key"))?;
    attempt.by(&key);
    let unknown = || ApiError::not_found(format!("there is no lens \"{name}\""));
    let lens = snapshot.lens(name).cloned().ok_or_else(unknown)?;
    may_query(&key, &lens)?;
    let source =
        snapshot.source(lens.source).cloned().ok_or_else(|| ApiError::internal(&"lens without source"))?;
    attempt.of(&source.name, &lens.table);
    Ok(Admitted { snapshot, lens, source })
}

/// The key in `Authorization: Bearer …`. Unknown, revoked and runners' tokens are all the same to a caller.
fn authenticate(snapshot: &Snapshot, headers: &HeaderMap) -> Result<Arc<Key>, ApiError> {
    let token = bearer(headers)
        .ok_or_else(|| ApiError::unauthorized("an API key is needed: Authorization: Bearer sk_… or pk_…"))?;
    snapshot.authenticate_key(token).cloned().map_err(|_| ApiError::unauthorized("the API key is not valid"))
}

/// The token of a bearer authorization (RFC 6750; the scheme's case does not matter).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether `key` may query and count `lens`: a secret key always, a public one by grant.
fn may_query(key: &Key, lens: &Lens) -> Result<(), ApiError> {
    match (key.kind, lens.grants.query) {
        (KeyKind::Secret, _) | (KeyKind::Public, Some(Grant::Public)) => Ok(()),
        (KeyKind::Public, None) => Err(ApiError::forbidden("Access denied by lens rules")),
    }
}
