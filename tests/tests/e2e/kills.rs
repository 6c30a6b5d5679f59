//! `kill -9` of every part, in the middle of a query.

use harness::gateway::Gateway;
use harness::http::Streaming;
use harness::postgres::{Database, OwnServer, filler_lens};
use harness::runner::Runner;
use harness::sqlite::{Sqlite, people_lens, people_rows};
use harness::wait::{eventually, secs, until, within};
use serde_json::{Value, json};

pub(crate) async fn slow_gateway(database: &Database) -> Gateway {
    let gateway = Gateway::start().await;
    let mut config = database.config();
    config["bridge"] = "postgres".into();
    let lenses = json!({"stuck": filler_lens("main", "stuck"), "trickle": filler_lens("main", "trickle")});
    gateway.push(json!({"main": config}), lenses).await;
    gateway
}

/// Which of two runners works, and the other one.
pub(crate) async fn busy_and_idle<'r>(
    first: &'r mut Runner,
    second: &'r mut Runner,
) -> (&'r mut Runner, &'r mut Runner) {
    let first_works = eventually("a runner has the job", secs(20), async || {
        let busy = |ready: Value| ready["activeJobs"].as_u64().unwrap() > 0;
        match (busy(first.ready().await.1), busy(second.ready().await.1)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        }
    })
    .await;
    if first_works { (first, second) } else { (second, first) }
}

#[tokio::test]
async fn a_runner_killed_before_any_row_has_left_is_replaced_and_the_caller_sees_nothing() {
    within(secs(90), async {
        let database = Database::create().await;
        database.make_slow(2.0).await;
        let gateway = slow_gateway(&database).await;
        let (_, mut first) = gateway.connect_runner("first", &["main"]).await;
        let (_, mut second) = gateway.connect_runner("second", &["main"]).await;
        let app = gateway.secret_app().await;
        let asked = tokio::spawn(async move { app.query("stuck", &json!({})).await });
        let (busy, _) = busy_and_idle(&mut first, &mut second).await;
        busy.process.kill().await;
        let answer = asked.await.unwrap().ok();
        assert_eq!(answer["rows"], json!([{"id": 1, "filler": "done"}]));
    })
    .await;
}

#[tokio::test]
async fn a_runner_killed_after_rows_have_left_ends_the_lines_with_an_error() {
    within(secs(90), async {
        let database = Database::create().await;
        database.make_slow(2.0).await;
        let gateway = slow_gateway(&database).await;
        let (_, mut first) = gateway.connect_runner("first", &["main"]).await;
        let (_, mut second) = gateway.connect_runner("second", &["main"]).await;
        let app = gateway.secret_app().await;
        let mut lines = app.lines("trickle", &json!({"limit": 1000})).await;
        assert_eq!(lines.line().await.unwrap()["id"], 1);
        let (busy, _) = busy_and_idle(&mut first, &mut second).await;
        busy.process.kill().await;
        let last = last_line(lines).await;
        assert_eq!(last["code"], "runner_failed");
        assert!(last["error"].is_string());
    })
    .await;
}

#[tokio::test]
async fn the_only_runner_killed_in_mid_query_is_a_502_and_then_a_503() {
    within(secs(90), async {
        let database = Database::create().await;
        database.make_slow(20.0).await;
        let gateway = slow_gateway(&database).await;
        let (_, mut runner) = gateway.connect_runner("only", &["main"]).await;
        let app = gateway.secret_app().await;
        let asked = tokio::spawn({
            let app = app.clone();
            async move { app.query("stuck", &json!({})).await }
        });
        until("the query runs", secs(20), async || database.running("stuck").await > 0).await;
        runner.process.kill().await;
        assert_eq!(asked.await.unwrap().code(502), "runner_failed");
        assert_eq!(app.query("stuck", &json!({})).await.code(503), "no_runners_online");
    })
    .await;
}

async fn last_line(mut lines: Streaming) -> Value {
    let mut last = Value::Null;
    while let Some(line) = lines.line().await {
        last = line;
    }
    last
}

#[tokio::test]
async fn runners_come_back_to_a_gateway_that_was_killed_and_what_was_decided_stays() {
    within(secs(120), async {
        let people = Sqlite::people();
        let mut gateway = Gateway::start().await;
        let mut config = people.config();
        config["bridge"] = "sqlite".into();
        gateway.push(json!({"main": config}), json!({"people": people_lens("main")})).await;
        let (one, mut runner) = gateway.connect_runner("one", &["main"]).await;
        let (banned, mut other) = gateway.connect_runner("banned", &["main"]).await;
        let app = gateway.secret_app().await;
        gateway.admin("POST", &format!("/api/runners/{}/revoke", banned.id), Value::Null).await.ok();
        other.disconnected_within(secs(20)).await;
        assert_eq!(app.rows("people", &json!({"orderBy": {"field": "id"}})).await, people_rows());

        gateway.process.kill().await;
        runner.disconnected_within(secs(20)).await;
        gateway.restart().await;
        runner.connected_within(secs(40)).await;
        assert_eq!(app.rows("people", &json!({"orderBy": {"field": "id"}})).await, people_rows());
        assert!(gateway.is_online(&one.id).await);
        assert!(!gateway.is_online(&banned.id).await);
        let refused = harness::v1::dial_with(gateway.address(), Some(&banned.token), "{}").await.unwrap_err();
        assert!(refused.contains("403"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_killed_is_an_error_of_the_source_and_works_again_when_it_is_back() {
    within(secs(150), async {
        let mut server = OwnServer::start().await;
        let database = server.maintenance();
        database.make_slow(1.0).await;
        let gateway = slow_gateway(&database).await;
        let (_, runner) = gateway.connect_runner("one", &["main"]).await;
        let app = gateway.secret_app().await;
        let pid = runner.process.pid();

        let mut lines = app.lines("trickle", &json!({"limit": 1000})).await;
        lines.line().await.unwrap();
        let waiting = tokio::spawn({
            let app = app.clone();
            async move { app.query("stuck", &json!({})).await }
        });
        until("the second query runs", secs(20), async || database.running("stuck").await > 0).await;
        server.kill().await;
        let last = last_line(lines).await;
        assert!(last["code"].as_str().unwrap().starts_with("SOURCE_"), "{last}");
        let answer = waiting.await.unwrap();
        assert!(answer.json()["code"].as_str().unwrap().starts_with("SOURCE_"), "{}", answer.text());
        assert_eq!(app.query("stuck", &json!({})).await.code(502), "SOURCE_UNREACHABLE");

        server.restart().await;
        let rows = eventually("the source works again", secs(30), async || {
            let answer = app.query("stuck", &json!({})).await;
            (answer.status == 200).then(|| answer.json()["rows"].clone())
        })
        .await;
        assert_eq!(rows, json!([{"id": 1, "filler": "done"}]));
        assert_eq!(runner.process.pid(), pid);
        assert_eq!(runner.ready().await.0, 200);
    })
    .await;
}
