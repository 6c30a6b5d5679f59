use serde_json::{Value, json};

use crate::gateway::{job, managed};
use crate::rig::{Rig, Setup, TOKEN};

const PLAIN: &[&str] = &[];

#[tokio::test]
async fn hello_says_who_the_runner_is_and_what_it_offers() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.accept().await;
    assert_eq!((socket.authorization.as_str(), socket.uri.as_str()), ("Bearer rk_test_token", "/connect"));
    let mut hello = socket.frame().await;
    let instance = hello.as_object_mut().unwrap().remove("instanceId").unwrap();
    assert_eq!(instance.as_str().unwrap().len(), 36);
    let expected = json!({
        "type": "hello",
        "version": 1,
        "runnerId": "runner-1",
        "capabilities": ["@semilayer/bridge-fake"],
        "runtimeVersion": env!("CARGO_PKG_VERSION"),
        "extensions": ["flow/1", "drain/1", "trace/1", "resume/1", "stats/1", "project/1", "keyset/1", "bridges/1"],
        "maxJobs": 64,
    });
    assert_eq!(hello, expected);
}

#[tokio::test]
async fn the_token_goes_into_the_query_where_the_gateway_wants_it() {
    let rig = Setup::new().await.with(|config| config.token_param = Some("key".into())).start().await;
    let socket = rig.gateway.accept().await;
    assert_eq!(socket.uri, format!("/connect?key={TOKEN}"));
}

#[tokio::test]
async fn a_plain_version_1_conversation_has_nothing_of_the_extensions() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), PLAIN).await;
    let heartbeat = socket.heartbeat().await;
    let stats: Vec<_> = heartbeat["stats"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(stats, ["activeJobs", "memoryMb"]);

    // Credit and trace context mean nothing here.
    let mut query = job("1", "query", "numbers", json!({"limit": 3}));
    query["credit"] = json!(1);
    query["traceparent"] = json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    socket.send(query).await;
    let frames = without_duration(socket.answer("1").await);
    assert_eq!(
        frames,
        [
            json!({"type": "chunk", "id": "1", "rows": [{"n": 0}, {"n": 1}, {"n": 2}]}),
            json!({"type": "done", "id": "1", "meta": {"count": 3}}),
        ]
    );
}

#[tokio::test]
async fn every_job_kind_answers_in_its_shape() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), PLAIN).await;
    let cases = [
        (
            job("query", "query", "numbers", json!({"limit": 1, "total": true})),
            vec![
                json!({"type": "chunk", "id": "query", "rows": [{"n": 0}], "total": 1}),
                json!({"type": "done", "id": "query", "meta": {"count": 1, "total": 1}}),
            ],
        ),
        (
            job("tail", "query", "empty", json!({"total": true})),
            vec![
                json!({"type": "chunk", "id": "tail", "rows": [], "total": 0}),
                json!({"type": "done", "id": "tail", "meta": {"count": 0, "total": 0}}),
            ],
        ),
        (
            job("none", "query", "empty", json!({})),
            vec![json!({"type": "done", "id": "none", "meta": {"count": 0}})],
        ),
        (
            job("read", "read", "numbers", json!({"limit": 2})),
            vec![
                json!({"type": "chunk", "id": "read", "rows": [{"n": 0}, {"n": 1}]}),
                json!({"type": "done", "id": "read", "meta": {"count": 2}}),
            ],
        ),
        (
            job("batch", "batchRead", "numbers", json!({"limit": 1})),
            vec![
                json!({"type": "chunk", "id": "batch", "rows": [{"n": 0}]}),
                json!({"type": "done", "id": "batch", "meta": {"count": 1}}),
            ],
        ),
        (
            job("count", "count", "numbers", json!({})),
            vec![
                json!({"type": "chunk", "id": "count", "rows": [], "total": 42, "approximate": true}),
                json!({"type": "done", "id": "count", "meta": {"count": 0, "total": 42, "approximate": true}}),
            ],
        ),
        (
            job("agg", "aggregate", "numbers", json!({})),
            vec![
                json!({"type": "chunk", "id": "agg", "rows": [], "agg": [{"dims": {}, "measures": {"n": 1}, "count": 1}]}),
                json!({"type": "done", "id": "agg", "meta": {"count": 1}}),
            ],
        ),
        (
            job("list", "listTargets", "", json!({})),
            vec![
                json!({"type": "chunk", "id": "list", "rows": [{"name": "empty"}, {"name": "numbers"}]}),
                json!({"type": "done", "id": "list", "meta": {"count": 2}}),
            ],
        ),
        (
            job("look", "introspectTarget", "numbers", json!({})),
            vec![
                json!({"type": "chunk", "id": "look", "rows": [{"name": "numbers", "columns": [], "rowCount": 7}]}),
                json!({"type": "done", "id": "look", "meta": {"count": 1}}),
            ],
        ),
        (
            job("test", "test", "", json!({})),
            vec![json!({"type": "done", "id": "test", "meta": {"count": 0}})],
        ),
    ];
    for (request, expected) in cases {
        let id = request["id"].as_str().unwrap().to_owned();
        socket.send(request).await;
        assert_eq!(without_duration(socket.answer(&id).await), expected);
    }
}

#[tokio::test]
async fn kinds_that_no_bridge_has_are_refused() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), PLAIN).await;
    for kind in ["search", "similar", "teleport"] {
        socket.send(job(kind, kind, "numbers", json!({}))).await;
        let frames = socket.answer(kind).await;
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0]["code"], "unsupported_kind", "{}", frames[0]);
    }
}

#[tokio::test]
async fn a_job_may_name_its_source_by_id() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), PLAIN).await;
    let mut test = job("1", "test", "", json!({}));
    test["params"]["source"] = json!("id-main");
    socket.send(test).await;
    assert_eq!(socket.frame().await["type"], "done");
}

#[tokio::test]
async fn chunks_are_numbered_with_resume_and_heartbeats_carry_slots_with_stats() {
    let rig = Rig::new().await;
    let sources = json!([managed("main", json!({"password": "pw"}))]);
    let mut socket = rig.gateway.greet(sources, &["resume/1", "stats/1"]).await;
    let stats = &socket.heartbeat().await["stats"];
    assert_eq!((&stats["maxJobs"], &stats["freeSlots"]), (&json!(64), &json!(64)));

    socket.send(job("1", "query", "numbers", json!({"limit": 100_000}))).await;
    let frames = socket.answer("1").await;
    let chunks = &frames[..frames.len() - 1];
    assert!(chunks.len() > 2);
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk["seq"], index);
    }
    assert_eq!(frames.last().unwrap()["meta"]["count"], 100_000);

    // A gateway that asks gets an answer at once, now with the source's connections.
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.heartbeat().await["stats"]["pools"]["main"], json!({"inUse": 1, "idle": 2, "max": 3}));
}

#[tokio::test]
async fn new_assignments_count_at_once() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([]), PLAIN).await;
    socket.send(job("1", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["code"], "SOURCE_NOT_CONFIGURED");
    let sources = json!([managed("main", json!({"password": "pw"}))]);
    socket.send(json!({"type": "assignments-changed", "assignedSources": sources})).await;
    socket.send(job("2", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "done");
    socket.send(json!({"type": "assignments-changed", "assignedSources": []})).await;
    socket.send(job("3", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["code"], "SOURCE_NOT_CONFIGURED");
}

fn without_duration(mut frames: Vec<Value>) -> Vec<Value> {
    let meta = frames.last_mut().unwrap()["meta"].as_object_mut().expect("not done");
    assert!(meta.remove("durationMs").is_some());
    frames
}
