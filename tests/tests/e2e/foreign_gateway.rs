//! Our runner at other people's gateways, which speak version 1 and nothing else.

use harness::gateway::Credentials;
use harness::postgres::Database;
use harness::process::Signal;
use harness::runner::{Runner, Settings};
use harness::sqlite::{PEOPLE, Sqlite};
use harness::v1::{RunnerSocket, StrictGateway};
use harness::wait::{secs, until, within};
use serde_json::{Value, json};

const TOKEN: &str = "rk_of-the-foreign-gateway";

fn credentials() -> Credentials {
    Credentials { id: "runner-1".to_owned(), name: "one".to_owned(), token: TOKEN.to_owned() }
}

/// A source as an assignment has it.
pub(crate) fn managed(name: &str, bridge: &str, config: &Value) -> Value {
    let id = format!("id-of-{name}");
    json!({"id": id, "name": name, "bridge": bridge, "credentialsLocation": "managed", "config": config})
}

/// A source whose settings the runner has.
pub(crate) fn local(name: &str, bridge: &str) -> Value {
    json!({"id": format!("id-of-{name}"), "name": name, "bridge": bridge, "credentialsLocation": "runner-local"})
}

const SQLITE: &str = "@semilayer/bridge-sqlite";
const POSTGRES: &str = "@semilayer/bridge-postgres";

async fn connected(sources: &[Value]) -> (StrictGateway, RunnerSocket, Runner) {
    let mut gateway = StrictGateway::start(TOKEN).await;
    let mut runner = Settings::new(&credentials(), &gateway.url()).start();
    let socket = gateway.runner_with(sources).await;
    runner.connected().await;
    (gateway, socket, runner)
}

#[tokio::test]
async fn hello_says_who_the_runner_is_and_what_it_can_do() {
    within(secs(60), async {
        let (_gateway, socket, _runner) = connected(&[]).await;
        assert_eq!(socket.hello["version"], 1);
        assert_eq!(socket.hello["runnerId"], "runner-1");
        let capabilities = socket.hello["capabilities"].as_array().unwrap();
        for bridge in [SQLITE, POSTGRES] {
            assert!(capabilities.contains(&bridge.into()), "{capabilities:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_job_kind_is_answered_in_version_1_from_sqlite() {
    within(secs(90), async {
        let people = Sqlite::people();
        let (_gateway, mut socket, _runner) = connected(&[managed("main", SQLITE, &people.config())]).await;
        every_kind(&mut socket, "people").await;
    })
    .await;
}

#[tokio::test]
async fn every_job_kind_is_answered_in_version_1_from_postgres() {
    within(secs(90), async {
        let database = Database::create().await;
        database
            .run("create table people (id int primary key, full_name text not null, city text, age int)")
            .await;
        for (id, name, city, age) in PEOPLE {
            let city = city.map_or("null".to_owned(), |city| format!("'{city}'"));
            database.run(&format!("insert into people values ({id}, '{name}', {city}, {age})")).await;
        }
        let (_gateway, mut socket, _runner) =
            connected(&[managed("main", POSTGRES, &database.config())]).await;
        every_kind(&mut socket, "people").await;
    })
    .await;
}

async fn every_kind(socket: &mut RunnerSocket, target: &str) {
    let names = |rows: &[Value]| -> Vec<String> {
        rows.iter().map(|row| row["full_name"].as_str().unwrap().to_owned()).collect()
    };

    let test = socket.ask("main", "test", "", json!({})).await.ok();
    assert_eq!(test.meta["count"], test.rows.len());

    let targets = socket.ask("main", "listTargets", "", json!({})).await.ok();
    let listed: Vec<&str> = targets.rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(listed.iter().any(|name| name.ends_with(target)), "{listed:?}");

    let schema = socket.ask("main", "introspectTarget", target, json!({})).await.ok();
    assert_eq!(schema.rows.len(), 1);
    assert!(schema.rows[0]["columns"].to_string().contains("full_name"), "{}", schema.rows[0]);

    let order = json!([{"field": "id", "dir": "asc"}]);
    let query = json!({"where": {"city": "London"}, "orderBy": order, "select": ["id", "full_name"]});
    let found = socket.ask("main", "query", target, query).await.ok();
    assert_eq!(found.rows, [json!({"id": 1, "full_name": "Ada"}), json!({"id": 5, "full_name": "Alan"})]);
    assert_eq!(found.total, None, "a total costs a scan, and nobody asked");

    let page =
        socket.ask("main", "query", target, json!({"orderBy": order, "limit": 2, "offset": 2})).await.ok();
    assert_eq!(names(&page.rows), ["Edsger", "Barbara"]);

    let count = socket.ask("main", "count", target, json!({"where": {"age": {"$gte": 80}}})).await.ok();
    assert_eq!((count.total, count.rows.len()), (Some(4), 0));

    let batch = json!({"where": {"id": {"$in": [2, 6, 99]}}, "orderBy": order});
    let batch = socket.ask("main", "batchRead", target, batch).await.ok();
    assert_eq!(names(&batch.rows), ["Grace", "Margaret"]);

    every_page(socket, target).await;

    let buckets =
        json!({"dimensions": [{"field": "city"}], "measures": {"n": {"agg": "count", "accuracy": "exact"}}});
    let buckets = socket.ask("main", "aggregate", target, buckets).await.ok();
    // A row without a city falls into no bucket.
    let of_city = |city: &str| buckets.buckets.iter().find(|bucket| bucket["dims"]["city"] == city).unwrap();
    assert_eq!((buckets.buckets.len(), buckets.rows.len()), (4, 0));
    assert_eq!(of_city("London"), &json!({"dims": {"city": "London"}, "measures": {"n": 2}, "count": 2}));

    let search = json!({"query": "london alan", "fields": ["city", "full_name"], "select": ["full_name"]});
    let found = socket.ask("main", "search", target, search).await.ok();
    assert_eq!(found.meta["method"], "containment");
    let scores: Vec<f64> = found.rows.iter().map(|row| row["_score"].as_f64().unwrap()).collect();
    assert_eq!((names(&found.rows), scores.len()), (vec!["Alan".to_owned(), "Ada".to_owned()], 2));
    assert!((scores[0] - 2.0 / 3.0).abs() < 1e-9 && (scores[1] - 1.0 / 3.0).abs() < 1e-9, "{scores:?}");
    let unasked = socket.ask("main", "search", target, json!({})).await;
    assert_eq!(unasked.code(), "bad_request");

    // Neither has a vector type.
    let nearest = json!({"vector": [1, 2], "field": "full_name"});
    assert_eq!(socket.ask("main", "similar", target, nearest).await.code(), "unsupported_kind");

    let unknown = socket.ask("elsewhere", "query", target, json!({})).await;
    assert!(unknown.error.is_some());
    let wrong = socket.ask("main", "query", target, json!({"limit": "many"})).await;
    assert_eq!(wrong.code(), "bad_request");
    assert!(wrong.error.unwrap().1.contains("limit"));
    let operator = socket.ask("main", "query", target, json!({"where": {"id": {"$near": 1}}})).await;
    assert_eq!(operator.code(), "unsupported_operator");
}

/// Reads the whole table in pages of three, by the bridge's own cursor.
async fn every_page(socket: &mut RunnerSocket, target: &str) {
    let mut ids = Vec::new();
    let mut options = json!({"limit": 3});
    loop {
        let page = socket.ask("main", "read", target, options.clone()).await.ok();
        assert!(page.rows.len() <= 3);
        ids.extend(page.rows.iter().map(|row| row["id"].as_i64().unwrap()));
        match page.next_cursor {
            Some(cursor) => options["cursor"] = cursor.into(),
            None => break,
        }
        assert!(ids.len() <= PEOPLE.len(), "the pages do not end");
    }
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_cancelled_job_ends_and_its_slot_is_free_again() {
    within(secs(60), async {
        let numbers = Sqlite::numbers(200_000);
        let (_gateway, mut socket, runner) = connected(&[managed("main", SQLITE, &numbers.config())]).await;
        let id = socket.start("main", "query", "numbers", json!({}));
        assert!(socket.first_rows(&id).await > 0);
        socket.send(json!({"type": "cancel", "id": id}));
        let ended = socket.outcome(&id).await;
        assert_eq!(ended.code(), "CANCELLED");
        assert!(ended.rows.len() < 200_000);
        let after = socket.ask("main", "count", "numbers", json!({})).await.ok();
        assert_eq!(after.total, Some(200_000));
        assert_eq!(runner.ready().await.1["activeJobs"], 0);
    })
    .await;
}

#[tokio::test]
async fn sources_may_change_while_the_runner_works() {
    within(secs(60), async {
        let (people, numbers) = (Sqlite::people(), Sqlite::numbers(10));
        let (_gateway, mut socket, _runner) = connected(&[managed("main", SQLITE, &people.config())]).await;
        socket.ask("main", "count", "people", json!({})).await.ok();
        socket
            .assign(&[managed("main", SQLITE, &numbers.config()), managed("more", SQLITE, &people.config())]);
        let moved = socket.ask("main", "count", "numbers", json!({})).await.ok();
        assert_eq!(moved.total, Some(10));
        let more = socket.ask("more", "count", "people", json!({})).await.ok();
        assert_eq!(more.total, Some(7));
        socket.assign(&[]);
        assert!(socket.ask("main", "count", "numbers", json!({})).await.error.is_some());
    })
    .await;
}

#[tokio::test]
async fn frames_from_the_future_and_pings_are_taken_calmly() {
    within(secs(90), async {
        let people = Sqlite::people();
        let (_gateway, mut socket, _runner) = connected(&[managed("main", SQLITE, &people.config())]).await;
        socket.send_text(json!({"type": "firmware-update", "url": "http://localhost/"}).to_string());
        socket.send(json!({"type": "ping"}));
        socket.send_text(json!({"type": "cancel", "id": "nobody", "why": {"deep": []}}).to_string());
        let count = socket.ask("main", "count", "people", json!({})).await.ok();
        assert_eq!(count.total, Some(7));
        socket.heartbeat().await;
    })
    .await;
}

#[tokio::test]
async fn a_drain_at_a_gateway_that_does_not_know_the_word_hands_new_jobs_back() {
    within(secs(60), async {
        let database = Database::create().await;
        database.make_slow(0.0).await;
        let (_gateway, mut socket, mut runner) =
            connected(&[managed("main", POSTGRES, &database.config())]).await;
        let id = socket.start("main", "query", "trickle", json!({"limit": 200}));
        socket.first_rows(&id).await;
        runner.process.signal(Signal::TERM);
        until("the runner drains", secs(10), async || {
            runner.try_get("/ready").await.is_some_and(|ready| ready.status == 503)
        })
        .await;
        let late = socket.ask("main", "query", "stuck", json!({})).await;
        assert_eq!(late.code(), "RUNNER_DRAINING");
        let all = socket.outcome(&id).await.ok();
        assert_eq!(all.rows.len(), 200);
        assert_eq!(socket.closed().await, Some(1001));
        assert_eq!(runner.process.wait(secs(10)).await.code(), Some(0));
    })
    .await;
}
