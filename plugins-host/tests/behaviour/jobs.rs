//! Every kind of job, answered by the plugin or by the runner from what the plugin reads.

use bridge_core::{Bridge, BridgeError};
use protocol::{AggregateOptions, CountOptions, QueryOptions, ReadOptions, SearchOptions, SimilarOptions};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{ample, collect, hostile, load, open, opened, tight};

fn raw(value: Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

async fn query(bridge: &dyn Bridge, target: &str, options: Value) -> Result<String, BridgeError> {
    let options = QueryOptions::parse(&raw(options))?;
    Ok(collect(bridge.query(&ample(), target, options).await?).await?.0)
}

async fn count(bridge: &dyn Bridge, target: &str, options: Value) -> Result<u64, BridgeError> {
    let options = CountOptions::parse(&raw(options))?;
    Ok(bridge.count(&ample(), target, options).await?.total)
}

async fn aggregate(bridge: &dyn Bridge, target: &str, options: Value) -> Result<String, BridgeError> {
    let options = AggregateOptions::parse(&raw(options))?;
    Ok(collect(bridge.aggregate(&ample(), target, options).await?).await?.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plugin_does_not_do_is_done_over_its_rows() {
    let bridge = open(&*hostile(tight()).await).await;
    let found = query(
        &*bridge,
        "rows",
        json!({"where": {"name": {"$contains": "ROW"}}, "orderBy": {"field": "id", "dir": "desc"}, "limit": 2,
               "project": {"key": "id"}}),
    );
    assert_eq!(found.await.unwrap(), r#"[{"key":3},{"key":2}]"#);
    let found = query(&*bridge, "json", json!({"where": {"name": null}}));
    assert_eq!(found.await.unwrap(), r#"[{"id":2}]"#);
    let refused = query(&*bridge, "rows", json!({"where": {"nope": 1}})).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Invalid(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_new_are_known_as_soon_as_they_are_asked_for() {
    let plugin = hostile(tight()).await;
    let bridge = opened(&plugin, json!({"poolMax": 1})).await.unwrap();
    let id = query(&*bridge, "grows", json!({"where": {"id": 1}, "project": {"id": "id"}}));
    assert_eq!(id.await.unwrap(), r#"[{"id":1}]"#);
    // One column was all there was a moment ago.
    let options = json!({"where": {"name": "row 2"}, "project": {"id": "id"}});
    assert_eq!(query(&*bridge, "grows", options).await.unwrap(), r#"[{"id":2}]"#);
    for (target, expected) in [("rows", 3), ("grows", 3)] {
        let joined = json!({
            "joins": [{"target": "grows", "alias": "g", "on": {"local": "id", "foreign": "id"}}],
            "dimensions": [{"field": "name", "from": "g"}],
            "measures": {"n": {"agg": "count", "accuracy": "exact"}},
        });
        let bridge = opened(&plugin, json!({"poolMax": 1})).await.unwrap();
        query(&*bridge, "grows", json!({"where": {"id": 1}})).await.unwrap();
        let buckets: Value =
            serde_json::from_str(&aggregate(&*bridge, target, joined).await.unwrap()).unwrap();
        assert_eq!(buckets.as_array().unwrap().len(), expected, "{target}: {buckets}");
    }
    let refused = query(&*bridge, "grows", json!({"where": {"nope": 1}})).await.unwrap_err();
    assert!(matches!(refused, BridgeError::Invalid(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_compares_vectors_refuses_the_operators_that_it_does_not_have() {
    let plugin = load("similar").await.unwrap();
    let bridge = open(&plugin).await;
    let similar = async |filter: Value| {
        let options = json!({"vector": [1], "field": "id", "where": filter});
        let options = SimilarOptions::parse(&raw(options)).unwrap();
        bridge.similar(&ample(), "rows", options).await.map(|_| ()).unwrap_err().to_string()
    };
    for (filter, operator) in [
        (json!({"$or": [{"id": 1}, {"id": 2}]}), "$or"),
        (json!({"name": {"$contains": "row"}}), "$contains"),
    ] {
        let expected = format!(
            "Bridge does not support where operator \"{operator}\" on target \"rows\" (@acme/hostile)"
        );
        assert_eq!(similar(filter).await, expected);
    }
    // What it has it is asked.
    assert_eq!(similar(json!({"id": 1})).await, "similar is not supported by @acme/hostile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_leads_to_itself_is_the_plugins_fault() {
    let bridge = open(&*hostile(tight()).await).await;
    let failed = query(&*bridge, "round", json!({"where": {"id": 9}})).await.unwrap_err();
    assert!(matches!(failed, BridgeError::Plugin(_)), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_the_plugins_unless_it_leaves_them_to_the_runner() {
    let bridge = open(&*hostile(tight()).await).await;
    assert_eq!(count(&*bridge, "rows", json!({})).await.unwrap(), 3);
    assert_eq!(count(&*bridge, "rows", json!({"where": {"id": 1}})).await.unwrap(), 1);
    assert_eq!(count(&*bridge, "leave", json!({"where": {"id": {"$gt": 1}}})).await.unwrap(), 2);
    let remaining = count(&*bridge, "remaining", json!({})).await.unwrap();
    assert!((50_000..=60_000).contains(&remaining), "{remaining}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_are_the_plugins_as_far_as_it_can() {
    let bridge = open(&*hostile(tight()).await).await;
    let own =
        json!({"dimensions": [{"field": "name"}], "measures": {"n": {"agg": "count", "accuracy": "exact"}}});
    for target in ["columns", "json"] {
        let buckets = aggregate(&*bridge, target, own.clone()).await.unwrap();
        assert_eq!(buckets, r#"[{"dims":{"name":"a"},"measures":{"n":2},"count":2}]"#, "{target}");
    }
    let sum = json!({"measures": {"n": {"agg": "sum", "column": "id", "accuracy": "exact"}}});
    for options in [own.clone(), sum] {
        let target = if options == own { "leave" } else { "rows" };
        let buckets: Value =
            serde_json::from_str(&aggregate(&*bridge, target, options).await.unwrap()).unwrap();
        let counts: u64 =
            buckets.as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
        assert_eq!(counts, 3, "over the rows: {buckets}");
    }
    for (target, reason) in [
        ("bucket-columns", "2 columns of a bucket instead of 3"),
        ("bucket-extra", "a bucket that is none"),
        ("bucket-count", "a bucket that is none"),
        ("bucket-dims", "a bucket whose dims or measures are no object"),
    ] {
        let failed = aggregate(&*bridge, target, own.clone()).await.unwrap_err().to_string();
        assert!(failed.starts_with(&format!("the plugin answered {reason}")), "{target}: {failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranked_rows_have_a_score() {
    let bridge = open(&*hostile(tight()).await).await;
    let search = async |target: &str| {
        let options = SearchOptions::parse(&raw(json!({"query": "row", "select": ["id"]}))).unwrap();
        let rows = bridge.search(&ample(), target, options).await?;
        collect(rows).await
    };
    for target in ["columns", "scored-json"] {
        assert_eq!(search(target).await.unwrap().0, r#"[{"id":1,"_score":0.5}]"#, "{target}");
    }
    for target in ["unscored", "unscored-json"] {
        let failed = search(target).await.unwrap_err();
        assert!(matches!(failed, BridgeError::Plugin(_)), "{target}: {failed:?}");
    }
    let options = SimilarOptions::parse(&raw(json!({"vector": [1], "field": "id"}))).unwrap();
    let refused = bridge.similar(&ample(), "rows", options).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "similar is not supported by @acme/hostile");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_columns_are_checked() {
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;
    assert_eq!(bridge.list_targets(&ample()).await.unwrap(), ["json", "rows"], "sorted, each once");
    let schema = bridge.introspect_target(&ample(), "rows").await.unwrap();
    assert_eq!((schema.name.as_str(), schema.columns.len(), schema.row_count), ("rows", 2, 3));
    for target in ["no-columns", "column-twice", "long-column"] {
        let failed = bridge.introspect_target(&ample(), target).await.unwrap_err();
        assert!(matches!(failed, BridgeError::Plugin(_)), "{target}: {failed:?}");
    }
    for wish in ["many-targets", "empty-target"] {
        let bridge = opened(&plugin, json!({"connect": wish})).await.unwrap();
        let failed = bridge.list_targets(&ample()).await.unwrap_err();
        assert!(matches!(failed, BridgeError::Plugin(_)), "{wish}: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_what_a_native_bridge_would_say() {
    let bridge = open(&*hostile(tight()).await).await;
    let refused =
        async |target: &str| bridge.count(&ample(), target, CountOptions::default()).await.unwrap_err();
    assert_eq!(
        refused("operator").await.to_string(),
        "Bridge does not support where operator \"$or\" on target \"operator\" (@acme/hostile)"
    );
    assert!(matches!(refused("cancelled").await, BridgeError::Plugin(_)));
    let words = refused("long-words").await.to_string();
    assert!(words.len() <= 4_096 && !words.contains('\n'), "{}", words.len());
    for target in ["refused", "nowhere"] {
        let refused = bridge.read(&ample(), target, ReadOptions::default()).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, BridgeError::Query { .. }), "{refused:?}");
    }
}
