//! The whole contract, kept by a driver that can do no more than read: everything else is answered from scans.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it, too")]

use std::sync::Arc;

use bridge_conformance::memory::Memory;
use bridge_conformance::seed::{self, Table};
use bridge_conformance::{
    Answer, Change, Changed, Database, Fixture, Options, SurveyOptions, Verdict, cases, survey,
};
use bridge_core::{Bridge, Call, Counted, RowStream};
use protocol::{AggregateOptions, BatchReadOptions, CountOptions, QueryOptions, ReadOptions, SearchOptions};
use semilayer_bridge_reduce::scan::{Known, Page, Reader, Scan};
use semilayer_bridge_reduce::{Kind, Schema};

/// Rows of a page: fewer than the large tables have.
const PAGE: u64 = 7_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_only_reads_keeps_the_whole_contract() {
    let driver = read_only(true);
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
    let driver = read_only(false);
    driver.seed(Database::First, &seed::first()).await.unwrap();
    // None with decimals or integers beyond doubles: those are text in rows, and nobody says otherwise.
    let names = ["facts", "pairs", "places", "ranked", "texts"].map(str::to_owned).to_vec();
    let options = SurveyOptions { names, ..SurveyOptions::default() };
    let report = survey(&driver, &driver.config(Database::First), options).await;
    println!("{}", report.text());
    report.check().unwrap();
}

/// The memory driver, of which only `read` and the descriptions are used.
fn read_only(knows: bool) -> Changed<Memory, ReadOnly> {
    Changed::new(Memory::new(), ReadOnly { knows })
}

struct ReadOnly {
    /// Whether scans are told the columns of targets and what they hold.
    knows: bool,
}

/// Reads through the bridge.
struct Pages {
    memory: Arc<dyn Bridge>,
    knows: bool,
}

impl Reader for Pages {
    fn read<'a>(&'a mut self, call: &'a Call, target: &'a str, options: ReadOptions) -> Answer<'a, Page> {
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

    fn describe<'a>(&'a mut self, call: &'a Call, target: &'a str) -> Answer<'a, Known> {
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

impl ReadOnly {
    fn scan(&self, bridge: &Arc<dyn Bridge>, call: &Call) -> Scan<Pages> {
        Scan::new(Pages { memory: Arc::clone(bridge), knows: self.knows }, call)
    }
}

impl Change for ReadOnly {
    fn query<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> Answer<'a, RowStream> {
        Box::pin(self.scan(bridge, call).query(target, options))
    }

    fn batch_read<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> Answer<'a, RowStream> {
        Box::pin(self.scan(bridge, call).batch_read(target, options))
    }

    fn count<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> Answer<'a, Counted> {
        Box::pin(self.scan(bridge, call).count(target, options))
    }

    fn aggregate<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> Answer<'a, RowStream> {
        Box::pin(self.scan(bridge, call).aggregate(target, options))
    }

    fn search<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> Answer<'a, RowStream> {
        Box::pin(self.scan(bridge, call).search(target, options))
    }
}
