//! Who asks, and whether the lens lets them.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::api::error::ApiError;
use crate::lens::{Grant, Lens};
use crate::model::{Key, KeyKind};
use crate::snapshot::Snapshot;

/// The key in `Authorization: Bearer …`. Unknown, revoked and runners' tokens are all the same to a caller.
pub(crate) fn authenticate(snapshot: &Snapshot, headers: &HeaderMap) -> Result<Arc<Key>, ApiError> {
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
pub(crate) fn may_query(key: &Key, lens: &Lens) -> Result<(), ApiError> {
    match (key.kind, lens.grants.query) {
        (KeyKind::Secret, _) | (KeyKind::Public, Some(Grant::Public)) => Ok(()),
        (KeyKind::Public, None) => Err(ApiError::forbidden("Access denied by lens rules")),
    }
}
