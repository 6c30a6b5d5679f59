//! The ClickHouse bridge: statements over HTTP, whose rows are read as the server has them in memory.
//!
//! `RowBinary` is cheaper for the server to write than its JSON and says every value exactly, so rows are turned into
//! JSON here, while they come. Types, settings and guarantees are described in `docs/bridges/clickhouse.md`.

mod config;
mod connect;
mod error;
mod execute;
mod introspect;
mod search;
mod translate;
mod values;

/// What fuzzing reaches of the inside. No part of the interface.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::execute::told::{Told, read_type, tell};
}

use std::sync::{Arc, LazyLock};

use bridge_core::{
    Bridge, BridgeError, Call, ConfigMistakes, Declaration, NativeDriver, Remembered, RowStream, TargetSchema,
};
use bridge_sql::{
    AggregatePlan, Decode, Dialect, Engine, Kind, Select, Shape, Sql, SqlSource, Statement, Table,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, Field, FieldKind, Manifest, PoolUse,
    SearchOptions, SimilarOptions, SourceConfig, Support,
};

use crate::config::{BinaryColumns, Settings};
use crate::connect::{Pool, Server};
use crate::error::{RequestError, STALE_CATALOG, TYPE_MISMATCH, UNKNOWN_DATABASE, while_connecting};
use crate::execute::{Access, ChRows, Column, Running, Session, Source};
use crate::introspect::Relation;
use crate::translate::{Dialects, SHOWN_AS_JSON, shown};
use crate::values::{Encoding, Type};

/// Package name.
pub(crate) const NAME: &str = "@semilayer/bridge-clickhouse";
/// What the server's log calls us.
pub(crate) const AGENT: &str = "semilayer-runner";
/// The oldest version whose words we use.
const OLDEST: (u32, u32) = (23, 3);
const OLDEST_TEXT: &str = "23.3";

static MANIFEST: LazyLock<Manifest> =
    LazyLock::new(|| {
        let number = |key, label| Field::new(key, label, FieldKind::Number);
        let text = |key, label| Field::new(key, label, FieldKind::String);
        let secret = |key, label| Field::new(key, label, FieldKind::Password);
        Manifest::new("clickhouse", "ClickHouse")
            .with_url("https://user:pass@host:8443/database")
            .with(text("host", "Host").required())
            .with(number("port", "Port").default("8123"))
            .with(text("database", "Database").required().default("default"))
            .with(text("username", "Username").default("default").advanced())
            .with(secret("password", "Password").advanced())
            .with(text("protocol", "Protocol").default("http").advanced().hint("http or https."))
            .with(text("sslmode", "SSL Mode").advanced().hint("disable, require, verify-ca or verify-full."))
            .with(text("sslrootcert", "Root Certificate").advanced().hint("A PEM file or its text."))
            .with(text("sslcert", "Client Certificate").advanced().hint("A PEM file or its text."))
            .with(secret("sslkey", "Client Key").advanced().hint("A PEM file or its text."))
            .with(number("connectionTimeoutMillis", "Connect Timeout (ms)").default("10000").advanced())
            .with(number("poolMax", "Pool Size").default("3").advanced())
            .with(text("binaryColumns", "Binary Columns").advanced().hint(
                "table.column, separated by commas: columns of String that hold bytes, shown as base64.",
            ))
    });

static CAPABILITIES: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities { search: true, similar: true, ..Capabilities::full() });

static AGGREGATES: LazyLock<AggregateCapabilities> = LazyLock::new(|| AggregateCapabilities {
    count_distinct: Support::Both,
    geo_bucket: true,
    geohash_bucket: true,
    h3_bucket: true,
    ..AggregateCapabilities::full()
});

/// ClickHouse, from version 23.3 on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clickhouse;

impl NativeDriver for Clickhouse {
    fn declaration(&self) -> Declaration<'_> {
        Declaration { manifest: &MANIFEST, capabilities: &CAPABILITIES, aggregates: &AGGREGATES }
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(config).map(drop)
    }

    async fn connect(&self, config: &SourceConfig, call: &Call) -> Result<Box<dyn Bridge>, BridgeError> {
        let settings = Settings::read(config)?;
        let mut opened = Opened {
            pool: Pool::new(Server::load(&settings).await?, settings.pool_max),
            session: Arc::new(Session::default()),
            relations: Remembered::new(STALE_CATALOG),
            dialects: Dialects::new(false, None),
            database: settings.database,
            binary: settings.binary,
            nulls_in_joins: true,
        };
        opened.greet(call).await?;
        Ok(Box::new(SqlSource(opened)))
    }
}

/// One database.
struct Opened {
    pool: Pool,
    session: Arc<Session>,
    relations: Remembered<Relation>,
    dialects: Dialects,
    database: String,
    binary: BinaryColumns,
    /// Whether a row that finds none to join has nulls beside it; where a role may not ask for that, it may have zeros.
    nulls_in_joins: bool,
}

/// How the server behaves, whatever the role may tell it.
const FACTS: &str = "\
SELECT toString(getSetting('join_use_nulls')),
  (SELECT any(value) FROM system.settings WHERE name = 'geotoh3_argument_order'),
  (SELECT any(value) FROM system.settings WHERE name = 'http_max_fields')";

impl Opened {
    /// Learns what must be known of a server before it is asked anything.
    async fn greet(&mut self, call: &Call) -> Result<(), BridgeError> {
        let version = connect::version(&self.pool, call).await?;
        if !is_new_enough(&version) {
            let too_old = RequestError::TooOld { found: version, needed: OLDEST_TEXT };
            return Err(while_connecting(too_old));
        }
        let facts = Sql { text: FACTS.to_owned(), params: Vec::new() };
        let rows = self.access(call).texts(&facts).await.map_err(unknown_database)?;
        let mut facts = rows.into_iter().flatten().map(Option::unwrap_or_default);
        let nulls = facts.next().unwrap_or_default();
        self.nulls_in_joins = nulls == "1" || nulls == "true";
        let latitude_first = facts.next().is_some_and(|order| order == "lat_lon");
        self.dialects = Dialects::new(latitude_first, facts.next().and_then(|fields| fields.parse().ok()));
        Ok(())
    }

    fn access<'a>(&'a self, call: &'a Call) -> Access<'a> {
        Access {
            pool: &self.pool,
            call,
            session: &self.session,
            database: &self.database,
            dialects: &self.dialects,
            binary: &self.binary,
        }
    }

    fn source(&self, call: &Call) -> Source {
        Source {
            pool: self.pool.clone(),
            session: Arc::clone(&self.session),
            dialects: self.dialects,
            call: *call,
        }
    }
}

impl Engine for Opened {
    type Lease = ();
    type Relation = Relation;

    fn declaration(&self) -> Declaration<'_> {
        Clickhouse.declaration()
    }

    fn dialect(&self) -> &Dialect {
        self.dialects.plain()
    }

    fn relations(&self) -> &Remembered<Relation> {
        &self.relations
    }

    async fn lease(&self, _call: &Call) -> Result<(), BridgeError> {
        Ok(())
    }

    async fn look_up(&self, call: &Call, (): (), target: &str) -> Result<(Relation, ()), BridgeError> {
        Ok((introspect::look_up(self.access(call), target).await?, ()))
    }

    async fn number(&self, call: &Call, (): (), sql: &Sql) -> Result<u64, BridgeError> {
        self.access(call).number(sql).await
    }

    async fn rows(
        &self,
        call: &Call,
        (): (),
        relation: &Relation,
        statement: Statement,
    ) -> Result<RowStream, BridgeError> {
        let running = self.access(call).start(statement.shape.sql()).await?;
        let encodings = match &statement.shape {
            Shape::Row(select) => row_encodings(&running, &relation.table, select)?,
            Shape::Bucket(plan) => bucket_encodings(&running, plan)?,
        };
        Ok(Box::new(ChRows::new(self.source(call), running, statement, encodings)))
    }

    async fn search(
        &self,
        call: &Call,
        (): (),
        relation: &Relation,
        options: &SearchOptions,
    ) -> Result<RowStream, BridgeError> {
        search::search(self, call, relation, options).await
    }

    async fn similar(
        &self,
        call: &Call,
        (): (),
        relation: &Relation,
        options: &SimilarOptions,
    ) -> Result<RowStream, BridgeError> {
        search::similar(self, call, relation, options).await
    }

    async fn list(&self, call: &Call) -> Result<Vec<String>, BridgeError> {
        introspect::list(self.access(call)).await
    }

    fn describe(&self, target: &str, relation: &Relation, row_count: u64) -> TargetSchema {
        introspect::describe(target, relation, row_count)
    }

    fn may_aggregate(&self, options: &AggregateOptions) -> Result<(), BridgeError> {
        if !options.joins.is_empty() && !self.nulls_in_joins {
            let what = "a join for a role that may not set join_use_nulls".to_owned();
            return Err(BridgeError::UnsupportedKind { what, bridge: NAME.to_owned() });
        }
        Ok(())
    }

    fn pool_use(&self) -> PoolUse {
        self.pool.usage()
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// How the columns of rows are read: as the table's columns behind them say. What only the cursor needs comes as it is,
/// and never as JSON.
fn row_encodings(running: &Running, table: &Table, select: &Select) -> Result<Vec<Encoding>, BridgeError> {
    running.has_columns(select.outputs.len() + select.hidden)?;
    let encoding = |(index, column): (usize, &Column)| {
        let of_table = select.columns.get(index).and_then(|name| table.column(name.as_deref()?));
        let bytes = of_table.is_some_and(|column| column.kind == Kind::Bytes);
        let json = of_table.and_then(shown) == Some(SHOWN_AS_JSON);
        encoding_of(column, bytes, json && index < select.outputs.len())
    };
    running.columns.iter().enumerate().map(encoding).collect()
}

fn bucket_encodings(running: &Running, plan: &AggregatePlan) -> Result<Vec<Encoding>, BridgeError> {
    running.has_columns(plan.columns.len())?;
    let is_bytes = plan.columns.iter().map(|column| column.decode == Decode::Native(Kind::Bytes));
    let encoding = |(column, bytes): (&Column, bool)| encoding_of(column, bytes, false);
    running.columns.iter().zip(is_bytes).map(encoding).collect()
}

fn encoding_of(column: &Column, bytes: bool, json: bool) -> Result<Encoding, BridgeError> {
    let kind = Type::parse(&column.native)
        // A table that has become another one since it was looked at is looked at again.
        .ok_or_else(|| unreadable_type(column))?;
    Ok(match (bytes, json) {
        (true, _) => Encoding::As(kind.into_bytes()),
        (_, true) => Encoding::Json(kind),
        _ => Encoding::As(kind),
    })
}

fn unreadable_type(Column { name, native }: &Column) -> BridgeError {
    let message = format!("no value of the type {native} can be read, which column \"{name}\" has");
    BridgeError::Query { message, native: Some(TYPE_MISMATCH.to_string()), source: None }
}

/// A database that is not there is found out with the first statement.
fn unknown_database(error: BridgeError) -> BridgeError {
    match error {
        BridgeError::Query { message, native: Some(code), source }
            if code == UNKNOWN_DATABASE.to_string() =>
        {
            BridgeError::Unreachable { message: format!("cannot connect to ClickHouse: {message}"), source }
        }
        other => other,
    }
}

/// `26.9.2.1`, or with a name of its maker behind.
fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim().split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(
            is_new_enough("26.9.2.1") && is_new_enough("23.3.1") && is_new_enough("25.8.1.altinitystable")
        );
        assert!(!is_new_enough("18.16.1") && !is_new_enough("23.2.9") && !is_new_enough("<html>"));
    }
}
