//! The plugins that are measured, and how they are opened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bridge_core::{Bridge, Call, Driver};
use plugins_host::{Engine, EngineSettings, Grants, Limits, Plugin};
use protocol::SourceConfig;
use serde_json::{Value, json};

/// The plugin that most figures are about.
pub(crate) const MEMORY: &str = "memory";
/// Plugins with the same table in languages that are interpreted.
pub(crate) const INTERPRETED: [&str; 2] = ["python", "javascript"];
/// No call takes as long.
const LIMIT: Duration = Duration::from_secs(600);

/// The file of a guest, where it was built.
pub(crate) fn find(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("SEMILAYER_TEST_GUESTS");
    let folder = folder.expect("SEMILAYER_TEST_GUESTS names no folder: run cargo xtask bench");
    fs::read(PathBuf::from(folder).join(name).with_extension("wasm")).ok()
}

pub(crate) fn memory() -> Vec<u8> {
    find(MEMORY).expect("there is no memory.wasm: run cargo xtask guests")
}

/// An engine that keeps what it has compiled, over runs of this program.
pub(crate) fn engine(out: &Path) -> Engine {
    Engine::new(EngineSettings { cache: Some(out.join("compiled-plugins")) }).unwrap()
}

/// A plugin that may do what plugins may by default, and have so many instances.
pub(crate) async fn load(engine: &Engine, component: Vec<u8>, instances: usize) -> Arc<Plugin> {
    let limits = Limits { instances, ..Limits::default() };
    engine.load(component, |_| Grants { limits, ..Grants::default() }).await.unwrap()
}

pub(crate) fn config(rows: u64, pool: usize) -> SourceConfig {
    let Value::Object(fields) = json!({"rows": rows, "poolMax": pool}) else { unreachable!() };
    SourceConfig::new(fields)
}

pub(crate) async fn open(plugin: &Plugin, rows: u64, pool: usize) -> Arc<dyn Bridge> {
    plugin.connect(&config(rows, pool), &call()).await.unwrap().into()
}

pub(crate) fn call() -> Call {
    Call::within(LIMIT)
}
