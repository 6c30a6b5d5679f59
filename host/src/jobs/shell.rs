//! One shell job, from its request to its last frame.
//!
//! Cancelling cannot be a drop: a process and a container outlive their handles. So the token goes down, and the last frame
//! leaves when nothing is left of the command. A gateway that does not read holds the command back and costs no memory; when
//! the command's time is up, what could not leave is counted as dropped.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use protocol::{
    ErrorCode, ExecChunk, ExecDone, ExecRequest, ExtractStatus, Extracted, FRAME_LIMIT_BYTES, Stream,
    Truncated,
};
use runtime::secrets::Scrubber;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::config::Config;
use crate::error::Failure;
use crate::exec::{
    ActiveExec, Contained, Ended, HostFiles, Kept, Limits, Piece, Plan, Text, run_in_container, run_on_host,
};
use crate::flow::Window;
use crate::metrics::Metrics;
use crate::outcome::Outcome;
use crate::runner::{Active, Runner};

/// Pieces between a command and the socket.
const PIECES: usize = 4;
/// How long the end of the output may take to leave when the command's time is up.
const FAREWELL: Duration = Duration::from_secs(1);
/// What a job that was refused before its mode was known counts as.
pub(crate) const KIND: &str = "exec";

/// What a shell job needs, and gives back when it is dropped.
pub(crate) struct ShellJob {
    runner: Arc<Runner>,
    config: Arc<Config>,
    request: ExecRequest,
    cancel: CancellationToken,
    received: Instant,
    deadline: Instant,
    span: Span,
    _active: (Active, ActiveExec),
}

/// A shell job's way to the gateway.
pub(crate) struct Lane {
    pub(crate) frames: mpsc::Sender<String>,
    pub(crate) window: Arc<Window>,
    pub(crate) last: oneshot::Sender<String>,
}

/// A command that has ended by itself.
struct Finished {
    exit_code: i32,
    extracted: Option<Vec<Extracted>>,
}

impl ShellJob {
    /// A job that was received just now. `traced` says whether the request's trace context counts.
    pub(crate) fn new(
        runner: &Arc<Runner>,
        request: ExecRequest,
        cancel: CancellationToken,
        traced: bool,
    ) -> Self {
        let received = Instant::now();
        let config = runner.config();
        let asked = Duration::from_secs(u64::from(request.timeout_secs));
        Self {
            span: span(&request, traced),
            deadline: received + asked.min(config.exec.max_timeout),
            _active: (runner.count_job(weight(&request)), runner.execs.count()),
            runner: Arc::clone(runner),
            config,
            request,
            cancel,
            received,
        }
    }

    /// Runs to the end and sends the last frame.
    pub(crate) async fn run(self, lane: Lane) {
        let span = self.span.clone();
        let last = lane.last;
        let mut said = Said::new(&self, lane.frames, lane.window);
        // A fault in one job must not take the others along.
        let work = AssertUnwindSafe(self.work(&mut said)).catch_unwind();
        let result = work.instrument(span.clone()).await.unwrap_or(Err(Failure::Panicked));
        let frame = span.in_scope(|| self.report(result, &said));
        // No longer active before the outcome leaves: a gateway may place the next job at once.
        drop(self);
        // Nobody takes it when the socket is gone, and nobody needs it then.
        let _unsent = last.send(frame).err();
        drop(said);
    }

    async fn work(&self, said: &mut Said) -> Result<Finished, Failure> {
        let plan = self.plan().await?;
        let kind = plan.kind();
        said.kind = Some(kind);
        self.runner.metrics.job_started(kind);
        // As text, not as Display: a caller may have written line breaks, which the log then escapes.
        tracing::info!(kind, command = shown(&self.request), "command");
        self.carry_out(&plan, said).await
    }

    /// Counts what became of the job, and says it in its last frame.
    fn report(&self, result: Result<Finished, Failure>, said: &Said) -> String {
        let time = self.received.elapsed();
        let (frame, code) = match result {
            Ok(finished) => (self.done(finished, said, time), None),
            Err(failure) => self.failed(&failure, said, time),
        };
        match said.kind {
            Some(kind) => self.runner.metrics.job_ended(kind, code, time),
            None => self.runner.metrics.job_refused(KIND, code),
        }
        frame
    }

    /// The host's files are looked at, which may block.
    async fn plan(&self) -> Result<Plan, Failure> {
        let (request, config) = (self.request.clone(), Arc::clone(&self.config));
        let deciding = tokio::task::spawn_blocking(move || Plan::of(&request, &config.exec, &HostFiles));
        let decided = self.bounded(deciding).await?.map_err(|_| Failure::Panicked)?;
        Ok(decided?)
    }

    async fn carry_out(&self, plan: &Plan, said: &mut Said) -> Result<Finished, Failure> {
        let _slot = self.slot().await?;
        said.began = true;
        let (sender, receiver) = mpsc::channel(PIECES);
        let mut over = self.over();
        let (ended, ()) = tokio::join!(self.command(plan, sender), said.take(receiver, &mut over));
        said.finish(&mut over).await;
        let Contained { ended, extracted } = ended?;
        match ended {
            Ended::Exited(exit_code) => Ok(Finished { exit_code, extracted }),
            Ended::Cancelled => Err(Failure::Cancelled),
            Ended::TimedOut => Err(Failure::CommandTimedOut(self.deadline - self.received)),
        }
    }

    async fn command(&self, plan: &Plan, pieces: mpsc::Sender<Piece>) -> Result<Contained, Failure> {
        let settings = &self.config.exec;
        let limits = Limits { deadline: self.deadline, grace: settings.grace, cancel: self.cancel.clone() };
        match plan {
            Plan::Host(_, command) => {
                let ended = run_on_host(command, &limits, pieces).await.map_err(Failure::Start)?;
                Ok(Contained { ended, extracted: None })
            }
            Plan::Sandbox(container) => {
                let sandbox = self.runner.execs.sandbox().ok_or(Failure::NoSandbox)?;
                run_in_container(&sandbox, container, &self.request, settings, &limits, pieces).await
            }
        }
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let slot = tokio::time::timeout_at(self.deadline, self.runner.execs.slots().acquire_owned());
        tokio::select! {
            biased;
            slot = slot => slot.ok().and_then(Result::ok).ok_or(Failure::Busy),
            () = self.cancel.cancelled() => Err(Failure::Cancelled),
        }
    }

    /// Runs `work` until it ends, the job is cancelled or its deadline passes.
    async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.cancel.cancelled() => Err(Failure::Cancelled),
            () = tokio::time::sleep_until(self.deadline) => Err(Failure::TimedOut),
        }
    }

    fn over(&self) -> Over {
        let (cancel, deadline) = (self.cancel.clone(), self.deadline);
        let over = async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        };
        Over { future: Box::pin(over), is: false }
    }

    fn done(&self, finished: Finished, said: &Said, time: Duration) -> String {
        let mut done = ExecDone {
            job_id: self.request.job_id.clone(),
            exit_code: finished.exit_code,
            duration_ms: millis(time),
            truncated: said.truncated(),
            extracted: finished.extracted,
        };
        tracing::info!(exit_code = done.exit_code, duration_ms = done.duration_ms, "command ended");
        let frame = done.encode();
        if frame.len() <= FRAME_LIMIT_BYTES {
            return frame;
        }
        // Escapes make text longer than its bytes, which were counted.
        for path in done.extracted.iter_mut().flatten() {
            path.files = Vec::new();
            path.status = ExtractStatus::Error;
            path.error = Some("more than may be given back".to_owned());
        }
        done.encode()
    }

    fn failed(&self, failure: &Failure, said: &Said, time: Duration) -> (String, Option<ErrorCode>) {
        let outcome = Outcome::of(failure, &Scrubber::default());
        if let Failure::Denied(denied) = failure {
            self.runner.metrics.exec_denied(denied.rule.as_str());
        }
        let detail = runtime::error::with_sources(failure);
        // As text, not as Display: it may repeat what a caller wrote, and the log then escapes line breaks.
        tracing::info!(code = %outcome.code, command = shown(&self.request), detail, "command failed");
        let code = outcome.code;
        let mut frame = outcome.shell_frame(&self.request.job_id);
        frame.duration_ms = said.began.then(|| millis(time));
        frame.truncated = said.truncated();
        (frame.encode(), Some(code))
    }
}

/// When the command is cancelled or late, which nothing waits for twice.
struct Over {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    is: bool,
}

impl Over {
    async fn wait(&mut self) {
        if !self.is {
            (&mut self.future).await;
            self.is = true;
        }
    }
}

/// What a command has said, on its way.
struct Said {
    job_id: String,
    frames: mpsc::Sender<String>,
    window: Arc<Window>,
    metrics: Arc<Metrics>,
    /// As what the job counts, once it is known.
    kind: Option<&'static str>,
    /// Whether the command may have begun: until then another runner could have the job.
    began: bool,
    seq: u64,
    stdout: Kept,
    stderr: Kept,
}

impl Said {
    fn new(job: &ShellJob, frames: mpsc::Sender<String>, window: Arc<Window>) -> Self {
        let caps = job.config.exec.output;
        Self {
            job_id: job.request.job_id.clone(),
            frames,
            window,
            metrics: Arc::clone(&job.runner.metrics),
            kind: None,
            began: false,
            seq: 0,
            stdout: Kept::new(caps),
            stderr: Kept::new(caps),
        }
    }

    fn stream(&mut self, stream: Stream) -> &mut Kept {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Takes pieces until the command has closed its outputs, and sends the beginning of them. When the job is over nothing
    /// more is sent, but the pieces are taken, so that the command can end.
    async fn take(&mut self, mut pieces: mpsc::Receiver<Piece>, over: &mut Over) {
        while let Some(Piece { stream, bytes }) = pieces.recv().await {
            let Some(text) = self.stream(stream).push(&bytes) else { continue };
            if over.is || !self.send(stream, &text, over.wait()).await {
                self.stdout.hold();
                self.stderr.hold();
                self.stream(stream).lost(&text);
            }
        }
    }

    /// Sends the end of both outputs, for which a job that is over has a moment.
    async fn finish(&mut self, over: &mut Over) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            for text in self.stream(stream).finish() {
                let sent = match over.is {
                    true => timeout(FAREWELL, self.send(stream, &text, std::future::pending())).await,
                    false => Ok(self.send(stream, &text, over.wait()).await),
                };
                if sent != Ok(true) {
                    self.stream(stream).lost(&text);
                }
            }
        }
    }

    /// Sends a chunk when there is credit and room for it; answers whether it could be sent before `end`.
    async fn send(&mut self, stream: Stream, text: &Text, end: impl Future<Output = ()>) -> bool {
        let chunk = ExecChunk {
            job_id: self.job_id.clone(),
            stream,
            data: text.data.clone(),
            lossy: text.lossy,
            omitted_bytes: text.omitted,
            seq: self.seq,
        };
        let sending = async {
            if let Some(stalled) = self.window.pay(text.data.len()).await {
                self.metrics.stalled(stalled);
            }
            // A lane without a receiver means that the socket is gone, and with it everyone who wanted the output.
            self.frames.send(chunk.encode()).await.is_ok()
        };
        let sent = tokio::select! {
            biased;
            sent = sending => sent,
            () = end => false,
        };
        if sent {
            self.seq += 1;
            self.metrics.sent(0, text.data.len());
        }
        sent
    }

    fn truncated(&self) -> Option<Truncated> {
        let truncated =
            Truncated { stdout_bytes: self.stdout.dropped(), stderr_bytes: self.stderr.dropped() };
        (truncated != Truncated::default()).then_some(truncated)
    }
}

/// Bytes that a request holds.
pub(crate) fn weight(request: &ExecRequest) -> usize {
    let files = request.sandbox.iter().flat_map(|sandbox| &sandbox.files);
    let files: usize = files.map(|(path, content)| path.len() + content.0.len()).sum();
    let env: usize = request.env.expose().iter().map(|(name, value)| name.len() + value.len()).sum();
    files + env + request.invocation.to_string().len()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of the command, for the log.
fn shown(request: &ExecRequest) -> String {
    const LENGTH: usize = 200;
    request.invocation.to_string().chars().take(LENGTH).collect()
}

fn span(request: &ExecRequest, traced: bool) -> Span {
    let span = tracing::info_span!("exec", job = request.job_id);
    if let (true, Some(parent)) = (traced, &request.traceparent) {
        runtime::telemetry::set_parent(&span, parent, request.tracestate.as_deref());
    }
    span
}
