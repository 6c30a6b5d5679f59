//! The suite's tables as indices. The suite knows its own columns and no others, so that `_id`, in which each document has
//! the table's key once more, is left out where all columns are asked for; and it wants columns in the order in which it
//! has made them, which no mapping remembers.

use std::sync::Arc;

use bridge_conformance::seed::{Table, first};
use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowStream, TargetSchema,
};
use plugins_host::Plugin;
use protocol::{
    AggregateCapabilities, AggregateOptions, BatchReadOptions, Capabilities, CountOptions, Manifest, PoolUse,
    Projection, QueryOptions, ReadOptions, SearchOptions, SimilarOptions, SourceConfig,
};

/// The index of a table; an index's name has none of these.
pub(crate) fn index(prefix: &str, table: &str) -> String {
    let plain = |character: char| if matches!(character, '"' | ' ' | '?') { '-' } else { character };
    format!("{prefix}-{}", table.chars().map(plain).collect::<String>())
}

/// The driver under test.
pub(crate) struct Tabled {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) prefix: String,
}

struct TabledBridge {
    bridge: Box<dyn Bridge>,
    prefix: String,
}

impl TabledBridge {
    fn table(&self, target: &str) -> Option<Table> {
        first().tables.into_iter().find(|table| index(&self.prefix, table.name) == target)
    }

    fn columns(&self, target: &str, projection: Projection) -> Projection {
        match (projection, self.table(target)) {
            (Projection::All, Some(table)) => {
                Projection::Columns(table.columns.iter().map(|column| column.name.to_owned()).collect())
            }
            (projection, _) => projection,
        }
    }
}

impl Driver for Tabled {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn manifest(&self) -> &Manifest {
        self.plugin.manifest()
    }

    fn capabilities(&self) -> &Capabilities {
        self.plugin.capabilities()
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        self.plugin.aggregate_capabilities()
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        self.plugin.check(config)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            let bridge = self.plugin.connect(config, call).await?;
            Ok(Box::new(TabledBridge { bridge, prefix: self.prefix.clone() }) as Box<dyn Bridge>)
        })
    }
}

impl Bridge for TabledBridge {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        self.bridge.test(call)
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let projection = self.columns(target, options.projection);
        self.bridge.query(call, target, QueryOptions { projection, ..options })
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let projection = self.columns(target, options.projection);
        self.bridge.read(call, target, ReadOptions { projection, ..options })
    }

    fn batch_read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let projection = self.columns(target, options.projection);
        self.bridge.batch_read(call, target, BatchReadOptions { projection, ..options })
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        self.bridge.count(call, target, options)
    }

    /// `ids` mean the column `_id`, which a table of one text key has as its key, too.
    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        self.bridge.aggregate(call, target, options)
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        self.bridge.list_targets(call)
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(async move {
            let mut schema = self.bridge.introspect_target(call, target).await?;
            let keys: Vec<&str> = schema
                .columns
                .iter()
                .filter(|column| column.primary_key)
                .map(|column| column.name.as_str())
                .collect();
            assert_eq!(keys, ["_id"], "_id alone is the key");
            schema.columns.retain(|column| column.name != "_id");
            if let Some(table) = self.table(target) {
                let place = |name: &str| table.columns.iter().position(|column| column.name == name);
                schema.columns.sort_by_key(|column| place(&column.name));
                for column in &mut schema.columns {
                    column.primary_key = table.key.contains(&column.name.as_str());
                }
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
        let projection = self.columns(target, options.projection);
        self.bridge.search(call, target, SearchOptions { projection, ..options })
    }

    fn similar<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SimilarOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
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
