//! Search by full-text indexes of SQLite's own, and without any.

use bridge_core::{Bridge, BridgeError, Call};
use protocol::{SearchMethod, SimilarOptions};
use serde_json::{Value, json};

use crate::asking::{AMPLE, open, search};
use crate::scratch::Scratch;

/// Articles whose titles and bodies are indexed by another table, and notes that are full text themselves.
const TABLES: &str = "
CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT, body TEXT, author TEXT);
INSERT INTO articles VALUES
    (1, 'Running shoes', 'for every street', 'Ann'), (2, 'Hats', 'no shoe here', 'Shoe maker'),
    (3, 'Shoes', 'shoes and shoes', 'Bob'), (4, 'Nothing', 'at all', 'Cid');
CREATE VIRTUAL TABLE \"articles words\" USING fts5(title, body, author UNINDEXED, content='articles',
    content_rowid='id', tokenize='porter unicode61');
INSERT INTO \"articles words\"(\"articles words\") VALUES ('rebuild');
CREATE VIRTUAL TABLE notes USING fts5(title, body);
INSERT INTO notes(rowid, title, body) VALUES (7, 'Tea', 'green tea'), (5, 'Tee', 'to a T'), (6, 'Green', 'grass');
CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO plain VALUES (1, 'Ünïcode shoe'), (2, 'a hat');
";

async fn shop(scratch: &Scratch) -> Box<dyn Bridge> {
    scratch.writer("shop.db").execute_batch(TABLES).unwrap();
    open(&scratch.path("shop.db")).await
}

/// The values of a column of what a search finds, best first, and how it found them.
async fn found(bridge: &dyn Bridge, target: &str, column: &str, asked: Value) -> (Vec<Value>, SearchMethod) {
    let (rows, tail) = search(bridge, target, asked).await.unwrap();
    let scores: Vec<f64> = rows.iter().map(|row| row["_score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|left, right| left >= right), "{scores:?}");
    (rows.iter().map(|row| row[column].clone()).collect(), tail.method.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_searched_by_the_index_of_its_texts() {
    let scratch = Scratch::new();
    let bridge = shop(&scratch).await;
    // Stems, as the index was made; any of the words, the more of them the better.
    let asked = json!({ "query": "SHOE street" });
    let (keys, method) = found(&*bridge, "articles", "id", asked).await;
    assert_eq!((keys.len(), &keys[0], method), (3, &json!(1), SearchMethod::FullText));
    let titles = json!({ "query": "shoe", "fields": ["title"], "select": ["id"], "limit": 10 });
    let (rows, _) = search(&*bridge, "articles", titles).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["_score", "id"]);
    let filtered = json!({ "query": "shoes", "where": { "id": { "$gt": 1 } }, "limit": 1 });
    assert_eq!(found(&*bridge, "articles", "id", filtered).await.0, [3]);
    // What the index does not hold.
    let authors = json!({ "query": "shoe", "fields": ["author", "title"] });
    let (keys, method) = found(&*bridge, "articles", "id", authors).await;
    assert_eq!((keys, method), (vec![json!(1), json!(2), json!(3)], SearchMethod::Containment));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_text_table_is_searched_as_it_is() {
    let scratch = Scratch::new();
    let bridge = shop(&scratch).await;
    let (titles, method) = found(&*bridge, "notes", "title", json!({ "query": "green tea" })).await;
    assert_eq!((titles, method), (vec![json!("Tea"), json!("Green")], SearchMethod::FullText));
    let bodies = json!({ "query": "green", "fields": ["body"] });
    assert_eq!(found(&*bridge, "notes", "title", bodies).await.0, ["Tea"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_an_index_is_searched_by_containment() {
    let scratch = Scratch::new();
    let bridge = shop(&scratch).await;
    let asked = json!({ "query": "ÜNÏ SHOE" });
    assert_eq!(found(&*bridge, "plain", "id", asked).await, (vec![json!(1)], SearchMethod::Containment));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_is_more_than_words() {
    let scratch = Scratch::new();
    let bridge = shop(&scratch).await;
    for hostile in
        ["\"", "'", "title : shoe OR", "shoe*", "NEAR(", "^", "-", "(", "{a} : b", "%", "🦀 \"\"\"", "\\"]
    {
        for target in ["articles", "notes"] {
            let (rows, tail) = search(&*bridge, target, json!({ "query": hostile })).await.unwrap();
            assert_eq!(tail.method, Some(SearchMethod::FullText));
            assert!(rows.len() < 4, "{hostile}");
        }
    }
    // A prefix would have found more.
    assert_eq!(found(&*bridge, "notes", "title", json!({ "query": "gre*" })).await.0, [json!(null); 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_comes_or_goes_is_noticed() {
    let scratch = Scratch::new();
    let bridge = shop(&scratch).await;
    let method = async || found(&*bridge, "plain", "id", json!({ "query": "hat" })).await;
    assert_eq!(method().await, (vec![json!(2)], SearchMethod::Containment));
    let writer = scratch.writer("shop.db");
    writer
        .execute_batch(
            "CREATE VIRTUAL TABLE f USING fts5(name, content=plain, content_rowid=id);
            INSERT INTO f(f) VALUES ('rebuild')",
        )
        .unwrap();
    assert_eq!(method().await, (vec![json!(2)], SearchMethod::FullText));
    writer.execute_batch("DROP TABLE f").unwrap();
    assert_eq!(method().await, (vec![json!(2)], SearchMethod::Containment));
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_not_compared() {
    let scratch = Scratch::new();
    let bridge = shop(&scratch).await;
    let asked = json!({ "vector": [1], "field": "name" });
    let asked = SimilarOptions::parse(&serde_json::value::to_raw_value(&asked).unwrap()).unwrap();
    let call = Call::within(AMPLE);
    let refused = bridge.similar(&call, "plain", asked).await.err().unwrap();
    assert!(matches!(refused, BridgeError::UnsupportedKind { .. }), "{refused:?}");
}
