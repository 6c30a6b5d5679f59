//! Where plugins are, whom they must come from, and what each of them may.
//!
//! ```toml
//! plugin_dir = "/etc/semilayer/plugins"
//!
//! [plugins]
//! trusted_keys = ["3q2+7w…"]        # ed25519, base64; with any, FILE.wasm needs FILE.wasm.sig
//! allow = ["10.0.0.5:9200"]         # for all plugins
//!
//! [plugins."@acme/bridge-things"]
//! allow = ["api.example.com:443", "*.example.com:443", "10.0.0.0/8:5432"]
//! memory_mb = 64
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use plugins_host::{Allowlist, Engine, EngineError, EngineSettings, Grants, Limits, TrustedKeys};
use runtime::settings::{Key, Reader};
use serde::Deserialize;
use toml::{Table, Value};

use crate::cli::Flags;
use crate::config::{ca_file_key, state_dir};

/// Where compiled plugins are kept, in the state directory.
const CACHE: &str = "plugins";
const MIB: usize = 1024 * 1024;
/// Keys of `[plugins]` that are no plugin's name.
const COMMON: [&str; 2] = ["trusted_keys", "allow"];

/// What the operator says about plugins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginSettings {
    /// The folder with the `.wasm` files; no plugins without.
    pub dir: Option<PathBuf>,
    /// Where compiled plugins are kept between starts; only in memory without.
    pub cache: Option<PathBuf>,
    /// Certificate authorities that plugins trust beside the platform's, as the runner does.
    pub ca_file: Option<PathBuf>,
    /// Who may have signed a plugin; anyone without.
    pub trusted_keys: Option<TrustedKeys>,
    /// What every plugin may.
    pub common: Grants,
    /// What some of them may, by package name.
    pub by_name: BTreeMap<String, Grants>,
}

/// The table of one plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    allow: Vec<String>,
    sockets: bool,
    memory_mb: Option<u32>,
    max_instances: Option<u32>,
    max_sockets: Option<u32>,
    batch_mb: Option<u32>,
    compute_seconds: Option<u32>,
}

impl PluginSettings {
    pub(crate) fn read(reader: &mut Reader<'_>, flags: &Flags, table: &Table) -> Self {
        let dir = Key::env("SEMILAYER_PLUGIN_DIR")
            .file("plugin_dir")
            .flag("--plugin-dir", flags.plugin_dir.clone());
        let dir = reader.text(dir).map(PathBuf::from);
        let cache = state_dir(reader, flags).map(|state| state.join(CACHE));
        let ca_file = reader.text(ca_file_key(flags)).map(PathBuf::from);
        let places = Self { dir, cache, ca_file, ..Self::default() };
        let plugins = match table.get("plugins") {
            None => return places,
            Some(Value::Table(plugins)) => plugins,
            Some(_) => {
                reader.mistake("plugins", "expected tables such as [plugins.\"@acme/bridge-things\"]");
                return places;
            }
        };
        let common = texts(reader, plugins, "allow");
        let common_grants =
            Grants { allow: allowlist(reader, "plugins.allow", &common), ..Grants::default() };
        let keys = texts(reader, plugins, "trusted_keys");
        let trusted_keys = plugins.contains_key("trusted_keys").then(|| trusted(reader, &keys)).flatten();
        let entries = plugins.iter().filter(|(name, _)| !COMMON.contains(&name.as_str()));
        let by_name = entries
            .map(|(name, value)| (name.clone(), one(reader, &format!("plugins.{name:?}"), value, &common)))
            .collect();
        Self { trusted_keys, common: common_grants, by_name, ..places }
    }

    /// The engine that these settings ask for.
    pub(crate) fn engine(&self) -> Result<Engine, EngineError> {
        let engine = Engine::new(EngineSettings { cache: self.cache.clone() })?;
        Ok(match &self.ca_file {
            Some(file) => engine.trusting(file.clone()),
            None => engine,
        })
    }

    /// What the plugin of that package name may.
    pub fn grants(&self, name: &str) -> Grants {
        self.by_name.get(name).unwrap_or(&self.common).clone()
    }
}

fn texts(reader: &mut Reader<'_>, table: &Table, key: &str) -> Vec<String> {
    match table.get(key).cloned().map(Value::try_into::<Vec<String>>) {
        None => Vec::new(),
        Some(Ok(texts)) => texts,
        Some(Err(_)) => {
            reader.mistake(format!("plugins.{key}"), "expected a list of texts");
            Vec::new()
        }
    }
}

fn trusted(reader: &mut Reader<'_>, keys: &[String]) -> Option<TrustedKeys> {
    if keys.is_empty() {
        // An emptied list means nobody to whoever emptied it, and everybody if it were passed over.
        reader.mistake(
            "plugins.trusted_keys",
            "expected at least one key; without the setting every file is trusted",
        );
        return None;
    }
    TrustedKeys::parse(keys)
        .map_err(|invalid| reader.mistake("plugins.trusted_keys", format!("expected {}", invalid.expected)))
        .ok()
}

fn allowlist(reader: &mut Reader<'_>, path: &str, entries: &[String]) -> Allowlist {
    Allowlist::parse(entries.iter().map(String::as_str)).unwrap_or_else(|invalid| {
        let place =
            if invalid.field.is_empty() { path.to_owned() } else { format!("{path}.{}", invalid.field) };
        reader.mistake(place, format!("expected {}", invalid.expected));
        Allowlist::default()
    })
}

fn one(reader: &mut Reader<'_>, path: &str, value: &Value, common: &[String]) -> Grants {
    let entry: Entry = match value.clone().try_into() {
        Ok(entry) => entry,
        Err(error) => {
            // The parser names the key; its words hold no value but that of the key.
            reader.mistake(
                path,
                error.to_string().lines().next().unwrap_or("is no table of settings").to_owned(),
            );
            return Grants::default();
        }
    };
    let allow: Vec<String> = common.iter().chain(&entry.allow).cloned().collect();
    let allow = allowlist(reader, &format!("{path}.allow"), &allow);
    let limits = limits(reader, path, &entry);
    Grants { allow, limits, sockets: entry.sockets }
}

fn limits(reader: &mut Reader<'_>, path: &str, entry: &Entry) -> Limits {
    let defaults = Limits::default();
    let mut within = |key: &str, value: Option<u32>, range: std::ops::RangeInclusive<u32>| {
        let value = value?;
        if !range.contains(&value) {
            let expected = format!("expected a whole number from {} to {}", range.start(), range.end());
            reader.mistake(format!("{path}.{key}"), expected);
            return None;
        }
        usize::try_from(value).ok()
    };
    let memory = within("memory_mb", entry.memory_mb, 1..=4_096).map(|megabytes| megabytes * MIB);
    let instances = within("max_instances", entry.max_instances, 1..=10_000);
    let sockets = within("max_sockets", entry.max_sockets, 0..=10_000);
    let batch = within("batch_mb", entry.batch_mb, 1..=256).map(|megabytes| megabytes * MIB);
    let computing = within("compute_seconds", entry.compute_seconds, 1..=3_600)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs);
    Limits {
        memory_bytes: memory.unwrap_or(defaults.memory_bytes),
        instances: instances.unwrap_or(defaults.instances),
        sockets: sockets.unwrap_or(defaults.sockets),
        batch_bytes: batch.unwrap_or(defaults.batch_bytes),
        computing: computing.unwrap_or(defaults.computing),
        ..defaults
    }
}
