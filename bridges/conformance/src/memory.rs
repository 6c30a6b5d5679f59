//! A database in memory, over `bridge_reduce`. It keeps the whole contract and is what the suite is tested with: a suite
//! that its own driver does not pass is wrong, and one that a broken copy of it passes is worthless.

mod bridge;
mod store;

use std::sync::Arc;

use bridge_core::{BoxFuture, Bridge, BridgeError, Call, ConfigFields, ConfigMistakes, Driver};
use protocol::{
    AggregateCapabilities, Capabilities, Field, FieldKind, JobKind, Manifest, QueryOptions, SourceConfig,
};

use crate::fixture::{Database, Fixture, Offer, SlowQuery};
use crate::seed::Seed;
use bridge::MemoryBridge;
pub(crate) use store::Store;

/// The target that never gives a row.
const SLOW: &str = "slow";

/// The driver, and the fixture of its own databases.
#[derive(Debug)]
pub struct Memory {
    store: Arc<Store>,
    manifest: Manifest,
    capabilities: Capabilities,
    aggregates: AggregateCapabilities,
}

impl Memory {
    /// A driver that can do everything but H3 and vectors.
    pub fn new() -> Self {
        let aggregates =
            AggregateCapabilities { geo_bucket: true, geohash_bucket: true, ..AggregateCapabilities::full() };
        Self::declaring(Capabilities { search: true, ..Capabilities::full() }, aggregates)
    }

    /// A driver that declares, and takes, only this.
    pub fn declaring(capabilities: Capabilities, aggregates: AggregateCapabilities) -> Self {
        let manifest = Manifest::new("memory", "Memory")
            .with(Field::new("database", "Database", FieldKind::String).required());
        Self { store: Arc::new(Store::default()), manifest, capabilities, aggregates }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver for Memory {
    fn name(&self) -> &str {
        &self.manifest.package_name
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        &self.aggregates
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        database(config).map(|_| ())
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            let name = database(config)?;
            let tables = self.store.open(&name).ok_or_else(|| {
                BridgeError::unreachable(format!("there is no database \"{name}\" in memory"))
            })?;
            let bridge = MemoryBridge {
                tables,
                store: Arc::clone(&self.store),
                name: self.name().to_owned(),
                capabilities: self.capabilities.clone(),
                aggregates: self.aggregates.clone(),
            };
            Ok(Box::new(bridge) as Box<dyn Bridge>)
        })
    }
}

fn database(config: &SourceConfig) -> Result<String, ConfigMistakes> {
    let mut fields = ConfigFields::new(config);
    let name = fields.text(&["database"]);
    if name.is_none() {
        fields.mistake("database", "the name of a database");
    }
    fields.finish(name.unwrap_or_default())
}

impl Fixture for Memory {
    fn config(&self, database: Database) -> SourceConfig {
        let name = serde_json::Value::from(name(database));
        SourceConfig::new(std::iter::once(("database".to_owned(), name)).collect())
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        self.store.create(name(database), seed);
        Box::pin(std::future::ready(Ok(())))
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Impossible("memory has no roles")
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Given(SlowQuery { target: SLOW.to_owned(), options: QueryOptions::default() })
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(std::future::ready(Ok(self.store.slow_queries() > 0)))
    }

    fn qualified_target(&self, table: &str) -> Offer<String> {
        Offer::Given(format!("memory.{table}"))
    }
}

fn name(database: Database) -> &'static str {
    match database {
        Database::First => "first",
        Database::Second => "second",
    }
}

/// The refusal of a part of a job.
fn unsupported(bridge: &str, what: &str) -> BridgeError {
    BridgeError::UnsupportedKind { what: what.to_owned(), bridge: bridge.to_owned() }
}

/// The refusal of a job kind.
fn unsupported_kind(bridge: &str, kind: &JobKind) -> BridgeError {
    unsupported(bridge, kind.as_str())
}
