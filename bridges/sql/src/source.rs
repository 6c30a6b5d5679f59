//! A source of rows and tables: what every SQL database does the same with the plans of this crate.
//!
//! A job looks its tables up, or remembers them, plans over them, and runs the plan; when a table turns out to be another
//! one by now, that is done once more. Whatever touches a server is the [`Engine`]'s.

use std::sync::Arc;

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, Counted, Declaration, Remembered, RowStream, TargetSchema,
};
use protocol::{
    AggregateOptions, CountOptions, Filter, JobKind, PoolUse, QueryOptions, ReadOptions, SearchMethod,
    SearchOptions, SimilarOptions,
};

use crate::select::without_key;
use crate::{AggregatePlan, Dialect, Select, Sql, SqlError, Table};

/// One database, as its bridge has opened it. Every wait of it ends with the call's deadline.
pub trait Engine: Send + Sync {
    /// A table or view with what the bridge knows of it beyond its columns.
    type Relation: AsRef<Table> + Send + Sync;
    /// A connection, with which a job goes from statement to statement; nothing (`()`) where each finds its own.
    type Lease: Send;

    /// What the driver says of itself.
    fn declaration(&self) -> Declaration<'_>;

    /// The dialect of its statements.
    fn dialect(&self) -> &Dialect;

    /// The tables that were looked at, by target.
    fn relations(&self) -> &Remembered<Self::Relation>;

    /// A connection.
    fn lease(&self, call: &Call) -> impl Future<Output = Result<Self::Lease, BridgeError>> + Send;

    /// Looks a table up in the catalog.
    fn look_up(
        &self,
        call: &Call,
        lease: Self::Lease,
        target: &str,
    ) -> impl Future<Output = Result<(Self::Relation, Self::Lease), BridgeError>> + Send;

    /// Runs a statement that answers one whole number.
    fn number(
        &self,
        call: &Call,
        lease: Self::Lease,
        sql: &Sql,
    ) -> impl Future<Output = Result<u64, BridgeError>> + Send;

    /// Starts a statement over a table.
    fn rows(
        &self,
        call: &Call,
        lease: Self::Lease,
        relation: &Self::Relation,
        job: Statement,
    ) -> impl Future<Output = Result<RowStream, BridgeError>> + Send;

    /// As [`Bridge::search`], over a table that has been looked up.
    fn search(
        &self,
        call: &Call,
        lease: Self::Lease,
        relation: &Self::Relation,
        options: &SearchOptions,
    ) -> impl Future<Output = Result<RowStream, BridgeError>> + Send;

    /// As [`Bridge::similar`], over a table that has been looked up. Asked only where it is declared.
    fn similar(
        &self,
        call: &Call,
        lease: Self::Lease,
        relation: &Self::Relation,
        options: &SimilarOptions,
    ) -> impl Future<Output = Result<RowStream, BridgeError>> + Send;

    /// As [`Bridge::list_targets`].
    fn list(&self, call: &Call) -> impl Future<Output = Result<Vec<String>, BridgeError>> + Send;

    /// The columns of a table as people see them.
    fn describe(&self, target: &str, relation: &Self::Relation, row_count: u64) -> TargetSchema;

    /// Refuses an aggregate that this server, unlike others of its kind, cannot do.
    fn may_aggregate(&self, _options: &AggregateOptions) -> Result<(), BridgeError> {
        Ok(())
    }

    /// Connections now.
    fn pool_use(&self) -> PoolUse;

    /// As [`Bridge::close`].
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A statement whose rows are asked for.
#[derive(Debug)]
pub struct Statement {
    /// What becomes of each row.
    pub shape: Shape,
    /// Counts all rows once the last one is read.
    pub total: Option<Sql>,
    /// How a search finds them.
    pub method: Option<SearchMethod>,
}

/// What becomes of each row of a statement.
#[derive(Debug)]
pub enum Shape {
    /// A row of a select.
    Row(Select),
    /// A bucket of an aggregate.
    Bucket(AggregatePlan),
}

impl Shape {
    /// The statement itself.
    pub fn sql(&self) -> &Sql {
        match self {
            Self::Row(select) => &select.sql,
            Self::Bucket(plan) => &plan.sql,
        }
    }
}

impl From<Shape> for Statement {
    fn from(shape: Shape) -> Self {
        Self { shape, total: None, method: None }
    }
}

impl From<Select> for Statement {
    fn from(select: Select) -> Self {
        Shape::Row(select).into()
    }
}

/// An opened SQL database.
#[derive(Debug)]
pub struct SqlSource<E>(pub E);

impl<E: Engine> SqlSource<E> {
    /// A table, and the connection over which it was looked up.
    async fn relation(
        &self,
        call: &Call,
        lease: E::Lease,
        target: &str,
    ) -> Result<(Arc<E::Relation>, E::Lease), BridgeError> {
        if let Some(relation) = self.0.relations().get(target) {
            return Ok((relation, lease));
        }
        let (relation, lease) = self.0.look_up(call, lease, target).await?;
        Ok((self.0.relations().keep(target, relation), lease))
    }

    /// Runs a select over `target`, made by `plan`, and counts what `total` matches when it has ended.
    async fn select(
        &self,
        call: &Call,
        target: &str,
        plan: impl Fn(&Table) -> Result<Select, SqlError> + Send + Sync,
        total: Option<Filter>,
    ) -> Result<RowStream, BridgeError> {
        let attempt = || async {
            let (relation, lease) = self.relation(call, self.0.lease(call).await?, target).await?;
            let table = (*relation).as_ref();
            let select = plan(table).map_err(|error| self.refused(error))?;
            let total = total.clone().map(|filter| self.count_of(table, filter)).transpose()?;
            let statement = Statement { total, ..select.into() };
            self.0.rows(call, lease, &relation, statement).await
        };
        self.0.relations().with_current(&[target], attempt).await
    }

    fn count_of(&self, table: &Table, filter: Filter) -> Result<Sql, BridgeError> {
        crate::count(self.0.dialect(), table, &CountOptions { filter }).map_err(|error| self.refused(error))
    }

    async fn count_rows(&self, call: &Call, target: &str, filter: Filter) -> Result<u64, BridgeError> {
        let attempt = || async {
            let (relation, lease) = self.relation(call, self.0.lease(call).await?, target).await?;
            let sql = self.count_of((*relation).as_ref(), filter.clone())?;
            self.0.number(call, lease, &sql).await
        };
        self.0.relations().with_current(&[target], attempt).await
    }

    async fn aggregate_once(
        &self,
        call: &Call,
        target: &str,
        options: &AggregateOptions,
    ) -> Result<RowStream, BridgeError> {
        let (relation, mut lease) = self.relation(call, self.0.lease(call).await?, target).await?;
        let mut joined = Vec::new();
        for join in &options.joins {
            let (other, still) = self.relation(call, lease, &join.target).await?;
            joined.push((*other).as_ref().clone());
            lease = still;
        }
        let plan = crate::aggregate(self.0.dialect(), (*relation).as_ref(), &joined, options);
        let plan = plan.map_err(|error| self.refused(error))?;
        self.0.rows(call, lease, &relation, Shape::Bucket(plan).into()).await
    }

    fn may_aggregate(&self, options: &AggregateOptions) -> Result<(), BridgeError> {
        if options.sample.is_some() && !self.0.declaration().aggregates.sampling {
            let bridge = self.driver_name().to_owned();
            return Err(BridgeError::UnsupportedKind { what: "sample".to_owned(), bridge });
        }
        self.0.may_aggregate(options)
    }

    fn refused(&self, error: SqlError) -> BridgeError {
        error.of_bridge(self.driver_name())
    }
}

impl<E: Engine> Bridge for SqlSource<E> {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(async move {
            let sql = Sql { text: "SELECT 1".to_owned(), params: Vec::new() };
            self.0.number(call, self.0.lease(call).await?, &sql).await.map(drop)
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
            let plan =
                |table: &Table| crate::query(self.0.dialect(), table, &without_key(table, options.clone()));
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
            let plan = |table: &Table| crate::read(self.0.dialect(), table, &options);
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
            self.may_aggregate(&options)?;
            let joined = options.joins.iter().map(|join| join.target.as_str());
            let targets: Vec<&str> = [target].into_iter().chain(joined).collect();
            let attempt = || self.aggregate_once(call, target, &options);
            self.0.relations().with_current(&targets, attempt).await
        })
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let attempt = || async {
                let (relation, lease) = self.relation(call, self.0.lease(call).await?, target).await?;
                self.0.search(call, lease, &relation, &options).await
            };
            self.0.relations().with_current(&[target], attempt).await
        })
    }

    fn similar<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SimilarOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            if !self.0.declaration().capabilities.similar {
                return Err(self.unsupported(&JobKind::Similar));
            }
            let attempt = || async {
                let (relation, lease) = self.relation(call, self.0.lease(call).await?, target).await?;
                self.0.similar(call, lease, &relation, &options).await
            };
            self.0.relations().with_current(&[target], attempt).await
        })
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(self.0.list(call))
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(async move {
            // What is shown to people is looked at anew.
            self.0.relations().forget(target);
            let row_count = self.count_rows(call, target, Filter::everything()).await?;
            let (relation, _lease) = self.relation(call, self.0.lease(call).await?, target).await?;
            Ok(self.0.describe(target, &relation, row_count))
        })
    }

    fn driver_name(&self) -> &str {
        &self.0.declaration().manifest.package_name
    }

    fn pool_use(&self) -> PoolUse {
        self.0.pool_use()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.close())
    }
}
