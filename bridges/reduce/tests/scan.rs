//! The whole contract, kept by a driver that can do no more than read: everything else is answered from scans.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it, too")]

use std::sync::Arc;

use bridge_conformance::memory::Memory;
use bridge_conformance::seed::{self, Seed, Table};
use bridge_conformance::{
    Database, Fixture, Offer, Options, SlowQuery, SurveyOptions, Verdict, cases, survey,
};
use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Counted, Driver, RowStream, TargetSchema,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Manifest, PoolUse, QueryOptions,
    ReadOptions, SearchOptions, SourceConfig,
};
use semilayer_bridge_reduce::scan::{Known, Page, Reader, Scan};
use semilayer_bridge_reduce::{Kind, Schema};

/// Rows of a page: fewer than the large tables have.
const PAGE: u64 = 7_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_only_reads_keeps_the_whole_contract() {
    let driver = ReadOnly::default();
    let report = bridge_conformance::run(&driver, &driver, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
    assert_eq!(report.entries.len(), cases().len() + 1);
    let refused = report.entries.iter().filter(|entry| entry.verdict == Verdict::Refused);
    let refused: Vec<&str> = refused.map(|entry| entry.id).collect();
    assert_eq!(refused, ["5B-40", "5B-41", "5B-42"], "only H3 is not declared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_of_whose_targets_nothing_is_known_conforms_too() {
    let driver = ReadOnly { knows: false, ..ReadOnly::default() };
    driver.seed(Database::First, &seed::first()).await.unwrap();
    // None with decimals or integers beyond doubles: those are text in rows, and nobody says otherwise.
    let names = ["facts", "pairs", "places", "ranked", "texts"].map(str::to_owned).to_vec();
    let options = SurveyOptions { names, ..SurveyOptions::default() };
    let report = survey(&driver, &driver.config(Database::First), options).await;
    println!("{}", report.text());
    report.check().unwrap();
}

/// The memory driver, of which only `read` and the descriptions are used.
struct ReadOnly {
    memory: Memory,
    /// Whether scans are told the columns of targets and what they hold.
    knows: bool,
}

impl Default for ReadOnly {
    fn default() -> Self {
        Self { memory: Memory::new(), knows: true }
    }
}

#[derive(Clone)]
struct ReadOnlyBridge {
    memory: Arc<Box<dyn Bridge>>,
    knows: bool,
}

/// Reads through the bridge.
impl Reader for ReadOnlyBridge {
    fn read<'a>(
        &'a mut self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Page, BridgeError>> {
        Box::pin(async move {
            if target == "slow" {
                let rows = self.memory.query(call, target, QueryOptions::default()).await?;
                return Ok(Page { rows, schema: Schema::unknown() });
            }
            let options = ReadOptions { limit: options.limit.min(PAGE), ..options };
            let schema = if self.knows { schema(target) } else { Schema::unknown() };
            Ok(Page { rows: self.memory.read(call, target, options).await?, schema })
        })
    }

    fn describe<'a>(
        &'a mut self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<Known, BridgeError>> {
        Box::pin(async move {
            if !self.knows || target == "slow" {
                return Ok(Known::default());
            }
            Ok(Known::from(&self.memory.introspect_target(call, target).await?))
        })
    }
}

/// What the columns of a seeded table hold.
fn schema(target: &str) -> Schema {
    let name = target.strip_prefix("memory.").unwrap_or(target).trim_matches('"').replace("\"\"", "\"");
    let seeds = [seed::first(), seed::second()];
    let table: &Table = seeds.iter().find_map(|seed| seed.table(&name)).unwrap();
    table.columns.iter().fold(Schema::unknown(), |schema, column| schema.with(column.name, kind(column.kind)))
}

fn kind(kind: seed::Kind) -> Kind {
    match kind {
        seed::Kind::Integer | seed::Kind::BigInteger | seed::Kind::Decimal { .. } | seed::Kind::Double => {
            Kind::Number
        }
        seed::Kind::Boolean => Kind::Boolean,
        seed::Kind::Text => Kind::Text,
        seed::Kind::Uuid => Kind::Uuid,
        seed::Kind::Date | seed::Kind::Timestamp | seed::Kind::NaiveTimestamp => Kind::Timestamp,
        seed::Kind::Bytes => Kind::Bytes,
        seed::Kind::Json => Kind::Unknown,
    }
}

impl ReadOnlyBridge {
    fn scan(&self, call: &Call) -> Scan<Self> {
        Scan::new(self.clone(), call)
    }
}

impl Bridge for ReadOnlyBridge {
    fn test<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        self.memory.test(call)
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(self.scan(call).query(target, options))
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        self.memory.read(call, target, options)
    }

    fn count<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        Box::pin(self.scan(call).count(target, options))
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(self.scan(call).aggregate(target, options))
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(self.scan(call).search(target, options))
    }

    fn list_targets<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        self.memory.list_targets(call)
    }

    fn introspect_target<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        self.memory.introspect_target(call, target)
    }

    fn driver_name(&self) -> &str {
        self.memory.driver_name()
    }

    fn pool_use(&self) -> PoolUse {
        self.memory.pool_use()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.memory.close()
    }
}

impl Driver for ReadOnly {
    fn name(&self) -> &str {
        self.memory.name()
    }

    fn manifest(&self) -> &Manifest {
        self.memory.manifest()
    }

    fn capabilities(&self) -> &Capabilities {
        self.memory.capabilities()
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        self.memory.aggregate_capabilities()
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        self.memory.check(config)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            let memory = Arc::new(self.memory.connect(config, call).await?);
            let bridge = ReadOnlyBridge { memory, knows: self.knows };
            Ok(Box::new(bridge) as Box<dyn Bridge>)
        })
    }
}

impl Fixture for ReadOnly {
    fn config(&self, database: Database) -> SourceConfig {
        self.memory.config(database)
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        self.memory.seed(database, seed)
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        self.memory.least_privilege()
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        self.memory.slow_query()
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        self.memory.slow_query_runs()
    }

    fn qualified_target(&self, table: &str) -> Offer<String> {
        self.memory.qualified_target(table)
    }
}
