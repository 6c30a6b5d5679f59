//! `/api/runners`.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use utoipa::ToSchema;

use super::fields::Fields;
use super::views::{RunnerList, RunnerView, RunnerWithToken};
use super::{Caller, change, shown_once};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::schema::Envelope;
use crate::capability::CapabilitySet;
use crate::control::{NewRunner, RunnerChange};
use crate::model::Runner;

/// A runner to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built: Fields reads the body and names what is wrong")]
pub(crate) struct RunnerBody {
    /// Unique among the runners.
    name: String,
    /// What operators tell runners apart by.
    labels: Option<BTreeMap<String, String>>,
    /// What it may do beside queries: `exec.readonly`, `exec.full`, `docker`, `sandbox`; the first one when absent. The runner's
    /// own settings are the other half.
    capabilities: Option<Vec<String>>,
    /// Ids or names of sources that it has from the start.
    sources: Option<Vec<String>>,
}

/// What is to be different about a runner. What is absent stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built: Fields reads the body and names what is wrong")]
pub(crate) struct RunnerChangeBody {
    /// All of its labels.
    labels: Option<BTreeMap<String, String>>,
    /// All of its capabilities; an empty list takes away every one.
    capabilities: Option<Vec<String>>,
}

/// Makes a runner and shows its token, this once.
#[utoipa::path(post, path = "/api/runners", tag = "runners", operation_id = "createRunner",
    request_body = RunnerBody,
    responses(
        (status = 201, description = "Made", body = RunnerWithToken),
        (status = 400, description = "A field is wrong", body = Envelope),
        (status = 404, description = "A source is not there", body = Envelope),
        (status = 409, description = "The name is taken", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(by): Caller,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut fields = Fields::parse(&body)?;
    let new = NewRunner {
        name: fields.required_text("name")?,
        labels: fields.labels("labels")?.unwrap_or_default(),
        capabilities: capabilities(&mut fields)?.unwrap_or_default(),
        sources: fields.texts("sources")?.unwrap_or_default(),
    };
    fields.finish()?;
    let (runner, token) =
        change(&api, |control| async move { control.create_runner(&by, new).await }).await?;
    let body = RunnerWithToken { runner: view(&api, &runner), token: token.expose().to_owned() };
    Ok(shown_once(StatusCode::CREATED, body))
}

/// All runners, by name.
#[utoipa::path(get, path = "/api/runners", tag = "runners", operation_id = "listRunners",
    responses((status = 200, description = "All runners", body = RunnerList)), security(("admin" = [])))]
pub(super) async fn list(State(api): State<Api>) -> Json<RunnerList> {
    let snapshot = api.control.snapshot();
    let mut runners: Vec<_> = snapshot.runners().collect();
    runners.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let runners = runners.into_iter().map(|runner| RunnerView::new(&api, &snapshot, runner)).collect();
    Json(RunnerList { runners })
}

/// One runner.
#[utoipa::path(get, path = "/api/runners/{runner}", tag = "runners", operation_id = "getRunner",
    params(("runner" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The runner", body = RunnerView),
        (status = 404, description = "No such runner", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn get(
    State(api): State<Api>,
    Path(runner): Path<String>,
) -> Result<Json<RunnerView>, ApiError> {
    let snapshot = api.control.snapshot();
    let shown: String = runner.chars().take(200).collect();
    let missing = || ApiError::not_found(format!("there is no runner {shown:?}"));
    let found = snapshot.find_runner(&runner).ok_or_else(missing)?;
    Ok(Json(RunnerView::new(&api, &snapshot, found)))
}

/// Changes what a runner may do, from its next job on, and its labels.
#[utoipa::path(patch, path = "/api/runners/{runner}", tag = "runners", operation_id = "updateRunner",
    params(("runner" = String, Path, description = "Id or name")), request_body = RunnerChangeBody,
    responses((status = 200, description = "Changed", body = RunnerView),
        (status = 400, description = "A field is wrong", body = Envelope),
        (status = 404, description = "No such runner", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn update(
    State(api): State<Api>,
    Extension(by): Caller,
    Path(runner): Path<String>,
    body: Bytes,
) -> Result<Json<RunnerView>, ApiError> {
    let mut fields = Fields::parse(&body)?;
    let wanted = RunnerChange { labels: fields.labels("labels")?, capabilities: capabilities(&mut fields)? };
    fields.finish()?;
    let runner =
        change(&api, |control| async move { control.update_runner(&by, &runner, wanted).await }).await?;
    Ok(Json(view(&api, &runner)))
}

/// Forgets a runner that is not connected. Its audit rows stay.
#[utoipa::path(delete, path = "/api/runners/{runner}", tag = "runners", operation_id = "deleteRunner",
    params(("runner" = String, Path, description = "Id or name")),
    responses((status = 204, description = "Forgotten"),
        (status = 404, description = "No such runner", body = Envelope),
        (status = 409, description = "It is connected", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn delete(
    State(api): State<Api>,
    Extension(by): Caller,
    Path(runner): Path<String>,
) -> Result<StatusCode, ApiError> {
    let gateway = std::sync::Arc::clone(&api.gateway);
    let delete = |control: std::sync::Arc<crate::control::Control>| async move {
        control.delete_runner(&by, &runner, |id| !gateway.registry.of(id).is_empty()).await
    };
    change(&api, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a runner's token for good and closes its sockets at once.
#[utoipa::path(post, path = "/api/runners/{runner}/revoke", tag = "runners", operation_id = "revokeRunner",
    params(("runner" = String, Path, description = "Id or name")),
    responses((status = 200, description = "Revoked, now or before", body = RunnerView),
        (status = 404, description = "No such runner", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Extension(by): Caller,
    Path(runner): Path<String>,
) -> Result<Json<RunnerView>, ApiError> {
    let revoked = change(&api, |control| async move { control.revoke_runner(&by, &runner).await }).await?;
    Ok(Json(view(&api, &revoked)))
}

/// Gives a runner another token, shown this once, and closes its sockets at once.
#[utoipa::path(post, path = "/api/runners/{runner}/rotate", tag = "runners", operation_id = "rotateRunner",
    params(("runner" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The new token", body = RunnerWithToken),
        (status = 404, description = "No such runner", body = Envelope),
        (status = 409, description = "It was revoked", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn rotate(
    State(api): State<Api>,
    Extension(by): Caller,
    Path(runner): Path<String>,
) -> Result<Response, ApiError> {
    let (runner, token) =
        change(&api, |control| async move { control.rotate_runner(&by, &runner).await }).await?;
    let body = RunnerWithToken { runner: view(&api, &runner), token: token.expose().to_owned() };
    Ok(shown_once(StatusCode::OK, body))
}

/// Gives a runner a source; its sockets are told at once.
#[utoipa::path(put, path = "/api/runners/{runner}/sources/{source}", tag = "runners", operation_id = "assign",
    params(("runner" = String, Path, description = "Id or name"), ("source" = String, Path, description = "Id or name")),
    responses((status = 200, description = "It has the source, now or before", body = RunnerView),
        (status = 404, description = "No such runner or source", body = Envelope),
        (status = 409, description = "The runner was revoked", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn assign(
    State(api): State<Api>,
    Extension(by): Caller,
    Path((runner, source)): Path<(String, String)>,
) -> Result<Json<RunnerView>, ApiError> {
    let runner = change(&api, |control| async move { control.assign(&by, &runner, &source).await }).await?;
    Ok(Json(view(&api, &runner)))
}

/// Takes a source from a runner; its sockets are told at once.
#[utoipa::path(delete, path = "/api/runners/{runner}/sources/{source}", tag = "runners", operation_id = "unassign",
    params(("runner" = String, Path, description = "Id or name"), ("source" = String, Path, description = "Id or name")),
    responses((status = 200, description = "It does not have the source", body = RunnerView),
        (status = 404, description = "No such runner or source", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn unassign(
    State(api): State<Api>,
    Extension(by): Caller,
    Path((runner, source)): Path<(String, String)>,
) -> Result<Json<RunnerView>, ApiError> {
    let runner = change(&api, |control| async move { control.unassign(&by, &runner, &source).await }).await?;
    Ok(Json(view(&api, &runner)))
}

fn capabilities(fields: &mut Fields) -> Result<Option<CapabilitySet>, ApiError> {
    let words = fields.texts("capabilities")?;
    let parsed = words.map(|words| CapabilitySet::parse(&words)).transpose();
    parsed.map_err(|unknown| ApiError::invalid("capabilities", &unknown.to_string()))
}

fn view(api: &Api, runner: &Runner) -> RunnerView {
    RunnerView::new(api, &api.control.snapshot(), runner)
}
