//! Rows on their way: they come as soon as they are there, they stop with their reader, and they end on demand.

use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call};
use protocol::CHUNK_BYTES;
use serde_json::json;

use crate::asking::{AMPLE, ample, collect, connect, open, options, query};
use crate::database::Database;
use crate::server::eventually;

const SLOW: &str = "CREATE VIEW slow AS SELECT pg_sleep(600)::text AS slept;
    CREATE VIEW endless AS SELECT generate_series(1, 1000000000000) AS n, repeat('x', 100) AS filler;
    CREATE TABLE t AS SELECT n AS id, 'row number ' || n AS name FROM generate_series(1, 5000) n;";

/// Statements of the bridge that run at the server now.
async fn running(database: &Database) -> u32 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name = 'semilayer-runner' AND state = 'active'";
    database.value(sql).await.parse().unwrap()
}

async fn open_with(database: &Database, connections: u32) -> Box<dyn Bridge> {
    let mut config = database.config();
    config["pool"] = json!({ "max": connections });
    connect(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_query_ends_its_statement_and_frees_the_same_connection() {
    let database = Database::with(SLOW).await;
    let bridge = open_with(&database, 1).await;
    let session = "SELECT min(pid) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name = 'semilayer-runner'";
    let before = database.value(session).await;
    for _ in 0..3 {
        let call = ample();
        let waiting = bridge.query(&call, "slow", options(json!({})));
        let first = async { waiting.await?.next(CHUNK_BYTES).await.map(|batch| batch.is_some()) };
        tokio::select! {
            answer = first => panic!("it slept for ten minutes: {answer:?}"),
            () = eventually("the statement runs", async || running(&database).await == 1) => {}
        }
        eventually("the statement is gone", async || running(&database).await == 0).await;
        assert_eq!(query(&*bridge, "t", json!({ "limit": 1 })).await.unwrap().len(), 1);
    }
    assert_eq!(database.value(session).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_left_behind_is_cancelled() {
    let database = Database::with(SLOW).await;
    let bridge = open_with(&database, 2).await;
    for _ in 0..10 {
        let mut rows = bridge.query(&ample(), "endless", options(json!({}))).await.unwrap();
        assert!(rows.next(CHUNK_BYTES).await.unwrap().is_some());
    }
    eventually("nothing runs", async || running(&database).await == 0).await;
    eventually("all connections are back", async || bridge.pool_use().in_use == 0).await;
    assert!(bridge.pool_use().idle >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_to_the_tenth_of_a_second() {
    let database = Database::with(SLOW).await;
    let bridge = open_with(&database, 1).await;
    let begun = Instant::now();
    let call = Call::within(Duration::from_millis(300));
    let late = match bridge.query(&call, "slow", options(json!({}))).await {
        Ok(rows) => collect(rows).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    eventually("the statement is gone", async || running(&database).await == 0).await;
    bridge.test(&ample()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_knows_the_deadline_too() {
    let database =
        Database::with("CREATE VIEW timeout AS SELECT current_setting('statement_timeout') AS v").await;
    let bridge = open_with(&database, 1).await;
    for (limit, expected) in [(29_900, "30s"), (10_000, "10s"), (10_000, "10s"), (750, "800ms")] {
        let call = Call::within(Duration::from_millis(limit));
        let rows = bridge.query(&call, "timeout", options(json!({}))).await.unwrap();
        assert_eq!(collect(rows).await.unwrap().0, [format!("{{\"v\":\"{expected}\"}}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_an_administrator_cancels_is_no_timeout() {
    let database = Database::with(SLOW).await;
    let bridge = open(database.config()).await;
    let cancelling = async {
        eventually("the statement runs", async || running(&database).await == 1).await;
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
            WHERE datname = current_database() AND state = 'active' AND application_name = 'semilayer-runner'";
        database.value(cancel).await
    };
    let (answer, cancelled) = tokio::join!(query(&*bridge, "slow", json!({})), cancelling);
    assert_eq!(cancelled, "1");
    assert!(matches!(answer, Err(BridgeError::Query { native: Some(code), .. }) if code == "57014"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_uses_no_more_connections_than_it_may_and_waits_no_longer_than_its_deadline() {
    let database = Database::with(SLOW).await;
    let bridge = open_with(&database, 2).await;
    let call = ample();
    let first = bridge.query(&call, "endless", options(json!({}))).await.unwrap();
    let second = bridge.query(&call, "endless", options(json!({}))).await.unwrap();
    assert_eq!(bridge.pool_use().in_use, 2);
    let begun = Instant::now();
    let late = bridge.test(&Call::within(Duration::from_millis(100))).await.unwrap_err();
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let waiting = bridge.test(&call);
    let (waited, ()) = tokio::join!(waiting, async { drop(first) });
    waited.unwrap();
    drop(second);
    eventually("all connections are back", async || bridge.pool_use().in_use == 0).await;
    assert_eq!(bridge.pool_use().max, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_do_not_wait_for_those_that_take_longer() {
    let database = Database::with(
        "CREATE VIEW mixed AS SELECT n, CASE WHEN n > 20000 THEN pg_sleep(600)::text ELSE repeat('x', 100) END AS v
            FROM generate_series(1, 20001) n",
    )
    .await;
    let bridge = open(database.config()).await;
    let mut rows = bridge.query(&ample(), "mixed", options(json!({}))).await.unwrap();
    let mut count = 0;
    // The server's own buffer keeps back the last few kilobytes.
    while count < 19_000 {
        let batch = tokio::time::timeout(Duration::from_secs(10), rows.next(10 * 1024 * 1024)).await;
        count += batch.unwrap().unwrap().unwrap().count;
    }
    drop(rows);
    eventually("nothing runs", async || running(&database).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_as_much_as_there_is_room_for_and_no_less_than_a_row() {
    let database = Database::with(SLOW).await;
    let bridge = open(database.config()).await;
    for room in [0, 1, 100, 5_000, 1_000_000] {
        let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
        let mut count = 0;
        while let Some(batch) = rows.next(room).await.unwrap() {
            assert!(batch.count == 1 || batch.rows.len() <= room + 100, "{} bytes", batch.rows.len());
            count += batch.count;
        }
        assert_eq!(count, 5_000);
        assert!(rows.next(room).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_fails_its_query_and_no_other() {
    let database = Database::with(
        "CREATE TABLE large (id integer PRIMARY KEY, v text); INSERT INTO large VALUES (1, repeat('x', 5000)), (2, 'y')",
    )
    .await;
    let bridge = open_with(&database, 1).await;
    let call = Call { row_limit: 1_000, ..ample() };
    let refused = match bridge.query(&call, "large", options(json!({}))).await {
        Ok(rows) => collect(rows).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(refused, BridgeError::RowTooLarge { limit: 1_000 }), "{refused:?}");
    assert_eq!(query(&*bridge, "large", json!({ "where": { "id": 2 } })).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_limit_allows_is_not_even_received() {
    let database = Database::with("CREATE VIEW vast AS SELECT repeat('x', 100000000) AS v").await;
    let bridge = open(database.config()).await;
    let refused = query(&*bridge, "vast", json!({})).await.unwrap_err();
    assert!(matches!(refused, BridgeError::RowTooLarge { .. }), "{refused:?}");
    bridge.test(&ample()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_of_the_rows_is_an_error() {
    let database =
        Database::with("CREATE VIEW breaks AS SELECT n, 1 / (4000 - n) AS v FROM generate_series(1, 5000) n")
            .await;
    let bridge = open_with(&database, 1).await;
    let mut rows = bridge.query(&ample(), "breaks", options(json!({}))).await.unwrap();
    assert!(rows.next(1_000).await.unwrap().is_some());
    let error = collect(rows).await.unwrap_err();
    assert!(matches!(&error, BridgeError::Query { native: Some(code), .. } if code == "22012"), "{error:?}");
    bridge.test(&ample()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_what_runs_at_the_server_and_refuses_what_comes() {
    let database = Database::with(SLOW).await;
    let bridge = open(database.config()).await;
    let call = Call::within(AMPLE);
    let running_query = query(&*bridge, "slow", json!({}));
    let closing = async {
        eventually("the statement runs", async || running(&database).await == 1).await;
        bridge.close().await;
    };
    let begun = Instant::now();
    let (ended, ()) = tokio::join!(running_query, closing);
    assert!(matches!(ended, Err(BridgeError::Unreachable { .. })));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(running(&database).await, 0);
    let refused = bridge.test(&call).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name = 'semilayer-runner'";
    eventually("no session is left", async || database.value(sessions).await == "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_all_get_their_own_answer() {
    let database = Database::with(SLOW).await;
    let bridge = open_with(&database, 3).await;
    let ask = |id: u32| {
        let bridge = &bridge;
        async move { query(&**bridge, "t", json!({ "where": { "id": id } })).await.unwrap() }
    };
    let answers = futures::future::join_all((1..=200).map(ask)).await;
    for (index, rows) in answers.iter().enumerate() {
        assert_eq!(rows, &[json!({ "id": index + 1, "name": format!("row number {}", index + 1) })]);
    }
}
