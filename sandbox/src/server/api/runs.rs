//! Runs: started, watched, ended, forgotten.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::{Api, Id};
use crate::server::body;
use crate::server::check::Fields;
use crate::server::disk;
use crate::server::order::{Content, Order};
use crate::server::refusal::{FrameworkBody, Refusal, RefusalBody};
use crate::server::view::{RunView, StartedView, Status};

/// Bytes of a body that takes its time to be read.
const LARGE: usize = 256 * 1024;
const DEFAULT_SIGNAL: &str = "SIGTERM";
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
const MAX_GRACE_MS: u64 = 300_000;
/// How long the answer to `stop` waits for the results to be put away.
const PUT_AWAY: Duration = Duration::from_secs(10);

/// A run to be started.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(super) struct RunBody {
    /// As `docker run` takes it: 1 to 300 characters. Pulled once where the engine does not have it.
    image: String,
    /// At least one file: its path below the workdir, and its content as text or as `{"base64": …}`.
    files: std::collections::BTreeMap<String, Content>,
    /// A line for the image's `sh`. Without this and `argv`, the image's own command.
    entrypoint: Option<String>,
    /// A program and its arguments, without a shell.
    argv: Option<Vec<String>>,
    /// Steps that are baked into a cached image before the run, at most 50. They have the engine's limits, not the run's.
    run: Option<Vec<String>>,
    /// Any JSON value, which the process reads from its standard input. Not with `detached`.
    #[schema(value_type = Option<Object>)]
    input: Option<serde_json::Value>,
    /// Milliseconds until the process is killed, 1 to 3600000; 20 minutes unless the server says otherwise.
    timeout: Option<u64>,
    /// One network that was made here, or that the server allows; `none` for no network at all. Without, an isolated
    /// bridge that reaches the outside.
    network: Option<String>,
    /// The same for more than one, the first of which is the primary one. Not with `network`.
    networks: Option<Vec<String>>,
    /// Where the files are and the process begins; `/app` when absent.
    workdir: Option<String>,
    /// Environment of the process.
    env: Option<std::collections::BTreeMap<String, String>>,
    /// Files and folders to keep as artifacts after exit code 0, at most 20: absolute, or below the workdir.
    extract: Option<Vec<String>>,
    /// Answer at once. The run outlives the caller, and the server.
    detached: Option<bool>,
    /// Where the run is sent to when it has ended.
    callback_url: Option<String>,
    /// 16 to 200 characters. With it, callbacks carry `x-light-run-signature: sha256=` and the HMAC of the body.
    callback_secret: Option<String>,
    /// Bytes, such as `256m`; at most what the server grants.
    memory: Option<String>,
    /// Cores; at most what the server grants.
    cpus: Option<f64>,
    /// Processes and threads; at most what the server grants.
    pids: Option<u32>,
    /// `user[:group]`; never root unless asked for here.
    user: Option<String>,
    /// The image's root can be written; without, only the workdir and `/tmp` can.
    writable_root: Option<bool>,
    /// Capabilities, for root alone: `CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `KILL`, `SETGID`, `SETUID`.
    capabilities: Option<Vec<String>>,
}

/// How to end a run.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(super) struct StopBody {
    /// `SIGTERM` when absent.
    signal: Option<String>,
    /// Milliseconds until it is killed, at most 300000; 10000 when absent.
    grace: Option<u64>,
}

/// Runs a container.
///
/// Answers when the run has ended, with 200 however it ended. A caller who goes away before that cancels it.
#[utoipa::path(post, path = "/run", tag = "runs", operation_id = "run", request_body = RunBody,
    responses((status = 200, description = "The run, which has ended", body = RunView),
        (status = 202, description = "With `detached`: the run has begun", body = StartedView),
        (status = 400, description = "The body is wrong", body = RefusalBody),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 403, description = "`network_not_allowed`", body = RefusalBody),
        (status = 413, description = "The body is too large", body = FrameworkBody),
        (status = 415, description = "The body is not JSON", body = FrameworkBody),
        (status = 503, description = "`queue_full`, also by its bytes, or `draining`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn run(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let mut held = api.runs.room();
    let room = |bytes| if held.grow(bytes) { Ok(()) } else { Err(api.runs.full()) };
    let body = body::json(request, api.limits.body, room).await?;
    let mut order = parse(body, api.limits.private_callbacks).await?;
    held.grow_anyway(order.weight());
    let names = std::mem::take(&mut order.request.networks);
    order.request.networks = api.networks.resolve(api.sandbox(), names).await?;
    let detached = order.request.detached;
    let started = api.runs.start(order, held).await?;
    if detached {
        let id = started.id().to_string();
        let url = format!("/runs/{id}");
        let location = [(header::LOCATION, url.clone())];
        let view = StartedView { id, status: Status::Running, url };
        return Ok((StatusCode::ACCEPTED, location, Json(view)).into_response());
    }
    let id = started.over().await;
    Ok(Json(api.runs.view(&id).await?).into_response())
}

/// Reads an order; a large one where it holds up nobody else.
async fn parse(body: Bytes, private_callbacks: bool) -> Result<Order, Refusal> {
    if body.len() <= LARGE {
        return Order::parse(&body, private_callbacks);
    }
    disk::blocking(move || Order::parse(&body, private_callbacks))
        .await
        .map_err(|error| Refusal::internal(&error))?
}

/// All runs that are known, oldest first, without what they have written.
#[utoipa::path(get, path = "/runs", tag = "runs", operation_id = "listRuns",
    responses((status = 200, description = "Runs", body = Vec<RunView>),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<Vec<RunView>>, Refusal> {
    api.runs.list().await.map(Json)
}

/// A run.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs", operation_id = "getRun", params(("id" = String, Path)),
    responses((status = 200, description = "The run", body = RunView),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn get(State(api): State<Api>, id: Id) -> Result<Json<RunView>, Refusal> {
    api.runs.view(&id.or("not_found")?).await.map(Json)
}

/// Forgets a run that has ended, with everything that it has left.
#[utoipa::path(delete, path = "/runs/{id}", tag = "runs", operation_id = "deleteRun", params(("id" = String, Path)),
    responses((status = 204, description = "It is forgotten"),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found_or_running`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn delete(State(api): State<Api>, id: Id) -> Result<StatusCode, Refusal> {
    api.runs.remove(&id.or("not_found_or_running")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Kills a run.
#[utoipa::path(post, path = "/runs/{id}/cancel", tag = "runs", operation_id = "cancelRun", params(("id" = String, Path)),
    responses((status = 204, description = "It is being killed"),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found_or_done`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn cancel(State(api): State<Api>, id: Id) -> Result<StatusCode, Refusal> {
    api.runs.execution(&id.or("not_found_or_done")?).await?.cancel();
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a run to end, and kills it when it does not. Answers as soon as it has ended.
#[utoipa::path(post, path = "/runs/{id}/stop", tag = "runs", operation_id = "stopRun", params(("id" = String, Path)),
    request_body(content = StopBody, description = "May be absent"),
    responses((status = 204, description = "It has ended"),
        (status = 400, description = "The body is wrong", body = RefusalBody),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found_or_done`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn stop(State(api): State<Api>, id: Id, request: Request) -> Result<StatusCode, Refusal> {
    let (signal, grace) = stop_of(request).await?;
    let id = id.or("not_found_or_done")?;
    let (execution, stopping) = (api.runs.execution(&id).await?, api.drain.stopping());
    // In a task of its own: a caller who goes away within the grace does not keep the process from being killed after it.
    let stop = async move { stopping.run_until_cancelled(execution.stop(&signal, grace)).await };
    let stopped = api.drain.spawn("stop", stop).await.map_err(|error| Refusal::internal(&error))?;
    stopped.ok_or_else(Refusal::draining)??;
    api.runs.put_away_of(&id, PUT_AWAY).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop_of(request: Request) -> Result<(String, Duration), Refusal> {
    let body = body::small(request).await?;
    let mut fields = Fields::of_body(&body, true)?;
    let signal = fields.text("signal", 1, 20);
    let grace = fields.whole("grace", 0, MAX_GRACE_MS).map(Duration::from_millis);
    fields.finish(&["signal", "grace"], &[])?;
    Ok((signal.unwrap_or_else(|| DEFAULT_SIGNAL.to_owned()), grace.unwrap_or(DEFAULT_GRACE)))
}

/// Freezes all processes of a run. The clock of its timeout goes on.
#[utoipa::path(post, path = "/runs/{id}/pause", tag = "runs", operation_id = "pauseRun", params(("id" = String, Path)),
    responses((status = 204, description = "It is frozen"),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found_or_done`", body = RefusalBody),
        (status = 500, description = "The engine refuses", body = FrameworkBody)),
    security(("token" = [])))]
pub(super) async fn pause(State(api): State<Api>, id: Id) -> Result<StatusCode, Refusal> {
    api.runs.execution(&id.or("not_found_or_done")?).await?.pause().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets the processes of a frozen run go on.
#[utoipa::path(post, path = "/runs/{id}/resume", tag = "runs", operation_id = "resumeRun", params(("id" = String, Path)),
    responses((status = 204, description = "It goes on"),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found_or_done`", body = RefusalBody),
        (status = 500, description = "The engine refuses", body = FrameworkBody)),
    security(("token" = [])))]
pub(super) async fn resume(State(api): State<Api>, id: Id) -> Result<StatusCode, Refusal> {
    api.runs.execution(&id.or("not_found_or_done")?).await?.resume().await?;
    Ok(StatusCode::NO_CONTENT)
}
