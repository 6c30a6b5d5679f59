//! Short ways to open a database file and to ask it.

use std::path::Path;
use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call, Driver, RowStream};
use protocol::{QueryOptions, ReadOptions, SearchOptions, SourceConfig, Tail};
use semilayer_bridge_sqlite::Sqlite;
use serde_json::{Value, json};

/// Much more than anything here takes.
pub(crate) const AMPLE: Duration = Duration::from_secs(30);

pub(crate) fn config(fields: Value) -> SourceConfig {
    serde_json::from_value(fields).unwrap()
}

pub(crate) async fn connect(fields: Value) -> Result<Box<dyn Bridge>, BridgeError> {
    Sqlite.connect(&config(fields), &Call::within(AMPLE)).await
}

pub(crate) async fn open(path: &Path) -> Box<dyn Bridge> {
    connect(json!({ "path": path })).await.unwrap()
}

pub(crate) fn query_options(options: Value) -> QueryOptions {
    QueryOptions::parse(&serde_json::value::to_raw_value(&options).unwrap()).unwrap()
}

pub(crate) fn read_options(options: Value) -> ReadOptions {
    ReadOptions::parse(&serde_json::value::to_raw_value(&options).unwrap()).unwrap()
}

pub(crate) async fn query(
    bridge: &dyn Bridge,
    target: &str,
    options: Value,
) -> Result<Vec<Value>, BridgeError> {
    let call = Call::within(AMPLE);
    Ok(collect(bridge.query(&call, target, query_options(options)).await?).await?.0)
}

pub(crate) async fn search(
    bridge: &dyn Bridge,
    target: &str,
    options: Value,
) -> Result<(Vec<Value>, Tail), BridgeError> {
    let options = SearchOptions::parse(&serde_json::value::to_raw_value(&options).unwrap()).unwrap();
    collect(bridge.search(&Call::within(AMPLE), target, options).await?).await
}

pub(crate) async fn collect(mut rows: RowStream) -> Result<(Vec<Value>, Tail), BridgeError> {
    let mut all: Vec<Value> = Vec::new();
    while let Some(batch) = rows.next(protocol::CHUNK_BYTES).await? {
        let batch_rows: Vec<Value> = serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
        assert_eq!(batch.count, batch_rows.len() as u64);
        all.extend(batch_rows);
    }
    Ok((all, rows.tail()))
}

/// Every page of a scan, one after the other, and how many pages there were.
pub(crate) async fn scan(
    bridge: &dyn Bridge,
    target: &str,
    limit: u64,
) -> Result<(Vec<Value>, usize), BridgeError> {
    let mut all = Vec::new();
    let mut cursor = None;
    for page in 1..10_000 {
        let options = read_options(json!({ "limit": limit, "cursor": cursor }));
        let call = Call::within(AMPLE);
        let (rows, tail) = collect(bridge.read(&call, target, options).await?).await?;
        all.extend(rows);
        cursor = tail.next_cursor;
        if cursor.is_none() {
            return Ok((all, page));
        }
    }
    panic!("the scan of {target} does not end");
}

/// Asks until the answer is yes, or gives up.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come to be");
}
