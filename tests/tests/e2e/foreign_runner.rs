//! Other people's runners, which speak version 1 and nothing else, at our gateway.

use harness::gateway::{App, Gateway};
use harness::sqlite::{people_lens, people_rows};
use harness::v1::{StrictRunner, Table};
use harness::wait::{secs, until, within};
use serde_json::{Value, json};

const BRIDGE: &str = "@semilayer/bridge-sqlite";

/// A gateway with the lens `people` on a source that a foreign runner serves.
async fn gateway() -> (Gateway, App) {
    gateway_with(BRIDGE).await
}

async fn gateway_with(bridge: &str) -> (Gateway, App) {
    let gateway = Gateway::start().await;
    let sources = json!({"main": {"bridge": bridge, "credentialsLocation": "runner-local"}});
    gateway.push(sources, json!({"people": people_lens("main")})).await;
    let app = gateway.secret_app().await;
    (gateway, app)
}

async fn foreign(gateway: &Gateway, name: &str) -> StrictRunner {
    foreign_with(gateway, name, BRIDGE).await
}

async fn foreign_with(gateway: &Gateway, name: &str, bridge: &str) -> StrictRunner {
    let credentials = gateway.create_runner(name).await;
    gateway.assign("main", &credentials.id).await;
    StrictRunner::connect(gateway.address(), &credentials.token, &credentials.id, &[bridge]).await
}

/// The rows as the database has them, under the names of its columns.
fn table() -> Table {
    let column = |mut row: Value| {
        let name = row.as_object_mut().unwrap().remove("name").unwrap();
        row["full_name"] = name;
        row
    };
    Table::new(people_rows().into_iter().map(column).collect())
}

#[tokio::test]
async fn a_foreign_runner_gets_its_sources_and_serves_queries_and_counts() {
    within(secs(60), async {
        let (gateway, app) = gateway().await;
        let runner = foreign(&gateway, "foreign").await;
        assert_eq!(runner.sources[0]["name"], "main");
        assert_eq!(runner.sources[0]["credentialsLocation"], "runner-local");
        tokio::spawn(runner.serve(table()));

        assert_eq!(app.rows("people", &json!({"orderBy": {"field": "id"}})).await, people_rows());
        let few = json!({"where": {"name": {"$in": ["Ada", "Alan"]}}, "orderBy": {"field": "age", "dir": "desc"}, "select": ["name"]});
        assert_eq!(app.rows("people", &few).await, [json!({"name": "Alan"}), json!({"name": "Ada"})]);
        assert_eq!(app.count("people", &json!({"where": {"city": {"$exists": false}}})).await, 2);
        let lines = app.lines("people", &json!({"limit": 4, "orderBy": {"field": "id"}})).await.lines().await;
        assert_eq!(lines, people_rows()[..4]);
    })
    .await;
}

#[tokio::test]
async fn cursors_work_though_the_runner_knows_none_and_nulls_come_first() {
    within(
        secs(60),
        cursors_work(
            BRIDGE,
            table(),
            &[
                (json!([]), [1, 2, 3, 4, 5, 6, 7]),
                (json!([{"field": "age", "dir": "desc"}]), [7, 6, 2, 4, 3, 5, 1]),
                (json!([{"field": "city"}]), [4, 6, 1, 5, 2, 3, 7]),
                (json!([{"field": "city", "dir": "desc"}]), [7, 3, 2, 1, 5, 4, 6]),
            ],
        ),
    )
    .await;
}

#[tokio::test]
async fn cursors_work_though_the_runner_knows_none_and_nulls_come_last() {
    within(
        secs(60),
        cursors_work(
            "@semilayer/bridge-postgres",
            table().with_nulls_last(),
            &[
                (json!([{"field": "city"}]), [1, 5, 2, 3, 7, 4, 6]),
                (json!([{"field": "city", "dir": "desc"}]), [4, 6, 7, 3, 2, 1, 5]),
                (json!([{"field": "city", "dir": "desc"}, {"field": "age"}]), [4, 6, 7, 3, 2, 1, 5]),
            ],
        ),
    )
    .await;
}

async fn cursors_work(bridge: &str, table: Table, orders: &[(Value, [i64; 7])]) {
    let (gateway, app) = gateway_with(bridge).await;
    tokio::spawn(foreign_with(&gateway, "foreign", bridge).await.serve(table));
    for (order, ids) in orders {
        let pages = app.walk("people", &json!({"orderBy": order, "limit": 2, "select": ["id"]})).await;
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 2, 1], "{order}");
        let walked: Vec<Value> = pages.concat();
        assert_eq!(walked, ids.map(|id| json!({"id": id})), "{order}");
    }
}

#[tokio::test]
async fn the_codes_of_a_foreign_runner_reach_the_caller() {
    within(secs(60), async {
        let (gateway, app) = gateway().await;
        let mut runner = foreign(&gateway, "foreign").await;
        for (said, status, heard) in [
            ("SOURCE_UNREACHABLE", 502, "SOURCE_UNREACHABLE"),
            ("QUERY_TIMEOUT", 504, "QUERY_TIMEOUT"),
            ("bad_request", 400, "bad_request"),
            ("E_OF_THEIR_OWN", 502, "runner_failed"),
        ] {
            let request = tokio::spawn({
                let app = app.clone();
                async move { app.query("people", &json!({})).await }
            });
            let job = runner.job().await;
            runner.fail(&job.id, said, "in their words").await;
            let answer = request.await.unwrap();
            assert_eq!(answer.code(status), heard);
            assert!(answer.text().contains("in their words"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_goes_away_cancels_the_job() {
    within(secs(60), async {
        let (gateway, app) = gateway().await;
        let mut runner = foreign(&gateway, "foreign").await;
        let mut lines = tokio::spawn({
            let app = app.clone();
            async move { app.lines("people", &json!({"limit": 1000})).await }
        });
        let job = runner.job().await;
        let row = json!({"id": 1, "full_name": "Ada", "city": null, "age": 1});
        runner.chunk(&job.id, &[row]).await;
        let mut lines = (&mut lines).await.unwrap();
        assert_eq!(lines.line().await.unwrap()["name"], "Ada");
        drop(lines);
        runner.cancelled(&job.id).await;
        // What comes late for a job that is over harms nobody.
        runner.done(&job.id, 1).await;
        let next = tokio::spawn(async move { app.count("people", &json!({})).await });
        let job = runner.job().await;
        runner.answer(&job, &table()).await;
        assert_eq!(next.await.unwrap(), 7);
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_stops_loses_its_own_query_and_nobody_elses() {
    within(secs(90), async {
        let (gateway, app) = gateway().await;
        let mut runner = foreign(&gateway, "foreign").await;
        let opening = tokio::spawn({
            let app = app.clone();
            async move { app.lines("people", &json!({"limit": 10_000_000})).await }
        });
        let slow = runner.job().await;
        let row = json!({"id": 1, "full_name": "x".repeat(100_000), "city": null, "age": 1});
        runner.chunk(&slow.id, &[row.clone(), row.clone()]).await;
        let stopped = opening.await.unwrap();
        // Far more than the buffers between us hold. The gateway takes what it has room for and waits for the reader, until
        // another job comes to the same socket: then the one whose reader does not read is given up.
        let mut flood =
            runner.flood(&json!({"type": "chunk", "id": slow.id, "rows": [row.clone(), row]}), 400);
        flood.is_held_back().await;
        let fast = tokio::spawn(async move { app.count("people", &json!({})).await });
        let (mut cancelled, mut answered) = (false, false);
        while !(cancelled && answered) {
            let frame = runner.next().await;
            match frame["type"].as_str().unwrap() {
                "cancel" => {
                    assert_eq!(frame["id"], *slow.id);
                    cancelled = true;
                }
                "job" => {
                    let id = frame["id"].as_str().unwrap();
                    runner.send(json!({"type": "chunk", "id": id, "rows": [], "total": 7})).await;
                    runner.done(id, 0).await;
                    answered = true;
                }
                other => panic!("an unexpected {other}"),
            }
        }
        assert_eq!(fast.await.unwrap(), 7);
        flood.is_taken().await;
        let lines = stopped.whole().await.text();
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(last["code"], "runner_failed");
    })
    .await;
}

#[tokio::test]
async fn a_second_placement_is_plain_version_1_too() {
    within(secs(60), async {
        let (gateway, app) = gateway().await;
        let mut first = foreign(&gateway, "first").await;
        let mut second = foreign(&gateway, "second").await;
        let asked =
            tokio::spawn(async move { app.rows("people", &json!({"orderBy": {"field": "id"}})).await });
        tokio::select! {
            job = first.job() => {
                drop(job);
                drop(first);
                let job = second.job().await;
                second.answer(&job, &table()).await;
            }
            job = second.job() => {
                drop(job);
                drop(second);
                let job = first.job().await;
                first.answer(&job, &table()).await;
            }
        }
        assert_eq!(asked.await.unwrap(), people_rows());
    })
    .await;
}

#[tokio::test]
async fn the_secret_may_come_in_hello_instead() {
    within(secs(60), async {
        let (gateway, _app) = gateway().await;
        let credentials = gateway.create_runner("zerg").await;
        let hello = json!({"type": "hello", "runner_name": "zerg", "secret": credentials.token, "metadata": {"os": "linux"}});
        let (ack, _socket) = harness::v1::dial_with(gateway.address(), None, &hello.to_string()).await.unwrap();
        assert_eq!(ack["type"], "hello-ack");
        until("the runner is online", secs(10), async || gateway.is_online(&credentials.id).await).await;

        let wrong = json!({"type": "hello", "runner_name": "zerg", "secret": "rk_wrong"});
        assert!(harness::v1::dial_with(gateway.address(), None, &wrong.to_string()).await.is_err());
        let other = json!({"type": "hello", "runner_name": "someone", "secret": credentials.token});
        assert!(harness::v1::dial_with(gateway.address(), None, &other.to_string()).await.is_err());
    })
    .await;
}
