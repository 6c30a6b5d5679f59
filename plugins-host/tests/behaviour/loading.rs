//! Files that are no plugins, and plugins that cannot say what they are.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{BridgeError, ConfigMistakes, Driver};
use protocol::{FieldKind, JobKind, LogicalOp, StringOp};
use semilayer_plugins_host::{
    Engine, EngineError, EngineSettings, Grants, Limits, LoadError, Plugin, inspect,
};
use serde_json::json;

use crate::support::{config, describing, engine, guest, hostile, load, opened, tight, works};

async fn refusal(wish: &str) -> String {
    load(wish).await.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_a_driver_with_what_it_says_of_itself() {
    let plugin = load("honest").await.unwrap();
    assert_eq!((plugin.name(), plugin.version(), plugin.sdk()), ("@acme/hostile", "1.2.3", "none"));
    assert_eq!(plugin.provides(), [JobKind::Count, JobKind::Aggregate, JobKind::Search]);
    assert_eq!(plugin.hash().len(), 64);
    let manifest = plugin.manifest();
    let keys: Vec<&str> = manifest.fields.iter().map(|field| field.key.as_str()).collect();
    assert_eq!(keys, ["connect", "secret", "poolMax"]);
    assert_eq!(manifest.field("poolMax").unwrap().kind, FieldKind::Number);
    // What it does not do itself the runner does, with every operator.
    let capabilities = plugin.capabilities();
    assert_eq!(capabilities.where_logical_ops, LogicalOp::ALL);
    assert_eq!(capabilities.where_string_ops, StringOp::ALL);
    assert!(capabilities.search && !capabilities.similar && !capabilities.where_pushdown);
    assert!(plugin.aggregate_capabilities().supports && plugin.aggregate_capabilities().joins);
    assert_eq!(plugin.inspection().wit_version, "0.1.0");
    assert_eq!(plugin.stats().instances, 0, "nothing runs yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_before_it_runs_is_in_its_file() {
    let found = inspect(&guest("hostile")).unwrap();
    assert_eq!(found.wit_version, "0.1.0");
    assert_eq!(found.exports, ["semilayer:bridge/bridge@0.1.0"]);
    assert!(
        found.imports.iter().any(|import| import == "semilayer:bridge/host@0.1.0"),
        "{:?}",
        found.imports
    );
    assert!(
        found.imports.iter().any(|import| import.starts_with("wasi:io/poll@0.2.")),
        "{:?}",
        found.imports
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_breaks_while_it_is_asked_what_it_is_is_refused() {
    assert!(refusal("panic").await.starts_with("cannot describe itself: the plugin failed: "));
    assert!(refusal("stack").await.contains("call stack exhausted"));
    assert!(refusal("memory").await.contains("bytes of memory"));
    assert!(refusal("huge").await.contains("handed over more than"));
    let began = Instant::now();
    // On a busy machine the whole may take its time before the guest has had 5 seconds of it.
    assert!(refusal("loop").await.contains("computed for more than "));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_makes_no_sense_is_refused_by_its_field() {
    for (wish, field) in [
        ("long-name", "manifest.packageName: "),
        ("odd-name", "manifest.packageName: "),
        ("lines", "version: "),
        ("twice", "manifest.fields[2].key: "),
        ("odd-key", "manifest.fields[2].key: "),
        ("many", "manifest.fields: "),
    ] {
        let refusal = refusal(wish).await;
        assert!(refusal.starts_with(&format!("describes itself wrongly: {field}")), "{wish}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_grants_by_the_name_that_a_plugin_gives_itself() {
    let grants = |name: &str| {
        assert_eq!(name, "@acme/other");
        Grants::default()
    };
    assert_eq!(engine().load(describing("other"), grants).await.unwrap().name(), "@acme/other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_torn_bytes_is_refused() {
    let whole = guest("hostile");
    for length in [0, 8, 100, whole.len() / 2, whole.len() - 1] {
        let torn = whole[..length].to_vec();
        assert!(engine().load(torn, |_| Grants::default()).await.is_err(), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiled_plugin_is_taken_from_the_cache_and_made_again_when_it_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("deep/compiled");
    let load = async || -> Result<Arc<Plugin>, LoadError> {
        let engine = Engine::new(EngineSettings { cache: Some(cache.clone()) }).unwrap();
        engine.load(guest("hostile"), |_| Grants::default()).await
    };
    let files = || {
        let entries = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|file| file.extension().is_some_and(|found| found == "cwasm")).collect::<Vec<_>>()
    };
    load().await.unwrap();
    let [file] = &files()[..] else { panic!("one file: {:?}", files()) };
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let compiled = std::fs::read(file).unwrap();

    let before = std::fs::metadata(file).unwrap().len();
    load().await.unwrap();
    assert_eq!(std::fs::metadata(file).unwrap().len(), before);

    std::fs::write(file, &compiled[..100]).unwrap();
    load().await.unwrap();
    assert_eq!(std::fs::read(file).unwrap().len(), compiled.len(), "made again");

    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o666)).unwrap();
    load().await.unwrap();
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_has_described_itself_once_is_not_started_to_be_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let load = async || {
        let engine = Engine::new(EngineSettings { cache: Some(cache.clone()) }).unwrap();
        engine.load(guest("hostile"), |_| Grants::default()).await.unwrap()
    };
    let asked = load().await;
    let mut files = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let kept = files.find(|file| file.extension().is_some_and(|found| found == "json")).unwrap();
    let known = load().await;
    assert_eq!(format!("{:?}", known.manifest()), format!("{:?}", asked.manifest()));
    assert_eq!((known.hash(), known.provides()), (asked.hash(), asked.provides()));

    let text = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, text.replace(r#""sdk":"none""#, r#""sdk":"kept""#)).unwrap();
    assert_eq!(load().await.sdk(), "kept", "nobody was asked");
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(load().await.sdk(), "none", "a file that is not ours alone is nothing to go by");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), text, "made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_others_may_enter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = Engine::new(EngineSettings { cache: Some(folder.path().to_owned()) }).unwrap_err();
    assert!(matches!(refused, EngineError::UnsafeCache { .. }), "{refused}");
    assert!(refused.to_string().ends_with("others may enter it; its mode must be 0700"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_read_by_the_manifest() {
    let plugin = hostile(tight()).await;
    let mistakes = |settings| plugin.check(&config(settings)).unwrap_err().to_string();
    assert_eq!(mistakes(json!({"connect": true})), "connect: expected text");
    assert_eq!(mistakes(json!({"poolMax": 0})), "poolMax: expected a whole number from 1 to 1000");
    assert!(plugin.check(&config(json!({"unknown": [1], "poolMax": "2"}))).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_finds_wrong_with_its_settings_is_told() {
    let plugin = hostile(Limits::default()).await;
    let refused = async |wish: &str| opened(&plugin, json!({"connect": wish})).await.map(|_| ()).unwrap_err();
    let BridgeError::Config(ConfigMistakes(mistakes)) = refused("mistaken").await else { panic!("mistakes") };
    assert_eq!(mistakes[0].to_string(), "connect: expected something honest");
    assert_eq!(refused("refuse").await.to_string(), "wrong password");
    assert_eq!(refused("untested").await.to_string(), "nobody there");
    assert!(matches!(refused("panic").await, BridgeError::Plugin(_)));
    let good = opened(&plugin, json!({"connect": "honest"})).await.unwrap();
    works(&*good).await;
    assert_eq!(good.driver_name(), "@acme/hostile");
}
