//! Search without an index: ranked containment, the same rows and scores on every engine.

use bridge_core::BridgeError;
use protocol::{SCORE, SearchMethod};
use serde_json::{Value as Json, json};

use super::{Case, Need, SEARCH};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::{Subject, with};
use crate::wire::Row;

pub(super) const CASES: &[Case] = &[
    case("F1", "rows are ranked by the share of words that they contain", &[SEARCH], |s| {
        Box::pin(ranked_by_words(s))
    }),
    case("F2", "case and patterns mean nothing to a search", &[SEARCH], |s| Box::pin(literal_words(s))),
    case("F3", "a search takes a filter, a limit and a projection", &[SEARCH], |s| {
        Box::pin(filtered_and_limited(s))
    }),
    case("F4", "a column that holds no text is refused by name", &[SEARCH], |s| Box::pin(unknown_fields(s))),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "search", title, needs, run }
}

async fn ranked_by_words(s: &Subject<'_>) -> Outcome {
    for (table, options) in [
        ("small", json!({"query": "alpha A"})),
        ("small", json!({"query": "gamma"})),
        (
            "facts",
            json!({"query": "Japanese PUBLISHED us", "fields": ["cuisine", "status", "country"], "limit": 1000}),
        ),
        ("texts", json!({"query": "new york tokyo", "limit": 1000})),
        ("small", json!({"query": "nothing-has-this"})),
    ] {
        finds_ranked(s, table, options).await?;
    }
    Ok(())
}

async fn literal_words(s: &Subject<'_>) -> Outcome {
    for query in ["50%", "a_c", "ünï", "a\\b", "it's", "%", "_", "[", "'", "日本", "!", "\" OR 1=1 --", "🦀"]
    {
        finds_ranked(s, "texts", json!({"query": query, "limit": 1000})).await?;
    }
    Ok(())
}

async fn filtered_and_limited(s: &Subject<'_>) -> Outcome {
    let options = json!({"query": "italian draft", "fields": ["cuisine", "status"], "limit": 1000,
        "where": {"rating": {"$gte": 4}, "country": {"$ne": "IT"}}, "select": ["id"]});
    let rows = finds_ranked(s, "facts", options.clone()).await?;
    ensure(rows.iter().all(|row| row.len() == 2), || format!("rows of id and score, not {rows:?}"))?;
    let best = s.search("facts", with(options.clone(), "limit", json!(2))).await?.rows;
    same("the two best", &best, &rows.get(..2).unwrap_or_default().to_vec())?;
    let none = s.search("facts", with(options, "limit", json!(0))).await?.rows;
    same("rows of a search with limit 0", none.len(), 0)
}

async fn unknown_fields(s: &Subject<'_>) -> Outcome {
    let answer = s.search("small", json!({"query": "a", "fields": ["name", "id"]})).await;
    match answer {
        Err(Failure::Bridge(BridgeError::Invalid(invalid))) => {
            same("field", invalid.field.as_str(), "fields[1]")
        }
        // An engine without columns of its own finds nothing there.
        Ok(page) if !s.driver.capabilities().where_pushdown => {
            let expected = s.expected_ranks("small", &json!({"query": "a", "fields": ["name"]}))?;
            same("rows", page.rows.len(), expected.len())
        }
        Ok(page) => Err(Failure::wrong(format!("expected fields[1] to be refused, got {page:?}"))),
        Err(other) => Err(other),
    }
}

/// A search finds exactly the rows that the oracle finds, with its scores, best first.
async fn finds_ranked(s: &Subject<'_>, table: &str, options: Json) -> Outcome<Vec<Row>> {
    let page = s.search(table, options.clone()).await?;
    let what = format!("search of {table} by {options}");
    same(&format!("method of {what}"), page.tail.method, Some(SearchMethod::Containment))?;
    let score = |row: &Row| {
        row.get(SCORE)
            .and_then(Json::as_f64)
            .ok_or_else(|| Failure::wrong(format!("{what}: no score in {row:?}")))
    };
    let scores: Vec<f64> = page.rows.iter().map(score).collect::<Outcome<_>>()?;
    ensure(scores.is_sorted_by(|left, right| left >= right), || {
        format!("{what}: not best first: {scores:?}")
    })?;
    let keys = s.keys(table, &page.rows)?;
    let mut got: Vec<(String, String)> =
        keys.into_iter().zip(scores).map(|(key, score)| (key, format!("{score:.6}"))).collect();
    got.sort();
    let expected = s.expected_ranks(table, &options)?;
    let mut expected: Vec<(String, String)> =
        expected.into_iter().map(|(key, score)| (key, format!("{score:.6}"))).collect();
    expected.sort();
    same(&what, &got, &expected)?;
    Ok(page.rows)
}
