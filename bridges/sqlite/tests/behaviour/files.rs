//! What is special about files: they are locked, replaced, damaged, and never written to.

use std::fs;
use std::time::{Duration, Instant};

use crate::asking::{AMPLE, collect, connect, eventually, open, query, query_options};
use crate::scratch::Scratch;
use bridge_core::{BridgeError, Call};
use protocol::CountOptions;
use rusqlite::Connection;
use serde_json::json;

const THREE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); \
    INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three');";

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_unreachable_and_is_not_created() {
    let scratch = Scratch::new();
    let path = scratch.path("missing.db");
    let refused = connect(json!({ "path": path })).await.err().unwrap();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
    assert!(!refused.to_string().contains("missing.db"), "{refused}");
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_unreachable() {
    let scratch = Scratch::new();
    fs::write(scratch.path("text.db"), "not a database at all. ".repeat(1_000)).unwrap();
    for path in [scratch.path("text.db"), scratch.path("")] {
        let refused = connect(json!({ "path": path })).await.err().unwrap();
        assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_fails_its_queries_and_recovers_with_the_file() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch(THREE).unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
        INSERT INTO t SELECT i, 'a row of some length, so that there are many pages' FROM n";
    writer.execute_batch(many).unwrap();
    drop(writer);
    let path = scratch.path("a.db");
    let whole = fs::read(&path).unwrap();
    let bridge = open(&path).await;
    let mut damaged = whole.clone();
    damaged[8_192..].fill(0x5a);
    fs::write(&path, damaged).unwrap();
    let call = Call::within(AMPLE);
    let refused = match bridge.query(&call, "t", query_options(json!({}))).await {
        Ok(rows) => collect(rows).await.unwrap_err(),
        Err(error) => error,
    };
    let BridgeError::Query { message, native, .. } = refused else { panic!("{refused:?}") };
    assert!(message.contains("malformed"), "{message}");
    assert_eq!(native.as_deref().map(|code| code.parse::<u32>().unwrap() % 256), Some(11));
    fs::write(&path, whole).unwrap();
    let counted = bridge.count(&call, "t", CountOptions::default()).await.unwrap();
    assert_eq!(counted.total, 3 + 19_991);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_is_opened_anew() {
    let scratch = Scratch::new();
    scratch.writer("a.db").execute_batch(THREE).unwrap();
    scratch.writer("b.db").execute_batch("CREATE TABLE t(other TEXT); INSERT INTO t VALUES ('new')").unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 3);
    fs::rename(scratch.path("b.db"), scratch.path("a.db")).unwrap();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap(), [json!({ "other": "new" })]);
    fs::remove_file(scratch.path("a.db")).unwrap();
    let refused = query(&*bridge, "t", json!({})).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_never_mix() {
    let scratch = Scratch::new();
    for name in ["a", "b"] {
        let text = format!("CREATE TABLE t(v TEXT); INSERT INTO t VALUES ('{name}')");
        scratch.writer(&format!("{name}.db")).execute_batch(&text).unwrap();
    }
    let (a, b) = (open(&scratch.path("a.db")).await, open(&scratch.path("b.db")).await);
    for _ in 0..10 {
        assert_eq!(query(&*a, "t", json!({})).await.unwrap(), [json!({ "v": "a" })]);
        assert_eq!(query(&*b, "t", json!({})).await.unwrap(), [json!({ "v": "b" })]);
    }
    a.close().await;
    assert_eq!(query(&*b, "t", json!({})).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_in_the_way_is_waited_for_but_not_beyond_the_limits() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch(THREE).unwrap();
    let patient = open(&scratch.path("a.db")).await;
    let hasty = connect(json!({ "path": scratch.path("a.db"), "busyTimeoutMs": 50 })).await.unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();

    let refused = query(&*hasty, "t", json!({})).await.unwrap_err();
    let BridgeError::Query { message, native, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((message.as_str(), native.as_deref()), ("database is locked", Some("5")));

    let begun = Instant::now();
    let call = Call::within(Duration::from_millis(100));
    let late = patient.query(&call, "t", query_options(json!({}))).await.err().unwrap();
    assert!(matches!(late, BridgeError::Timeout), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    let call = Call::within(AMPLE);
    let waiting = patient.query(&call, "t", query_options(json!({})));
    let release = async { writer.execute_batch("UPDATE t SET name = 'new'; COMMIT").unwrap() };
    let (rows, ()) = tokio::join!(waiting, release);
    let (rows, _) = collect(rows.unwrap()).await.unwrap();
    assert!(rows.iter().all(|row| row["name"] == "new"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_a_writer_can_be_cancelled() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch(THREE).unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let call = Call::within(AMPLE);
    let waiting = bridge.query(&call, "t", query_options(json!({})));
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
    eventually("a free connection", || bridge.pool_use().in_use == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_writer_that_is_still_there_is_read_and_left_alone() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;").unwrap();
    writer.execute_batch(THREE).unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 3);
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (4, 'four')").unwrap();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 3);
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 4);
    let log = fs::metadata(scratch.path("a.db-wal")).unwrap().len();
    bridge.close().await;
    assert_eq!(fs::metadata(scratch.path("a.db-wal")).unwrap().len(), log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_the_same_before_and_after() {
    let scratch = Scratch::new();
    scratch.writer("a.db").execute_batch(THREE).unwrap();
    let before = fs::read(scratch.path("a.db")).unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    query(&*bridge, "t", json!({ "where": { "name": { "$contains": "O" } }, "orderBy": { "name": "desc" } }))
        .await
        .unwrap();
    bridge.close().await;
    assert_eq!(fs::read(scratch.path("a.db")).unwrap(), before);
    let names: Vec<_> =
        fs::read_dir(scratch.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_file_and_a_shared_database_in_memory_are_read() {
    let scratch = Scratch::new();
    scratch.writer("a ?%.db").execute_batch(THREE).unwrap();
    let path = scratch.path("a ?%.db");
    assert_eq!(query(&*open(&path).await, "t", json!({})).await.unwrap().len(), 3);
    let url = format!("file:{}?immutable=1", path.to_str().unwrap().replace('%', "%25").replace('?', "%3F"));
    let immutable = connect(json!({ "url": url })).await.unwrap();
    assert_eq!(query(&*immutable, "t", json!({})).await.unwrap().len(), 3);

    let url = format!("file:shared-{}?mode=memory&cache=shared", std::process::id());
    let owner = Connection::open(&url).unwrap();
    owner.execute_batch(THREE).unwrap();
    let shared = connect(json!({ "url": url })).await.unwrap();
    assert_eq!(query(&*shared, "t", json!({})).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_schema_is_noticed() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch(THREE).unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let first = json!({ "where": { "id": 1 } });
    assert_eq!(query(&*bridge, "t", first.clone()).await.unwrap(), [json!({ "id": 1, "name": "one" })]);
    writer.execute_batch("ALTER TABLE t ADD COLUMN more INTEGER DEFAULT 7; CREATE TABLE u(x)").unwrap();
    let row = json!({ "id": 1, "name": "one", "more": 7 });
    assert_eq!(query(&*bridge, "t", first).await.unwrap(), [row]);
    assert_eq!(bridge.list_targets(&Call::within(AMPLE)).await.unwrap(), ["t", "u"]);
    writer.execute_batch("DROP TABLE t").unwrap();
    let refused = query(&*bridge, "t", json!({})).await.unwrap_err();
    assert_eq!(refused.to_string(), "no such table: t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_writer_left_in_the_middle_is_refused_until_a_writer_has_put_it_in_order() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch(THREE).unwrap();
    let half = "PRAGMA synchronous = FULL; PRAGMA cache_size = 1; BEGIN; \
        WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, 'half' FROM n";
    writer.execute_batch(half).unwrap();
    for suffix in ["", "-journal"] {
        fs::copy(scratch.path(&format!("a.db{suffix}")), scratch.path(&format!("b.db{suffix}"))).unwrap();
    }
    let refused = connect(json!({ "path": scratch.path("b.db") })).await.err().unwrap();
    assert!(refused.to_string().starts_with("a writer left the database in the middle"), "{refused}");
    scratch.writer("b.db").query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    assert_eq!(query(&*open(&scratch.path("b.db")).await, "t", json!({})).await.unwrap().len(), 3);
}
