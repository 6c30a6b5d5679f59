//! A shell job from its placement to its end.
//!
//! It goes to one runner and, of that runner's processes, to the least loaded one that takes such jobs. As long as a process
//! refuses it without having begun, another one of the same runner may have it; after that it is never placed again, because
//! a command that was begun twice has been done twice.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use protocol::{ErrorCode, ExecChunk, ExecDone, ExecError, ExecRequest, Extension, Truncated};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::failure::Failure;
use super::grant::{Grant, grant};
use crate::api::error::ApiError;
use crate::capability::CapabilitySet;
use crate::dispatch::Asked;
use crate::jobs::{Ending, JobGuard, Work};
use crate::link::{Event, Inbox, JOB_WINDOW, Kind, Link, NotPlaced, ShellEvent, output_weight};
use crate::model::{JobId, Runner};
use crate::state::Gateway;

/// The runner ends a command at its deadline; the gateway ends the job by itself this much later.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);
/// How long a runner may take to say that a cancelled command is gone.
const CANCEL_GRACE: Duration = Duration::from_secs(10);
/// Characters of a command that lists of live jobs show.
pub(crate) const MAX_SHOWN: usize = 200;

/// What is to be done, and where.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) runner: Arc<Runner>,
    /// Without the id of a job, and without mode and credit as far as they are ours to say.
    pub(crate) request: ExecRequest,
    pub(crate) asked: Asked,
}

/// A shell job under way. Dropping it ends it at the runner.
pub(crate) struct ShellJob {
    gateway: Arc<Gateway>,
    plan: Plan,
    live: JobGuard,
    placed: Option<Placed>,
    /// The process that has it or had it last.
    held: Option<Arc<Link>>,
    tried: Vec<u64>,
    deadline: Instant,
    /// Somebody else than its caller has ended it: until when the runner may confirm that.
    confirmed_by: Option<Instant>,
    has_written: bool,
    /// What the runner says, at the end, that it has left out of the output.
    pub(crate) left_out: Option<Truncated>,
    /// How long the command ran, as the runner says.
    pub(crate) ran_ms: Option<u64>,
}

struct Placed {
    link: Arc<Link>,
    inbox: Arc<Inbox>,
    events: mpsc::UnboundedReceiver<Event>,
}

/// What happens next in a shell job.
#[derive(Debug)]
pub(crate) enum Step {
    /// Output.
    Output(ExecChunk),
    /// The program has ended, with whatever exit code.
    Done(ExecDone),
}

impl ShellJob {
    /// Puts a job on the list, and finds out which process is to have it. Fails at once when there is none.
    pub(crate) fn begin(gateway: &Arc<Gateway>, plan: Plan) -> Result<Self, Failure> {
        let work = Work::Shell {
            runner: plan.runner.id,
            command: plan.request.invocation.to_string().chars().take(MAX_SHOWN).collect(),
            image: plan.request.sandbox.as_ref().and_then(|sandbox| sandbox.image.clone()),
        };
        let live = gateway.jobs.begin(work, plan.asked.key);
        let timeout = Duration::from_secs(u64::from(plan.request.timeout_secs));
        let mut job = Self {
            gateway: Arc::clone(gateway),
            plan,
            live,
            placed: None,
            held: None,
            tried: Vec::new(),
            deadline: Instant::now() + timeout + DEADLINE_GRACE,
            confirmed_by: None,
            has_written: false,
            left_out: None,
            ran_ms: None,
        };
        let (link, _) = job.choose().inspect_err(|_| job.gateway.metrics.unplaced())?;
        job.held = Some(link);
        Ok(job)
    }

    /// Gives it to a process, by now perhaps to another one.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        self.place()
    }

    /// Its id.
    pub(crate) fn id(&self) -> JobId {
        JobId::from_uuid(self.live.id)
    }

    /// How often it has been placed.
    pub(crate) fn attempts(&self) -> u32 {
        u32::try_from(self.tried.len()).unwrap_or(u32::MAX)
    }

    /// The process that is to have it, has it, or had it when it ended.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.held.as_deref()
    }

    /// The next step. After `Done` or a failure the job is over. Nothing is lost when this is dropped before it is done.
    pub(crate) async fn next(&mut self) -> Result<Step, Failure> {
        loop {
            self.shut_out()?;
            let Some(placed) = &mut self.placed else {
                return Err(Failure::execution(ApiError::internal(&"the shell job is over")));
            };
            let event = tokio::select! {
                event = placed.events.recv() => event.unwrap_or(Event::Lost),
                () = self.live.reverted.notified() => Event::Broken("the runner did not take the command"),
                () = self.live.cancelled(), if self.confirmed_by.is_none() => {
                    self.confirmed_by = Some(Instant::now() + CANCEL_GRACE);
                    continue;
                }
                () = tokio::time::sleep_until(self.confirmed_by.unwrap_or(self.deadline)) => {
                    self.end();
                    return Err(self.live.ending().map_or_else(too_late, Failure::ended));
                }
            };
            if !matches!(event, Event::Lost | Event::Broken(_)) && self.live.dispatched() {
                self.gateway.metrics.dispatched(self.live.started.elapsed());
            }
            match event {
                // Only queries get the other three; the list of jobs keeps the kinds apart.
                Event::Dispatched | Event::Chunk(_) | Event::Done(_) | Event::Error(_) => {}
                Event::Shell(ShellEvent::Output(chunk)) => {
                    self.has_written = true;
                    placed.link.taken(&placed.inbox, output_weight(&chunk), chunk.data.len());
                    self.shut_out()?;
                    return Ok(Step::Output(chunk));
                }
                Event::Shell(ShellEvent::Done(done)) => {
                    self.placed = None;
                    (self.left_out, self.ran_ms) = (done.truncated, Some(done.duration_ms));
                    self.shut_out()?;
                    return Ok(Step::Done(done));
                }
                Event::Shell(ShellEvent::Error(error)) => self.refused(error)?,
                Event::Lost => {
                    self.placed = None;
                    return Err(self.lost());
                }
                Event::Broken(why) => {
                    self.end();
                    return Err(failed(why));
                }
            }
        }
    }

    /// Whose key was revoked hears nothing more, not even how the command ends.
    fn shut_out(&mut self) -> Result<(), Failure> {
        if self.live.ending() != Some(Ending::KeyRevoked) {
            return Ok(());
        }
        self.end();
        Err(Failure::ended(Ending::KeyRevoked))
    }

    /// A runner's refusal or failure. A process that was too busy, or about to stop, has not begun: another one may.
    fn refused(&mut self, error: ExecError) -> Result<(), Failure> {
        self.placed = None;
        (self.left_out, self.ran_ms) = (error.truncated, error.duration_ms);
        if let Some(why) = self.live.ending() {
            return Err(Failure::ended(why));
        }
        let code = ErrorCode::from_wire(&error.code);
        let has_begun = self.has_written || error.duration_ms.is_some();
        let may_begin = self.seconds_left() > 0;
        if !has_begun && may_begin && matches!(code, Some(ErrorCode::RunnerBusy | ErrorCode::RunnerDraining))
        {
            self.live.give_back();
            return self.place().map_err(|_| Failure::of_runner(error));
        }
        Err(Failure::of_runner(error))
    }

    fn place(&mut self) -> Result<(), Failure> {
        let mut full = None;
        loop {
            let chosen = self.choose();
            let (link, grant) = match (chosen, full) {
                (Ok(chosen), _) => chosen,
                // The first reason is the better one: what is left after it are those that could not do more.
                (Err(_), Some(busy)) => return Err(busy),
                (Err(failure), None) => {
                    self.gateway.metrics.unplaced();
                    return Err(failure);
                }
            };
            self.tried.push(link.id);
            self.live.require(grant.needs);
            if !self.live.claim(&link.runner_name) {
                return Err(failed("the job is with another runner"));
            }
            match self.offer(&link, grant) {
                Ok(()) => {
                    self.gateway.metrics.claimed();
                    // From here on a revocation finds the job; one that was earlier is found here.
                    if let Some(why) = self.gateway.forbids(&self.live) {
                        self.live.end(why);
                    }
                    return Ok(());
                }
                Err(NotPlaced::Full) => full = Some(busy(&self.plan.runner)),
                Err(NotPlaced::Closed) => full = None,
                Err(NotPlaced::TooLarge) => return Err(too_large()),
            }
            self.live.give_back();
        }
    }

    /// The process of the runner that is to have the job, and how.
    fn choose(&self) -> Result<(Arc<Link>, Grant), Failure> {
        let runner = &self.plan.runner;
        // As of now: a process that has refused the job may have taken its time.
        let snapshot = self.gateway.snapshots.load();
        let capabilities = snapshot.runner(runner.id).map_or(CapabilitySet::NONE, |now| now.capabilities);
        let links = self.gateway.registry.of(runner.id).into_iter();
        let open: Vec<_> = links
            .filter(|link| link.is_open() && !self.tried.contains(&link.id) && self.gateway.may_connect(link))
            .collect();
        if open.is_empty() {
            return Err(offline(runner, !self.tried.is_empty()));
        }
        let able: Vec<_> = open.into_iter().filter(|link| link.has(Extension::Exec)).collect();
        if able.is_empty() {
            return Err(no_shell(runner));
        }
        let mut refused = None;
        let mut granted = Vec::new();
        for link in able {
            match grant(&runner.name, capabilities, link.hello.shell, &self.plan.request) {
                Ok(grant) => granted.push((link, grant)),
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        if let (true, Some(refused)) = (granted.is_empty(), refused) {
            return Err(refused);
        }
        let free = granted.into_iter().filter(|(link, _)| link.shell_jobs() < self.most(link));
        free.min_by_key(|(link, _)| (link.shell_jobs(), link.load(), Reverse(link.id)))
            .ok_or_else(|| busy(runner))
    }

    /// Gives the job to a process.
    fn offer(&mut self, link: &Arc<Link>, grant: Grant) -> Result<(), NotPlaced> {
        let extensions = link.hello.extensions;
        let (metered, traced) = (extensions.has(Extension::Flow), extensions.has(Extension::Trace));
        let (inbox, events) = Inbox::new(&self.live.id.to_string(), Kind::Shell, metered);
        let request = ExecRequest {
            job_id: inbox.id.to_string(),
            // What the first process has waited for a slot is gone for the second.
            timeout_secs: self.plan.request.timeout_secs.min(self.seconds_left().max(1)),
            mode: Some(grant.mode),
            docker: grant.docker,
            credit: metered.then_some(JOB_WINDOW),
            traceparent: self.plan.asked.trace.parent.clone().filter(|_| traced),
            tracestate: self.plan.asked.trace.state.clone().filter(|_| traced),
            ..self.plan.request.clone()
        };
        link.place_shell(request, &inbox, self.most(link))?;
        self.live.held_by(link, &inbox);
        self.placed = Some(Placed { link: Arc::clone(link), inbox, events });
        self.held = Some(Arc::clone(link));
        Ok(())
    }

    /// Whole seconds of the caller's time that are left, rounded up.
    fn seconds_left(&self) -> u32 {
        let left = self.deadline.saturating_duration_since(Instant::now()).saturating_sub(DEADLINE_GRACE);
        u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// How many such jobs the process may have: our bound, or its own where that is lower.
    fn most(&self, link: &Link) -> usize {
        let own =
            link.hello.max_shell_jobs.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        own.min(self.gateway.limits.shell_jobs)
    }

    /// The connection is gone, and the runner ends what was given to it there.
    fn lost(&self) -> Failure {
        let snapshot = self.gateway.snapshots.load();
        if snapshot.runner(self.plan.runner.id).is_none_or(|runner| runner.is_revoked()) {
            let message = "the runner was revoked while it had the command; nobody knows how far it came";
            return Failure::ruled("runner.revoked", ErrorCode::RunnerFailed, message);
        }
        failed("the runner was lost while it had the command; nobody knows how far it came")
    }

    fn end(&mut self) {
        if let Some(placed) = self.placed.take() {
            placed.link.cancel(&placed.inbox);
        }
    }
}

impl Drop for ShellJob {
    fn drop(&mut self) {
        self.end();
    }
}

fn offline(runner: &Runner, had_one: bool) -> Failure {
    let name = &runner.name;
    let message = match (had_one, runner.last_seen_at) {
        (true, _) => format!("the runner {name:?} went offline before it got the command"),
        (false, None) => format!("the runner {name:?} is offline; it has never been connected"),
        (false, Some(_)) => format!("the runner {name:?} is offline"),
    };
    let failure =
        Failure::execution(ApiError::coded(ErrorCode::NoRunnersOnline, message)).with("status", "offline");
    match runner.last_seen_at {
        Some(at) => failure.with("last_seen_at", at.to_string()),
        None => failure,
    }
}

fn no_shell(runner: &Runner) -> Failure {
    let message = format!(
        "the runner {:?} takes no shell jobs: its own settings (SEMILAYER_EXEC) do not allow any, or it does not know them",
        runner.name
    );
    Failure::execution(ApiError::coded(ErrorCode::UnsupportedKind, message))
}

fn too_large() -> Failure {
    let message = "the command and its files are larger than what a runner can be sent at once";
    Failure::validation(ApiError::http(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
}

fn busy(runner: &Runner) -> Failure {
    let message = format!("the runner {:?} has as many shell jobs as it may have", runner.name);
    Failure::execution(ApiError::coded(ErrorCode::RunnerBusy, message))
}

fn too_late() -> Failure {
    let message =
        "the command did not end before its deadline, and its runner does not say what became of it";
    Failure::execution(ApiError::coded(ErrorCode::QueryTimeout, message))
}

fn failed(message: &str) -> Failure {
    Failure::execution(ApiError::coded(ErrorCode::RunnerFailed, message))
}
