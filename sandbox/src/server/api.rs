//! Every route, and what its handlers share.

mod artifacts;
mod health;
mod logs;
mod networks;
mod openapi;
mod runs;

use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Json, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gate::{Gate, pass};
use super::networks::Networks;
use super::refusal::Refusal;
use super::runs::Runs;
use crate::{RunId, Sandbox};

pub(crate) use health::Pulse;
pub use openapi::document;

/// Characters of a parameter of a path.
const MAX_PARAMETER: usize = 100;

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) runs: Runs,
    pub(crate) networks: Networks,
    pub(crate) pulse: Pulse,
    pub(crate) limits: Limits,
    pub(crate) drain: runtime::Drain,
}

/// What a request may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a body.
    pub(crate) body: usize,
    /// Whether callbacks may go to private addresses.
    pub(crate) private_callbacks: bool,
}

impl Api {
    fn sandbox(&self) -> &Sandbox {
        self.runs.sandbox()
    }
}

/// The service.
pub(crate) fn router(api: Api, gate: Gate) -> Router {
    let described: Router<Api> = described().into();
    described
        .route("/runs/{id}/artifacts/", get(artifacts::nothing_named))
        .route("/openapi.json", get(async || Json(document())))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .layer(from_fn_with_state(gate, pass))
        .with_state(api)
}

fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::metrics))
        .routes(routes!(runs::run))
        .routes(routes!(runs::list))
        .routes(routes!(runs::get, runs::delete))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::stop))
        .routes(routes!(runs::pause))
        .routes(routes!(runs::resume))
        .routes(routes!(logs::follow))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::download))
        .routes(routes!(networks::create))
        .routes(routes!(networks::cleanup))
        .routes(routes!(networks::exists, networks::delete))
}

async fn no_route(request: Request) -> Refusal {
    Refusal::no_route(request.method().as_str(), request.uri().path())
}

/// The id of a run in a path. What is no id is the id of no run.
pub(crate) struct Id(pub(crate) Result<RunId, Refusal>);

impl Id {
    /// The id, or the refusal that this route has for a run that is not there.
    fn or(self, code: &'static str) -> Result<RunId, Refusal> {
        self.0.map_err(|refusal| match refusal {
            Refusal::Coded(..) => Refusal::not_found(code),
            other => other,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let text =
            match Path::<std::collections::HashMap<String, String>>::from_request_parts(parts, state).await {
                Ok(Path(mut parameters)) => parameters.remove("id").unwrap_or_default(),
                Err(_) => String::new(),
            };
        Ok(Self(parse(&text)))
    }
}

fn parse(text: &str) -> Result<RunId, Refusal> {
    if text.chars().count() > MAX_PARAMETER {
        return Err(Refusal::long_parameter());
    }
    text.parse().map_err(|_| Refusal::not_found("not_found"))
}
