//! The survey against the memory driver and defects of it: what conforms passes whatever the data, what does not is found
//! without anybody having chosen the data.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a mutant is test code, also outside of the test functions"
)]

#[path = "support/mutant.rs"]
mod mutant;

use std::time::Duration;

use bridge_core::{BridgeError, Driver};
use mutant::{Defect, NONE, Stream, mutant};
use protocol::{
    AggregateCapabilities, Capabilities, Direction, Filter, LogicalOp, QueryOptions, ReadOptions, StringOp,
    Tail, Test, TextMatch, Where,
};
use semilayer_bridge_conformance::memory::Memory;
use semilayer_bridge_conformance::{
    Database, Fixture, Report, SurveyOptions, Verdict, seed, survey, survey_cases,
};

/// Targets with numbers, texts, instants, nulls, a key of two columns, and none.
const TARGETS: [&str; 6] = ["facts", "pairs", "ranked", "small", "texts", "wide"];

fn options(targets: &[&str]) -> SurveyOptions {
    SurveyOptions {
        targets: targets.len(),
        names: targets.iter().map(|name| (*name).to_owned()).collect(),
        ..SurveyOptions::default()
    }
}

async fn surveyed<D: Driver + Fixture>(driver: &D, options: SurveyOptions) -> Report {
    driver.seed(Database::First, &seed::first()).await.unwrap();
    survey(driver, &driver.config(Database::First), options).await
}

fn verdict(report: &Report, id: &str) -> Verdict {
    report.entry(id).unwrap_or_else(|| panic!("{id} exists")).verdict.clone()
}

#[tokio::test]
async fn the_memory_driver_conforms_whatever_it_holds() {
    let report = surveyed(&Memory::new(), options(&TARGETS)).await;
    println!("{}", report.text());
    report.check().unwrap();
    assert_eq!(report.entries.len(), survey_cases().len() + 1);
    let passed = report.entries.iter().filter(|entry| entry.verdict == Verdict::Passed);
    assert_eq!(passed.count(), report.entries.len() - 1, "only a target that is too large is missing");
    assert_eq!(report.notes.len(), TARGETS.len());
    assert_eq!(report.notes[0], "facts: all 50 rows, 8 columns");
}

#[tokio::test]
async fn a_target_that_is_too_large_is_compared_in_parts() {
    let few = SurveyOptions { rows: 100, ..options(&["big"]) };
    let report = surveyed(&Memory::new(), few).await;
    report.check().unwrap();
    assert_eq!(report.notes, ["big: the first 100 rows, 2 columns"]);
    for id in ["D10", "D11", "D14", "D37", "D82"] {
        assert_eq!(verdict(&report, id), Verdict::Passed, "{id}");
    }
    assert!(matches!(verdict(&report, "D20"), Verdict::Impossible(_)));
}

#[tokio::test]
async fn the_first_targets_with_rows_are_taken_and_the_report_says_which() {
    let two = SurveyOptions { targets: 2, only: vec!["D2".to_owned()], rows: 5, ..SurveyOptions::default() };
    let report = surveyed(&Memory::new(), two).await;
    assert_eq!(report.notes.len(), 2, "{:?}", report.notes);
    assert!(report.notes[0].starts_with("big: the first 5 rows"), "{:?}", report.notes);
    let nothing = surveyed(&Memory::new(), options(&["empty"])).await;
    assert!(matches!(verdict(&nothing, "D0"), Verdict::Failed(_)), "a survey of nothing is no pass");
    let unknown = surveyed(&Memory::new(), options(&["small", "no such table"])).await;
    assert!(matches!(verdict(&unknown, "D0"), Verdict::Failed(reason) if reason.contains("no such table")));
    assert_eq!(verdict(&unknown, "D10"), Verdict::Passed);
}

#[tokio::test]
async fn what_is_not_declared_must_be_refused() {
    let capabilities = Capabilities {
        batch_read: false,
        cursor: false,
        changed_since: false,
        where_logical_ops: vec![LogicalOp::And],
        where_string_ops: vec![StringOp::Contains],
        ..Capabilities::full()
    };
    let driver = Memory::declaring(capabilities, AggregateCapabilities::default());
    let report = surveyed(&driver, options(&TARGETS)).await;
    report.check().unwrap();
    for id in ["D10", "D15", "D28", "D31", "D32", "D34", "D45", "D51", "D52", "D58", "D63", "D70"] {
        assert_eq!(verdict(&report, id), Verdict::Refused, "{id}");
    }
    for id in ["D20", "D24", "D27", "D33", "D42", "D44", "D71", "D92"] {
        assert_eq!(verdict(&report, id), Verdict::Passed, "{id}");
    }
}

/// Surveys the driver with and without the defect; each case must fail with it and pass without.
async fn caught(defect: Defect, ids: &[&str]) {
    for (defect, should_fail) in [(NONE, false), (defect, true)] {
        let options = SurveyOptions {
            only: ids.iter().map(|id| (*id).to_owned()).collect(),
            case_limit: Duration::from_secs(if defect.stream == Stream::Hanging { 2 } else { 60 }),
            ..options(&TARGETS)
        };
        let report = surveyed(&mutant(defect), options).await;
        for id in ids {
            let verdict = verdict(&report, id);
            assert_eq!(matches!(verdict, Verdict::Failed(_)), should_fail, "{id}: {verdict:?}");
        }
    }
}

fn changed(options: QueryOptions, change: impl Fn(Where) -> Where) -> Result<QueryOptions, BridgeError> {
    let filter = Filter::from_where(change(options.filter.into_condition()));
    Ok(QueryOptions { filter, ..options })
}

#[tokio::test]
async fn a_filter_that_is_left_out_is_found() {
    let query = |options: QueryOptions| changed(options, |_| Where::Everything);
    caught(Defect { query, ..NONE }, &["D20", "D21", "D22", "D24", "D25", "D27", "D32", "D34", "D45"]).await;
}

#[tokio::test]
async fn a_comparison_that_includes_its_bound_is_found() {
    let query = |options: QueryOptions| {
        changed(options, |condition| match condition {
            Where::Field { name, test: Test::Compare(protocol::Comparison::Greater, value) } => {
                Where::field(name, Test::Compare(protocol::Comparison::GreaterOrEqual, value))
            }
            other => other,
        })
    };
    caught(Defect { query, ..NONE }, &["D24"]).await;
}

#[tokio::test]
async fn a_string_operator_that_heeds_case_is_found() {
    let query = |options: QueryOptions| {
        changed(options, |condition| match condition {
            Where::Field { name, test: Test::Text(TextMatch::StartsWith, text) } => {
                Where::field(name, Test::Text(TextMatch::Like, format!("{text}%")))
            }
            other => other,
        })
    };
    caught(Defect { query, ..NONE }, &["D28"]).await;
}

#[tokio::test]
async fn a_page_that_skips_a_row_is_found() {
    let read = |options: ReadOptions| {
        let limit = if options.cursor.is_none() { options.limit + 1 } else { options.limit };
        ReadOptions { limit, ..options }
    };
    caught(Defect { read, ..NONE }, &["D10"]).await;
    let tail = |tail: Tail| Tail { next_cursor: None, ..tail };
    caught(Defect { tail, ..NONE }, &["D10", "D12", "D44"]).await;
}

#[tokio::test]
async fn an_order_of_the_wrong_direction_is_found() {
    let query = |mut options: QueryOptions| {
        options.order_by.iter_mut().for_each(|key| key.direction = Direction::Ascending);
        Ok(options)
    };
    caught(Defect { query, ..NONE }, &["D40", "D41"]).await;
}

#[tokio::test]
async fn an_offset_that_is_ignored_without_a_limit_is_found() {
    let query = |options: QueryOptions| {
        let offset = options.limit.map_or(0, |_| options.offset);
        Ok(QueryOptions { offset, ..options })
    };
    caught(Defect { query, ..NONE }, &["D42"]).await;
}

#[tokio::test]
async fn a_total_of_the_page_is_found() {
    let tail = |tail: Tail| Tail { total: tail.total.map(|total| total.min(1)), ..tail };
    caught(Defect { tail, ..NONE }, &["D43"]).await;
}

#[tokio::test]
async fn aggregates_that_lose_a_filter_or_a_bucket_are_found() {
    let aggregate = |mut options: protocol::AggregateOptions| {
        options.filter = Filter::everything();
        options
    };
    caught(Defect { aggregate, ..NONE }, &["D62", "D64"]).await;
    let aggregate = |mut options: protocol::AggregateOptions| {
        options.having = Filter::everything();
        options.sort.clear();
        options
    };
    caught(Defect { aggregate, ..NONE }, &["D60", "D61"]).await;
}

#[tokio::test]
async fn a_search_that_forgets_its_fields_is_found() {
    let search = |options: protocol::SearchOptions| {
        let query = options.query.chars().rev().collect();
        protocol::SearchOptions { query, ..options }
    };
    caught(Defect { search, ..NONE }, &["D70"]).await;
}

#[tokio::test]
async fn an_answer_in_one_piece_is_found() {
    caught(Defect { stream: Stream::Whole, ..NONE }, &["D90"]).await;
}

#[tokio::test]
async fn an_undeclared_operator_that_works_all_the_same_is_found() {
    let capabilities =
        || Capabilities { where_logical_ops: Vec::new(), search: true, ..Capabilities::full() };
    caught(Defect { capabilities, ..NONE }, &["D32", "D33", "D34"]).await;
    let aggregates = || AggregateCapabilities { top_k: false, ..AggregateCapabilities::full() };
    caught(Defect { aggregates, ..NONE }, &["D57"]).await;
}

#[tokio::test]
async fn a_driver_that_never_answers_or_panics_is_a_failure_and_not_the_end() {
    for stream in [Stream::Hanging, Stream::Panicking] {
        let options = SurveyOptions { case_limit: Duration::from_millis(200), ..options(&["small"]) };
        let report = surveyed(&mutant(Defect { stream, ..NONE }), options).await;
        assert!(matches!(verdict(&report, "D0"), Verdict::Failed(_)), "{}", report.text());
    }
}

#[test]
fn every_case_has_an_id_of_its_own_and_a_title() {
    let mut ids: Vec<&str> = survey_cases().iter().map(|case| case.id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(survey_cases().iter().all(|case| !case.title.is_empty() && !case.group.is_empty()));
}
