//! Pages over keys that repeat: every row once, whatever the size of the page.

use bridge_core::Bridge;
use protocol::ReadOptions;
use serde_json::json;

use crate::asking::{ample, collect, open, options};
use crate::database::Database;

/// Twelve rows of three keys; some are equal in everything.
const REPEATED: &str = "CREATE TABLE repeated (k Int32, v Nullable(String), m Map(String, Int32), f Float64)
        ENGINE = MergeTree ORDER BY k;
    INSERT INTO repeated SELECT intDiv(number, 4), if(number % 2 = 0, NULL, 'same'), map('a', 1),
        [0.5, -0.5, nan, inf][number % 4 + 1] FROM numbers(12);
    INSERT INTO repeated SELECT 1, 'same', map('a', 1), 0.5 FROM numbers(3);";

/// All rows of a scan, as they are written, page by page.
async fn scan(bridge: &dyn Bridge, target: &str, limit: u64) -> Vec<String> {
    let mut rows = Vec::new();
    let mut cursor = None;
    for _ in 0..100 {
        let asked = ReadOptions { limit, cursor: cursor.take(), ..ReadOptions::default() };
        let (batches, tail) = collect(bridge.read(&ample(), target, asked).await.unwrap()).await.unwrap();
        let page: Vec<Box<serde_json::value::RawValue>> =
            serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap();
        assert!(page.len() as u64 <= limit);
        rows.extend(page.iter().map(|row| row.get().to_owned()));
        match tail.next_cursor {
            Some(next) => cursor = Some(next),
            None => return rows,
        }
    }
    panic!("the scan does not end: {rows:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_key_are_neither_lost_nor_doubled() {
    let database = Database::with(REPEATED);
    let bridge = open(database.config()).await;
    let whole = scan(&*bridge, "repeated", 1_000).await;
    assert_eq!(whole.len(), 15);
    for limit in [1, 2, 3, 4, 5, 14, 15] {
        assert_eq!(scan(&*bridge, "repeated", limit).await, whole, "pages of {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_query_go_by_any_column_even_one_without_numbers() {
    let database = Database::with(REPEATED);
    let bridge = open(database.config()).await;
    for order in [json!({ "f": "asc" }), json!({ "f": "desc" }), json!({ "v": "asc", "f": "desc" })] {
        let asked = |limit: u64, cursor: Option<String>| {
            options(json!({ "orderBy": order, "keyset": true, "limit": limit, "cursor": cursor }))
        };
        let (whole, _) =
            collect(bridge.query(&ample(), "repeated", asked(100, None)).await.unwrap()).await.unwrap();
        for limit in [1, 2, 4] {
            let mut pages = Vec::new();
            let mut cursor = None;
            loop {
                let page = bridge.query(&ample(), "repeated", asked(limit, cursor)).await.unwrap();
                let (rows, tail) = collect(page).await.unwrap();
                pages.extend(rows);
                cursor = tail.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(pages.join(","), whole.join(","), "by {order} in pages of {limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_between_two_keys_is_the_plain_key() {
    let database = Database::with(REPEATED);
    let bridge = open(database.config()).await;
    let page = |limit| ReadOptions { limit, ..ReadOptions::default() };
    let cursor = async |limit| {
        collect(bridge.read(&ample(), "repeated", page(limit)).await.unwrap()).await.unwrap().1.next_cursor
    };
    assert_eq!(cursor(4).await.as_deref(), Some("0"));
    assert!(cursor(3).await.unwrap().starts_with("k1."));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_nanoseconds_and_of_expressions_page() {
    let database = Database::with(
        "CREATE TABLE nanos (ts DateTime64(9, 'Europe/Berlin'), n Int32) ENGINE = MergeTree ORDER BY ts;
        INSERT INTO nanos SELECT fromUnixTimestamp64Nano(1700000000000000000 + number % 5), number FROM numbers(10);
        CREATE TABLE days (ts DateTime, n Int32) ENGINE = MergeTree ORDER BY (toDate(ts), n);
        INSERT INTO days SELECT toDateTime(1700000000, 'UTC') + number % 3, number FROM numbers(9);",
    );
    let bridge = open(database.config()).await;
    for (target, rows) in [("nanos", 10), ("days", 9)] {
        let whole = scan(&*bridge, target, 100).await;
        assert_eq!(whole.len(), rows);
        for limit in [1, 2, 4] {
            assert_eq!(scan(&*bridge, target, limit).await, whole, "{target} in pages of {limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_any_width_page() {
    const GREAT: &str = "57896044618658097711785492504343953926634992332820282019728792003956564819";
    let kinds = ["UInt256", "Int256", "Int128", "Decimal(76, 0)", "Decimal(76, 38)", "Decimal(38, 38)"];
    let database = Database::create();
    let bridge = open(database.config()).await;
    for (number, kind) in kinds.into_iter().enumerate() {
        let keys = match kind {
            "UInt256" | "Int256" => format!("'{GREAT}966', '{GREAT}967', '0', '{GREAT}965'"),
            "Int128" => "'-170141183460469231731687303715884105728', '170141183460469231731687303715884105727', '0', '1'".to_owned(),
            "Decimal(76, 0)" => "'1', '-1', '9999999999999999999999999999999999999999999999999999999999999999999999999999', '9999999999999999999999999999999999999999999999999999999999999999999999999998'".to_owned(),
            _ => "'0.00000000000000000000000000000000000001', '-0.1', '0', '0.00000000000000000000000000000000000002'".to_owned(),
        };
        let table = format!("wide_{number}");
        database.run(&format!(
            "CREATE TABLE {table} (k {kind}, v Int32) ENGINE = MergeTree ORDER BY k;
            INSERT INTO {table} SELECT arrayJoin([{keys}]), 1;"
        ));
        let whole = scan(&*bridge, &table, 100).await;
        assert_eq!(whole.len(), 4);
        for limit in [1, 2, 3] {
            assert_eq!(scan(&*bridge, &table, limit).await, whole, "{kind} in pages of {limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_does_not_hide_its_table_whatever_it_is_called() {
    let database = Database::with(
        "CREATE TABLE hidden (id Int32, t Tuple(id Int32, v String), v String) ENGINE = MergeTree ORDER BY id;
        INSERT INTO hidden VALUES (1, (9, 'inner'), 'a'), (2, (8, 'inner'), 'b')",
    );
    let bridge = open(database.config()).await;
    let rows =
        [r#"{"id":1,"t":{"id":9,"v":"inner"},"v":"a"}"#, r#"{"id":2,"t":{"id":8,"v":"inner"},"v":"b"}"#];
    for limit in [1, 2, 3] {
        assert_eq!(scan(&*bridge, "hidden", limit).await, rows);
    }
    let asked = json!({ "project": { "t": "id", "v": "t" }, "where": { "v": "b" } });
    let rows = crate::asking::query(&*bridge, "hidden", asked).await.unwrap();
    assert_eq!(rows, [json!({ "t": 2, "v": { "id": 8, "v": "inner" } })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_reads_the_rows_behind_its_cursor_and_not_the_table() {
    let database = Database::with(
        "CREATE TABLE large (id Int64, v String) ENGINE = MergeTree ORDER BY id;
        INSERT INTO large SELECT number, repeat('x', 20) FROM numbers(1000000);",
    );
    let bridge = open(database.config()).await;
    let begun = std::time::Instant::now();
    let asked = ReadOptions { limit: 10, cursor: Some("900000".to_owned()), ..ReadOptions::default() };
    let (rows, tail) = collect(bridge.read(&ample(), "large", asked).await.unwrap()).await.unwrap();
    assert!(rows[0].starts_with("{\"id\":900001,"), "{}", rows[0]);
    assert_eq!(tail.next_cursor.as_deref(), Some("900010"));
    assert!(begun.elapsed().as_secs() < 5);
    let plan = database.value(
        "EXPLAIN indexes = 1 SELECT id, v FROM large t WHERE t.id > 900000 ORDER BY t.id, t.v LIMIT 11",
    );
    let granules = plan.lines().rfind(|line| line.contains("Granules: ")).unwrap().to_owned();
    let read: u32 = granules.split("Granules: ").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    assert!(read < 20, "{plan}");
}
