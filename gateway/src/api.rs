//! Every route of the gateway, and what lies before the handlers.

mod accept;
pub(crate) mod admin;
pub(crate) mod connect;
pub(crate) mod count;
pub mod error;
pub(crate) mod exec;
mod health;
mod openapi;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod schema;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit::Audit;
use crate::control::Control;
use crate::settings::Settings;
use crate::state::Gateway;
use admin::AdminTokens;

pub use openapi::document;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) control: Arc<Control>,
    pub(crate) audit: Audit,
    pub(crate) admin: AdminTokens,
    pub(crate) metrics_for_loopback: bool,
}

impl FromRef<Api> for Arc<Gateway> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.gateway)
    }
}

/// The service. Layers are given innermost first: a preflight is answered and a token checked before any body is read.
pub(crate) fn router(api: Api, settings: &Settings) -> Router {
    let applications: Router<Api> = applications().into();
    // A preflight is an OPTIONS request that no handler takes, so the layers lie around the refusal of methods, too.
    let applications =
        applications.method_not_allowed_fallback(request::no_method).layer(request::cors(&settings.origins));
    let operators: Router<Api> = admin::routes().into();
    let operators = operators
        .method_not_allowed_fallback(request::no_method)
        .layer(from_fn_with_state(settings.body_limit, request::read_body))
        .layer(from_fn_with_state(api.clone(), admin::gate));
    let shell: Router<Api> = shell().into();
    let others: Router<Api> = others().into();
    Router::new()
        .merge(applications)
        .merge(operators)
        .merge(shell)
        .merge(others)
        .merge(openapi::pages())
        .fallback(request::no_route)
        .method_not_allowed_fallback(request::no_method)
        .layer(from_fn_with_state(Arc::clone(&api.gateway), request::around))
        .with_state(api)
}

/// What applications ask.
fn applications() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(query::query)).routes(routes!(count::count))
}

/// What applications and operators ask. It checks by itself who they are.
fn shell() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(exec::exec))
}

/// What runners and orchestrators ask.
fn others() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(connect::connect))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}
