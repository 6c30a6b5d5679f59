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
use protocol::{ErrorFrame, Extension, Extensions, FrameError, JobFrame, RequestError};
use runtime::secrets::Scrubber;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::Failure;
use crate::flow::Window;
use crate::job::Job;
use crate::jobs::Answer;
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
}

struct Running {
    cancel: CancellationToken,
    window: Arc<Window>,
}

impl Dispatch {
    pub(crate) fn new(runner: Arc<Runner>, extensions: Extensions) -> Self {
        Self { runner, extensions, jobs: HashMap::new(), lanes: SelectAll::new() }
    }

    /// Whether no job runs and none has anything left to send.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
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

    fn admit(&self, frame: &JobFrame) -> Result<Arc<Source>, Failure> {
        if self.jobs.contains_key(frame.id.as_str()) {
            return Err(Failure::DuplicateId);
        }
        if self.runner.is_draining() {
            return Err(Failure::Draining);
        }
        if self.runner.active() >= self.runner.config().max_jobs.saturating_mul(1 + WAITING_PER_SLOT) {
            return Err(Failure::Busy);
        }
        let bytes = frame.request.options.get().len();
        if self.runner.held().saturating_add(bytes) > OPTIONS_BYTES {
            return Err(Failure::Busy);
        }
        let name = &frame.request.source;
        let unknown = || Failure::UnknownSource { name: name.chars().take(MAX_NAME).collect() };
        self.runner.sources.find(name).ok_or_else(unknown)
    }

    fn start(&mut self, frame: JobFrame, source: Arc<Source>) {
        let id: Arc<str> = Arc::from(frame.id.as_str());
        let window = Arc::new(self.window(&frame));
        let cancel = CancellationToken::new();
        let (sender, frames) = mpsc::channel(LANE_FRAMES);
        let (last_sender, last) = oneshot::channel();
        let answer =
            Answer::new(Arc::clone(&id), sender, Arc::clone(&window), Arc::clone(&self.runner.metrics))
                .numbered(self.extensions.has(Extension::Resume));
        let traced = self.extensions.has(Extension::Trace);
        let job = Job::new(&self.runner, frame, source, cancel.clone(), traced);
        self.jobs.insert(Arc::clone(&id), Running { cancel, window });
        self.lanes.push(Lane { id, frames, last, ended: false });
        self.runner.drain.spawn("job", job.run(answer, last_sender));
    }

    fn window(&self, frame: &JobFrame) -> Window {
        match frame.credit.filter(|_| self.extensions.has(Extension::Flow)) {
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
pub(crate) fn refuse_frame(error: &FrameError) -> Option<ErrorFrame> {
    match error {
        FrameError::Field { kind: "job", id: Some(id), invalid } => {
            let failure = Failure::Request(RequestError::Invalid(invalid.clone()));
            Some(Outcome::of(&failure, &Scrubber::default()).frame(id))
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
