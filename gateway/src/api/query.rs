//! `POST /v1/query/:lens`: rows of a lens, as one JSON object or as a stream of lines.
//!
//! Rows go out as they come in. A JSON answer holds back its first megabyte, so that a failure until then has a status
//! and an envelope, and so that another runner can begin anew; later it can only break the connection off, which every
//! client notices. A stream of lines sends the first row at once and says in a last line what went wrong.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use protocol::{DoneMeta, ErrorCode, Extensions, Tail};
use serde_json::{Map, Value};

use crate::access::{self, Admitted};
use crate::api::accept::{NDJSON, wants_lines};
use crate::api::error::ApiError;
use crate::api::request::RequestId;
use crate::attempt::Attempt;
use crate::audit::action;
use crate::blame::InWordsOf;
use crate::cursor::{Place, seal};
use crate::dispatch::{Asked, Job, Step, Trace};
use crate::link::ChunkData;
use crate::model::KeyKind;
use crate::plan::{QueryPlan, QueryRequest};
use crate::reshape::{Reshape, Separator};
use crate::snapshot::Snapshot;
use crate::state::Gateway;

/// Bytes of a JSON answer that are held back.
const HOLD: usize = 1024 * 1024;
const OPENING: &[u8] = b"{\"rows\":[";

/// Rows of a lens.
#[utoipa::path(
    post,
    path = "/v1/query/{lens}",
    tag = "query",
    operation_id = "query",
    params(("lens" = String, Path, description = "Name of the lens")),
    request_body(
        content = crate::api::schema::QueryBody,
        description = "What to return; an empty body asks for the first 100 rows"
    ),
    responses(
        (status = 200, description = "Rows; with `Accept: application/x-ndjson` one row a line",
            content((crate::api::schema::QueryAnswer = "application/json"), (String = "application/x-ndjson"))),
        (status = 400, description = "A field has a wrong value", body = crate::api::schema::Envelope),
        (status = 401, description = "No valid API key", body = crate::api::schema::Envelope),
        (status = 403, description = "The lens does not grant this", body = crate::api::schema::Envelope),
        (status = 404, description = "No such lens", body = crate::api::schema::Envelope),
        (status = 422, description = "The database refused the query", body = crate::api::schema::Envelope),
        (status = 502, description = "The source or its runner failed", body = crate::api::schema::Envelope),
        (status = 503, description = "No runner can take the query now", body = crate::api::schema::Envelope),
        (status = 504, description = "The deadline passed", body = crate::api::schema::Envelope),
    ),
    security(("key" = []))
)]
pub(crate) async fn query(
    State(gateway): State<Arc<Gateway>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Path(lens): Path<String>,
    request: Request,
) -> Response {
    let mut attempt = Attempt::begin(&gateway, action::QUERY, request_id).through(&lens);
    match ask(&gateway, &lens, request, &mut attempt).await {
        Ok(answer) => answer.respond(attempt).await,
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
) -> Result<Answer, ApiError> {
    let Admitted { caller, snapshot, lens, source, headers, body } =
        access::admit(gateway, request, lens, attempt).await?;
    let body = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("body", "UTF-8"))?;
    let request = QueryRequest::parse(body)?;
    if caller.kind == KeyKind::Public {
        request.at_most(gateway.limits.public_rows)?;
    }
    let lines = wants_lines(&headers);
    let with_meta = request.meta;
    let paged = !lines || with_meta;
    let plan = Arc::new(QueryPlan::new(&lens, &source, request, paged, snapshot.vault().cursor_key())?);
    let plan_for_job = Arc::new(InWordsOf::new(&lens, caller.kind, plan.clone()));
    let asked = Asked { key: Some(caller.id), trace: trace(&headers) };
    let job = Job::start(gateway, source, plan_for_job, asked)?;
    attempt.on(&job);
    let extensions = job.extensions();
    let reshape = plan.reshape(extensions);
    Ok(Answer {
        snapshot,
        lens: lens.name.clone(),
        job,
        plan,
        reshape,
        extensions,
        lines,
        with_meta,
        rows: 0,
        tail: Tail::default(),
    })
}

/// The caller's trace context, passed on to the runner as it is.
pub(crate) fn trace(headers: &HeaderMap) -> Trace {
    let text =
        |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    Trace { parent: text("traceparent"), state: text("tracestate") }
}

/// An answer under way.
struct Answer {
    snapshot: Arc<Snapshot>,
    lens: String,
    job: Job,
    plan: Arc<QueryPlan>,
    reshape: Reshape,
    extensions: Extensions,
    lines: bool,
    with_meta: bool,
    rows: u64,
    tail: Tail,
}

impl Answer {
    /// Waits for the first rows and answers.
    async fn respond(mut self, mut attempt: Attempt) -> Response {
        let mut held = Vec::new();
        match self.hold(&mut held, &mut attempt).await {
            Ok(Held::Complete) => {
                attempt.sent(self.rows, held.len());
                attempt.succeed();
                self.response(Body::from(held))
            }
            Ok(Held::More) => self.stream(held, attempt),
            Err(error) => {
                attempt.fail(&error);
                error.into_response()
            }
        }
    }

    /// Collects the beginning of the answer: all of it, or as much as is held back.
    async fn hold(&mut self, out: &mut Vec<u8>, attempt: &mut Attempt) -> Result<Held, ApiError> {
        self.begin(out);
        loop {
            match self.job.next().await {
                Ok(Step::Chunk(chunk)) => {
                    self.append(chunk, out)?;
                    let enough = if self.lines { self.rows > 0 } else { out.len() >= HOLD };
                    if enough {
                        self.job.commit();
                        return Ok(Held::More);
                    }
                }
                Ok(Step::Restarted) => {
                    attempt.on(&self.job);
                    self.extensions = self.job.extensions();
                    self.reshape = self.plan.reshape(self.extensions);
                    self.rows = 0;
                    self.begin(out);
                }
                Ok(Step::Done(meta)) => {
                    self.finish(meta, out, attempt);
                    return Ok(Held::Complete);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what was held back, then the rest as it comes.
    fn stream(self, held: Vec<u8>, attempt: Attempt) -> Response {
        let head = self.response(Body::empty());
        let state = Streaming { answer: self, attempt, next: Some(held), over: false };
        let body = Body::from_stream(stream::unfold(state, |mut state| async move {
            state.next().await.map(|bytes| (bytes, state))
        }));
        let (parts, _) = head.into_parts();
        Response::from_parts(parts, body)
    }

    fn response(&self, body: Body) -> Response {
        let kind = if self.lines { NDJSON } else { "application/json" };
        ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], body).into_response()
    }

    fn begin(&self, out: &mut Vec<u8>) {
        out.clear();
        if !self.lines {
            out.extend_from_slice(OPENING);
        }
    }

    fn append(&mut self, chunk: ChunkData, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let separator = if self.lines { Separator::Line } else { Separator::Comma };
        let bad_row =
            |_| ApiError::coded(ErrorCode::RunnerFailed, "the runner sent a row that is not an object");
        self.rows += self.reshape.append(&chunk, out, separator).map_err(bad_row)?;
        if !chunk.tail.is_empty() {
            self.tail = chunk.tail;
        }
        Ok(())
    }

    /// Writes what comes behind the last row.
    fn finish(&mut self, done: DoneMeta, out: &mut Vec<u8>, attempt: &Attempt) {
        if !done.tail.is_empty() {
            self.tail = done.tail;
        }
        if self.lines && !self.with_meta {
            return;
        }
        let meta = Value::Object(self.meta(attempt)).to_string();
        out.extend_from_slice(if self.lines { b"{\"meta\":" } else { b"],\"meta\":" });
        out.extend_from_slice(meta.as_bytes());
        out.extend_from_slice(if self.lines { b"}\n" } else { b"}" });
    }

    fn meta(&self, attempt: &Attempt) -> Map<String, Value> {
        let mut meta = Map::new();
        meta.insert("lens".to_owned(), self.lens.as_str().into());
        meta.insert("count".to_owned(), self.rows.into());
        meta.insert("durationMs".to_owned(), attempt.elapsed_ms().into());
        if let Some(total) = self.tail.total {
            meta.insert("total".to_owned(), total.into());
        }
        if let Some(cursor) = self.next_cursor() {
            meta.insert("nextCursor".to_owned(), cursor.into());
        }
        meta
    }

    fn next_cursor(&self) -> Option<String> {
        let place = match self.reshape.next_keys() {
            Some(keys) => Place::Keys(keys),
            None if self.job_pages() => Place::Bridge(self.tail.next_cursor.clone()?),
            None => return None,
        };
        let sealed = seal(self.snapshot.vault().cursor_key(), &self.plan.fingerprint, &place);
        // Without random numbers there is no next page; this one stands.
        sealed.inspect_err(|error| tracing::error!(%error, "no cursor for the next page")).ok()
    }

    /// Whether a cursor in the tail is one that we asked for.
    fn job_pages(&self) -> bool {
        self.plan.pages_at_bridge(self.extensions)
    }
}

enum Held {
    Complete,
    More,
}

/// The body of an answer that is longer than what is held back.
struct Streaming {
    answer: Answer,
    attempt: Attempt,
    next: Option<Vec<u8>>,
    over: bool,
}

impl Streaming {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if let Some(bytes) = self.next.take() {
            return Some(self.send(bytes));
        }
        if self.over {
            return None;
        }
        let mut out = Vec::new();
        loop {
            let step = match self.answer.job.next().await {
                Ok(step) => step,
                Err(error) => return self.fail(error),
            };
            match step {
                Step::Chunk(chunk) => {
                    if let Err(error) = self.answer.append(chunk, &mut out) {
                        return self.fail(error);
                    }
                    if !out.is_empty() {
                        return Some(self.send(out));
                    }
                }
                Step::Done(meta) => {
                    self.answer.finish(meta, &mut out, &self.attempt);
                    self.over = true;
                    let last = self.send(out);
                    self.attempt.succeed();
                    return Some(last);
                }
                // A committed job is not placed again.
                Step::Restarted => {
                    return self.fail(ApiError::coded(ErrorCode::RunnerFailed, "the query began anew"));
                }
            }
        }
    }

    fn send(&mut self, bytes: Vec<u8>) -> Result<Bytes, std::io::Error> {
        self.attempt.sent(self.answer.rows, bytes.len());
        Ok(bytes.into())
    }

    /// Rows have left: lines end with one that says why, a JSON object is broken off.
    fn fail(&mut self, error: ApiError) -> Option<Result<Bytes, std::io::Error>> {
        self.over = true;
        self.attempt.fail(&error);
        if self.answer.lines {
            return Some(Ok(format!("{}\n", error.body()).into()));
        }
        Some(Err(std::io::Error::other(error.message().to_owned())))
    }
}
