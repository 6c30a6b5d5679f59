//! Indices of a test's own, and what is asked of them through the plugin.

use std::time::Duration;

use bridge_conformance::collect;
use bridge_core::{Bridge, BridgeError, Call, Driver};
use protocol::{CountOptions, QueryOptions};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value as Json, json};

use crate::plugin;
use crate::server::{Server, servers};

/// An index of a test's own, removed when the test ends.
pub(crate) struct Scratch {
    pub(crate) server: &'static Server,
    pub(crate) name: String,
    pub(crate) bridge: Box<dyn Bridge>,
}

impl Scratch {
    pub(crate) async fn new(name: &str, body: Json, documents: &[Json]) -> Self {
        let server = &servers()[0];
        let name = format!("scratch-{}-{name}", std::process::id());
        server.create(&name, &body);
        let documents: Vec<(String, Json)> =
            documents.iter().enumerate().map(|(id, document)| (id.to_string(), document.clone())).collect();
        server.insert(&name, &documents);
        server.refresh(&name);
        let bridge = plugin::load().await.connect(&server.config(), &call()).await.unwrap();
        Self { server, name, bridge }
    }

    pub(crate) async fn query(&self, options: Json) -> Result<Vec<Json>, BridgeError> {
        query(&*self.bridge, &self.name, options).await
    }

    /// The keys of rows that a filter finds, which `count` must find, too.
    pub(crate) async fn finds(&self, filter: Json) -> Vec<String> {
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

pub(crate) fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

pub(crate) fn raw(options: &Json) -> Box<RawValue> {
    to_raw_value(options).unwrap()
}

pub(crate) async fn query(
    bridge: &dyn Bridge,
    target: &str,
    options: Json,
) -> Result<Vec<Json>, BridgeError> {
    let options = QueryOptions::parse(&raw(&options)).unwrap();
    collect(bridge.query(&call(), target, options).await?).await.map(|(rows, _)| rows)
}
