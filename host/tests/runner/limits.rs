use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use semilayer_runner::SourceLimits;
use serde_json::json;

use crate::gateway::{job, managed};
use crate::rig::{Rig, Setup, eventually};

const QUIET: Duration = Duration::from_millis(150);

fn sources() -> serde_json::Value {
    json!([managed("main", json!({"password": "pw"})), managed("other", json!({"password": "pw"}))])
}

#[tokio::test]
async fn a_cancelled_job_drops_its_stream_and_says_so() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    socket.send(job("1", "query", "stuck", json!({}))).await;
    // The first row leaves before the second is there.
    assert_eq!(socket.frame().await["rows"], json!([{"n": 0}]));
    socket.send(json!({"type": "cancel", "id": "1"})).await;
    let error = socket.frame().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("CANCELLED")));
    assert_eq!(rig.counts.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_job_ends_at_its_deadline() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    let mut late = job("1", "query", "sleeping", json!({}));
    late["deadlineMs"] = json!(100);
    socket.send(late).await;
    assert_eq!(socket.frame().await["code"], "QUERY_TIMEOUT");
    assert_eq!(rig.counts.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_job_waits_for_a_slot_until_one_is_free() {
    let rig = Setup::new().await.with(|config| config.max_jobs = 1).start().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    socket.send(job("first", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    socket.send(job("second", "test", "", json!({}))).await;
    assert!(socket.is_quiet_for(QUIET).await);
    socket.send(json!({"type": "cancel", "id": "first"})).await;
    assert_eq!(socket.frame().await["code"], "CANCELLED");
    let done = socket.frame().await;
    assert_eq!((&done["id"], &done["type"]), (&json!("second"), &json!("done")));
}

#[tokio::test]
async fn a_job_without_a_slot_at_its_deadline_is_told_that_the_runner_is_busy() {
    let rig = Setup::new().await.with(|config| config.max_jobs = 1).start().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    socket.send(job("first", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    let mut second = job("second", "test", "", json!({}));
    second["deadlineMs"] = json!(50);
    socket.send(second).await;
    let error = socket.frame().await;
    assert_eq!((&error["id"], &error["code"]), (&json!("second"), &json!("RUNNER_BUSY")));
}

#[tokio::test]
async fn far_too_many_waiting_jobs_are_refused_at_once() {
    let rig = Setup::new().await.with(|config| config.max_jobs = 1).start().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    for index in 0..18 {
        socket.send(job(&index.to_string(), "query", "sleeping", json!({}))).await;
    }
    let error = socket.frame().await;
    assert_eq!((&error["id"], &error["code"]), (&json!("17"), &json!("RUNNER_BUSY")));
}

#[tokio::test]
async fn jobs_whose_options_would_fill_the_memory_are_refused_until_others_end() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    let padding = json!({"padding": "x".repeat(16 * 1024 * 1024 - r#"{"padding":""}"#.len())});
    for id in ["1", "2", "3", "4"] {
        socket.send(job(id, "query", "sleeping", padding.clone())).await;
    }
    socket.send(job("5", "test", "", json!({}))).await;
    let error = socket.frame().await;
    assert_eq!((&error["id"], &error["code"]), (&json!("5"), &json!("RUNNER_BUSY")));
    socket.send(json!({"type": "cancel", "id": "1"})).await;
    assert_eq!(socket.frame().await["code"], "CANCELLED");
    socket.send(job("6", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "done");
}

#[tokio::test]
async fn a_full_source_leaves_slots_to_the_others() {
    let limits = SourceLimits { max_jobs: Some(1), ..SourceLimits::default() };
    let rig = Setup::new()
        .await
        .with(|config| {
            config.max_jobs = 2;
            config.sources.by_name = BTreeMap::from([("main".to_owned(), limits)]);
        })
        .start()
        .await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    socket.send(job("1", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    // Waits for its source, and must not take the runner's last slot while it does.
    socket.send(job("2", "test", "", json!({}))).await;
    let mut third = job("3", "test", "", json!({}));
    third["params"]["source"] = json!("other");
    socket.send(third).await;
    let done = socket.frame().await;
    assert_eq!((&done["id"], &done["type"]), (&json!("3"), &json!("done")));
}

#[tokio::test]
async fn a_slot_is_free_before_the_answer_is_out() {
    let rig = Setup::new().await.with(|config| config.max_jobs = 1).start().await;
    let mut socket = rig.gateway.greet(sources(), &["stats/1"]).await;
    socket.heartbeat().await;
    for index in 0..50 {
        let id = index.to_string();
        let mut next = job(&id, "query", "numbers", json!({"limit": 1}));
        next["deadlineMs"] = json!(5_000);
        socket.send(next).await;
        assert_eq!(socket.answer(&id).await.len(), 2);
        socket.send(json!({"type": "ping"})).await;
        assert_eq!(socket.heartbeat().await["stats"]["freeSlots"], 1);
    }
}

#[tokio::test]
async fn two_hundred_jobs_at_once_all_answer() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    for index in 0..200 {
        socket.send(job(&index.to_string(), "query", "numbers", json!({"limit": 1_000}))).await;
    }
    let mut done = 0;
    while done < 200 {
        let frame = socket.frame().await;
        match frame["type"].as_str().unwrap() {
            "chunk" => {}
            "done" => {
                assert_eq!(frame["meta"]["count"], 1_000);
                done += 1;
            }
            other => panic!("{other}: {frame}"),
        }
    }
    assert_eq!(rig.counts.connected.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lost_socket_cancels_its_jobs() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    socket.send(job("1", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    drop(socket);
    eventually("the stream is dropped", async || rig.counts.dropped.load(Ordering::SeqCst) == 1).await;
}
