//! Rows on their way: they come as soon as they are there, they stop with their reader, and they end on demand.

use std::time::{Duration, Instant};

use crate::asking::{AMPLE, collect, connect, eventually, open, query, query_options};
use crate::scratch::Scratch;
use bridge_core::{BridgeError, Call};
use serde_json::json;

/// Counts for hours before it has its one row.
const SLOW: &str = "CREATE VIEW slow AS WITH RECURSIVE n(i) AS \
    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000) SELECT max(i) AS i FROM n;";

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_query_ends_the_statement_and_frees_its_connection() {
    let scratch = Scratch::new();
    scratch.writer("a.db").execute_batch(SLOW).unwrap();
    let bridge = connect(json!({ "path": scratch.path("a.db"), "pool": { "max": 1 } })).await.unwrap();
    let call = Call::within(AMPLE);
    let waiting = bridge.query(&call, "slow", query_options(json!({})));
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting).await.is_err());
    eventually("a free connection", || bridge.pool_use().in_use == 0).await;
    assert!(scratch.writer("a.db").execute_batch("BEGIN EXCLUSIVE; ROLLBACK").is_ok());
    assert_eq!(bridge.pool_use().idle, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_the_statement_and_frees_its_connection() {
    let scratch = Scratch::new();
    scratch.writer("a.db").execute_batch(SLOW).unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let begun = Instant::now();
    let call = Call::within(Duration::from_millis(100));
    let late = bridge.query(&call, "slow", query_options(json!({}))).await.err().unwrap();
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    eventually("a free connection", || bridge.pool_use().in_use == 0).await;
    bridge.test(&Call::within(AMPLE)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_do_not_wait_for_those_that_take_longer() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch(SLOW).unwrap();
    writer.execute_batch("CREATE VIEW mixed AS SELECT 0 AS i UNION ALL SELECT i FROM slow").unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call::within(AMPLE);
    let mut rows = bridge.query(&call, "mixed", query_options(json!({}))).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(5), rows.next(protocol::CHUNK_BYTES)).await;
    assert_eq!(first.unwrap().unwrap().unwrap().rows, "{\"i\":0}");
    drop(rows);
    eventually("a free connection", || bridge.pool_use().in_use == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_as_much_as_there_is_room_for_and_no_less_than_a_row() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)").unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
        INSERT INTO t SELECT i, 'row number ' || i FROM n";
    writer.execute_batch(many).unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    for room in [0, 1, 100, 5_000, 1_000_000] {
        let call = Call::within(AMPLE);
        let mut rows = bridge.query(&call, "t", query_options(json!({}))).await.unwrap();
        let mut count = 0;
        while let Some(batch) = rows.next(room).await.unwrap() {
            assert!(batch.count == 1 || batch.rows.len() <= room.max(protocol::CHUNK_BYTES));
            assert!(room > 100 || batch.count <= 3, "{} rows in {room} bytes", batch.count);
            count += batch.count;
        }
        assert_eq!(count, 5_000);
        assert!(rows.next(room).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_uses_no_more_connections_than_it_may() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, filler TEXT)").unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
        INSERT INTO t SELECT i, hex(zeroblob(500)) FROM n";
    writer.execute_batch(many).unwrap();
    let bridge = connect(json!({ "path": scratch.path("a.db"), "pool": { "max": 1 } })).await.unwrap();
    let call = Call::within(AMPLE);
    let stopped = bridge.query(&call, "t", query_options(json!({}))).await.unwrap();
    assert_eq!(bridge.pool_use().in_use, 1);
    let hasty = Call::within(Duration::from_millis(100));
    let late = bridge.test(&hasty).await.unwrap_err();
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
    drop(stopped);
    bridge.test(&call).await.unwrap();
    assert_eq!((bridge.pool_use().idle, bridge.pool_use().max), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_its_connection_no_longer_than_its_deadline() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE VIEW t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n").unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call::within(Duration::from_millis(300));
    let mut rows = bridge.query(&call, "t", query_options(json!({}))).await.unwrap();
    assert!(rows.next(1_000).await.unwrap().is_some());
    eventually("a free connection", || bridge.pool_use().in_use == 0).await;
    let late = collect(rows).await.unwrap_err();
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_fails_its_query_and_no_other() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB); INSERT INTO t VALUES (1, zeroblob(5000)), (2, x'00')").unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call { row_limit: 1_000, ..Call::within(AMPLE) };
    let refused = match bridge.query(&call, "t", query_options(json!({}))).await {
        Ok(rows) => collect(rows).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(refused, BridgeError::RowTooLarge { limit: 1_000 }), "{refused:?}");
    assert_eq!(
        query(&*bridge, "t", json!({ "where": { "id": 2 } })).await.unwrap(),
        [json!({ "id": 2, "b": "AA==" })]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_what_runs_and_refuses_what_comes() {
    let scratch = Scratch::new();
    scratch.writer("a.db").execute_batch(SLOW).unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call::within(AMPLE);
    let running = bridge.query(&call, "slow", query_options(json!({})));
    let closing = async {
        eventually("a running statement", || bridge.pool_use().in_use == 1).await;
        bridge.close().await;
    };
    let begun = Instant::now();
    let (ended, ()) = tokio::join!(running, closing);
    assert!(matches!(ended, Err(BridgeError::Query { .. })));
    assert!(begun.elapsed() < Duration::from_secs(5));
    let refused = bridge.test(&call).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
}
