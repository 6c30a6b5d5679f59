//! `GET /api/jobs`.

use axum::Json;
use axum::extract::State;

use super::views::{JobList, JobView};
use crate::api::Api;

/// The jobs under way in this gateway, oldest first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", operation_id = "listJobs",
    responses((status = 200, description = "Jobs under way", body = JobList)), security(("admin" = [])))]
pub(super) async fn list(State(api): State<Api>) -> Json<JobList> {
    let jobs = api.gateway.jobs.list();
    Json(JobList { jobs: jobs.iter().map(|job| JobView::from(job.as_ref())).collect() })
}
