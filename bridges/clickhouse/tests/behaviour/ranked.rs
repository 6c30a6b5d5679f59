//! `search` over an index of tokens, and `similar` over arrays.

use bridge_core::{Bridge, BridgeError};
use protocol::{SearchMethod, SearchOptions, SimilarOptions};
use serde_json::{Value, json};

use crate::asking::{ample, collect, open};
use crate::database::Database;

const NOTES: &str = "CREATE TABLE notes (id Int32, body String, other String,
        INDEX tokens lower(body) TYPE tokenbf_v1(1024, 3, 0) GRANULARITY 1) ENGINE = MergeTree ORDER BY id;
    INSERT INTO notes VALUES (1, 'Red shoes', 'x'), (2, 'A red RED car', 'shoes'), (3, 'redder', 'red'), (4, 'blue shoes', 'y');";

const VECTORS: &str = "CREATE TABLE vectors (id Int32, v Array(Float32)) ENGINE = MergeTree ORDER BY id;
    INSERT INTO vectors VALUES (1, [1, 0]), (2, [0, 1]), (3, [1, 1]), (4, [0, 0]), (5, [1, 2, 3]), (6, []);";

fn raw(options: Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(&options).unwrap()
}

async fn search(bridge: &dyn Bridge, asked: Value) -> (Vec<Value>, Option<SearchMethod>) {
    let asked = SearchOptions::parse(&raw(asked)).unwrap();
    let (rows, tail) = collect(bridge.search(&ample(), "notes", asked).await.unwrap()).await.unwrap();
    (serde_json::from_str(&format!("[{}]", rows.join(","))).unwrap(), tail.method)
}

async fn similar(bridge: &dyn Bridge, asked: Value) -> Result<Vec<(i64, String)>, BridgeError> {
    let asked = SimilarOptions::parse(&raw(asked)).unwrap();
    let (rows, _) = collect(bridge.similar(&ample(), "vectors", asked).await?).await?;
    let rows: Vec<Value> = serde_json::from_str(&format!("[{}]", rows.join(","))).unwrap();
    let pair = |row: &Value| (row["id"].as_i64().unwrap(), format!("{:.4}", row["_score"].as_f64().unwrap()));
    Ok(rows.iter().map(pair).collect())
}

fn ids(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_with_an_index_of_tokens_is_searched_by_tokens() {
    let database = Database::with(NOTES);
    let bridge = open(database.config()).await;
    let (rows, method) = search(&*bridge, json!({ "query": "RED shoes" })).await;
    assert_eq!(method, Some(SearchMethod::FullText));
    assert_eq!(ids(&rows), [1, 2, 4]);
    assert_eq!(rows[0]["_score"], json!(1));
    assert_eq!(rows[1]["_score"], json!(0.5));
    let (rows, _) =
        search(&*bridge, json!({ "query": "red", "where": { "id": { "$gt": 1 } }, "limit": 1 })).await;
    assert_eq!(ids(&rows), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_are_searched_by_containment() {
    let database = Database::with(NOTES);
    let bridge = open(database.config()).await;
    let (rows, method) = search(&*bridge, json!({ "query": "red", "fields": ["body", "other"] })).await;
    assert_eq!(method, Some(SearchMethod::Containment));
    assert_eq!(ids(&rows), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_ranked_by_the_distance_of_their_vectors() {
    let database = Database::with(VECTORS);
    let bridge = open(database.config()).await;
    let near = |metric: &str| json!({ "field": "v", "vector": [1, 0], "metric": metric });
    let pairs = |pairs: &[(i64, &str)]| {
        pairs.iter().map(|(id, score)| (*id, (*score).to_owned())).collect::<Vec<_>>()
    };
    let by_angle = similar(&*bridge, near("cosine")).await.unwrap();
    assert_eq!(by_angle, pairs(&[(1, "1.0000"), (3, "0.7071"), (2, "0.0000")]));
    let by_distance = similar(&*bridge, near("l2")).await.unwrap();
    assert_eq!(by_distance, pairs(&[(1, "1.0000"), (3, "0.5000"), (4, "0.5000"), (2, "0.4142")]));
    let by_product = similar(&*bridge, near("dot")).await.unwrap();
    assert_eq!(by_product, pairs(&[(1, "1.0000"), (3, "1.0000"), (2, "0.0000"), (4, "0.0000")]));
    let to_a_row = similar(&*bridge, json!({ "field": "v", "id": 1, "limit": 1 })).await.unwrap();
    assert_eq!(to_a_row, pairs(&[(3, "0.7071")]));
    assert!(similar(&*bridge, json!({ "field": "v", "id": 99 })).await.unwrap().is_empty());
    let refused = similar(&*bridge, json!({ "field": "id", "vector": [1] })).await.unwrap_err();
    assert!(matches!(&refused, BridgeError::Invalid(invalid) if invalid.field == "field"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_vectors_is_used_for_vectors_of_its_length_alone() {
    let database = Database::with(
        "CREATE TABLE near (id Int32, v Array(Float32), gaps Array(Nullable(Float32)),
            INDEX i v TYPE vector_similarity('hnsw', 'L2Distance', 3)) ENGINE = MergeTree ORDER BY id;
        INSERT INTO near VALUES (1, [1, 0, 0], [1]), (2, [0, 1, 0], [NULL]), (3, [0, 0, 1], [])",
    );
    let bridge = open(database.config()).await;
    let similar = async |field: &str, vector: serde_json::Value| {
        let asked = json!({ "vector": vector, "field": field, "limit": 2, "metric": "l2", "select": ["id"] });
        let asked = SimilarOptions::parse(&serde_json::value::to_raw_value(&asked).unwrap()).unwrap();
        collect(bridge.similar(&ample(), "near", asked).await?).await.map(|(rows, _)| rows.join(","))
    };
    let found = similar("v", json!([1, 0.5, 0])).await.unwrap();
    assert!(found.starts_with(r#"{"id":1,"_score":0.66"#) && found.contains(r#"{"id":2,"#), "{found}");
    assert_eq!(similar("v", json!([1, 0.5])).await.unwrap(), "");
    let refused = similar("gaps", json!([1])).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Invalid(_)), "{refused:?}");
}
