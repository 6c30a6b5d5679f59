//! Rows by the distance of vectors, on a server that has pgvector and on one that has not.

use bridge_core::{Bridge, BridgeError};
use serde_json::{Value, json};

use crate::asking::{json_rows, open, similar};
use crate::database::{Database, value};
use crate::server::{eventually, server_with_vectors};

/// A database with the extension, outside of the search path.
async fn with_vectors(sql: &str) -> Database {
    let database = Database::create_on(server_with_vectors()).await;
    database
        .run_as_admin("CREATE SCHEMA tools; GRANT USAGE ON SCHEMA tools TO app, reader; CREATE EXTENSION vector SCHEMA tools")
        .await;
    database.run(&format!("SET search_path TO public, tools; {sql}")).await;
    database
}

const PLACES: &str = "CREATE TABLE places (id integer PRIMARY KEY, name text, at vector(2));
    INSERT INTO places VALUES (1, 'east', '[1,0]'), (2, 'north', '[0,2]'), (3, 'west', '[-3,0]'),
        (4, 'nowhere', NULL), (5, 'here', '[0,0]'), (6, 'east', '[1,0]')";

async fn scores(bridge: &dyn Bridge, asked: Value) -> Vec<(i64, f64)> {
    let rows = similar(bridge, "places", asked).await.unwrap();
    let score = |row: &Value| (row["_score"].as_f64().unwrap() * 1e6).round() / 1e6;
    rows.iter().map(|row| (row["id"].as_i64().unwrap(), score(row))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_metric_has_its_order_and_its_score() {
    let database = with_vectors(PLACES).await;
    let bridge = open(database.config()).await;
    let asked = |metric: &str| json!({ "vector": [2, 0], "field": "at", "metric": metric, "select": ["id"] });
    // The angle with a point that is nowhere has no cosine.
    assert_eq!(scores(&*bridge, asked("cosine")).await, [(1, 1.0), (6, 1.0), (2, 0.0), (3, -1.0)]);
    assert_eq!(
        scores(&*bridge, asked("l2")).await,
        [(1, 0.5), (6, 0.5), (5, 0.333_333), (2, 0.261_204), (3, 0.166_667)]
    );
    assert_eq!(scores(&*bridge, asked("dot")).await, [(1, 2.0), (6, 2.0), (2, 0.0), (5, 0.0), (3, -6.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_can_be_what_others_are_compared_with() {
    let database = with_vectors(PLACES).await;
    let bridge = open(database.config()).await;
    let like =
        |id: Value| json!({ "id": id, "field": "at", "limit": 2, "where": { "name": { "$ne": "north" } } });
    assert_eq!(scores(&*bridge, like(json!(1))).await, [(6, 1.0), (3, -1.0)]);
    assert_eq!(scores(&*bridge, like(json!("3"))).await, [(1, -1.0), (6, -1.0)]);
    // Without a vector, without a direction, without a row.
    for nobody in [json!(4), json!(5), json!(77)] {
        assert_eq!(scores(&*bridge, like(nobody)).await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused_by_name() {
    let database = with_vectors(PLACES).await;
    let bridge = open(database.config()).await;
    let refusal = async |asked: Value| match similar(&*bridge, "places", asked).await {
        Err(BridgeError::Invalid(invalid)) => invalid.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    };
    assert_eq!(
        refusal(json!({ "vector": [1], "field": "at" })).await,
        "vector: expected 2 numbers, as at has"
    );
    assert_eq!(
        refusal(json!({ "vector": [1, 1e300], "field": "at" })).await,
        "vector[1]: expected a number that a vector holds"
    );
    for field in ["name", "nope"] {
        assert_eq!(
            refusal(json!({ "vector": [1, 2], "field": field })).await,
            "field: expected a column of vectors of public.places"
        );
    }
    let table = refusal(json!({ "vector": [1, 2], "field": "at", "where": { "nope": 1 } })).await;
    assert_eq!(table, "where.nope: expected a column of public.places");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_extension_does_not_do_this() {
    let database = Database::with("CREATE TABLE places (id integer PRIMARY KEY, at text)").await;
    let bridge = open(database.config()).await;
    let refused = similar(&*bridge, "places", json!({ "vector": [1], "field": "at" })).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "similar without the extension \"vector\" in the database is not supported by @semilayer/bridge-postgres"
    );
    assert!(matches!(refused, BridgeError::UnsupportedKind { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_any_length_are_compared_with_those_of_the_same() {
    let database = with_vectors(
        "CREATE TABLE places (id integer PRIMARY KEY, at vector, half halfvec(3));
        INSERT INTO places VALUES (1, '[1,0]', '[1,0,0]'), (2, '[1,2,3]', '[0.5,1,0]'), (3, '[0,1]', '[0,0,1]');
        GRANT SELECT ON places TO reader",
    )
    .await;
    let bridge = open(database.config_of("reader")).await;
    for metric in ["cosine", "l2", "dot"] {
        let asked = json!({ "vector": [3, 1], "field": "at", "metric": metric, "select": ["id"] });
        let keys: Vec<_> = scores(&*bridge, asked).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(keys, [1, 3], "{metric}");
    }
    assert_eq!(scores(&*bridge, json!({ "id": 1, "field": "at" })).await, [(3, 0.0)]);
    assert_eq!(scores(&*bridge, json!({ "vector": [1, 1, 1, 1], "field": "at" })).await, []);
    let half = json!({ "vector": [1, 2, 0], "field": "half", "limit": 1 });
    assert_eq!(scores(&*bridge, half).await, [(2, 1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_lists_of_numbers_in_a_row() {
    let database = with_vectors(
        "CREATE TABLE places (id integer PRIMARY KEY, at vector(3), half halfvec(2), few sparsevec(5), many vector[]);
        INSERT INTO places VALUES (1, '[1,-2.5,0.1]', '[0.5,-0]', '{1:1,3:2.5}/5', ARRAY['[1,2]'::vector])",
    )
    .await;
    let bridge = open(database.config()).await;
    let rows = json_rows(&*bridge, "places", json!({})).await.unwrap();
    assert_eq!(
        rows,
        [r#"{"id":1,"at":[1,-2.5,0.1],"half":[0.5,-0],"few":"{1:1,3:2.5}/5","many":["[1,2]"]}"#]
    );
    let schema = bridge.introspect_target(&crate::asking::ample(), "places").await.unwrap();
    assert_eq!(schema.columns[1].kind, "tools.vector");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_neighbours_serves_the_order() {
    let database = with_vectors(
        "CREATE TABLE places (id integer PRIMARY KEY, name text, at vector(3));
        INSERT INTO places SELECT n, 'name', ARRAY[sin(n), cos(n), sin(n * 3)]::vector FROM generate_series(1, 20000) n;
        CREATE INDEX near ON places USING hnsw (at vector_l2_ops);
        ANALYZE places",
    )
    .await;
    let admin = database.client("admin").await;
    eventually("the server has counted what was written", async || {
        value(&admin, "SELECT n_tup_ins FROM pg_stat_user_tables").await == "20000"
    })
    .await;
    let sequential = "SELECT seq_scan FROM pg_stat_user_tables";
    let before = value(&admin, sequential).await;
    let bridge = open(database.config()).await;
    for to in [("vector", json!([0.1, 0.2, 0.3])), ("id", json!(500))] {
        let mut asked = json!({ "field": "at", "metric": "l2", "limit": 5, "select": ["id"] });
        asked[to.0] = to.1;
        assert_eq!(scores(&*bridge, asked).await.len(), 5);
    }
    bridge.close().await;
    eventually("the server counts the scans", async || {
        value(&admin, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'near'").await == "2"
    })
    .await;
    assert_eq!(value(&admin, sequential).await, before);
}
