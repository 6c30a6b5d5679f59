//! A runner that is told to stop finishes what it has begun, and nobody notices.

use harness::gateway::Gateway;
use harness::postgres::{Database, filler_lens};
use harness::process::Signal;
use harness::runner::Runner;
use harness::wait::{secs, until, within};
use serde_json::json;

use crate::kills::{busy_and_idle, slow_gateway};

async fn draining(runner: &Runner) {
    until("the runner is draining", secs(10), async || {
        let (status, ready) = runner.ready().await;
        status == 503 && ready["draining"] == true
    })
    .await;
}

#[tokio::test]
async fn a_draining_runner_finishes_its_query_and_new_ones_go_to_the_other() {
    within(secs(120), async {
        let database = Database::create().await;
        database.make_slow(0.1).await;
        let gateway = slow_gateway(&database).await;
        let (one, mut first) = gateway.connect_runner("first", &["main"]).await;
        let (two, mut second) = gateway.connect_runner("second", &["main"]).await;
        let app = gateway.secret_app().await;
        let mut lines = app.lines("trickle", &json!({"limit": 300})).await;
        lines.line().await.unwrap();
        let first_pid = first.process.pid();
        let (busy, idle) = busy_and_idle(&mut first, &mut second).await;
        let (leaving, staying) =
            if busy.process.pid() == first_pid { (&one.id, &two.id) } else { (&two.id, &one.id) };

        busy.process.signal(Signal::TERM);
        draining(busy).await;
        for index in 0..10 {
            let request = app
                .request("/v1/query/stuck", &json!({}))
                .header("x-request-id", format!("while-draining-{index}"));
            let answer = request.send(gateway.address()).await.ok();
            assert_eq!(answer["rows"][0]["filler"], "done");
            let audit = gateway.audit_of(&format!("while-draining-{index}"), 1).await;
            assert_eq!(audit[0]["runnerId"], **staying, "not by the one that leaves");
        }
        let mut rest = 0;
        while let Some(row) = lines.line().await {
            assert!(row.get("error").is_none(), "{row}");
            rest += 1;
        }
        assert_eq!(rest, 299);
        assert_eq!(busy.process.wait(secs(10)).await.code(), Some(0));
        assert_eq!(idle.ready().await.0, 200);
        until("presence is told", secs(5), async || !gateway.is_online(leaving).await).await;
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_ends_running_queries_now() {
    within(secs(60), async {
        let database = Database::create().await;
        database.make_slow(30.0).await;
        let gateway = slow_gateway(&database).await;
        let (_, mut runner) = gateway.connect_runner("only", &["main"]).await;
        let app = gateway.secret_app().await;
        let asked = tokio::spawn(async move { app.query("stuck", &json!({})).await });
        until("the query runs", secs(20), async || database.running("stuck").await > 0).await;
        runner.process.signal(Signal::TERM);
        draining(&runner).await;
        runner.process.signal(Signal::TERM);
        assert_eq!(runner.process.wait(secs(10)).await.code(), Some(0));
        assert_eq!(asked.await.unwrap().code(499), "CANCELLED");
        until("the statement is gone", secs(5), async || database.running("stuck").await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn what_does_not_end_within_the_drain_timeout_is_cancelled_and_said_so() {
    within(secs(60), async {
        let database = Database::create().await;
        database.make_slow(30.0).await;
        let gateway = Gateway::start().await;
        let mut config = database.config();
        config["bridge"] = "postgres".into();
        gateway.push(json!({"main": config}), json!({"stuck": filler_lens("main", "stuck")})).await;
        let only = gateway.create_runner("only").await;
        gateway.assign("main", &only.id).await;
        let mut runner = gateway.settings(&only).with("SEMILAYER_DRAIN_TIMEOUT", "1s").connect().await;
        let app = gateway.secret_app().await;
        let asked = tokio::spawn(async move { app.query("stuck", &json!({})).await });
        until("the query runs", secs(20), async || database.running("stuck").await > 0).await;
        assert_eq!(runner.process.terminate(secs(10)).await, Some(0));
        assert_eq!(asked.await.unwrap().code(499), "CANCELLED");
        until("the statement is gone", secs(5), async || database.running("stuck").await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_told_to_stop_finishes_its_answers() {
    within(secs(60), async {
        let database = Database::create().await;
        database.make_slow(2.0).await;
        let mut gateway = slow_gateway(&database).await;
        let _runner = gateway.connect_runner("only", &["main"]).await;
        let app = gateway.secret_app().await;
        let asked = tokio::spawn(async move { app.query("stuck", &json!({})).await });
        until("the query runs", secs(20), async || database.running("stuck").await > 0).await;
        let code = gateway.process.terminate(secs(20)).await;
        assert_eq!(asked.await.unwrap().ok()["rows"][0]["filler"], "done");
        assert_eq!(code, Some(0));
    })
    .await;
}
