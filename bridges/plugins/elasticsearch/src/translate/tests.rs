//! Golden queries: what each part of a `where` and of an `orderBy` becomes. No server is asked.

use semilayer_plugin::ErrorCode;
use semilayer_plugin::options::{Filter, OrderBy};
use serde_json::{Value as Json, json};

use super::*;
use crate::introspect::Index;

fn index() -> Index {
    Index::read(&json!({"shop": {"mappings": {"properties": {
        "sku": {"type": "keyword"},
        "title": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
        "body": {"type": "text"},
        "stock": {"type": "integer"},
        "views": {"type": "long"},
        "price": {"type": "double"},
        "sold": {"type": "boolean"},
        "at": {"type": "date"},
        "exactly": {"type": "date_nanos"},
        "ip": {"type": "ip"},
        "blob": {"type": "binary"},
        "dark": {"type": "keyword", "index": false, "doc_values": false},
        "code": {"type": "keyword", "null_value": "NONE"},
        "lower": {"type": "keyword", "normalizer": "lowercase"},
        "labels": {"type": "flattened"},
        "maker": {"properties": {"name": {"type": "keyword"}}},
        "double \"quoted\"": {"type": "keyword"},
    }}}}))
}

fn filtered(filter: &str, loss: Loss) -> Filtered {
    translate(&Filter::from_json(filter).unwrap(), &index(), loss).unwrap()
}

/// The query, which is exactly what was asked.
fn exactly(filter: &str) -> Json {
    let found = filtered(filter, Loss::None);
    assert!(found.is_exact, "{filter}");
    found.query.unwrap_or(json!("nothing"))
}

/// The query, after which each row is looked at again.
fn roughly(filter: &str) -> Json {
    let found = filtered(filter, Loss::None);
    assert!(!found.is_exact, "{filter}");
    found.query.unwrap_or(json!("nothing"))
}

fn exists(field: &str) -> Json {
    json!({"exists": {"field": field}})
}

#[test]
fn comparisons_are_terms_and_ranges() {
    assert_eq!(exactly("{}"), json!({"match_all": {}}));
    assert_eq!(exactly(r#"{"sku":"a*b"}"#), json!({"terms": {"sku": ["a*b"]}}));
    assert_eq!(exactly(r#"{"stock":{"$in":[1,"2",null]}}"#), json!({"terms": {"stock": [1, 2]}}));
    assert_eq!(exactly(r#"{"price":{"$gte":10.50}}"#), json!({"range": {"price": {"gte": 10.5}}}));
    assert_eq!(exactly(r#"{"sold":true}"#), json!({"terms": {"sold": [true]}}));
    assert_eq!(exactly(r#"{"maker.name":"x"}"#), json!({"terms": {"maker.name": ["x"]}}));
    assert_eq!(exactly(r#"{"_id":["a",7]}"#), json!({"ids": {"values": ["a", "7"]}}));
    assert_eq!(
        exactly(r#"{"stock":1,"sold":true}"#),
        json!({"bool": {"filter": [{"terms": {"stock": [1]}}, {"terms": {"sold": [true]}}]}})
    );
    assert_eq!(
        exactly(r#"{"$or":[{"stock":1},{"sku":"a"}]}"#),
        json!({"bool": {"should": [{"terms": {"stock": [1]}}, {"terms": {"sku": ["a"]}}], "minimum_should_match": 1}})
    );
}

#[test]
fn a_row_without_a_value_is_in_no_test_and_in_no_negation() {
    let not = |query: Json, field: &str| json!({"bool": {"filter": [exists(field)], "must_not": [query]}});
    assert_eq!(exactly(r#"{"sku":{"$ne":"a"}}"#), not(json!({"terms": {"sku": ["a"]}}), "sku"));
    assert_eq!(exactly(r#"{"$not":{"sku":"a"}}"#), not(json!({"terms": {"sku": ["a"]}}), "sku"));
    assert_eq!(
        exactly(r#"{"$not":{"stock":{"$gte":2,"$lt":4}}}"#),
        json!({"bool": {"should": [
            not(json!({"range": {"stock": {"gte": 2}}}), "stock"),
            not(json!({"range": {"stock": {"lt": 4}}}), "stock"),
        ], "minimum_should_match": 1}})
    );
    assert_eq!(exactly(r#"{"sku":null}"#), json!({"bool": {"must_not": [exists("sku")]}}));
    assert_eq!(exactly(r#"{"sku":{"$ne":null}}"#), exists("sku"));
    assert_eq!(exactly(r#"{"$not":{"$not":{"sku":"a"}}}"#), json!({"terms": {"sku": ["a"]}}));
    for nothing in [
        r#"{"sku":{"$nin":["a",null]}}"#,
        r#"{"$not":{"sku":{"$in":["a",null]}}}"#,
        r#"{"stock":{"$gt":null}}"#,
        r#"{"$not":{"stock":{"$gt":null}}}"#,
        r#"{"sku":{"$in":[]}}"#,
        r#"{"_id":null}"#,
    ] {
        assert_eq!(exactly(nothing), json!("nothing"), "{nothing}");
    }
    assert_eq!(exactly(r#"{"$not":{"sku":{"$in":[]}}}"#), json!({"match_all": {}}));
}

#[test]
fn operands_that_a_field_cannot_take_match_nothing() {
    for filter in [
        r#"{"stock":"abc"}"#,
        r#"{"stock":0.5}"#,
        r#"{"stock":3000000000}"#,
        r#"{"views":1e19}"#,
        r#"{"at":"tomorrow"}"#,
        r#"{"at":5}"#,
        r#"{"at":"2026-01-01T00:00:00.000001Z"}"#,
        r#"{"sold":"perhaps"}"#,
        r#"{"ip":"10.0.0.0/8"}"#,
        r#"{"price":{"$gt":"abc"}}"#,
        r#"{"stock":{"$gt":1e300}}"#,
    ] {
        assert_eq!(exactly(filter), json!("nothing"), "{filter}");
    }
    assert_eq!(exactly(r#"{"stock":{"$ne":"abc"}}"#), exists("stock"));
    assert_eq!(exactly(r#"{"stock":{"$lt":1e300}}"#), exists("stock"));
    assert_eq!(exactly(r#"{"stock":{"$gt":-0.5}}"#), json!({"range": {"stock": {"gt": -1}}}));
    assert_eq!(exactly(r#"{"stock":{"$lt":2.5}}"#), json!({"range": {"stock": {"lte": 2}}}));
    assert_eq!(
        exactly(r#"{"views":"9007199254740993"}"#),
        json!({"terms": {"views": [9_007_199_254_740_993_i64]}})
    );
}

#[test]
fn instants_are_written_whole_and_compared_as_finely_as_they_are_kept() {
    let range = |operator: &str, at: &str| json!({"range": {"at": {operator: at, "format": "strict_date_optional_time"}}});
    assert_eq!(exactly(r#"{"at":{"$lte":"2024-03-01"}}"#), range("lte", "2024-03-01T00:00:00.000Z"));
    assert_eq!(
        exactly(r#"{"at":{"$gte":"2024-03-01T00:00:00.0005Z"}}"#),
        range("gt", "2024-03-01T00:00:00.000Z")
    );
    assert_eq!(
        exactly(r#"{"at":{"$lt":"2024-03-01T01:00:00.0005+01:00"}}"#),
        range("lte", "2024-03-01T00:00:00.000Z")
    );
    assert_eq!(exactly(r#"{"at":"2024-03-01"}"#), json!({"terms": {"at": ["2024-03-01T00:00:00.000Z"]}}));
    assert_eq!(exactly(r#"{"exactly":{"$gt":"1900-01-01"}}"#), exists("exactly"));
    assert_eq!(
        exactly(r#"{"exactly":{"$gt":"2024-03-01T00:00:00.000001Z"}}"#),
        json!({"range": {"exactly": {"gt": "2024-03-01T00:00:00.000001Z", "format": "strict_date_optional_time_nanos"}}})
    );
}

#[test]
fn patterns_are_wildcards_with_escapes() {
    let wildcard = |value: &str| json!({"wildcard": {"sku": {"value": value, "case_insensitive": true}}});
    assert_eq!(exactly(r#"{"sku":{"$contains":"50%*?"}}"#), wildcard("*50%\\*\\?*"));
    assert_eq!(exactly(r#"{"sku":{"$startsWith":"a\\b"}}"#), wildcard("a\\\\b*"));
    assert_eq!(exactly(r#"{"sku":{"$endsWith":"x"}}"#), wildcard("*x"));
    assert_eq!(exactly(r#"{"sku":{"$ilike":"a_\\%%"}}"#), wildcard("a?%*"));
    assert_eq!(exactly(r#"{"sku":{"$like":"A%"}}"#), json!({"wildcard": {"sku": {"value": "A*"}}}));
    assert_eq!(exactly(r#"{"sku":{"$like":"日%"}}"#), json!({"wildcard": {"sku": {"value": "日*"}}}));
    assert_eq!(exactly(r#"{"sku":{"$ilike":""}}"#), json!({"term": {"sku": ""}}));
    // The engine folds ASCII alone.
    assert_eq!(roughly(r#"{"sku":{"$contains":"Ünx"}}"#), wildcard("**nx*"));
}

#[test]
fn text_is_looked_up_in_the_field_beside_it() {
    assert_eq!(exactly(r#"{"title":"Red Shoe"}"#), json!({"terms": {"title.keyword": ["Red Shoe"]}}));
    assert_eq!(exactly(r#"{"title":{"$ne":null}}"#), exists("title"));
    assert_eq!(
        exactly(r#"{"title":{"$ne":"Red Shoe"}}"#),
        json!({"bool": {"filter": [exists("title")], "must_not": [{"terms": {"title.keyword": ["Red Shoe"]}}]}})
    );
}

#[test]
fn no_text_is_below_the_empty_one() {
    assert_eq!(filtered(r#"{"sku":{"$lt":""}}"#, Loss::None).query, None);
    assert_eq!(exactly(r#"{"sku":{"$lte":""}}"#), json!({"term": {"sku": ""}}));
    assert_eq!(exactly(r#"{"sku":{"$gte":""}}"#), exists("sku"));
    assert_eq!(exactly(r#"{"sku":{"$gt":""}}"#), json!({"range": {"sku": {"gt": ""}}}));
}

#[test]
fn values_that_are_too_long_for_the_index_are_asked_for_and_looked_at() {
    let none = json!({"bool": {"filter": [exists("title")], "must_not": [exists("title.keyword")]}});
    // Of a list, some may be in the index.
    let some = json!({"term": {"_ignored": "title.keyword"}});
    let lost = json!({"bool": {"should": [none, some], "minimum_should_match": 1}});
    let found = filtered(r#"{"title":{"$contains":"shoe"}}"#, Loss::None);
    assert_eq!((found.is_exact, found.losses), (true, vec![lost.clone()]));
    let found = filtered(r#"{"title":{"$contains":"shoe"}}"#, Loss::Possible);
    let wildcard = json!({"wildcard": {"title.keyword": {"value": "*shoe*", "case_insensitive": true}}});
    assert!(!found.is_exact);
    assert_eq!(
        found.query.unwrap(),
        json!({"bool": {"should": [wildcard, lost.clone()], "minimum_should_match": 1}})
    );
    // A whole value is found or is known to be too long itself.
    assert_eq!(filtered(r#"{"title":"short"}"#, Loss::None).losses, Vec::<Json>::new());
    let long = "x".repeat(300);
    let words = json!({"match": {"title": {"query": long, "operator": "and", "zero_terms_query": "all"}}});
    let query = roughly(&format!(r#"{{"title":"{long}"}}"#));
    assert_eq!(
        query,
        json!({"bool": {"should": [{"terms": {"title.keyword": [long]}}, words], "minimum_should_match": 1}})
    );
}

#[test]
fn a_text_of_many_words_is_looked_for_by_those_that_it_begins_with() {
    let words = |text: &str| json!({"match": {"body": {"query": text, "operator": "and", "zero_terms_query": "all"}}});
    let asked = |texts: &[&str]| roughly(&json!({"body": {"$in": texts}}).to_string());
    let thousand = "to-be ".repeat(500);
    assert_eq!(asked(&[&thousand]), words(&thousand));
    assert_eq!(asked(&[&format!("{thousand}too many")]), words(&thousand));
    // Without white space nobody but the engine knows where a word ends, or where letters are words.
    assert_eq!(asked(&[&"a.".repeat(1_001)]), exists("body"));
    assert_eq!(asked(&[&"\u{65e5}".repeat(1_001)]), exists("body"));
    assert_eq!(asked(&[&"to\u{202f}be".repeat(1_001)]), exists("body"));
    assert_eq!(asked(&[""]), words(""));
    assert_eq!(asked(&["a"; 1_001]), exists("body"));
    // All words of a test are clauses of one query.
    let both = json!([words("or not"), words(&"to be ".repeat(250))]);
    assert_eq!(asked(&["or not", &"to be ".repeat(300)])["bool"]["should"], both);
}

#[test]
fn what_the_engine_cannot_say_is_found_roughly() {
    assert_eq!(roughly(r#"{"blob":"AA=="}"#), json!({"match_all": {}}));
    assert_eq!(roughly(r#"{"dark":"x"}"#), json!({"match_all": {}}));
    assert_eq!(roughly(r#"{"lower":"X"}"#), exists("lower"));
    assert_eq!(roughly(r#"{"code":null}"#), json!({"match_all": {}}));
    assert_eq!(roughly(r#"{"_id":{"$gt":"a"}}"#), json!({"match_all": {}}));
    assert_eq!(roughly(r#"{"labels.env":"prod"}"#), json!({"terms": {"labels.env": ["prod"]}}));
    assert_eq!(roughly(r#"{"stock":{"$contains":"1"}}"#), exists("stock"));
    assert_eq!(
        roughly(r#"{"body":"red shoe"}"#),
        json!({"match": {"body": {"query": "red shoe", "operator": "and", "zero_terms_query": "all"}}})
    );
    assert_eq!(roughly(r#"{"$not":{"body":"red shoe"}}"#), exists("body"));
    // What is known exactly narrows what is not.
    assert_eq!(roughly(r#"{"blob":"AA==","stock":1}"#), json!({"terms": {"stock": [1]}}));
}

#[test]
fn long_lists_come_in_pieces() {
    let values: Vec<u32> = (0..70_000).collect();
    let query = exactly(&json!({"stock": {"$in": values}}).to_string());
    let lengths: Vec<usize> = query["bool"]["should"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["terms"]["stock"].as_array().unwrap().len())
        .collect();
    assert_eq!(lengths, [65_536, 4_464]);
}

#[test]
fn names_are_names_and_unknown_ones_are_refused() {
    assert_eq!(exactly(r#"{"double \"quoted\"":"x"}"#), json!({"terms": {"double \"quoted\"": ["x"]}}));
    let refused =
        |filter: &str| translate(&Filter::from_json(filter).unwrap(), &index(), Loss::None).unwrap_err();
    for name in ["nope", "title.keyword", "maker.nope", "_source"] {
        assert_eq!(refused(&json!({name: 1}).to_string()).about(), Some(name));
    }
}

fn sorted(order_by: &str) -> Result<Sort, semilayer_plugin::Error> {
    let raw = serde_json::value::RawValue::from_string(order_by.to_owned()).unwrap();
    order(&OrderBy::parse(&raw).unwrap(), &index(), true)
}

#[test]
fn nulls_are_the_largest_values_of_an_order() {
    let sort = sorted(
        r#"[{"field":"stock"},{"field":"at","dir":"desc"},{"field":"stock","dir":"desc"},{"field":"_id"}]"#,
    );
    assert_eq!(
        sort.unwrap().keys,
        [
            json!({"stock": {"order": "asc", "missing": "_last"}}),
            json!({"at": {"order": "desc", "missing": "_first"}}),
            json!({"_id": {"order": "asc"}}),
        ]
    );
    let title = sorted(r#"{"title":"asc"}"#).unwrap();
    assert_eq!(title.keys, [json!({"title.keyword": {"order": "asc", "missing": "_last"}})]);
    assert_eq!(title.losses.len(), 1);
}

#[test]
fn an_order_that_the_engine_cannot_make_is_left_to_the_runner() {
    for column in ["blob", "body", "dark", "code", "lower", "labels", "labels.env"] {
        let error = sorted(&json!({column: "asc"}).to_string()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedKind, "{column}");
    }
    assert_eq!(sorted(r#"{"nope":"asc"}"#).unwrap_err().about(), Some("nope"));
    let ids =
        [OrderBy { field: "_id".to_owned(), direction: semilayer_plugin::options::Direction::Ascending }];
    assert_eq!(order(&ids, &index(), false).unwrap_err().code(), ErrorCode::UnsupportedKind);
}
