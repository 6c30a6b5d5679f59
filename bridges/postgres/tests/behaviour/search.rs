//! Search by what a table has: full-text vectors, trigrams, or nothing.

use bridge_core::{Bridge, BridgeError};
use protocol::SearchMethod;
use serde_json::{Value, json};

use crate::asking::{open, query, search};
use crate::database::{Database, value};
use crate::server::eventually;

/// The keys that a search finds, best first, and how.
async fn found(bridge: &dyn Bridge, target: &str, asked: Value) -> (Vec<i64>, SearchMethod) {
    let (rows, tail) = search(bridge, target, asked).await.unwrap();
    let scores: Vec<f64> = rows.iter().map(|row| row["_score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|left, right| left >= right), "{scores:?}");
    (rows.iter().map(|row| row["id"].as_i64().unwrap()).collect(), tail.method.unwrap())
}

/// Ten thousand rows of noise, so that an index is worth it.
const NOISE: &str = "SELECT n, 'noise ' || md5(n::text), 'more ' || md5((n * 7)::text)
    FROM generate_series(1000, 11000) n";

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_words_is_searched_in_its_own_language() {
    let database = Database::with(
        "CREATE TABLE articles (id integer PRIMARY KEY, title text NOT NULL, body text NOT NULL,
            words tsvector GENERATED ALWAYS AS (setweight(to_tsvector('english', title), 'A')
                || to_tsvector('english', body)) STORED);
        INSERT INTO articles VALUES (1, 'Running shoes', 'for every street'), (2, 'Hats', 'no shoe runs here'),
            (3, 'Shoes', 'to stand in'), (4, 'Runs', 'shoe');
        CREATE INDEX ON articles USING gin (words)",
    )
    .await;
    let bridge = open(database.config()).await;
    // Stems, every word of them, titles before bodies.
    let (keys, method) = found(&*bridge, "articles", json!({ "query": "run shoe" })).await;
    assert_eq!(method, SearchMethod::FullText);
    assert_eq!((keys.len(), keys[0]), (3, 1));
    let either = json!({ "query": "hats or street", "fields": ["body", "title"] });
    assert_eq!(found(&*bridge, "articles", either).await, (vec![2, 1], SearchMethod::FullText));
    let phrase = json!({ "query": "\"running shoes\" -hat", "fields": ["words"], "select": ["id"] });
    let (rows, _) = search(&*bridge, "articles", phrase).await.unwrap();
    assert_eq!(rows[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["_score", "id"]);
    // The column holds more than titles.
    let titles = json!({ "query": "runs", "fields": ["title"] });
    assert_eq!(found(&*bridge, "articles", titles).await, (vec![4], SearchMethod::Containment));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_over_an_expression_is_used_as_it_was_made() {
    let database = Database::with(&format!(
        "CREATE TABLE \"Notes\" (id integer PRIMARY KEY, \"the Title\" text, body text);
        INSERT INTO \"Notes\" {NOISE};
        INSERT INTO \"Notes\" VALUES (1, 'Die Häuser', 'x'), (2, 'Ein Haus', 'y');
        CREATE INDEX ON \"Notes\" USING gin (to_tsvector('german', coalesce(\"the Title\", '')));
        ANALYZE \"Notes\""
    ))
    .await;
    let admin = database.client("admin").await;
    eventually("the server has counted what was written", async || {
        value(&admin, "SELECT n_tup_ins FROM pg_stat_user_tables").await == "10003"
    })
    .await;
    let scans = "SELECT seq_scan || ' ' || idx_scan FROM pg_stat_user_tables";
    let before = value(&admin, scans).await;
    let bridge = open(database.config()).await;
    for asked in [json!({ "query": "haus" }), json!({ "query": "häuser", "fields": ["the Title"] })] {
        assert_eq!(found(&*bridge, "Notes", asked).await, (vec![1, 2], SearchMethod::FullText));
    }
    bridge.close().await;
    let (sequential, _) = before.split_once(' ').unwrap();
    let expected = format!("{sequential} 2");
    eventually("two scans of the index and none of the table", async || {
        value(&admin, scans).await == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_that_somebody_else_fills_is_searched_where_no_column_is_asked_for() {
    let database = Database::with(
        "CREATE TABLE t (id integer PRIMARY KEY, body text, words tsvector);
        INSERT INTO t VALUES (1, 'nothing', 'red shoe'), (2, 'red', 'blue')",
    )
    .await;
    let bridge = open(database.config()).await;
    assert_eq!(found(&*bridge, "t", json!({ "query": "red" })).await, (vec![1], SearchMethod::FullText));
    let body = json!({ "query": "red", "fields": ["body"] });
    assert_eq!(found(&*bridge, "t", body).await, (vec![2], SearchMethod::Containment));
}

#[tokio::test(flavor = "multi_thread")]
async fn trigrams_forgive_a_slip_wherever_the_extension_is() {
    let database = Database::create().await;
    database
        .run_as_admin(
            "CREATE SCHEMA tools; GRANT USAGE ON SCHEMA tools TO app; CREATE EXTENSION pg_trgm SCHEMA tools",
        )
        .await;
    database
        .run(&format!(
            "CREATE TABLE people (id integer PRIMARY KEY, name varchar(80), city text);
            INSERT INTO people {NOISE};
            INSERT INTO people VALUES (1, 'Katherine Johnson', 'Hampton'), (2, 'Catherine the Great', 'Stettin'),
                (3, 'Ada Lovelace', 'Johnson City');
            CREATE INDEX ON people USING gin (name tools.gin_trgm_ops, lower(city) tools.gin_trgm_ops);
            CREATE INDEX ON people USING gist (lower(city) tools.gist_trgm_ops);
            ANALYZE people"
        ))
        .await;
    let admin = database.client("admin").await;
    eventually("the server has counted what was written", async || {
        value(&admin, "SELECT n_tup_ins FROM pg_stat_user_tables").await == "10004"
    })
    .await;
    let scans = "SELECT seq_scan FROM pg_stat_user_tables";
    let before = value(&admin, scans).await;
    let bridge = open(database.config()).await;
    let asked = json!({ "query": "kathrine Johnson", "fields": ["name"] });
    assert_eq!(found(&*bridge, "people", asked).await, (vec![1], SearchMethod::Trigram));
    let (keys, method) = found(&*bridge, "people", json!({ "query": "johnson" })).await;
    assert_eq!((keys, method), (vec![1, 3], SearchMethod::Trigram));
    let asked = json!({ "query": "katherine", "fields": ["name"], "where": { "id": { "$gt": 1 } } });
    assert_eq!(found(&*bridge, "people", asked).await, (vec![2], SearchMethod::Trigram));
    bridge.close().await;
    let of_names = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'people_name_lower_idx'";
    eventually("the server counts the scans", async || {
        value(&admin, of_names).await.parse::<i64>().unwrap() >= 3
    })
    .await;
    assert_eq!(value(&admin, scans).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_some_rows_is_not_an_index_of_the_table() {
    let database = Database::with(
        "CREATE TABLE t (id integer PRIMARY KEY, body text);
        INSERT INTO t VALUES (1, 'red shoe'), (200, 'red hat');
        CREATE INDEX ON t USING gin (to_tsvector('english', body)) WHERE id > 100",
    )
    .await;
    let bridge = open(database.config()).await;
    assert_eq!(
        found(&*bridge, "t", json!({ "query": "red" })).await,
        (vec![1, 200], SearchMethod::Containment)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_searches_alike_and_ties_come_by_key() {
    let database = Database::with(
        "CREATE TABLE t (id integer PRIMARY KEY, body text);
        INSERT INTO t VALUES (2, 'red shoe'), (3, 'red shoe'), (1, 'red shoe');
        CREATE INDEX ON t USING gist (to_tsvector('simple', body));
        GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON t TO reader",
    )
    .await;
    let bridge = open(database.config_of("reader")).await;
    let (keys, method) = found(&*bridge, "t", json!({ "query": "red", "limit": 2 })).await;
    assert_eq!((keys, method), (vec![1, 2], SearchMethod::FullText));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_searched_for_stays_a_value() {
    let database = Database::create().await;
    database.run_as_admin("CREATE EXTENSION pg_trgm").await;
    database
        .run(
            "CREATE TABLE texts (id integer PRIMARY KEY, body text); INSERT INTO texts VALUES (1, 'quiet');
            CREATE TABLE alike (id integer PRIMARY KEY, body text); INSERT INTO alike VALUES (1, 'quiet');
            CREATE INDEX ON texts USING gin (to_tsvector('english', body));
            CREATE INDEX ON alike USING gin (body gin_trgm_ops)",
        )
        .await;
    let bridge = open(database.config()).await;
    for hostile in
        ["'", "\"", "\"open", "a & | !b <-> (", ":*", "-", "\\", "'; DROP TABLE texts --", "the", "🦀"]
    {
        for target in ["texts", "alike"] {
            let (rows, _) = search(&*bridge, target, json!({ "query": hostile })).await.unwrap();
            assert!(rows.is_empty(), "{target} {hostile}");
        }
    }
    assert_eq!(query(&*bridge, "texts", json!({})).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_dropped_is_missed_without_a_failure() {
    let database = Database::with(
        "CREATE TABLE t (id integer PRIMARY KEY, body text, words tsvector);
        INSERT INTO t VALUES (1, 'red shoe', 'red')",
    )
    .await;
    let bridge = open(database.config()).await;
    assert_eq!(found(&*bridge, "t", json!({ "query": "red" })).await.1, SearchMethod::FullText);
    database.run("ALTER TABLE t DROP COLUMN words").await;
    assert_eq!(found(&*bridge, "t", json!({ "query": "red" })).await, (vec![1], SearchMethod::Containment));
    let refused = search(&*bridge, "t", json!({ "query": "red", "fields": ["words"] })).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Invalid(_)), "{refused:?}");
}
