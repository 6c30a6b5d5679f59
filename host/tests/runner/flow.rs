use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::CHUNK_BYTES;
use serde_json::{Value, json};

use crate::gateway::{Socket, job, managed};
use crate::rig::{Rig, eventually};

const QUIET: Duration = Duration::from_millis(300);

async fn connected(rig: &Rig) -> Socket {
    rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), &["flow/1"]).await
}

fn with_credit(mut job: Value, credit: usize) -> Value {
    job["credit"] = json!(credit);
    job
}

fn payload(chunk: &Value) -> usize {
    chunk["rows"].to_string().len()
}

#[tokio::test]
async fn a_job_stops_when_its_credit_is_used_up_and_goes_on_with_more() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig).await;
    socket.send(with_credit(job("1", "query", "numbers", json!({"limit": 200_000})), 100_000)).await;
    let mut received = 0;
    while received + 64 < 100_000 {
        received += payload(&socket.frame().await);
    }
    assert!(received < 100_000 + CHUNK_BYTES, "{received}");
    let mut rest = 0;
    while let Ok(frame) = tokio::time::timeout(QUIET, socket.frame()).await {
        rest += payload(&frame);
    }
    assert!(rest < 200, "{rest} bytes came without credit");

    socket.send(json!({"type": "credit", "id": "1", "bytes": 50_000_000})).await;
    let frames = socket.answer("1").await;
    assert_eq!(frames.last().unwrap()["meta"]["count"], 200_000);
}

#[tokio::test]
async fn a_stopped_reader_does_not_hold_up_another_job() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig).await;
    socket.send(with_credit(job("slow", "query", "endless", json!({})), 10_000)).await;
    assert_eq!(socket.frame().await["id"], "slow");
    socket.send(with_credit(job("fast", "query", "numbers", json!({"limit": 100_000})), 1 << 30)).await;
    let mut rows = 0;
    loop {
        let frame = socket.frame().await;
        match (frame["id"].as_str().unwrap(), frame["type"].as_str().unwrap()) {
            ("fast", "chunk") => rows += frame["rows"].as_array().unwrap().len(),
            ("fast", "done") => break,
            ("slow", "chunk") => assert!(payload(&frame) < 10_000),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rows, 100_000);
    // The stopped cursor was not read on: its memory is bounded by its window.
    let batches = rig.counts.batches.load(Ordering::SeqCst);
    assert!(socket.is_quiet_for(QUIET).await);
    assert_eq!(rig.counts.batches.load(Ordering::SeqCst), batches);
    socket.send(json!({"type": "cancel", "id": "slow"})).await;
    assert_eq!(socket.frame().await["code"], "CANCELLED");
}

#[tokio::test]
async fn jobs_take_turns_on_the_socket() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig).await;
    for id in ["a", "b", "c"] {
        socket.send(job(id, "query", "endless", json!({}))).await;
    }
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..60 {
        *seen.entry(socket.frame().await["id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.values().all(|count| *count >= 10), "{seen:?}");
}

#[tokio::test]
async fn without_credit_a_gateway_that_does_not_read_stops_the_cursor() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), &[]).await;
    socket.send(job("1", "query", "endless", json!({}))).await;
    let mut last = 0;
    eventually("the cursor stops", async || {
        tokio::time::sleep(QUIET).await;
        let now = rig.counts.batches.load(Ordering::SeqCst);
        now == std::mem::replace(&mut last, now) && now > 0
    })
    .await;
    // It goes on when the gateway reads, and a cancel is heard while writes are stuck.
    for _ in 0..last {
        assert_eq!(socket.frame().await["type"], "chunk");
    }
    socket.send(json!({"type": "cancel", "id": "1"})).await;
    loop {
        let frame = socket.frame().await;
        if frame["type"] == "error" {
            assert_eq!(frame["code"], "CANCELLED");
            break;
        }
    }
    eventually("the stream is dropped", async || rig.counts.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_chunk_holds_at_most_256_kib() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig).await;
    socket.send(job("1", "query", "numbers", json!({"limit": 300_000}))).await;
    let frames = socket.answer("1").await;
    for chunk in &frames[..frames.len() - 1] {
        assert!(payload(chunk) <= CHUNK_BYTES + 2, "{}", payload(chunk));
    }
}

#[tokio::test]
async fn a_row_larger_than_the_window_still_leaves() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig).await;
    socket.send(with_credit(job("1", "query", "huge", json!({"limit": 500_000})), 1_000)).await;
    let frames = socket.answer("1").await;
    assert_eq!(frames.last().unwrap()["meta"]["count"], 1);
}
