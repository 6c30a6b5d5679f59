//! What others see of the runner: traces, logs, metrics. Each test has a subscriber of its own, which holds for its thread
//! and so for all of its tasks.

use base64::Engine;
use runtime::settings::{Mapping, Reader};
use runtime::telemetry::{Capture, LogSettings, TraceSettings, subscriber};
use serde_json::{Value, json};

use crate::gateway::{Socket, job, local, managed};
use crate::rig::{Setup, TOKEN};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A subscriber with traces that are never sent, and what it logs.
fn observe() -> (tracing::subscriber::DefaultGuard, Capture) {
    observe_in("json")
}

fn observe_in(format: &'static str) -> (tracing::subscriber::DefaultGuard, Capture) {
    let source: Mapping = [
        ("SEMILAYER_LOG_LEVEL", "debug"),
        ("SEMILAYER_LOG_FORMAT", format),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
    ]
    .into_iter()
    .collect();
    let mut reader = Reader::new(&source);
    let log = LogSettings::load(&mut reader, None, None);
    let traces = TraceSettings::load(&mut reader, "runner", "1");
    assert!(reader.finish().is_ok() && traces.is_some());
    let capture = Capture::new();
    let (subscriber, _export) = subscriber(&log, traces, capture.clone());
    (tracing::subscriber::set_default(subscriber), capture)
}

async fn trace_of(socket: &mut Socket, id: &str) -> String {
    let mut frame = job(id, "query", "trace", json!({}));
    frame["traceparent"] = json!(PARENT);
    socket.send(frame).await;
    let row = &socket.answer(id).await[0]["rows"][0];
    row["traceparent"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_jobs_span_is_a_child_of_the_gateways() {
    let (_guard, _log) = observe();
    let rig = crate::rig::Rig::new().await;
    let sources = json!([managed("main", json!({"password": "pw"}))]);
    let mut socket = rig.gateway.greet(sources.clone(), &["trace/1"]).await;
    let trace = trace_of(&mut socket, "1").await;
    let (trace_id, span_id) = (&PARENT[3..35], &PARENT[36..52]);
    assert!(trace.contains(trace_id) && !trace.contains(span_id), "{trace}");

    // Without the extension the context is not the runner's business.
    drop(socket);
    let mut socket = rig.gateway.greet(sources, &[]).await;
    let trace = trace_of(&mut socket, "2").await;
    assert!(!trace.contains(trace_id), "{trace}");
}

#[tokio::test]
async fn a_line_break_from_the_gateway_begins_no_line_of_the_log() {
    let (_guard, log) = observe_in("text");
    let rig = crate::rig::Rig::new().await;
    let forged = "\nERROR forged";
    let bridge = json!({"id": "id-main", "name": "main", "bridge": forged, "credentialsLocation": "managed"});
    let mut socket = rig.gateway.greet(json!([bridge]), &[]).await;
    // A key that stands twice is repeated in the mistake.
    let key = serde_json::to_string(forged).unwrap();
    socket.send_text(&format!(r#"{{"type":"job","id":"1","params":{{{key}:1,{key}:2}}}}"#)).await;
    assert_eq!(socket.frame().await["code"], "bad_request");
    socket.send(job("2", "query", forged, json!({}))).await;
    assert_eq!(socket.frame().await["code"], "unknown_bridge");
    let text = log.text();
    assert!(text.contains("wrong field") && text.contains("source cannot be used"), "{text}");
    assert!(text.lines().all(|line| !line.starts_with("ERROR")), "{text}");
}

#[tokio::test]
async fn a_line_inside_a_job_carries_its_span_without_options() {
    let (_guard, log) = observe();
    let rig = crate::rig::Rig::new().await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), &[]).await;
    socket.send(job("7", "query", "refused", json!({"where": {"name": "private value"}}))).await;
    assert_eq!(socket.frame().await["code"], "SOURCE_QUERY_FAILED");
    let text = log.text();
    let line = text.lines().find(|line| line.contains("job failed")).expect("nothing was logged");
    let line: Value = serde_json::from_str(line).unwrap();
    let span = &line["span"];
    assert_eq!(
        (&span["job"], &span["source"], &span["kind"], &span["target"]),
        (&json!("7"), &json!("main"), &json!("query"), &json!("refused"))
    );
    assert!(!text.contains("private value"), "{text}");
}

/// Plants a secret in a source of either kind and makes everything fail that can; then looks at all bytes that left.
#[tokio::test]
async fn a_planted_secret_is_in_no_frame_log_metric_or_status() {
    const CANARY: &str = "cAnArY/+7\"x y";
    let (_guard, log) = observe();
    let setup = Setup::new()
        .await
        .with(|config| config.health = Some(([127, 0, 0, 1], 0).into()))
        .variable("SEMILAYER_SOURCE_MAIN_PASSWORD", CANARY)
        .variable("SEMILAYER_SOURCE_CLOSED_PASSWORD", CANARY)
        .variable("SEMILAYER_SOURCE_CLOSED_REFUSE", "yes")
        .variable("SEMILAYER_SOURCE_WRONG_PORT", CANARY)
        .variable("SEMILAYER_SOURCE_LINKED_URL", &format!("fake://{CANARY}"))
        .variable("SEMILAYER_SOURCE_LINKED_PASSWORD", CANARY)
        .variable("SEMILAYER_SOURCE_LINKED_STRAY", CANARY)
        .variable("SEMILAYER_SOURCE_FILED_PASSWORD_FILE", CANARY);
    let rig = setup.start().await;
    let mut planted = local("main");
    planted["config"] = json!({"password": format!("{CANARY} from the gateway")});
    let sources = json!([
        planted,
        local("closed"),
        local("wrong"),
        local("linked"),
        local("filed"),
        managed("kept", json!({"password": CANARY, "connectMs": CANARY})),
        managed("theirs", json!({"password": CANARY})),
    ]);
    let mut socket = rig.gateway.greet(sources, &["stats/1", "resume/1"]).await;
    let mut heard = String::new();
    let kinds = [
        "query",
        "read",
        "batchRead",
        "count",
        "listTargets",
        "introspectTarget",
        "aggregate",
        "search",
        "similar",
        "test",
    ];
    for source in ["main", "closed", "wrong", "linked", "filed", "kept", "theirs"] {
        for kind in kinds {
            for target in ["numbers", "refused", "panics", "sleeping", "missing"] {
                let mut frame = job("1", kind, target, json!({"limit": 2}));
                frame["params"]["source"] = json!(source);
                frame["deadlineMs"] = json!(if target == "sleeping" { 20 } else { 5_000 });
                socket.send(frame).await;
                for frame in socket.answer("1").await {
                    heard.push_str(&frame.to_string());
                }
            }
        }
    }
    socket.send(json!({"type": "ping"})).await;
    heard.push_str(&socket.heartbeat().await.to_string());
    for path in ["/metrics", "/status", "/ready"] {
        heard.push_str(&rig.get(path).await.1);
    }
    heard.push_str(&log.text());
    assert!(heard.contains("[redacted]") && heard.contains("INTERNAL") && heard.contains("QUERY_TIMEOUT"));
    let escaped = serde_json::to_string(CANARY).unwrap();
    let base64 = base64::engine::general_purpose::STANDARD.encode(CANARY);
    let url: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    for secret in [CANARY, escaped.trim_matches('"'), &base64, &url, "cAnArY", TOKEN] {
        let place = heard.find(secret).map(|at| heard[..at].chars().rev().take(300).collect::<Vec<_>>());
        let context: Option<String> = place.map(|reversed| reversed.into_iter().rev().collect());
        assert_eq!(context, None, "{secret} was told");
    }
}
