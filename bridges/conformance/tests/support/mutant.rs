//! The memory driver with a defect: what a suite must be able to tell from the driver itself.

use std::sync::Arc;

use bridge_core::{BoxFuture, Bridge, BridgeError, Call, Driver, RowBatch, RowStream, Rows};
use protocol::{
    AggregateCapabilities, AggregateOptions, BatchReadOptions, Capabilities, QueryOptions, ReadOptions,
    SearchOptions, Tail,
};
use semilayer_bridge_conformance::memory::Memory;
use semilayer_bridge_conformance::{Answer, Change, Changed, Database};

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
pub(crate) fn mutant(defect: Defect) -> Changed<Memory, Mutation> {
    let (capabilities, aggregates) = ((defect.capabilities)(), (defect.aggregates)());
    Changed::new(Memory::new(), Mutation { defect, capabilities, aggregates })
}

pub(crate) struct Mutation {
    defect: Defect,
    capabilities: Capabilities,
    aggregates: AggregateCapabilities,
}

impl Mutation {
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

impl Change for Mutation {
    fn capabilities<'a>(&'a self, _driver: &'a dyn Driver) -> &'a Capabilities {
        &self.capabilities
    }

    fn aggregate_capabilities<'a>(&'a self, _driver: &'a dyn Driver) -> &'a AggregateCapabilities {
        &self.aggregates
    }

    fn database(&self, database: Database) -> Database {
        (self.defect.database)(database)
    }

    fn query<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> Answer<'a, RowStream> {
        Box::pin(async move {
            let rows = bridge.query(call, target, (self.defect.query)(options)?).await?;
            self.changed(rows).await
        })
    }

    fn read<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> Answer<'a, RowStream> {
        Box::pin(async move {
            let rows = bridge.read(call, target, (self.defect.read)(options)).await?;
            self.changed(rows).await
        })
    }

    fn batch_read<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> Answer<'a, RowStream> {
        self.query(bridge, call, target, options.into())
    }

    fn aggregate<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> Answer<'a, RowStream> {
        Box::pin(async move {
            let rows = bridge.aggregate(call, target, (self.defect.aggregate)(options)).await?;
            self.changed(rows).await
        })
    }

    fn search<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> Answer<'a, RowStream> {
        bridge.search(call, target, (self.defect.search)(options))
    }
}
