//! One job with its limits, from its slot to its last frame.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::Call;
use futures::FutureExt;
use protocol::{DoneMeta, JobFrame, JobKind, JobRequest, ROW_LIMIT_BYTES, Tail};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::error::Failure;
use crate::jobs::{self, Answer};
use crate::outcome::Outcome;
use crate::runner::{Active, Runner};
use crate::sources::{Opening, Source};

/// What a job needs, and gives back when it is dropped.
pub(crate) struct Job {
    runner: Arc<Runner>,
    id: String,
    request: JobRequest,
    source: Arc<Source>,
    cancel: CancellationToken,
    received: Instant,
    deadline: Instant,
    span: Span,
    _active: Active,
}

impl Job {
    /// A job that was received just now. `traced` says whether the frame's trace context counts.
    pub(crate) fn new(
        runner: &Arc<Runner>,
        frame: JobFrame,
        source: Arc<Source>,
        cancel: CancellationToken,
        traced: bool,
    ) -> Self {
        let received = Instant::now();
        Self {
            runner: Arc::clone(runner),
            span: span(&frame, &source, traced),
            deadline: received + Duration::from_millis(frame.deadline_ms),
            _active: runner.count_job(frame.request.options.get().len()),
            id: frame.id,
            request: frame.request,
            source,
            cancel,
            received,
        }
    }

    /// Runs to the end and sends its last frame.
    pub(crate) async fn run(self, mut answer: Answer, last: oneshot::Sender<String>) {
        let kind = self.request.kind.label();
        answer = answer.of_buckets(self.request.kind == JobKind::Aggregate);
        self.runner.metrics.job_started(kind);
        // A fault in one job, or in the bridge it uses, must not take the others along.
        let work = AssertUnwindSafe(self.bounded(self.work(&mut answer))).catch_unwind();
        let result = work.instrument(self.span.clone()).await.unwrap_or(Err(Failure::Panicked));
        let time = self.received.elapsed();
        let (frame, code) = match result {
            Ok(tail) => (self.done(tail, answer.count(), time), None),
            Err(failure) => {
                let outcome = self.span.in_scope(|| self.failed(&failure));
                let code = outcome.code;
                (outcome.frame(&self.id).encode(), Some(code))
            }
        };
        self.runner.metrics.job_ended(kind, code, time);
        // No longer active before the outcome leaves: a gateway may place the next job at once.
        drop(self);
        // Nobody takes it when the socket is gone, and nobody needs it then.
        let _unsent = last.send(frame).err();
        drop(answer);
    }

    async fn work(&self, answer: &mut Answer) -> Result<Tail, Failure> {
        let source = self.source.usable()?;
        let _source_slot = match source.slots() {
            Some(slots) => Some(self.slot(Arc::clone(slots)).await?),
            None => None,
        };
        let _slot = self.slot(self.runner.slots()).await?;
        let opening =
            Opening { drain: &self.runner.drain, limit: self.runner.config().sources.connect_timeout };
        let open = source.open(&self.source.name, &opening);
        let lease =
            tokio::time::timeout_at(self.deadline, open).await.unwrap_or(Err(Failure::ConnectTooSlow))?;
        let call = Call { deadline: self.deadline.into_std(), row_limit: ROW_LIMIT_BYTES };
        jobs::run(lease.bridge(), source.capabilities(), &call, &self.request, answer).await
    }

    async fn slot(&self, slots: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
        match tokio::time::timeout_at(self.deadline, slots.acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            // The semaphore is never closed; a job that could not get a slot was too late either way.
            Ok(Err(_)) | Err(_) => Err(Failure::Busy),
        }
    }

    /// Runs `work` until it ends, the job is cancelled or its deadline passes.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.cancel.cancelled() => Err(Failure::Cancelled),
            () = tokio::time::sleep_until(self.deadline) => Err(Failure::TimedOut),
        }
    }

    fn done(&self, tail: Tail, count: u64, time: Duration) -> String {
        let duration_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        DoneMeta { count, duration_ms, tail }.encode(&self.id)
    }

    fn failed(&self, failure: &Failure) -> Outcome {
        let scrubber = self.source.scrub_with();
        let outcome = Outcome::of(failure, &scrubber);
        if let Failure::Bridge(_) | Failure::Connect(_) | Failure::ConnectTooSlow = failure {
            self.runner.metrics.source_failed(&self.source.name, outcome.code);
        }
        let detail = runtime::error::with_sources(failure);
        // As text, not as Display: a database may say line breaks, which the log then escapes.
        tracing::debug!(code = %outcome.code, detail = scrubber.scrub(&detail).as_ref(), "job failed");
        outcome
    }
}

fn span(frame: &JobFrame, source: &Source, traced: bool) -> Span {
    let request = &frame.request;
    let kind = request.kind.label();
    let span =
        tracing::info_span!("job", job = frame.id, source = source.name, kind, target = request.target);
    if let (true, Some(parent)) = (traced, &frame.traceparent) {
        runtime::telemetry::set_parent(&span, parent, frame.tracestate.as_deref());
    }
    span
}
