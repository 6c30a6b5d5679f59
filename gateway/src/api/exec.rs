//! `POST /api/exec`: a command on one runner, its answer as one JSON object or as events while it runs.
//!
//! Success and every failure have one shape each. A program that ends with an exit code other than 0 has succeeded in running.
//! A caller that goes away ends its command.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::stream;
use protocol::{ExecChunk, ExecDone, Invocation};
use serde_json::{Value, json};

use crate::access::{self, actor_of};
use crate::api::Api;
use crate::api::accept::{EVENTS, wants_events};
use crate::api::error::ApiError;
use crate::api::query::trace;
use crate::api::request::{Peer, RequestId, whole_body};
use crate::audit::Actor;
use crate::capability::Scope;
use crate::dispatch;
use crate::model::{Key, KeyId, Runner};
use crate::shell::attempt::ShellAttempt;
use crate::shell::failure::Failure;
use crate::shell::job::{Plan, ShellJob, Step};
use crate::shell::request::{Asked, find};
use crate::state::Gateway;

/// Where it is.
pub(crate) const PATH: &str = "/api/exec";
/// The header that names the job from the first byte of the answer on.
const JOB_ID: HeaderName = HeaderName::from_static("x-job-id");
/// How long a stream of events is silent at the most.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Runs a command on a runner.
#[utoipa::path(
    post,
    path = "/api/exec",
    tag = "exec",
    operation_id = "exec",
    request_body = crate::api::schema::ExecBody,
    responses(
        (status = 200, description = "The program has ended, with whatever exit code; with `Accept: text/event-stream` events \
            `chunk` while it runs, then `done` or `error` with the same envelope",
            content((crate::api::schema::ExecAnswer = "application/json"), (String = "text/event-stream"))),
        (status = 400, description = "A field has a wrong value", body = crate::api::schema::ExecFailure),
        (status = 401, description = "No valid key or token", body = crate::api::schema::ExecFailure),
        (status = 403, description = "The key lacks the scope, the runner the capability, or a rule of the runner refuses it",
            body = crate::api::schema::ExecFailure),
        (status = 404, description = "No such runner", body = crate::api::schema::ExecFailure),
        (status = 409, description = "The runner was revoked", body = crate::api::schema::ExecFailure),
        (status = 499, description = "An operator has ended the command, revoked the key, or taken the capability from the runner",
            body = crate::api::schema::ExecFailure),
        (status = 501, description = "The runner takes no shell jobs", body = crate::api::schema::ExecFailure),
        (status = 502, description = "The runner failed or was lost", body = crate::api::schema::ExecFailure),
        (status = 503, description = "The runner is offline or busy", body = crate::api::schema::ExecFailure),
        (status = 504, description = "The time was over", body = crate::api::schema::ExecFailure),
    ),
    security(("key" = []), ("admin" = []))
)]
pub(crate) async fn exec(
    State(api): State<Api>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    request: Request,
) -> Response {
    let mut attempt = ShellAttempt::begin(&api.gateway, request_id);
    let admitted = match admit(&api, request, &mut attempt).await {
        Ok(admitted) => admitted,
        Err(failure) => {
            attempt.fail(None, &failure);
            return failure.into_response();
        }
    };
    let Admitted { plan, events } = admitted;
    let target = Target::of(&plan);
    let job = match begin(&api.gateway, plan, &mut attempt).await {
        Ok(job) => job,
        Err(failure) => {
            attempt.fail(None, &failure);
            return failure.into_response();
        }
    };
    let run = Run { target, job, attempt };
    if events { run.stream() } else { run.whole().await }
}

/// Gives the command to a runner, once the log says that one is about to have it.
async fn begin(gateway: &Arc<Gateway>, plan: Plan, attempt: &mut ShellAttempt) -> Result<ShellJob, Failure> {
    let mut job = ShellJob::begin(gateway, plan)?;
    attempt.begins(&job).await?;
    job.start()?;
    attempt.on(&job);
    Ok(job)
}

/// A request that was let through.
struct Admitted {
    plan: Plan,
    /// Whether the answer is a stream of events.
    events: bool,
}

/// Finds out who asks, reads the body, and finds out which runner is meant and whether it may be. Each is noted in the
/// attempt as soon as it is known.
async fn admit(api: &Api, request: Request, attempt: &mut ShellAttempt) -> Result<Admitted, Failure> {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    attempt.attempt.from(head.extensions.get::<Peer>(), &headers);
    let caller = match authenticate(api, &headers) {
        Ok(caller) => caller,
        Err(refused) => {
            api.gateway.metrics.auth_failed("key");
            access::turn_away(&headers, body).await;
            return Err(Failure::validation(refused));
        }
    };
    attempt.attempt.by(caller.actor()).await;
    let body = whole_body(body, api.gateway.limits.body).await.map_err(Failure::validation)?;
    attempt.attempt.with(&body);
    let asked = read(&body);
    if let Ok(asked) = &asked {
        attempt.asks(&asked.target, &asked.request);
    }
    // A body may take its time; what is in force is what is so now.
    let snapshot = api.gateway.snapshots.load();
    caller.check(|key| snapshot.key(key.id).is_some_and(|key| key.revoked_at.is_none()))?;
    let Asked { target, request } = asked?;
    let runner = find(&snapshot, &target, matches!(caller, Caller::Admin))?;
    attempt.of(&runner);
    attempt.seen(&api.gateway, &runner);
    if api.gateway.drain.refusing().is_cancelled() {
        return Err(Failure::draining());
    }
    if runner.is_revoked() {
        return Err(revoked(&runner));
    }
    let last_seen_at = api.control.last_seen(&runner);
    let runner = Arc::new(Runner { last_seen_at, ..runner.as_ref().clone() });
    let asked = dispatch::Asked { key: caller.key(), trace: trace(&headers) };
    Ok(Admitted { plan: Plan { runner, request, asked }, events: wants_events(&headers) })
}

/// Who may run commands.
enum Caller {
    Admin,
    Key(Arc<Key>),
}

impl Caller {
    fn actor(&self) -> Actor {
        match self {
            Self::Admin => Actor::Admin,
            Self::Key(key) => actor_of(key),
        }
    }

    /// The key that is asked with.
    fn key(&self) -> Option<KeyId> {
        match self {
            Self::Admin => None,
            Self::Key(key) => Some(key.id),
        }
    }

    /// Whether the caller is still known, and may do this at all.
    fn check(&self, is_valid: impl FnOnce(&Key) -> bool) -> Result<(), Failure> {
        let Self::Key(key) = self else { return Ok(()) };
        if !is_valid(key) {
            return Err(Failure::validation(access::not_valid()));
        }
        if !key.scopes.contains(&Scope::Exec) {
            let message = "this key may not run commands: it was made without the scope exec";
            return Err(Failure::validation(ApiError::forbidden(message)));
        }
        Ok(())
    }
}

fn authenticate(api: &Api, headers: &HeaderMap) -> Result<Caller, ApiError> {
    if api.admin.admit(headers) {
        return Ok(Caller::Admin);
    }
    if access::bearer(headers).is_none() {
        let message = "a secret key with the scope exec is needed, or the admin token: Authorization: Bearer sk_… or ak_…";
        return Err(ApiError::unauthorized(message));
    }
    access::authenticate(&api.gateway.snapshots.load(), headers).map(Caller::Key)
}

fn read(body: &Bytes) -> Result<Asked, Failure> {
    let text =
        std::str::from_utf8(body).map_err(|_| Failure::validation(ApiError::invalid("body", "UTF-8")))?;
    Asked::parse(text).map_err(Failure::validation)
}

fn revoked(runner: &Runner) -> Failure {
    let message = format!("the runner {:?} was revoked", runner.name);
    Failure::validation(ApiError::http(StatusCode::CONFLICT, "RUNNER_REVOKED", message))
}

/// What an answer says of the question.
struct Target {
    name: String,
    invocation: Invocation,
}

impl Target {
    fn of(plan: &Plan) -> Self {
        Self { name: plan.runner.name.clone(), invocation: plan.request.invocation.clone() }
    }
}

/// A command that a runner has.
struct Run {
    target: Target,
    job: ShellJob,
    attempt: ShellAttempt,
}

impl Run {
    /// Waits for the end and answers.
    async fn whole(mut self) -> Response {
        let id = self.job.id().to_string();
        let mut response = loop {
            match self.job.next().await {
                Ok(Step::Output(chunk)) => self.attempt.wrote(&chunk),
                Ok(Step::Done(done)) => break Json(self.done(&done)).into_response(),
                Err(failure) => break self.failed(failure).into_response(),
            }
        };
        label(&mut response, &id);
        response
    }

    /// Answers with events as they come.
    fn stream(self) -> Response {
        let id = self.job.id().to_string();
        let events = stream::unfold(Some(self), |run| async {
            let (bytes, run) = run?.event().await;
            Some((Ok::<_, std::convert::Infallible>(bytes), run))
        });
        let mut response = Body::from_stream(events).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENTS));
        label(&mut response, &id);
        response
    }

    /// The next event, and the rest of the run if there is any.
    async fn event(mut self) -> (Bytes, Option<Self>) {
        match tokio::time::timeout(KEEP_ALIVE, self.job.next()).await {
            // A comment: nothing has happened, and the connection lives.
            Err(_) => (Bytes::from_static(b": still running\n\n"), Some(self)),
            Ok(Ok(Step::Output(chunk))) => {
                self.attempt.wrote(&chunk);
                (event("chunk", &piece(chunk)), Some(self))
            }
            Ok(Ok(Step::Done(done))) => (event("done", &self.done(&done)), None),
            Ok(Err(failure)) => (event("error", &self.failed(failure).envelope()), None),
        }
    }

    /// The envelope of success.
    fn done(&mut self, done: &ExecDone) -> Value {
        self.attempt.succeed(&self.job, done);
        let output = &self.attempt.output;
        let mut data = json!({
            "job_id": self.job.id().to_string(),
            "target": self.target.name,
            "command": self.target.invocation.to_string(),
            "exit_code": done.exit_code,
            "stdout": output.stdout(),
            "stderr": output.stderr(),
            "duration_ms": done.duration_ms,
        });
        let extras = [
            ("truncated", output.truncated().map(|truncated| json!(truncated))),
            ("lossy", output.is_lossy.then_some(Value::Bool(true))),
            ("extracted", done.extracted.as_ref().map(|extracted| json!(extracted))),
        ];
        if let Value::Object(data) = &mut data {
            data.extend(extras.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        }
        json!({"ok": true, "data": data})
    }

    /// The failure with what the command had written until then.
    fn failed(&mut self, failure: Failure) -> Failure {
        self.attempt.fail(Some(&self.job), &failure);
        let output = &self.attempt.output;
        let failure =
            failure.with("job_id", self.job.id().to_string()).with("target", self.target.name.as_str());
        if output.is_empty() {
            return failure;
        }
        let failure = failure.with("stdout", output.stdout()).with("stderr", output.stderr());
        match output.truncated() {
            Some(truncated) => failure.with("truncated", json!(truncated)),
            None => failure,
        }
    }
}

/// A piece of output as its event tells it.
fn piece(chunk: ExecChunk) -> Value {
    let mut piece = json!({"stream": chunk.stream.as_str(), "data": chunk.data, "seq": chunk.seq});
    if let Value::Object(piece) = &mut piece {
        if chunk.lossy {
            piece.insert("lossy".to_owned(), true.into());
        }
        if chunk.omitted_bytes > 0 {
            piece.insert("omitted_bytes".to_owned(), chunk.omitted_bytes.into());
        }
    }
    piece
}

/// One server-sent event. JSON has no line breaks outside of its texts, and none inside.
fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

fn label(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(JOB_ID, id);
    }
}
