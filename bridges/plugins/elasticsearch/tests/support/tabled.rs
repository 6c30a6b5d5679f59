//! The suite's tables as indices. The suite knows its own columns and no others, so that `_id`, in which each document has
//! the table's key once more, is left out where all columns are asked for; and it wants columns in the order in which it
//! has made them, which no mapping remembers.

use std::sync::Arc;

use bridge_conformance::seed::{Table, first};
use bridge_conformance::{Answer, Change};
use bridge_core::{Bridge, Call, RowStream, TargetSchema};
use protocol::{BatchReadOptions, Projection, QueryOptions, ReadOptions, SearchOptions};

/// The index of a table; an index's name has none of these.
pub(crate) fn index(prefix: &str, table: &str) -> String {
    let plain = |character: char| if matches!(character, '"' | ' ' | '?') { '-' } else { character };
    format!("{prefix}-{}", table.chars().map(plain).collect::<String>())
}

/// What the suite sees of the plugin.
pub(crate) struct Tabled {
    pub(crate) prefix: String,
}

impl Tabled {
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

impl Change for Tabled {
    fn query<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> Answer<'a, RowStream> {
        let projection = self.columns(target, options.projection);
        bridge.query(call, target, QueryOptions { projection, ..options })
    }

    fn read<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> Answer<'a, RowStream> {
        let projection = self.columns(target, options.projection);
        bridge.read(call, target, ReadOptions { projection, ..options })
    }

    fn batch_read<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> Answer<'a, RowStream> {
        let projection = self.columns(target, options.projection);
        bridge.batch_read(call, target, BatchReadOptions { projection, ..options })
    }

    fn introspect_target<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
    ) -> Answer<'a, TargetSchema> {
        Box::pin(async move {
            let mut schema = bridge.introspect_target(call, target).await?;
            let keys = schema.columns.iter().filter(|column| column.primary_key);
            let keys: Vec<&str> = keys.map(|column| column.name.as_str()).collect();
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
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> Answer<'a, RowStream> {
        let projection = self.columns(target, options.projection);
        bridge.search(call, target, SearchOptions { projection, ..options })
    }
}
