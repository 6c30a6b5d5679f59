use std::collections::HashMap;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::trace::v1::Span as SentSpan;
use tokio::net::TcpListener;
use tracing::instrument::WithSubscriber as _;

use super::*;
use crate::Drained;
use crate::dial::Proxies;
use crate::settings::{Mapping, Reader};
use crate::telemetry::{Capture, LogSettings, current_trace, set_parent, subscriber};
use crate::tls::ClientTls;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

type Received = mpsc::Sender<(HeaderMap, ExportTraceServiceRequest)>;

/// A collector that answers each request with the next of `statuses`, and with 200 after that.
async fn collector(
    drain: &Drain,
    statuses: &[u16],
) -> (String, mpsc::Receiver<(HeaderMap, ExportTraceServiceRequest)>) {
    let (sender, receiver) = mpsc::channel(16);
    let statuses: Arc<std::sync::Mutex<Vec<u16>>> = Arc::new(std::sync::Mutex::new(statuses.to_vec()));
    let receive = async move |State(received): State<Received>, headers: HeaderMap, body: Bytes| {
        received.send((headers, ExportTraceServiceRequest::decode(body).unwrap())).await.unwrap();
        let mut statuses = statuses.lock().unwrap();
        let status = if statuses.is_empty() { 200 } else { statuses.remove(0) };
        StatusCode::from_u16(status).unwrap()
    };
    let router = Router::new().route("/v1/traces", post(receive)).with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drain.spawn("collector", async move { axum::serve(listener, router).await.unwrap() });
    (endpoint, receiver)
}

fn settings(endpoint: &str) -> TraceSettings {
    let source: Mapping = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%20ecret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone=eu"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ]
    .into_iter()
    .collect();
    let mut reader = Reader::new(&source);
    let settings = TraceSettings::load(&mut reader, "semilayer-runner", "1.2.3").unwrap();
    reader.finish().unwrap();
    settings
}

fn dialer() -> Dialer {
    Dialer::new(ClientTls::with_roots(rustls::RootCertStore::empty()).unwrap(), Proxies::none())
}

fn only_span(request: &ExportTraceServiceRequest) -> &SentSpan {
    &request.resource_spans[0].scope_spans[0].spans[0]
}

#[tokio::test]
async fn a_span_reaches_the_collector_below_its_remote_parent() {
    let servers = Drain::new();
    let (endpoint, mut received) = collector(&servers, &[]).await;
    let drain = Drain::new();
    let (subscriber, export) = subscriber(&LogSettings::default(), Some(settings(&endpoint)), Capture::new());
    let sent = tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("query job", job = 7);
        set_parent(&span, PARENT, Some("vendor=1"));
        span.in_scope(current_trace).unwrap()
    });
    export.unwrap().spawn(&drain, dialer());

    let (headers, request) = received.recv().await.unwrap();
    assert_eq!(headers["api-key"], "s ecret");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let attributes: HashMap<_, _> =
        resource.attributes.iter().map(|pair| (pair.key.as_str(), format!("{:?}", pair.value))).collect();
    assert!(attributes["service.name"].contains("semilayer-runner"), "{attributes:?}");
    assert!(attributes["zone"].contains("eu"), "{attributes:?}");

    let span = only_span(&request);
    assert_eq!(span.name, "query job");
    assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", hex(&span.span_id));
    assert_eq!(sent.traceparent, expected);
    assert_eq!(sent.tracestate.as_deref(), Some("vendor=1"));
}

#[tokio::test]
async fn spans_that_wait_are_sent_when_the_work_has_ended() {
    let servers = Drain::new();
    let (endpoint, mut received) = collector(&servers, &[]).await;
    let drain = Drain::new();
    let mut patient = settings(&endpoint);
    patient.delay = Duration::from_secs(3600);
    let (subscriber, export) = subscriber(&LogSettings::default(), Some(patient), Capture::new());
    export.unwrap().spawn(&drain, dialer());
    let refusing = drain.refusing();
    let work = async move {
        refusing.cancelled().await;
        tracing::info_span!("last").in_scope(|| {});
    };
    drain.spawn("work", work.with_subscriber(subscriber));
    assert_eq!(drain.run(Duration::from_secs(5), std::future::pending()).await, Drained::Clean);
    assert_eq!(only_span(&received.recv().await.unwrap().1).name, "last");
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again() {
    let servers = Drain::new();
    let (endpoint, mut received) = collector(&servers, &[503]).await;
    let drain = Drain::new();
    let (subscriber, export) = subscriber(&LogSettings::default(), Some(settings(&endpoint)), Capture::new());
    tracing::subscriber::with_default(subscriber, || tracing::info_span!("job").in_scope(|| {}));
    export.unwrap().spawn(&drain, dialer());
    let first = received.recv().await.unwrap().1;
    let second = received.recv().await.unwrap().1;
    assert_eq!(only_span(&first).span_id, only_span(&second).span_id);
}

#[tokio::test]
async fn a_full_queue_drops_spans_and_holds_up_nobody() {
    let (subscriber, export) =
        subscriber(&LogSettings::default(), Some(settings("http://127.0.0.1:1")), Capture::new());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..QUEUE + 10 {
            tracing::info_span!("job").in_scope(|| {});
        }
    });
    assert_eq!(export.unwrap().dropped.load(Ordering::Relaxed), 10);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
