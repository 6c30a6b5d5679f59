use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::{Socket, job, local, managed};
use crate::rig::{Rig, Setup, eventually};

async fn run(socket: &mut Socket, id: &str, source: &str, kind: &str, target: &str) -> Value {
    let mut frame = job(id, kind, target, json!({}));
    frame["params"]["source"] = json!(source);
    socket.send(frame).await;
    socket.answer(id).await.pop().unwrap()
}

#[tokio::test]
async fn a_runner_local_source_opens_with_the_runners_own_variables() {
    let rig = Setup::new().await.variable("SEMILAYER_SOURCE_MAIN_PASSWORD", "own-password").start().await;
    let mut socket = rig.gateway.greet(json!([local("main")]), &[]).await;
    assert_eq!(run(&mut socket, "1", "main", "test", "").await["type"], "done");
    // The database quotes its password, and the gateway does not hear it.
    let error = run(&mut socket, "2", "main", "query", "refused").await;
    assert_eq!(error["code"], "SOURCE_QUERY_FAILED");
    assert_eq!(error["message"], "password [redacted] is wrong at line 1");
}

#[tokio::test]
async fn settings_that_the_gateway_sends_for_a_local_source_are_ignored_and_reported() {
    let rig = Setup::new()
        .await
        .with(|config| config.health = Some(([127, 0, 0, 1], 0).into()))
        .variable("SEMILAYER_SOURCE_MAIN_PASSWORD", "own-password")
        .start()
        .await;
    let mut planted = local("main");
    planted["config"] = json!({"password": "planted", "refuse": true});
    let mut lonely = local("lonely");
    lonely["config"] = json!({"password": "planted"});
    let mut socket = rig.gateway.greet(json!([planted, lonely]), &[]).await;
    assert_eq!(run(&mut socket, "1", "main", "test", "").await["type"], "done");
    assert_eq!(run(&mut socket, "2", "lonely", "test", "").await["code"], "SOURCE_NOT_CONFIGURED");
    let (_, metrics) = rig.get("/metrics").await;
    let line = "runner_security_events_total{event=\"config_for_local_source\"} 2";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_source_without_settings_says_what_to_set_and_harms_no_other() {
    let rig =
        Setup::new().await.with(|config| config.health = Some(([127, 0, 0, 1], 0).into())).start().await;
    let sources = json!([local("main"), managed("good", json!({"password": "pw"}))]);
    let mut socket = rig.gateway.greet(sources, &[]).await;
    let error = run(&mut socket, "1", "main", "test", "").await;
    assert_eq!(error["code"], "SOURCE_NOT_CONFIGURED");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("set SEMILAYER_SOURCE_MAIN_URL"), "{message}");
    assert_eq!(run(&mut socket, "2", "good", "test", "").await["type"], "done");

    let (status, body) = rig.get("/ready").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    assert_eq!(body["sources"], json!({"total": 2, "unconfigured": 1}));
}

#[tokio::test]
async fn a_bridge_that_the_runner_lacks_is_named_with_those_it_has() {
    let rig = Rig::new().await;
    let mut source = managed("main", json!({"password": "pw"}));
    source["bridge"] = json!("@semilayer/bridge-oracle");
    let mut socket = rig.gateway.greet(json!([source]), &[]).await;
    let error = run(&mut socket, "1", "main", "test", "").await;
    assert_eq!(error["code"], "unknown_bridge");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("bridge-oracle") && message.contains("@semilayer/bridge-fake"), "{message}");
}

#[tokio::test]
async fn wrong_settings_are_named_without_their_values() {
    let rig = Rig::new().await;
    let source = managed("main", json!({"password": "pw", "connectMs": "hunter2"}));
    let mut socket = rig.gateway.greet(json!([source]), &[]).await;
    let error = run(&mut socket, "1", "main", "test", "").await;
    assert_eq!(error["code"], "SOURCE_NOT_CONFIGURED");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("connectMs") && !message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn a_login_that_fails_is_unreachable_and_tells_no_secret() {
    let rig = Rig::new().await;
    let bad = managed("main", json!({"password": "hunter2", "refuse": true}));
    let sources = json!([bad, managed("good", json!({"password": "pw"}))]);
    let mut socket = rig.gateway.greet(sources, &[]).await;
    let error = run(&mut socket, "1", "main", "test", "").await;
    assert_eq!(error["code"], "SOURCE_UNREACHABLE");
    assert_eq!(error["message"], "login with [redacted] failed");
    assert_eq!(run(&mut socket, "2", "good", "test", "").await["type"], "done");
}

#[tokio::test]
async fn many_jobs_open_a_source_once_and_a_failure_is_told_to_all_of_them() {
    let rig = Rig::new().await;
    let slow = json!({"password": "pw", "connectMs": 150});
    let failing = json!({"password": "pw", "connectMs": 150, "refuse": true});
    let mut socket =
        rig.gateway.greet(json!([managed("slow", slow), managed("failing", failing)]), &[]).await;
    for index in 0..40 {
        let mut frame = job(&index.to_string(), "test", "", json!({}));
        frame["params"]["source"] = json!(if index % 2 == 0 { "slow" } else { "failing" });
        socket.send(frame).await;
    }
    let (mut done, mut failed) = (0, 0);
    for _ in 0..40 {
        let frame = socket.frame().await;
        if frame["type"] == "done" {
            done += 1;
        } else {
            assert_eq!(frame["code"], "SOURCE_UNREACHABLE");
            failed += 1;
        }
    }
    assert_eq!((done, failed), (20, 20));
    assert_eq!(rig.counts.connecting.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connect_outlives_the_job_that_began_it() {
    let rig = Rig::new().await;
    let slow = managed("main", json!({"password": "pw", "connectMs": 300}));
    let mut socket = rig.gateway.greet(json!([slow]), &[]).await;
    let mut hasty = job("hasty", "test", "", json!({}));
    hasty["deadlineMs"] = json!(50);
    socket.send(hasty).await;
    socket.send(job("patient", "test", "", json!({}))).await;
    let error = socket.frame().await;
    assert_eq!((&error["id"], &error["code"]), (&json!("hasty"), &json!("SOURCE_UNREACHABLE")));
    assert_eq!(socket.frame().await["type"], "done");
    assert_eq!(rig.counts.connecting.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connect_that_takes_too_long_is_given_up() {
    let rig = Setup::new()
        .await
        .with(|config| config.sources.connect_timeout = Duration::from_millis(100))
        .start()
        .await;
    let slow = managed("main", json!({"password": "pw", "connectMs": 60_000}));
    let mut socket = rig.gateway.greet(json!([slow]), &[]).await;
    let error = run(&mut socket, "1", "main", "test", "").await;
    assert_eq!(error["code"], "SOURCE_UNREACHABLE");
}

#[tokio::test]
async fn an_unused_source_closes_its_connections_and_opens_again() {
    let rig = Setup::new()
        .await
        .with(|config| config.sources.idle_timeout = Duration::from_millis(80))
        .start()
        .await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "pw"}))]), &[]).await;
    socket.send(job("busy", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(rig.counts.closed.load(Ordering::SeqCst), 0, "a source in use was closed");
    socket.send(json!({"type": "cancel", "id": "busy"})).await;
    assert_eq!(socket.frame().await["code"], "CANCELLED");
    eventually("closed", async || rig.counts.closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(run(&mut socket, "2", "main", "test", "").await["type"], "done");
    assert_eq!(rig.counts.connected.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_same_assignment_keeps_its_connections_and_a_changed_one_gets_new_ones() {
    let rig = Rig::new().await;
    let with = |password: &str| json!([managed("main", json!({"password": password}))]);
    let mut socket = rig.gateway.greet(with("one"), &[]).await;
    assert_eq!(run(&mut socket, "1", "main", "test", "").await["type"], "done");
    socket.send(json!({"type": "assignments-changed", "assignedSources": with("one")})).await;
    assert_eq!(run(&mut socket, "2", "main", "test", "").await["type"], "done");
    assert_eq!(rig.counts.connected.load(Ordering::SeqCst), 1);

    // A job that runs on the old connections finishes on them.
    socket.send(job("old", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    socket.send(json!({"type": "assignments-changed", "assignedSources": with("two")})).await;
    assert_eq!(run(&mut socket, "3", "main", "test", "").await["type"], "done");
    assert_eq!(rig.counts.connected.load(Ordering::SeqCst), 2);
    assert_eq!(rig.counts.closed.load(Ordering::SeqCst), 0);
    socket.send(json!({"type": "cancel", "id": "old"})).await;
    assert_eq!(socket.frame().await["code"], "CANCELLED");
    eventually("the old ones are closed", async || rig.counts.closed.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn sources_keep_their_connections_over_a_new_session() {
    let rig = Rig::new().await;
    let sources = json!([managed("main", json!({"password": "pw"}))]);
    for _ in 0..2 {
        let mut socket = rig.gateway.greet(sources.clone(), &[]).await;
        assert_eq!(run(&mut socket, "1", "main", "test", "").await["type"], "done");
        drop(socket);
    }
    assert_eq!(rig.counts.connected.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_reload_takes_a_rotated_secret_file_without_dropping_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let setup = Setup::new().await.variable("SEMILAYER_SOURCE_MAIN_PASSWORD_FILE", file.to_str().unwrap());
    let config = setup.config.clone();
    let rig = setup.start().await;
    let mut socket = rig.gateway.greet(json!([local("main")]), &[]).await;
    assert_eq!(run(&mut socket, "1", "main", "test", "").await["type"], "done");
    rig.runner.reload(config.clone());
    assert_eq!(run(&mut socket, "2", "main", "test", "").await["type"], "done");
    assert_eq!(rig.counts.connected.load(Ordering::SeqCst), 1);

    std::fs::write(&file, "second\n").unwrap();
    rig.runner.reload(semilayer_runner::Config { max_jobs: 7, ..config });
    assert_eq!(run(&mut socket, "3", "main", "test", "").await["type"], "done");
    assert_eq!(rig.counts.connected.load(Ordering::SeqCst), 2);
    let error = run(&mut socket, "4", "main", "query", "refused").await;
    assert_eq!(error["message"], "password [redacted] is wrong at line 1");
    assert_eq!(rig.runner.status()["maxJobs"], 7);
}

#[tokio::test]
async fn status_names_sources_and_no_secret() {
    let rig = Setup::new().await.variable("SEMILAYER_SOURCE_MAIN_PASSWORD", "own-password").start().await;
    let mut socket = rig.gateway.greet(json!([local("main"), local("lonely")]), &["stats/1"]).await;
    assert_eq!(run(&mut socket, "1", "main", "test", "").await["type"], "done");
    let status = rig.runner.status();
    assert_eq!(status["sources"][0]["state"], "open");
    assert_eq!(status["sources"][1]["state"], "unconfigured");
    assert_eq!(status["link"]["serverVersion"], "test 1");
    let text = status.to_string();
    assert!(!text.contains("own-password") && !text.contains(crate::rig::TOKEN), "{text}");
}

#[tokio::test]
async fn a_source_that_cannot_be_read_does_not_take_the_others_with_it() {
    let rig = Rig::new().await;
    let good = || managed("good", json!({"password": "pw"}));
    let mut wrong = managed("wrong", json!({"password": "hunter2"}));
    wrong["credentialsLocation"] = json!("elsewhere");
    let mut socket = rig.gateway.greet(json!([wrong, good()]), &[]).await;
    assert_eq!(run(&mut socket, "1", "good", "test", "").await["type"], "done");
    assert_eq!(run(&mut socket, "2", "wrong", "test", "").await["type"], "error");

    socket.send(json!({"type": "assignments-changed", "assignedSources": [7, wrong, good()]})).await;
    assert_eq!(run(&mut socket, "3", "good", "test", "").await["type"], "done");
}

#[tokio::test]
async fn a_runner_whose_only_source_cannot_be_read_is_connected_and_waits_for_a_better_one() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([{"id": "1", "name": "main"}]), &[]).await;
    let good = managed("main", json!({"password": "pw"}));
    socket.send(json!({"type": "assignments-changed", "assignedSources": [good]})).await;
    assert_eq!(run(&mut socket, "1", "main", "test", "").await["type"], "done");
}
