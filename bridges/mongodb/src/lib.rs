//! The MongoDB bridge: streams documents as rows, over MongoDB's own driver, and never writes.
//!
//! Documents are read where the driver has put their bytes and written as JSON at once; a stream that is dropped ends its
//! operation at the server. Types, settings and guarantees are described in `docs/bridges/mongodb.md`.

mod config;
mod connect;
mod error;
mod execute;
mod introspect;
mod translate;
mod values;

use std::sync::{Arc, LazyLock};

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Declaration, NativeDriver, Remembered,
    RowStream, TargetSchema, answer_rows,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Field, FieldKind, Filter, Manifest,
    PoolUse, QueryOptions, ReadOptions, SearchOptions, SourceConfig, Tail,
};

use crate::config::Settings;
use crate::connect::Pool;
use crate::execute::{Joined, MongoRows, Operation, Shape, Total};
use crate::introspect::{Collection, Fields};
use crate::translate::Find;

/// Package name.
const NAME: &str = "@semilayer/bridge-mongodb";

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let text = |key, label| Field::new(key, label, FieldKind::String);
    let number = |key, label| Field::new(key, label, FieldKind::Number).advanced();
    let pem = "A PEM file or its text.";
    Manifest::new("mongodb", "MongoDB")
        .with_url("mongodb+srv://user:pass@cluster.example.net/dbname")
        .with(text("database", "Database").hint("The URL's own, or test, without it."))
        .with(
            Field::new("ssl", "TLS", FieldKind::Boolean)
                .advanced()
                .hint("On: the server's certificate and name are verified."),
        )
        .with(text("tlsCA", "Root Certificate").advanced().hint(pem))
        .with(text("tlsCertificate", "Client Certificate").advanced().hint(pem))
        .with(Field::new("tlsKey", "Client Key", FieldKind::Password).advanced().hint(pem))
        .with(number("connectionTimeoutMillis", "Connect Timeout (ms)").default("10000"))
        .with(number("poolMax", "Pool Size").default("3"))
});

static CAPABILITIES: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities { search: true, ..Capabilities::full() });

static AGGREGATES: LazyLock<AggregateCapabilities> = LazyLock::new(|| AggregateCapabilities {
    geo_bucket: true,
    geohash_bucket: true,
    ..AggregateCapabilities::full()
});

/// MongoDB, from version 5.0 on.
#[derive(Debug, Clone, Copy, Default)]
pub struct MongoDb;

impl NativeDriver for MongoDb {
    fn declaration(&self) -> Declaration<'_> {
        Declaration { manifest: &MANIFEST, capabilities: &CAPABILITIES, aggregates: &AGGREGATES }
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(config).map(drop)
    }

    async fn connect(&self, config: &SourceConfig, call: &Call) -> Result<Box<dyn Bridge>, BridgeError> {
        let settings = Settings::read(config)?;
        let pool = Pool::open(&settings, call).await?;
        let opened = Opened { pool, collections: Remembered::new(&[]) };
        match opened.test(call).await {
            Ok(()) => Ok(Box::new(opened)),
            Err(error) => {
                // The driver's monitors would go on trying.
                opened.pool.close().await;
                Err(unreachable(error))
            }
        }
    }
}

/// While connecting, a refusal of the server means that the source is not usable, whatever the reason.
fn unreachable(error: BridgeError) -> BridgeError {
    match error {
        BridgeError::Query { message, source, .. } => {
            BridgeError::Unreachable { message: format!("cannot connect to MongoDB: {message}"), source }
        }
        other => other,
    }
}

/// One database.
struct Opened {
    pool: Pool,
    collections: Remembered<Collection>,
}

impl Opened {
    async fn collection(&self, call: &Call, target: &str) -> Result<Arc<Collection>, BridgeError> {
        if let Some(collection) = self.collections.get(target) {
            return Ok(collection);
        }
        let collection = introspect::look_up(&self.pool, call, target).await?;
        Ok(self.collections.keep(target, collection))
    }

    /// Makes a plan out of what is known of a collection; looks at it anew where it refuses.
    async fn plan<T>(
        &self,
        call: &Call,
        target: &str,
        plan: impl Fn(&Collection) -> Result<T, BridgeError> + Send + Sync,
    ) -> Result<T, BridgeError> {
        let attempt = || async { plan(&*self.collection(call, target).await?) };
        self.collections.with_current(&[target], attempt).await
    }

    /// Runs a find over `target`, made by `plan`, and counts what `total` matches when it has ended.
    async fn find(
        &self,
        call: &Call,
        target: &str,
        plan: impl Fn(&Fields) -> Result<Find, protocol::Invalid> + Send + Sync,
        total: Option<&Filter>,
    ) -> Result<RowStream, BridgeError> {
        let (find, total) = self
            .plan(call, target, |collection| {
                let total = total.map(|filter| filter_of(&collection.fields, filter)).transpose()?;
                Ok((plan(&collection.fields)?, total))
            })
            .await?;
        let shape = Shape::of(&find);
        let total = total.map(|filter| Total { collection: target.to_owned(), filter });
        if find.limit == Some(0) && total.is_none() {
            return Ok(answer_rows(Vec::new(), Tail::default()));
        }
        let batches = execute::start(&self.pool, call, find.into_operation(target));
        Ok(Box::new(MongoRows::new(&self.pool, call, batches, shape, total)))
    }

    async fn reduce(
        &self,
        call: &Call,
        target: &str,
        collection: &Collection,
        options: AggregateOptions,
    ) -> Result<RowStream, BridgeError> {
        let mut others = Vec::new();
        for join in &options.joins {
            others.push((join.target.clone(), self.collection(call, &join.target).await?));
        }
        let joined: Vec<Joined<'_>> =
            others.iter().map(|(target, collection)| Joined { target, collection }).collect();
        let batches = execute::reduce(&self.pool, call, target, collection, &joined, options).await?;
        Ok(answer_rows(batches, Tail::default()))
    }

    async fn aggregate_once(
        &self,
        call: &Call,
        target: &str,
        options: AggregateOptions,
    ) -> Result<RowStream, BridgeError> {
        let collection = self.collection(call, target).await?;
        if translate::is_reduced(&options) {
            return self.reduce(call, target, &collection, options).await;
        }
        let plan = translate::aggregate(&collection.fields, &options)?;
        if options.limit == Some(0) {
            return Ok(answer_rows(Vec::new(), Tail::default()));
        }
        let operation =
            Operation::Aggregate { collection: target.to_owned(), pipeline: plan.pipeline.clone() };
        if plan.ungrouped {
            let found = execute::all(&self.pool, call, operation).await?;
            let batches = match found.as_slice() {
                [] => execute::of_nothing(&collection, call, &options)?,
                found => execute::buckets(&plan, found, call)?,
            };
            return Ok(answer_rows(batches, Tail::default()));
        }
        let batches = execute::start(&self.pool, call, operation);
        Ok(Box::new(MongoRows::new(&self.pool, call, batches, Shape::Bucket(plan), None)))
    }
}

/// The query document of a filter over a collection's fields.
fn filter_of(fields: &Fields, filter: &Filter) -> Result<mongodb::bson::Document, protocol::Invalid> {
    let path = |name: &str| fields.named(name).map_err(|it| it.within("where"));
    translate::matching(filter, &path)
}

impl Bridge for Opened {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(execute::ping(&self.pool, call))
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let total = options.total.then_some(&options.filter);
            self.find(call, target, |fields| translate::query(fields, &options), total).await
        })
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move {
            let everything = Filter::everything();
            let total = options.total.then_some(&everything);
            self.find(call, target, |fields| translate::read(fields, &options), total).await
        })
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        Box::pin(async move {
            let plan = |collection: &Collection| Ok(filter_of(&collection.fields, &options.filter)?);
            let filter = self.plan(call, target, plan).await?;
            let total = execute::count(&self.pool, call, target, filter).await?;
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
            let attempt = || self.aggregate_once(call, target, options.clone());
            self.collections.with_current(&targets, attempt).await
        })
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(introspect::list(&self.pool, call))
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(async move {
            // What is shown to people is looked at anew.
            self.collections.forget(target);
            let collection = self.collection(call, target).await?;
            introspect::describe(&self.pool, call, target, &collection).await
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
                let collection = self.collection(call, target).await?;
                execute::search(&self.pool, call, target, &collection, &options).await
            };
            self.collections.with_current(&[target], attempt).await
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
