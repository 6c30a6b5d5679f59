//! What the suite cannot know: mappings as people have them, names that stand for several indices, and jobs that end early.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

#[path = "support/plugin.rs"]
mod plugin;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/server.rs"]
mod server;

use std::time::{Duration, Instant};

use bridge_conformance::collect;
use bridge_core::{BridgeError, Call, Driver};
use protocol::{AggregateOptions, BatchReadOptions, QueryOptions, SearchOptions};
use serde_json::{Value as Json, json};

use crate::scratch::{Scratch, call, query, raw};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn text_that_nobody_has_mapped_is_compared_as_a_whole() {
    let long = format!("Needle {}", "x".repeat(400));
    let documents = ["Red Shoe", "red shoe", "Red", &long].map(|title| json!({"title": title}));
    let scratch = Scratch::new("dynamic", json!({}), &documents).await;
    assert_eq!(scratch.finds(json!({"title": "Red Shoe"})).await, ["0"]);
    assert_eq!(scratch.finds(json!({"title": {"$contains": "shoe"}})).await, ["0", "1"]);
    assert_eq!(scratch.finds(json!({"title": {"$ne": "Red"}})).await, ["0", "1", "3"]);
    // Too long for the field beside it.
    assert_eq!(scratch.finds(json!({"title": {"$startsWith": "NEEDLE"}})).await, ["3"]);
    assert_eq!(scratch.finds(json!({"title": long})).await, ["3"]);
    assert_eq!(scratch.finds(json!({"title": {"$in": ["Red", long]}})).await, ["2", "3"]);
    let rows = scratch.query(json!({"orderBy": {"title": "asc"}, "select": ["_id"]})).await.unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| row["_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["3", "2", "0", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_without_a_whole_field_is_looked_at() {
    let documents = ["Red Shoe", "red shoe", "!!!", "Red Shoe too"].map(|body| json!({"body": body}));
    let mapping = json!({"mappings": {"properties": {"body": {"type": "text"}}}});
    let scratch = Scratch::new("analysed", mapping, &documents).await;
    assert_eq!(scratch.finds(json!({"body": "Red Shoe"})).await, ["0"]);
    assert_eq!(scratch.finds(json!({"body": "!!!"})).await, ["2"]);
    assert_eq!(scratch.finds(json!({"$not": {"body": {"$like": "Red%"}}})).await, ["1", "2"]);
    let options = SearchOptions::parse(&raw(&json!({"query": "shoe too"}))).unwrap();
    let (rows, tail) =
        collect(scratch.bridge.search(&call(), &scratch.name, options).await.unwrap()).await.unwrap();
    assert_eq!(
        (rows.len(), rows[0]["_id"].as_str(), tail.method),
        (3, Some("3"), Some(protocol::SearchMethod::FullText))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_summed_row_by_row() {
    let documents = [json!({"tags": ["a", "b"], "n": 1}), json!({"tags": "a", "n": 2})];
    let mapping = json!({"mappings": {"properties": {"tags": {"type": "keyword"}, "n": {"type": "long"}}}});
    let scratch = Scratch::new("lists", mapping, &documents).await;
    assert_eq!(scratch.finds(json!({"tags": "b"})).await, ["0"]);
    let options =
        json!({"dimensions": [{"field": "tags"}], "measures": {"n": {"agg": "sum", "column": "n"}}});
    let options = AggregateOptions::parse(&raw(&options)).unwrap();
    let stream = scratch.bridge.aggregate(&call(), &scratch.name, options).await.unwrap();
    let counts: u64 =
        collect(stream).await.unwrap().0.iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
    assert_eq!(counts, 2, "each document is in one bucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_matches_by_each_of_its_values_however_it_is_found() {
    let documents = [
        json!({"tags": ["a", "b"], "n": [1, 5], "body": "red shoe"}),
        json!({"tags": "c", "n": 2, "body": "red"}),
        json!({"tags": [], "body": "red shoe"}),
    ];
    let properties = json!({"tags": {"type": "keyword"}, "n": {"type": "long"}, "body": {"type": "text"}});
    let scratch = Scratch::new("values", json!({"mappings": {"properties": properties}}), &documents).await;
    // `body` has no whole values in the index, so that with it every row is looked at.
    let looked_at = json!({"body": {"$contains": "red"}});
    for (filter, expected) in [
        (json!({"tags": "b"}), vec!["0"]),
        (json!({"tags": {"$ne": "b"}}), vec!["1"]),
        (json!({"tags": {"$in": ["b", "c"]}}), vec!["0", "1"]),
        (json!({"$not": {"tags": {"$startsWith": "a"}}}), vec!["1"]),
        (json!({"tags": null}), vec!["2"]),
        (json!({"n": {"$gt": 4}}), vec!["0"]),
        (json!({"n": {"$gte": 2}}), vec!["0", "1"]),
    ] {
        assert_eq!(scratch.finds(filter.clone()).await, expected, "{filter}");
        let again = json!({"$and": [filter, looked_at]});
        assert_eq!(scratch.finds(again.clone()).await, expected, "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_of_every_format_are_instants() {
    let documents = [
        json!({"day": "2026/01/02", "second": 1_767_312_000, "month": "2026-01", "body": "x"}),
        json!({"day": ["2026/03/04", "2026/02/03"], "second": 1_767_312_001, "month": "2026-02-03T04:05:06Z", "body": "x"}),
    ];
    let properties = json!({
        "day": {"type": "date", "format": "yyyy/MM/dd"},
        "second": {"type": "date", "format": "epoch_second"},
        "month": {"type": "date"},
        "body": {"type": "text"},
    });
    let scratch = Scratch::new("dates", json!({"mappings": {"properties": properties}}), &documents).await;
    let told = json!({"day": "2026-01-02T00:00:00.000Z", "second": "2026-01-02T00:00:00.000Z", "month": "2026-01-01T00:00:00.000Z"});
    let mut rows = scratch.query(json!({"orderBy": {"second": "asc"}})).await.unwrap();
    for column in ["day", "second", "month"] {
        assert_eq!(rows[0][column], told[column], "{column}");
    }
    assert_eq!(rows[1]["day"], json!(["2026-02-03T00:00:00.000Z", "2026-03-04T00:00:00.000Z"]));
    rows = scratch.query(json!({"select": ["day"], "where": {"_id": "0"}})).await.unwrap();
    assert_eq!(rows, [json!({"day": told["day"]})]);
    for (filter, expected) in [
        (json!({"day": "2026-01-02T00:00:00Z"}), vec!["0"]),
        (json!({"day": {"$gt": "2026-03-01"}}), vec!["1"]),
        (json!({"second": {"$lte": "2026-01-02T00:00:00Z"}}), vec!["0"]),
        (json!({"month": {"$lt": "2026-01-15"}}), vec!["0"]),
    ] {
        assert_eq!(scratch.finds(filter.clone()).await, expected, "{filter}");
        let looked_at = json!({"$and": [filter, {"body": "x"}]});
        assert_eq!(scratch.finds(looked_at.clone()).await, expected, "{looked_at}");
    }
    // The runner's own buckets are made of rows.
    let options = json!({"dimensions": [{"field": "second", "bucket": "minute"}], "measures": {"d": {"agg": "count_distinct", "column": "second"}}});
    let options = AggregateOptions::parse(&raw(&options)).unwrap();
    let (buckets, _) =
        collect(scratch.bridge.aggregate(&call(), &scratch.name, options).await.unwrap()).await.unwrap();
    assert_eq!(buckets, [json!({"dims": {"second": "2026-01-02T00:00"}, "measures": {"d": 2}, "count": 2})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_in_a_list_of_dates_is_null_and_hides_no_date() {
    let documents = [json!({"day": [null, "2026/03/04"], "body": "x"}), json!({"body": "x"})];
    let properties = json!({"day": {"type": "date", "format": "yyyy/MM/dd"}, "body": {"type": "text"}});
    let scratch = Scratch::new("holes", json!({"mappings": {"properties": properties}}), &documents).await;
    let rows = scratch.query(json!({"select": ["_id", "day"]})).await.unwrap();
    let days = |id: &str| rows.iter().find(|row| row["_id"] == id).unwrap()["day"].clone();
    // A document that has nothing of what was asked for is one all the same.
    assert_eq!((days("0"), days("1")), (json!(["2026-03-04T00:00:00.000Z", null]), Json::Null));
    for filter in
        [json!({"day": {"$gt": "2026-03-01"}}), json!({"$and": [{"day": "2026-03-04"}, {"body": "x"}]})]
    {
        assert_eq!(scratch.finds(filter.clone()).await, ["0"], "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_index_for_null_is_no_date_of_a_row() {
    let documents = [
        json!({"day": ["2026/03/04", null, "2026/03/04"]}),
        json!({"day": [null, "1999/01/01"]}),
        json!({"day": null}),
        json!({"day": "1999/01/01"}),
    ];
    let day = json!({"type": "date", "format": "yyyy/MM/dd", "null_value": "1999/01/01"});
    let mapping = json!({"mappings": {"properties": {"day": day}}});
    let scratch = Scratch::new("stand-in", mapping, &documents).await;
    let rows = scratch.query(json!({"orderBy": {"_id": "asc"}})).await.unwrap();
    let (spring, old) = ("2026-03-04T00:00:00.000Z", "1999-01-01T00:00:00.000Z");
    let days: Vec<&Json> = rows.iter().map(|row| &row["day"]).collect();
    assert_eq!(days, [&json!([spring, spring, null]), &json!([old, null]), &Json::Null, &json!(old)]);
    for (filter, expected) in [
        (json!({"day": {"$lt": "2000-01-01"}}), vec!["1", "3"]),
        (json!({"day": "1999-01-01"}), vec!["1", "3"]),
        (json!({"day": {"$ne": "1999-01-01"}}), vec!["0"]),
        (json!({"day": null}), vec!["2"]),
    ] {
        assert_eq!(scratch.finds(filter.clone()).await, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_result_window_hides_no_row() {
    let documents: Vec<Json> = (0..950).map(|n| json!({"n": n})).collect();
    let settings = json!({"settings": {"index": {"max_result_window": 100}}});
    let scratch = Scratch::new("window", settings, &documents).await;
    assert_eq!(scratch.query(json!({})).await.unwrap().len(), 950);
    let rows = scratch.query(json!({"orderBy": {"n": "asc"}, "offset": 300, "limit": 400})).await.unwrap();
    assert_eq!((rows.len(), &rows[0]["n"], &rows[399]["n"]), (400, &json!(300), &json!(699)));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_row_behind_which_no_row_is_found() {
    let documents: Vec<Json> = (0..12_345).map(|n| json!({"n": n, "word": format!("w{n}")})).collect();
    let properties = json!({"n": {"type": "long"}, "word": {"type": "keyword"}});
    let scratch = Scratch::new("deep", json!({"mappings": {"properties": properties}}), &documents).await;
    assert_eq!(scratch.finds(json!({"n": {"$gte": 0}})).await.len(), 12_345);
    let deep = json!({"orderBy": {"n": "asc"}, "offset": 12_000, "limit": 5, "select": ["n"]});
    assert_eq!(scratch.query(deep).await.unwrap()[0], json!({"n": 12_000}));
    let options = QueryOptions::parse(&raw(&json!({"limit": 1, "total": true}))).unwrap();
    let stream = scratch.bridge.query(&call(), &scratch.name, options).await.unwrap();
    assert_eq!(collect(stream).await.unwrap().1.total, Some(12_345));
    // Fifty keys at once, and more buckets than one request may have.
    let ids: Vec<String> = (100..150).map(|id: u32| id.to_string()).collect();
    let options = BatchReadOptions::parse(&raw(&json!({"where": {"_id": {"$in": ids}}}))).unwrap();
    let stream = scratch.bridge.batch_read(&call(), &scratch.name, options).await.unwrap();
    assert_eq!(collect(stream).await.unwrap().0.len(), 50);
    let options =
        json!({"dimensions": [{"field": "word"}], "measures": {"s": {"agg": "sum", "column": "n"}}});
    let options = AggregateOptions::parse(&raw(&options)).unwrap();
    let stream = scratch.bridge.aggregate(&call(), &scratch.name, options).await.unwrap();
    let buckets = collect(stream).await.unwrap().0;
    assert_eq!(buckets.len(), 12_345);
    assert!(buckets.iter().all(|bucket| bucket["dims"]["word"] == format!("w{}", bucket["measures"]["s"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_documents_says_so() {
    let mapping = json!({"mappings": {"_source": {"enabled": false}, "properties": {"n": {"type": "long"}}}});
    let scratch = Scratch::new("forgetful", mapping, &[json!({"n": 1}), json!({"n": 2})]).await;
    assert_eq!(scratch.finds(json!({"n": 2})).await, ["1"]);
    let error = scratch.query(json!({})).await.unwrap_err();
    assert!(error.to_string().contains("_source"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn indices_that_disagree_are_read_and_looked_at() {
    let scratch = Scratch::new(
        "number",
        json!({"mappings": {"properties": {"v": {"type": "long"}, "only": {"type": "keyword"}}}}),
        &[json!({"v": 7, "only": "x"})],
    )
    .await;
    let other = Scratch::new(
        "word",
        json!({"mappings": {"properties": {"v": {"type": "keyword"}}}}),
        &[json!({"v": "seven"}), json!({"v": "7"})],
    )
    .await;
    let alias = format!("{}-both", scratch.name);
    let add = |index: &str| json!({"add": {"index": index, "alias": alias}});
    let actions = json!({"actions": [add(&scratch.name), add(&other.name)]});
    scratch.server.ask("POST", "/_aliases", &actions.to_string());
    let schema = scratch.bridge.introspect_target(&call(), &alias).await.unwrap();
    let column = schema.columns.iter().find(|column| column.name == "v").unwrap();
    assert!(["long|keyword", "keyword|long"].contains(&column.kind.as_str()), "{column:?}");
    let mut found = query(&*scratch.bridge, &alias, json!({"where": {"v": "seven"}})).await.unwrap();
    assert_eq!(found, [json!({"_id": "0", "v": "seven"})]);
    found = query(&*scratch.bridge, &alias, json!({"where": {"only": "x"}, "orderBy": {"only": "asc"}}))
        .await
        .unwrap();
    assert_eq!(found, [json!({"_id": "0", "v": 7, "only": "x"})]);
    found = query(&*scratch.bridge, &alias, json!({"where": {"only": null}})).await.unwrap();
    assert_eq!(found.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_a_date_does_not_hide_what_stands_for_null_in_others() {
    let day = json!({"type": "date", "format": "dd.MM.yyyy", "null_value": "01.01.2020"});
    let with = json!({"mappings": {"properties": {"day": day}}});
    let documents = [json!({"day": null}), json!({"day": [null, "02.03.2021"]})];
    let scratch = Scratch::new("with-day", with, &documents).await;
    let without = json!({"mappings": {"properties": {"n": {"type": "long"}}}});
    let other = Scratch::new("without-day", without, &[json!({"n": 1})]).await;
    let alias = format!("{}-both", scratch.name);
    let add = |index: &str| json!({"add": {"index": index, "alias": alias}});
    let actions = json!({"actions": [add(&scratch.name), add(&other.name)]});
    scratch.server.ask("POST", "/_aliases", &actions.to_string());
    let days = async |filter: Json| {
        let rows =
            query(&*scratch.bridge, &alias, json!({"where": filter, "select": ["day"]})).await.unwrap();
        rows.iter().map(|row| row["day"].to_string()).collect::<Vec<_>>()
    };
    let spring = json!(["2021-03-02T00:00:00.000Z", null]).to_string();
    assert_eq!(days(json!({"day": null})).await, ["null", "null"]);
    assert_eq!(days(json!({"day": {"$ne": null}})).await, std::slice::from_ref(&spring));
    assert_eq!(days(json!({"day": {"$gt": "2021-01-01"}})).await, [spring]);
    assert!(days(json!({"day": "2020-01-01"})).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_in_every_form_that_the_index_takes_are_found_by_a_second_look() {
    let dates = [
        json!("2026-01-02T03:04:05,678Z"),
        json!("2026-01-02T03Z"),
        json!("2026-01-02T"),
        json!("-1000"),
        json!("+12026-01-02"),
        json!(1_700_000_000_000.5),
    ];
    let numbers = [json!("007"), json!("+7"), json!(" 7"), json!("7."), json!(".5"), json!(7)];
    let documents: Vec<Json> = dates
        .iter()
        .zip(&numbers)
        .map(|(at, n)| json!({"at": at, "n": n, "d": n, "body": "é"}))
        .chain([json!({"body": "é"})])
        .collect();
    let properties = json!({
        "at": {"type": "date"}, "n": {"type": "integer"}, "d": {"type": "double"}, "body": {"type": "text"},
    });
    let scratch = Scratch::new("forms", json!({"mappings": {"properties": properties}}), &documents).await;
    for (filter, expected) in [
        (json!({"n": 7}), vec!["0", "1", "2", "3", "5"]),
        (json!({"d": {"$lt": 7}}), vec!["4"]),
        (json!({"n": {"$ne": 7}}), vec!["4"]),
        (json!({"at": {"$exists": true}}), vec!["0", "1", "2", "3", "4", "5"]),
        (json!({"at": null}), vec!["6"]),
        (json!({"at": {"$lt": "2026-01-02"}}), vec!["3", "5"]),
        (json!({"at": {"$gt": "2026-01-02T03:04:05.677Z"}}), vec!["0", "4"]),
        (json!({"at": {"$in": ["2026-01-02", "2026-01-02T03:00:00Z"]}}), vec!["1", "2"]),
    ] {
        assert_eq!(scratch.finds(filter.clone()).await, expected, "{filter}");
        let again = json!({"$and": [filter, {"body": {"$contains": "é"}}]});
        assert_eq!(scratch.finds(again.clone()).await, expected, "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_objects_are_read_as_they_are() {
    let mapping = json!({"mappings": {"properties": {"lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}}}}}});
    let lines = json!([{"sku": "a"}, {"sku": "b"}]);
    let scratch = Scratch::new("nested", mapping, &[json!({"lines": lines}), json!({})]).await;
    assert_eq!(
        scratch.query(json!({"where": {"lines": {"$ne": null}}})).await.unwrap(),
        [json!({"_id": "0", "lines": lines})]
    );
    let refused = scratch.query(json!({"where": {"lines.sku": "a"}})).await;
    assert!(
        matches!(&refused, Err(BridgeError::Invalid(invalid)) if invalid.to_string().contains("lines.sku")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_values_that_look_like_something_else_are_names_and_values() {
    let names = ["a\"b", "{\"match_all\":{}}", "script", "a*", "%2e%2e", "ünï", "$x"];
    let properties: serde_json::Map<String, Json> =
        names.iter().map(|name| ((*name).to_owned(), json!({"type": "keyword"}))).collect();
    let value = "*\"}}]},{\"script\":\"x\"} OR 1=1 ../_all?";
    let document: serde_json::Map<String, Json> =
        names.iter().map(|name| ((*name).to_owned(), json!(value))).collect();
    let documents = [Json::Object(document), json!({"script": "other", "ab": "decoy"})];
    let scratch = Scratch::new("hostile", json!({"mappings": {"properties": properties}}), &documents).await;
    for name in names.into_iter().filter(|name| !name.starts_with('$')) {
        for test in [json!(value), json!({"$startsWith": "*\""}), json!({"$ne": null}), json!({"$gt": "*"})] {
            let found = scratch.finds(json!({name: test})).await;
            assert!(
                found.contains(&"0".to_owned()) && (found.len() == 1 || name == "script"),
                "{name} {test}: {found:?}"
            );
        }
        let rows = scratch.query(json!({"select": [name], "where": {"_id": "0"}})).await.unwrap();
        assert_eq!(rows, [json!({name: value})]);
    }
    // What is not in the grammar is no query of the engine's.
    for filter in [
        json!({"script": {"$script": "true"}}),
        json!({"$where": "true"}),
        json!({"script": {"$gt": {"source": "true"}}}),
        json!({"bool": {"must": []}}),
    ] {
        assert!(QueryOptions::parse(&raw(&json!({"where": filter}))).is_err(), "{filter}");
    }
    for target in [
        "_all",
        "a/_search",
        "..",
        ".",
        "%2e%2e",
        "a%2f_search",
        "a?x=1",
        "a#b",
        "a b",
        "",
        "\u{0}",
        &"x".repeat(256),
    ] {
        let refused = query(&*scratch.bridge, target, json!({})).await;
        let is_refused = match &refused {
            Err(BridgeError::Invalid(invalid)) => invalid.to_string().contains("target"),
            // A name like any other, of which there is none.
            Err(BridgeError::Query { native, .. }) => {
                target.starts_with(['%', 'a']) && native.as_deref() == Some("index_not_found_exception")
            }
            _ => false,
        };
        assert!(is_refused, "{target:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_a_target_and_a_pattern_is_none() {
    let scratch = Scratch::new("aliased", json!({}), &[json!({"n": 1})]).await;
    let alias = format!("{}-alias", scratch.name);
    let actions = json!({"actions": [{"add": {"index": scratch.name, "alias": alias}}]});
    scratch.server.ask("POST", "/_aliases", &actions.to_string());
    assert_eq!(query(&*scratch.bridge, &alias, json!({})).await.unwrap(), [json!({"_id": "0", "n": 1})]);
    assert!(scratch.bridge.list_targets(&call()).await.unwrap().contains(&alias));
    for target in [format!("{}*", scratch.name), format!("{},{alias}", scratch.name), "_all".to_owned()] {
        let refused = query(&*scratch.bridge, &target, json!({})).await;
        assert!(matches!(refused, Err(BridgeError::Invalid(_))), "{target}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_nobody_takes_leave_nothing_at_the_server() {
    let server = Server::own();
    let documents: Vec<(String, Json)> = (0..5_000).map(|id| (id.to_string(), json!({"n": id}))).collect();
    server.create("things", &json!({}));
    server.insert("things", &documents);
    server.refresh("things");
    let bridge = plugin::load().await.connect(&server.config(), &call()).await.unwrap();
    let open = || server.ask("GET", "/_search/point_in_time/_all", "")["pits"].as_array().map_or(0, Vec::len);
    let mut rows = bridge.query(&call(), "things", QueryOptions::default()).await.unwrap();
    assert!(rows.next(1_024).await.unwrap().is_some());
    assert_eq!(open(), 1);
    drop(rows);
    // The instance is given back by the runner's own task.
    let deadline = Instant::now() + Duration::from_secs(20);
    while open() > 0 {
        assert!(Instant::now() < deadline, "the point in time stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_left_at_the_deadline() {
    let server = Server::own();
    server.create("things", &json!({}));
    let bridge = plugin::load().await.connect(&server.config(), &call()).await.unwrap();
    server.freeze(true);
    let start = Instant::now();
    let short = Call::within(Duration::from_millis(1_000));
    let answer = bridge.query(&short, "things", QueryOptions::default()).await.map(drop);
    server.freeze(false);
    assert!(matches!(answer, Err(BridgeError::Timeout)), "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(query(&*bridge, "things", json!({})).await.unwrap().is_empty());
}
