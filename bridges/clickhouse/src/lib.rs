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

use std::sync::{Arc, LazyLock};

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowStream, TargetSchema,
};
use bridge_sql::{Decode, Kind, Select, Sql, SqlError, Table};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Field, FieldKind, Filter, Manifest,
    PoolUse, Projection, QueryOptions, ReadOptions, SearchOptions, SimilarOptions, SourceConfig, Support,
};

use crate::config::{BinaryColumns, Settings};
use crate::connect::Pool;
use crate::error::{
    RequestError, TYPE_MISMATCH, UNKNOWN_DATABASE, is_stale_catalog, of_sql, while_connecting,
};
use crate::execute::{Access, ChRows, Column, Running, Session, Shape, Source};
use crate::introspect::{Catalog, Relation};
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

impl Driver for Clickhouse {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn manifest(&self) -> &Manifest {
        &MANIFEST
    }

    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        &AGGREGATES
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(config).map(drop)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            let settings = Settings::read(config)?;
            let mut opened = Opened {
                pool: Pool::new(&settings).await?,
                session: Arc::new(Session::default()),
                catalog: Catalog::default(),
                dialects: Dialects::new(false),
                database: settings.database,
                binary: settings.binary,
                nulls_in_joins: true,
            };
            opened.greet(call).await?;
            Ok(Box::new(opened) as Box<dyn Bridge>)
        })
    }
}

/// One database.
struct Opened {
    pool: Pool,
    session: Arc<Session>,
    catalog: Catalog,
    dialects: Dialects,
    database: String,
    binary: BinaryColumns,
    /// Whether a row that finds none to join has nulls beside it; where a role may not ask for that, it may have zeros.
    nulls_in_joins: bool,
}

/// How the server behaves, whatever the role may tell it.
const FACTS: &str = "\
SELECT toString(getSetting('join_use_nulls')),
  (SELECT any(value) FROM system.settings WHERE name = 'geotoh3_argument_order')";

impl Opened {
    /// Learns what must be known of a server before it is asked anything.
    async fn greet(&mut self, call: &Call) -> Result<(), BridgeError> {
        let version = self.pool.version(call).await?;
        if !is_new_enough(&version) {
            let too_old = RequestError::TooOld { found: version, needed: OLDEST_TEXT };
            return Err(while_connecting(too_old));
        }
        let facts = Sql { text: FACTS.to_owned(), params: Vec::new() };
        let rows = self.access(call).texts(&facts).await.map_err(unknown_database)?;
        let mut facts = rows.into_iter().flatten().map(Option::unwrap_or_default);
        let nulls = facts.next().unwrap_or_default();
        self.nulls_in_joins = nulls == "1" || nulls == "true";
        self.dialects = Dialects::new(facts.next().is_some_and(|order| order == "lat_lon"));
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

    /// Runs `attempt`. A failure that a change of the tables explains is tried once more, with the tables as they are now.
    async fn with_current<T, F>(&self, targets: &[&str], attempt: impl Fn() -> F) -> Result<T, BridgeError>
    where
        F: Future<Output = Result<T, BridgeError>>,
    {
        let remembered = targets.iter().any(|target| self.catalog.remembered(target).is_some());
        match attempt().await {
            Err(error) if remembered && may_be_stale(&error) => {
                targets.iter().for_each(|target| self.catalog.forget(target));
                attempt().await
            }
            decided => decided,
        }
    }

    /// Runs a select over `target`, made by `plan`, and counts what `total` matches when it has ended.
    async fn select(
        &self,
        call: &Call,
        target: &str,
        projection: &Projection,
        plan: impl Fn(&Table) -> Result<Select, SqlError> + Send + Sync,
        total: Option<Filter>,
    ) -> Result<RowStream, BridgeError> {
        let attempt = || async {
            let relation = self.catalog.relation(self.access(call), target).await?;
            let select = plan(&relation.table).map_err(of_sql)?;
            let total = total.clone().map(|filter| self.count_of(&relation, filter)).transpose()?;
            let rows = self.rows(call, &relation, projection, select).await?;
            Ok(Box::new(rows.with_total(total)) as RowStream)
        };
        self.with_current(&[target], attempt).await
    }

    /// Starts a select whose rows are those of `relation`.
    async fn rows(
        &self,
        call: &Call,
        relation: &Relation,
        projection: &Projection,
        select: Select,
    ) -> Result<ChRows, BridgeError> {
        let running = self.access(call).start(&select.sql).await?;
        let encodings = row_encodings(&running, &relation.table, projection)?;
        Ok(ChRows::new(self.source(call), running, Shape::Row(select), encodings))
    }

    fn count_of(&self, relation: &Relation, filter: Filter) -> Result<Sql, BridgeError> {
        bridge_sql::count(self.dialects.plain(), &relation.table, &CountOptions { filter }).map_err(of_sql)
    }

    async fn count_rows(&self, call: &Call, target: &str, filter: Filter) -> Result<u64, BridgeError> {
        let attempt = || async {
            let relation = self.catalog.relation(self.access(call), target).await?;
            let sql = self.count_of(&relation, filter.clone())?;
            self.access(call).number(&sql).await
        };
        self.with_current(&[target], attempt).await
    }

    async fn aggregate_once(
        &self,
        call: &Call,
        target: &str,
        options: &AggregateOptions,
    ) -> Result<RowStream, BridgeError> {
        if !options.joins.is_empty() && !self.nulls_in_joins {
            let what = "a join for a role that may not set join_use_nulls".to_owned();
            return Err(BridgeError::UnsupportedKind { what, bridge: NAME.to_owned() });
        }
        let relation = self.catalog.relation(self.access(call), target).await?;
        let mut joined = Vec::new();
        for join in &options.joins {
            let relation = self.catalog.relation(self.access(call), &join.target).await?;
            joined.push(relation.table.clone());
        }
        let plan = bridge_sql::aggregate(self.dialects.plain(), &relation.table, &joined, options)
            .map_err(of_sql)?;
        let running = self.access(call).start(&plan.sql).await?;
        let is_bytes = plan.columns.iter().map(|column| column.decode == Decode::Native(Kind::Bytes));
        let encodings = running.columns.iter().zip(is_bytes);
        let encodings =
            encodings.map(|(column, bytes)| encoding_of(column, bytes, false)).collect::<Result<_, _>>()?;
        Ok(Box::new(ChRows::new(self.source(call), running, Shape::Bucket(plan), encodings)))
    }
}

/// How the columns of rows are read: those of outputs as their columns of the table say, those behind them, which only
/// the cursor needs, as they come.
fn row_encodings(
    running: &Running,
    table: &Table,
    projection: &Projection,
) -> Result<Vec<Encoding>, BridgeError> {
    let named = projection.pairs();
    let outputs: Vec<&str> = match &named {
        Some(pairs) => pairs.iter().map(|(_, column)| *column).collect(),
        None => {
            let visible = table.columns.iter().filter(|column| !column.hidden);
            visible.map(|column| column.name.as_str()).collect()
        }
    };
    let encoding = |(index, column): (usize, &Column)| {
        let of_table = outputs.get(index).and_then(|name| table.column(name));
        let of_table = of_table.or_else(|| table.column(&column.name));
        let bytes = of_table.is_some_and(|column| column.kind == Kind::Bytes);
        let json = of_table.and_then(shown) == Some(SHOWN_AS_JSON);
        encoding_of(column, bytes, json && index < outputs.len())
    };
    running.columns.iter().enumerate().map(encoding).collect()
}

fn encoding_of(column: &Column, bytes: bool, json: bool) -> Result<Encoding, BridgeError> {
    let kind = Type::parse(&column.native)
        // A table that has become another one since it was looked at is looked at again.
        .ok_or_else(|| unreadable_type(&column.native))?;
    Ok(match (bytes, json) {
        (true, _) => Encoding::As(kind.into_bytes()),
        (_, true) => Encoding::Json(kind),
        _ => Encoding::As(kind),
    })
}

fn unreadable_type(native: &str) -> BridgeError {
    let message = format!("no value of the type {native} can be read");
    BridgeError::Query { message, native: Some(TYPE_MISMATCH.to_string()), source: None }
}

/// Whether a refusal may come from knowing a table as it no longer is: a new column, or one that is gone.
fn may_be_stale(error: &BridgeError) -> bool {
    is_stale_catalog(error) || matches!(error, BridgeError::Invalid(_))
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

impl Bridge for Opened {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(async move {
            let sql = Sql { text: "SELECT 1".to_owned(), params: Vec::new() };
            self.access(call).number(&sql).await.map(drop)
        })
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let total = options.total.then(|| options.filter.clone());
            let plan = |table: &Table| bridge_sql::query(self.dialects.plain(), table, &options);
            self.select(call, target, &options.projection, plan, total).await
        })
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let total = options.total.then(Filter::everything);
            let plan = |table: &Table| bridge_sql::read(self.dialects.plain(), table, &options);
            self.select(call, target, &options.projection, plan, total).await
        })
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        Box::pin(async move {
            let total = self.count_rows(call, target, options.filter).await?;
            Ok(Counted { total, approximate: false })
        })
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let joined = options.joins.iter().map(|join| join.target.as_str());
            let targets: Vec<&str> = [target].into_iter().chain(joined).collect();
            self.with_current(&targets, || self.aggregate_once(call, target, &options)).await
        })
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(introspect::list(self.access(call)))
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(async move {
            // What is shown to people is looked at anew.
            self.catalog.forget(target);
            let row_count = self.count_rows(call, target, Filter::everything()).await?;
            let relation = self.catalog.relation(self.access(call), target).await?;
            Ok(introspect::describe(target, &relation, row_count))
        })
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move { search::search(self, call, target, &options).await })
    }

    fn similar<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SimilarOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move { search::similar(self, call, target, &options).await })
    }

    fn driver_name(&self) -> &str {
        NAME
    }

    fn pool_use(&self) -> PoolUse {
        self.pool.usage()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
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
