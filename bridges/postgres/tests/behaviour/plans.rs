//! What a call costs: round trips, and rows that the server looks at.

use bridge_core::Bridge;
use serde_json::{Value, json};

use crate::asking::{ample, connect, options, query};
use crate::database::{Database, value};
use crate::proxy::Proxy;
use crate::server::eventually;

const TABLES: &str = "
CREATE TABLE by_int (id integer PRIMARY KEY, name text);
CREATE TABLE by_big (id bigint PRIMARY KEY, name text);
CREATE TABLE by_uuid (id uuid PRIMARY KEY, name text);
CREATE TABLE by_text (id varchar(40) PRIMARY KEY, name text);
CREATE TABLE by_time (id timestamptz PRIMARY KEY, name text);
CREATE TABLE by_numeric (id numeric PRIMARY KEY, name text);
CREATE TABLE by_two (a integer, b bigint, name text, PRIMARY KEY (a, b));
INSERT INTO by_int SELECT n, 'name' FROM generate_series(1, 20000) n;
INSERT INTO by_big SELECT n, 'name' FROM generate_series(1, 20000) n;
INSERT INTO by_uuid SELECT md5(n::text)::uuid, 'name' FROM generate_series(1, 20000) n;
INSERT INTO by_text SELECT md5(n::text), 'name' FROM generate_series(1, 20000) n;
INSERT INTO by_time SELECT '2026-01-01Z'::timestamptz + n * interval '1 s', 'name' FROM generate_series(1, 20000) n;
INSERT INTO by_numeric SELECT n, 'name' FROM generate_series(1, 20000) n;
INSERT INTO by_two SELECT n % 100, n, 'name' FROM generate_series(1, 20000) n;
ANALYZE;
";

async fn page(bridge: &dyn Bridge, target: &str, cursor: Option<String>) -> Option<String> {
    let read = protocol::ReadOptions { limit: 10, cursor, ..protocol::ReadOptions::default() };
    let (_, tail) = crate::asking::collect(bridge.read(&ample(), target, read).await.unwrap()).await.unwrap();
    tail.next_cursor
}

async fn keyset_page(
    bridge: &dyn Bridge,
    target: &str,
    mut asked: Value,
    cursor: Option<String>,
) -> Option<String> {
    if let Some(cursor) = cursor {
        asked["cursor"] = json!(cursor);
    }
    let rows = bridge.query(&ample(), target, options(asked)).await.unwrap();
    crate::asking::collect(rows).await.unwrap().1.next_cursor
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_and_pages_go_by_the_index_of_the_key() {
    let database = Database::create().await;
    database.run(TABLES).await;
    let admin = database.client("admin").await;
    // Sessions tell their numbers when they end.
    eventually("the server has counted what was written", async || {
        value(&admin, "SELECT sum(n_tup_ins) FROM pg_stat_user_tables").await == "140000"
    })
    .await;
    let sequential = "SELECT sum(seq_scan) FROM pg_stat_user_tables";
    let before = value(&admin, sequential).await;
    let bridge = connect(database.config()).await.unwrap();
    let tables = [
        ("by_int", json!(77), json!([1, 2, "3"])),
        ("by_big", json!("77"), json!(["1", 2])),
        (
            "by_uuid",
            json!("c4ca4238-a0b9-2382-0dcc-509a6f75849b"),
            json!(["c4ca4238-a0b9-2382-0dcc-509a6f75849b"]),
        ),
        ("by_text", json!("c4ca4238a0b923820dcc509a6f75849b"), json!(["c4ca4238a0b923820dcc509a6f75849b"])),
        ("by_time", json!("2026-01-01T00:01:00Z"), json!(["2026-01-01T00:01:00Z", "2026-01-01"])),
        ("by_numeric", json!(77), json!([1, "2"])),
    ];
    // More than five times, so that the server also chooses its plan for any values.
    for _ in 0..8 {
        for (table, key, keys) in &tables {
            let found = query(&*bridge, table, json!({ "where": { "id": key } })).await.unwrap();
            assert_eq!(found.len(), 1, "{table}");
            let found = query(&*bridge, table, json!({ "where": { "id": { "$in": keys } } })).await.unwrap();
            assert!(!found.is_empty(), "{table}");
            let cursor = page(&*bridge, table, None).await;
            assert!(page(&*bridge, table, cursor).await.is_some());
            let down = json!({ "orderBy": [{ "field": "id", "dir": "desc" }], "keyset": true, "limit": 10 });
            let cursor = keyset_page(&*bridge, table, down.clone(), None).await;
            assert!(keyset_page(&*bridge, table, down, cursor).await.is_some());
        }
        let cursor = page(&*bridge, "by_two", None).await;
        assert!(page(&*bridge, "by_two", cursor).await.is_some());
        let found = query(&*bridge, "by_two", json!({ "where": { "a": 5, "b": 5 } })).await.unwrap();
        assert_eq!(found.len(), 1);
    }
    bridge.close().await;
    let scans = "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_tables";
    eventually("the server counts the scans", async || {
        value(&admin, scans).await.parse::<i64>().unwrap() >= 8 * (6 * 6 + 3)
    })
    .await;
    assert_eq!(value(&admin, sequential).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_made_before_is_one_round_trip() {
    let database = Database::with(
        "CREATE TABLE t (id integer PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    )
    .await;
    let proxy = Proxy::start(database.server.port).await;
    let mut config = database.config();
    config["port"] = json!(proxy.port);
    config["pool"] = json!({ "max": 1 });
    let bridge = connect(config).await.unwrap();
    let ask = async |id: u32| {
        assert_eq!(query(&*bridge, "t", json!({ "where": { "id": id } })).await.unwrap().len(), 1);
    };
    proxy.round_trips();
    // The catalog, the statement's columns, the rows.
    ask(1).await;
    assert_eq!(proxy.round_trips(), 3);
    for id in [2, 1, 2] {
        ask(id).await;
        assert_eq!(proxy.round_trips(), 1);
    }
    let count = async || {
        let options = protocol::CountOptions { filter: protocol::Filter::everything() };
        assert_eq!(bridge.count(&ample(), "t", options).await.unwrap().total, 2);
    };
    count().await;
    assert_eq!(proxy.round_trips(), 1);
    count().await;
    assert_eq!(proxy.round_trips(), 1);
}
