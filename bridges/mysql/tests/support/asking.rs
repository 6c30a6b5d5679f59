//! How tests ask a bridge.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call, Driver, RowStream};
use protocol::{CHUNK_BYTES, QueryOptions, SimilarOptions, SourceConfig, Tail};
use semilayer_bridge_mysql::MysqlDriver;
use serde_json::{Value, json};

use crate::database::Database;

/// More than any test takes.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);

pub(crate) fn ample() -> Call {
    Call::within(AMPLE)
}

pub(crate) fn settings(config: Value) -> SourceConfig {
    serde_json::from_value(config).unwrap()
}

/// Opens a source, or says why it cannot be.
pub(crate) async fn connect(driver: MysqlDriver, config: Value) -> Result<Box<dyn Bridge>, BridgeError> {
    driver.connect(&settings(config), &ample()).await
}

/// Opens the database of a test.
pub(crate) async fn open(database: &Database) -> Box<dyn Bridge> {
    open_with(database, json!({})).await
}

/// The same with more settings.
pub(crate) async fn open_with(database: &Database, more: Value) -> Box<dyn Bridge> {
    let config = with(database.config(), more);
    connect(database.driver(), config).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Settings with others in their place.
pub(crate) fn with(mut config: Value, fields: Value) -> Value {
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    config
}

pub(crate) fn options(options: Value) -> QueryOptions {
    let text = serde_json::value::to_raw_value(&options).unwrap();
    QueryOptions::parse(&text).unwrap()
}

/// The rows of a query, parsed.
pub(crate) async fn query(
    bridge: &dyn Bridge,
    target: &str,
    asked: Value,
) -> Result<Vec<Value>, BridgeError> {
    let batches = collect(bridge.query(&ample(), target, options(asked)).await?).await?.0;
    Ok(serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap())
}

/// The rows of a query as they are written.
pub(crate) async fn json_rows(
    bridge: &dyn Bridge,
    target: &str,
    asked: Value,
) -> Result<Vec<String>, BridgeError> {
    let batches = collect(bridge.query(&ample(), target, options(asked)).await?).await?.0;
    let rows: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap();
    Ok(rows.into_iter().map(|row| row.get().to_owned()).collect())
}

/// The rows of a `similar`, parsed.
pub(crate) async fn similar(
    bridge: &dyn Bridge,
    target: &str,
    asked: Value,
) -> Result<Vec<Value>, BridgeError> {
    let asked = SimilarOptions::parse(&serde_json::value::to_raw_value(&asked).unwrap()).unwrap();
    let (batches, _) = collect(bridge.similar(&ample(), target, asked).await?).await?;
    Ok(serde_json::from_str(&format!("[{}]", batches.join(","))).unwrap())
}

/// The text of every batch, and what comes after them.
pub(crate) async fn collect(mut rows: RowStream) -> Result<(Vec<String>, Tail), BridgeError> {
    let mut batches = Vec::new();
    while let Some(batch) = rows.next(CHUNK_BYTES).await? {
        batches.push(batch.rows);
    }
    Ok((batches, rows.tail()))
}
