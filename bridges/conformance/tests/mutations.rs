//! The suite must be able to fail: each mutant is the memory driver with one defect of a published bridge, and the case
//! that guards against it must catch it. The same case passes on the driver without the defect.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a mutant is test code, also outside of the test functions"
)]

#[path = "support/mutant.rs"]
mod mutant;

use std::time::Duration;

use bridge_core::{BridgeError, Position};
use mutant::{Defect, NONE, Stream, mutant};
use protocol::{
    AggregateCapabilities, AggregateOptions, Bucket, Capabilities, Filter, Invalid, MeasureKind,
    QueryOptions, ReadOptions, Scalar, SearchOptions, Tail, Test, Where,
};
use semilayer_bridge_conformance::{Database, Options, Verdict, run};

/// Runs the cases on the driver with and without the defect; each must fail with it and pass without.
async fn caught(defect: Defect, ids: &[&str]) {
    for (defect, should_fail) in [(NONE, false), (defect, true)] {
        let mutant = mutant(defect);
        let options = Options {
            only: ids.iter().map(|id| (*id).to_owned()).collect(),
            case_limit: Duration::from_secs(if defect.stream == Stream::Hanging { 2 } else { 60 }),
            ..Options::default()
        };
        let report = run(&mutant, &mutant, options).await;
        for id in ids {
            let verdict = &report.entry(id).expect("the case exists").verdict;
            assert_eq!(matches!(verdict, Verdict::Failed(_)), should_fail, "{id}: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn not_over_two_fields_that_negates_only_the_first() {
    // B1
    fn negate_first(condition: Where) -> Where {
        match condition {
            Where::Not(inner) => match *inner {
                Where::All(mut parts) => {
                    let first = parts.remove(0);
                    parts.insert(0, Where::Not(Box::new(first)));
                    Where::All(parts)
                }
                other => Where::Not(Box::new(other)),
            },
            other => other,
        }
    }
    let query = |options: QueryOptions| {
        let filter = Filter::from_where(negate_first(options.filter.into_condition()));
        Ok(QueryOptions { filter, ..options })
    };
    caught(Defect { query, ..NONE }, &["E1"]).await;
}

#[tokio::test]
async fn a_search_that_looks_for_less_than_was_asked() {
    let first_word = |options: SearchOptions| {
        let word = options.words().swap_remove(0);
        SearchOptions { query: word, ..options }
    };
    caught(Defect { search: first_word, ..NONE }, &["F1"]).await;
    let unfiltered = |options: SearchOptions| SearchOptions { filter: Filter::everything(), ..options };
    caught(Defect { search: unfiltered, ..NONE }, &["F3"]).await;
    let unescaped =
        |options: SearchOptions| SearchOptions { query: options.query.replace('%', " "), ..options };
    caught(Defect { search: unescaped, ..NONE }, &["F2"]).await;
}

#[tokio::test]
async fn string_operators_that_are_a_syntax_error() {
    // B2
    let query = |options: QueryOptions| {
        let has_text = format!("{:?}", options.filter).contains("Text(Contains");
        if has_text { Err(BridgeError::query("unterminated literal")) } else { Ok(options) }
    };
    caught(Defect { query, ..NONE }, &["5A-25", "E8-contains"]).await;
}

#[tokio::test]
async fn a_composite_key_of_which_one_column_pages() {
    // B4: everything else of the same tenant is passed over.
    let read = |options: ReadOptions| {
        let last = |cursor: &String| {
            let mut position = Position::decode(cursor, 2).ok()?;
            position.0[1] = Some("999".to_owned());
            Some(position.encode())
        };
        let cursor = options.cursor.as_ref().and_then(last).or(options.cursor);
        ReadOptions { cursor, ..options }
    };
    caught(Defect { read, ..NONE }, &["E3", "E4"]).await;
}

#[tokio::test]
async fn a_cursor_of_a_column_that_was_not_selected() {
    // B5
    let tail = |tail: Tail| Tail { next_cursor: tail.next_cursor.map(|_| "undefined".to_owned()), ..tail };
    caught(Defect { tail, ..NONE }, &["E3", "E4", "K1"]).await;
}

#[tokio::test]
async fn a_cursor_that_is_a_double() {
    // B36
    let read = |options: ReadOptions| {
        let rounded = |cursor: &String| cursor.parse::<f64>().ok().map(|value| format!("{value:.0}"));
        let cursor = options.cursor.as_ref().and_then(rounded).or(options.cursor);
        ReadOptions { cursor, ..options }
    };
    caught(Defect { read, ..NONE }, &["E7-bigint"]).await;
}

#[tokio::test]
async fn an_aggregate_filter_that_does_not_know_null() {
    // B9
    let aggregate = |options: AggregateOptions| {
        let nulls =
            matches!(options.filter.condition(), Where::Field { test: Test::Equal(Scalar::Null), .. });
        let filter = if nulls { Filter::from_where(Where::field("id", Test::Never)) } else { options.filter };
        AggregateOptions { filter, ..options }
    };
    caught(Defect { aggregate, ..NONE }, &["E9-null"]).await;
}

#[tokio::test]
async fn a_having_that_loses_the_filter_of_its_measure() {
    // B10
    let aggregate = |mut options: AggregateOptions| {
        if !options.having.is_everything() {
            options.measures.iter_mut().for_each(|(_, measure)| measure.filter = Filter::everything());
        }
        options
    };
    caught(Defect { aggregate, ..NONE }, &["E11"]).await;
}

#[tokio::test]
async fn a_top_k_that_ignores_ids_and_filters() {
    // B11
    let aggregate = |mut options: AggregateOptions| {
        if options.measures.iter().any(|(_, measure)| matches!(measure.kind, MeasureKind::TopK(_))) {
            options.ids.clear();
            options.filter = Filter::everything();
        }
        options
    };
    caught(Defect { aggregate, ..NONE }, &["E12-ids", "E12-filter"]).await;
}

#[tokio::test]
async fn weeks_that_are_not_iso() {
    // B14
    let row = |row: String| Some(row.replace("-W0", "-W1"));
    caught(Defect { row, ..NONE }, &["5B-7", "5B-x1"]).await;
}

#[tokio::test]
async fn a_last_break_that_belongs_to_its_interval() {
    // B21
    let aggregate = |mut options: AggregateOptions| {
        for dimension in &mut options.dimensions {
            if let Some(Bucket::Breaks(breaks)) = &mut dimension.bucket
                && let Some(last) = breaks.last_mut()
            {
                *last += 1e-6;
            }
        }
        options
    };
    caught(Defect { aggregate, row: |row| Some(row.replace(".000001\"", "\"")), ..NONE }, &["5B-11"]).await;
}

#[tokio::test]
async fn a_zero_row_aggregate_without_its_bucket() {
    // B21
    let row = |row: String| (!row.ends_with("\"count\":0}")).then_some(row);
    caught(Defect { row, ..NONE }, &["E14", "E14-percentile"]).await;
}

#[tokio::test]
async fn an_offset_that_is_ignored_without_a_limit() {
    // B30
    let query = |options: QueryOptions| {
        let offset = options.limit.map_or(0, |_| options.offset);
        Ok(QueryOptions { offset, ..options })
    };
    caught(Defect { query, ..NONE }, &["E19"]).await;
}

#[tokio::test]
async fn an_answer_that_stops_at_a_thousand_rows() {
    // B26
    let query = |options: QueryOptions| {
        let limit = Some(options.limit.unwrap_or(1_000).min(1_000));
        Ok(QueryOptions { limit, ..options })
    };
    caught(Defect { query, ..NONE }, &["S1", "E16"]).await;
}

#[tokio::test]
async fn large_integers_that_are_rounded() {
    // B31, B36
    let row = |row: String| Some(row.replace("\"9007199254740993\"", "9007199254740992"));
    caught(Defect { row, ..NONE }, &["E13", "E7-bigint"]).await;
}

#[tokio::test]
async fn bytes_that_are_not_base64() {
    // B31
    let row = |row: String| Some(row.replace("\"AAEC/f7/\"", "{\"type\":\"Buffer\"}"));
    caught(Defect { row, ..NONE }, &["E13"]).await;
}

#[tokio::test]
async fn instants_that_are_cut_to_milliseconds() {
    let row = |row: String| Some(row.replace(".999999Z", ".999Z"));
    caught(Defect { row, ..NONE }, &["E13"]).await;
}

#[tokio::test]
async fn two_sources_that_share_a_connection() {
    // A5
    caught(Defect { database: |_| Database::First, ..NONE }, &["E17"]).await;
}

#[tokio::test]
async fn an_impossible_key_that_fails() {
    let query = |options: QueryOptions| {
        if format!("{:?}", options.filter).contains("no such key") {
            return Err(BridgeError::query("invalid input syntax for type integer"));
        }
        Ok(options)
    };
    caught(Defect { query, ..NONE }, &["5A-14"]).await;
}

#[tokio::test]
async fn an_undeclared_operator_that_works_all_the_same() {
    let capabilities = || Capabilities { where_logical_ops: Vec::new(), ..Capabilities::full() };
    caught(Defect { capabilities, ..NONE }, &["5A-20", "5A-22"]).await;
}

#[tokio::test]
async fn an_undeclared_aggregate_that_works_all_the_same() {
    let aggregates =
        || AggregateCapabilities { joins: false, geohash_bucket: true, ..AggregateCapabilities::full() };
    caught(Defect { aggregates, ..NONE }, &["5B-31"]).await;
}

#[tokio::test]
async fn an_undeclared_operator_that_is_refused_with_the_wrong_error() {
    let query = |options: QueryOptions| {
        if format!("{:?}", options.filter).contains("Any(") {
            return Err(Invalid::new("where", "something else").into());
        }
        Ok(options)
    };
    let capabilities = || Capabilities { where_logical_ops: Vec::new(), ..Capabilities::full() };
    caught(Defect { query, capabilities, ..NONE }, &["5A-20"]).await;
}

#[tokio::test]
async fn an_answer_in_one_piece() {
    caught(Defect { stream: Stream::Whole, ..NONE }, &["S1"]).await;
}

#[tokio::test]
async fn a_dropped_query_that_goes_on() {
    // A9
    caught(Defect { stream: Stream::Leaking, ..NONE }, &["E20-cancel"]).await;
}

#[tokio::test]
async fn a_query_that_never_answers_is_a_failure_and_not_the_end() {
    caught(Defect { stream: Stream::Hanging, ..NONE }, &["5A-8", "5A-9"]).await;
}

#[tokio::test]
async fn a_panic_is_a_failure_and_not_the_end() {
    caught(Defect { stream: Stream::Panicking, ..NONE }, &["5A-8", "5A-9"]).await;
}
