//! Paging by key (extension `keyset/1`) and renaming (`project/1`).

use serde_json::{Value as Json, json};

use super::Case;
use super::basics::texts;
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::{Subject, with};

pub(super) const CASES: &[Case] = &[
    case("K1", "pages by key give what one query gives", |s| Box::pin(pages_by_key(s))),
    case("K2", "pages by key are right with nulls, in either direction", |s| Box::pin(pages_with_nulls(s))),
    case("K3", "pages by key heed a filter", |s| Box::pin(pages_with_a_filter(s))),
    case("K4", "the tiebreak may be named", |s| Box::pin(named_tiebreak(s))),
    case("K5", "a cursor of another order is refused", |s| Box::pin(foreign_cursors(s))),
    case("K6", "pages by key without their columns in the projection", |s| {
        Box::pin(pages_without_columns(s))
    }),
    case("K7", "columns take other names", |s| Box::pin(columns_are_renamed(s))),
];

const fn case(
    id: &'static str,
    title: &'static str,
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "keyset", title, needs: &[], run }
}

/// Keys of all pages of `limit`, and of one page that holds everything.
async fn both(
    s: &Subject<'_>,
    table: &str,
    options: &Json,
    limit: u64,
) -> Outcome<(Vec<String>, Vec<String>)> {
    let page_of = |limit: u64, cursor: Option<String>| {
        with(with(options.clone(), "limit", json!(limit)), "cursor", json!(cursor))
    };
    let whole = s.query_page(table, page_of(1_000, None)).await?;
    same("the cursor of everything", whole.tail.next_cursor, None)?;
    let mut keys = Vec::new();
    let mut cursor = None;
    for _ in 0..=whole.rows.len() {
        let page = s.query_page(table, page_of(limit, cursor)).await?;
        keys.extend(s.keys(table, &page.rows)?);
        match page.tail.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok((keys, s.keys(table, &whole.rows)?)),
        }
    }
    Err(Failure::wrong(format!("the pages do not end; so far: {keys:?}")))
}

async fn agree(s: &Subject<'_>, table: &str, options: Json) -> Outcome {
    let keyset = options.get("keyset").cloned().unwrap_or(json!(true));
    let options = with(options, "keyset", keyset);
    let filter = options.get("where").cloned().unwrap_or_else(|| json!({}));
    for limit in [1, 2, 3] {
        let (pages, whole) = both(s, table, &options, limit).await?;
        same(&format!("{table} in pages of {limit} by {options}"), &pages, &whole)?;
        let mut sorted = pages;
        sorted.sort();
        same("keys", sorted, s.expected_keys(table, &filter)?)?;
    }
    Ok(())
}

async fn pages_by_key(s: &Subject<'_>) -> Outcome {
    agree(s, "small", json!({})).await?;
    agree(s, "small", json!({"orderBy": {"category": "desc"}})).await?;
    agree(s, "small", json!({"orderBy": {"id": "desc"}})).await?;
    agree(s, "pairs", json!({"orderBy": {"seq": "asc"}})).await?;
    agree(s, "pairs", json!({"orderBy": {"tenant": "desc", "note": "asc"}})).await?;
    agree(s, "by_bytes", json!({"orderBy": {"key": "desc"}})).await?;
    agree(s, "wide", json!({"orderBy": {"moment": "desc"}})).await?;
    agree(s, "wide", json!({"orderBy": {"big": "asc", "flag": "desc"}})).await
}

async fn pages_with_nulls(s: &Subject<'_>) -> Outcome {
    for rank in ["asc", "desc"] {
        agree(s, "ranked", json!({"orderBy": {"rank": rank}})).await?;
        for score in ["asc", "desc"] {
            agree(s, "ranked", json!({"orderBy": {"rank": rank, "score": score, "id": rank}})).await?;
            agree(s, "ranked", json!({"orderBy": {"score": score, "rank": rank}})).await?;
        }
    }
    Ok(())
}

async fn pages_with_a_filter(s: &Subject<'_>) -> Outcome {
    agree(s, "ranked", json!({"where": {"rank": {"$gte": 2}}, "orderBy": {"score": "desc"}})).await?;
    agree(s, "texts", json!({"where": {"value": {"$ne": "abc"}}, "orderBy": {"value": "asc"}})).await
}

async fn named_tiebreak(s: &Subject<'_>) -> Outcome {
    agree(s, "small", json!({"orderBy": {"category": "asc"}, "keyset": ["name"]})).await?;
    agree(s, "pairs", json!({"keyset": ["note"]})).await
}

async fn foreign_cursors(s: &Subject<'_>) -> Outcome {
    let page = s.query_page("pairs", json!({"keyset": true, "limit": 2})).await?;
    let cursor = page.tail.next_cursor.ok_or_else(|| Failure::wrong("no cursor"))?;
    let foreign = json!({"keyset": true, "limit": 2, "orderBy": {"note": "asc"}, "cursor": cursor});
    for options in [foreign, json!({"keyset": true, "limit": 2, "cursor": "k1.!!"})] {
        let refused = s.query_page("pairs", options).await;
        let named = matches!(&refused, Err(Failure::Bridge(bridge_core::BridgeError::Invalid(invalid))) if invalid.field == "cursor");
        ensure(named, || format!("a wrong cursor is refused by name, not answered with {refused:?}"))?;
    }
    Ok(())
}

async fn pages_without_columns(s: &Subject<'_>) -> Outcome {
    let options = |cursor: Option<String>| json!({"keyset": true, "limit": 6, "orderBy": {"score": "desc"}, "select": ["rank"], "cursor": cursor});
    let first = s.query_page("ranked", options(None)).await?;
    let second = s.query_page("ranked", options(first.tail.next_cursor)).await?;
    same("rows", (first.rows.len(), second.rows.len()), (6, 5))?;
    for row in first.rows.iter().chain(&second.rows) {
        same("columns", row.keys().map(String::as_str).collect(), vec!["rank"])?;
    }
    Ok(())
}

async fn columns_are_renamed(s: &Subject<'_>) -> Outcome {
    let project = json!({"who": "name", "name": "category", "again \"": "name"});
    let rows = s.query("small", json!({"project": project, "where": {"id": 2}})).await?;
    let [row] = rows.as_slice() else { return Err(Failure::wrong("expected one row")) };
    let text = |name: &str| row.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    same("values", vec![text("who"), text("name"), text("again \"")], texts(&["Beta", "b", "Beta"]))?;
    same("columns", row.len(), 3)
}
