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
#[path = "support/server.rs"]
mod server;

use std::time::{Duration, Instant};

use bridge_conformance::collect;
use bridge_core::{Bridge, BridgeError, Call, Driver};
use protocol::{AggregateOptions, CountOptions, QueryOptions, SearchOptions};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value as Json, json};

use crate::server::{Server, servers};

/// An index of a test's own, removed when the test ends.
struct Scratch {
    server: &'static Server,
    name: String,
    bridge: Box<dyn Bridge>,
}

impl Scratch {
    async fn new(name: &str, body: Json, documents: &[Json]) -> Self {
        let server = &servers()[0];
        let name = format!("behaviour-{}-{name}", std::process::id());
        server.create(&name, &body);
        let documents: Vec<(String, Json)> =
            documents.iter().enumerate().map(|(id, document)| (id.to_string(), document.clone())).collect();
        server.insert(&name, &documents);
        server.refresh(&name);
        let bridge = plugin::load().await.connect(&server.config(), &call()).await.unwrap();
        Self { server, name, bridge }
    }

    async fn query(&self, options: Json) -> Result<Vec<Json>, BridgeError> {
        query(&*self.bridge, &self.name, options).await
    }

    /// The keys of rows that a filter finds, which `count` must find, too.
    async fn finds(&self, filter: Json) -> Vec<String> {
        let rows = self.query(json!({"where": filter.clone(), "select": ["_id"]})).await.unwrap();
        let options = CountOptions::parse(&raw(&json!({"where": filter}))).unwrap();
        let counted = self.bridge.count(&call(), &self.name, options).await.unwrap();
        assert_eq!(counted.total, rows.len() as u64);
        let mut ids: Vec<String> = rows.iter().map(|row| row["_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.server.remove(&self.name);
    }
}

fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

fn raw(options: &Json) -> Box<RawValue> {
    to_raw_value(options).unwrap()
}

async fn query(bridge: &dyn Bridge, target: &str, options: Json) -> Result<Vec<Json>, BridgeError> {
    let options = QueryOptions::parse(&raw(&options)).unwrap();
    collect(bridge.query(&call(), target, options).await?).await.map(|(rows, _)| rows)
}

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
