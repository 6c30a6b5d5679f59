//! Tables that change and servers that go away between two calls, and during one.

use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call};
use serde_json::{Value, json};

use crate::asking::{AMPLE, ample, collect, connect, open, options, query};
use crate::database::{Database, client};
use crate::server::Victim;

/// One connection, so that each call meets what the one before has left.
async fn open_one(mut config: Value) -> Box<dyn Bridge> {
    config["pool"] = json!({ "max": 1 });
    connect(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_change_between_two_calls() {
    let database =
        Database::with("CREATE TABLE t (id integer PRIMARY KEY, a text); INSERT INTO t VALUES (1, '7')")
            .await;
    let bridge = open_one(database.config()).await;
    let all = json!({ "orderBy": { "field": "id" } });
    assert_eq!(query(&*bridge, "t", all.clone()).await.unwrap(), [json!({ "id": 1, "a": "7" })]);
    let seven = json!({ "where": { "a": "7" } });
    assert_eq!(query(&*bridge, "t", seven.clone()).await.unwrap().len(), 1);

    database.run("ALTER TABLE t ALTER a TYPE integer USING a::integer").await;
    assert_eq!(query(&*bridge, "t", all.clone()).await.unwrap(), [json!({ "id": 1, "a": 7 })]);
    assert_eq!(query(&*bridge, "t", seven).await.unwrap().len(), 1);

    database.run("ALTER TABLE t RENAME a TO b").await;
    assert_eq!(query(&*bridge, "t", all.clone()).await.unwrap(), [json!({ "id": 1, "b": 7 })]);
    assert_eq!(query(&*bridge, "t", json!({ "where": { "b": 7 } })).await.unwrap().len(), 1);
    assert!(matches!(
        query(&*bridge, "t", json!({ "where": { "a": 7 } })).await,
        Err(BridgeError::Invalid(_))
    ));

    database.run("DROP TABLE t; CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (2)").await;
    assert_eq!(query(&*bridge, "t", all).await.unwrap(), [json!({ "id": "2" })]);
    database.run("DROP TABLE t").await;
    assert!(query(&*bridge, "t", json!({})).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_sees_a_changed_table() {
    let database = Database::with("CREATE TABLE t (a text); INSERT INTO t VALUES ('7'), ('8')").await;
    let bridge = open_one(database.config()).await;
    let dimension = async |field: &str| {
        let asked = json!({ "dimensions": [{ "field": field }], "measures": {}, "sort": [{ "key": field }] });
        let raw = serde_json::value::to_raw_value(&asked).unwrap();
        let asked = protocol::AggregateOptions::parse(&raw).unwrap();
        collect(bridge.aggregate(&ample(), "t", asked).await?).await.map(|(batches, _)| batches.join(","))
    };
    assert!(dimension("a").await.unwrap().contains(r#""dims":{"a":"7"}"#));
    database.run("ALTER TABLE t RENAME a TO b").await;
    assert!(dimension("b").await.unwrap().contains(r#""dims":{"b":"7"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_an_enum_gains_can_be_asked_for_at_once() {
    let database = Database::with(
        "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id integer PRIMARY KEY, m mood); INSERT INTO t VALUES (1, 'sad')",
    )
    .await;
    let bridge = open_one(database.config()).await;
    assert_eq!(query(&*bridge, "t", json!({ "where": { "m": "sad" } })).await.unwrap().len(), 1);
    assert!(query(&*bridge, "t", json!({ "where": { "m": "unheard of" } })).await.unwrap().is_empty());
    database.run("ALTER TYPE mood RENAME VALUE 'sad' TO 'glad'").await;
    assert!(query(&*bridge, "t", json!({ "where": { "m": "sad" } })).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_terminated_is_replaced() {
    let database = Database::with("CREATE TABLE t (id integer); INSERT INTO t VALUES (1)").await;
    let bridge = open_one(database.config()).await;
    for _ in 0..3 {
        let ended = database
            .value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'semilayer-runner' AND datname = current_database()")
            .await;
        assert_eq!(ended, "1");
        assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back_is_met_again() {
    let mut victim = Victim::start();
    let admin = client(&victim.server, "admin", "semilayer").await;
    admin
        .batch_execute(
            "CREATE TABLE t AS SELECT n AS id, repeat('x', 500) AS filler FROM generate_series(1, 100000) n;
            GRANT SELECT ON t TO app",
        )
        .await
        .unwrap();
    // By itself, after the transaction: what the server has not written when it is killed is gone.
    admin.batch_execute("CHECKPOINT").await.unwrap();
    let bridge = open(json!({
        "host": "127.0.0.1", "port": victim.server.port, "database": "semilayer", "user": "app",
        "password": victim.server.password("app"), "sslmode": "disable",
    }))
    .await;
    let call = Call::within(AMPLE);
    let mut stream = bridge.query(&call, "t", options(json!({}))).await.unwrap();
    assert!(stream.next(1_000).await.unwrap().is_some());
    // Another connection, idle when the server dies.
    bridge.test(&call).await.unwrap();

    victim.kill();
    let lost = collect(stream).await.unwrap_err();
    assert!(matches!(lost, BridgeError::Unreachable { .. }), "{lost:?}");
    let down = bridge.test(&Call::within(Duration::from_secs(5))).await.unwrap_err();
    assert!(matches!(down, BridgeError::Unreachable { .. }), "{down:?}");

    victim.restart();
    for _ in 0..4 {
        let rows = query(&*bridge, "t", json!({ "limit": 10 })).await.unwrap();
        assert_eq!(rows.len(), 10);
    }
    assert_eq!(bridge.pool_use().in_use, 0);
}
