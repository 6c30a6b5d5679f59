//! Limits of sources, and which variables belong to a source whose name no variable can hold.
//!
//! ```toml
//! strict_sources = true
//! source_idle_timeout = "10m"
//! managed_bridges = "postgres"
//!
//! [sources."sales.eu"]
//! env_prefix = "SALES_EU"   # SEMILAYER_SOURCE_SALES_EU_URL
//! max_jobs = 4
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::settings::{Key, Reader};
use toml::{Table, Value};

/// Names the setting in messages, too.
pub(crate) const MANAGED_BRIDGES: &str = "SEMILAYER_MANAGED_BRIDGES";
const DEFAULT_IDLE: Duration = Duration::from_secs(300);
const DEFAULT_CONNECT: Duration = Duration::from_secs(15);
const KEYS: [&str; 3] = ["env_prefix", "max_jobs", "idle_timeout"];

/// What applies to all sources, and to some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// Whether a variable that no field takes keeps its source from starting. Otherwise it is ignored with a warning.
    pub strict: bool,
    /// How long an unused source keeps its connections.
    pub idle_timeout: Duration,
    /// How long opening a source may take.
    pub connect_timeout: Duration,
    /// For which bridges a gateway may send settings of its own.
    pub managed: ManagedBridges,
    /// By source name.
    pub by_name: BTreeMap<String, SourceLimits>,
}

/// For which bridges a gateway may choose the settings, and with them where this runner connects or which file it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ManagedBridges {
    /// All of them.
    #[default]
    All,
    /// These, by package name or short form. None at all means that every source is runner-local.
    Only(Vec<String>),
}

impl ManagedBridges {
    /// Whether the bridge of that package name is among them.
    pub fn allows(&self, package: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names
                .iter()
                .any(|name| name == package || package.strip_prefix(crate::registry::FAMILY) == Some(name)),
        }
    }

    /// Reads `all`, `none`, or names between commas.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::All),
            "none" => Some(Self::Only(Vec::new())),
            names => {
                let names: Vec<_> = names.split(',').map(|name| name.trim().to_owned()).collect();
                names.iter().all(|name| !name.is_empty()).then_some(Self::Only(names))
            }
        }
    }
}

/// What applies to one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// What stands between `SEMILAYER_SOURCE_` and the key; the name in upper case without.
    pub env_prefix: Option<String>,
    /// Jobs of this source that may run at once; only the runner's limit without.
    pub max_jobs: Option<u32>,
    /// How long this source keeps its connections unused.
    pub idle_timeout: Option<Duration>,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            strict: false,
            idle_timeout: DEFAULT_IDLE,
            connect_timeout: DEFAULT_CONNECT,
            managed: ManagedBridges::All,
            by_name: BTreeMap::new(),
        }
    }
}

impl SourceSettings {
    pub(super) fn read(reader: &mut Reader<'_>, table: &Table) -> Self {
        let strict = Key::env("SEMILAYER_STRICT_SOURCES").file("strict_sources");
        let idle = Key::env("SEMILAYER_SOURCE_IDLE_TIMEOUT").file("source_idle_timeout");
        let connect = Key::env("SEMILAYER_SOURCE_CONNECT_TIMEOUT").file("source_connect_timeout");
        let managed = Key::env(MANAGED_BRIDGES).file("managed_bridges");
        let bridges = "all, none, or names of bridges between commas";
        Self {
            strict: reader.flag(strict).unwrap_or(false),
            idle_timeout: reader.duration(idle).unwrap_or(DEFAULT_IDLE),
            connect_timeout: reader.duration(connect).unwrap_or(DEFAULT_CONNECT),
            managed: reader.parsed_by(managed, bridges, ManagedBridges::parse).unwrap_or_default(),
            by_name: by_name(reader, table),
        }
    }

    /// What applies to the source called `name`.
    pub fn limits(&self, name: &str) -> SourceLimits {
        self.by_name.get(name).cloned().unwrap_or_default()
    }

    /// How long the source called `name` keeps its connections unused.
    pub fn idle_timeout(&self, name: &str) -> Duration {
        self.by_name.get(name).and_then(|limits| limits.idle_timeout).unwrap_or(self.idle_timeout)
    }
}

fn by_name(reader: &mut Reader<'_>, table: &Table) -> BTreeMap<String, SourceLimits> {
    let sources = match table.get("sources") {
        None => return BTreeMap::new(),
        Some(Value::Table(sources)) => sources,
        Some(_) => {
            reader.mistake("sources", "expected tables such as [sources.main]");
            return BTreeMap::new();
        }
    };
    let mut limits = BTreeMap::new();
    for (name, value) in sources {
        let path = format!("sources.{name}");
        match value.as_table() {
            Some(entry) => {
                limits.insert(name.clone(), one(reader, &path, entry));
            }
            None => reader.mistake(path, "expected a table"),
        }
    }
    limits
}

fn one(reader: &mut Reader<'_>, path: &str, entry: &Table) -> SourceLimits {
    for key in entry.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        reader.mistake(format!("{path}.{key}"), "is not a setting of a source");
    }
    let env_prefix = Read::of(entry, "env_prefix", prefix);
    let max_jobs = Read::of(entry, "max_jobs", super::parse_jobs);
    let idle_timeout = Read::of(entry, "idle_timeout", runtime::settings::parse_duration);
    SourceLimits {
        env_prefix: env_prefix.or_mistake(reader, path, "capitals, digits and underscores between them"),
        max_jobs: max_jobs.or_mistake(reader, path, "a whole number from 1 to 100000"),
        idle_timeout: idle_timeout.or_mistake(reader, path, "a duration such as 30s or 2m"),
    }
}

/// A key of a source's table after parsing.
struct Read<T> {
    key: &'static str,
    value: Option<T>,
    is_set: bool,
}

impl<T> Read<T> {
    fn of(entry: &Table, key: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Self {
        let raw = entry.get(key);
        Self { key, value: raw.and_then(text_of).as_deref().and_then(parse), is_set: raw.is_some() }
    }

    fn or_mistake(self, reader: &mut Reader<'_>, path: &str, expected: &str) -> Option<T> {
        if self.is_set && self.value.is_none() {
            reader.mistake(format!("{path}.{}", self.key), format!("expected {expected}"));
        }
        self.value
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn prefix(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let valid = !text.is_empty() && text.bytes().all(fits) && !text.starts_with('_') && !text.ends_with('_');
    valid.then(|| text.to_owned())
}
