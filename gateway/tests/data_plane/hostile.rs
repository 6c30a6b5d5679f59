//! Runners that send anything. Each gets the documented answer, and a good runner beside it notices nothing.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Bytes;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::harness::Gateway;
use crate::runner::{ALL, Runner};

/// A gateway with a good runner for `products` and a hostile one that is not asked for anything.
struct Beside {
    gateway: Gateway,
    good: Runner,
    hostile: String,
}

impl Beside {
    async fn new() -> Self {
        let gateway = Gateway::start().await;
        let (_, good) = gateway.runner("good", &["main"]).await;
        let (_, hostile) = gateway.runner("hostile", &[]).await;
        let good = Runner::plain(&gateway, &good).await;
        Self { gateway, good, hostile }
    }

    async fn dial(&self) -> Runner {
        Runner::with(&self.gateway, &self.hostile, &ALL).await
    }

    /// The good runner is still served.
    async fn is_well(&mut self) {
        let query = self.gateway.query(json!({"select": ["id"]}));
        let (asked, _) = futures::join!(query, self.good.answer(json!([{"id": 1}])));
        assert_eq!(asked.rows(), json!([{"id": 1}]));
    }
}

#[tokio::test]
async fn what_is_no_frame_closes_the_socket() {
    let mut beside = Beside::new().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for text in [
        "",
        "nonsense",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"type":1}"#,
        r#"{"type":"chunk","type":"chunk"}"#,
        &deep,
    ] {
        let mut hostile = beside.dial().await;
        hostile.try_send(Message::text(text)).await;
        assert_eq!(hostile.closed().await, 1002, "{text:.40}");
        beside.is_well().await;
    }
}

#[tokio::test]
async fn frames_must_be_text() {
    let mut beside = Beside::new().await;
    let mut hostile = beside.dial().await;
    hostile.try_send(Message::Binary(Bytes::from_static(b"{\"type\":\"heartbeat\"}"))).await;
    assert_eq!(hostile.closed().await, 1003);
    beside.is_well().await;
}

#[tokio::test]
async fn a_frame_of_a_hundred_megabytes_closes_its_socket_alone() {
    let mut beside = Beside::new().await;
    let mut hostile = beside.dial().await;
    hostile.try_send(Message::text("x".repeat(100 * 1024 * 1024))).await;
    assert_eq!(hostile.closed().await, 1009);
    beside.is_well().await;
}

#[tokio::test]
async fn known_frames_with_wrong_fields_and_unknown_ones_are_passed_over() {
    let mut beside = Beside::new().await;
    let mut hostile = beside.dial().await;
    let deep = format!(r#"{{"type":"heartbeat","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let frames = [
        r#"{"type":"heartbeat","stats":7}"#,
        r#"{"type":"heartbeat","stats":{"activeJobs":-1}}"#,
        r#"{"type":"heartbeat","stats":{"activeJobs":1e300,"maxJobs":99999999999999999999}}"#,
        r#"{"type":"draining","deadlineMs":"soon"}"#,
        r#"{"type":"chunk"}"#,
        r#"{"type":"chunk","id":""}"#,
        r#"{"type":"chunk","id":7,"rows":[{}]}"#,
        r#"{"type":"chunk","id":"x","rows":[{}],"seq":-1}"#,
        r#"{"type":"done","id":["x"]}"#,
        r#"{"type":"error","id":"x"}"#,
        r#"{"type":"cancel","id":"x"}"#,
        r#"{"type":"job"}"#,
        r#"{"type":"hello-ack"}"#,
        r#"{"type":"from-the-future","id":"x","rows":[1,2,3]}"#,
        deep.as_str(),
    ];
    for frame in frames {
        hostile.text(frame).await;
    }
    hostile.send(json!({"type": "heartbeat", "stats": {"activeJobs": 0, "maxJobs": 5}})).await;
    let last = |shown: &Value| shown["sessions"][0]["maxJobs"] == json!(5);
    beside.gateway.eventually("/api/runners/hostile", last).await;
    beside.is_well().await;
    assert!(beside.gateway.metric("gateway_unknown_frames_total").await >= 4.0);
}

#[tokio::test]
async fn a_runner_cannot_answer_the_jobs_of_another() {
    let mut beside = Beside::new().await;
    let mut hostile = beside.dial().await;
    let stealing = async {
        let job = beside.good.job().await;
        hostile.numbered(&job, 0, json!([{"id": 666}])).await;
        hostile.done(&job).await;
        hostile.error(&job, "INTERNAL").await;
        hostile.send(json!({"type": "heartbeat", "stats": {"activeJobs": 0, "maxJobs": 5}})).await;
        let seen = |shown: &Value| shown["sessions"][0]["maxJobs"] == json!(5);
        beside.gateway.eventually("/api/runners/hostile", seen).await;
        beside.good.chunk(&job, json!([{"id": 1}])).await;
        beside.good.done(&job).await;
    };
    let (asked, ()) = futures::join!(beside.gateway.query(json!({"select": ["id"]})), stealing);
    assert_eq!(asked.rows(), json!([{"id": 1}]));
}

#[tokio::test]
async fn padding_around_rows_does_not_fill_the_memory() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut runner = Runner::with(&gateway, &token, &["flow/1"]).await;
    let beginning = async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1, "name": "x"}])).await;
        job
    };
    let (mut stream, job) = futures::join!(gateway.lines(json!({"select": ["id", "title"]})), beginning);
    assert_eq!(stream.line().await, Some(json!({"id": 1, "title": "x"})));
    // The caller reads no more. Frames without rows cost no credit.
    let padding = "x".repeat(1024 * 1024);
    let padded = json!({"type": "chunk", "id": job["id"], "rows": [], "nextCursor": padding}).to_string();
    for _ in 0..200 {
        if !runner.try_text(padded.clone(), crate::harness::PATIENCE).await {
            break;
        }
    }
    runner.send(json!({"type": "heartbeat", "stats": {"activeJobs": 0, "maxJobs": 5}})).await;
    gateway.eventually("/api/runners/one", |shown| shown["sessions"][0]["maxJobs"] == json!(5)).await;
    let waiting = gateway.metric("gateway_buffer_bytes").await;
    assert!(waiting < 48.0 * 1024.0 * 1024.0, "{waiting}");
    drop(stream);
}

#[tokio::test]
async fn a_flood_of_unknown_frames_is_counted_and_harms_nobody() {
    let mut beside = Beside::new().await;
    let mut hostile = beside.dial().await;
    for kind in 0..2_000 {
        hostile.text(format!(r#"{{"type":"kind-{kind}-{}"}}"#, "k".repeat(500))).await;
    }
    beside.is_well().await;
    hostile.send(json!({"type": "heartbeat", "stats": {"activeJobs": 0, "maxJobs": 5}})).await;
    let seen = |shown: &Value| shown["sessions"][0]["maxJobs"] == json!(5);
    beside.gateway.eventually("/api/runners/hostile", seen).await;
    assert_eq!(beside.gateway.metric("gateway_unknown_frames_total").await, 2_000.0);
}
