//! Guests, and short ways of asking them.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call, Driver, RowStream};
use protocol::{ReadOptions, SourceConfig, Tail};
use semilayer_plugins_host::{Engine, EngineSettings, Grants, Limits, LoadError, Plugin};
use serde_json::{Value, json};

/// The file of a guest that `cargo xtask guests` has built.
#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its guests")]
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("SEMILAYER_TEST_GUESTS");
    let folder = folder.expect("SEMILAYER_TEST_GUESTS names no folder: run cargo xtask guests");
    let file = PathBuf::from(folder).join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: run cargo xtask guests", file.display()))
}

/// An engine whose compiled plugins all tests share.
pub(crate) fn engine() -> Engine {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled-plugins");
    Engine::new(EngineSettings { cache: Some(cache) }).unwrap()
}

/// The hostile guest, describing itself as `wish` says.
pub(crate) fn describing(wish: &str) -> Vec<u8> {
    let mut component = guest("hostile");
    let marker = b"describe=";
    let at = component.windows(marker.len()).position(|window| window == marker).unwrap();
    let start = at + marker.len();
    let word = format!("{wish:<15}");
    component[start..start + 15].copy_from_slice(word.as_bytes());
    component
}

/// Loads the hostile guest, describing itself as `wish` says.
pub(crate) async fn load(wish: &str) -> Result<Arc<Plugin>, LoadError> {
    engine().load(describing(wish), |_| Grants::default()).await
}

/// The hostile guest within these limits.
pub(crate) async fn hostile(limits: Limits) -> Arc<Plugin> {
    let grants = |_: &str| Grants { limits, ..Grants::default() };
    engine().load(guest("hostile"), grants).await.unwrap()
}

/// Limits that a test does not have to wait for.
pub(crate) fn tight() -> Limits {
    Limits {
        memory_bytes: 32 << 20,
        computing: Duration::from_millis(300),
        grace: Duration::from_millis(300),
        ..Limits::default()
    }
}

pub(crate) fn config(value: Value) -> SourceConfig {
    serde_json::from_value(value).unwrap()
}

/// A source of the plugin.
pub(crate) async fn open(plugin: &Plugin) -> Box<dyn Bridge> {
    opened(plugin, json!({})).await.unwrap()
}

pub(crate) async fn opened(plugin: &Plugin, settings: Value) -> Result<Box<dyn Bridge>, BridgeError> {
    plugin.connect(&config(settings), &ample()).await
}

/// A call that no test waits for the end of.
pub(crate) fn ample() -> Call {
    Call::within(Duration::from_secs(60))
}

/// Reads a target to its end.
pub(crate) async fn read(bridge: &dyn Bridge, target: &str) -> Result<(String, Tail), BridgeError> {
    let rows = bridge.read(&ample(), target, ReadOptions::default()).await?;
    collect(rows).await
}

/// All rows as one JSON list, and the tail.
pub(crate) async fn collect(mut rows: RowStream) -> Result<(String, Tail), BridgeError> {
    let mut texts = Vec::new();
    while let Some(batch) = rows.next(1 << 20).await? {
        texts.push(batch.rows);
    }
    Ok((format!("[{}]", texts.join(",")), rows.tail()))
}

/// Why a target cannot be read: a failure of the plugin.
pub(crate) async fn failure(bridge: &dyn Bridge, target: &str) -> String {
    match read(bridge, target).await {
        Err(BridgeError::Plugin(reason)) => reason,
        other => panic!("{target}: expected a failure of the plugin, got {other:?}"),
    }
}

/// Makes sure that the source works.
pub(crate) async fn works(bridge: &dyn Bridge) {
    let (rows, _) = read(bridge, "rows").await.unwrap();
    assert_eq!(rows, r#"[{"id":1,"name":"row 1"},{"id":2,"name":"row 2"},{"id":3,"name":"row 3"}]"#);
}

/// How often the instance that the job gets has been asked for rows before.
pub(crate) async fn reads_before(bridge: &dyn Bridge) -> i64 {
    let (rows, _) = read(bridge, "reads").await.unwrap();
    let rows: Value = serde_json::from_str(&rows).unwrap();
    rows[0]["reads"].as_i64().unwrap() - 1
}

/// Waits until something is so.
pub(crate) async fn until(what: impl Display, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
