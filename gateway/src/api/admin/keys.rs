//! `/api/keys`.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use utoipa::ToSchema;

use super::fields::Fields;
use super::views::{KeyList, KeyView, KeyWithToken};
use super::{Caller, change, shown_once};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::schema::Envelope;
use crate::capability::Scope;
use crate::control::NewKey;

/// A key to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built: Fields reads the body and names what is wrong")]
pub(crate) struct KeyBody {
    /// Unique among the keys that were not revoked.
    name: String,
    /// `secret` (`sk_`, for servers: everything) or `public` (`pk_`, for browsers: what lenses grant).
    kind: String,
    /// What a secret key may do beside queries: `exec`, commands on runners. Nothing when absent.
    scopes: Option<Vec<String>>,
}

/// Makes a key and shows its token, this once.
#[utoipa::path(post, path = "/api/keys", tag = "keys", operation_id = "createKey", request_body = KeyBody,
    responses((status = 201, description = "Made", body = KeyWithToken),
        (status = 400, description = "A field is wrong", body = Envelope),
        (status = 409, description = "The name is taken", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(by): Caller,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut fields = Fields::parse(&body)?;
    let name = fields.required_text("name")?;
    let expected = "\"secret\" or \"public\"";
    let kind = fields.word("kind", expected, |word| word.parse().ok())?;
    let scopes = fields.texts("scopes")?.unwrap_or_default();
    fields.finish()?;
    let scopes =
        Scope::parse(&scopes).map_err(|unknown| ApiError::invalid("scopes", &unknown.to_string()))?;
    let kind = kind.ok_or_else(|| ApiError::invalid("kind", expected))?;
    let new = NewKey { name, kind, scopes };
    let (key, token) = change(&api, |control| async move { control.create_key(&by, new).await }).await?;
    let body = KeyWithToken { key: KeyView::from(key.as_ref()), token: token.expose().to_owned() };
    Ok(shown_once(StatusCode::CREATED, body))
}

/// All keys, oldest first, revoked ones too.
#[utoipa::path(get, path = "/api/keys", tag = "keys", operation_id = "listKeys",
    responses((status = 200, description = "All keys", body = KeyList)), security(("admin" = [])))]
pub(super) async fn list(State(api): State<Api>) -> Json<KeyList> {
    let snapshot = api.control.snapshot();
    let mut keys: Vec<_> = snapshot.keys().collect();
    keys.sort_unstable_by_key(|key| key.id);
    Json(KeyList { keys: keys.into_iter().map(|key| KeyView::from(key.as_ref())).collect() })
}

/// Ends a key for good, from the next request on.
#[utoipa::path(post, path = "/api/keys/{key}/revoke", tag = "keys", operation_id = "revokeKey",
    params(("key" = String, Path, description = "Id, or name of a live key")),
    responses((status = 200, description = "Revoked, now or before", body = KeyView),
        (status = 404, description = "No such key", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Extension(by): Caller,
    Path(key): Path<String>,
) -> Result<Json<KeyView>, ApiError> {
    let key = change(&api, |control| async move { control.revoke_key(&by, &key).await }).await?;
    Ok(Json(KeyView::from(key.as_ref())))
}
