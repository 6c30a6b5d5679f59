//! A driver over another one: for tests that need all of a driver but for a thing or two.

use std::sync::Arc;

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowStream, TargetSchema,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, BatchReadOptions, Capabilities, CountOptions, Manifest, PoolUse,
    QueryOptions, ReadOptions, SearchOptions, SimilarOptions, SourceConfig,
};

use crate::fixture::{Catalog, Database, Fixture, Offer, SlowQuery};
use crate::seed::{Decimals, Instants, Seed};

/// What one answers to a job.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, BridgeError>>;

/// What is other than in the driver below. What is not said is as it is there.
pub trait Change: Send + Sync + 'static {
    /// The package name.
    fn name<'a>(&'a self, driver: &'a dyn Driver) -> &'a str {
        driver.name()
    }

    /// What it declares.
    fn capabilities<'a>(&'a self, driver: &'a dyn Driver) -> &'a Capabilities {
        driver.capabilities()
    }

    /// What it declares that it can aggregate.
    fn aggregate_capabilities<'a>(&'a self, driver: &'a dyn Driver) -> &'a AggregateCapabilities {
        driver.aggregate_capabilities()
    }

    /// Which of a fixture's databases it opens for another.
    fn database(&self, database: Database) -> Database {
        database
    }

    /// As [`Fixture::counts_rows`].
    fn counts_rows(&self, fixture: &dyn Fixture) -> bool {
        fixture.counts_rows()
    }

    /// As [`Bridge::query`], over the bridge below; so are the others.
    fn query<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> Answer<'a, RowStream> {
        bridge.query(call, target, options)
    }

    /// As [`Bridge::read`].
    fn read<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> Answer<'a, RowStream> {
        bridge.read(call, target, options)
    }

    /// As [`Bridge::batch_read`].
    fn batch_read<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> Answer<'a, RowStream> {
        bridge.batch_read(call, target, options)
    }

    /// As [`Bridge::count`].
    fn count<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> Answer<'a, Counted> {
        bridge.count(call, target, options)
    }

    /// As [`Bridge::aggregate`].
    fn aggregate<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> Answer<'a, RowStream> {
        bridge.aggregate(call, target, options)
    }

    /// As [`Bridge::introspect_target`].
    fn introspect_target<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
    ) -> Answer<'a, TargetSchema> {
        bridge.introspect_target(call, target)
    }

    /// As [`Bridge::search`].
    fn search<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> Answer<'a, RowStream> {
        bridge.search(call, target, options)
    }
}

/// A driver with a change. It is a fixture where the driver below is one.
#[derive(Debug)]
pub struct Changed<D, C> {
    driver: Arc<D>,
    change: Arc<C>,
}

struct ChangedBridge<C> {
    bridge: Arc<dyn Bridge>,
    change: Arc<C>,
}

impl<D, C> Changed<D, C> {
    /// `driver` with that change.
    pub fn new(driver: impl Into<Arc<D>>, change: C) -> Self {
        Self { driver: driver.into(), change: Arc::new(change) }
    }
}

impl<D: Driver, C: Change> Driver for Changed<D, C> {
    fn name(&self) -> &str {
        self.change.name(self.driver.as_ref())
    }

    fn version(&self) -> &str {
        self.driver.version()
    }

    fn manifest(&self) -> &Manifest {
        self.driver.manifest()
    }

    fn capabilities(&self) -> &Capabilities {
        self.change.capabilities(self.driver.as_ref())
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        self.change.aggregate_capabilities(self.driver.as_ref())
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        self.driver.check(config)
    }

    fn connect<'a>(&'a self, config: &'a SourceConfig, call: &'a Call) -> Answer<'a, Box<dyn Bridge>> {
        Box::pin(async move {
            let bridge = Arc::from(self.driver.connect(config, call).await?);
            let change = Arc::clone(&self.change);
            Ok(Box::new(ChangedBridge { bridge, change }) as Box<dyn Bridge>)
        })
    }
}

impl<C: Change> Bridge for ChangedBridge<C> {
    fn test<'a>(&'a self, call: &'a Call) -> Answer<'a, ()> {
        self.bridge.test(call)
    }

    fn query<'a>(&'a self, call: &'a Call, target: &'a str, options: QueryOptions) -> Answer<'a, RowStream> {
        self.change.query(&self.bridge, call, target, options)
    }

    fn read<'a>(&'a self, call: &'a Call, target: &'a str, options: ReadOptions) -> Answer<'a, RowStream> {
        self.change.read(&self.bridge, call, target, options)
    }

    fn batch_read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> Answer<'a, RowStream> {
        self.change.batch_read(&self.bridge, call, target, options)
    }

    fn count<'a>(&'a self, call: &'a Call, target: &'a str, options: CountOptions) -> Answer<'a, Counted> {
        self.change.count(&self.bridge, call, target, options)
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> Answer<'a, RowStream> {
        self.change.aggregate(&self.bridge, call, target, options)
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> Answer<'a, Vec<String>> {
        self.bridge.list_targets(call)
    }

    fn introspect_target<'a>(&'a self, call: &'a Call, target: &'a str) -> Answer<'a, TargetSchema> {
        self.change.introspect_target(&self.bridge, call, target)
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> Answer<'a, RowStream> {
        self.change.search(&self.bridge, call, target, options)
    }

    fn similar<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SimilarOptions,
    ) -> Answer<'a, RowStream> {
        self.bridge.similar(call, target, options)
    }

    fn driver_name(&self) -> &str {
        self.bridge.driver_name()
    }

    fn pool_use(&self) -> PoolUse {
        self.bridge.pool_use()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.bridge.close()
    }
}

impl<D: Fixture, C: Change> Fixture for Changed<D, C> {
    fn config(&self, database: Database) -> SourceConfig {
        self.driver.config(self.change.database(database))
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        self.driver.seed(database, seed)
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        self.driver.least_privilege()
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        self.driver.slow_query()
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        self.driver.slow_query_runs()
    }

    fn target(&self, table: &str) -> String {
        self.driver.target(table)
    }

    fn qualified_target(&self, table: &str) -> Offer<String> {
        self.driver.qualified_target(table)
    }

    fn catalog(&self) -> Catalog {
        self.driver.catalog()
    }

    fn cursor(&self, table: &str, key: &str) -> String {
        self.driver.cursor(table, key)
    }

    fn decimals(&self) -> Decimals {
        self.driver.decimals()
    }

    fn most_keys(&self) -> u64 {
        self.driver.most_keys()
    }

    fn instants(&self) -> Instants {
        self.driver.instants()
    }

    fn counts_rows(&self) -> bool {
        self.change.counts_rows(self.driver.as_ref())
    }

    fn compares_as_text(&self) -> bool {
        self.driver.compares_as_text()
    }
}
