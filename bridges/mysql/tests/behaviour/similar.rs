//! Rows by the distance of vectors, on a server that has them and on servers that have not.

use bridge_core::{Bridge, BridgeError};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::asking::{ample, json_rows, open, query, similar, with};
use crate::database::Database;
use crate::server::Engine;

const PLACES: &str = "CREATE TABLE places (id INT PRIMARY KEY, name VARCHAR(20), at VECTOR(2));
INSERT INTO places VALUES (1, 'east', VEC_FromText('[1,0]')), (2, 'north', VEC_FromText('[0,2]')), (3, 'west', VEC_FromText('[-3,0]')), (4, 'nowhere', NULL), (5, 'here', VEC_FromText('[0,0]')), (6, 'east', VEC_FromText('[1,0]'))";

async fn with_vectors(sql: &str) -> Database {
    Database::with(Engine::Mariadb11, sql).await
}

async fn scores(bridge: &dyn Bridge, asked: Value) -> Vec<(i64, f64)> {
    let rows = similar(bridge, "places", asked).await.unwrap();
    let score = |row: &Value| (row["_score"].as_f64().unwrap() * 1e6).round() / 1e6;
    rows.iter().map(|row| (row["id"].as_i64().unwrap(), score(row))).collect()
}

async fn refusal(database: &Database, asked: Value) -> String {
    match similar(&*open(database).await, "places", asked).await {
        Err(BridgeError::Invalid(invalid)) => invalid.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn unsupported(database: &Database, asked: Value) -> String {
    match similar(&*open(database).await, "places", asked).await {
        Err(refused @ BridgeError::UnsupportedKind { .. }) => refused.to_string(),
        other => panic!("expected a refusal of the kind, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_metric_has_its_order_and_its_score() {
    let database = with_vectors(PLACES).await;
    let bridge = open(&database).await;
    let asked = |metric: &str| json!({ "vector": [2, 0], "field": "at", "metric": metric, "select": ["id"] });
    // The angle with a point that is nowhere has no cosine.
    assert_eq!(scores(&*bridge, asked("cosine")).await, [(1, 1.0), (6, 1.0), (2, 0.0), (3, -1.0)]);
    assert_eq!(
        scores(&*bridge, asked("l2")).await,
        [(1, 0.5), (6, 0.5), (5, 0.333_333), (2, 0.261_204), (3, 0.166_667)]
    );
    let nowhere = json!({ "vector": [0, -1e-30], "field": "at" });
    assert_eq!(scores(&*bridge, nowhere).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_can_be_what_others_are_compared_with() {
    let database = with_vectors(PLACES).await;
    let bridge = open(&database).await;
    let like =
        |id: Value| json!({ "id": id, "field": "at", "limit": 2, "where": { "name": { "$ne": "north" } } });
    assert_eq!(scores(&*bridge, like(json!(1))).await, [(6, 1.0), (3, -1.0)]);
    assert_eq!(scores(&*bridge, like(json!("3"))).await, [(1, -1.0), (6, -1.0)]);
    // Without a vector, without a direction, without a row.
    for nobody in [json!(4), json!(5), json!(77)] {
        assert_eq!(scores(&*bridge, like(nobody)).await, []);
    }
    assert_eq!(
        scores(&*bridge, json!({ "id": 5, "field": "at", "metric": "l2", "limit": 1 })).await,
        [(1, 0.5)]
    );
    assert_eq!(scores(&*bridge, json!({ "id": 4, "field": "at", "metric": "l2" })).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused_by_name() {
    let database = with_vectors(PLACES).await;
    assert_eq!(
        refusal(&database, json!({ "vector": [1], "field": "at" })).await,
        "vector: expected 2 numbers, as at has"
    );
    assert_eq!(
        refusal(&database, json!({ "vector": [1, 1e300], "field": "at" })).await,
        "vector[1]: expected a number that a vector holds"
    );
    for field in ["name", "nope"] {
        assert_eq!(
            refusal(&database, json!({ "vector": [1, 2], "field": field })).await,
            "field: expected a column of vectors of places"
        );
    }
    assert_eq!(
        refusal(&database, json!({ "vector": [1, 2], "field": "at", "where": { "nope": 1 } })).await,
        "where.nope: expected a column of places"
    );
    assert_eq!(
        unsupported(&database, json!({ "vector": [1, 2], "field": "at", "metric": "dot" })).await,
        "similar by the metric \"dot\" is not supported by @semilayer/bridge-mariadb"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_vectors_or_without_a_distance_do_not_do_this() {
    let asked = json!({ "vector": [1], "field": "at" });
    let places = "CREATE TABLE places (id INT PRIMARY KEY, at VARBINARY(4))";
    let mariadb = Database::with(Engine::Mariadb, places).await;
    assert_eq!(
        unsupported(&mariadb, asked.clone()).await,
        "similar before MariaDB 11.7 is not supported by @semilayer/bridge-mariadb"
    );
    let mysql = Database::with(Engine::Mysql, "CREATE TABLE places (id INT PRIMARY KEY, at VECTOR(1))").await;
    assert_eq!(unsupported(&mysql, asked).await, "similar is not supported by @semilayer/bridge-mysql");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_far_away_to_be_measured_has_no_score() {
    let database = with_vectors(
        "CREATE TABLE places (id INT PRIMARY KEY, at VECTOR(2) NOT NULL);
INSERT INTO places VALUES (1, X'0000000000008000'), (2, X'00000000FFFF7F7F'), (3, X'FFFF7FFFFFFF7FFF'), (4, X'0000000000000080'), (5, X'000080BF00008000')",
    )
    .await;
    let bridge = open(&database).await;
    let largest = f64::from(f32::MAX);
    for metric in ["cosine", "l2"] {
        for to in [json!([largest, 0]), json!([0, largest]), json!([largest, -largest]), json!([0, 1e-45])] {
            let asked = json!({ "vector": to, "field": "at", "metric": metric, "select": ["id"] });
            let found = scores(&*bridge, asked).await;
            assert!(found.iter().all(|(_, score)| (-1.0..=1.0).contains(score)), "{metric} {to}: {found:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_lists_of_numbers_in_a_row() {
    let database = with_vectors(
        "CREATE TABLE places (id INT PRIMARY KEY, at VECTOR(3) NOT NULL, VECTOR INDEX (at));
INSERT INTO places VALUES (1, VEC_FromText('[1,-2.5,0.1]'));
CREATE VIEW seen AS SELECT id, at FROM places",
    )
    .await;
    let bridge = open(&database).await;
    for target in ["places", "seen"] {
        assert_eq!(json_rows(&*bridge, target, json!({})).await.unwrap(), [r#"{"id":1,"at":[1,-2.5,0.1]}"#]);
        let ranked = json!({ "vector": [1, -2.5, 0.1], "field": "at", "metric": "l2" });
        let rows = similar(&*bridge, target, ranked).await.unwrap();
        assert_eq!(rows, [json!({ "id": 1, "at": [1, -2.5, 0.1], "_score": 1 })], "{target}");
    }
    let renamed = json!({ "project": { "place": "at", "number": "id" } });
    let expected = json!({ "place": [1, -2.5, 0.1], "number": 1 });
    assert_eq!(query(&*bridge, "places", renamed).await.unwrap(), [expected]);
    let schema = bridge.introspect_target(&ample(), "places").await.unwrap();
    assert_eq!(schema.columns[1].kind, "vector(3)");
}

/// The statements are the bridge's own, as a test beside their code makes sure.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_neighbours_serves_the_order() {
    let database = with_vectors(
        "CREATE TABLE places (id INT PRIMARY KEY, name VARCHAR(9), at VECTOR(2) NOT NULL, VECTOR INDEX near (at) DISTANCE=euclidean);
INSERT INTO places SELECT seq, IF(seq % 1000, 'usual', 'rare'), VEC_FromText(CONCAT('[', SIN(seq), ',', COS(seq * 3), ']')) FROM seq_1_to_5000;
CREATE TABLE angles (id INT PRIMARY KEY, name VARCHAR(9), at VECTOR(2) NOT NULL, VECTOR INDEX near (at) DISTANCE=cosine);
INSERT INTO angles SELECT * FROM places;
CREATE VIEW rare AS SELECT * FROM places WHERE name = 'rare'",
    )
    .await;
    let by_vector = include_str!("../plans/by-vector.sql");
    let point = "X'0000803E0000003F'";
    let by_vector = keys(&database, by_vector, &[point, point, point, "5"]).await;
    assert!(by_vector.contains(&"near".to_owned()), "{by_vector:?}");
    let by_row = include_str!("../plans/by-row.sql").replace("places", "angles");
    let by_row = keys(&database, &by_row, &["7", "7", "7", "7", "5"]).await;
    assert!(by_row.contains(&"near".to_owned()), "{by_row:?}");
    let filtered = include_str!("../plans/filtered.sql").replace("places", "angles");
    let filtered = keys(&database, &filtered, &[point, point, "'rare'", "10"]).await;
    assert!(!filtered.contains(&"near".to_owned()), "{filtered:?}");

    let bridge = open(&database).await;
    let near = json!({ "vector": [0.25, 0.5], "field": "at", "metric": "l2", "limit": 5, "select": ["id"] });
    let nearest = scores(&*bridge, near.clone()).await;
    assert!(nearest.len() == 5 && nearest.is_sorted_by(|a, b| a.1 >= b.1), "{nearest:?}");
    // All that pass the filter, however few of those near by do; a view's, too.
    let rare = with(near.clone(), json!({ "where": { "name": "rare" } }));
    let found = scores(&*bridge, rare).await;
    assert!(found.len() == 5 && found.iter().all(|(id, _)| id % 1_000 == 0), "{found:?}");
    assert_eq!(similar(&*bridge, "rare", near).await.unwrap().len(), 5);
}

/// The indexes that a prepared statement's plan uses.
async fn keys(database: &Database, sql: &str, params: &[&str]) -> Vec<String> {
    let explained = format!("EXECUTE IMMEDIATE 'EXPLAIN {sql}' USING {}", params.join(", "));
    let plan: Vec<mysql_async::Row> = database.client().await.query(explained).await.unwrap();
    plan.iter().filter_map(|row| row.get::<Option<String>, _>("key").flatten()).collect()
}
