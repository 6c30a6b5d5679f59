//! Which runner gets a job, and when another one gets it instead.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{BrokenOff, Gateway};
use crate::runner::{ALL, Runner, wide_rows};

/// A shop with two runners. The second one is connected last and gets the first job.
struct Two {
    gateway: Gateway,
    spare: Runner,
    first: Runner,
}

impl Two {
    async fn with(extensions: &[&str]) -> Self {
        let gateway = Gateway::start().await;
        let (_, spare) = gateway.runner("spare", &["main"]).await;
        let (_, first) = gateway.runner("first", &["main"]).await;
        let spare = Runner::with(&gateway, &spare, extensions).await;
        let first = Runner::with(&gateway, &first, extensions).await;
        Self { gateway, spare, first }
    }
}

#[tokio::test]
async fn a_runner_lost_before_a_row_is_replaced_without_a_word() {
    let Two { gateway, mut spare, mut first } = Two::with(&["drain/1"]).await;
    let losing = async {
        let lost = first.job().await;
        drop(first);
        let again = spare.answer(json!([{"id": 1, "name": "a", "price": 2}])).await;
        (lost, again)
    };
    let (asked, (lost, again)) = futures::join!(gateway.query(json!({})), losing);
    assert_eq!(asked.rows(), json!([{"id": 1, "title": "a", "price": 2}]));
    assert_eq!((&again["id"], &again["params"]), (&lost["id"], &lost["params"]));
    assert_eq!((lost.get("attempt"), &again["attempt"]), (None, &json!(2)));
    let row = gateway.audit("query", 1).await.remove(0);
    assert_eq!((&row["outcome"], &row["attempts"]), (&json!("ok"), &json!(2)));
    assert_eq!(row["runnerId"], gateway.admin("/api/runners/spare").await["id"]);
}

#[tokio::test]
async fn rows_that_were_held_back_do_not_come_twice() {
    let Two { gateway, mut spare, mut first } = Two::with(&["project/1", "keyset/1"]).await;
    let losing = async {
        let lost = first.job().await;
        first.chunk(&lost, json!([{"id": 1, "title": "from the first"}])).await;
        first.chunk(&lost, wide_rows(2..6, 100_000)).await;
        drop(first);
        spare.answer(json!([{"id": 1, "title": "from the spare"}])).await;
    };
    let (asked, ()) = futures::join!(gateway.query(json!({"select": ["id", "title"]})), losing);
    assert_eq!(asked.rows(), json!([{"id": 1, "title": "from the spare"}]));
    assert_eq!(asked.json()["meta"]["count"], 1);
}

#[tokio::test]
async fn the_second_runner_may_speak_another_dialect_than_the_first() {
    let gateway = Gateway::start().await;
    let (_, old) = gateway.runner("old", &["main"]).await;
    let (_, new) = gateway.runner("new", &["main"]).await;
    let mut plain = Runner::plain(&gateway, &old).await;
    let mut modern = Runner::with(&gateway, &new, &ALL).await;
    let losing = async {
        let job = modern.job().await;
        assert_eq!(Runner::options(&job)["project"], json!({"title": "name"}));
        modern.numbered(&job, 0, json!([{"title": "a"}])).await;
        drop(modern);
        let job = plain.answer(json!([{"name": "b", "id": 4}])).await;
        assert_eq!(Runner::options(&job)["select"], json!(["name", "id"]));
    };
    let (asked, ()) = futures::join!(gateway.query(json!({"select": ["title"]})), losing);
    assert_eq!(asked.rows(), json!([{"title": "b"}]));
}

#[tokio::test]
async fn lines_end_with_an_error_when_the_runner_is_lost_behind_the_first_row() {
    let Two { gateway, mut spare, mut first } = Two::with(&[]).await;
    let losing = async {
        let job = first.job().await;
        first.chunk(&job, json!([{"id": 1}])).await;
        first
    };
    let (mut stream, first) = futures::join!(gateway.lines(json!({"select": ["id"]})), losing);
    assert_eq!(stream.line().await, Some(json!({"id": 1})));
    drop(first);
    let last = stream.line().await.unwrap();
    assert_eq!(last["code"], "runner_failed");
    assert!(last["error"].is_string());
    assert_eq!(stream.line().await, None);
    // The spare one was not asked: its next job is the next query.
    let (asked, job) = futures::join!(gateway.query(json!({"limit": 77})), spare.answer(json!([])));
    assert_eq!((asked.status, &Runner::options(&job)["limit"]), (200, &json!(77 + 1)));
    let rows = gateway.audit("query", 2).await;
    assert_eq!((&rows[1]["outcome"], &rows[1]["rows"]), (&json!("runner_failed"), &json!(1)));
}

#[tokio::test]
async fn lines_begin_anew_when_the_runner_is_lost_before_the_first_row() {
    let Two { gateway, mut spare, mut first } = Two::with(&[]).await;
    let losing = async {
        let job = first.job().await;
        first.chunk(&job, json!([])).await;
        drop(first);
        spare.answer(json!([{"id": 1}])).await;
    };
    let (mut stream, ()) = futures::join!(gateway.lines(json!({"select": ["id"]})), losing);
    assert_eq!(stream.rest().await, [json!({"id": 1})]);
}

#[tokio::test]
async fn a_json_answer_breaks_off_when_its_runner_is_lost_behind_a_megabyte() {
    let Two { gateway, spare: _spare, mut first } = Two::with(&[]).await;
    let mut client = gateway.connect().await;
    let losing = async {
        let job = first.job().await;
        for part in 0..6 {
            first.chunk(&job, wide_rows(part * 3..part * 3 + 3, 80_000)).await;
        }
        first
    };
    let (stream, first) =
        futures::join!(client.stream("/v1/query/products", &[], json!({"select": ["id", "title"]})), losing);
    assert_eq!(stream.status(), 200);
    drop(first);
    let BrokenOff = stream.try_whole().await.unwrap_err();
    assert_eq!(gateway.audit("query", 1).await[0]["outcome"], "runner_failed");
}

#[tokio::test]
async fn without_another_runner_a_lost_one_is_a_502() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut runner = Runner::plain(&gateway, &token).await;
    let losing = async {
        runner.job().await;
        drop(runner);
    };
    let (asked, ()) = futures::join!(gateway.query(json!({})), losing);
    assert_eq!(asked.refusal(), (502, "runner_failed".to_owned()));
}

#[tokio::test]
async fn a_source_without_a_runner_online_is_a_503_that_says_when_to_come_back() {
    let gateway = Gateway::start().await;
    let refused = async |message: &str| {
        let asked = gateway.query(json!({})).await;
        assert_eq!(asked.refusal(), (503, "no_runners_online".to_owned()));
        assert_eq!(asked.header("retry-after"), Some("1"));
        assert!(asked.text.contains(message), "{}", asked.text);
    };
    refused("no runner is assigned").await;
    gateway.runner("one", &["main"]).await;
    refused("is online").await;
    assert_eq!(gateway.audit("query", 2).await[0]["attempts"], 0);
}

#[tokio::test]
async fn a_draining_runner_gets_no_new_jobs_and_finishes_its_own() {
    let Two { gateway, mut spare, mut first } = Two::with(&["drain/1"]).await;
    let draining = async {
        let own = first.job().await;
        first.send(json!({"type": "draining", "deadlineMs": 30_000})).await;
        gateway
            .eventually("/api/runners/first", |shown| shown["sessions"][0]["draining"] == json!(true))
            .await;
        let (other, _) =
            futures::join!(gateway.query(json!({"select": ["id"]})), spare.answer(json!([{"id": 2}])));
        assert_eq!(other.rows(), json!([{"id": 2}]));
        first.chunk(&own, json!([{"id": 1}])).await;
        first.done(&own).await;
    };
    let (asked, ()) = futures::join!(gateway.query(json!({"select": ["id"]})), draining);
    assert_eq!(asked.rows(), json!([{"id": 1}]));
}

#[tokio::test]
async fn a_runner_that_did_not_agree_to_drain_is_not_draining() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut runner = Runner::plain(&gateway, &token).await;
    runner.send(json!({"type": "draining", "deadlineMs": 1})).await;
    let (asked, _) =
        futures::join!(gateway.query(json!({"select": ["id"]})), runner.answer(json!([{"id": 1}])));
    assert_eq!(asked.rows(), json!([{"id": 1}]));
}

#[tokio::test]
async fn a_job_that_crosses_with_draining_goes_elsewhere_unseen() {
    for code in ["RUNNER_DRAINING", "RUNNER_BUSY"] {
        let Two { gateway, mut spare, mut first } = Two::with(&["drain/1"]).await;
        let crossing = async {
            let job = first.job().await;
            first.error(&job, code).await;
            spare.answer(json!([{"id": 9}])).await;
        };
        let (asked, ()) = futures::join!(gateway.query(json!({"select": ["id"]})), crossing);
        assert_eq!(asked.rows(), json!([{"id": 9}]), "{code}");
    }
}

#[tokio::test]
async fn when_every_runner_declines_the_caller_learns_when_to_come_back() {
    for (code, seen) in [("RUNNER_DRAINING", "no_runners_online"), ("RUNNER_BUSY", "RUNNER_BUSY")] {
        let Two { gateway, mut spare, mut first } = Two::with(&["drain/1"]).await;
        let declining = async {
            for runner in [&mut first, &mut spare] {
                let job = runner.job().await;
                runner.error(&job, code).await;
            }
        };
        let (asked, ()) = futures::join!(gateway.query(json!({})), declining);
        assert_eq!(asked.refusal(), (503, seen.to_owned()));
        assert_eq!(asked.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn jobs_go_to_the_least_loaded_runner() {
    let gateway = Gateway::start().await;
    let (_, small) = gateway.runner("small", &["main"]).await;
    let (_, large) = gateway.runner("large", &["main"]).await;
    let hello =
        |slots: u32| json!({"type": "hello", "version": 1, "extensions": ["stats/1"], "maxJobs": slots});
    let mut large = Runner::greet(&gateway, &large, hello(4)).await;
    let mut small = Runner::greet(&gateway, &small, hello(1)).await;
    let working = async {
        // Both are idle: the newer one. Then one of four slots is less than one of one, up to the fourth.
        let on_small = small.job().await;
        let mut on_large = Vec::new();
        for _ in 0..4 {
            on_large.push(large.job().await);
        }
        for job in &on_large {
            large.done(job).await;
        }
        small.done(&on_small).await;
    };
    let asks = futures::future::join_all((0..5).map(|_| gateway.query(json!({}))));
    let (answers, ()) = futures::join!(asks, working);
    assert!(answers.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn heartbeats_tell_how_many_slots_there_are() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[]).await;
    let mut runner = Runner::with(&gateway, &token, &["stats/1"]).await;
    runner
        .send(json!({"type": "heartbeat", "stats": {"activeJobs": 3, "memoryMb": 12.7, "maxJobs": 9, "freeSlots": 6,
            "pools": {"main": {"inUse": 1, "idle": 2, "max": 5}}}}))
        .await;
    let session = |shown: &Value| shown["sessions"][0].clone();
    let shown = gateway.eventually("/api/runners/one", |shown| session(shown)["maxJobs"] == json!(9)).await;
    assert_eq!(session(&shown)["memoryMb"], 12);
}

#[tokio::test]
async fn two_processes_of_one_runner_share_its_jobs() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut one = Runner::with(&gateway, &token, &[]).await;
    let mut two = Runner::with(&gateway, &token, &[]).await;
    gateway.connected(2).await;
    let ask = || gateway.query(json!({"select": ["id"]}));
    let working = async {
        futures::join!(one.answer(json!([{"id": 1}])), two.answer(json!([{"id": 2}])));
    };
    let (a, b, ()) = futures::join!(ask(), ask(), working);
    let mut ids = [a.rows()[0]["id"].as_u64(), b.rows()[0]["id"].as_u64()];
    ids.sort_unstable();
    assert_eq!(ids, [Some(1), Some(2)]);
}

#[tokio::test]
async fn a_process_that_dials_in_again_takes_over_from_its_dead_socket() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let hello = |running: Value| json!({"type": "hello", "version": 1, "extensions": ["resume/1"], "instanceId": "process-1", "runningJobs": running});
    let mut old = Runner::greet(&gateway, &token, hello(json!([]))).await;
    let resuming = async {
        let lost = old.job().await;
        let mut new = Runner::greet(&gateway, &token, hello(json!([lost["id"], "older"]))).await;
        // What still runs there is nobody's any more, and is stopped before anything else is asked.
        assert_eq!(new.frame().await, json!({"type": "cancel", "id": lost["id"]}));
        assert_eq!(new.frame().await, json!({"type": "cancel", "id": "older"}));
        let again = new.job().await;
        assert_ne!(again["id"], lost["id"], "the old job may not be over under its id");
        assert_eq!(again["attempt"], 2);
        new.numbered(&again, 0, json!([{"id": 5}])).await;
        new.done(&again).await;
        assert_eq!(old.closed().await, 1001);
        gateway.connected(1).await;
    };
    let (asked, ()) = futures::join!(gateway.query(json!({"select": ["id"]})), resuming);
    assert_eq!(asked.rows(), json!([{"id": 5}]));
}

#[tokio::test]
async fn a_job_is_placed_four_times_at_the_most() {
    let gateway = Gateway::start().await;
    let mut runners = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let (_, token) = gateway.runner(name, &["main"]).await;
        runners.push(Runner::with(&gateway, &token, &["drain/1"]).await);
    }
    let mut fifth = runners.remove(0);
    let declining = async {
        for (attempt, runner) in runners.iter_mut().rev().enumerate() {
            let job = runner.job().await;
            assert_eq!(job["attempt"].as_u64().unwrap_or(1), attempt as u64 + 1);
            runner.error(&job, "RUNNER_BUSY").await;
        }
    };
    let (asked, ()) = futures::join!(gateway.query(json!({})), declining);
    assert_eq!(asked.refusal().0, 503);
    assert!(tokio::time::timeout(Duration::from_millis(50), fifth.job()).await.is_err());
}
