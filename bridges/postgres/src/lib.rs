//! The PostgreSQL bridge: streams rows out of read-only sessions, over a wire client of its own.
//!
//! A statement's rows are parsed where the socket has put them and written as JSON at once; a stream that is dropped is
//! cancelled at the server. Types, settings and guarantees are described in `docs/bridges/postgres.md`.

mod config;
mod connect;
mod error;
mod execute;
mod introspect;
mod translate;
mod values;
mod wire;

use std::sync::{Arc, LazyLock};

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowStream, TargetSchema,
};
use bridge_sql::{Select, Sql, SqlError, Table};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Field, FieldKind, Filter, Keyset,
    Manifest, PoolUse, QueryOptions, ReadOptions, SourceConfig,
};

use crate::config::Settings;
use crate::connect::{Lease, Pool};
use crate::error::{is_stale_catalog, of_sql};
use crate::execute::{Access, PgRows, Shape};
use crate::introspect::{Catalog, Relation};
use crate::translate::Dialects;

/// Package name.
pub(crate) const NAME: &str = "@semilayer/bridge-postgres";

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let number = |key, label| Field::new(key, label, FieldKind::Number);
    let text = |key, label| Field::new(key, label, FieldKind::String);
    Manifest::new("postgres", "PostgreSQL")
        .with_url("postgresql://user:pass@host:5432/dbname")
        .with(text("host", "Host").required().hint("A name, an address, or the folder of a Unix socket."))
        .with(number("port", "Port").default("5432"))
        .with(text("database", "Database").required())
        .with(text("user", "Username").required())
        .with(Field::new("password", "Password", FieldKind::Password).required())
        .with(Field::new("ssl", "SSL", FieldKind::Boolean).default("false").advanced().hint(
            "On: encrypted, with the server's certificate and name verified. For anything between, sslmode.",
        ))
        .with(number("ipFamily", "IP Family").default("4").advanced().hint("4, 6, or 0 for both."))
        .with(number("connectionTimeoutMillis", "Connect Timeout (ms)").default("10000").advanced())
        .with(text("sslmode", "SSL Mode").advanced().hint("As libpq has it: disable to verify-full."))
        .with(text("sslrootcert", "Root Certificate").advanced().hint("A PEM file or its text, or system."))
        .with(text("sslcert", "Client Certificate").advanced().hint("A PEM file or its text."))
        .with(
            Field::new("sslkey", "Client Key", FieldKind::Password)
                .advanced()
                .hint("A PEM file or its text."),
        )
        .with(number("poolMax", "Pool Size").default("3").advanced())
        .with(Field::new("enablePostgis", "PostGIS", FieldKind::Boolean).default("false").advanced())
});

static CAPABILITIES: LazyLock<Capabilities> = LazyLock::new(Capabilities::full);

static AGGREGATES: LazyLock<AggregateCapabilities> = LazyLock::new(AggregateCapabilities::full);

/// PostgreSQL, from version 12 on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postgres;

impl Driver for Postgres {
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
            let opened = Opened {
                pool: Pool::new(&settings),
                catalog: Catalog::default(),
                dialects: Dialects::new(settings.postgis),
            };
            opened.test(call).await?;
            Ok(Box::new(opened) as Box<dyn Bridge>)
        })
    }
}

/// One database.
struct Opened {
    pool: Pool,
    catalog: Catalog,
    dialects: Dialects,
}

impl Opened {
    fn access<'a>(&'a self, call: &'a Call) -> Access<'a> {
        Access { pool: &self.pool, call }
    }

    /// A table, and the connection over which it was looked up.
    async fn relation(
        &self,
        access: Access<'_>,
        target: &str,
    ) -> Result<(Arc<Relation>, Lease), BridgeError> {
        let lease = access.lease().await?;
        self.catalog.relation(access, lease, &self.dialects, target).await
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
        plan: impl Fn(&Table) -> Result<Select, SqlError> + Send + Sync,
        total: Option<Filter>,
    ) -> Result<RowStream, BridgeError> {
        self.with_current(&[target], || self.select_once(call, target, &plan, total.clone())).await
    }

    async fn select_once(
        &self,
        call: &Call,
        target: &str,
        plan: &(impl Fn(&Table) -> Result<Select, SqlError> + Send + Sync),
        total: Option<Filter>,
    ) -> Result<RowStream, BridgeError> {
        let access = self.access(call);
        let (relation, lease) = self.relation(access, target).await?;
        let select = plan(&relation.table).map_err(of_sql)?;
        let total = total.map(|filter| self.count_of(&relation, filter)).transpose()?;
        let rows = access.start(lease, &select.sql).await?;
        let shape = Shape::Row(select);
        Ok(Box::new(PgRows::new(self.pool.clone(), rows, shape, &relation.arrays, total, call)))
    }

    fn count_of(&self, relation: &Relation, filter: Filter) -> Result<Sql, BridgeError> {
        bridge_sql::count(self.dialects.plain(), &relation.table, &CountOptions { filter }).map_err(of_sql)
    }

    async fn count_rows(&self, call: &Call, target: &str, filter: Filter) -> Result<u64, BridgeError> {
        self.with_current(&[target], || self.count_once(call, target, filter.clone())).await
    }

    async fn count_once(&self, call: &Call, target: &str, filter: Filter) -> Result<u64, BridgeError> {
        let access = self.access(call);
        let (relation, lease) = self.relation(access, target).await?;
        let sql = self.count_of(&relation, filter)?;
        let (total, _lease) = access.number(lease, &sql).await?;
        Ok(total)
    }

    async fn aggregate_once(
        &self,
        call: &Call,
        target: &str,
        options: &AggregateOptions,
    ) -> Result<RowStream, BridgeError> {
        let access = self.access(call);
        let (relation, mut lease) = self.relation(access, target).await?;
        let mut joined = Vec::new();
        for join in &options.joins {
            let (other, still) = self.catalog.relation(access, lease, &self.dialects, &join.target).await?;
            joined.push(other.table.clone());
            lease = still;
        }
        let plan = bridge_sql::aggregate(self.dialects.plain(), &relation.table, &joined, options);
        let plan = plan.map_err(of_sql)?;
        let rows = access.start(lease, &plan.sql).await?;
        let rows = PgRows::new(self.pool.clone(), rows, Shape::Bucket(plan), &relation.arrays, None, call);
        Ok(Box::new(rows) as RowStream)
    }
}

/// Whether looking at the table again may help: the server or the translator has missed something in it.
fn may_be_stale(error: &BridgeError) -> bool {
    is_stale_catalog(error) || matches!(error, BridgeError::Invalid(_))
}

/// Paging by key without named columns needs a primary key; a table without one answers its first page without a cursor.
fn without_key(table: &Table, mut options: QueryOptions) -> QueryOptions {
    if table.primary_key.is_empty()
        && matches!(&options.keyset, Some(Keyset { tiebreak: None, cursor: None }))
    {
        options.keyset = None;
    }
    options
}

impl Bridge for Opened {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(async move {
            let access = self.access(call);
            let sql = Sql { text: "SELECT 1".to_owned(), params: Vec::new() };
            access.number(access.lease().await?, &sql).await.map(drop)
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
            let plan = |table: &Table| {
                bridge_sql::query(self.dialects.plain(), table, &without_key(table, options.clone()))
            };
            self.select(call, target, plan, total).await
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
            self.select(call, target, plan, total).await
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
            let (relation, _lease) = self.relation(self.access(call), target).await?;
            Ok(introspect::describe(target, &relation, row_count))
        })
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
