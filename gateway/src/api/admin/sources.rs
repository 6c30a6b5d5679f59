//! `/api/sources`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use protocol::{CredentialsLocation, JobKind};
use utoipa::ToSchema;

use super::fields::Fields;
use super::views::{SourceChanged, SourceList, SourceTested, SourceView, millis};
use super::{Caller, change};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::schema::Envelope;
use crate::control::{ChangedSource, NewSource, SourceChange};
use crate::dispatch::{Asked, Job, Step};
use crate::model::Source;
use crate::names;
use crate::plan::PlainPlan;
use crate::snapshot::Snapshot;
use crate::state::Gateway;

/// Bridges that a warning lists.
const MOST_SHOWN: usize = 50;

/// A source to be made.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built: Fields reads the body and names what is wrong")]
pub(crate) struct SourceBody {
    /// Unique among the sources.
    name: String,
    /// Package name of the bridge, or its short form.
    bridge: String,
    /// `managed` (the default) or `runner-local`. A switch to `runner-local` wipes the settings that are kept here.
    credentials_location: Option<String>,
    /// The bridge's settings; not for `runner-local`.
    #[schema(value_type = Option<Object>)]
    config: Option<serde_json::Value>,
    /// How long a job may take; 30000 when not said.
    timeout_ms: Option<u64>,
}

/// What becomes different about a source; what is left out stays.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built: Fields reads the body and names what is wrong")]
pub(crate) struct SourceChangeBody {
    /// Package name of the bridge, or its short form.
    bridge: Option<String>,
    /// `managed` or `runner-local`. A switch to `runner-local` wipes the settings that are kept here.
    credentials_location: Option<String>,
    /// The bridge's settings, in place of all that are here.
    #[schema(value_type = Option<Object>)]
    config: Option<serde_json::Value>,
    /// Settings that join those that are here (RFC 7396): a null takes one away. Not beside `config`.
    #[schema(value_type = Option<Object>)]
    config_patch: Option<serde_json::Value>,
    /// How long a job may take.
    timeout_ms: Option<u64>,
}

/// Makes a source.
#[utoipa::path(post, path = "/api/sources", tag = "sources", operation_id = "createSource", request_body = SourceBody,
    responses((status = 201, description = "Made", body = SourceChanged),
        (status = 400, description = "A field is wrong", body = Envelope),
        (status = 409, description = "The name is taken", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(by): Caller,
    body: Bytes,
) -> Result<(StatusCode, Json<SourceChanged>), ApiError> {
    let mut fields = Fields::parse(&body)?;
    let new = NewSource {
        name: fields.required_text("name")?,
        bridge: fields.required_text("bridge")?,
        location: location(&mut fields)?,
        config: fields.config("config")?,
        timeout_ms: fields.whole_number("timeoutMs")?,
    };
    fields.finish()?;
    let source = change(&api, |control| async move { control.create_source(&by, new).await }).await?;
    Ok((StatusCode::CREATED, Json(changed_view(&api, &source, Vec::new()))))
}

/// All sources, by name.
#[utoipa::path(get, path = "/api/sources", tag = "sources", operation_id = "listSources",
    responses((status = 200, description = "All sources", body = SourceList)), security(("admin" = [])))]
pub(super) async fn list(State(api): State<Api>) -> Json<SourceList> {
    let snapshot = api.control.snapshot();
    let mut sources: Vec<_> = snapshot.sources().collect();
    sources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let sources = sources.into_iter().map(|source| SourceView::new(&snapshot, source)).collect();
    Json(SourceList { sources })
}

/// One source.
#[utoipa::path(get, path = "/api/sources/{source}", tag = "sources", operation_id = "getSource",
    params(("source" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The source", body = SourceView),
        (status = 404, description = "No such source", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn get(
    State(api): State<Api>,
    Path(source): Path<String>,
) -> Result<Json<SourceView>, ApiError> {
    let snapshot = api.control.snapshot();
    let source = find(&snapshot, &source)?;
    Ok(Json(SourceView::new(&snapshot, &source)))
}

/// Changes a source; what is left out stays. Its runners are told at once.
#[utoipa::path(patch, path = "/api/sources/{source}", tag = "sources", operation_id = "updateSource",
    params(("source" = String, Path, description = "Id or name")), request_body = SourceChangeBody,
    responses((status = 200, description = "Changed", body = SourceChanged),
        (status = 400, description = "A field is wrong", body = Envelope),
        (status = 404, description = "No such source", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn update(
    State(api): State<Api>,
    Extension(by): Caller,
    Path(source): Path<String>,
    body: Bytes,
) -> Result<Json<SourceChanged>, ApiError> {
    let mut fields = Fields::parse(&body)?;
    let changed = SourceChange {
        bridge: fields.text("bridge")?,
        location: location(&mut fields)?,
        config: fields.config("config")?,
        patch: fields.config("configPatch")?,
        timeout_ms: fields.whole_number("timeoutMs")?,
    };
    fields.finish()?;
    let update = |control: Arc<crate::control::Control>| async move {
        control.update_source(&by, &source, changed).await
    };
    let ChangedSource { source, changes } = change(&api, update).await?;
    Ok(Json(changed_view(&api, &source, changes)))
}

/// Forgets a source that no lens reads.
#[utoipa::path(delete, path = "/api/sources/{source}", tag = "sources", operation_id = "deleteSource",
    params(("source" = String, Path, description = "Id or name")),
    responses((status = 204, description = "Forgotten"),
        (status = 404, description = "No such source", body = Envelope),
        (status = 409, description = "A lens reads it", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn delete(
    State(api): State<Api>,
    Extension(by): Caller,
    Path(source): Path<String>,
) -> Result<StatusCode, ApiError> {
    change(&api, |control| async move { control.delete_source(&by, &source).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a runner connect to the source's database.
#[utoipa::path(post, path = "/api/sources/{source}/test", tag = "sources", operation_id = "testSource",
    params(("source" = String, Path, description = "Id or name")),
    responses((status = 200, description = "A runner has connected", body = SourceTested),
        (status = 404, description = "No such source", body = Envelope),
        (status = 502, description = "The database cannot be reached", body = Envelope),
        (status = 503, description = "No runner of the source is online", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn test(
    State(api): State<Api>,
    Path(source): Path<String>,
) -> Result<Json<SourceTested>, ApiError> {
    let started = Instant::now();
    let source = find(&api.control.snapshot(), &source)?;
    let plan =
        Arc::new(PlainPlan { source: source.name.clone(), kind: JobKind::Test, target: String::new() });
    let mut job = Job::start(&api.gateway, source, plan, Asked::default())?;
    let mut runner = None;
    loop {
        runner = job.live().runner().or(runner);
        if let Step::Done(_) = job.next().await? {
            return Ok(Json(SourceTested { ok: true, runner, duration_ms: millis(started.elapsed()) }));
        }
    }
}

fn changed_view(api: &Api, source: &Source, changes: Vec<String>) -> SourceChanged {
    SourceChanged {
        source: SourceView::new(&api.control.snapshot(), source),
        changes,
        warnings: missing_bridge(&api.gateway, &source.bridge).into_iter().collect(),
    }
}

/// Whether there is a doubt that any runner can open a source of this bridge. Only runners know bridges.
pub(super) fn missing_bridge(gateway: &Gateway, bridge: &str) -> Option<String> {
    let links = gateway.registry.all();
    if links.iter().any(|link| link.has_bridge(bridge)) || (links.is_empty() && names::is_published(bridge)) {
        return None;
    }
    let doubt = if links.is_empty() {
        format!("{bridge} is none of the published bridges, and no runner is connected that could have it")
    } else {
        let known: BTreeSet<String> =
            links.iter().flat_map(|link| link.bridges().to_vec()).take(MOST_SHOWN).collect();
        let known: Vec<String> = known.into_iter().collect();
        format!("no connected runner has the bridge {bridge}; they have {}", known.join(", "))
    };
    let meant = names::similar_bridge(bridge).map(|meant| format!("; did you mean {meant}?"));
    Some(doubt + &meant.unwrap_or_default())
}

fn location(fields: &mut Fields) -> Result<Option<CredentialsLocation>, ApiError> {
    fields.word("credentialsLocation", "\"managed\" or \"runner-local\"", |word| match word {
        "managed" => Some(CredentialsLocation::Managed),
        "runner-local" => Some(CredentialsLocation::RunnerLocal),
        _ => None,
    })
}

fn find(snapshot: &Snapshot, source: &str) -> Result<Arc<Source>, ApiError> {
    let shown: String = source.chars().take(200).collect();
    snapshot
        .find_source(source)
        .cloned()
        .ok_or_else(|| ApiError::not_found(format!("there is no source {shown:?}")))
}
