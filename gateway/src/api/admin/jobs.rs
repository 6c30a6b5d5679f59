//! `/api/jobs`: what runs now, and the shell jobs that have ended.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::{Path, State};
use protocol::JobKind;
use utoipa::IntoParams;
use uuid::Uuid;

use super::parameters::{Pairs, Parameters};
use super::views::{JobDetail, JobPage, JobView, state_of};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::schema::Envelope;
use crate::audit::JobFilter;
use crate::jobs::{Ending, JobState, LiveJob, Work};
use crate::model::{JobId, RunnerId};
use crate::shell::record::JobStatus;

/// What to look for. Everything that is given must fit.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built: Parameters reads the query and names what is wrong")]
pub(crate) struct JobQuery {
    /// Id or name of a runner.
    runner: Option<String>,
    /// `shell`, `query`, `count`, …
    kind: Option<String>,
    /// `pending`, `claimed` or `running`; of shell jobs that have ended `succeeded`, `failed`, `timeout`, `cancelled` or
    /// `denied`.
    status: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Jobs of the page, at most 1000; 100 when not said.
    limit: Option<String>,
}

const PARAMETERS: [&str; 5] = ["runner", "kind", "status", "cursor", "limit"];

/// The jobs under way in this gateway and the shell jobs that have ended, those that began last first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", operation_id = "listJobs", params(JobQuery),
    responses((status = 200, description = "A page", body = JobPage),
        (status = 400, description = "A parameter is wrong", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn list(State(api): State<Api>, pairs: Pairs) -> Result<Json<JobPage>, ApiError> {
    let wanted = Wanted::read(&api, &Parameters::read(pairs, &PARAMETERS)?)?;
    // The live ones first: a job that ends in between is then in one list at least.
    let live = api.gateway.jobs.list();
    let mut jobs: Vec<JobView> =
        live.iter().filter(|job| wanted.fits(job)).map(|job| JobView::from(job.as_ref())).collect();
    if wanted.has_ended() {
        api.audit.settle().await;
        let ended = api.control.store().shell_jobs(&wanted.filter()).await?;
        jobs.extend(ended.into_iter().filter_map(JobView::ended));
    }
    // A job that has just ended is in both; how it ended is the news.
    jobs.sort_by_key(|job| (Reverse(job.id), !job.has_ended()));
    jobs.dedup_by_key(|job| job.id);
    let more = jobs.len() > wanted.limit;
    jobs.truncate(wanted.limit);
    let next_cursor = jobs.last().filter(|_| more).map(|job| job.id.to_string());
    Ok(Json(JobPage { jobs, next_cursor }))
}

/// One job, with its command and its output as far as they are kept.
#[utoipa::path(get, path = "/api/jobs/{job}", tag = "jobs", operation_id = "getJob",
    params(("job" = String, Path, description = "Id")),
    responses((status = 200, description = "The job", body = JobDetail),
        (status = 404, description = "No such job, or a query that has ended", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn get(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Json<JobDetail>, ApiError> {
    let id = id(&job)?;
    // The live one first, as in the list.
    let live = api.gateway.jobs.find(id);
    api.audit.settle().await;
    if let Some(row) = api.control.store().shell_job(JobId::from_uuid(id)).await?
        && let Some(detail) = JobDetail::ended(row)
    {
        return Ok(Json(detail));
    }
    Ok(Json(JobDetail::from(live.ok_or_else(missing)?.as_ref())))
}

/// Ends a job under way. Its runner is told at once; its caller gets the code CANCELLED.
#[utoipa::path(post, path = "/api/jobs/{job}/cancel", tag = "jobs", operation_id = "cancelJob",
    params(("job" = String, Path, description = "Id")),
    responses((status = 200, description = "Its runner was told", body = JobView),
        (status = 404, description = "No such job is under way", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn cancel(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    let live = api.gateway.jobs.find(id(&job)?).ok_or_else(missing)?;
    live.end(Ending::Operator);
    tracing::info!(job = %live.id, kind = live.work.kind(), "an operator ends a job");
    Ok(Json(JobView::from(live.as_ref())))
}

fn id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| missing())
}

fn missing() -> ApiError {
    ApiError::not_found("there is no such job under way, and none of the shell jobs that have ended")
}

/// What the parameters ask for.
struct Wanted {
    runner: Option<RunnerId>,
    kind: Option<String>,
    status: Option<Status>,
    before: Option<JobId>,
    limit: usize,
}

/// Where a job is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Live(JobState),
    Ended(JobStatus),
}

impl Status {
    /// Each with its word.
    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        let live = [JobState::Pending, JobState::Claimed, JobState::Running]
            .map(|state| (state_of(state), Self::Live(state)));
        let ended = JobStatus::ALL.map(|status| (status.as_str(), Self::Ended(status)));
        live.into_iter().chain(ended)
    }

    fn of(word: &str) -> Option<Self> {
        Self::all().find_map(|(name, status)| (name == word).then_some(status))
    }
}

impl Wanted {
    fn read(api: &Api, parameters: &Parameters) -> Result<Self, ApiError> {
        let kinds: Vec<&str> = JobKind::ALL.iter().map(|kind| kind.label()).chain([Work::SHELL]).collect();
        let statuses: Vec<&str> = Status::all().map(|(name, _)| name).collect();
        Ok(Self {
            runner: parameters.runner(api)?,
            kind: parameters.word("kind", &kinds)?,
            status: parameters.word("status", &statuses)?.and_then(|word| Status::of(&word)),
            before: parameters.cursor()?,
            limit: usize::try_from(parameters.limit()?).unwrap_or(usize::MAX),
        })
    }

    fn fits(&self, job: &LiveJob) -> bool {
        self.runner.is_none_or(|runner| job.runner_id() == Some(runner))
            && self.kind.as_ref().is_none_or(|kind| job.work.kind() == kind)
            && self.status.is_none_or(|status| status == Status::Live(job.state()))
            && self.before.is_none_or(|before| job.id < before.uuid())
    }

    /// Whether a job that has ended can fit.
    fn has_ended(&self) -> bool {
        self.kind.as_ref().is_none_or(|kind| kind == Work::SHELL)
            && !matches!(self.status, Some(Status::Live(_)))
    }

    /// The ended ones; one more than the page has room for tells whether there is another page.
    fn filter(&self) -> JobFilter {
        JobFilter {
            runner_id: self.runner,
            status: self.status.and_then(|status| match status {
                Status::Ended(status) => Some(status),
                Status::Live(_) => None,
            }),
            before: self.before,
            limit: u32::try_from(self.limit).unwrap_or(u32::MAX).saturating_add(1),
        }
    }
}
