//! Aggregates over values at the edges of their types.

use protocol::AggregateOptions;
use serde_json::{Value, json};

use crate::asking::{ample, collect, open};
use crate::database::Database;

/// Buckets, parsed and in the order of their text.
async fn buckets(database: &Database, options: Value) -> Vec<Value> {
    let bridge = open(database.config()).await;
    let options = AggregateOptions::parse(&serde_json::value::to_raw_value(&options).unwrap()).unwrap();
    let rows = collect(bridge.aggregate(&ample(), "facts", options).await.unwrap()).await.unwrap().0;
    let mut buckets: Vec<Value> = serde_json::from_str(&format!("[{}]", rows.join(","))).unwrap();
    buckets.sort_by_key(Value::to_string);
    buckets
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mean_of_large_integers_does_not_wrap() {
    let database = Database::with(
        "CREATE TABLE facts (u UInt64, i Int64) ENGINE = MergeTree ORDER BY tuple();
        INSERT INTO facts VALUES (18446744073709551615, -9223372036854775807),
            (18446744073709551615, -9223372036854775807), (18446744073709551615, -9223372036854775807)",
    );
    let means =
        json!({ "measures": { "u": { "agg": "avg", "column": "u" }, "i": { "agg": "avg", "column": "i" } } });
    let measures = &buckets(&database, means).await[0]["measures"];
    assert_eq!(measures["u"].as_f64(), Some(18_446_744_073_709_551_615.0), "{measures}");
    assert_eq!(measures["i"].as_f64(), Some(-9_223_372_036_854_775_807.0), "{measures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_frequent_values_read_as_they_do_in_rows() {
    let database = Database::with(
        "CREATE TABLE facts (ts DateTime64(6, 'UTC'), code FixedString(4)) ENGINE = MergeTree ORDER BY ts;
        INSERT INTO facts VALUES ('1969-12-31 23:59:58.000001', 'ab'), ('1969-12-31 23:59:58.500000', 'ab'),
            ('1969-12-31 23:59:59', 'abcd')",
    );
    let top = json!({ "measures": {
        "ts": { "agg": "top_k", "column": "ts", "k": 5 }, "code": { "agg": "top_k", "column": "code", "k": 5 }
    } });
    let measures = &buckets(&database, top).await[0]["measures"];
    assert_eq!(
        measures["ts"],
        json!([
            { "key": "1969-12-31T23:59:58.000001Z", "count": 1 },
            { "key": "1969-12-31T23:59:58.500Z", "count": 1 },
            { "key": "1969-12-31T23:59:59.000Z", "count": 1 },
        ])
    );
    assert_eq!(measures["code"], json!([{ "key": "ab", "count": 2 }, { "key": "abcd", "count": 1 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn points_off_the_globe_are_in_no_cell_and_numbers_of_any_type_are_coordinates() {
    let database = Database::with(
        "CREATE TABLE facts (lat Float64, lng Nullable(Float64), lat32 Float32, lng_exact Decimal(9, 4))
            ENGINE = MergeTree ORDER BY tuple();
        INSERT INTO facts VALUES (52.5, 13.4, 52.5, 13.4), (95, 13.4, 95, 13.4), (nan, 13.4, nan, 13.4),
            (inf, 13.4, -inf, 13.4), (5, NULL, 5, 200)",
    );
    for (kind, cell) in [("geohash", "u33d8"), ("h3", "599526121473572863")] {
        for (lat, lng) in [("lat", "lng"), ("lat32", "lng_exact")] {
            let bucket =
                json!({ "type": kind, "precision": 5, "resolution": 5, "latField": lat, "lngField": lng });
            let cells = json!({ "dimensions": [{ "field": lat, "bucket": bucket, "as": "cell" }] });
            let expected = json!({ "dims": { "cell": cell }, "measures": {}, "count": 1 });
            assert_eq!(buckets(&database, cells).await, [expected], "{kind} of {lat}");
        }
    }
}
