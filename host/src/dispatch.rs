//! The jobs of one socket.
//!
//! The table has one owner, the session. A job is in it before its first line runs, and leaves it in the same step in
//! which its last frame goes to the socket, so the gateway never sees an answer of a job whose id is still taken. Jobs
//! die with their socket: the gateway places them again or fails them, and their answers have nowhere to go.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::stream::{SelectAll, Stream, StreamExt};
use protocol::{
    ErrorFrame, ExecError, ExecRequest, Extension, Extensions, FrameError, JobFrame, RequestError,
};
use runtime::secrets::Scrubber;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::Failure;
use crate::flow::Window;
use crate::job::Job;
use crate::jobs::{Answer, SHELL, ShellJob, ShellLane, shell_weight};
use crate::outcome::Outcome;
use crate::runner::Runner;
use crate::sources::Source;

/// Frames of one job that wait for the socket, besides its last one.
const LANE_FRAMES: usize = 1;
/// Jobs that may wait for a slot, for each one that may run. More are refused at once.
const WAITING_PER_SLOT: u32 = 16;
/// Bytes that the options of all those jobs may have. Frames may be as large as the largest row, which options never are.
const OPTIONS_BYTES: usize = 64 * 1024 * 1024;
/// How much of an unknown source's name is repeated.
const MAX_NAME: usize = 200;

/// The jobs of one socket and what they want to send.
pub(crate) struct Dispatch {
    runner: Arc<Runner>,
    extensions: Extensions,
    jobs: HashMap<Arc<str>, Running>,
    lanes: SelectAll<Lane>,
    /// Whether this socket takes no new jobs, although the runner does.
    refuses: bool,
}

/// Where a job puts its frames, and its last one.
type Senders = (mpsc::Sender<String>, oneshot::Sender<String>);

struct Running {
    cancel: CancellationToken,
    window: Arc<Window>,
}

impl Dispatch {
    pub(crate) fn new(runner: Arc<Runner>, extensions: Extensions) -> Self {
        Self { runner, extensions, jobs: HashMap::new(), lanes: SelectAll::new(), refuses: false }
    }

    /// Whether no job runs and none has anything left to send.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Refuses new jobs as a runner that stops does, or takes them again.
    pub(crate) fn refuse(&mut self, refuses: bool) {
        self.refuses = refuses;
    }

    /// Starts a job, or answers with the frame that refuses it.
    pub(crate) fn accept(&mut self, frame: JobFrame) -> Option<ErrorFrame> {
        match self.admit(&frame) {
            Ok(source) => {
                self.start(frame, source);
                None
            }
            Err(failure) => {
                let outcome = Outcome::of(&failure, &Scrubber::default());
                self.runner.metrics.job_refused(frame.request.kind.label(), Some(outcome.code));
                tracing::debug!(job = frame.id, code = %outcome.code, "job refused");
                Some(outcome.frame(&frame.id))
            }
        }
    }

    /// What holds for jobs of every kind; `bytes` is what it would hold.
    fn admit_any(&self, id: &str, bytes: usize) -> Result<(), Failure> {
        if self.jobs.contains_key(id) {
            return Err(Failure::DuplicateId);
        }
        if self.refuses || self.runner.is_draining() {
            return Err(Failure::Draining);
        }
        if self.runner.held().saturating_add(bytes) > OPTIONS_BYTES {
            return Err(Failure::Busy);
        }
        Ok(())
    }

    fn admit(&self, frame: &JobFrame) -> Result<Arc<Source>, Failure> {
        self.admit_any(&frame.id, frame.request.options.get().len())?;
        if self.runner.active() >= self.runner.config().max_jobs.saturating_mul(1 + WAITING_PER_SLOT) {
            return Err(Failure::Busy);
        }
        let name = &frame.request.source;
        let unknown = || Failure::UnknownSource { name: name.chars().take(MAX_NAME).collect() };
        self.runner.sources.find(name).ok_or_else(unknown)
    }

    fn start(&mut self, frame: JobFrame, source: Arc<Source>) {
        let (cancel, (sender, last_sender), window) = self.enter(&frame.id, frame.credit);
        let answer =
            Answer::new(Arc::from(frame.id.as_str()), sender, window, Arc::clone(&self.runner.metrics))
                .numbered(self.extensions.has(Extension::Resume));
        let traced = self.extensions.has(Extension::Trace);
        let job = Job::new(&self.runner, frame, source, cancel, traced);
        self.runner.drain.spawn("job", job.run(answer, last_sender));
    }

    /// Starts a shell job, or answers with the frame that refuses it.
    pub(crate) fn accept_shell(&mut self, request: ExecRequest) -> Option<ExecError> {
        match self.admit_shell(&request) {
            Ok(()) => {
                self.start_shell(request);
                None
            }
            Err(failure) => {
                let outcome = Outcome::of(&failure, &Scrubber::default());
                self.runner.metrics.job_refused(SHELL, Some(outcome.code));
                tracing::debug!(job = request.job_id, code = %outcome.code, "shell job refused");
                Some(outcome.shell_frame(&request.job_id))
            }
        }
    }

    fn admit_shell(&self, request: &ExecRequest) -> Result<(), Failure> {
        self.admit_any(&request.job_id, shell_weight(request))?;
        let limit = self.runner.config().exec.max_exec.saturating_mul(1 + WAITING_PER_SLOT);
        if self.runner.execs.active() >= limit { Err(Failure::Busy) } else { Ok(()) }
    }

    fn start_shell(&mut self, request: ExecRequest) {
        let (cancel, lane, window) = self.enter(&request.job_id, request.credit);
        let traced = self.extensions.has(Extension::Trace);
        let job = ShellJob::new(&self.runner, request, cancel, traced);
        let lane = ShellLane { frames: lane.0, window, last: lane.1 };
        self.runner.drain.spawn("shell job", job.run(lane));
    }

    /// Puts a job into the table.
    fn enter(&mut self, id: &str, credit: Option<u64>) -> (CancellationToken, Senders, Arc<Window>) {
        let id: Arc<str> = Arc::from(id);
        let window = Arc::new(self.window(credit));
        let cancel = CancellationToken::new();
        let (sender, frames) = mpsc::channel(LANE_FRAMES);
        let (last_sender, last) = oneshot::channel();
        self.jobs.insert(Arc::clone(&id), Running { cancel: cancel.clone(), window: Arc::clone(&window) });
        self.lanes.push(Lane { id, frames, last, ended: false });
        (cancel, (sender, last_sender), window)
    }

    fn window(&self, credit: Option<u64>) -> Window {
        match credit.filter(|_| self.extensions.has(Extension::Flow)) {
            Some(bytes) => Window::of(bytes),
            None => Window::unlimited(),
        }
    }

    /// Stops a job. One that is not here has ended already.
    pub(crate) fn cancel(&self, id: &str) {
        if let Some(running) = self.jobs.get(id) {
            running.cancel.cancel();
        }
    }

    /// Stops every job; each still reports.
    pub(crate) fn cancel_all(&self) {
        self.jobs.values().for_each(|running| running.cancel.cancel());
    }

    /// Lets a job send more.
    pub(crate) fn credit(&self, id: &str, bytes: u64) {
        if let Some(running) = self.jobs.get(id) {
            running.window.add(bytes);
        }
    }

    /// The next frame to send; the jobs take turns. Pending also when no job runs.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            match self.lanes.poll_next_unpin(cx) {
                Poll::Ready(Some(Outgoing::Frame(frame))) => return Poll::Ready(frame),
                Poll::Ready(Some(Outgoing::Last { id, frame })) => {
                    self.jobs.remove(&id);
                    // Without a last frame the task was given up, which happens only when the process ends.
                    if let Some(frame) = frame {
                        return Poll::Ready(frame);
                    }
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

/// The answer to a frame with a wrong field, where it names a job that can be answered.
pub(crate) fn refuse_frame(error: &FrameError, extensions: Extensions) -> Option<String> {
    let outcome = |invalid: &protocol::Invalid| {
        let failure = Failure::Request(RequestError::Invalid(invalid.clone()));
        Outcome::of(&failure, &Scrubber::default())
    };
    match error {
        FrameError::Field { kind: "job", id: Some(id), invalid } => Some(outcome(invalid).frame(id).encode()),
        FrameError::Field { kind: "exec_request", id: Some(id), invalid }
            if extensions.has(Extension::Exec) =>
        {
            Some(outcome(invalid).shell_frame(id).encode())
        }
        FrameError::Field { .. } | FrameError::NotJson(_) | FrameError::NoType => None,
    }
}

/// What one job sends, its last frame at the end.
struct Lane {
    id: Arc<str>,
    frames: mpsc::Receiver<String>,
    last: oneshot::Receiver<String>,
    ended: bool,
}

enum Outgoing {
    Frame(String),
    Last { id: Arc<str>, frame: Option<String> },
}

impl Stream for Lane {
    type Item = Outgoing;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(frame) = ready!(self.frames.poll_recv(cx)) {
            return Poll::Ready(Some(Outgoing::Frame(frame)));
        }
        let frame = ready!(self.last.poll_unpin(cx)).ok();
        self.ended = true;
        Poll::Ready(Some(Outgoing::Last { id: Arc::clone(&self.id), frame }))
    }
}
