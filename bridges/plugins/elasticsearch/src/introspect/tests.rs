//! Mappings as servers answer them.

use serde_json::json;

use super::*;

fn index(properties: Json) -> Index {
    Index::read(&json!({"things-1": {"mappings": {"properties": properties}}}))
}

#[test]
fn whole_values_of_text_are_in_the_field_beside_it() {
    let keyword = json!({"type": "keyword", "ignore_above": 256});
    let index = index(json!({
        "title": {"type": "text", "fields": {"keyword": keyword}},
        "body": {"type": "text"},
        "name": {"type": "text", "fields": {"english": {"type": "text"}, "raw": {"type": "keyword"}}},
        "folded": {"type": "text", "fields": {"keyword": {"type": "keyword", "normalizer": "lowercase"}}},
    }));
    let exact = |name: &str| index.field(name).unwrap().exact.map(|exact| (exact.field, exact.ignore_above));
    assert_eq!(exact("title"), Some(("title.keyword".to_owned(), Some(256))));
    assert_eq!(exact("name"), Some(("name.raw".to_owned(), None)));
    assert_eq!((exact("body"), exact("folded")), (None, None));
}

#[test]
fn objects_are_their_fields_and_what_has_none_is_a_document() {
    let index = index(json!({
        "address": {"properties": {"city": {"type": "keyword"}, "at": {"properties": {"lat": {"type": "double"}}}}},
        "comments": {"type": "nested", "properties": {"author": {"type": "keyword"}}},
        "payload": {"type": "object", "enabled": false},
        "labels": {"type": "flattened"},
        "place": {"type": "geo_point"},
    }));
    let names: Vec<&str> = index.columns().iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["address.at.lat", "address.city", "comments", "labels", "payload", "place"]);
    assert_eq!(index.field("address").unwrap().kind, Kind::Object);
    assert_eq!(index.field("labels.env.name").unwrap().kind, Kind::FlattenedKey);
    assert_eq!(index.field("comments.author"), None);
}

#[test]
fn a_field_that_indices_disagree_about_can_only_be_read() {
    let mapping = |kind: &str, extra: Json| {
        let mut properties = json!({"n": {"type": kind}, "same": {"type": "date"}});
        properties.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"mappings": {"properties": properties}})
    };
    let index = Index::read(&json!({
        "logs-1": mapping("long", json!({})),
        "logs-2": mapping("keyword", json!({"new": {"type": "keyword"}})),
        "logs-3": mapping("long", json!({})),
    }));
    let field = |name: &str| index.field(name).unwrap();
    assert_eq!((field("n").kind, field("n").native.as_str()), (Kind::Document, "long|keyword"));
    assert_eq!((field("same").kind, field("same").partial), (Kind::Date, false));
    assert!(field("new").partial);
}

#[test]
fn an_alias_is_the_field_that_it_stands_for() {
    let index = index(json!({
        "user": {"properties": {"id": {"type": "long"}, "number": {"type": "alias", "path": "user.id"}}},
    }));
    let alias = index.field("user.number").unwrap();
    assert_eq!((alias.source.as_str(), alias.native.as_str()), ("user.id", "long"));
}

#[test]
fn what_is_not_in_the_index_has_no_exact_field() {
    let index = index(json!({
        "dark": {"type": "long", "index": false, "doc_values": false},
        "slow": {"type": "keyword", "index": "false"},
        "blob": {"type": "binary"},
    }));
    assert_eq!(index.field("dark").unwrap().presence, None);
    let slow = index.field("slow").unwrap();
    assert_eq!((slow.presence.is_some(), slow.exact.unwrap().indexed), (true, false));
    assert_eq!(index.field("blob").unwrap().exact, None);
}

#[test]
fn a_target_is_one_name() {
    for target in ["things", "logs-2026.11", "ünïcode", "order;by--", "a%b", "it's"] {
        assert!(check_target(target).is_ok(), "{target}");
    }
    for target in
        ["", "*", "sma*", "a,b", "-a", "_all", "+a", ".security", "<logs-{now/d}>", "x:y", "a b", "a\0"]
    {
        assert!(check_target(target).is_err(), "{target}");
    }
}

#[test]
fn a_name_that_would_be_a_pattern_is_only_read() {
    let index = Index::read(
        &json!({"t": {"mappings": {"properties": {"a*": {"type": "keyword"}, "ab": {"type": "keyword"}}}}}),
    );
    let field = index.field("a*").unwrap();
    assert_eq!((field.kind, field.exact, field.presence), (Kind::Document, None, None));
    assert!(index.field("ab").unwrap().exact.is_some());
}

#[test]
fn formats_that_everybody_reads_are_the_usual_ones() {
    let has_format = |format: &str| {
        let mapping = json!({"t": {"mappings": {"properties": {"at": {"type": "date", "format": format}}}}});
        Index::read(&mapping).field("at").unwrap().has_format
    };
    assert!(!has_format("strict_date_optional_time||epoch_millis"));
    assert!(!has_format("strict_date_optional_time"));
    for own in ["epoch_millis", "epoch_second", "yyyy/MM/dd||strict_date_optional_time", "basic_date"] {
        assert!(has_format(own), "{own}");
    }
}

#[test]
fn a_date_that_only_the_server_could_read_and_does_not_tell_is_a_document() {
    let date =
        |format: &str, doc_values: bool| json!({"type": "date", "format": format, "doc_values": doc_values});
    let index = index(json!({
        "own": date("yyyyMMdd", false), "told": date("yyyyMMdd", true), "usual": date("strict_date_optional_time", false),
        "seconds": date("epoch_second||strict_date", true), "mixed": date("yyyyMMdd||epoch_second", true),
    }));
    let kind = |name: &str| index.field(name).unwrap().kind;
    assert_eq!((kind("own"), kind("told"), kind("usual")), (Kind::Document, Kind::Date, Kind::Date));
    assert!(index.field("seconds").unwrap().in_seconds && !index.field("mixed").unwrap().in_seconds);
}
