//! A source behind a plugin, as the bridge that jobs know.
//!
//! What the plugin does not do itself is answered from its `read`, in the runner's memory: a job then holds one instance
//! from its first page to its last.

use std::sync::Arc;

use bridge_core::{BoxFuture, Bridge, BridgeError, Call, Counted, Remembered, RowStream, TargetSchema};
use bridge_reduce::scan::{Known, Page, Reader, Scan};
use protocol::{
    AggregateOptions, CountOptions, Filter, Invalid, JobKind, PoolUse, Projection, QueryOptions, ReadOptions,
    SearchOptions, SimilarOptions,
};

use crate::aggregates::can_aggregate;
use crate::answer::{Asked, is_left_to_us};
use crate::ask::{Answer, Ask, Failed};
use crate::bindings::types::{ColumnInfo, Provides};
use crate::describe::Described;
use crate::error::PluginFailure;
use crate::guest::Opening;
use crate::lease::Lease;
use crate::pool::Pool;
use crate::rows::{Form, PluginRows, Shape};
use crate::schema::{kinds, target_schema, targets};

/// An opened source.
pub(crate) struct Source {
    described: Arc<Described>,
    plugin: Arc<str>,
    pool: Arc<Pool>,
    schemas: Arc<Remembered<TargetSchema>>,
}

/// What a cursor is opened with.
struct Question {
    opening: Opening,
    options: String,
    shape: Shape,
    scored: bool,
    /// Rows that it may give.
    most: Option<u64>,
}

impl Source {
    pub(crate) fn new(described: Arc<Described>, plugin: Arc<str>, pool: Arc<Pool>) -> Self {
        Self { described, plugin, pool, schemas: Arc::new(Remembered::new(&[])) }
    }

    fn asked(&self, kind: JobKind, target: &str) -> Asked {
        Asked { plugin: Arc::clone(&self.plugin), kind, target: target.to_owned() }
    }

    async fn lease(&self, call: &Call, asked: &Asked) -> Result<Arc<Lease>, BridgeError> {
        self.pool.lease(call).await.map(Arc::new).map_err(|failed| asked.failure(failed))
    }

    /// A question with one answer.
    async fn one<T>(
        &self,
        call: &Call,
        asked: &Asked,
        ask: impl FnOnce(Answer<T>) -> Ask,
    ) -> Result<T, BridgeError> {
        let lease = self.lease(call, asked).await?;
        lease.ask(ask).await.map_err(|failed| asked.failure(failed))
    }

    fn provides(&self, what: Provides) -> bool {
        self.described.provides.contains(what)
    }

    /// Refuses operators that are not declared.
    fn check(&self, filter: &Filter, target: &str) -> Result<(), BridgeError> {
        let checked = filter.check(&self.described.capabilities);
        checked.map_err(|operator| operator.on(target, &self.plugin).into())
    }

    /// The rows of a job that the plugin answers itself, or the instance for a job that it leaves to us.
    async fn rows(
        &self,
        call: &Call,
        asked: &Asked,
        question: Question,
    ) -> Result<Result<RowStream, Arc<Lease>>, BridgeError> {
        let lease = self.lease(call, asked).await?;
        match open(&lease, asked, question).await {
            Ok(rows) => Ok(Ok(Box::new(rows))),
            Err(Opened::Failed(failed)) if is_left_to_us(&failed) => Ok(Err(lease)),
            Err(Opened::Failed(failed)) => Err(asked.failure(failed)),
            Err(Opened::Wrong(error)) => Err(error),
        }
    }

    /// Refuses operators that the plugin does not understand, in jobs that it alone can do.
    fn check_own(&self, filter: &Filter, target: &str) -> Result<(), BridgeError> {
        let checked = self.described.check_own(filter);
        checked.map_err(|operator| operator.on(target, &self.plugin).into())
    }

    /// Does a job over `read`; with an instance at hand it is that one that reads. A refusal that new columns of one of these
    /// targets explain is looked into with the columns as they are now.
    async fn scan<T, F>(
        &self,
        call: &Call,
        asked: Asked,
        lease: Option<Arc<Lease>>,
        targets: &[&str],
        job: impl Fn(Scan<PluginReader>) -> F,
    ) -> Result<T, BridgeError>
    where
        F: Future<Output = Result<T, BridgeError>>,
    {
        let lease = match lease {
            Some(lease) => lease,
            None => self.lease(call, &asked).await?,
        };
        let attempt = || {
            let (lease, schemas) = (Arc::clone(&lease), Arc::clone(&self.schemas));
            job(Scan::new(PluginReader { lease, asked: asked.clone(), schemas }, call))
        };
        self.schemas.with_current(targets, attempt).await
    }
}

impl Bridge for Source {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(async move {
            let asked = self.asked(JobKind::Test, "");
            self.one(call, &asked, |answer| Ask::Test { answer }).await
        })
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            self.check(&options.filter, target)?;
            let asked = self.asked(JobKind::Query, target);
            let mut lease = None;
            if self.provides(Provides::QUERY) {
                let rows = self.rows(call, &asked, query(&options)).await;
                match rows.map_err(|error| by_output_name(error, &options.projection))? {
                    Ok(rows) => return Ok(rows),
                    Err(left) => lease = Some(left),
                }
            }
            let job = |scan: Scan<_>| scan.query(target, options.clone());
            self.scan(call, asked, lease, &[target], job).await
        })
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let asked = self.asked(JobKind::Read, target);
            if options.changed_since.is_some() && !self.described.capabilities.changed_since {
                let (what, bridge) = ("changedSince".to_owned(), self.plugin.to_string());
                return Err(BridgeError::UnsupportedKind { what, bridge });
            }
            let shape = Shape::of(&options.projection, false);
            let lease = self.lease(call, &asked).await?;
            match open(&lease, &asked, read(options, shape)).await {
                Ok(rows) => Ok(Box::new(rows) as RowStream),
                Err(problem) => Err(problem.told(&asked)),
            }
        })
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        Box::pin(async move {
            self.check(&options.filter, target)?;
            let asked = self.asked(JobKind::Count, target);
            let mut lease = None;
            if self.provides(Provides::COUNT) && self.described.own_filters(&options.filter) {
                let ours = self.lease(call, &asked).await?;
                let filter = (!options.filter.is_everything()).then(|| options.filter.to_json());
                let target = target.to_owned();
                match ours.ask(|answer| Ask::Count { target, filter, answer }).await {
                    Ok(counted) => {
                        return Ok(Counted { total: counted.total, approximate: counted.approximate });
                    }
                    Err(failed) if is_left_to_us(&failed) => lease = Some(ours),
                    Err(failed) => return Err(asked.failure(failed)),
                }
            }
            let job = |scan: Scan<_>| scan.count(target, options.clone());
            self.scan(call, asked, lease, &[target], job).await
        })
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            self.check(&options.filter, target)?;
            let asked = self.asked(JobKind::Aggregate, target);
            let mut lease = None;
            if self.provides(Provides::AGGREGATE) && can_aggregate(&self.described, &options) {
                let question = Question {
                    opening: Opening::Aggregate,
                    options: options.to_json(),
                    shape: Shape::bucket(&options),
                    scored: false,
                    most: options.limit,
                };
                match self.rows(call, &asked, question).await? {
                    Ok(rows) => return Ok(rows),
                    Err(left) => lease = Some(left),
                }
            }
            let joined = options.joins.iter().map(|join| join.target.as_str());
            let targets: Vec<&str> = [target].into_iter().chain(joined).collect();
            let job = |scan: Scan<_>| scan.aggregate(target, options.clone());
            self.scan(call, asked, lease, &targets, job).await
        })
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(async move {
            let asked = self.asked(JobKind::ListTargets, "");
            targets(self.one(call, &asked, |answer| Ask::ListTargets { answer }).await?)
        })
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(async move {
            let asked = self.asked(JobKind::IntrospectTarget, target);
            let name = target.to_owned();
            let schema = self.one(call, &asked, |answer| Ask::Introspect { target: name, answer }).await?;
            target_schema(target, schema)
        })
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            self.check(&options.filter, target)?;
            let asked = self.asked(JobKind::Search, target);
            let mut lease = None;
            if self.provides(Provides::SEARCH) && self.described.own_filters(&options.filter) {
                let shape = Shape::of(&options.projection, true);
                let most = Some(options.limit);
                let told = SearchOptions { projection: own_names(&options.projection), ..options.clone() };
                let options = told.to_json();
                let question = Question { opening: Opening::Search, options, shape, scored: true, most };
                match self.rows(call, &asked, question).await? {
                    Ok(rows) => return Ok(rows),
                    Err(left) => lease = Some(left),
                }
            }
            let job = |scan: Scan<_>| scan.search(target, options.clone());
            self.scan(call, asked, lease, &[target], job).await
        })
    }

    fn similar<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SimilarOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            if !self.provides(Provides::SIMILAR) {
                return Err(self.unsupported(&JobKind::Similar));
            }
            self.check_own(&options.filter, target)?;
            let asked = self.asked(JobKind::Similar, target);
            let shape = Shape::of(&options.projection, true);
            let most = Some(options.limit);
            let told = SimilarOptions { projection: own_names(&options.projection), ..options };
            let options = told.to_json();
            let question = Question { opening: Opening::Similar, options, shape, scored: true, most };
            match self.rows(call, &asked, question).await? {
                Ok(rows) => Ok(rows),
                Err(_) => Err(self.unsupported(&JobKind::Similar)),
            }
        })
    }

    fn driver_name(&self) -> &str {
        &self.plugin
    }

    fn pool_use(&self) -> PoolUse {
        let (in_use, idle, max) = self.pool.in_use();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        PoolUse { in_use: number(in_use), idle: number(idle), max: number(max) }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}

/// Reads whole rows for a scan, through one instance.
struct PluginReader {
    lease: Arc<Lease>,
    asked: Asked,
    schemas: Arc<Remembered<TargetSchema>>,
}

impl Reader for PluginReader {
    fn read<'a>(
        &'a mut self,
        _call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Page, BridgeError>> {
        Box::pin(async move {
            let asked = Asked { target: target.to_owned(), ..self.asked.clone() };
            // Columns that nobody asked for do no harm here.
            let columns = columns(&self.lease, target, &read(options.clone(), Shape::Plain)).await;
            let columns = columns.map_err(|failed| asked.failure(failed))?;
            let form = Form::new(Shape::Plain, &columns, false).map_err(PluginFailure::Wrong)?;
            let rows = PluginRows::new(Arc::clone(&self.lease), asked, form, Some(options.limit));
            Ok(Page { rows: Box::new(rows), schema: kinds(&columns) })
        })
    }

    fn describe<'a>(
        &'a mut self,
        _call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<Known, BridgeError>> {
        Box::pin(async move {
            if let Some(schema) = self.schemas.get(target) {
                return Ok(known(&schema));
            }
            let name = target.to_owned();
            match self.lease.ask(|answer| Ask::Introspect { target: name, answer }).await {
                Ok(schema) => Ok(known(&self.schemas.keep(target, target_schema(target, schema)?))),
                // Then columns are what rows have.
                Err(failed) if is_left_to_us(&failed) => Ok(Known::default()),
                Err(failed) => Err(self.asked.failure(failed)),
            }
        })
    }

    fn broken(&self, reason: String) -> BridgeError {
        PluginFailure::Wrong(reason).into()
    }
}

/// A plugin reads in the order of the primary key, where there is one (`wit`, `connection.read`).
fn known(schema: &TargetSchema) -> Known {
    Known { in_key_order: true, ..Known::from(schema) }
}

/// Why a cursor could not be opened.
enum Opened {
    Failed(Failed),
    /// Its columns are none.
    Wrong(BridgeError),
}

impl Opened {
    fn told(self, asked: &Asked) -> BridgeError {
        match self {
            Self::Failed(failed) => asked.failure(failed),
            Self::Wrong(error) => error,
        }
    }
}

async fn open(lease: &Arc<Lease>, asked: &Asked, question: Question) -> Result<PluginRows, Opened> {
    let columns = columns(lease, &asked.target, &question).await.map_err(Opened::Failed)?;
    let Question { shape, scored, most, .. } = question;
    let form = Form::new(shape, &columns, scored)
        .map_err(|problem| Opened::Wrong(PluginFailure::Wrong(problem).into()))?;
    Ok(PluginRows::new(Arc::clone(lease), asked.clone(), form, most))
}

async fn columns(lease: &Lease, target: &str, question: &Question) -> Result<Vec<ColumnInfo>, Failed> {
    let (opening, options, target) = (question.opening, question.options.clone(), target.to_owned());
    lease.ask(|answer| Ask::Open { opening, target, options, answer }).await
}

fn read(options: ReadOptions, shape: Shape) -> Question {
    let most = Some(options.limit);
    let told = ReadOptions { projection: own_names(&options.projection), ..options };
    Question { opening: Opening::Read, options: told.to_json(), shape, scored: false, most }
}

fn query(options: &QueryOptions) -> Question {
    let told = QueryOptions { projection: own_names(&options.projection), ..options.clone() };
    Question {
        opening: Opening::Query,
        options: told.to_json(),
        shape: Shape::of(&options.projection, false),
        scored: false,
        most: options.limit,
    }
}

/// The same columns under their own names: renaming is done here. Each once.
fn own_names(projection: &Projection) -> Projection {
    let Some(pairs) = projection.pairs() else { return Projection::All };
    let mut columns: Vec<String> = Vec::with_capacity(pairs.len());
    for (_, column) in pairs {
        if !columns.iter().any(|other| other == column) {
            columns.push(column.to_owned());
        }
    }
    Projection::Columns(columns)
}

/// A refusal of a column that the caller knows by another name. The plugin does not know that name.
fn by_output_name(error: BridgeError, projection: &Projection) -> BridgeError {
    match (error, projection) {
        (BridgeError::Invalid(Invalid { field, expected }), Projection::Renamed(pairs)) => {
            let name = pairs.iter().find(|(_, column)| *column == field);
            let name = name.map(|(name, _)| format!("project.{name}"));
            Invalid::new(name.unwrap_or(field), expected).into()
        }
        (error, _) => error,
    }
}
