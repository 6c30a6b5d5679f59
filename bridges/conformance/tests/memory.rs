//! The suite against its own driver: what conforms passes, what is not declared is refused.

use std::sync::Arc;

use bridge_core::{Bridge, Call, TargetSchema};
use protocol::{AggregateCapabilities, Capabilities, LogicalOp, StringOp};
use semilayer_bridge_conformance::memory::Memory;
use semilayer_bridge_conformance::{Answer, Change, Changed, Fixture, Options, Verdict, cases, run};

#[tokio::test]
async fn the_memory_driver_keeps_the_whole_contract() {
    let memory = Memory::new();
    let report = run(&memory, &memory, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
    assert_eq!(report.entries.len(), cases().len() + 1);
    let refused: Vec<&str> = report
        .entries
        .iter()
        .filter(|entry| entry.verdict == Verdict::Refused)
        .map(|entry| entry.id)
        .collect();
    assert_eq!(refused, ["5B-40", "5B-41", "5B-42"], "only H3 is not declared");
}

#[tokio::test]
async fn a_driver_that_declares_little_and_refuses_the_rest_conforms() {
    let capabilities = Capabilities {
        batch_read: false,
        cursor: false,
        changed_since: false,
        where_logical_ops: vec![LogicalOp::And],
        where_string_ops: vec![StringOp::Contains],
        ..Capabilities::full()
    };
    let memory = Memory::declaring(capabilities, AggregateCapabilities::default());
    let report = run(&memory, &memory, Options::default()).await;
    report.check().unwrap();
    let verdict = |id: &str| report.entry(id).unwrap().verdict.clone();
    for refused in ["5A-2", "5A-12", "5A-20", "5A-24", "5B-1", "5B-31", "E1", "E7-uuid", "E12-ids", "V4"] {
        assert_eq!(verdict(refused), Verdict::Refused, "{refused}");
    }
    for passed in ["5A-8", "5A-21", "5A-25", "E13", "V1", "R1", "S1"] {
        assert_eq!(verdict(passed), Verdict::Passed, "{passed}");
    }
}

/// Says that it knows no number of rows, or another one.
struct Uncounted {
    rows: u64,
    counts: bool,
}

impl Change for Uncounted {
    fn counts_rows(&self, _fixture: &dyn Fixture) -> bool {
        self.counts
    }

    fn introspect_target<'a>(
        &'a self,
        bridge: &'a Arc<dyn Bridge>,
        call: &'a Call,
        target: &'a str,
    ) -> Answer<'a, TargetSchema> {
        Box::pin(async move {
            let schema = bridge.introspect_target(call, target).await?;
            Ok(TargetSchema { row_count: self.rows, ..schema })
        })
    }
}

#[tokio::test]
async fn a_number_of_rows_may_be_unknown_where_it_need_not_be_known_and_is_never_wrong() {
    for (rows, counts, passes) in [(0, false, true), (0, true, false), (1_000, false, false)] {
        let driver = Changed::new(Memory::new(), Uncounted { rows, counts });
        let options = Options { only: vec!["T2".to_owned()], ..Options::default() };
        let report = run(&driver, &driver, options).await;
        let verdict = &report.entry("T2").unwrap().verdict;
        assert_eq!(*verdict == Verdict::Passed, passes, "{rows} rows: {verdict:?}");
    }
}

#[test]
fn every_case_has_an_id_of_its_own_and_a_title() {
    let mut ids: Vec<&str> = cases().iter().map(|case| case.id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(cases().iter().all(|case| !case.title.is_empty() && !case.group.is_empty()));
}

#[test]
fn the_numbered_cases_of_the_specification_are_all_there() {
    let has = |id: &str| {
        cases()
            .iter()
            .any(|case| case.id == id || case.id.strip_prefix(id).is_some_and(|rest| rest.starts_with('-')))
    };
    let missing_numbers = [8, 17, 19, 21, 27];
    let bridge = (1..=27).map(|n| format!("5A-{n}"));
    let aggregate = (1..=42).filter(|n| !missing_numbers.contains(n)).map(|n| format!("5B-{n}"));
    let extra = (1..=14).chain(17..=20).map(|n| format!("E{n}"));
    let missing: Vec<String> = bridge.chain(aggregate).chain(extra).filter(|id| !has(id)).collect();
    assert_eq!(missing, Vec::<String>::new());
}
