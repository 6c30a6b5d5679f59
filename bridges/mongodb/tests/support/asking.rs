//! Short ways to ask a bridge.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call, Driver};
use protocol::{CountOptions, QueryOptions, ReadOptions, SourceConfig};
use semilayer_bridge_mongodb::MongoDb;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(crate) fn call() -> Call {
    Call::within(Duration::from_secs(30))
}

pub(crate) async fn open(config: &SourceConfig) -> Result<Box<dyn Bridge>, BridgeError> {
    MongoDb.connect(config, &call()).await
}

pub(crate) fn raw(options: Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(&options).unwrap()
}

pub(crate) async fn query(
    bridge: &dyn Bridge,
    target: &str,
    options: Value,
) -> Result<Vec<Value>, BridgeError> {
    let options = QueryOptions::parse(&raw(options))?;
    Ok(bridge_conformance::collect(bridge.query(&call(), target, options).await?).await?.0)
}

/// The exact text of the rows, one a line.
pub(crate) async fn text(bridge: &dyn Bridge, target: &str, options: Value) -> String {
    let options = QueryOptions::parse(&raw(options)).unwrap();
    let mut stream = bridge.query(&call(), target, options).await.unwrap();
    let mut rows = Vec::new();
    while let Some(batch) = stream.next(1).await.unwrap() {
        rows.push(batch.rows);
    }
    rows.join("\n")
}

/// The ids of all pages of a scan.
pub(crate) async fn scan(bridge: &dyn Bridge, target: &str, limit: u64) -> Vec<Value> {
    let mut ids = Vec::new();
    let mut cursor = None;
    loop {
        let options = ReadOptions { limit, cursor, ..ReadOptions::default() };
        let stream = bridge.read(&call(), target, options).await.unwrap();
        let (rows, tail) = bridge_conformance::collect(stream).await.unwrap();
        ids.extend(rows.into_iter().map(|mut row| row["_id"].take()));
        assert!(ids.len() < 1_000, "the scan does not end");
        match tail.next_cursor {
            Some(next) => cursor = Some(next),
            None => return ids,
        }
    }
}

pub(crate) async fn count(bridge: &dyn Bridge, target: &str, filter: Value) -> u64 {
    let options = CountOptions::parse(&raw(json!({ "where": filter }))).unwrap();
    bridge.count(&call(), target, options).await.unwrap().total
}
