//! Pages of `read`, and projections.

use std::collections::BTreeSet;

use bridge_core::BridgeError;
use protocol::ReadOptions;
use serde_json::{Value as Json, json};

use super::sample::{Class, Column, Sample, sorted_texts, text_of, text_of_value};
use super::site::same_rows;
use super::{Need, Site, SurveyCase};
use crate::cases::{CHANGED_SINCE, CURSOR};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::page;
use crate::wire::Row;

pub(super) const CASES: &[SurveyCase] = &[
    case("D10", "pages of a scan are the whole scan, no row lost or twice", &[CURSOR], |s| {
        Box::pin(pages_are_the_scan(s))
    }),
    case("D11", "limit 0 is no row", &[CURSOR], |s| Box::pin(limit_0(s))),
    case("D12", "a cursor goes on over another connection", &[CURSOR], |s| Box::pin(cursors_travel(s))),
    case("D13", "a cursor that is none is refused or finds nothing amiss", &[CURSOR], |s| {
        Box::pin(foreign_cursors(s))
    }),
    case("D14", "a scan has the columns that are asked for", &[CURSOR], |s| Box::pin(fields(s))),
    case("D15", "changedSince returns only newer rows", &[CURSOR, CHANGED_SINCE], |s| {
        Box::pin(changed_since(s))
    }),
    case("D16", "a query has the columns that are asked for", &[], |s| Box::pin(projections(s))),
    case("D17", "columns take other names", &[], |s| Box::pin(renamed(s))),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "scans", title, needs, run }
}

async fn pages_are_the_scan(s: &Site<'_>) -> Outcome {
    for sample in s.samples {
        let rows = sample.rows.len();
        // One row a page where that is not for ever.
        let small = (rows <= 30).then_some(1);
        for limit in small.into_iter().chain([rows.div_ceil(7), rows.div_ceil(3) + 1, rows, rows + 1]) {
            let pages = pages(s, sample, limit).await?;
            let what = format!("rows of {} in pages of {limit}", sample.target);
            let texts: Vec<String> = pages.iter().map(text_of).collect();
            let expected: Vec<String> = sample.rows.iter().map(text_of).collect();
            let first = texts.get(..expected.len()).unwrap_or(&texts);
            // In the order of one large page, too.
            same_rows(&what, if sample.complete { &texts } else { first }, &[expected])?;
        }
    }
    Ok(())
}

/// All pages, or as many as the sample has rows.
async fn pages(s: &Site<'_>, sample: &Sample, limit: usize) -> Outcome<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut cursor = None;
    // A page may be empty without being the last, but more pages than rows do not end.
    for _ in 0..=2 * sample.rows.len() + 2 {
        let page = s.read(&sample.target, json!({"limit": limit, "cursor": cursor})).await?;
        ensure(page.rows.len() <= limit, || format!("a page of {limit} has {} rows", page.rows.len()))?;
        rows.extend(page.rows);
        match page.tail.next_cursor {
            Some(next) if sample.complete || rows.len() < sample.rows.len() => cursor = Some(next),
            _ => return Ok(rows),
        }
    }
    Err(Failure::wrong(format!("the scan of {} in pages of {limit} does not end", sample.target)))
}

async fn limit_0(s: &Site<'_>) -> Outcome {
    for sample in s.samples {
        same("rows of read", s.read(&sample.target, json!({"limit": 0})).await?.rows.len(), 0)?;
        same("rows of query", s.query(&sample.target, json!({"limit": 0})).await?.rows.len(), 0)?;
    }
    Ok(())
}

async fn cursors_travel(s: &Site<'_>) -> Outcome {
    let mut travelled = false;
    for sample in s.samples.iter().filter(|sample| sample.rows.len() > 1) {
        let limit = sample.rows.len().div_ceil(2);
        let first = s.read(&sample.target, json!({ "limit": limit })).await?;
        let cursor = first.tail.next_cursor;
        ensure(cursor.is_some(), || format!("{}: the first page has no cursor", sample.target))?;
        let other = s.connect().await?;
        let options = ReadOptions { limit: limit as u64, cursor, ..ReadOptions::default() };
        let second = page(other.read(&s.call(), &sample.target, options).await?).await?;
        other.close().await;
        let next = second.rows.first().map(text_of);
        let expected = sample.rows.get(first.rows.len()).map(text_of);
        same(&format!("the row of {} after page one", sample.target), next, expected)?;
        travelled = true;
    }
    if travelled { Ok(()) } else { Err(Failure::Impossible("no target has two rows")) }
}

async fn foreign_cursors(s: &Site<'_>) -> Outcome {
    for sample in s.samples {
        for cursor in ["k1.!!", "\u{0}", "' OR 1=1 --", "{\"$gt\":\"\"}"] {
            match s.read(&sample.target, json!({"limit": 3, "cursor": cursor})).await {
                Ok(page) => ensure(page.rows.len() <= 3, || format!("{} rows for 3", page.rows.len()))?,
                Err(Failure::Bridge(BridgeError::Invalid(_) | BridgeError::Query { .. })) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(())
}

/// The rows with these columns, as texts.
fn expected(sample: &Sample, names: &[&str]) -> Vec<String> {
    let names: BTreeSet<&str> = names.iter().copied().collect();
    let whole = |row: &Row| {
        let field = |name: &&str| ((*name).to_owned(), row.get(*name).cloned().unwrap_or(Json::Null));
        text_of(&names.iter().map(field).collect())
    };
    sample.rows.iter().map(whole).collect()
}

/// The last column alone, and all of them from behind.
fn selections(sample: &Sample) -> [Vec<&str>; 2] {
    let all: Vec<&str> = sample.columns.iter().rev().map(|column| column.name.as_str()).collect();
    [all.iter().take(1).copied().collect(), all]
}

async fn fields(s: &Site<'_>) -> Outcome {
    for sample in s.samples {
        for names in selections(sample) {
            let limit = sample.rows.len();
            let page = s.read(&sample.target, json!({"limit": limit, "fields": names})).await?;
            let got: Vec<String> = page.rows.iter().map(text_of).collect();
            same_rows(&format!("{names:?} of {}", sample.target), &got, &[expected(sample, &names)])?;
        }
    }
    Ok(())
}

async fn changed_since(s: &Site<'_>) -> Outcome {
    let several = |column: &&Column| column.values.len() > 1;
    let (sample, column) =
        s.column(|sample| sample.of(Class::Instant).find(several), "no column has different instants")?;
    let name = column.name.as_str();
    let mut instants: Vec<&str> = column.values.iter().filter_map(Json::as_str).collect();
    instants.sort_unstable();
    let Some(since) = instants.get(instants.len() / 2).copied() else {
        return s.read(&sample.target, json!({"changedSince": "2026-01-01"})).await.map(|_| ());
    };
    let options = json!({"limit": sample.rows.len(), "changedSince": since, "changeTrackingColumn": name});
    let got = sorted_texts(&s.read(&sample.target, options).await?.rows);
    let newer = sample.matching(&json!({name: {"$gt": since}}))?;
    // A row that does not say when it changed may have.
    let or_unknown = sample.matching(&json!({"$or": [{name: {"$gt": since}}, {name: null}]}))?;
    same_rows(
        &format!("rows of {} since {since}", sample.target),
        &got,
        &newer.into_iter().chain(or_unknown).collect::<Vec<_>>(),
    )
}

async fn projections(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        for names in selections(sample) {
            let got = sorted_texts(&s.query(&sample.target, json!({ "select": names })).await?.rows);
            let mut expected = expected(sample, &names);
            expected.sort();
            same_rows(&format!("{names:?} of {}", sample.target), &got, &[expected])?;
        }
    }
    Ok(())
}

async fn renamed(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        let Some(column) = sample.columns.first() else { continue };
        let project = json!({"a \"new\" name": column.name, "again": column.name});
        let got = sorted_texts(&s.query(&sample.target, json!({ "project": project })).await?.rows);
        let renamed = |row: &Row| {
            let value = row.get(&column.name).cloned().unwrap_or(Json::Null);
            json!({"a \"new\" name": value, "again": value})
        };
        let mut expected: Vec<String> =
            sample.rows.iter().map(renamed).map(|row| text_of_value(&row)).collect();
        expected.sort();
        let what = format!("{} of {} under other names", column.name, sample.target);
        same_rows(&what, &got, &[expected])?;
    }
    Ok(())
}
