//! The operators' API under `/api`: one admin token opens all of it, and every attempt to change something is in the
//! audit log, refused ones too.

mod audit;
mod configs;
mod fields;
mod gate;
mod jobs;
mod keys;
mod parameters;
mod runners;
mod sources;
mod views;

use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::api::error::ApiError;
use crate::control::{By, Control};
use crate::error::{ControlError, StoreError};

pub(crate) use gate::AdminTokens;
pub(crate) use gate::gate;

/// Who makes the request, as the gate has found.
type Caller = Extension<By>;

/// The routes. All of them are behind [`gate()`].
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(runners::create, runners::list))
        .routes(routes!(runners::get, runners::update, runners::delete))
        .routes(routes!(runners::revoke))
        .routes(routes!(runners::rotate))
        .routes(routes!(runners::assign, runners::unassign))
        .routes(routes!(sources::create, sources::list))
        .routes(routes!(sources::get, sources::update, sources::delete))
        .routes(routes!(sources::test))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(configs::get, configs::push))
        .routes(routes!(configs::diff))
        .routes(routes!(audit::list))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::get))
        .routes(routes!(jobs::cancel))
}

/// Makes a change to its end, whether the caller waits for it or not.
async fn change<T, F, W>(api: &Api, work: W) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ControlError>> + Send + 'static,
    W: FnOnce(Arc<Control>) -> F,
{
    let done = api.control.finish(work(Arc::clone(&api.control))).await;
    done.ok_or_else(|| ApiError::internal(&"an operator's change panicked"))?.map_err(ApiError::from)
}

/// An answer that holds a token, which no cache may keep.
fn shown_once(status: StatusCode, body: impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound { .. } => Self::not_found(error.to_string()),
            ControlError::Conflict(message) => Self::conflict(message),
            ControlError::Invalid { field, expected } => Self::invalid(&field, &expected),
            ControlError::Config(mistakes) => {
                let list: Vec<serde_json::Value> = mistakes
                    .0
                    .iter()
                    .map(|mistake| serde_json::json!({"path": mistake.path, "message": mistake.message}))
                    .collect();
                Self::coded(protocol::ErrorCode::BadRequest, mistakes.to_string()).with("mistakes", list)
            }
            ControlError::Crypto(error) => Self::internal(&error),
            // Found by the store alone: somebody was quicker.
            ControlError::Store(
                StoreError::Missing { .. } | StoreError::Taken { .. } | StoreError::InUse { .. },
            ) => Self::conflict(error.to_string()),
            ControlError::Store(
                StoreError::Unreadable { .. }
                | StoreError::Migration(_)
                | StoreError::Database(_)
                | StoreError::File { .. },
            ) => Self::internal(&error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        ControlError::Store(error).into()
    }
}
