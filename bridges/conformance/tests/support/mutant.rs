//! The memory driver with a defect: what a suite must be able to tell from the driver itself.

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowBatch, RowStream, Rows,
    TargetSchema,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Manifest, PoolUse, QueryOptions,
    ReadOptions, SearchOptions, SourceConfig, Tail,
};
use semilayer_bridge_conformance::memory::Memory;
use semilayer_bridge_conformance::{Database, Fixture};

/// One defect: what it does to what goes in, and to what comes out.
#[derive(Clone, Copy)]
pub(crate) struct Defect {
    pub(crate) query: fn(QueryOptions) -> Result<QueryOptions, BridgeError>,
    pub(crate) read: fn(ReadOptions) -> ReadOptions,
    pub(crate) aggregate: fn(AggregateOptions) -> AggregateOptions,
    pub(crate) search: fn(SearchOptions) -> SearchOptions,
    pub(crate) row: fn(String) -> Option<String>,
    pub(crate) tail: fn(Tail) -> Tail,
    pub(crate) capabilities: fn() -> Capabilities,
    pub(crate) aggregates: fn() -> AggregateCapabilities,
    pub(crate) stream: Stream,
    pub(crate) database: fn(Database) -> Database,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stream {
    Honest,
    /// Everything in one batch.
    Whole,
    /// Never ends the query when it is dropped.
    Leaking,
    /// Never answers.
    Hanging,
    /// Panics.
    Panicking,
}

pub(crate) const NONE: Defect = Defect {
    query: Ok,
    read: |options| options,
    aggregate: |options| options,
    search: |options| options,
    row: Some,
    tail: |tail| tail,
    capabilities: || Capabilities { search: true, ..Capabilities::full() },
    aggregates: || AggregateCapabilities {
        geo_bucket: true,
        geohash_bucket: true,
        ..AggregateCapabilities::full()
    },
    stream: Stream::Honest,
    database: |database| database,
};

/// The memory driver with a defect.
pub(crate) struct Mutant {
    inner: Memory,
    defect: Defect,
    capabilities: Capabilities,
    aggregates: AggregateCapabilities,
}

impl Mutant {
    pub(crate) fn new(defect: Defect) -> Self {
        Self {
            inner: Memory::new(),
            capabilities: (defect.capabilities)(),
            aggregates: (defect.aggregates)(),
            defect,
        }
    }
}

struct MutantBridge {
    inner: Box<dyn Bridge>,
    defect: Defect,
}

impl MutantBridge {
    async fn changed(&self, rows: RowStream) -> Result<RowStream, BridgeError> {
        match self.defect.stream {
            Stream::Honest | Stream::Whole | Stream::Leaking => {}
            Stream::Hanging => std::future::pending().await,
            Stream::Panicking => panic!("a mutant panics"),
        }
        Ok(Box::new(MutantRows { inner: Some(rows), defect: self.defect }))
    }
}

struct MutantRows {
    inner: Option<RowStream>,
    defect: Defect,
}

impl MutantRows {
    fn change(&self, batch: &RowBatch) -> Option<RowBatch> {
        let rows: Vec<Box<serde_json::value::RawValue>> =
            serde_json::from_str(&format!("[{}]", batch.rows)).expect("a batch is JSON");
        let rows: Vec<String> =
            rows.into_iter().filter_map(|row| (self.defect.row)(row.get().to_owned())).collect();
        (!rows.is_empty()).then(|| RowBatch { rows: rows.join(","), count: rows.len() as u64 })
    }
}

impl Rows for MutantRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(async move {
            let room = if self.defect.stream == Stream::Whole { usize::MAX } else { room };
            loop {
                let inner = self.inner.as_mut().expect("there until it is dropped");
                let Some(batch) = inner.next(room).await? else { return Ok(None) };
                if let Some(batch) = self.change(&batch) {
                    return Ok(Some(batch));
                }
            }
        })
    }

    fn tail(&self) -> Tail {
        (self.defect.tail)(self.inner.as_ref().expect("there until it is dropped").tail())
    }
}

impl Drop for MutantRows {
    fn drop(&mut self) {
        if self.defect.stream == Stream::Leaking {
            std::mem::forget(self.inner.take());
        }
    }
}

impl Bridge for MutantBridge {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        self.inner.test(call)
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let rows = self.inner.query(call, target, (self.defect.query)(options)?).await?;
            self.changed(rows).await
        })
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let rows = self.inner.read(call, target, (self.defect.read)(options)).await?;
            self.changed(rows).await
        })
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        self.inner.count(call, target, options)
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let rows = self.inner.aggregate(call, target, (self.defect.aggregate)(options)).await?;
            self.changed(rows).await
        })
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        self.inner.search(call, target, (self.defect.search)(options))
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        self.inner.list_targets(call)
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        self.inner.introspect_target(call, target)
    }

    fn driver_name(&self) -> &str {
        self.inner.driver_name()
    }

    fn pool_use(&self) -> PoolUse {
        self.inner.pool_use()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

impl Driver for Mutant {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        &self.aggregates
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        self.inner.check(config)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            let inner = self.inner.connect(config, call).await?;
            Ok(Box::new(MutantBridge { inner, defect: self.defect }) as Box<dyn Bridge>)
        })
    }
}

impl Fixture for Mutant {
    fn config(&self, database: Database) -> SourceConfig {
        self.inner.config((self.defect.database)(database))
    }

    fn seed<'a>(
        &'a self,
        database: Database,
        seed: &'a semilayer_bridge_conformance::seed::Seed,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.inner.seed(database, seed)
    }

    fn least_privilege(&self) -> semilayer_bridge_conformance::Offer<SourceConfig> {
        self.inner.least_privilege()
    }

    fn slow_query(&self) -> semilayer_bridge_conformance::Offer<semilayer_bridge_conformance::SlowQuery> {
        self.inner.slow_query()
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        self.inner.slow_query_runs()
    }

    fn qualified_target(&self, table: &str) -> semilayer_bridge_conformance::Offer<String> {
        self.inner.qualified_target(table)
    }
}
