//! The suite's tables as collections. The suite knows its own columns and no others, so that `_id`, in which each
//! document has the table's key once more, is left out where all columns are asked for.

use bridge_conformance::seed::{Table, first};
use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowStream, TargetSchema,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, BatchReadOptions, Capabilities, CountOptions, Manifest, PoolUse,
    Projection, QueryOptions, ReadOptions, SearchOptions, SimilarOptions, SourceConfig,
};
use semilayer_bridge_mongodb::MongoDb;

/// The collection of a table; a collection's name has no `$`.
pub(crate) fn collection(table: &str) -> String {
    table.replace('$', "S")
}

/// The driver under test.
pub(crate) struct Tabled;

struct TabledBridge(Box<dyn Bridge>);

fn table(target: &str) -> Option<Table> {
    first().tables.into_iter().find(|table| collection(table.name) == target)
}

fn columns(target: &str, projection: Projection) -> Projection {
    match (projection, table(target)) {
        (Projection::All, Some(table)) => {
            Projection::Columns(table.columns.iter().map(|column| column.name.to_owned()).collect())
        }
        (projection, _) => projection,
    }
}

impl Driver for Tabled {
    fn name(&self) -> &str {
        MongoDb.name()
    }

    fn manifest(&self) -> &Manifest {
        MongoDb.manifest()
    }

    fn capabilities(&self) -> &Capabilities {
        MongoDb.capabilities()
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        MongoDb.aggregate_capabilities()
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        MongoDb.check(config)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            Ok(Box::new(TabledBridge(MongoDb.connect(config, call).await?)) as Box<dyn Bridge>)
        })
    }
}

impl Bridge for TabledBridge {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        self.0.test(call)
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let projection = columns(target, options.projection);
        self.0.query(call, target, QueryOptions { projection, ..options })
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let projection = columns(target, options.projection);
        self.0.read(call, target, ReadOptions { projection, ..options })
    }

    fn batch_read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let projection = columns(target, options.projection);
        self.0.batch_read(call, target, BatchReadOptions { projection, ..options })
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        self.0.count(call, target, options)
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        self.0.aggregate(call, target, options)
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        self.0.list_targets(call)
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(async move {
            let mut schema = self.0.introspect_target(call, target).await?;
            let keys: Vec<bool> = schema.columns.iter().map(|column| column.primary_key).collect();
            let ids = schema.columns.iter().filter(|column| column.name == "_id").count();
            assert_eq!((keys.iter().filter(|key| **key).count(), ids), (1, 1), "_id alone is the key");
            schema.columns.retain(|column| column.name != "_id");
            let table = table(target);
            for column in &mut schema.columns {
                column.primary_key =
                    table.as_ref().is_some_and(|table| table.key.contains(&column.name.as_str()));
            }
            Ok(schema)
        })
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let projection = columns(target, options.projection);
        self.0.search(call, target, SearchOptions { projection, ..options })
    }

    fn similar<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SimilarOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        self.0.similar(call, target, options)
    }

    fn driver_name(&self) -> &str {
        self.0.driver_name()
    }

    fn pool_use(&self) -> PoolUse {
        self.0.pool_use()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}
