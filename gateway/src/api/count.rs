//! `POST /v1/count/:lens`: how many rows match.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use protocol::ErrorCode;
use serde_json::json;

use crate::access::{self, Admitted};
use crate::api::error::ApiError;
use crate::api::query::trace;
use crate::api::request::RequestId;
use crate::attempt::Attempt;
use crate::audit::action;
use crate::blame::InWordsOf;
use crate::dispatch::{Asked, Job, Step};
use crate::plan::CountPlan;
use crate::state::Gateway;

/// How many rows of a lens match.
#[utoipa::path(
    post,
    path = "/v1/count/{lens}",
    tag = "query",
    operation_id = "count",
    params(("lens" = String, Path, description = "Name of the lens")),
    request_body(content = crate::api::schema::CountBody, description = "Which rows; an empty body counts all"),
    responses(
        (status = 200, description = "The count", body = crate::api::schema::CountAnswer),
        (status = 400, description = "A field has a wrong value", body = crate::api::schema::Envelope),
        (status = 401, description = "No valid API key", body = crate::api::schema::Envelope),
        (status = 403, description = "The lens does not grant this", body = crate::api::schema::Envelope),
        (status = 404, description = "No such lens", body = crate::api::schema::Envelope),
        (status = 502, description = "The source or its runner failed", body = crate::api::schema::Envelope),
        (status = 503, description = "No runner can take the count now", body = crate::api::schema::Envelope),
        (status = 504, description = "The deadline passed", body = crate::api::schema::Envelope),
    ),
    security(("key" = []))
)]
pub(crate) async fn count(
    State(gateway): State<Arc<Gateway>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Path(lens): Path<String>,
    request: Request,
) -> Response {
    let mut attempt = Attempt::begin(&gateway, action::COUNT, request_id).through(&lens);
    match ask(&gateway, &lens, request, &mut attempt).await {
        Ok(response) => {
            attempt.succeed();
            response
        }
        Err(error) => {
            attempt.fail(&error);
            error.into_response()
        }
    }
}

async fn ask(
    gateway: &Arc<Gateway>,
    lens: &str,
    request: Request,
    attempt: &mut Attempt,
) -> Result<Response, ApiError> {
    let Admitted { caller, lens, source, headers, body, .. } =
        access::admit(gateway, request, lens, attempt).await?;
    let body = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("body", "UTF-8"))?;
    let plan = Arc::new(CountPlan::new(&lens, &source.name, body)?);
    let plan = Arc::new(InWordsOf::new(&lens, caller.kind, plan));
    let asked = Asked { key: Some(caller.id), trace: trace(&headers) };
    let mut job = Job::start(gateway, source, plan, asked)?;
    attempt.on(&job);
    let (total, approximate) = total(&mut job).await?;
    attempt.on(&job);
    let mut meta = json!({"lens": lens.name, "durationMs": attempt.elapsed_ms()});
    if approximate && let Some(meta) = meta.as_object_mut() {
        meta.insert("approximate".to_owned(), true.into());
    }
    Ok(Json(json!({"count": total, "meta": meta})).into_response())
}

async fn total(job: &mut Job) -> Result<(u64, bool), ApiError> {
    let mut counted = None;
    loop {
        match job.next().await? {
            Step::Chunk(chunk) => {
                counted = chunk.tail.total.map(|total| (total, chunk.tail.approximate)).or(counted);
            }
            Step::Restarted => counted = None,
            Step::Done(meta) => {
                let counted = meta.tail.total.map(|total| (total, meta.tail.approximate)).or(counted);
                let missing =
                    || ApiError::coded(ErrorCode::RunnerFailed, "the runner did not say how many rows match");
                return counted.ok_or_else(missing);
            }
        }
    }
}
