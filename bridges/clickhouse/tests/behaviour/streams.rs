//! Rows on their way: they come as soon as they are there, they stop with their reader, and they end on demand.

use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call};
use protocol::CHUNK_BYTES;
use serde_json::json;

use crate::asking::{ample, collect, connect, open, options, query};
use crate::database::Database;
use crate::server::eventually;

const TABLES: &str = "CREATE VIEW slow AS SELECT count() AS counted FROM numbers(100000000000000);
    CREATE VIEW endless AS SELECT number AS n, repeat('x', 100) AS filler FROM numbers(1000000000000);
    CREATE TABLE t (id Int32, name String) ENGINE = MergeTree ORDER BY id;
    INSERT INTO t SELECT number + 1, concat('row number ', toString(number + 1)) FROM numbers(5000);";

async fn open_with(database: &Database, connections: u32) -> Box<dyn Bridge> {
    let mut config = database.config();
    config["pool"] = json!({ "max": connections });
    connect(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_query_ends_its_statement_and_frees_its_place() {
    let database = Database::with(TABLES);
    let bridge = open_with(&database, 1).await;
    for _ in 0..2 {
        let call = ample();
        let waiting = bridge.query(&call, "slow", options(json!({})));
        let first = async { waiting.await?.next(CHUNK_BYTES).await.map(|batch| batch.is_some()) };
        tokio::select! {
            answer = first => panic!("it counted for ever: {answer:?}"),
            () = eventually("the statement runs", async || database.running("`slow`") == 1) => {}
        }
        eventually("the statement is gone", async || database.running("`slow`") == 0).await;
        assert_eq!(query(&*bridge, "t", json!({ "limit": 1 })).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_left_behind_is_cancelled() {
    let database = Database::with(TABLES);
    let bridge = open_with(&database, 2).await;
    for _ in 0..6 {
        let mut rows = bridge.query(&ample(), "endless", options(json!({}))).await.unwrap();
        assert!(rows.next(CHUNK_BYTES).await.unwrap().is_some());
    }
    eventually("nothing runs", async || database.running("`endless`") == 0).await;
    eventually("all connections are back", async || bridge.pool_use().in_use == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_here_and_at_the_server() {
    let database = Database::with(TABLES);
    let bridge = open_with(&database, 1).await;
    let begun = Instant::now();
    let call = Call::within(Duration::from_millis(800));
    let late = match bridge.query(&call, "slow", options(json!({}))).await {
        Ok(rows) => collect(rows).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(3_000), "{:?}", begun.elapsed());
    eventually("the statement is gone", async || database.running("`slow`") == 0).await;
    bridge.test(&ample()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_told_the_deadline_and_that_it_may_only_read() {
    let database = Database::with(
        "CREATE VIEW told AS SELECT getSetting('max_execution_time') AS seconds, getSetting('readonly') AS readonly,
            getSetting('session_timezone') AS zone",
    );
    let bridge = open(database.config()).await;
    let call = Call::within(Duration::from_millis(20_000));
    let rows = collect(bridge.query(&call, "told", options(json!({}))).await.unwrap()).await.unwrap().0;
    let told: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
    assert_eq!((told["readonly"].as_u64(), told["zone"].as_str()), (Some(2), Some("UTC")), "{told}");
    let seconds = told["seconds"].as_f64().unwrap();
    assert!((15.0..=20.1).contains(&seconds), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_uses_no_more_connections_than_it_may_and_waits_no_longer_than_its_deadline() {
    let database = Database::with(TABLES);
    let bridge = open_with(&database, 2).await;
    let call = ample();
    let first = bridge.query(&call, "endless", options(json!({}))).await.unwrap();
    let second = bridge.query(&call, "endless", options(json!({}))).await.unwrap();
    assert_eq!(bridge.pool_use().in_use, 2);
    let late = bridge.test(&Call::within(Duration::from_millis(100))).await.unwrap_err();
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
    let waiting = bridge.test(&call);
    let (waited, ()) = tokio::join!(waiting, async { drop(first) });
    waited.unwrap();
    drop(second);
    eventually("all connections are back", async || bridge.pool_use().in_use == 0).await;
    assert_eq!(bridge.pool_use().max, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_as_much_as_there_is_room_for_and_no_less_than_a_row() {
    let database = Database::with(TABLES);
    let bridge = open(database.config()).await;
    for room in [0, 1, 5_000, 1_000_000] {
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
        "CREATE TABLE large (id Int32, v String) ENGINE = MergeTree ORDER BY id;
        INSERT INTO large VALUES (1, repeat('x', 5000)), (2, 'y');
        CREATE VIEW vast AS SELECT arrayStringConcat(arrayMap(x -> repeat('x', 100000), range(100))) AS v",
    );
    let bridge = open_with(&database, 1).await;
    let call = Call { row_limit: 1_000, ..ample() };
    for target in ["large", "vast"] {
        let refused = match bridge.query(&call, target, options(json!({}))).await {
            Ok(rows) => collect(rows).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(refused, BridgeError::RowTooLarge { limit: 1_000 }), "{refused:?}");
    }
    assert_eq!(query(&*bridge, "large", json!({ "where": { "id": 2 } })).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_of_the_rows_comes_after_them_and_is_never_a_row() {
    let database = Database::with(
        "CREATE VIEW breaks AS SELECT number AS n, throwIf(number = 400000, 'broken on purpose') AS v FROM numbers(1000000)",
    );
    let bridge = open_with(&database, 1).await;
    let mut rows = bridge.query(&ample(), "breaks", options(json!({}))).await.unwrap();
    let mut count = 0;
    let error = loop {
        match rows.next(CHUNK_BYTES).await {
            Ok(Some(batch)) => {
                let read: Vec<serde_json::Value> =
                    serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
                for row in read {
                    assert_eq!((row["n"].as_u64(), row["v"].as_u64()), (Some(count), Some(0)), "{row}");
                    count += 1;
                }
            }
            Ok(None) => panic!("the rows ended"),
            Err(error) => break error,
        }
    };
    assert!(count > 1_000 && count <= 400_000, "{count}");
    assert!(matches!(&error, BridgeError::Query { native: Some(code), .. } if code == "395"), "{error:?}");
    assert!(error.to_string().contains("broken on purpose"), "{error}");
    bridge.test(&ample()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_what_runs_at_the_server_and_refuses_what_comes() {
    let database = Database::with(TABLES);
    let bridge = open(database.config()).await;
    let running_query = query(&*bridge, "slow", json!({}));
    let closing = async {
        eventually("the statement runs", async || database.running("`slow`") == 1).await;
        bridge.close().await;
    };
    let (ended, ()) = tokio::join!(running_query, closing);
    assert!(matches!(ended, Err(BridgeError::Unreachable { .. })), "{ended:?}");
    eventually("the statement is gone", async || database.running("`slow`") == 0).await;
    let refused = bridge.test(&ample()).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_all_get_their_own_answer() {
    let database = Database::with(TABLES);
    let bridge = open_with(&database, 3).await;
    let ask = |id: u32| {
        let bridge = &bridge;
        async move { query(&**bridge, "t", json!({ "where": { "id": id } })).await.unwrap() }
    };
    let answers = futures::future::join_all((1..=50).map(ask)).await;
    for (index, rows) in answers.iter().enumerate() {
        assert_eq!(rows, &[json!({ "id": index + 1, "name": format!("row number {}", index + 1) })]);
    }
}
