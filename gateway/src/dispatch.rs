//! A job from its placement to its end.
//!
//! [`Job::next`] is driven by whoever wants the rows. While no row has reached that caller a lost or draining runner is
//! replaced by another one, and the caller only learns that it must forget what it holds ([`Step::Restarted`]). All
//! kinds of jobs here only read, so doing one twice is safe.

use std::sync::Arc;
use std::time::Duration;

use protocol::{DoneMeta, ErrorCode, ErrorFrame, Extension, Extensions, JobFrame, JobKind, JobRequest};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::error::ApiError;
use crate::jobs::{Ending, JobGuard, LiveJob, Work};
use crate::link::{ChunkData, Event, Inbox, JOB_WINDOW, Kind, Link};
use crate::model::{KeyId, RunnerId, Source};
use crate::placement::{Wanted, choose};
use crate::state::Gateway;

/// How often one job is placed at the most.
const MAX_ATTEMPTS: u32 = 4;
/// The runner enforces the deadline; the gateway ends a job by itself this much later.
const DEADLINE_GRACE: Duration = Duration::from_secs(3);
/// Text from a runner is cut here before it reaches a caller.
const MAX_MESSAGE: usize = 4_000;
/// So are codes of other makers, and names.
const MAX_NAME: usize = 200;

/// What a job asks of whichever runner gets it. The request depends on the extensions that were agreed with that runner.
pub(crate) trait Plan: Send + Sync {
    /// What kind of job.
    fn kind(&self) -> JobKind;
    /// The request for a runner with these extensions.
    fn request(&self, extensions: Extensions) -> Result<JobRequest, ApiError>;
    /// A runner's error in better words for whoever asked, if there are any.
    fn explain(&self, _code: Option<ErrorCode>, _error: &ErrorFrame) -> Option<ApiError> {
        None
    }
}

/// Who asks for a job, and in which trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// With this key; an operator needs none.
    pub(crate) key: Option<KeyId>,
    pub(crate) trace: Trace,
}

/// What comes with a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    pub(crate) parent: Option<String>,
    pub(crate) state: Option<String>,
}

/// A job under way. Dropping it cancels it at the runner.
pub(crate) struct Job {
    gateway: Arc<Gateway>,
    source: Arc<Source>,
    plan: Arc<dyn Plan>,
    trace: Trace,
    live: JobGuard,
    deadline: Instant,
    placed: Option<Placed>,
    tried: Vec<u64>,
    /// Runners that had it, in whichever process.
    runners: Vec<RunnerId>,
    attempt: u32,
    committed: bool,
}

struct Placed {
    link: Arc<Link>,
    inbox: Arc<Inbox>,
    events: mpsc::UnboundedReceiver<Event>,
}

/// What happens next in a job.
#[derive(Debug)]
pub(crate) enum Step {
    /// Rows.
    Chunk(ChunkData),
    /// Another runner begins anew; rows received so far do not count. Only before [`Job::commit`].
    Restarted,
    /// The end.
    Done(DoneMeta),
}

impl Job {
    /// Places a job. Fails at once when no runner can take it.
    pub(crate) fn start(
        gateway: &Arc<Gateway>,
        source: Arc<Source>,
        plan: Arc<dyn Plan>,
        asked: Asked,
    ) -> Result<Self, ApiError> {
        let work = Work::Query { kind: plan.kind().label(), source: source.name.clone() };
        let live = gateway.jobs.begin(work, asked.key);
        // From here on a revocation finds the job; one that was earlier is found here.
        if let Some(why) = gateway.forbids(&live) {
            return Err(ended(why));
        }
        let deadline = Instant::now() + Duration::from_millis(source.timeout_ms);
        let mut job = Self {
            gateway: Arc::clone(gateway),
            source,
            plan,
            trace: asked.trace,
            live,
            deadline,
            placed: None,
            tried: Vec::new(),
            runners: Vec::new(),
            attempt: 0,
            committed: false,
        };
        job.place()?;
        Ok(job)
    }

    /// What is known of the job while it lives.
    pub(crate) fn live(&self) -> &LiveJob {
        &self.live
    }

    /// How often it has been placed.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempt
    }

    /// The extensions of the runner that has it now.
    pub(crate) fn extensions(&self) -> Extensions {
        self.placed.as_ref().map_or(Extensions::NONE, |placed| placed.link.hello.extensions)
    }

    /// The runner that has it now: name and instance.
    pub(crate) fn runner(&self) -> Option<(RunnerId, Option<String>)> {
        self.placed.as_ref().map(|placed| (placed.link.runner, placed.link.hello.instance.clone()))
    }

    /// From now on rows have left for the caller, and the job is not placed again.
    pub(crate) fn commit(&mut self) {
        self.committed = true;
    }

    /// The next step. After `Done` or a failure the job is over.
    pub(crate) async fn next(&mut self) -> Result<Step, ApiError> {
        loop {
            let Some(placed) = &mut self.placed else {
                return Err(ApiError::coded(ErrorCode::Internal, "the job is over"));
            };
            // First of all: whoever has it ended gets none of what still waits.
            if let Some(why) = self.live.ending() {
                self.end();
                return Err(ended(why));
            }
            let event = tokio::select! {
                event = placed.events.recv() => event.unwrap_or(Event::Lost),
                () = self.live.reverted.notified() => Event::Lost,
                () = self.live.cancelled() => continue,
                () = tokio::time::sleep_until(self.deadline + DEADLINE_GRACE) => {
                    self.end();
                    return Err(ApiError::coded(ErrorCode::QueryTimeout, "the query did not finish before its deadline"));
                }
            };
            // An answer can overtake the news that its job was sent: it says the same, and a job that answers must not
            // look like a claim that was never dispatched.
            if !matches!(event, Event::Lost | Event::Broken(_)) && self.live.dispatched() {
                self.gateway.metrics.dispatched(self.live.started.elapsed());
            }
            match event {
                Event::Dispatched => {}
                Event::Chunk(chunk) => {
                    placed.link.taken(&placed.inbox, chunk.weight(), chunk.cost());
                    return Ok(Step::Chunk(chunk));
                }
                Event::Done(meta) => {
                    self.placed = None;
                    return Ok(Step::Done(meta));
                }
                Event::Error(error) => return self.failed(error),
                Event::Lost => return self.lost(),
                // Only shell jobs get these; the list of jobs keeps the kinds apart.
                Event::Shell(_) => {}
                Event::Broken(why) => {
                    self.end();
                    return Err(ApiError::coded(ErrorCode::RunnerFailed, why));
                }
            }
        }
    }

    fn place(&mut self) -> Result<(), ApiError> {
        let snapshot = self.gateway.snapshots.load();
        let runners = snapshot.runners_of(self.source.id);
        while self.attempt < MAX_ATTEMPTS {
            let wanted = Wanted { runners, bridge: &self.source.bridge, tried: &self.tried };
            let Some(link) = choose(&self.gateway.registry, wanted) else { break };
            self.tried.push(link.id);
            if !self.gateway.may_connect(&link) || !self.live.claim(&link.runner_name) {
                continue;
            }
            self.attempt += 1;
            if self.offer(&link)? {
                self.gateway.metrics.claimed();
                return Ok(());
            }
            self.live.give_back();
        }
        self.gateway.metrics.unplaced();
        Err(self.nobody(runners.is_empty()))
    }

    /// Gives the job to a runner. Whether it was taken.
    fn offer(&mut self, link: &Arc<Link>) -> Result<bool, ApiError> {
        let extensions = link.hello.extensions;
        let metered = extensions.has(Extension::Flow);
        let (inbox, events) = Inbox::new(&self.wire_id(link.runner), Kind::Query, metered);
        let traced = extensions.has(Extension::Trace);
        let frame = JobFrame {
            id: inbox.id.to_string(),
            request: self.plan.request(extensions)?,
            deadline_ms: self.remaining_ms(),
            credit: metered.then_some(JOB_WINDOW),
            traceparent: self.trace.parent.clone().filter(|_| traced),
            tracestate: self.trace.state.clone().filter(|_| traced),
            // Not in version 1, where every job is a first one.
            attempt: if extensions == Extensions::NONE { 1 } else { self.attempt },
        };
        if link.place(frame, &inbox).is_err() {
            return Ok(false);
        }
        self.live.held_by(link, &inbox);
        self.placed = Some(Placed { link: Arc::clone(link), inbox, events });
        Ok(true)
    }

    /// The id on the wire. A runner that had the job already may still be at work on it under that id.
    fn wire_id(&mut self, runner: RunnerId) -> String {
        let id = if self.runners.contains(&runner) { Uuid::now_v7() } else { self.live.id };
        self.runners.push(runner);
        id.to_string()
    }

    fn remaining_ms(&self) -> u64 {
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis();
        u64::try_from(left).unwrap_or(u64::MAX).max(1)
    }

    fn nobody(&self, unassigned: bool) -> ApiError {
        let source = &self.source.name;
        let message = if unassigned {
            format!("no runner is assigned to source \"{source}\"")
        } else if self.attempt > 0 {
            format!("no other runner of source \"{source}\" is online")
        } else {
            format!("no runner of source \"{source}\" is online")
        };
        ApiError::coded(ErrorCode::NoRunnersOnline, message)
    }

    /// A runner's refusal: another runner may take what a draining or busy one did not.
    fn failed(&mut self, error: ErrorFrame) -> Result<Step, ApiError> {
        let code = ErrorCode::from_wire(&error.code);
        let elsewhere = matches!(code, Some(ErrorCode::RunnerDraining | ErrorCode::RunnerBusy));
        self.placed = None;
        if elsewhere && !self.committed && self.replace() {
            return Ok(Step::Restarted);
        }
        Err(self.plan.explain(code, &error).unwrap_or_else(|| failure_of(code, error)))
    }

    /// The connection is gone: another runner begins anew while the caller has nothing.
    fn lost(&mut self) -> Result<Step, ApiError> {
        self.end();
        if !self.committed && self.replace() {
            return Ok(Step::Restarted);
        }
        Err(ApiError::coded(ErrorCode::RunnerFailed, "the runner was lost while it worked on the query"))
    }

    fn replace(&mut self) -> bool {
        self.live.give_back();
        Instant::now() < self.deadline && self.place().is_ok()
    }

    fn end(&mut self) {
        if let Some(placed) = self.placed.take() {
            placed.link.cancel(&placed.inbox);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end();
    }
}

/// A job that somebody else than its caller has ended, as the caller sees it.
fn ended(why: Ending) -> ApiError {
    let error = ApiError::coded(ErrorCode::Cancelled, why.message("query"));
    match why.rule() {
        Some(rule) => error.with("rule", rule),
        None => error,
    }
}

/// A runner's error as the caller sees it. Codes that we do not know come from other people's runners.
pub(crate) fn failure_of(code: Option<ErrorCode>, error: ErrorFrame) -> ApiError {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let message = cut(&error.message, MAX_MESSAGE);
    let Some(code) = code else {
        return ApiError::coded(ErrorCode::RunnerFailed, message)
            .with("runnerCode", cut(&error.code, MAX_NAME));
    };
    // A draining runner is never the caller's business: nobody else could take the job.
    let code = if code == ErrorCode::RunnerDraining { ErrorCode::NoRunnersOnline } else { code };
    [("op", error.op), ("target", error.target), ("bridge", error.bridge)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, cut(&value?, MAX_NAME))))
        .fold(ApiError::coded(code, message), |failure, (key, value)| failure.with(key, value))
}
