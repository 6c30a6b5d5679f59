//! Sends finished spans to an OTLP collector over HTTP.
//!
//! A span that ends is put into a bounded queue, or counted and dropped when that is full: telemetry never holds up work.
//! One companion task takes spans out, posts them in batches through the daemon's own [`Dialer`], and sends what is left
//! when the work has ended. The exporter of the OpenTelemetry crates is not used, since it reads the environment by
//! itself, brings its own threads, and knows nothing of our TLS and proxies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanLimits, SpanProcessor};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Position;

use super::TraceSettings;
use crate::Drain;
use crate::dial::Dialer;
use crate::error::ExportError;

/// Spans that wait to be sent, and spans sent at once: the defaults of the OpenTelemetry specification.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
/// How often a batch is tried before it is given up.
const ATTEMPTS: u32 = 3;
/// How long the last spans may take, well within the time that a drain gives its companions.
const LAST_LIMIT: Duration = Duration::from_secs(2);

/// The sending end of tracing, to be spawned once there are a [`Drain`] and a [`Dialer`]. Spans that end before that
/// wait in the queue.
#[derive(Debug)]
#[must_use = "spans are sent only after `spawn`"]
pub struct SpanExport {
    spans: mpsc::Receiver<SpanData>,
    dropped: Arc<AtomicU64>,
    settings: TraceSettings,
    resource: ResourceAttributesWithSchema,
}

/// What ended spans are put into.
#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

/// A provider whose spans come out of the export.
pub(super) fn provider(settings: TraceSettings) -> (SdkTracerProvider, SpanExport) {
    let (sender, spans) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let provider = SdkTracerProvider::builder()
        .with_sampler(settings.sampler.clone())
        .with_span_limits(SpanLimits::default())
        .with_resource(settings.resource.clone())
        .with_span_processor(Queue { spans: sender, dropped: Arc::clone(&dropped) })
        .build();
    let resource = ResourceAttributesWithSchema::from(&settings.resource);
    (provider, SpanExport { spans, dropped, settings, resource })
}

impl SpanExport {
    /// Sends spans until the work of `drain` has ended and what is left then.
    pub fn spawn(self, drain: &Drain, dialer: Dialer) -> JoinHandle<()> {
        let stopping = drain.stopping();
        drain.spawn_companion("span export", self.run(dialer, stopping))
    }

    async fn run(mut self, dialer: Dialer, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        while stopping.run_until_cancelled(self.fill(&mut batch)).await.is_some() {
            // Taken first: a batch that was given up is not sent again.
            let spans = std::mem::take(&mut batch);
            if stopping.run_until_cancelled(self.send_patiently(&dialer, spans)).await.is_none() {
                break;
            }
        }
        if timeout(LAST_LIMIT, self.send_rest(&dialer, batch)).await.is_err() {
            tracing::warn!("the last spans could not be sent in time");
        }
    }

    /// Fills `batch` until it is full or its first span has waited long enough. Keeps what it has when it is dropped.
    async fn fill(&mut self, batch: &mut Vec<SpanData>) {
        if self.spans.recv_many(batch, BATCH).await == 0 {
            // No sender is left, hence nothing more to do but wait for the end.
            std::future::pending::<()>().await;
        }
        let due = Instant::now() + self.settings.delay;
        while batch.len() < BATCH {
            let room = BATCH.saturating_sub(batch.len());
            match timeout_at(due, self.spans.recv_many(batch, room)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    async fn send_patiently(&self, dialer: &Dialer, spans: Vec<SpanData>) {
        let count = spans.len();
        let body = self.encode(spans);
        for attempt in 1..=ATTEMPTS {
            match self.send(dialer, body.clone()).await {
                Ok(()) => break,
                Err(error) if attempt == ATTEMPTS || !error.may_pass() => {
                    tracing::warn!(%error, spans = count, "cannot send spans");
                    break;
                }
                Err(_) => tokio::time::sleep(self.settings.delay).await,
            }
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "spans were dropped, they end faster than they can be sent");
        }
    }

    async fn send_rest(&mut self, dialer: &Dialer, mut batch: Vec<SpanData>) {
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let body = self.encode(std::mem::take(&mut batch));
            if let Err(error) = self.send(dialer, body).await {
                tracing::warn!(%error, "cannot send the last spans");
                return;
            }
        }
    }

    fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }

    async fn send(&self, dialer: &Dialer, body: Bytes) -> Result<(), ExportError> {
        let deadline = Instant::now() + self.settings.timeout;
        let answer = timeout_at(deadline, self.post(dialer, body, deadline)).await;
        match answer.map_err(|_| ExportError::TimedOut)?? {
            status if status.is_success() => Ok(()),
            status => Err(ExportError::Refused(status.as_u16())),
        }
    }

    /// Posts on a connection of its own: batches are seconds apart.
    async fn post(&self, dialer: &Dialer, body: Bytes, deadline: Instant) -> Result<StatusCode, ExportError> {
        let stream = dialer.dial(&self.settings.endpoint, deadline).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = std::pin::pin!(sender.send_request(self.request(body)?));
        // The connection moves the bytes, so both are polled; it may end in the moment in which the answer is there.
        let response = match select(answer, std::pin::pin!(connection)).await {
            Either::Left((response, _)) => response?,
            Either::Right((_, answer)) => answer.await?,
        };
        Ok(response.status())
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, ExportError> {
        let endpoint = &self.settings.endpoint;
        let mut request = Request::post(&endpoint[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &endpoint[Position::BeforeHost..Position::AfterPort])
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(body))
            .map_err(|_| ExportError::Endpoint)?;
        request.headers_mut().extend(self.settings.headers.iter().cloned());
        Ok(request)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
