//! Tables as they are described, as they change, and as they are searched.

use bridge_core::Bridge;
use mysql_async::prelude::Queryable;
use protocol::{AggregateOptions, ReadOptions, SearchMethod, SearchOptions};
use serde_json::{Value, json};

use crate::asking::{ample, collect, open, query};
use crate::database::{Database, on_each_engine};
use crate::server::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_once_and_only_the_tables_own_key_counts() {
    // Every primary key is called PRIMARY, and the foreign key's column is one in another table.
    let sql = "CREATE TABLE parent (id INT PRIMARY KEY, category VARCHAR(20));
CREATE TABLE child (seq INT NOT NULL, tenant BIGINT UNSIGNED NOT NULL, parent_id INT, PRIMARY KEY (tenant, seq), FOREIGN KEY (parent_id) REFERENCES parent (id));
CREATE VIEW seen AS SELECT * FROM parent
";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        let schema = bridge.introspect_target(&ample(), "child").await.unwrap();
        let described: Vec<_> = schema
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.kind.as_str(), column.nullable, column.primary_key))
            .collect();
        let (int, bigint) = match database.server.engine {
            Engine::Mysql => ("int", "bigint"),
            Engine::Mariadb | Engine::Mariadb11 => ("int(11)", "bigint(20) unsigned"),
        };
        assert_eq!(
            described,
            [("seq", int, false, true), ("tenant", bigint, false, true), ("parent_id", int, true, false)]
        );
        assert_eq!(bridge.list_targets(&ample()).await.unwrap(), ["child", "parent"]);
        let qualified = format!("{}.seen", database.name);
        let schema = bridge.introspect_target(&ample(), &qualified).await.unwrap();
        assert_eq!(
            (schema.name.as_str(), schema.columns.len(), schema.row_count),
            (qualified.as_str(), 2, 0)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_is_read_as_it_is_now() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, a INT);\nINSERT INTO t VALUES (1, 2)";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        assert_eq!(query(&*bridge, "t", json!({})).await.unwrap(), [json!({ "id": 1, "a": 2 })]);
        database.run("ALTER TABLE t CHANGE a b VARCHAR(10)").await;
        assert_eq!(query(&*bridge, "t", json!({})).await.unwrap(), [json!({ "id": 1, "b": "2" })]);
        database.run("DROP TABLE t;\nCREATE TABLE t (x INT PRIMARY KEY);\nINSERT INTO t VALUES (5)").await;
        assert_eq!(query(&*bridge, "t", json!({ "where": { "x": 5 } })).await.unwrap(), [json!({ "x": 5 })]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_whose_names_differ_by_case_alone_have_keys_of_their_own() {
    let sql = "CREATE TABLE T (id INT PRIMARY KEY, seq INT);
CREATE TABLE t (seq INT PRIMARY KEY, id INT);
CREATE TABLE `caf\u{e9}` (seq INT PRIMARY KEY, id INT);
CREATE TABLE cafe (seq INT, id INT)
";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        for (target, expected) in
            [("T", &["id"][..]), ("t", &["seq"]), ("caf\u{e9}", &["seq"]), ("cafe", &[])]
        {
            let schema = bridge.introspect_target(&ample(), target).await.unwrap();
            let key = schema.columns.iter().filter(|column| column.primary_key);
            assert_eq!(key.map(|column| column.name.as_str()).collect::<Vec<_>>(), expected, "{target}");
        }
    })
    .await;
}

/// All values of the key `k`, read page by page.
async fn keys(bridge: &dyn Bridge, target: &str) -> Vec<Value> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = ReadOptions { limit: 1, cursor, ..ReadOptions::default() };
        let (batches, tail) = collect(bridge.read(&ample(), target, page).await.unwrap()).await.unwrap();
        let rows: Vec<Value> = serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap();
        keys.extend(rows.into_iter().map(|row| row["k"].clone()));
        assert!(keys.len() < 10, "{keys:?}");
        match tail.next_cursor {
            Some(next) => cursor = Some(next),
            None => return keys,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_page_without_losing_rows() {
    let tables = [
        // Dates and times that are no operands.
        (
            "DATE",
            "('0000-00-00'), ('2020-00-00'), ('2021-01-01')",
            json!(["0000-00-00", "2020-00-00", "2021-01-01T00:00:00.000Z"]),
        ),
        (
            "DATETIME(6)",
            "('0000-00-00'), ('2021-01-01 01:02:03.000001'), ('2021-01-01 01:02:03.000002')",
            json!([
                "0000-00-00 00:00:00.000000",
                "2021-01-01T01:02:03.000001Z",
                "2021-01-01T01:02:03.000002Z"
            ]),
        ),
        (
            "TIMESTAMP",
            "('0000-00-00'), ('2021-01-01 01:02:03')",
            json!(["0000-00-00 00:00:00", "2021-01-01T01:02:03.000Z"]),
        ),
        (
            "TIME(1)",
            "('-800:00:00.5'), ('12:00:00'), ('100:00:00')",
            json!(["-800:00:00.5", "12:00:00.0", "100:00:00.0"]),
        ),
        // Labels in the order of their text, and apart where the session's collation takes them for equal.
        ("ENUM('b', 'a', '', 'A')", "('b'), ('a'), (''), ('A')", json!(["", "A", "a", "b"])),
        ("SET('b', 'a')", "(''), ('b'), ('a'), ('a,b')", json!(["", "a", "b", "b,a"])),
        ("FLOAT", "(0.1), (1.2345678), (-3)", json!([-3, 0.1, 1.2345678])),
        ("BIT(64)", "(0), (18446744073709551615), (5)", json!([0, 5, "18446744073709551615"])),
        ("VARBINARY(4)", "(X''), (X'00'), (X'0000')", json!(["", "AA==", "AAA="])),
        ("VARCHAR(9) CHARACTER SET latin1", "('é'), ('a'), ('B')", json!(["a", "B", "é"])),
    ];
    on_each_engine("", async |database| {
        let bridge = open(database).await;
        for (index, (kind, values, expected)) in tables.iter().enumerate() {
            let table = format!("t{index}");
            let create = format!("CREATE TABLE {table} (k {kind} NOT NULL PRIMARY KEY)");
            database.run(&format!("{create};\nINSERT INTO {table} VALUES {values}")).await;
            assert_eq!(json!(keys(&*bridge, &table).await), *expected, "{kind}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_equal_by_their_collation_and_found_by_an_index() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, size ENUM('small', 'large', '3') COLLATE utf8mb4_general_ci, KEY (size));
INSERT INTO t VALUES (1, 'large'), (2, 'small'), (3, '3'), (4, NULL), (5, 'none of them')";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        for (asked, expected) in [
            (json!("large"), &[1][..]),
            (json!("LARGE"), &[1]),
            // Not the third label's place, but its text.
            (json!(3), &[3]),
            (json!(1), &[]),
            (json!("huge"), &[]),
            // What a label that is none has become.
            (json!(""), &[5]),
            (json!({ "$ne": "large" }), &[2, 3, 5]),
            (json!({ "$in": ["small", "3", "huge"] }), &[2, 3]),
            (json!({ "$in": ["SMALL", "1"] }), &[2]),
            (json!({ "$nin": ["small", "huge"] }), &[1, 3, 5]),
            (json!({ "$gt": "LARGE" }), &[2]),
        ] {
            let rows = query(&*bridge, "t", json!({ "where": { "size": asked } })).await.unwrap();
            let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
            ids.sort_unstable();
            assert_eq!(ids, expected, "{asked}");
        }
        let asked = "EXPLAIN FORMAT=JSON SELECT id FROM t WHERE `size` = ? AND CONCAT(`size`) = ?";
        let plan: Option<String> =
            database.client().await.exec_first(asked, ("large", "large")).await.unwrap();
        let plan = plan.unwrap();
        assert!(plan.contains(r#""key": "size""#) || plan.contains(r#""index_name": "size""#), "{plan}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_the_collations_of_mariadb_11_is_equal_found_and_paged_by_them() {
    let sql = "CREATE TABLE t (k VARCHAR(20) PRIMARY KEY, id INT, size ENUM('s', 'L')) COLLATE utf8mb4_uca1400_ai_ci;
INSERT INTO t VALUES ('\u{e9}toile', 1, 's'), ('Zebra', 2, 'L'), ('apple', 3, 'L'), ('\u{df}', 4, NULL);
CREATE TABLE cased (k VARCHAR(20) PRIMARY KEY) COLLATE utf8mb4_uca1400_nopad_as_cs;
INSERT INTO cased VALUES ('e'), ('E'), ('\u{e9}'), ('e ')";
    let database = Database::with(Engine::Mariadb11, sql).await;
    let bridge = open(&database).await;
    for (asked, expected) in [
        (json!({ "k": "ETOILE" }), &[1][..]),
        (json!({ "k": { "$in": ["ZEBRA", "ss"] } }), &[2, 4]),
        (json!({ "k": { "$gt": "b" } }), &[1, 2, 4]),
        (json!({ "k": { "$contains": "ZEB" } }), &[2]),
        (json!({ "k": { "$like": "zeb%" } }), &[]),
        (json!({ "size": "l" }), &[2, 3]),
        (json!({ "size": { "$ne": "S" } }), &[2, 3]),
    ] {
        let rows =
            query(&*bridge, "t", json!({ "where": asked, "orderBy": { "field": "id", "dir": "asc" } }))
                .await
                .unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, expected, "{asked}");
    }
    assert_eq!(keys(&*bridge, "t").await, ["apple", "\u{e9}toile", "\u{df}", "Zebra"]);
    assert_eq!(keys(&*bridge, "cased").await, ["e", "E", "\u{e9}", "e "]);
    let found = query(&*bridge, "cased", json!({ "where": { "k": "e" } })).await.unwrap();
    assert_eq!(found, [json!({ "k": "e" })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_a_character_set_cannot_say_matches_nothing() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET latin1, b VARCHAR(20) CHARACTER SET utf8mb3, c VARCHAR(20) CHARACTER SET ascii, d ENUM('x') CHARACTER SET latin1, FULLTEXT (a));
INSERT INTO t VALUES (1, '\u{20ac} x', '\u{65e5}', 'x', 'x')";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        for (column, held) in [("a", "\u{20ac} x"), ("b", "\u{65e5}"), ("c", "x"), ("d", "x")] {
            for (test, expected) in [
                (json!(held), 1),
                (json!("\u{1f980}"), 0),
                (json!({ "$ne": "\u{1f980}" }), 1),
                (json!({ "$in": ["\u{1f980}", held] }), 1),
                (json!({ "$contains": "\u{1f980}" }), 0),
            ] {
                let found = query(&*bridge, "t", json!({ "where": { column: test } })).await.unwrap();
                assert_eq!(found.len(), expected, "{column} {test}");
            }
        }
        for query in ["\u{1f980}", "x \u{1f980}"] {
            let raw = serde_json::value::to_raw_value(&json!({ "query": query })).unwrap();
            let found = bridge.search(&ample(), "t", SearchOptions::parse(&raw).unwrap()).await.unwrap();
            collect(found).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_and_bytes_are_counted_apart_and_read_as_in_rows() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, b BIT(12), v VARBINARY(9));
INSERT INTO t VALUES (1, 5, X'FF00'), (2, 300, X'FF01'), (3, 300, X'FF01')";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        let asked = json!({ "measures": {
            "b": { "agg": "top_k", "column": "b", "k": 2 }, "v": { "agg": "top_k", "column": "v", "k": 2 },
            "most": { "agg": "max", "column": "b" }, "least": { "agg": "min", "column": "b" },
        } });
        let raw = serde_json::value::to_raw_value(&asked).unwrap();
        let rows = bridge.aggregate(&ample(), "t", AggregateOptions::parse(&raw).unwrap()).await.unwrap();
        let bucket: Value = serde_json::from_str(&collect(rows).await.unwrap().0.concat()).unwrap();
        assert_eq!(
            bucket["measures"],
            json!({
                "b": [{ "key": "300", "count": 2 }, { "key": "5", "count": 1 }],
                "v": [{ "key": "/wE=", "count": 2 }, { "key": "/wA=", "count": 1 }],
                "most": 300, "least": 5,
            })
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_for_full_text_is_used_where_there_is_one() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, title VARCHAR(100), body TEXT, FULLTEXT both_of_them (title, body));
INSERT INTO t VALUES (1, 'crabs', 'walk sideways along the beach'), (2, 'Gulls', 'eat crabs and crabs again'), (3, 'Shells', 'are empty')";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        for (asked, method) in [
            (json!({ "query": "crabs" }), SearchMethod::FullText),
            (json!({ "query": "crabs", "fields": ["body", "title"] }), SearchMethod::FullText),
            (json!({ "query": "crabs", "fields": ["title"] }), SearchMethod::Containment),
        ] {
            let raw = serde_json::value::to_raw_value(&asked).unwrap();
            let rows = bridge.search(&ample(), "t", SearchOptions::parse(&raw).unwrap()).await.unwrap();
            let (batches, tail) = collect(rows).await.unwrap();
            assert_eq!(tail.method, Some(method));
            let rows: Vec<Value> = serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap();
            let expected = if method == SearchMethod::FullText { 2 } else { 1 };
            assert_eq!(rows.len(), expected, "{asked}");
            assert!(rows.iter().all(|row| row["_score"].as_f64().unwrap() > 0.0));
        }
    })
    .await;
}
