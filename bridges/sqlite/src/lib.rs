//! The SQLite bridge: reads database files, and only reads.
//!
//! A job's whole work, from looking up the table to the last row, runs in the thread of one connection and in one read
//! transaction, so that schema, rows and totals agree. Rows cross to the async side through a tray that holds one batch.

mod config;
mod connect;
mod error;
mod execute;
mod fold;
mod introspect;
mod search;
mod translate;
mod values;

use std::sync::LazyLock;

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Declaration, NativeDriver, RowStream,
    TargetSchema,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Field, FieldKind, Manifest, PoolUse,
    QueryOptions, ReadOptions, SearchOptions, SourceConfig, Tail,
};

use crate::config::Settings;
use crate::connect::{Pool, Transaction};
use crate::error::Failure;
use crate::execute::{Filler, SqliteRows, Tray};

/// Package name.
pub(crate) const NAME: &str = "@semilayer/bridge-sqlite";

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let path = Field::new("path", "Database Path", FieldKind::String).required();
    let url = Field::new("url", "Database URL", FieldKind::String).advanced();
    let read_only = Field::new("readOnly", "Read Only", FieldKind::Boolean).default("true").advanced();
    let busy = Field::new("busyTimeoutMs", "Busy Timeout (ms)", FieldKind::Number).default("5000").advanced();
    let pool = Field::new("pool.max", "Pool Size", FieldKind::Number).default("3").advanced();
    Manifest::new("sqlite", "SQLite")
        .with(path.hint("A file that the runner can read; it is never written to and never created."))
        .with(
            url.hint(
                "In place of the path: file:///data/shop.db, with mode=ro, immutable=1 or cache=private.",
            ),
        )
        .with(read_only.hint("True is the only value: this bridge never writes."))
        .with(busy.hint("How long a job waits for a writer, its deadline permitting."))
        .with(pool.hint("Connections at the most; a job uses one."))
});

static CAPABILITIES: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities { search: true, ..Capabilities::full() });

static AGGREGATES: LazyLock<AggregateCapabilities> = LazyLock::new(AggregateCapabilities::full);

/// SQLite database files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sqlite;

impl NativeDriver for Sqlite {
    fn declaration(&self) -> Declaration<'_> {
        Declaration { manifest: &MANIFEST, capabilities: &CAPABILITIES, aggregates: &AGGREGATES }
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(config).map(drop)
    }

    async fn connect(&self, config: &SourceConfig, call: &Call) -> Result<Box<dyn Bridge>, BridgeError> {
        let opened = Opened { pool: Pool::new(Settings::read(config)?) };
        opened.test(call).await.map_err(error::while_connecting)?;
        Ok(Box::new(opened))
    }
}

/// One database file.
struct Opened {
    pool: Pool,
}

impl Opened {
    /// Runs `work` in a read transaction and waits for its answer.
    async fn ask<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, BridgeError> {
        self.pool.run(call, |session| session.transaction(work)).await
    }

    /// Runs `work` in a read transaction and hands out the rows that it puts onto its tray.
    async fn stream(
        &self,
        call: &Call,
        work: impl FnOnce(&mut Transaction<'_>, &Tray) -> Result<Tail, Failure> + Send + 'static,
    ) -> Result<RowStream, BridgeError> {
        let tray = Tray::new(call);
        let filler = Filler(tray.clone());
        let job = self.pool.submit(call, move |session, lease| {
            let outcome = session.transaction(|transaction| work(transaction, &filler.0));
            // First the connection, then the news: who has read the end may count on a free connection.
            drop(lease);
            filler.end(outcome);
        });
        let rows = SqliteRows::begin(tray, job.await?, call.deadline).await?;
        Ok(Box::new(rows))
    }
}

impl Bridge for Opened {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(self.ask(call, |transaction| {
            // The transaction has read the first page; this reads the schema.
            let mut statement =
                transaction.connection.prepare_cached("SELECT count(*) FROM sqlite_schema")?;
            Ok(statement.query_row([], |_| Ok(()))?)
        }))
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let target = target.to_owned();
        Box::pin(self.stream(call, move |transaction, tray| {
            let relation = transaction.catalog.relation(transaction.connection, &target)?;
            let select = translate::query(transaction.connection, &relation, &options)?;
            let tail = execute::select(transaction, &select, tray)?;
            let filter = options.total.then_some(options.filter);
            total(transaction, &relation, filter, tail)
        }))
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let target = target.to_owned();
        Box::pin(self.stream(call, move |transaction, tray| {
            let relation = transaction.catalog.relation(transaction.connection, &target)?;
            let select = translate::read(transaction.connection, &relation, &options)?;
            let tail = execute::select(transaction, &select, tray)?;
            let filter = options.total.then(protocol::Filter::everything);
            total(transaction, &relation, filter, tail)
        }))
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        let target = target.to_owned();
        Box::pin(self.ask(call, move |transaction| {
            let relation = transaction.catalog.relation(transaction.connection, &target)?;
            let total = execute::count(transaction.connection, &relation, &options)?;
            Ok(Counted { total, approximate: false })
        }))
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let target = target.to_owned();
        Box::pin(self.stream(call, move |transaction, tray| {
            let plan = translate::aggregate(transaction, &target, &options)?;
            execute::aggregate(transaction, &plan, tray)?;
            Ok(Tail::default())
        }))
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(self.ask(call, |transaction| introspect::list(transaction)))
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        let target = target.to_owned();
        Box::pin(self.ask(call, move |transaction| introspect::describe(transaction, &target)))
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let target = target.to_owned();
        Box::pin(self.stream(call, move |transaction, tray| {
            let relation = transaction.catalog.relation(transaction.connection, &target)?;
            let (select, method) = search::search(transaction.connection, &relation, &options)?;
            let tail = execute::select(transaction, &select, tray)?;
            Ok(Tail { method: Some(method), ..tail })
        }))
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

/// Adds how many rows match `filter`, in the transaction that read them.
fn total(
    transaction: &Transaction<'_>,
    relation: &translate::Relation,
    filter: Option<protocol::Filter>,
    tail: Tail,
) -> Result<Tail, Failure> {
    let Some(filter) = filter else { return Ok(tail) };
    let total = execute::count(transaction.connection, relation, &CountOptions { filter })?;
    Ok(Tail { total: Some(total), ..tail })
}
