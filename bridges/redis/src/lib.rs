//! The Redis bridge: reads Redis and Valkey, which know keys and nothing of rows, by the contract of the other bridges.
//!
//! A target is a prefix: its rows are the keys `<target>:*`. A target that is itself a list, set, sorted set, stream or
//! hash has its elements as rows. Filters, orders and aggregates are evaluated here, in bounded memory, with the meaning
//! that SQL gives them; what Redis can do itself is find keys. The rules are described in `docs/bridges/redis.md`.

mod config;
mod connect;
mod error;
mod execute;
mod introspect;
mod ranked;
mod translate;
mod values;
mod wire;

/// What fuzzing reaches of the inside. No part of the interface.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::execute::told::{Source, Told, replies, tell};
    pub use crate::wire::scripted::value_both_ways;
}

use std::sync::LazyLock;

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, Columns, ConfigMistakes, Counted, Declaration, NativeDriver,
    RowStream, RowWriter, TargetSchema, answer_rows,
};
use bridge_reduce::{Limits, Reducer, Schema};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Direction, Field, FieldKind, Filter,
    Keyset, Manifest, Measure, MeasureKind, OrderBy, PoolUse, QueryOptions, ReadOptions, SearchOptions,
    SourceConfig, Tail,
};

use crate::config::Settings;
use crate::connect::{Lease, Pool, Server};
use crate::error::while_running;
use crate::execute::{
    Along, Changed, KeyWindow, Opened, Run, Selection, Stream, Table, Windows, open, sorted, values_text,
};
use crate::translate::{KeyRange, Sequence, ids, key_of, keys, named_by, sequence};
use crate::values::{KEY, Renderer, Shape};
use crate::wire::Reply;

/// Package name.
pub(crate) const NAME: &str = "@semilayer/bridge-redis";

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let number = |key, label| Field::new(key, label, FieldKind::Number);
    let text = |key, label| Field::new(key, label, FieldKind::String);
    Manifest::new("redis", "Redis")
        .with_url("redis://user:pass@host:6379/0")
        .with(
            text("host", "Host")
                .required()
                .default("localhost")
                .hint("A name, an address, or the path of a Unix socket."),
        )
        .with(number("port", "Port").default("6379"))
        .with(Field::new("password", "Password", FieldKind::Password))
        .with(number("db", "DB").default("0").advanced())
        .with(text("username", "Username").advanced().hint("The ACL user; the default user without."))
        .with(
            Field::new("tls", "TLS", FieldKind::Boolean)
                .default("false")
                .advanced()
                .hint("On: encrypted, with the server's certificate and name verified. Less: see TLS Mode."),
        )
        .with(text("tlsMode", "TLS Mode").advanced().hint("disable, require, verify-ca or verify-full."))
        .with(text("tlsCa", "Root Certificate").advanced().hint("A PEM file or its text."))
        .with(text("tlsCert", "Client Certificate").advanced().hint("A PEM file or its text."))
        .with(
            Field::new("tlsKey", "Client Key", FieldKind::Password)
                .advanced()
                .hint("A PEM file or its text."),
        )
        .with(number("connectionTimeoutMillis", "Connect Timeout (ms)").default("10000").advanced())
        .with(number("poolMax", "Pool Size").default("3").advanced())
});

/// Redis itself finds keys and stops at a limit; everything else is done here.
static CAPABILITIES: LazyLock<Capabilities> = LazyLock::new(|| Capabilities {
    where_pushdown: false,
    order_by_pushdown: false,
    limit_pushdown: true,
    select_projection: false,
    search: true,
    ..Capabilities::full()
});

static AGGREGATES: LazyLock<AggregateCapabilities> = LazyLock::new(|| AggregateCapabilities {
    geo_bucket: true,
    geohash_bucket: true,
    ..AggregateCapabilities::full()
});

/// Redis from version 5 on, and Valkey.
#[derive(Debug, Clone, Copy, Default)]
pub struct Redis;

impl NativeDriver for Redis {
    fn declaration(&self) -> Declaration<'_> {
        Declaration { manifest: &MANIFEST, capabilities: &CAPABILITIES, aggregates: &AGGREGATES }
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(config).map(drop)
    }

    async fn connect(&self, config: &SourceConfig, call: &Call) -> Result<Box<dyn Bridge>, BridgeError> {
        let settings = Settings::read(config)?;
        let pool = Pool::new(Server::new(&settings), settings.pool_max);
        let source = Source { pool, windows: Windows::default() };
        source.test(call).await?;
        Ok(Box::new(source))
    }
}

/// One logical database.
struct Source {
    pool: Pool,
    windows: Windows,
}

impl Source {
    async fn select(
        &self,
        call: &Call,
        target: &str,
        selection: Selection,
        order_by: Vec<OrderBy>,
        keyset: Option<Keyset>,
    ) -> Result<RowStream, BridgeError> {
        let opened = open(&self.pool, call, target).await?;
        let sequence = sequence(order_by, keyset.as_ref());
        let cursor = keyset.and_then(|keyset| keyset.cursor);
        let cursor = cursor.as_deref();
        match (sequence, opened.table) {
            (Sequence::Any, table) => {
                let run = Run::over(opened, target, &selection.filter, call);
                Ok(Box::new(Stream::new(run, table, target, selection, call)))
            }
            (Sequence::ByKey, Table::Members) => self.by_key(opened, target, selection, cursor, call).await,
            (Sequence::ByKey, Table::Elements(collection)) if collection.is_ordered() => {
                let table = opened.table;
                let run = match cursor {
                    None => Run::over(opened, target, &selection.filter, call),
                    Some(cursor) => Run::after(opened, target, collection, cursor, call)
                        .ok_or_else(translate::foreign_cursor)?,
                };
                Ok(Box::new(Stream::new(run, table, target, selection, call)))
            }
            (Sequence::ByKey, Table::Elements(_)) => {
                let by_key = [OrderBy { field: KEY.to_owned(), direction: Direction::Ascending }];
                sorted(opened, target, selection, &by_key, cursor, call).await
            }
            (Sequence::By(order_by), _) => sorted(opened, target, selection, &order_by, cursor, call).await,
        }
    }

    /// Rows in the order of their keys.
    async fn by_key(
        &self,
        opened: Opened,
        target: &str,
        selection: Selection,
        cursor: Option<&str>,
        call: &Call,
    ) -> Result<RowStream, BridgeError> {
        let after = cursor.map(key_of).transpose()?;
        let after = after.as_deref();
        let Opened { lease, table } = opened;
        let (window, pattern, lease) = match keys(target, &selection.filter) {
            KeyRange::Listed(keys) => (KeyWindow::of(keys, after), Vec::new(), lease),
            KeyRange::Matching(pattern) if selection.limit == Some(0) => {
                (KeyWindow::of(Vec::new(), None), pattern, lease)
            }
            KeyRange::Matching(pattern) => {
                let (window, lease) = self.windows.next(lease, target, &pattern, after).await?;
                (window, pattern, lease)
            }
        };
        let along = Along { windows: self.windows.clone(), pattern, window };
        let run = Run::over_listed(lease, call);
        Ok(Box::new(Stream::new(run, table, target, selection, call).along(along)))
    }

    async fn reduce(
        &self,
        call: &Call,
        target: &str,
        mut options: AggregateOptions,
    ) -> Result<RowStream, BridgeError> {
        let joins = options.joins.clone();
        let opened = open(&self.pool, call, target).await?;
        if counts_rows_only(&options) {
            let (total, _lease) = execute::count(opened, target, &options.filter, call).await?;
            return total_alone(&options, total, call);
        }
        let mut wanted = options.filter.clone();
        if opened.table == Table::Members && !options.ids.is_empty() {
            options.ids = ids(target, &options.ids);
            wanted = wanted.and(named_by(&options.ids));
        }
        let limits = Limits { row: call.row_limit, ..Limits::default() };
        let mut reducer = Reducer::new(options, Schema::unknown().with_key(KEY), limits)?;
        let mut renderer = Renderer::default();
        let mut text = String::new();
        // The connection of the target waits meanwhile: with one connection there would be none for the joined ones.
        let mut opened = opened;
        for join in joins {
            let table = opened.table;
            let joined = execute::look_up(opened.lease, &join.target).await?;
            let mut run = Run::over(joined, &join.target, &Filter::everything(), call);
            run.each(&mut |record| {
                values_text(&mut renderer, record, &mut text);
                Ok(reducer.push_join(&join.alias, &text)?)
            })
            .await?;
            opened = Opened { lease: run.into_lease(), table };
        }
        let mut run = Run::over(opened, target, &wanted, call);
        run.each(&mut |record| {
            values_text(&mut renderer, record, &mut text);
            Ok(reducer.push(&text)?)
        })
        .await?;
        drop(run);
        Ok(answer_rows(reducer.finish()?, Tail::default()))
    }
}

/// Whether one bucket is asked for, and nothing of it but how many rows it has.
fn counts_rows_only(options: &AggregateOptions) -> bool {
    let counts = |measure: &Measure| {
        measure.kind == MeasureKind::Count && measure.column.is_none() && measure.filter.is_everything()
    };
    options.dimensions.is_empty()
        && options.joins.is_empty()
        && options.ids.is_empty()
        && options.sample.is_none()
        && options.having.is_everything()
        && options.limit != Some(0)
        && options.measures.iter().all(|(_, measure)| counts(measure))
}

/// The bucket of all rows.
fn total_alone(options: &AggregateOptions, total: u64, call: &Call) -> Result<RowStream, BridgeError> {
    let columns = Columns::new(["dims", "measures", "count"]);
    let mut writer = RowWriter::new(call.row_limit);
    writer.begin_row();
    writer.key(&columns, 0);
    writer.begin_object();
    writer.end_object();
    writer.key(&columns, 1);
    writer.begin_object();
    for (name, _) in &options.measures {
        writer.object_key(name);
        writer.unsigned_safe(total);
    }
    writer.end_object();
    writer.key(&columns, 2);
    writer.unsigned_safe(total);
    writer.end_row()?;
    Ok(answer_rows(writer.take().into_iter().collect(), Tail::default()))
}

impl Bridge for Source {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(async move {
            // What every read begins with: a user who may not do this can read nothing.
            let scan: [&[u8]; 4] = [b"SCAN", b"0", b"COUNT", b"1"];
            let mut lease = Lease::take(&self.pool, call).await?;
            let reply = match lease.try_ask(&scan).await? {
                Err(error) if lease.is_reused() && error::is_stale_connection(&error) => {
                    drop(lease);
                    Lease::take(&self.pool, call).await?.ask(&scan).await?
                }
                answered => answered.map_err(while_running)?,
            };
            reply.checked().map(|_: Reply| ()).map_err(while_running)
        })
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let selection = Selection {
            filter: options.filter,
            changed: None,
            offset: options.offset,
            limit: options.limit,
            shape: Shape::new(&options.projection),
            paged: options.keyset.is_some(),
            total: options.total,
        };
        Box::pin(self.select(call, target, selection, options.order_by, options.keyset))
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let column = options.change_tracking_column;
        let selection = Selection {
            filter: Filter::everything(),
            changed: options.changed_since.map(|since| Changed { column, since }),
            offset: 0,
            limit: Some(options.limit),
            shape: Shape::new(&options.projection),
            paged: true,
            total: options.total,
        };
        let keyset = Keyset { tiebreak: None, cursor: options.cursor };
        Box::pin(self.select(call, target, selection, Vec::new(), Some(keyset)))
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        Box::pin(async move {
            let opened = open(&self.pool, call, target).await?;
            let (total, _lease) = execute::count(opened, target, &options.filter, call).await?;
            Ok(Counted { total, approximate: false })
        })
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(self.reduce(call, target, options))
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(introspect::list(&self.pool, call))
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(introspect::describe(&self.pool, call, target))
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(ranked::search(&self.pool, call, target, options))
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
