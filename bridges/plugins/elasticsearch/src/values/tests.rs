//! Rows as callers see them.

use serde_json::{Value as Json, json};

use super::*;

fn index() -> Index {
    Index::read(&json!({"t": {"mappings": {"properties": {
        "n": {"type": "long"},
        "at": {"type": "date"},
        "seconds": {"type": "date", "format": "epoch_second"},
        "tags": {"type": "keyword"},
        "blob": {"type": "binary"},
        "body": {"type": "text"},
        "dot": {"properties": {"ted": {"type": "integer"}}},
    }}}}))
}

fn hit(source: &Json) -> Hit {
    let hit = json!({"_id": "7", "_index": "t", "_source": source});
    serde_json::from_str(&hit.to_string()).unwrap()
}

fn row(projection: &Projection, source: &Json) -> Json {
    let index = index();
    let (columns, hit) = (Columns::of(projection, &index).unwrap(), hit(source));
    serde_json::to_value(columns.row(&hit, &index, false).unwrap()).unwrap()
}

fn picked(columns: &[&str], source: &Json) -> Json {
    row(&Projection::Columns(columns.iter().map(|name| (*name).to_owned()).collect()), source)
}

#[test]
fn a_row_is_the_document_with_its_key() {
    let source = json!({"tags": ["a", "b"], "other": {"x": [1]}});
    assert_eq!(row(&Projection::All, &source), json!({"_id": "7", "tags": ["a", "b"], "other": {"x": [1]}}));
}

#[test]
fn instants_and_large_numbers_have_one_form() {
    let source = json!({"at": "2026-04-27T01:30:00+02:00", "n": 9_007_199_254_740_993_i64, "seconds": 60});
    assert_eq!(
        picked(&["n", "at", "seconds"], &source),
        json!({"n": "9007199254740993", "at": "2026-04-26T23:30:00.000Z", "seconds": "1970-01-01T00:01:00.000Z"})
    );
    assert_eq!(
        picked(&["at", "n"], &json!({"at": 1, "n": -5})),
        json!({"at": "1970-01-01T00:00:00.001Z", "n": -5})
    );
    assert_eq!(picked(&["at"], &json!({"at": "week 3"})), json!({"at": "week 3"}));
}

#[test]
fn a_dot_is_a_path_or_part_of_a_name() {
    for source in [json!({"dot.ted": 1}), json!({"dot": {"ted": 1}})] {
        assert_eq!(picked(&["dot.ted"], &source), json!({"dot.ted": 1}));
    }
    let several = json!({"dot": [{"ted": 1}, {"other": 2}, {"ted": 3}]});
    assert_eq!(picked(&["dot.ted"], &several), json!({"dot.ted": [1, 3]}));
    assert_eq!(picked(&["dot.ted"], &json!({"dot": 5})), json!({"dot.ted": null}));
}

#[test]
fn only_what_is_needed_is_asked_for() {
    let index = index();
    let columns = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Columns::of(&Projection::Columns(names), &index).unwrap()
    };
    let residual = Residual::new(&Filter::from_json(r#"{"blob":"AA=="}"#).unwrap(), &index).unwrap();
    let paths = |names: &[&str]| Source::Of(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(columns(&["n", "_id", "n"]).source(None), paths(&["n"]));
    assert_eq!(columns(&["n"]).source(Some(&residual)), paths(&["blob", "n"]));
    assert_eq!(columns(&["_id"]).source(None), Source::None);
    assert_eq!(Columns::All.source(Some(&residual)), Source::All);
}

#[test]
fn what_the_engine_cannot_test_is_tested_by_what_columns_are() {
    let index = index();
    let matches = |filter: &str, source: Json| {
        Residual::new(&Filter::from_json(filter).unwrap(), &index).unwrap().matches(&hit(&source)).unwrap()
    };
    assert!(matches(r#"{"blob":{"$gt":"AA=="}}"#, json!({"blob": "/w=="})));
    assert!(matches(r#"{"body":{"$contains":"HELLO"}}"#, json!({"body": "say hello"})));
    assert!(matches(r#"{"n":{"$gt":"9007199254740992"}}"#, json!({"n": 9_007_199_254_740_993_i64})));
    assert!(matches(r#"{"_id":{"$lt":"8"}}"#, json!({})));
    assert!(!matches(r#"{"$not":{"body":"x"}}"#, json!({})));
}
