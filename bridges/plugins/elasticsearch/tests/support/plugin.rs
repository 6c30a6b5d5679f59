//! The plugin in the runner's plugin host.

use std::path::PathBuf;
use std::sync::Arc;

use plugins_host::Allowlist;
use plugins_host::{Engine, EngineSettings, Grants, Plugin};

/// The plugin, allowed to reach this machine.
#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its guests")]
pub(crate) async fn load() -> Arc<Plugin> {
    let folder = std::env::var_os("SEMILAYER_TEST_GUESTS");
    let folder = folder.expect("SEMILAYER_TEST_GUESTS names no folder: run cargo xtask guests");
    let file = PathBuf::from(folder).join("semilayer_bridge_elasticsearch.wasm");
    let component = std::fs::read(file).expect("run cargo xtask guests");
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled-plugins");
    let engine = Engine::new(EngineSettings { cache: Some(cache) }).unwrap();
    let allow = || Allowlist::parse(["127.0.0.1"]).unwrap();
    engine.load(component, |_| Grants { allow: allow(), ..Grants::default() }).await.unwrap()
}
