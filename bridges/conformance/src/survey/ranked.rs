//! Search over the texts that were read, and the refusal of what is not declared.

use bridge_core::BridgeError;
use bridge_reduce::Ranker;
use protocol::{JobKind, RawObject, SCORE, SearchMethod, SearchOptions};
use serde_json::{Value as Json, json};

use super::sample::{Class, Sample, text_of};
use super::site::{refused, same_rows};
use super::{Need, Site, SurveyCase};
use crate::cases::SEARCH;
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::raw;
use crate::wire::Row;

pub(super) const CASES: &[SurveyCase] = &[
    case("D70", "a word of a text finds its rows, best first", &[SEARCH], |s| Box::pin(words(s))),
    case("D71", "search and similar are refused as kinds where they are not declared", &[], |s| {
        Box::pin(undeclared(s))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "search", title, needs, run }
}

/// A word of at least three letters.
fn word(value: &Json) -> Option<&str> {
    let long = |word: &&str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    value.as_str()?.split_whitespace().find(long)
}

async fn words(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.column(
        |sample| sample.of(Class::Text).find(|column| column.values.iter().any(|it| word(it).is_some())),
        "no column of text has words",
    )?;
    let query = column.values.iter().find_map(word).unwrap_or("text");
    let options = json!({"query": query, "fields": [column.name], "limit": 1_000});
    let page = s.search(&sample.target, options.clone()).await?;
    let what = format!("search of {} by {options}", sample.target);
    ensure(page.tail.method.is_some(), || format!("{what}: no method"))?;
    let score = |row: &Row| row.get(SCORE).and_then(Json::as_f64);
    let scores: Vec<f64> = page.rows.iter().filter_map(score).collect();
    same(&format!("scores of {what}"), scores.len(), page.rows.len())?;
    ensure(scores.is_sorted_by(|left, right| left >= right), || {
        format!("{what}: not best first: {scores:?}")
    })?;
    ensure(!page.rows.is_empty(), || format!("{what}: nothing was found"))?;
    if page.tail.method == Some(SearchMethod::Containment) {
        contained(sample, &page.rows, &options, &what)?;
    } else {
        known(sample, &page.rows, &what)?;
    }
    let best = s.search(&sample.target, json!({"query": query, "fields": [column.name], "limit": 1})).await?;
    same(&format!("the best of {what}"), best.rows.first(), page.rows.first())
}

/// Ranks by containment are the ranker's, score by score.
fn contained(sample: &Sample, rows: &[Row], options: &Json, what: &str) -> Outcome {
    let ranker = Ranker::new(&SearchOptions::parse(&raw(options)?)?);
    let mut expected = Vec::new();
    for row in &sample.rows {
        let text = Json::Object(row.clone()).to_string();
        let score = ranker.score(&RawObject::from_text(&text)?)?;
        expected.extend(score.map(|score| format!("{score:.6} {}", text_of(row))));
    }
    let ranked = |row: &Row| {
        let score = row.get(SCORE).and_then(Json::as_f64).unwrap_or(f64::NAN);
        format!("{score:.6} {}", text_of(&without_score(row)))
    };
    let mut got: Vec<String> = rows.iter().map(ranked).collect();
    got.sort();
    expected.sort();
    if expected.len() > rows.len() && rows.len() == 1_000 {
        return ensure(got.iter().all(|row| expected.contains(row)), || format!("{what}: other rows"));
    }
    same_rows(what, &got, &[expected])
}

/// An engine finds by its own rules, but only rows that there are.
fn known(sample: &Sample, rows: &[Row], what: &str) -> Outcome {
    let texts = sample.texts();
    let other = rows.iter().map(without_score).find(|row| texts.binary_search(&text_of(row)).is_err());
    ensure(other.is_none(), || format!("{what}: a row that is not there: {other:?}"))
}

fn without_score(row: &Row) -> Row {
    row.iter().filter(|(name, _)| *name != SCORE).map(|(name, it)| (name.clone(), it.clone())).collect()
}

async fn undeclared(s: &Site<'_>) -> Outcome {
    let declared = s.driver.capabilities();
    let Some((sample, column)) = s.samples.iter().find_map(|sample| Some((sample, sample.columns.first()?)))
    else {
        return Err(Failure::Impossible("no target has columns"));
    };
    let mut answers = Vec::new();
    if !declared.search {
        let answer = s.search(&sample.target, json!({"query": "text"})).await.map(|_| ());
        answers.push((JobKind::Search, answer));
    }
    if !declared.similar {
        let options = json!({"vector": [1], "field": column.name});
        answers.push((JobKind::Similar, s.similar(&sample.target, options).await.map(|_| ())));
    }
    for (kind, answer) in answers {
        let error = refused(kind.as_str(), answer)?;
        let right = matches!(error, BridgeError::UnsupportedKind { .. });
        ensure(right, || format!("expected {kind} to be unsupported, got: {error}"))?;
    }
    Ok(())
}
