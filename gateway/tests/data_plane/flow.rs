//! Callers that read slowly: whom they hold up, and how much waits for them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Gateway, PATIENCE, Stream};
use crate::runner::{Runner, wide_rows};

const WINDOW: u64 = 1024 * 1024;
/// A chunk of rows of about 64 KiB.
const WIDE: usize = 64 * 1024;

async fn shop(extensions: &[&str]) -> (Gateway, Runner) {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let runner = Runner::with(&gateway, &token, extensions).await;
    (gateway, runner)
}

/// A caller that has the first line of its answer and reads no more for now.
async fn stopped(gateway: &Gateway, runner: &mut Runner) -> (Stream, Value) {
    let beginning = async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 0, "name": "first"}])).await;
        job
    };
    let (mut stream, job) = futures::join!(gateway.lines(json!({"select": ["id", "title"]})), beginning);
    assert_eq!(stream.line().await, Some(json!({"id": 0, "title": "first"})));
    (stream, job)
}

/// What a runner with `flow/1` may still send for each of its jobs.
#[derive(Default)]
struct Credits(HashMap<String, u64>);

impl Credits {
    fn open(&mut self, job: &Value) {
        self.add(job, &job["credit"]);
    }

    fn add(&mut self, frame: &Value, bytes: &Value) {
        *self.0.entry(frame["id"].to_string()).or_default() += bytes.as_u64().unwrap();
    }

    /// Sends one wide row; waits for credit first where there is none, but not for longer than `limit`.
    async fn pay(&mut self, runner: &mut Runner, job: &Value, id: u64, limit: Duration) -> bool {
        let own = job["id"].to_string();
        while self.0[&own] == 0 {
            let Ok(frame) = tokio::time::timeout(limit, runner.frame()).await else { return false };
            assert_eq!(frame["type"], "credit", "{frame}");
            self.add(&frame, &frame["bytes"]);
        }
        let rows = wide_rows(id..id + 1, WIDE);
        let left = self.0[&own].saturating_sub(rows[0].to_string().len() as u64);
        self.0.insert(own, left);
        runner.chunk(job, rows).await;
        true
    }
}

#[tokio::test]
async fn credit_comes_as_the_caller_reads() {
    let (gateway, mut runner) = shop(&["flow/1"]).await;
    let answering = async {
        let job = runner.job().await;
        let mut credits = Credits::default();
        credits.open(&job);
        for id in 0..200 {
            assert!(credits.pay(&mut runner, &job, id, PATIENCE).await);
        }
        runner.done(&job).await;
    };
    let reading = async {
        let mut stream = gateway.lines(json!({"select": ["id", "title"]})).await;
        stream.rest().await
    };
    let (lines, ()) = futures::join!(reading, answering);
    assert_eq!(lines.len(), 200);
    assert!(lines.iter().enumerate().all(|(id, line)| line["id"] == json!(id)));
}

#[tokio::test]
async fn a_stopped_caller_stops_its_own_job_and_no_other() {
    let (gateway, mut runner) = shop(&["flow/1"]).await;
    let (stream, slow) = stopped(&gateway, &mut runner).await;
    // As much as the gateway grants without a reader: the window, and what the system's socket buffers take.
    let mut credits = Credits::default();
    credits.open(&slow);
    let mut sent = 0_u64;
    while credits.pay(&mut runner, &slow, sent + 1, Duration::from_millis(300)).await {
        sent += 1;
        assert!(sent < 2_000, "nothing holds the runner back");
    }
    let waiting = gateway.metric("gateway_buffer_bytes").await;
    assert!(waiting <= (2 * WINDOW) as f64, "{waiting}");
    // The fast one beside it on the same socket.
    let answering = async {
        let job = runner.job().await;
        credits.open(&job);
        for id in 0..100 {
            assert!(credits.pay(&mut runner, &job, id, PATIENCE).await);
        }
        runner.done(&job).await;
    };
    let reading = async { gateway.lines(json!({"select": ["id"]})).await.rest().await };
    let (lines, ()) = futures::join!(reading, answering);
    assert_eq!(lines.len(), 100);
    // And the slow one goes on when it is read.
    let mut stream = stream;
    let finishing = async {
        assert!(credits.pay(&mut runner, &slow, sent + 1, PATIENCE).await);
        runner.done(&slow).await;
    };
    let (rest, ()) = futures::join!(stream.rest(), finishing);
    assert_eq!(rest.len() as u64, sent + 1);
}

#[tokio::test]
async fn more_than_the_credit_ends_the_job_and_not_the_socket() {
    let (gateway, mut runner) = shop(&["flow/1"]).await;
    let (mut stream, job) = stopped(&gateway, &mut runner).await;
    let cancelled = json!({"type": "cancel", "id": job["id"]});
    let mut id = 1;
    loop {
        runner.chunk(&job, wide_rows(id..id + 1, WIDE)).await;
        id += 1;
        assert!(id < 2_000, "nothing stops the runner");
        match tokio::time::timeout(Duration::from_millis(1), runner.frame()).await {
            Ok(frame) if frame == cancelled => break,
            Ok(frame) => assert_eq!(frame["type"], "credit"),
            Err(_) => {}
        }
    }
    let lines = stream.rest().await;
    let last = lines.last().unwrap();
    assert_eq!(last["code"], "runner_failed");
    assert!(last["error"].as_str().unwrap().contains("credit"), "{last}");
    let (asked, _) = futures::join!(gateway.query(json!({"select": ["id"]})), async {
        let job = runner.expect("job").await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        runner.done(&job).await;
    });
    assert_eq!(asked.rows(), json!([{"id": 1}]));
}

#[tokio::test]
async fn without_flow_control_a_slow_caller_fails_alone() {
    let (gateway, mut runner) = shop(&[]).await;
    let (mut slow, job) = stopped(&gateway, &mut runner).await;
    let other = async { gateway.query(json!({"select": ["id"]})).await };
    let working = async {
        let fast = runner.job().await;
        // Beyond the gateway's window and all socket buffers, while another job is under way.
        let cancelled = json!({"type": "cancel", "id": job["id"]});
        let mut id = 1;
        loop {
            let rows = wide_rows(id..id + 8, WIDE);
            runner.chunk(&job, rows).await;
            id += 8;
            assert!(id < 4_000, "nothing stops the runner");
            if let Ok(frame) = tokio::time::timeout(Duration::from_millis(1), runner.frame()).await {
                assert_eq!(frame, cancelled);
                break;
            }
        }
        runner.chunk(&fast, json!([{"id": 7}])).await;
        runner.done(&fast).await;
    };
    let (asked, ()) = futures::join!(other, working);
    assert_eq!(asked.rows(), json!([{"id": 7}]));
    let lines = slow.rest().await;
    assert_eq!(lines.last().unwrap()["code"], "runner_failed");
}

#[tokio::test]
async fn without_flow_control_a_slow_caller_that_is_alone_is_waited_for() {
    let (gateway, mut runner) = shop(&[]).await;
    let (mut stream, job) = stopped(&gateway, &mut runner).await;
    let mut id = 1;
    let chunk =
        |id: u64| json!({"type": "chunk", "id": job["id"], "rows": wide_rows(id..id + 8, WIDE)}).to_string();
    while runner.try_text(chunk(id), Duration::from_secs(2)).await {
        id += 8;
        assert!(id < 4_000, "nothing holds the socket back");
    }
    let waiting = gateway.metric("gateway_buffer_bytes").await;
    assert!(waiting < 16.0 * 1024.0 * 1024.0, "{waiting}");
    // The frame that did not leave in time is in the socket's buffer: it leaves with the next one.
    let finishing = async { runner.done(&job).await };
    let (lines, ()) = futures::join!(stream.rest(), finishing);
    assert_eq!(lines.last().unwrap()["id"], json!(id + 7));
    assert!(lines.iter().all(|line| line.get("error").is_none()));
}

#[tokio::test]
async fn a_caller_that_leaves_frees_a_socket_that_was_held_back() {
    let (gateway, mut runner) = shop(&[]).await;
    let (stream, job) = stopped(&gateway, &mut runner).await;
    let chunk = json!({"type": "chunk", "id": job["id"], "rows": wide_rows(1..9, WIDE)}).to_string();
    while runner.try_text(chunk.clone(), Duration::from_secs(1)).await {}
    drop(stream);
    assert_eq!(runner.frame().await, json!({"type": "cancel", "id": job["id"]}));
    let (asked, _) =
        futures::join!(gateway.query(json!({"select": ["id"]})), runner.answer(json!([{"id": 1}])));
    assert_eq!(asked.rows(), json!([{"id": 1}]));
}

#[tokio::test]
async fn the_first_row_leaves_before_the_second_is_there() {
    let (gateway, mut runner) = shop(&["flow/1", "project/1"]).await;
    let beginning = async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        job
    };
    let (mut stream, job) = futures::join!(gateway.lines(json!({"select": ["id"]})), beginning);
    for id in 1..50 {
        let line = tokio::time::timeout(PATIENCE, stream.line()).await.unwrap();
        assert_eq!(line, Some(json!({"id": id})));
        runner.chunk(&job, json!([{"id": id + 1}])).await;
    }
    runner.done(&job).await;
    assert_eq!(stream.rest().await, [json!({"id": 50})]);
}
