use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::Drained;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::gateway::{job, managed};
use crate::rig::{Rig, Setup, eventually};

const LONG: Duration = Duration::from_secs(60);

fn sources() -> serde_json::Value {
    json!([managed("main", json!({"password": "pw"}))])
}

#[tokio::test]
async fn a_draining_runner_says_so_refuses_new_jobs_and_finishes_running_ones() {
    let setup = Setup::new().await.with(|config| {
        config.health = Some(([127, 0, 0, 1], 0).into());
        config.drain_timeout = LONG;
    });
    let rig = setup.start().await;
    let mut socket = rig.gateway.greet(sources(), &["drain/1", "flow/1"]).await;
    let mut running = job("running", "query", "numbers", json!({"limit": 50_000}));
    running["credit"] = json!(1_000);
    socket.send(running).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    assert_eq!(rig.get("/ready").await.0, 200);

    let conversation = async {
        // What is left of the window may still come before the notice.
        let notice = loop {
            let frame = socket.frame().await;
            if frame["type"] != "chunk" {
                break frame;
            }
        };
        assert_eq!(notice, json!({"type": "draining", "deadlineMs": 60_000}));
        let (status, body) = rig.get("/ready").await;
        assert_eq!(status, 503);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["status"], &body["activeJobs"]), (&json!("draining"), &json!(1)));

        socket.send(job("late", "test", "", json!({}))).await;
        let refusal = socket.frame().await;
        assert_eq!((&refusal["id"], &refusal["code"]), (&json!("late"), &json!("RUNNER_DRAINING")));

        socket.send(json!({"type": "credit", "id": "running", "bytes": 1 << 30})).await;
        let frames = socket.answer("running").await;
        assert_eq!(frames.last().unwrap()["meta"]["count"], 50_000);
        assert_eq!(socket.end().await.0, 1001);
    };
    let (drained, ()) = tokio::join!(rig.drain.clone().run(LONG, pending()), conversation);
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn an_idle_runner_leaves_at_once_and_cleanly() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &["drain/1"]).await;
    socket.heartbeat().await;
    let conversation = async {
        assert_eq!(socket.frame().await["type"], "draining");
        assert_eq!(socket.end().await, (1001, "the runner stops".to_owned()));
    };
    let (drained, ()) = tokio::join!(rig.drain.clone().run(LONG, pending()), conversation);
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn a_plain_gateway_gets_no_notice_but_its_jobs_are_refused() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &[]).await;
    socket.send(job("running", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    let conversation = async {
        rig.drain.refusing().cancelled().await;
        socket.send(job("late", "test", "", json!({}))).await;
        assert_eq!(socket.frame().await["code"], "RUNNER_DRAINING");
        socket.send(json!({"type": "cancel", "id": "running"})).await;
        assert_eq!(socket.frame().await["code"], "CANCELLED");
    };
    let (drained, ()) = tokio::join!(rig.drain.clone().run(LONG, pending()), conversation);
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cancelled_and_reported() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &["drain/1"]).await;
    socket.send(job("1", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    let conversation = async {
        assert_eq!(socket.frame().await["type"], "draining");
        let error = socket.frame().await;
        assert_eq!((&error["id"], &error["code"]), (&json!("1"), &json!("CANCELLED")));
        assert_eq!(socket.end().await.0, 1001);
    };
    let grace = Duration::from_millis(200);
    let (drained, ()) = tokio::join!(rig.drain.clone().run(grace, pending()), conversation);
    assert_eq!(drained, Drained::Stopped);
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(sources(), &["drain/1"]).await;
    socket.send(job("1", "query", "sleeping", json!({}))).await;
    socket.send(job("2", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["id"], "2");
    let second = CancellationToken::new();
    let conversation = async {
        assert_eq!(socket.frame().await["type"], "draining");
        second.cancel();
        assert_eq!(socket.frame().await["code"], "CANCELLED");
        assert_eq!(socket.end().await.0, 1001);
    };
    let (drained, ()) = tokio::join!(rig.drain.clone().run(LONG, second.cancelled()), conversation);
    assert_eq!(drained, Drained::Stopped);
}

#[tokio::test]
async fn a_runner_without_a_gateway_leaves_at_once() {
    let rig = Rig::new().await;
    drop(rig.gateway.tcp().await);
    assert_eq!(rig.drain.clone().run(LONG, pending()).await, Drained::Clean);
}

#[tokio::test]
async fn a_runner_that_stops_does_not_wait_for_a_source_that_does_not_open() {
    let rig = Setup::new().await.with(|config| config.sources.connect_timeout = LONG).start().await;
    let slow = json!({"password": "pw", "connectMs": 60_000});
    let mut socket = rig.gateway.greet(json!([managed("slow", slow)]), &[]).await;
    let mut test = job("1", "test", "", json!({}));
    test["params"]["source"] = json!("slow");
    test["deadlineMs"] = json!(60_000);
    socket.send(test).await;
    let connecting = async || rig.counts.connecting.load(Ordering::SeqCst) == 1;
    eventually("the source is being opened", connecting).await;
    let conversation = async {
        assert_eq!(socket.answer("1").await.last().unwrap()["type"], "error");
        assert_eq!(socket.end().await.0, 1001);
    };
    let (drained, ()) = tokio::join!(rig.drain.clone().run(Duration::ZERO, pending()), conversation);
    assert_eq!(drained, Drained::Stopped);
}
