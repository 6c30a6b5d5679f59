//! How a socket ends: silence, revocation, rotation, and the gateway's own end.

use std::time::Duration;

use runtime::Drained;
use semilayer_gateway::control::Control;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Gateway, PATIENCE};
use crate::runner::{Dial, Runner};

const NO_SIGN_OF_LIFE: u16 = 1008;

async fn shop(extensions: &[&str]) -> (Gateway, Runner, String) {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let runner = Runner::with(&gateway, &token, extensions).await;
    (gateway, runner, token)
}

#[tokio::test]
async fn whoever_says_no_hello_is_turned_away_after_ten_seconds() {
    let gateway = Gateway::start().await;
    let silent = Runner::dial(&gateway, Dial::default()).await.unwrap();
    tokio::time::pause();
    let since = Instant::now();
    assert_eq!(silent.close_code().await, NO_SIGN_OF_LIFE);
    let after = since.elapsed().as_secs_f64();
    assert!((9.0..11.0).contains(&after), "{after}");
}

#[tokio::test]
async fn a_runner_that_answers_pings_and_sends_no_heartbeat_is_dropped() {
    let (_gateway, runner, _) = shop(&[]).await;
    tokio::time::pause();
    let since = Instant::now();
    assert_eq!(runner.close_code().await, NO_SIGN_OF_LIFE);
    let after = since.elapsed().as_secs_f64();
    assert!((50.0..60.0).contains(&after), "{after}");
}

#[tokio::test]
async fn a_runner_with_heartbeats_stays() {
    let (gateway, mut runner, _) = shop(&[]).await;
    runner.patience = Duration::from_secs(3_600);
    tokio::time::pause();
    for _ in 0..8 {
        // Reads, so that pings are answered, until the next heartbeat is due.
        assert!(tokio::time::timeout(Duration::from_secs(25), runner.frame()).await.is_err());
        runner.send(json!({"type": "heartbeat"})).await;
    }
    tokio::time::resume();
    let (asked, _) =
        futures::join!(gateway.query(json!({"select": ["id"]})), runner.answer(json!([{"id": 1}])));
    assert_eq!(asked.rows(), json!([{"id": 1}]));
}

#[tokio::test]
async fn a_blackholed_runner_is_noticed_and_its_job_goes_elsewhere() {
    let (gateway, mut spare, _) = shop(&[]).await;
    gateway.timeout(3_600).await;
    spare.expect("assignments-changed").await;
    let (_, token) = gateway.runner("two", &["main"]).await;
    let mut silent = Runner::plain(&gateway, &token).await;
    let mut client = gateway.connect().await;
    for patience in [&mut spare.patience, &mut silent.patience, &mut client.patience] {
        // Longer than anything else here may take.
        *patience = Duration::from_secs(3_600);
    }
    tokio::time::pause();
    let since = Instant::now();
    let vanishing = async {
        silent.job().await;
        // From here on it reads nothing, and so answers no ping. The other one keeps its heartbeat.
        loop {
            match tokio::time::timeout(Duration::from_secs(20), spare.job()).await {
                Ok(job) => {
                    spare.chunk(&job, json!([{"id": 3}])).await;
                    return spare.done(&job).await;
                }
                Err(_) => spare.send(json!({"type": "heartbeat"})).await,
            }
        }
    };
    let asking = client.ask("/v1/query/products", json!({"select": ["id"]}));
    let (asked, ()) = futures::join!(asking, vanishing);
    assert_eq!(asked.rows(), json!([{"id": 3}]));
    let after = since.elapsed().as_secs_f64();
    assert!((35.0..50.0).contains(&after), "{after}");
    drop(silent);
}

/// Something that an operator does to the runner `one`.
async fn end(control: &Control, rotate: bool) {
    if rotate {
        control.rotate_runner(&Gateway::by(), "one").await.unwrap();
    } else {
        control.revoke_runner(&Gateway::by(), "one").await.unwrap();
    }
}

#[tokio::test]
async fn revoked_and_rotated_runners_are_closed_at_once_in_the_middle_of_a_stream() {
    for rotate in [false, true] {
        let (gateway, mut runner, token) = shop(&[]).await;
        let idle = Runner::plain(&gateway, &token).await;
        // The newer connection is idle: two jobs, so that each has one.
        let mut idle = idle;
        let (mut stream, mut other, job) = {
            let beginning = async {
                let job = runner.job().await;
                runner.chunk(&job, json!([{"id": 1}])).await;
                let second = idle.job().await;
                idle.chunk(&second, json!([{"id": 1}])).await;
                job
            };
            let (a, b, job) = futures::join!(gateway.lines(json!({})), gateway.lines(json!({})), beginning);
            (a, b, job)
        };
        assert_eq!(stream.line().await, Some(json!({"id": 1})));
        assert_eq!(other.line().await, Some(json!({"id": 1})));
        let since = std::time::Instant::now();
        end(&gateway.control, rotate).await;
        // It goes on sending, as one that has not noticed would.
        for id in 2..100 {
            let rows = json!([{"id": id}]);
            let text = json!({"type": "chunk", "id": job["id"], "rows": rows}).to_string();
            runner.try_send(text.into()).await;
        }
        assert_eq!(runner.closed().await, 4401);
        assert_eq!(idle.closed().await, 4401);
        assert!(since.elapsed() < Duration::from_secs(5));
        for stream in [&mut stream, &mut other] {
            let last = stream.rest().await.pop().unwrap();
            assert_eq!(last["code"], "runner_failed", "{last}");
        }
        let status = Runner::dial(&gateway, Dial { token: Some(&token), query: "" }).await.err();
        assert_eq!(status, Some(if rotate { 401 } else { 403 }));
        gateway.connected(0).await;
    }
}

#[tokio::test]
async fn revoking_does_not_wait_for_a_socket_that_is_held_back() {
    let (gateway, mut runner, _) = shop(&[]).await;
    let beginning = async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        job
    };
    let (mut stream, job) = futures::join!(gateway.lines(json!({})), beginning);
    assert_eq!(stream.line().await, Some(json!({"id": 1})));
    let rows = crate::runner::wide_rows(1..9, 64 * 1024);
    let chunk = json!({"type": "chunk", "id": job["id"], "rows": rows}).to_string();
    while runner.try_text(chunk.clone(), Duration::from_secs(1)).await {}
    end(&gateway.control, false).await;
    gateway.connected(0).await;
    assert_eq!(stream.rest().await.pop().unwrap()["code"], "runner_failed");
}

#[tokio::test]
async fn the_new_token_of_a_rotated_runner_is_good_at_once() {
    let (gateway, old, _) = shop(&[]).await;
    let (_, token) = gateway.control.rotate_runner(&Gateway::by(), "one").await.unwrap();
    let mut new = Runner::plain(&gateway, token.expose()).await;
    assert_eq!(old.closed().await, 4401);
    let (asked, _) = futures::join!(gateway.query(json!({"select": ["id"]})), new.answer(json!([{"id": 1}])));
    assert_eq!(asked.rows(), json!([{"id": 1}]));
}

#[tokio::test]
async fn a_revocation_between_upgrade_and_hello_counts() {
    for rotate in [false, true] {
        let gateway = Gateway::start().await;
        let (_, token) = gateway.runner("one", &["main"]).await;
        let mut runner = Runner::open(&gateway, &token).await;
        end(&gateway.control, rotate).await;
        runner.send(json!({"type": "hello", "version": 1, "capabilities": []})).await;
        assert_eq!(runner.closed().await, 4401);
    }
}

#[tokio::test]
async fn running_jobs_go_on_when_their_source_is_taken_from_the_runner() {
    let (gateway, mut runner, _) = shop(&[]).await;
    let taking = async {
        let job = runner.job().await;
        gateway.control.unassign(&Gateway::by(), "one", "main").await.unwrap();
        runner.expect("assignments-changed").await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        runner.done(&job).await;
    };
    let (asked, ()) = futures::join!(gateway.query(json!({"select": ["id"]})), taking);
    assert_eq!(asked.rows(), json!([{"id": 1}]));
    assert_eq!(gateway.query(json!({})).await.refusal(), (503, "no_runners_online".to_owned()));
}

#[tokio::test]
async fn a_gateway_that_stops_finishes_its_streams_and_says_goodbye() {
    let (gateway, mut runner, token) = shop(&["flow/1"]).await;
    let beginning = async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        job
    };
    let mut idle = gateway.connect().await;
    let (mut stream, job) = futures::join!(gateway.lines(json!({"select": ["id"]})), beginning);
    let stopping = gateway.stop(PATIENCE);
    let finishing = async {
        assert_eq!(stream.line().await, Some(json!({"id": 1})));
        // New work is refused meanwhile.
        let refused = Runner::dial(&gateway, Dial { token: Some(&token), query: "" }).await.err();
        assert_eq!(refused, Some(503));
        for id in 2..20 {
            runner.chunk(&job, json!([{"id": id}])).await;
        }
        runner.done(&job).await;
        assert_eq!(stream.rest().await.len(), 18);
        assert_eq!(runner.closed().await, 1001);
    };
    let (drained, ()) = futures::join!(stopping, finishing);
    assert_eq!(drained, Drained::Clean);
    idle.key.clear();
}

#[tokio::test]
async fn a_gateway_that_must_stop_breaks_off_what_does_not_end() {
    let (gateway, mut runner, _) = shop(&[]).await;
    let beginning = async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1}])).await;
    };
    let (mut stream, ()) = futures::join!(gateway.lines(json!({})), beginning);
    assert_eq!(stream.line().await, Some(json!({"id": 1})));
    // One that has upgraded and says nothing must not hold the gateway up either.
    let silent = Runner::dial(&gateway, Dial::default()).await.unwrap();
    let (drained, codes) = futures::join!(gateway.stop(Duration::from_millis(100)), async {
        futures::join!(runner.closed(), silent.closed())
    });
    assert_eq!((drained, codes), (Drained::Stopped, (1001, 1001)));
}
