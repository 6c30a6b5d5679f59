//! The MySQL bridge, which is MariaDB's and PlanetScale's too: streams rows out of read-only sessions, over a wire client
//! of its own.
//!
//! A statement's rows are parsed where the socket has put them and written as JSON at once; a stream that is dropped is
//! killed at the server. Types, settings and guarantees are described in `docs/bridges/mysql.md`.

mod config;
mod connect;
mod error;
mod execute;
mod flavor;
mod introspect;
mod search;
mod translate;
mod values;
mod wire;

use std::fmt;
use std::sync::Arc;

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowStream, TargetSchema,
};
use bridge_sql::{Select, Sql, SqlError, Table};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Filter, Manifest, PoolUse,
    QueryOptions, ReadOptions, SearchOptions, SourceConfig,
};

use crate::config::Settings;
use crate::connect::{Lease, Pool};
use crate::error::{is_stale_catalog, of_sql};
use crate::execute::{Access, MyRows, Shape};
use crate::flavor::{CAPABILITIES, Flavor, MARIADB_FLAVOR, MYSQL_FLAVOR, PLANETSCALE_FLAVOR};
use crate::introspect::{Catalog, Relation};

/// The drivers of this crate: one implementation with what the flavors differ in as data.
#[derive(Clone, Copy)]
pub struct MysqlDriver(&'static Flavor);

/// MySQL, from version 5.7 on; window functions, which some aggregates need, are in 8.0 and later.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Mysql: MysqlDriver = MysqlDriver(&MYSQL_FLAVOR);

/// MariaDB, from version 10.3 on.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Mariadb: MysqlDriver = MysqlDriver(&MARIADB_FLAVOR);

/// PlanetScale over the MySQL protocol.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Planetscale: MysqlDriver = MysqlDriver(&PLANETSCALE_FLAVOR);

impl Driver for MysqlDriver {
    fn name(&self) -> &str {
        self.0.name
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn manifest(&self) -> &Manifest {
        self.0.manifest
    }

    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        self.0.aggregates
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(self.0, config).map(drop)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            let settings = Settings::read(self.0, config)?;
            let pool = Pool::new(&settings);
            let opened = Opened { pool, catalog: Catalog::default(), flavor: self.0 };
            opened.test(call).await?;
            Ok(Box::new(opened) as Box<dyn Bridge>)
        })
    }
}

impl fmt::Debug for MysqlDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MysqlDriver").field(&self.0.name).finish()
    }
}

/// One database.
struct Opened {
    pool: Pool,
    catalog: Catalog,
    flavor: &'static Flavor,
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
        self.catalog.relation(access, lease, self.flavor, target).await
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
        let select = plan(&relation.table).map_err(|error| of_sql(error, self.flavor.name))?;
        let total = total.map(|filter| self.count_of(&relation, filter)).transpose()?;
        let rows = access.start(lease, &select.sql).await?;
        let shape = Shape::Row(select);
        Ok(Box::new(MyRows::new(self.pool.clone(), rows, shape, total, call)))
    }

    fn count_of(&self, relation: &Relation, filter: Filter) -> Result<Sql, BridgeError> {
        bridge_sql::count(&self.flavor.dialect, &relation.table, &CountOptions { filter })
            .map_err(|error| of_sql(error, self.flavor.name))
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
            let (other, still) = self.catalog.relation(access, lease, self.flavor, &join.target).await?;
            joined.push(other.table.clone());
            lease = still;
        }
        let plan = bridge_sql::aggregate(&self.flavor.dialect, &relation.table, &joined, options);
        let plan = plan.map_err(|error| of_sql(error, self.flavor.name))?;
        let rows = access.start(lease, &plan.sql).await?;
        let rows = MyRows::new(self.pool.clone(), rows, Shape::Bucket(plan), None, call);
        Ok(Box::new(rows) as RowStream)
    }
}

impl Opened {
    async fn search_once(
        &self,
        call: &Call,
        target: &str,
        options: &SearchOptions,
    ) -> Result<RowStream, BridgeError> {
        let access = self.access(call);
        let (relation, lease) = self.relation(access, target).await?;
        let (indexes, lease) = introspect::full_text(access, lease, &relation.table).await?;
        let planned = search::plan(self.flavor, &relation.table, &indexes, options);
        let (select, method) = planned.map_err(|error| of_sql(error, self.flavor.name))?;
        let rows = access.start(lease, &select.sql).await?;
        let rows = MyRows::new(self.pool.clone(), rows, Shape::Row(select), None, call);
        Ok(Box::new(rows.found_by(method)))
    }
}

/// Whether looking at the table again may help: the server or the translator has missed something in it.
fn may_be_stale(error: &BridgeError) -> bool {
    is_stale_catalog(error) || matches!(error, BridgeError::Invalid(_))
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
                bridge_sql::query(
                    &self.flavor.dialect,
                    table,
                    &bridge_sql::without_key(table, options.clone()),
                )
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
            let plan = |table: &Table| bridge_sql::read(&self.flavor.dialect, table, &options);
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

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(
            async move { self.with_current(&[target], || self.search_once(call, target, &options)).await },
        )
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
            Ok(introspect::describe(target, &relation, self.flavor, row_count))
        })
    }

    fn driver_name(&self) -> &str {
        self.flavor.name
    }

    fn pool_use(&self) -> PoolUse {
        self.pool.usage()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}
