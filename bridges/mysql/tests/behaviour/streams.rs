//! Rows on their way: they come as soon as they are there, they stop with their reader, and they end on demand.

use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Call};
use mysql_async::prelude::Queryable;
use protocol::CHUNK_BYTES;
use serde_json::json;

use crate::asking::{ample, collect, open, open_with, options, query};
use crate::database::{Database, on_each_engine};
use crate::server::eventually;

/// A view that sleeps, one of a thousand million rows, and a table of a thousand.
const SLOW: &str = "CREATE VIEW slow AS SELECT SLEEP(600) AS slept;
CREATE TABLE digits (d INT PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL);
INSERT INTO t SELECT a.d * 100 + b.d * 10 + c.d + 1, CONCAT('row number ', a.d * 100 + b.d * 10 + c.d + 1) FROM digits a, digits b, digits c;
CREATE VIEW endless AS SELECT a.id, REPEAT('x', 100) AS filler FROM t a, t b, t c;
";

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_query_ends_its_statement_and_frees_the_same_connection() {
    on_each_engine(SLOW, async |database| {
        let bridge = open_with(database, json!({ "poolMax": 1 })).await;
        let before = session(database).await;
        for _ in 0..3 {
            let call = ample();
            let waiting = bridge.query(&call, "slow", options(json!({})));
            let first = async { waiting.await?.next(CHUNK_BYTES).await.map(|batch| batch.is_some()) };
            tokio::select! {
                answer = first => panic!("it slept for ten minutes: {answer:?}"),
                () = eventually("the statement runs", async || sleeps(database).await) => {}
            }
            eventually("the statement is gone", async || database.running().await == 0).await;
            assert_eq!(query(&*bridge, "t", json!({ "limit": 1 })).await.unwrap().len(), 1);
        }
        assert_eq!(session(database).await, before);
    })
    .await;
}

/// Whether the slow statement runs, and not one that prepares it: a connection that is left in the middle of that is closed.
async fn sleeps(database: &Database) -> bool {
    let sql =
        "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep' AND DB";
    database.value(&format!("{sql} = '{}'", database.name)).await == "1"
}

/// The bridge's one session. Those of clients that have filled the database or asked before may take a while to go.
async fn session(database: &Database) -> String {
    let select = |what: &str| {
        format!(
            "SELECT CAST({what} AS CHAR) FROM information_schema.PROCESSLIST \
             WHERE DB = '{}' AND ID <> CONNECTION_ID()",
            database.name
        )
    };
    eventually("no older one is left", async || database.value(&select("COUNT(*)")).await == "1").await;
    database.value(&select("MIN(ID)")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_left_behind_is_killed() {
    on_each_engine(SLOW, async |database| {
        let bridge = open_with(database, json!({ "poolMax": 2 })).await;
        for _ in 0..10 {
            let mut rows = bridge.query(&ample(), "endless", options(json!({}))).await.unwrap();
            assert!(rows.next(CHUNK_BYTES).await.unwrap().is_some());
        }
        eventually("nothing runs", async || database.running().await == 0).await;
        eventually("all connections are back", async || bridge.pool_use().in_use == 0).await;
        assert!(bridge.pool_use().idle >= 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_stops_the_server_and_loses_nothing() {
    let sql = format!(
        "{SLOW}CREATE VIEW many AS SELECT a.id, b.id AS other, REPEAT('x', 100) AS filler FROM t a, t b;\n"
    );
    on_each_engine(&sql, async |database| {
        let bridge = open(database).await;
        let mut rows = bridge.query(&ample(), "many", options(json!({}))).await.unwrap();
        let mut count = rows.next(CHUNK_BYTES).await.unwrap().unwrap().count;
        // A hundred megabytes do not fit into any buffer on the way, so the statement cannot have ended.
        eventually("the server waits to write", async || database.running().await == 1).await;
        while let Some(batch) = rows.next(CHUNK_BYTES).await.unwrap() {
            count += batch.count;
        }
        assert_eq!(count, 1_000_000);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_to_the_tenth_of_a_second() {
    on_each_engine(SLOW, async |database| {
        let bridge = open_with(database, json!({ "poolMax": 1 })).await;
        let begun = Instant::now();
        let call = Call::within(Duration::from_millis(300));
        let late = match bridge.query(&call, "slow", options(json!({}))).await {
            Ok(rows) => collect(rows).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(late, BridgeError::Timeout), "{late:?}");
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
        eventually("the statement is gone", async || database.running().await == 0).await;
        bridge.test(&ample()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_uses_no_more_connections_than_it_may_and_waits_no_longer_than_its_deadline() {
    on_each_engine(SLOW, async |database| {
        let bridge = open_with(database, json!({ "pool": { "max": 2 } })).await;
        let call = ample();
        let first = bridge.query(&call, "endless", options(json!({}))).await.unwrap();
        let second = bridge.query(&call, "endless", options(json!({}))).await.unwrap();
        assert_eq!(bridge.pool_use().in_use, 2);
        let begun = Instant::now();
        let late = bridge.test(&Call::within(Duration::from_millis(100))).await.unwrap_err();
        assert!(matches!(late, BridgeError::Timeout), "{late:?}");
        assert!(begun.elapsed() < Duration::from_secs(2));
        let (waited, ()) = tokio::join!(bridge.test(&call), async { drop(first) });
        waited.unwrap();
        drop(second);
        eventually("all connections are back", async || bridge.pool_use().in_use == 0).await;
        assert_eq!(bridge.pool_use().max, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_as_much_as_there_is_room_for_and_no_less_than_a_row() {
    on_each_engine(SLOW, async |database| {
        let bridge = open(database).await;
        for room in [0, 1, 100, 5_000, 1_000_000] {
            let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
            let mut count = 0;
            while let Some(batch) = rows.next(room).await.unwrap() {
                assert!(batch.count == 1 || batch.rows.len() <= room + 100, "{} bytes", batch.rows.len());
                count += batch.count;
            }
            assert_eq!(count, 1_000);
            assert!(rows.next(room).await.unwrap().is_none());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_limit_allows_is_not_even_received_and_its_connection_goes_on() {
    let sql = "CREATE TABLE large (id INT PRIMARY KEY, v LONGTEXT, w LONGTEXT);
INSERT INTO large VALUES (1, REPEAT('x', 5000), ''), (2, 'y', 'z');
INSERT INTO large VALUES (3, REPEAT('x', 10000000), REPEAT('y', 10000000));
";
    on_each_engine(sql, async |database| {
        let bridge = open_with(database, json!({ "poolMax": 1 })).await;
        let refused = query(&*bridge, "large", json!({ "where": { "id": 3 } })).await.unwrap_err();
        assert!(matches!(refused, BridgeError::RowTooLarge { .. }), "{refused:?}");
        let call = Call { row_limit: 1_000, ..ample() };
        let refused = match bridge.query(&call, "large", options(json!({}))).await {
            Ok(rows) => collect(rows).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(refused, BridgeError::RowTooLarge { limit: 1_000 }), "{refused:?}");
        assert_eq!(query(&*bridge, "large", json!({ "where": { "id": 2 } })).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_an_administrator_kills_is_no_timeout() {
    on_each_engine(SLOW, async |database| {
        let bridge = open(database).await;
        let id = format!(
            "SELECT CAST(COALESCE(MAX(ID), 0) AS CHAR) FROM information_schema.PROCESSLIST \
             WHERE DB = '{}' AND COMMAND = 'Execute'",
            database.name
        );
        // A statement that ends as soon as it has begun may be taken for one on an old connection, and is begun anew. It may
        // have ended before it is asked for: there is no session 0.
        let killing = async {
            loop {
                eventually("the statement runs", async || database.running().await == 1).await;
                let id = database.value(&id).await;
                database.client().await.query_drop(format!("KILL {id}")).await.ok();
            }
        };
        let killed = tokio::select! {
            answer = query(&*bridge, "slow", json!({})) => answer.unwrap_err(),
            () = killing => unreachable!("it only ends with the statement"),
        };
        assert!(matches!(killed, BridgeError::Unreachable { .. } | BridgeError::Query { .. }), "{killed:?}");
        assert_eq!(query(&*bridge, "t", json!({ "limit": 1 })).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_what_runs_at_the_server_and_refuses_what_comes() {
    on_each_engine(SLOW, async |database| {
        let bridge = open(database).await;
        let running_query = query(&*bridge, "slow", json!({}));
        let closing = async {
            eventually("the statement runs", async || database.running().await == 1).await;
            bridge.close().await;
        };
        let (ended, ()) = tokio::join!(running_query, closing);
        assert!(matches!(ended, Err(BridgeError::Unreachable { .. })));
        eventually("nothing runs", async || database.running().await == 0).await;
        let refused = bridge.test(&ample()).await.unwrap_err();
        assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_at_once_all_get_their_own_answer() {
    on_each_engine(SLOW, async |database| {
        let bridge = open_with(database, json!({ "poolMax": 3 })).await;
        let ask = |id: u32| {
            let bridge = &bridge;
            async move { query(&**bridge, "t", json!({ "where": { "id": id } })).await.unwrap() }
        };
        let answers = futures::future::join_all((1..=50).map(ask)).await;
        for (index, rows) in answers.iter().enumerate() {
            assert_eq!(rows, &[json!({ "id": index + 1, "name": format!("row number {}", index + 1) })]);
        }
        assert!(bridge.pool_use().idle <= 3);
    })
    .await;
}
