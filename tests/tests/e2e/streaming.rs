//! Rows leave as they come, and work that nobody waits for any more is stopped at the database.

use std::time::Instant;

use harness::gateway::Gateway;
use harness::postgres::{Database, filler_lens};
use harness::wait::{secs, until, within};
use serde_json::json;

use crate::kills::slow_gateway;

#[tokio::test]
async fn the_first_row_arrives_long_before_the_last_is_read() {
    within(secs(60), async {
        let database = Database::create().await;
        database.make_slow(1.0).await;
        let gateway = slow_gateway(&database).await;
        let _runner = gateway.connect_runner("one", &["main"]).await;
        let app = gateway.secret_app().await;
        let started = Instant::now();
        // 200 rows of 20 ms.
        let mut lines = app.lines("trickle", &json!({"limit": 200})).await;
        assert_eq!(lines.line().await.unwrap()["id"], 1);
        let first = started.elapsed();
        let (rest, _) = lines.count_lines().await;
        let all = started.elapsed();
        assert_eq!(rest, 199);
        assert!(all >= secs(3), "the view is not slow: {all:?}");
        assert!(first < all / 3, "the first row came after {first:?} of {all:?}");
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_stops_the_statement_at_the_server() {
    within(secs(60), async {
        let database = Database::create().await;
        database.make_slow(30.0).await;
        let gateway = slow_gateway(&database).await;
        let (_, runner) = gateway.connect_runner("one", &["main"]).await;
        let app = gateway.secret_app().await;

        // Before any row.
        let asked = tokio::spawn({
            let app = app.clone();
            async move { app.query("stuck", &json!({})).await }
        });
        until("the statement runs", secs(20), async || database.running("stuck").await == 1).await;
        asked.abort();
        until("the statement is gone", secs(5), async || database.running("stuck").await == 0).await;

        // In the middle.
        let mut lines = app.lines("trickle", &json!({"limit": 1000})).await;
        lines.line().await.unwrap();
        assert_eq!(database.running("trickle").await, 1);
        drop(lines);
        until("the statement is gone", secs(5), async || database.running("trickle").await == 0).await;
        until("the slot is free", secs(5), async || runner.ready().await.1["activeJobs"] == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_deadline_ends_the_query_and_the_statement() {
    within(secs(60), async {
        let database = Database::create().await;
        database.make_slow(30.0).await;
        let gateway = Gateway::start().await;
        let mut config = database.config();
        config["bridge"] = "postgres".into();
        config["timeout"] = 1_000.into();
        let lenses =
            json!({"stuck": filler_lens("main", "stuck"), "trickle": filler_lens("main", "trickle")});
        gateway.push(json!({"main": config}), lenses).await;
        let _runner = gateway.connect_runner("one", &["main"]).await;
        let app = gateway.secret_app().await;
        let started = Instant::now();
        assert_eq!(app.query("stuck", &json!({})).await.code(504), "QUERY_TIMEOUT");
        assert!(started.elapsed() < secs(5), "{:?}", started.elapsed());
        until("the statement is gone", secs(5), async || database.running("stuck").await == 0).await;

        let lines = app.lines("trickle", &json!({"limit": 1000})).await.lines().await;
        assert!(lines.len() > 1, "{lines:?}");
        assert_eq!(lines.last().unwrap()["code"], "QUERY_TIMEOUT");
        until("the statement is gone", secs(5), async || database.running("trickle").await == 0).await;
    })
    .await;
}
