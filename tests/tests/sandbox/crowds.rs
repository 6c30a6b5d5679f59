//! Many runs: some at a time, the others in line, and no more than there is room for.

use std::sync::Arc;

use harness::http::Request;
use harness::sandbox::{Door, TOKEN, order};
use harness::wait::{eventually, secs, until};
use serde_json::{Value, json};

#[tokio::test]
async fn runs_wait_in_line_and_a_full_line_is_refused() {
    let door =
        Door::start_with(&[("SEMILAYER_SANDBOX_CONCURRENCY", "1"), ("SEMILAYER_SANDBOX_QUEUE", "1")]).await;
    let first = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&first, "up").await;
    let (address, second) =
        (door.address(), Request::post("/run", &order("true", Value::Null)).bearer(TOKEN));
    let second = tokio::spawn(async move { second.send(address).await });
    let gauge = async || door.get("/metrics").await.text();
    until("the second waits", secs(10), async || gauge().await.contains("semilayer_sandbox_runs_queued 1\n"))
        .await;
    let third = door.post_json("/run", &order("true", Value::Null)).await;
    assert_eq!((third.status, third.json()), (503, json!({"error": "queue_full"})));
    assert!(third.header("retry-after").is_some());
    door.post(&format!("/runs/{first}/cancel")).await;
    assert_eq!(second.await.unwrap().ok()["status"], "succeeded");
    let text = gauge().await;
    for line in
        ["runs_queued 0", "runs_running 0", "queue_refusals_total 1", "runs_total{status=\"succeeded\"} 1"]
    {
        assert!(text.contains(&format!("semilayer_sandbox_{line}\n")), "{line}: {text}");
    }
}

#[tokio::test]
async fn who_leaves_the_line_makes_room_in_it() {
    let door =
        Door::start_with(&[("SEMILAYER_SANDBOX_CONCURRENCY", "1"), ("SEMILAYER_SANDBOX_QUEUE", "1")]).await;
    let first = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&first, "up").await;
    let queued = async |count: u32| {
        let line = format!("semilayer_sandbox_runs_queued {count}\n");
        until(&line, secs(10), async || door.get("/metrics").await.text().contains(&line)).await;
    };
    let (address, second) =
        (door.address(), Request::post("/run", &order("true", Value::Null)).bearer(TOKEN));
    let second = tokio::spawn(async move { second.send(address).await });
    queued(1).await;
    second.abort();
    queued(0).await;
    door.post(&format!("/runs/{first}/cancel")).await;
    door.ended(&first).await;
    assert_eq!(door.get("/runs").await.ok().as_array().unwrap().len(), 1);
}

/// A request with a file of so many bytes, whose run would end at once.
fn large(bytes: usize) -> Request {
    Request::post("/run", &order("true", json!({"files": {"a": "x".repeat(bytes)}}))).bearer(TOKEN)
}

#[tokio::test]
async fn requests_that_wait_have_so_many_bytes_and_no_more() {
    let door = Door::start_with(&[
        ("SEMILAYER_SANDBOX_CONCURRENCY", "1"),
        ("SEMILAYER_SANDBOX_BODY_LIMIT", "65536"),
        ("SEMILAYER_SANDBOX_QUEUE_BYTES", "100k"),
    ])
    .await;
    let held = async || {
        let text = door.get("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix("semilayer_sandbox_queue_bytes "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let first = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&first, "up").await;
    assert_eq!(held().await, 0, "a run that has begun waits for nothing");
    let address = door.address();
    let second = tokio::spawn(async move { large(60_000).send(address).await });
    until("the second waits", secs(10), async || held().await > 60_000).await;
    let third = large(60_000).send(address).await;
    assert_eq!((third.status, third.json()), (503, json!({"error": "queue_full"})));
    assert!(third.header("retry-after").is_some());
    // Its bytes were counted piece by piece and given back.
    assert!(held().await < 70_000);
    let fourth = tokio::spawn(async move { large(10_000).send(address).await });
    until("the fourth waits, too", secs(10), async || held().await > 70_000).await;
    door.post(&format!("/runs/{first}/cancel")).await;
    for waited in [second, fourth] {
        assert_eq!(waited.await.unwrap().ok()["status"], "succeeded");
    }
    assert_eq!(held().await, 0);
}

#[tokio::test]
async fn who_waits_in_line_when_the_server_stops_is_told_at_once() {
    let mut door = Door::start_with(&[("SEMILAYER_SANDBOX_CONCURRENCY", "1")]).await;
    let (address, running) =
        (door.address(), Request::post("/run", &order("echo up; sleep 3", Value::Null)).bearer(TOKEN));
    let running = tokio::spawn(async move { running.send(address).await });
    until("it runs", secs(30), async || door.get("/runs").await.ok()[0]["status"] == "running").await;
    let waiting = tokio::spawn(async move { large(10).send(address).await });
    let gauge = async || door.get("/metrics").await.text();
    until("another waits", secs(10), async || gauge().await.contains("semilayer_sandbox_runs_queued 1\n"))
        .await;
    door.process.signal(harness::process::Signal::TERM);
    let told = waiting.await.unwrap();
    assert_eq!((told.status, told.json()), (503, json!({"error": "draining"})));
    assert!(!running.is_finished(), "it waited for the run before it");
    assert_eq!(running.await.unwrap().ok()["status"], "succeeded");
    assert_eq!(door.process.wait(secs(30)).await.code(), Some(0));
}

#[tokio::test]
async fn many_at_once_do_not_mix() {
    let door = Arc::new(Door::start_with(&[("SEMILAYER_SANDBOX_CONCURRENCY", "4")]).await);
    let runs = (0..24).map(|number| {
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let more = json!({"files": {"n": number.to_string()}, "extract": ["m"], "env": {"N": number.to_string()}});
            let run = door.shell("cat n; echo; cp n m; echo $N", more).await;
            assert_eq!(run["logs"], json!([number.to_string(), number.to_string()]));
            let id = run["id"].as_str().unwrap();
            assert_eq!(door.get(&format!("/runs/{id}/artifacts/m")).await.text(), number.to_string());
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    assert_eq!(door.get("/runs").await.ok().as_array().unwrap().len(), 24);
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_lets_runs_end_and_takes_no_new_ones() {
    let mut door = Door::start().await;
    let (address, running) =
        (door.address(), Request::post("/run", &order("echo up; sleep 2; echo done", Value::Null)));
    let running = running.bearer(TOKEN);
    let running = tokio::spawn(async move { running.send(address).await });
    until("it runs", secs(30), async || door.get("/runs").await.ok()[0]["status"] == "running").await;
    door.process.signal(harness::process::Signal::TERM);
    door.process.stderr.line_with("draining").await;
    let late = door.post_json("/run", &order("true", Value::Null)).await;
    assert_eq!((late.status, late.json()), (503, json!({"error": "draining"})));
    let run = running.await.unwrap().ok();
    assert_eq!(run["logs"], json!(["up", "done"]));
    assert_eq!(door.process.wait(secs(30)).await.code(), Some(0));
    assert!(door.process.stderr.text().contains("maintenance done"));
}

#[tokio::test]
async fn runs_that_outlast_the_grace_are_cancelled() {
    let mut door = Door::start_with(&[("SEMILAYER_SANDBOX_DRAIN_TIMEOUT", "1s")]).await;
    let (address, running) =
        (door.address(), Request::post("/run", &order("sleep 300", Value::Null)).bearer(TOKEN));
    let running = tokio::spawn(async move { running.try_send(address).await });
    let id = eventually("the run", secs(30), async || {
        door.get("/runs").await.ok()[0]["id"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(door.process.terminate(secs(30)).await, Some(0));
    if let Some(answer) = running.await.unwrap() {
        assert_eq!(answer.json()["status"], "cancelled");
    }
    until("nothing is left", secs(10), async || door.is_gone(&id).await).await;
}
