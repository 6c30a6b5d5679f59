//! `/api/config`: the config in place, and pushes.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::{Extension, Json};
use protocol::CredentialsLocation;
use serde::Serialize;
use utoipa::ToSchema;

use super::sources::missing_bridge;
use super::{Caller, change};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::schema::Envelope;
use crate::config::{
    Config, ConfigWarning, DeclaredSource, Diff, Format, Node, check, parse, unknown_sources,
};
use crate::control::Pushed;
use crate::error::ControlError;

/// A config: `{stack?, sources?, lenses?, auth?}`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built: the body is read as one of three formats")]
pub(crate) struct ConfigBody {
    /// Name of the project; has no effect.
    stack: Option<String>,
    /// Sources by name.
    #[schema(value_type = Option<Object>)]
    sources: Option<serde_json::Value>,
    /// Lenses by name.
    #[schema(value_type = Option<Object>)]
    lenses: Option<serde_json::Value>,
}

/// What a push did or would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PushAnswer {
    /// Whether it is in place now.
    applied: bool,
    diff: Diff,
    /// The same for people.
    summary: String,
    /// What was accepted and has no effect, or may not work.
    warnings: Vec<ConfigWarning>,
}

/// The sources and lenses in place. Settings are shown by their names alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigView {
    #[schema(value_type = Object)]
    sources: Node,
    #[schema(value_type = Object)]
    lenses: Node,
}

/// The sources and lenses in place.
#[utoipa::path(get, path = "/api/config", tag = "config", operation_id = "getConfig",
    responses((status = 200, description = "What is in place", body = ConfigView)), security(("admin" = [])))]
pub(super) async fn get(State(api): State<Api>) -> Json<ConfigView> {
    let snapshot = api.control.snapshot();
    let mut sources: Vec<_> = snapshot.sources().collect();
    sources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let source = |source: &crate::model::Source| {
        let location = match source.credentials.location() {
            CredentialsLocation::Managed => "managed",
            CredentialsLocation::RunnerLocal => "runner-local",
        };
        Node::Map(vec![
            ("bridge".to_owned(), Node::Text(source.bridge.clone())),
            ("credentialsLocation".to_owned(), Node::Text(location.to_owned())),
            ("timeout".to_owned(), Node::Number(source.timeout_ms.into())),
        ])
    };
    let sources = sources.into_iter().map(|found| (found.name.clone(), source(found))).collect();
    let mut lenses: Vec<_> =
        snapshot.lenses().map(|lens| (lens.name.clone(), lens.declared.clone())).collect();
    lenses.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Json(ConfigView { sources: Node::Map(sources), lenses: Node::Map(lenses) })
}

/// Puts a config in place, as a whole or not at all.
#[utoipa::path(put, path = "/api/config", tag = "config", operation_id = "pushConfig",
    request_body(content((ConfigBody = "application/json"), (String = "application/yaml"), (String = "application/toml"))),
    responses((status = 200, description = "In place", body = PushAnswer),
        (status = 400, description = "It has mistakes, all of them in `mistakes` with their paths", body = Envelope),
        (status = 415, description = "Not JSON, YAML or TOML", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn push(
    State(api): State<Api>,
    Extension(by): Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<PushAnswer>, ApiError> {
    let config = read(&api, &headers, &body)?;
    let doubts = doubts(&api, &config);
    let pushed = change(&api, |control| async move { control.push(&by, config).await }).await?;
    Ok(Json(answer(pushed, doubts, true)))
}

/// Checks a config and says what a push of it would change.
#[utoipa::path(post, path = "/api/config/diff", tag = "config", operation_id = "diffConfig",
    request_body(content((ConfigBody = "application/json"), (String = "application/yaml"), (String = "application/toml"))),
    responses((status = 200, description = "What a push would change", body = PushAnswer),
        (status = 400, description = "It has mistakes, all of them in `mistakes` with their paths", body = Envelope),
        (status = 415, description = "Not JSON, YAML or TOML", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn diff(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<PushAnswer>, ApiError> {
    let config = read(&api, &headers, &body)?;
    let doubts = doubts(&api, &config);
    Ok(Json(answer(api.control.compare(config)?, doubts, false)))
}

fn read(api: &Api, headers: &HeaderMap, body: &Bytes) -> Result<Config, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    // Without a type it is JSON, as everywhere in this API.
    let format = kind.map_or(Some(Format::Json), Format::of_content_type).ok_or_else(|| {
        let types = Format::ALL.map(Format::content_type).join(", ");
        ApiError::http(
            axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("Content-Type: expected one of {types}"),
        )
    })?;
    let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid("body", "UTF-8"))?;
    let document = parse(text, format).map_err(ControlError::Config)?;
    check(&document).map_err(|mut mistakes| {
        mistakes.0.extend(unknown_sources(&document, &api.control.snapshot()));
        ControlError::Config(mistakes).into()
    })
}

/// Sources that perhaps no runner can open.
fn doubts(api: &Api, config: &Config) -> Vec<ConfigWarning> {
    let doubt = |source: &DeclaredSource| {
        let message = missing_bridge(&api.gateway, &source.bridge)?;
        Some(ConfigWarning { path: format!("sources.{}.bridge", source.name), message })
    };
    config.sources.iter().flatten().filter_map(doubt).collect()
}

fn answer(pushed: Pushed, doubts: Vec<ConfigWarning>, applied: bool) -> PushAnswer {
    let mut warnings = pushed.warnings;
    warnings.extend(doubts);
    PushAnswer { applied, summary: pushed.diff.to_string(), diff: pushed.diff, warnings }
}
