//! Documents without a schema: nested fields, lists, dates, what is missing, and what a sample says of them.

use mongodb::bson::{DateTime, doc};
use protocol::QueryOptions;
use serde_json::json;

use crate::asking::{call, count, open, query, raw};
use crate::server::Scratch;

#[tokio::test]
async fn missing_and_null_are_one_and_lists_match_by_their_values() {
    let scratch = Scratch::new().await;
    scratch
        .insert(
            "c",
            vec![
                doc! {"_id": 1, "a": {"b": "x"}, "tags": ["red", null]},
                doc! {"_id": 2, "a": {"b": null}, "tags": []},
                doc! {"_id": 3, "a": 5},
                doc! {"_id": 4, "tags": ["blue", "red"]},
            ],
        )
        .await;
    let bridge = open(&scratch.config()).await.unwrap();
    for (filter, expected) in [
        (json!({"a.b": "x"}), 1),
        (json!({"a.b": null}), 3),
        (json!({"a.b": {"$ne": "y"}}), 1),
        (json!({"$not": {"a.b": "x"}}), 0),
        (json!({"tags": "red"}), 2),
        (json!({"tags": {"$ne": "blue"}}), 2),
        (json!({"tags": null}), 1),
        (json!({"nowhere": null}), 4),
        (json!({"nowhere": {"$exists": true}}), 0),
    ] {
        assert_eq!(count(&*bridge, "c", filter.clone()).await, expected, "{filter}");
    }
    let rows =
        query(&*bridge, "c", json!({"select": ["a.b", "nowhere"], "orderBy": {"_id": "asc"}})).await.unwrap();
    assert_eq!(rows[0], json!({"a.b": "x", "nowhere": null}));
    assert_eq!(rows[2], json!({"a.b": null, "nowhere": null}));
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test]
async fn a_name_that_is_an_operator_is_refused_before_the_server_sees_it() {
    let scratch = Scratch::new().await;
    scratch.insert("c", vec![doc! {"_id": 1}]).await;
    let bridge = open(&scratch.config()).await.unwrap();
    for options in [
        json!({"where": {"$where": "sleep(1)"}}),
        json!({"where": {"$expr": {"$function": {}}}}),
        json!({"where": {"a": {"$where": "1"}}}),
        json!({"where": {"a.$where": 1}}),
        json!({"orderBy": {"field": "$natural"}}),
        json!({"select": ["$where"]}),
        json!({"project": {"x": "$ROOT"}}),
        json!({"keyset": ["$x"], "limit": 1}),
    ] {
        let answer = query(&*bridge, "c", options.clone()).await;
        let refused = matches!(
            answer,
            Err(bridge_core::BridgeError::Invalid(_) | bridge_core::BridgeError::Operator(_))
        );
        assert!(refused, "{options}: {answer:?}");
    }
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test]
async fn dates_are_found_by_text_and_so_is_text_that_is_a_date() {
    let scratch = Scratch::new().await;
    let at = |ms| DateTime::from_millis(ms);
    scratch
        .insert(
            "c",
            vec![
                doc! {"_id": 1, "at": at(1_000)},
                doc! {"_id": 2, "at": at(2_000)},
                doc! {"_id": 3, "at": "1970-01-01T00:00:03Z"},
            ],
        )
        .await;
    let bridge = open(&scratch.config()).await.unwrap();
    assert_eq!(count(&*bridge, "c", json!({"at": {"$gt": "1970-01-01T00:00:01.000Z"}})).await, 2);
    assert_eq!(count(&*bridge, "c", json!({"at": "1970-01-01T01:00:02+01:00"})).await, 1);
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test]
async fn a_sample_tells_the_fields_of_a_collection_without_schema() {
    let scratch = Scratch::new().await;
    scratch
        .insert(
            "c",
            vec![doc! {"_id": 1, "a": 1, "n": {"x": "t"}}, doc! {"_id": 2, "a": "one", "n": {"x": "u"}}],
        )
        .await;
    let bridge = open(&scratch.config()).await.unwrap();
    let schema = bridge.introspect_target(&call(), "c").await.unwrap();
    let shown: Vec<String> = schema
        .columns
        .iter()
        .map(|it| format!("{} {} {} {}", it.name, it.kind, it.nullable, it.primary_key))
        .collect();
    assert_eq!(shown, ["_id int false true", "a int|string false false", "n.x string false false"]);
    assert_eq!(schema.row_count, 2);
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test]
async fn no_rows_with_a_total_are_no_rows() {
    let scratch = Scratch::new().await;
    scratch
        .insert("c", vec![doc! {"_id": 1, "a": 1}, doc! {"_id": 2, "a": 2}, doc! {"_id": 3, "a": 2}])
        .await;
    let bridge = open(&scratch.config()).await.unwrap();
    let options = QueryOptions::parse(&raw(json!({"limit": 0, "total": true, "where": {"a": 2}}))).unwrap();
    let stream = bridge.query(&call(), "c", options).await.unwrap();
    let (rows, tail) = bridge_conformance::collect(stream).await.unwrap();
    assert_eq!((rows.len(), tail.total), (0, Some(2)));
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test]
async fn a_list_is_nothing_to_page_by_wherever_it_stands_in_the_page() {
    let scratch = Scratch::new().await;
    scratch
        .insert(
            "c",
            vec![
                doc! {"_id": 1, "a": [1, 10], "l": [{"x": 5}]},
                doc! {"_id": 2, "a": 5, "l": {"x": 6}},
                doc! {"_id": 3, "a": 7, "l": {"x": 7}},
            ],
        )
        .await;
    let bridge = open(&scratch.config()).await.unwrap();
    for field in ["a", "l.x"] {
        let options = json!({"orderBy": {"field": field}, "keyset": true, "limit": 2});
        let answer = query(&*bridge, "c", options).await;
        let refused =
            matches!(&answer, Err(bridge_core::BridgeError::Invalid(it)) if it.field.contains(field));
        assert!(refused, "{field}: {answer:?}");
    }
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test]
async fn text_that_is_no_finite_number_adds_nothing_to_a_sum() {
    let scratch = Scratch::new().await;
    let values: Vec<mongodb::bson::Bson> = vec![
        5.into(),
        "7".into(),
        "NaN".into(),
        "Infinity".into(),
        "-inf".into(),
        "x".into(),
        f64::NAN.into(),
    ];
    scratch.insert("c", values.into_iter().map(|value| doc! {"a": value}).collect()).await;
    let bridge = open(&scratch.config()).await.unwrap();
    let options =
        json!({"measures": {"sum": {"agg": "sum", "column": "a"}, "avg": {"agg": "avg", "column": "a"}}});
    let options = protocol::AggregateOptions::parse(&raw(options)).unwrap();
    let stream = bridge.aggregate(&call(), "c", options).await.unwrap();
    let (buckets, _) = bridge_conformance::collect(stream).await.unwrap();
    assert_eq!(buckets[0]["measures"], json!({"sum": 12, "avg": 6}));
    bridge.close().await;
    scratch.drop().await;
}
