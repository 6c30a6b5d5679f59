//! The PostgreSQL bridge, which is CockroachDB's, Neon's and Supabase's too: streams rows out of read-only sessions, over a wire client of its own.
//!
//! A statement's rows are parsed where the socket has put them and written as JSON at once; a stream that is dropped is
//! cancelled at the server. Types, settings and guarantees are described in `docs/bridges/postgres.md`.

mod config;
mod connect;
mod error;
mod execute;
mod flavor;
mod introspect;
mod search;
mod similar;
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
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Filter, Invalid, JobKind, Manifest,
    PoolUse, QueryOptions, ReadOptions, SearchMethod, SearchOptions, SimilarOptions, SourceConfig,
};

use crate::config::Settings;
use crate::connect::{Lease, Pool};
use crate::error::{is_stale_catalog, of_sql};
use crate::execute::{Access, PgRows, Shape};
use crate::flavor::{COCKROACHDB_FLAVOR, Flavor, NEON_FLAVOR, POSTGRES_FLAVOR, SUPABASE_FLAVOR};
use crate::introspect::{Catalog, Relation, question};
use crate::search::{ByTrigrams, FullText, TextIndexes, Way};
use crate::similar::Nearest;
use crate::translate::Dialects;

/// The drivers of this crate: one implementation with what the flavors differ in as data.
#[derive(Clone, Copy)]
pub struct PostgresDriver(&'static Flavor);

/// PostgreSQL, from version 12 on.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Postgres: PostgresDriver = PostgresDriver(&POSTGRES_FLAVOR);

/// CockroachDB, from version 23.1 on.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Cockroachdb: PostgresDriver = PostgresDriver(&COCKROACHDB_FLAVOR);

/// Neon over PostgreSQL's protocol.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Neon: PostgresDriver = PostgresDriver(&NEON_FLAVOR);

/// The database of a Supabase project.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Supabase: PostgresDriver = PostgresDriver(&SUPABASE_FLAVOR);

impl fmt::Debug for PostgresDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresDriver").field(&self.0.name).finish()
    }
}

impl Driver for PostgresDriver {
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
        self.0.capabilities
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        self.0.aggregates
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(&self.0.rules, config).map(drop)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            let flavor = self.0;
            let settings = Settings::read(&flavor.rules, config)?;
            let opened = Opened {
                flavor,
                pool: Pool::new(flavor.title, &settings),
                dialects: Dialects::new(flavor.dialect, settings.postgis),
                catalog: Catalog::new(flavor, settings.schema),
            };
            opened.test(call).await?;
            Ok(Box::new(opened) as Box<dyn Bridge>)
        })
    }
}

/// One database.
struct Opened {
    flavor: &'static Flavor,
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
        self.catalog.relation(access, lease, target).await
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
        let select = plan(&relation.table).map_err(|error| self.refused(error))?;
        let total = total.map(|filter| self.count_of(&relation, filter)).transpose()?;
        Ok(Box::new(self.rows(access, lease, &relation, select, total).await?))
    }

    /// Starts a select.
    async fn rows(
        &self,
        access: Access<'_>,
        lease: Lease,
        relation: &Relation,
        select: Select,
        total: Option<Sql>,
    ) -> Result<PgRows, BridgeError> {
        let rows = access.start(lease, &select.sql).await?;
        Ok(PgRows::new(self.pool.clone(), rows, Shape::Row(select), &relation.types, total, access.call))
    }

    async fn search_once(
        &self,
        call: &Call,
        target: &str,
        options: &SearchOptions,
    ) -> Result<RowStream, BridgeError> {
        let access = self.access(call);
        let (relation, lease) = self.relation(access, target).await?;
        let (indexes, lease) = self.text_indexes(access, lease, &relation).await?;
        let (dialect, table) = (self.dialects.plain(), &relation.table);
        let (select, method) = match indexes.way(options.fields.as_deref()) {
            Way::FullText(vector) => {
                let ranking = FullText { vector, options };
                (bridge_sql::search(dialect, table, options, &ranking), SearchMethod::FullText)
            }
            Way::Trigrams(columns) => {
                let ranking = ByTrigrams { columns, options };
                (bridge_sql::search(dialect, table, options, &ranking), SearchMethod::Trigram)
            }
            Way::Containment => {
                (bridge_sql::search_by_containment(dialect, table, options), SearchMethod::Containment)
            }
        };
        let select = select.map_err(|error| self.refused(error))?;
        Ok(Box::new(self.rows(access, lease, &relation, select, None).await?.found_by(method)))
    }

    /// What the table has that ranks by text, remembered with the table.
    async fn text_indexes<'a>(
        &self,
        access: Access<'_>,
        lease: Lease,
        relation: &'a Relation,
    ) -> Result<(&'a TextIndexes, Lease), BridgeError> {
        match (relation.text_indexes.get(), relation.table.parts.as_slice()) {
            (Some(indexes), _) => Ok((indexes, lease)),
            (None, [schema, name]) if self.flavor.has_text_indexes => {
                let (indexes, lease) = TextIndexes::look_up(access, lease, [schema, name]).await?;
                Ok((relation.text_indexes.get_or_init(|| indexes), lease))
            }
            (None, _) => Ok((relation.text_indexes.get_or_init(TextIndexes::default), lease)),
        }
    }

    async fn similar_once(
        &self,
        call: &Call,
        target: &str,
        options: &SimilarOptions,
    ) -> Result<RowStream, BridgeError> {
        let access = self.access(call);
        let (relation, lease) = self.relation(access, target).await?;
        let Some(vector) = relation.vectors.iter().find(|vector| vector.column == options.field) else {
            return Err(self.without_vectors(access, lease, &relation.table).await);
        };
        let ranking = Nearest::new(&relation.table, vector, options)?;
        let select = bridge_sql::similar(self.dialects.plain(), &relation.table, options, &ranking);
        let select = select.map_err(|error| self.refused(error))?;
        Ok(Box::new(self.rows(access, lease, &relation, select, None).await?))
    }

    /// Why there is nothing to compare with: the field, or the whole database.
    async fn without_vectors(&self, access: Access<'_>, lease: Lease, table: &Table) -> BridgeError {
        match access.number(lease, &question(similar::EXTENSION, &[])).await {
            Err(error) => error,
            Ok((0, _)) => BridgeError::UnsupportedKind {
                what: "similar without the extension \"vector\" in the database".to_owned(),
                bridge: self.flavor.name.to_owned(),
            },
            Ok(_) => Invalid::new("field", format!("a column of vectors of {}", table.display_name())).into(),
        }
    }

    fn refused(&self, error: SqlError) -> BridgeError {
        of_sql(self.flavor.name, error)
    }

    fn count_of(&self, relation: &Relation, filter: Filter) -> Result<Sql, BridgeError> {
        bridge_sql::count(self.dialects.plain(), &relation.table, &CountOptions { filter })
            .map_err(|error| self.refused(error))
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
            let (other, still) = self.catalog.relation(access, lease, &join.target).await?;
            joined.push(other.table.clone());
            lease = still;
        }
        let plan = bridge_sql::aggregate(self.dialects.plain(), &relation.table, &joined, options);
        let plan = plan.map_err(|error| self.refused(error))?;
        let rows = access.start(lease, &plan.sql).await?;
        let rows = PgRows::new(self.pool.clone(), rows, Shape::Bucket(plan), &relation.types, None, call);
        Ok(Box::new(rows) as RowStream)
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
                    self.dialects.plain(),
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
            if options.sample.is_some() && !self.flavor.aggregates.sampling {
                let bridge = self.flavor.name.to_owned();
                return Err(BridgeError::UnsupportedKind { what: "sample".to_owned(), bridge });
            }
            let joined = options.joins.iter().map(|join| join.target.as_str());
            let targets: Vec<&str> = [target].into_iter().chain(joined).collect();
            self.with_current(&targets, || self.aggregate_once(call, target, &options)).await
        })
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(self.catalog.list(self.access(call)))
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

    fn similar<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SimilarOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            if !self.flavor.capabilities.similar {
                return Err(self.unsupported(&JobKind::Similar));
            }
            self.with_current(&[target], || self.similar_once(call, target, &options)).await
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
