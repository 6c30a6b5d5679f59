//! Cursors: every row once, in order, whatever happens beside it.

use std::collections::HashSet;

use harness::gateway::{App, Gateway};
use harness::postgres::{Database, events_lens};
use harness::runner::Runner;
use harness::wait::{secs, within};
use serde_json::{Value, json};

async fn events(count: u64) -> (Database, Gateway, Runner, App) {
    let database = Database::create().await;
    database.seed_events(count).await;
    let gateway = Gateway::start().await;
    let mut config = database.config();
    config["bridge"] = "postgres".into();
    gateway.push(json!({"main": config}), json!({"events": events_lens("main")})).await;
    let (_, runner) = gateway.connect_runner("one", &["main"]).await;
    let app = gateway.secret_app().await;
    (database, gateway, runner, app)
}

#[tokio::test]
async fn a_walk_meets_every_row_once_and_in_order_while_rows_are_inserted() {
    within(secs(150), async {
        const ROWS: u64 = 100_000;
        let (database, _gateway, _runner, app) = events(ROWS).await;
        // Rows before, among and behind those that are being walked over, for as long as the walk takes.
        let mut inserts = database.background(
            "do $$ begin
                 for n in 1 .. 100000 loop
                     insert into events values (1000000 + n, 'new', timestamptz '2023-12-31' + (n * 37 % 3000) * interval '1 minute', 'new');
                     commit;
                     perform pg_sleep(0.002);
                 end loop;
             end $$",
        );
        let pages = app
            .walk("events", &json!({"orderBy": [{"field": "at"}], "select": ["id", "at"], "limit": 4000}))
            .await;
        assert!(inserts.is_running(), "rows were inserted to the end of the walk");
        let inserted: u64 = database.ask("select count(*) from events where id > 1000000").await.parse().unwrap();
        assert!(inserted > 10, "{inserted}");

        let places: Vec<(String, u64)> = pages.concat().iter().map(place).collect();
        assert!(places.is_sorted_by(|before, after| before < after), "one order over all pages");
        let walked: HashSet<u64> = places.iter().map(|(_, id)| *id).collect();
        assert_eq!(walked.len(), places.len(), "no row twice");
        assert!((1..=ROWS).all(|id| walked.contains(&id)), "no row is missing");
    })
    .await;
}

fn place(row: &Value) -> (String, u64) {
    (row["at"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_walk_over_nulls_and_ties_loses_nothing_in_either_direction() {
    within(secs(90), async {
        let (database, _gateway, _runner, app) = events(3_000).await;
        // The primary key, which makes the order total, goes the way of the last key.
        for (order, sql) in [
            (json!([{"field": "kind"}]), "kind, id"),
            (json!([{"field": "kind", "dir": "desc"}]), "kind desc, id desc"),
            (json!([{"field": "kind", "dir": "desc"}, {"field": "at"}]), "kind desc, at, id"),
            (json!([{"field": "id", "dir": "desc"}]), "id desc"),
        ] {
            let ids = database.ask(&format!("select id from events order by {sql}")).await;
            let expected: Vec<Value> = ids.lines().map(|id| json!({"id": id})).collect();
            let body = json!({"orderBy": order, "select": ["id"], "limit": 217});
            assert_eq!(app.walk("events", &body).await.concat(), expected, "{sql}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_query_alone() {
    within(secs(60), async {
        let (_database, _gateway, _runner, app) = events(100).await;
        let first = json!({"where": {"kind": "kind 1"}, "orderBy": {"field": "at"}, "limit": 3});
        let answer = app.query("events", &first).await.ok();
        let cursor = answer["meta"]["nextCursor"].as_str().unwrap().to_owned();
        let next = |change: Value| {
            let mut body = first.clone();
            body["cursor"] = cursor.clone().into();
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            body
        };
        assert_eq!(app.query("events", &next(json!({}))).await.status, 200);
        assert_eq!(app.query("events", &next(json!({"limit": 50, "select": ["id"]}))).await.status, 200);
        let middle = cursor.len() / 2;
        let letter = if &cursor[middle..=middle] == "A" { "B" } else { "A" };
        let tampered = format!("{}{letter}{}", &cursor[..middle], &cursor[middle + 1..]);
        for change in [
            json!({"where": {"kind": "kind 2"}}),
            json!({"where": null}),
            json!({"orderBy": {"field": "at", "dir": "desc"}}),
            json!({"orderBy": {"field": "id"}}),
            json!({"cursor": tampered}),
            json!({"cursor": &cursor[1..]}),
            json!({"cursor": "eyJpZCI6NTB9"}),
            json!({"cursor": "../../etc/passwd"}),
        ] {
            let answer = app.query("events", &next(change.clone())).await;
            if change["where"].is_null() && change.get("where").is_some() {
                // A where that is not an object is a mistake of its own.
                assert_eq!(answer.status, 400, "{change}: {}", answer.text());
                continue;
            }
            assert_eq!(answer.code(400), "bad_request", "{change}");
            assert_eq!(answer.json()["field"], "cursor", "{change}");
        }
        let number = app.query("events", &next(json!({"cursor": 5}))).await;
        assert_eq!(number.code(400), "bad_request");
    })
    .await;
}

#[tokio::test]
async fn a_cursor_outlives_the_gateway_that_made_it() {
    within(secs(60), async {
        let (_database, mut gateway, mut runner, app) = events(10).await;
        let body = json!({"orderBy": {"field": "id"}, "limit": 6, "select": ["id"]});
        let cursor = app.query("events", &body).await.ok()["meta"]["nextCursor"].clone();
        gateway.process.kill().await;
        runner.disconnected_within(secs(10)).await;
        gateway.restart().await;
        runner.connected_within(secs(40)).await;
        let rest = json!({"orderBy": {"field": "id"}, "limit": 6, "select": ["id"], "cursor": cursor});
        assert_eq!(app.rows("events", &rest).await, ["7", "8", "9", "10"].map(|id| json!({"id": id})));
    })
    .await;
}
