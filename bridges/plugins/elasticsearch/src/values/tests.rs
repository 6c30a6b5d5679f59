//! Rows as callers see them.

use semilayer_plugin::options::Filter;
use serde_json::{Value as Json, json};

use super::*;

fn index() -> Index {
    Index::read(&json!({"t": {"mappings": {"properties": {
        "n": {"type": "long"},
        "d": {"type": "double"},
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

fn own_format_index() -> Index {
    let at = json!({"type": "date", "format": "yyyy/MM/dd", "null_value": "1999/01/01"});
    Index::read(&json!({"t": {"mappings": {"properties": {"at": at}}}}))
}

fn own_format_hit(stored: &Json, told: &[&str]) -> Hit {
    let hit = json!({"_id": "7", "_source": {"at": stored}, "fields": {"at": told}});
    serde_json::from_str(&hit.to_string()).unwrap()
}

fn own_format(stored: &Json, told: &[&str]) -> Json {
    let index = own_format_index();
    let null_instant = Timestamp::parse("1999-01-01");
    let columns = Columns::These(vec![Field { null_instant, ..index.field("at").unwrap() }]);
    assert_eq!(columns.dates(None, &index), [json!({"field": "at", "format": "strict_date_optional_time"})]);
    let hit = own_format_hit(stored, told);
    serde_json::to_value(columns.row(&hit, &index, false).unwrap()).unwrap()["at"].clone()
}

#[test]
fn dates_in_a_form_of_their_own_are_as_the_index_has_them() {
    assert_eq!(own_format(&json!("2026/01/02"), &["2026-01-02T00:00:00.000Z"]), "2026-01-02T00:00:00.000Z");
    let two = ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"];
    assert_eq!(own_format(&json!(["2026/01/02", "2026/01/01"]), &two), json!(two));
    assert_eq!(own_format(&json!(["2026/01/02"]), &two[1..]), json!([two[1]]));
    assert_eq!(own_format(&json!("not one"), &[]), "not one");
    assert_eq!(own_format(&Json::Null, &[]), Json::Null);
}

#[test]
fn nulls_of_a_list_of_dates_come_last_and_what_stands_for_them_does_not_come() {
    let (old, one) = ("1999-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z");
    for (stored, told, expected) in [
        (json!(["2026/01/02", null]), vec![old, one], json!([one, null])),
        (json!([[null], "2026/01/02", null]), vec![old, old, one], json!([one, null, null])),
        (json!([null, "1999/01/01"]), vec![old, old], json!([old, null])),
        (json!([null]), vec![old], json!([null])),
        (json!([null]), vec![], json!([null])),
        (json!(null), vec![old], json!(null)),
    ] {
        assert_eq!(own_format(&stored, &told), expected, "{stored}");
    }
    assert_eq!(own_format(&json!(["2026/01/02", ["2026/01/02"]]), &[one, one]), json!([one, one]));
}

#[test]
fn a_list_of_dates_that_the_index_does_not_have_whole_stays_as_it_is_stored() {
    let one = "2026-01-02T00:00:00.000Z";
    for (stored, told) in [(json!(["2026/01/02", "not one"]), vec![one]), (json!(["not one", null]), vec![])]
    {
        assert_eq!(own_format(&stored, &told), stored, "{told:?}");
    }
}

#[test]
fn a_date_beside_a_null_is_still_found() {
    let filter = Filter::from_json(r#"{"at":{"$gte":"2026-01-02T00:00:00Z"}}"#).unwrap();
    let residual = Residual::new(&filter, &own_format_index()).unwrap();
    let matches =
        |told: &str| residual.matches(&own_format_hit(&json!(["2026/01/02", null]), &[told])).unwrap();
    assert!(matches("2026-01-02T00:00:00.000Z"));
    assert!(!matches("2026-01-01T00:00:00.000Z"));
}

#[test]
fn every_date_of_the_usual_form_is_an_instant() {
    for (stored, instant) in [
        ("2026", "2026-01-01T00:00:00.000Z"),
        ("2026-03", "2026-03-01T00:00:00.000Z"),
        ("2026-03-04T05", "2026-03-04T05:00:00.000Z"),
        ("1767225600000", "2026-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(picked(&["at"], &json!({"at": stored})), json!({"at": instant}), "{stored}");
    }
}

#[test]
fn values_of_lists_have_the_same_forms() {
    let source = json!({"n": [1, 9_007_199_254_740_993_i64], "at": ["2026-01-01", null]});
    let row = json!({"n": [1, "9007199254740993"], "at": ["2026-01-01T00:00:00.000Z", null]});
    assert_eq!(picked(&["n", "at"], &source), row);
    assert_eq!(picked(&["n"], &json!({"n": [1, 2]})), json!({"n": [1, 2]}));
}

#[test]
fn dates_are_as_exact_as_the_index_has_them() {
    let source = json!({"at": "2026-01-02T03:04:05.678901Z"});
    assert_eq!(picked(&["at"], &source), json!({"at": "2026-01-02T03:04:05.678Z"}));
    assert!(!passes(r#"{"at":{"$gt":"2026-01-02T03:04:05.678Z"}}"#, &source));
}

#[test]
fn what_the_index_has_in_another_form_is_tested_in_that() {
    for (filter, source) in [
        (r#"{"n":5}"#, json!({"n": 5.7})),
        (r#"{"n":{"$gte":0}}"#, json!({"n": "-0.5"})),
        (r#"{"n":5}"#, json!({"n": ["5", 7]})),
        (r#"{"n":[7]}"#, json!({"n": "007"})),
        (r#"{"n":5}"#, json!({"n": ["+5", " 5 ", "5."]})),
        (r#"{"n":0}"#, json!({"n": ".5"})),
        (r#"{"n":0}"#, json!({"n": "-000"})),
        (r#"{"n":500}"#, json!({"n": "\t5e+02"})),
        (r#"{"d":{"$lt":-0.4}}"#, json!({"d": " -.5"})),
        (r#"{"d":1200}"#, json!({"d": "+01.2e3"})),
        // What is none of the column's kind is not in the index.
        (r#"{"n":null}"#, json!({"n": "abc"})),
        (r#"{"n":null}"#, json!({"n": ["abc", true]})),
        (r#"{"n":null}"#, json!({"n": ["", ".", "-", "e5", "+-5", "5 5", "0x5"]})),
        (r#"{"n":{"$lt":6}}"#, json!({"n": ["abc", 5]})),
        (r#"{"at":null}"#, json!({"at": "week 3"})),
        (r#"{"$not":{"at":{"$gt":"2026-01-01"}}}"#, json!({"at": ["week 3", "2025-01-01"]})),
    ] {
        assert!(passes(filter, &source), "{filter} {source}");
    }
    assert!(!passes(r#"{"at":{"$gt":"2026-01-01"}}"#, &json!({"at": "week 3"})));
}

#[test]
fn a_date_is_tested_as_the_index_has_told_it() {
    let index = index();
    let filter = Filter::from_json(r#"{"at":{"$lt":"2026-01-02"}}"#).unwrap();
    let residual = Residual::new(&filter, &index).unwrap();
    let asked = json!({"field": "at", "format": "strict_date_optional_time"});
    let columns = Columns::of(&Projection::Columns(vec!["at".to_owned()]), &index).unwrap();
    assert_eq!((columns.dates(Some(&residual), &index), columns.dates(None, &index)), (vec![asked], vec![]));
    for (stored, told, expected) in [
        ("2026-01-01T03:04:05,678Z", "2026-01-01T03:04:05.678Z", true),
        ("2026-01-02T", "2026-01-02T00:00:00.000Z", false),
        ("-1000", "-1000-01-01T00:00:00.000Z", true),
        ("+12026-01-02", "+12026-01-02T00:00:00.000Z", false),
    ] {
        let hit = json!({"_id": "7", "_source": {"at": stored}, "fields": {"at": [told]}});
        assert_eq!(residual.matches(&serde_json::from_value(hit).unwrap()).unwrap(), expected, "{stored}");
    }
}

fn passes(filter: &str, source: &Json) -> bool {
    let filter = Filter::from_json(filter).unwrap();
    Residual::new(&filter, &index()).unwrap().matches(&hit(source)).unwrap()
}

#[test]
fn a_list_is_looked_at_as_the_engine_does() {
    let list = json!({"tags": ["a", ["b"], null], "n": [1, 5]});
    for (filter, expected) in [
        (r#"{"tags":"b"}"#, true),
        (r#"{"tags":{"$ne":"b"}}"#, false),
        (r#"{"tags":{"$ne":"c"}}"#, true),
        (r#"{"$not":{"tags":"b"}}"#, false),
        (r#"{"$not":{"tags":"c"}}"#, true),
        (r#"{"tags":{"$nin":["a","x"]}}"#, false),
        (r#"{"tags":{"$nin":["x",null]}}"#, false),
        (r#"{"tags":{"$contains":"B"}}"#, true),
        (r#"{"n":{"$gt":4}}"#, true),
        (r#"{"$not":{"n":{"$gt":4}}}"#, false),
        (r#"{"$or":[{"n":9},{"tags":"a"}]}"#, true),
        (r#"{"tags":"a","n":9}"#, false),
        (r#"{"tags":null}"#, false),
    ] {
        assert_eq!(passes(filter, &list), expected, "{filter}");
    }
}

#[test]
fn a_list_without_values_is_null() {
    for source in [json!({"tags": [], "n": [1]}), json!({"tags": [null], "n": [1]})] {
        assert!(passes(r#"{"tags":null}"#, &source));
        assert!(!passes(r#"{"tags":{"$ne":"b"}}"#, &source));
        assert!(!passes(r#"{"$not":{"tags":"b"}}"#, &source));
    }
}

#[test]
fn a_list_that_is_a_value_is_no_null() {
    let properties = json!({"doc": {"type": "object", "enabled": false}, "n": {"type": "long"}});
    let index = Index::read(&json!({"t": {"mappings": {"properties": properties}}}));
    let passes = |filter: &str, source: &Json| {
        let residual = Residual::new(&Filter::from_json(filter).unwrap(), &index).unwrap();
        residual.matches(&hit(source)).unwrap()
    };
    assert!(!passes(r#"{"doc":null}"#, &json!({"doc": []})));
    assert!(!passes(r#"{"doc":null,"n":1}"#, &json!({"doc": [], "n": [1, 2]})));
    assert!(passes(r#"{"doc":{"$ne":null},"n":1}"#, &json!({"doc": [], "n": [1, 2]})));
}

#[test]
fn an_index_that_forgets_its_documents_gives_keys_alone() {
    let index = Index::read(&json!({"t": {"mappings": {
        "_source": {"enabled": false}, "properties": {"n": {"type": "long"}, "body": {"type": "text"}},
    }}}));
    let columns = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Columns::of(&Projection::Columns(names), &index)
    };
    assert!(columns(&["_id"]).is_ok());
    assert!(columns(&["_id", "n"]).unwrap_err().message().contains("_source"));
    assert!(Columns::of(&Projection::All, &index).is_err());
    assert!(Residual::new(&Filter::from_json(r#"{"body":"x"}"#).unwrap(), &index).is_err());
}
