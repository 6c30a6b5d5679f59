//! Tables as they are described, as they change, and as they are searched.

use protocol::{SearchMethod, SearchOptions};
use serde_json::{Value, json};

use crate::asking::{ample, collect, open, query};
use crate::database::on_each_engine;
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
            Engine::Mariadb => ("int(11)", "bigint(20) unsigned"),
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
async fn an_order_by_labels_pages_without_losing_rows() {
    // Labels are ordered as they were declared, and texts by themselves.
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, size ENUM('small', 'large', 'Extra') NOT NULL);
INSERT INTO t VALUES (1, 'large'), (2, 'small'), (3, 'Extra'), (4, 'large'), (5, 'small')";
    on_each_engine(sql, async |database| {
        let bridge = open(database).await;
        let mut seen: Vec<Value> = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let mut asked = json!({ "orderBy": "size", "limit": 2, "keyset": true });
            asked["orderBy"] = json!({ "size": "asc" });
            if !cursor.is_null() {
                asked["cursor"] = cursor;
            }
            let rows = bridge.query(&ample(), "t", crate::asking::options(asked)).await.unwrap();
            let (batches, tail) = collect(rows).await.unwrap();
            let rows: Vec<Value> = serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap();
            seen.extend(rows.iter().map(|row| row["id"].clone()));
            match tail.next_cursor {
                Some(next) => cursor = json!(next),
                None => break,
            }
        }
        seen.sort_by_key(|id| id.as_i64());
        assert_eq!(seen, [1, 2, 3, 4, 5].map(|id| json!(id)));
        assert_eq!(query(&*bridge, "t", json!({ "where": { "size": "large" } })).await.unwrap().len(), 2);
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
