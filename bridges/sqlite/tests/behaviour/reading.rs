//! Values, names and keys as SQLite has them and other databases do not.

use bridge_core::{BridgeError, Call};
use protocol::AggregateOptions;
use rusqlite::params;
use serde_json::{Value, json};

use crate::asking::{AMPLE, collect, connect, open, query, query_options, read_options, scan};
use crate::scratch::Scratch;

#[tokio::test(flavor = "multi_thread")]
async fn values_go_by_how_they_are_stored_and_not_by_how_their_column_is_declared() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, v ANYTHING)").unwrap();
    let expected = [
        ("NULL", json!(null)),
        ("42", json!(42)),
        ("9007199254740993", json!("9007199254740993")),
        ("-9223372036854775808", json!("-9223372036854775808")),
        ("1.5", json!(1.5)),
        ("9e999", json!(null)),
        ("'text \"with\" \u{1}'", json!("text \"with\" \u{1}")),
        ("x'00ff10'", json!("AP8Q")),
        ("CAST(x'61ff62' AS TEXT)", json!("a\u{fffd}b")),
        ("'2026-01-02 03:04:05'", json!("2026-01-02 03:04:05")),
        ("'{\"a\": 1}'", json!("{\"a\": 1}")),
        ("TRUE", json!(1)),
    ];
    for (literal, _) in &expected {
        writer.execute(&format!("INSERT INTO t(v) VALUES ({literal})"), []).unwrap();
    }
    let bridge = open(&scratch.path("a.db")).await;
    let rows = query(&*bridge, "t", json!({ "orderBy": { "id": "asc" } })).await.unwrap();
    let values: Vec<&Value> = rows.iter().map(|row| &row["v"]).collect();
    assert_eq!(values, expected.iter().map(|(_, value)| value).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_is_ignored_in_every_script() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE TABLE t(name TEXT)").unwrap();
    for name in ["Ünï", "ΟΔΟΣ", "Дом", "plain", "100%"] {
        writer.execute("INSERT INTO t VALUES (?)", [name]).unwrap();
    }
    let bridge = open(&scratch.path("a.db")).await;
    for (test, name) in [
        (json!({ "$contains": "ÜNÏ" }), "Ünï"),
        (json!({ "$ilike": "ün_" }), "Ünï"),
        (json!({ "$startsWith": "οδος" }), "ΟΔΟΣ"),
        (json!({ "$endsWith": "ОМ" }), "Дом"),
        (json!({ "$contains": "0%" }), "100%"),
        (json!({ "$like": "Д%" }), "Дом"),
    ] {
        let rows = query(&*bridge, "t", json!({ "where": { "name": test } })).await.unwrap();
        assert_eq!(rows, [json!({ "name": name })], "{test}");
    }
    for test in [json!({ "$like": "д%" }), json!({ "$like": "PLAIN" }), json!({ "$contains": "0_" })] {
        assert!(
            query(&*bridge, "t", json!({ "where": { "name": test } })).await.unwrap().is_empty(),
            "{test}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_hold_anything() {
    let scratch = Scratch::new();
    let table = "t\"; DROP TABLE \"x.y?1 $2 :ü";
    let column = "select \"from\" ?1 @a";
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let writer = scratch.writer("a.db");
    writer
        .execute_batch(&format!(
            "CREATE TABLE {0}({1} TEXT PRIMARY KEY); INSERT INTO {0} VALUES ('?1'), ('b')",
            quoted(table),
            quoted(column)
        ))
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call::within(AMPLE);
    let targets = bridge.list_targets(&call).await.unwrap();
    assert_eq!(targets, [quoted(table)]);
    let options = json!({ "where": { column: "?1" }, "orderBy": [{ "field": column }], "select": [column] });
    assert_eq!(query(&*bridge, &targets[0], options).await.unwrap(), [json!({ column: "?1" })]);
    assert_eq!(scan(&*bridge, &targets[0], 1).await.unwrap().0.len(), 2);
    let schema = bridge.introspect_target(&call, &targets[0]).await.unwrap();
    assert_eq!((schema.columns[0].name.as_str(), schema.row_count), (column, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_a_column_or_a_mistake_but_never_a_text() {
    let scratch = Scratch::new();
    scratch.writer("a.db").execute_batch("CREATE TABLE t(a)").unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call::within(AMPLE);
    for options in [
        json!({ "where": { "nope": "nope" } }),
        json!({ "select": ["nope"] }),
        json!({ "orderBy": { "nope": "asc" } }),
    ] {
        let refused = bridge.query(&call, "t", query_options(options)).await.err().unwrap();
        assert!(
            matches!(&refused, BridgeError::Invalid(invalid) if invalid.field.ends_with("nope")),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_table_or_view_of_the_file_is_no_target() {
    let scratch = Scratch::new();
    scratch.writer("a.db").execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT)").unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    for target in [
        "sqlite_schema",
        "sqlite_master",
        "sqlite_sequence",
        "pragma_table_list",
        "json_each",
        "temp.t",
        "nope",
    ] {
        let refused = query(&*bridge, target, json!({})).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("no such table: {target}"));
    }
    for target in ["", "a.b.c", "t\0", "t; DROP TABLE t\"", "\"t"] {
        let refused = query(&*bridge, target, json!({})).await.unwrap_err();
        assert!(
            matches!(&refused, BridgeError::Invalid(invalid) if invalid.field == "target"),
            "{target:?}: {refused:?}"
        );
    }
    for target in ["t", "T", "main.t", "\"main\".\"t\""] {
        assert!(query(&*bridge, target, json!({})).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_pages_through_every_row() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 23)";
    let tables = [
        ("none", "(a TEXT)", "'same'"),
        ("taken", "(rowid TEXT, _rowid_ TEXT)", "'same', 'same'"),
        ("integer", "(id INTEGER PRIMARY KEY)", "i - 12"),
        ("text", "(id TEXT PRIMARY KEY)", "'k' || i"),
        ("nulls", "(id TEXT PRIMARY KEY)", "CASE WHEN i > 9 THEN 'k' || i END"),
        (
            "untyped",
            "(id PRIMARY KEY)",
            "CASE i % 4 WHEN 0 THEN i WHEN 1 THEN 'k''' || i WHEN 2 THEN i / 4.0 ELSE CAST(i AS BLOB) END",
        ),
        ("bytes", "(id BLOB PRIMARY KEY)", "CAST('b' || i AS BLOB)"),
        ("dates", "(id DATETIME PRIMARY KEY)", "datetime(i * 1e6, 'unixepoch')"),
        ("moments", "(id DATETIME PRIMARY KEY)", "i * 1000000"),
        ("composite", "(a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID", "'k' || (i % 5), i / 5"),
        ("loose", "(a TEXT, b INTEGER, PRIMARY KEY (b, a))", "NULL, i / 5"),
        ("strict", "(id REAL PRIMARY KEY) STRICT", "i / 7.0"),
    ];
    for (name, columns, values) in tables {
        writer
            .execute_batch(&format!(
                "CREATE TABLE {name} {columns}; {numbers} INSERT INTO {name} SELECT {values} FROM n"
            ))
            .unwrap();
    }
    let bridge = open(&scratch.path("a.db")).await;
    for (name, _, _) in tables {
        for limit in [1, 4, 23, 50] {
            let (rows, pages) = scan(&*bridge, name, limit).await.unwrap();
            assert_eq!(
                (rows.len(), pages),
                (23, 23_usize.div_ceil(usize::try_from(limit).unwrap())),
                "{name} by {limit}"
            );
            let whole = query(&*bridge, name, json!({})).await.unwrap();
            let sorted = |rows: &[Value]| {
                let mut texts: Vec<String> = rows.iter().map(Value::to_string).collect();
                texts.sort();
                texts
            };
            assert_eq!(sorted(&rows), sorted(&whole), "{name} by {limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_key_makes_a_plain_cursor() {
    let scratch = Scratch::new();
    scratch
        .writer("a.db")
        .execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER); INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call::within(AMPLE);
    let options = read_options(json!({ "limit": 2, "fields": ["n"], "total": true }));
    let (rows, tail) = collect(bridge.read(&call, "t", options).await.unwrap()).await.unwrap();
    assert_eq!(rows, [json!({ "n": 1 }), json!({ "n": 2 })]);
    assert_eq!((tail.next_cursor.as_deref(), tail.total), (Some("b"), Some(3)));
    let options = json!({ "keyset": true, "limit": 2, "orderBy": { "n": "desc" }, "where": { "n": { "$gt": 0 } }, "total": true });
    let (rows, tail) =
        collect(bridge.query(&call, "t", query_options(options)).await.unwrap()).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(tail.total, Some(3));
    let options =
        json!({ "keyset": true, "limit": 2, "orderBy": { "n": "desc" }, "cursor": tail.next_cursor });
    let (rows, tail) =
        collect(bridge.query(&call, "t", query_options(options)).await.unwrap()).await.unwrap();
    assert_eq!((rows, tail.next_cursor), (vec![json!({ "id": "a", "n": 1 })], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_belies_its_declaration_is_refused_rather_than_losing_rows() {
    let scratch = Scratch::new();
    scratch
        .writer("a.db")
        .execute_batch("CREATE TABLE t(id INT PRIMARY KEY); INSERT INTO t VALUES (1), ('one'), ('two')")
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let refused = scan(&*bridge, "t", 2).await.unwrap_err();
    assert!(refused.to_string().starts_with("cannot page by a column declared INT"), "{refused}");
    assert_eq!(scan(&*bridge, "t", 3).await.unwrap().0.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_a_target_without_being_listed_and_has_no_key() {
    let scratch = Scratch::new();
    scratch
        .writer("a.db")
        .execute_batch("CREATE TABLE t(a INTEGER, b); INSERT INTO t VALUES (1, 2); CREATE VIEW v AS SELECT a + 1 AS c, b FROM t")
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let call = Call::within(AMPLE);
    assert_eq!(bridge.list_targets(&call).await.unwrap(), ["t"]);
    assert_eq!(
        query(&*bridge, "v", json!({ "where": { "c": 2 } })).await.unwrap(),
        [json!({ "c": 2, "b": 2 })]
    );
    let refused = scan(&*bridge, "v", 10).await.unwrap_err();
    assert!(refused.to_string().contains("Could not detect primary key for table \"v\""), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_says_what_was_declared() {
    let scratch = Scratch::new();
    scratch
        .writer("a.db")
        .execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, odd, twice INT AS (id * 2)); \
             INSERT INTO t(name) VALUES ('a'), ('b')",
        )
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let schema = bridge.introspect_target(&Call::within(AMPLE), "t").await.unwrap();
    let expected = json!({ "name": "t", "rowCount": 2, "columns": [
        { "name": "id", "type": "INTEGER", "nullable": true, "primaryKey": true },
        { "name": "name", "type": "VARCHAR(20)", "nullable": false, "primaryKey": false },
        { "name": "odd", "type": "TEXT", "nullable": true, "primaryKey": false },
        { "name": "twice", "type": "INT", "nullable": true, "primaryKey": false },
    ] });
    assert_eq!(serde_json::to_value(schema).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_may_list_more_values_than_sqlite_takes_parameters() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)").unwrap();
    for id in 0..10 {
        writer.execute("INSERT INTO t VALUES (?1, 'n' || ?1)", params![id * 10_000]).unwrap();
    }
    let bridge = connect(json!({ "path": scratch.path("a.db") })).await.unwrap();
    let ids: Vec<u32> = (0..50_000).collect();
    let rows = query(&*bridge, "t", json!({ "where": { "id": { "$in": ids } } })).await.unwrap();
    assert_eq!(rows.len(), 5);
    let names: Vec<String> = (0..50_000).map(|id| format!("n{id}")).collect();
    let rows = query(&*bridge, "t", json!({ "where": { "name": { "$nin": names } } })).await.unwrap();
    assert_eq!(rows.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_follows_orders_over_booleans_nulls_and_mixed_types() {
    let scratch = Scratch::new();
    scratch
        .writer("a.db")
        .execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, flag BOOLEAN, price DECIMAL(10,2), any); \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) \
             INSERT INTO t SELECT i, nullif(i % 3, 2), nullif(i % 4, 3) / 2.0, \
                 CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN i WHEN 2 THEN 'x' WHEN 3 THEN i / 2.0 ELSE x'ff' END FROM n",
        )
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    for field in ["flag", "price", "any"] {
        for dir in ["asc", "desc"] {
            let order = json!([{ "field": field, "dir": dir }, { "field": "id", "dir": "desc" }]);
            let whole = query(&*bridge, "t", json!({ "orderBy": order })).await.unwrap();
            let (mut paged, mut cursor) = (Vec::new(), None);
            for _ in 0..10 {
                let options = json!({ "orderBy": order, "keyset": true, "limit": 4, "cursor": cursor });
                let call = Call::within(AMPLE);
                let rows = bridge.query(&call, "t", query_options(options)).await.unwrap();
                let (rows, tail) = collect(rows).await.unwrap();
                paged.extend(rows);
                cursor = tail.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(paged, whole, "by {field} {dir}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_behind_what_is_infinite() {
    let scratch = Scratch::new();
    scratch
        .writer("a.db")
        .execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, r REAL, d DECIMAL(10,2), any); \
             INSERT INTO t(id, r) VALUES (1, 9e999), (2, -9e999), (3, 1.5), (4, 9e999), (5, NULL), (6, -9e999), (7, 0); \
             UPDATE t SET d = r, any = r",
        )
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    for field in ["r", "d", "any"] {
        for dir in ["asc", "desc"] {
            let order = json!([{ "field": field, "dir": dir }]);
            let mut cursor = None;
            let mut ids = Vec::new();
            for _ in 0..10 {
                let options = json!({ "orderBy": order, "keyset": true, "limit": 1, "cursor": cursor });
                let call = Call::within(AMPLE);
                let rows = bridge.query(&call, "t", query_options(options)).await.unwrap();
                let (rows, tail) = collect(rows).await.unwrap();
                ids.extend(rows.iter().map(|row| row["id"].as_i64().unwrap()));
                cursor = tail.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            let ascending = [5, 2, 6, 7, 3, 1, 4];
            let expected: Vec<i64> = match dir {
                "asc" => ascending.to_vec(),
                _ => ascending.into_iter().rev().collect(),
            };
            assert_eq!(ids, expected, "by {field} {dir}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_frequent_values_of_a_text_column_may_be_bytes() {
    let scratch = Scratch::new();
    scratch
        .writer("a.db")
        .execute_batch(
            "CREATE TABLE t(v TEXT); \
             INSERT INTO t VALUES (x'00ff10'), (x'00ff10'), (x'00ff10'), ('a'), ('a'), (CAST(x'61ff' AS TEXT))",
        )
        .unwrap();
    let bridge = open(&scratch.path("a.db")).await;
    let options = json!({ "measures": { "top": { "agg": "top_k", "column": "v", "k": 3 } } });
    let options = AggregateOptions::parse(&serde_json::value::to_raw_value(&options).unwrap()).unwrap();
    let call = Call::within(AMPLE);
    let (rows, _) = collect(bridge.aggregate(&call, "t", options).await.unwrap()).await.unwrap();
    let expected = json!([
        { "key": "AP8Q", "count": 3 },
        { "key": "a", "count": 2 },
        { "key": "a\u{fffd}", "count": 1 },
    ]);
    assert_eq!(rows[0]["measures"]["top"], expected, "{rows:?}");
}
