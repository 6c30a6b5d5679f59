//! How tests ask a bridge.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call, Driver, RowStream};
use protocol::{AggregateOptions, CHUNK_BYTES, CountOptions, QueryOptions, ReadOptions, SourceConfig, Tail};
use semilayer_bridge_redis::Redis;
use serde_json::Value;
use serde_json::value::RawValue;

/// More than any test takes.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);

pub(crate) fn ample() -> Call {
    Call::within(AMPLE)
}

pub(crate) fn settings(config: Value) -> SourceConfig {
    serde_json::from_value(config).unwrap()
}

/// Opens a source, or says why it cannot be.
pub(crate) async fn connect(config: Value) -> Result<Box<dyn Bridge>, BridgeError> {
    Redis.connect(&settings(config), &ample()).await
}

pub(crate) async fn open(config: Value) -> Box<dyn Bridge> {
    connect(config).await.unwrap_or_else(|error| panic!("{error}"))
}

fn raw(options: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(options).unwrap()
}

pub(crate) fn options(options: Value) -> QueryOptions {
    QueryOptions::parse(&raw(&options)).unwrap()
}

/// The rows of a query, parsed.
pub(crate) async fn query(
    bridge: &dyn Bridge,
    target: &str,
    asked: Value,
) -> Result<Vec<Value>, BridgeError> {
    Ok(parsed(bridge.query(&ample(), target, options(asked)).await?).await?.0)
}

/// The rows of a page of `read`, and where the next begins.
pub(crate) async fn read(
    bridge: &dyn Bridge,
    target: &str,
    asked: Value,
) -> Result<(Vec<Value>, Tail), BridgeError> {
    let asked = ReadOptions::parse(&raw(&asked)).unwrap();
    parsed(bridge.read(&ample(), target, asked).await?).await
}

pub(crate) async fn count(bridge: &dyn Bridge, target: &str, asked: Value) -> Result<u64, BridgeError> {
    let asked = CountOptions::parse(&raw(&asked)).unwrap();
    Ok(bridge.count(&ample(), target, asked).await?.total)
}

pub(crate) async fn aggregate(
    bridge: &dyn Bridge,
    target: &str,
    asked: Value,
) -> Result<Vec<Value>, BridgeError> {
    let asked = AggregateOptions::parse(&raw(&asked)).unwrap();
    Ok(parsed(bridge.aggregate(&ample(), target, asked).await?).await?.0)
}

pub(crate) async fn parsed(rows: RowStream) -> Result<(Vec<Value>, Tail), BridgeError> {
    let (batches, tail) = collect(rows).await?;
    Ok((serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap(), tail))
}

/// The text of every batch, and what comes after them.
pub(crate) async fn collect(mut rows: RowStream) -> Result<(Vec<String>, Tail), BridgeError> {
    let mut batches = Vec::new();
    while let Some(batch) = rows.next(CHUNK_BYTES).await? {
        batches.push(batch.rows);
    }
    Ok((batches, rows.tail()))
}

/// The texts of a column.
pub(crate) fn texts(rows: &[Value], column: &str) -> Vec<String> {
    rows.iter().map(|row| row[column].as_str().unwrap_or_default().to_owned()).collect()
}
