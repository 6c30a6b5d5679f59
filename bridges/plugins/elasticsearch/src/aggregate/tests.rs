//! Aggregations that are asked for, and what becomes of answers.

use semilayer_plugin::http::{Client, Incoming, Outgoing};
use semilayer_plugin::{ErrorCode, testing};
use serde_json::value::RawValue;

use super::*;

fn index() -> Rc<Index> {
    Rc::new(Index::read(&json!({"facts": {"mappings": {"properties": {
        "country": {"type": "keyword"},
        "title": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 10}}},
        "at": {"type": "date"},
        "views": {"type": "long"},
        "minutes": {"type": "integer"},
        "price": {"type": "double"},
        "rate": {"type": "scaled_float", "scaling_factor": 100},
        "sold": {"type": "boolean"},
    }}}})))
}

fn options(text: &str) -> AggregateOptions {
    AggregateOptions::parse(&RawValue::from_string(text.to_owned()).unwrap()).unwrap()
}

/// A server that gives these answers, one after the other.
fn answering(answers: Vec<Json>) -> Server {
    let answers = std::cell::RefCell::new(answers.into_iter());
    let root = json!({"version": {"number": "9.2.0"}});
    let client = Client::new("http://search").unwrap().over(move |request: &Outgoing| {
        let answer = match request.method.as_str() {
            "GET" => root.clone(),
            _ => answers.borrow_mut().next().expect("one request too many"),
        };
        Ok(Incoming::new(200).json(&answer))
    });
    Server::with_nodes(vec![client]).unwrap()
}

fn answer(total: u64, aggregations: Json) -> Json {
    json!({"timed_out": false, "_shards": {"total": 1, "failed": 0},
        "hits": {"total": {"value": total, "relation": "eq"}, "hits": []}, "aggregations": aggregations})
}

fn rows(text: &str, answers: Vec<Json>) -> Result<Vec<Json>, Error> {
    testing::json(aggregate(&answering(answers), "facts", &index(), &options(text))?)
}

#[test]
fn buckets_come_page_after_page() {
    let bucket = |country: &str, count: u64| json!({"key": {"d0": country}, "doc_count": count});
    let text =
        r#"{"dimensions":[{"field":"country","as":"c"}],"sort":[{"key":"count","dir":"desc"}],"limit":2}"#;
    let page = |buckets: Vec<Json>, after: Json| {
        let mut page = json!({"buckets": buckets});
        if !after.is_null() {
            page["after_key"] = after;
        }
        answer(6, json!({"buckets": page}))
    };
    let answers = vec![
        page(vec![bucket("IT", 1), bucket("JP", 3)], json!({"d0": "JP"})),
        page(vec![bucket("US", 2)], json!({"d0": "US"})),
        page(vec![], Json::Null),
    ];
    assert_eq!(
        rows(text, answers).unwrap(),
        [
            json!({"dims": {"c": "JP"}, "measures": {}, "count": 3}),
            json!({"dims": {"c": "US"}, "measures": {}, "count": 2})
        ]
    );
}

#[test]
fn a_document_in_two_buckets_leaves_the_job_to_the_runner() {
    let page = json!({"buckets": {"buckets": [{"key": {"d0": "a"}, "doc_count": 2}, {"key": {"d0": "b"}, "doc_count": 2}]}});
    let error = rows(r#"{"dimensions":[{"field":"country"}]}"#, vec![answer(3, page)]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnsupportedKind);
}

#[test]
fn sums_are_taken_where_no_digit_can_be_lost() {
    let text = r#"{"measures":{"s":{"agg":"sum","column":"views"},"n":{"agg":"count"}}}"#;
    let stats = |count: u64, min: f64, max: f64, sum: f64| json!({"doc_count": count, "s": {"count": count, "min": min, "max": max, "avg": 0.0, "sum": sum}});
    let answered = |stats: Json| rows(text, vec![answer(3, json!({"m0": stats, "m1": {"doc_count": 3}}))]);
    assert_eq!(
        answered(stats(2, -5.0, 7.0, 2.0)).unwrap(),
        [json!({"dims": {}, "measures": {"s": 2, "n": 3}, "count": 3})]
    );
    assert_eq!(answered(json!({"doc_count": 0, "s": {"count": 0}})).unwrap()[0]["measures"]["s"], Json::Null);
    for lost in [
        stats(2, 0.0, 9.1e15, 9.1e15),
        json!({"doc_count": 2, "s": {"count": 3, "min": 1, "max": 1, "sum": 3}}),
    ] {
        assert_eq!(answered(lost).unwrap_err().code(), ErrorCode::UnsupportedKind);
    }
}

#[test]
fn buckets_of_time_and_of_steps_have_the_names_that_all_bridges_give() {
    let text = r#"{"dimensions":[{"field":"at","bucket":"week","as":"w"},{"field":"minutes","bucket":{"type":"numeric","step":30},"as":"m"}],
        "having":{"count":{"$gte":2}}}"#;
    let bucket =
        |at: i64, minutes: f64, count: u64| json!({"key": {"d0": at, "d1": minutes}, "doc_count": count});
    let page = json!({"buckets": {"buckets": [bucket(1_767_571_200_000, -30.0, 2), bucket(1_767_571_200_000, 0.0, 1)]}});
    assert_eq!(
        rows(text, vec![answer(3, page)]).unwrap(),
        [json!({"dims": {"w": "2026-W02", "m": "-30..0"}, "measures": {}, "count": 2})]
    );
}

#[test]
fn the_request_has_exact_aggregations_alone() {
    let options = options(
        r#"{"dimensions":[{"field":"title"},{"field":"at","bucket":"month"}],"measures":{"s":{"agg":"avg","column":"price","where":{"sold":true}}}}"#,
    );
    let plan = Plan::new(&options, &index(), |filter| {
        Ok(if filter.is_everything() { json!("all") } else { json!("sold") })
    })
    .unwrap();
    assert_eq!(
        plan.aggregations(7, Some(&json!({"d0": "x"}))).unwrap(),
        json!({"buckets": {
            "composite": {"size": 7, "after": {"d0": "x"}, "sources": [
                {"d0": {"terms": {"field": "title.keyword"}}},
                {"d1": {"date_histogram": {"field": "at", "calendar_interval": "month"}}},
            ]},
            "aggs": {"m0": {
                "filter": {"bool": {"filter": ["sold", {"exists": {"field": "price"}}]}},
                "aggs": {"s": {"stats": {"field": "price"}}},
            }},
        }})
    );
    let query = plan.with_dimensions(&json!("q"));
    assert_eq!(query["bool"]["filter"][1], json!({"exists": {"field": "title"}}), "not the field beside it");
}

#[test]
fn what_is_not_exact_is_left_to_the_runner() {
    for text in [
        r#"{"dimensions":[{"field":"sold"}]}"#,
        r#"{"dimensions":[{"field":"price"}]}"#,
        r#"{"dimensions":[{"field":"at"}]}"#,
        r#"{"dimensions":[{"field":"minutes","bucket":{"type":"numeric","step":0.1}}]}"#,
        r#"{"measures":{"m":{"agg":"sum","column":"rate"}}}"#,
        r#"{"measures":{"m":{"agg":"min","column":"at"}}}"#,
        r#"{"measures":{"m":{"agg":"count_distinct","column":"country"}}}"#,
        r#"{"sample":0.5}"#,
    ] {
        assert_eq!(rows(text, Vec::new()).unwrap_err().code(), ErrorCode::UnsupportedKind, "{text}");
    }
    assert_eq!(rows(r#"{"dimensions":[{"field":"nope"}]}"#, Vec::new()).unwrap_err().about(), Some("nope"));
}
