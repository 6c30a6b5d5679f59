//! The contract that every bridge keeps, by plugins that have no more than `read`: the same one in three languages.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "the helpers of a test may fail it, too, and tell what they met"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bridge_conformance::{Listed, Options, SurveyOptions};
use bridge_core::{Call, Driver as _};
use plugins_host::{Engine, EngineSettings, Grants, Plugin};
use protocol::{ReadOptions, SourceConfig};
use serde_json::{Value as Json, json};

const RUST: &str = "memory.wasm";
const PYTHON: &str = "python.wasm";
const JAVASCRIPT: &str = "javascript.wasm";

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_rust() {
    keeps_the_contract(RUST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_python() {
    keeps_the_contract(PYTHON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_javascript() {
    keeps_the_contract(JAVASCRIPT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_generated_in_rust_pass_the_survey() {
    passes_the_survey(RUST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_generated_in_python_pass_the_survey() {
    passes_the_survey(PYTHON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_generated_in_javascript_pass_the_survey() {
    passes_the_survey(JAVASCRIPT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_the_same_in_every_language() {
    let rust = people(RUST).await;
    assert_eq!(rust.len(), 300);
    assert_eq!(people(PYTHON).await, rust);
    assert_eq!(people(JAVASCRIPT).await, rust);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_wrong_is_named_in_every_language() {
    for file in [RUST, PYTHON, JAVASCRIPT] {
        let plugin = plugin(file).await;
        for (setting, value) in [("rows", json!(-1)), ("rows", json!(1.5)), ("data", json!("{}"))] {
            let config = config([("rows", json!(1)), (setting, value)]);
            let refused = plugin.connect(&config, &call()).await.map(drop).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{setting}: expected ")), "{file}: {refused}");
        }
    }
}

async fn keeps_the_contract(file: &str) {
    let fixture = Listed::new("data").with("rows", 0);
    let report = bridge_conformance::run(&*plugin(file).await, &fixture, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
}

async fn passes_the_survey(file: &str) {
    let report =
        bridge_conformance::survey(&*plugin(file).await, &rows(2_500), SurveyOptions::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
}

async fn people(file: &str) -> Vec<Json> {
    let bridge = plugin(file).await.connect(&rows(300), &call()).await.unwrap();
    let options = ReadOptions { limit: 1_000, ..ReadOptions::default() };
    let stream = bridge.read(&call(), "people", options).await.unwrap();
    bridge_conformance::collect(stream).await.unwrap().0
}

fn rows(count: u64) -> SourceConfig {
    config([("rows", count.into())])
}

fn config<const SETTINGS: usize>(settings: [(&str, Json); SETTINGS]) -> SourceConfig {
    SourceConfig::new(settings.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
}

fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its guests")]
async fn plugin(file: &str) -> Arc<Plugin> {
    let folder = std::env::var_os("SEMILAYER_TEST_GUESTS");
    let folder = folder.expect("SEMILAYER_TEST_GUESTS names no folder: run cargo xtask guests");
    let component = std::fs::read(PathBuf::from(folder).join(file)).expect("run cargo xtask guests");
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled-plugins");
    let engine = Engine::new(EngineSettings { cache: Some(cache) }).unwrap();
    engine.load(component, |_| Grants::default()).await.unwrap()
}
