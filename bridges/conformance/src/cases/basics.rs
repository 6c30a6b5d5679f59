//! The published bridge suite: connecting, reading, counting, keys, operators (5A).

use serde_json::{Value as Json, json};

use super::{AND, BATCH_READ, CONTAINS, CURSOR, Case, ENDS_WITH, ILIKE, NOT, Need, OR, STARTS_WITH};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::fixture::{Catalog, Database};
use crate::subject::Subject;

pub(super) const CASES: &[Case] = &[
    case("5A-1", "a bridge connects and its database answers", &[], |s| Box::pin(connects(s))),
    case("5A-2", "read returns rows", &[CURSOR], |s| Box::pin(read_returns_rows(s))),
    case("5A-3", "read heeds its limit", &[CURSOR], |s| Box::pin(read_heeds_its_limit(s))),
    case("5A-4", "pages of read do not overlap", &[CURSOR], |s| Box::pin(pages_do_not_overlap(s))),
    case("5A-5", "the last page has no cursor", &[CURSOR], |s| Box::pin(the_last_page_has_no_cursor(s))),
    case("5A-6", "count counts every row", &[], |s| Box::pin(count_counts_every_row(s))),
    case("5A-7", "a closed bridge answers no more", &[], |s| Box::pin(a_closed_bridge_answers_no_more(s))),
    case("5A-8", "a filter by key finds its row with the same value", &[], |s| {
        Box::pin(a_key_finds_its_row(s))
    }),
    case("5A-9", "query sorts", &[], |s| Box::pin(query_sorts(s))),
    case("5A-10", "limit and offset cut the ordered rows", &[], |s| Box::pin(limit_and_offset(s))),
    case("5A-11", "batchRead is answered where it is declared", &[BATCH_READ], |s| {
        Box::pin(batch_read_answers(s))
    }),
    case("5A-12", "batchRead finds every key", &[BATCH_READ], |s| Box::pin(batch_read_finds_every_key(s))),
    case("5A-13", "batchRead of no keys finds nothing", &[BATCH_READ], |s| {
        Box::pin(batch_read_of_no_keys(s))
    }),
    case("5A-14", "keys that cannot exist are dropped", &[BATCH_READ], |s| {
        Box::pin(impossible_keys_are_dropped(s))
    }),
    case("5A-15", "batchRead projects", &[BATCH_READ], |s| Box::pin(batch_read_projects(s))),
    case("5A-16", "batchRead heeds its limit", &[BATCH_READ], |s| Box::pin(batch_read_heeds_its_limit(s))),
    case("5A-17", "count without options counts every row", &[], |s| Box::pin(count_counts_every_row(s))),
    case("5A-18", "count of an empty filter counts every row", &[], |s| {
        Box::pin(count_of_an_empty_filter(s))
    }),
    case("5A-19", "count by key counts one row", &[], |s| Box::pin(finds_small(s, json!({"id": 1}), 1))),
    case("5A-20", "$or is a union", &[OR], |s| {
        Box::pin(finds_small(s, json!({"$or": [{"id": 1}, {"id": 2}]}), 2))
    }),
    case("5A-21", "$and is an intersection", &[AND], |s| {
        Box::pin(finds_small(s, json!({"$and": [{"id": 1}, {"id": 1}]}), 1))
    }),
    case("5A-22", "$not is the rest", &[NOT], |s| Box::pin(finds_small(s, json!({"$not": {"id": 1}}), 4))),
    case("5A-23", "logical operators nest", &[OR, AND, NOT], |s| {
        let filter = json!({"$or": [{"id": 1}, {"$and": [{"id": 2}, {"$not": {"id": 1}}]}]});
        Box::pin(finds_small(s, filter, 2))
    }),
    case("5A-24", "$ilike matches a pattern without case", &[ILIKE], |s| {
        Box::pin(finds_small(s, json!({"name": {"$ilike": "AL%"}}), 1))
    }),
    case("5A-25", "$contains finds a part without case", &[CONTAINS], |s| {
        Box::pin(finds_small(s, json!({"name": {"$contains": "ALP"}}), 1))
    }),
    case("5A-26", "$startsWith finds a beginning without case", &[STARTS_WITH], |s| {
        Box::pin(finds_small(s, json!({"name": {"$startsWith": "EPS"}}), 1))
    }),
    case("5A-27", "$endsWith finds an end without case", &[ENDS_WITH], |s| {
        Box::pin(finds_small(s, json!({"name": {"$endsWith": "TA"}}), 2))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "bridge", title, needs, run }
}

async fn connects(s: &Subject<'_>) -> Outcome {
    s.bridge.test(&s.call()).await?;
    same("the bridge's name", s.bridge.driver_name(), s.driver.name())?;
    same("the manifest's name", s.driver.manifest().package_name.as_str(), s.driver.name())?;
    s.driver
        .check(&s.fixture.config(Database::First))
        .map_err(|mistakes| Failure::wrong(mistakes.to_string()))
}

async fn read_returns_rows(s: &Subject<'_>) -> Outcome {
    let page = s.read("small", json!({})).await?;
    let keys = s.keys("small", &page.rows)?;
    same("keys in order", keys, texts(&["1", "2", "3", "4", "5"]))
}

async fn read_heeds_its_limit(s: &Subject<'_>) -> Outcome {
    same("rows", s.read("small", json!({"limit": 2})).await?.rows.len(), 2)
}

async fn pages_do_not_overlap(s: &Subject<'_>) -> Outcome {
    let first = s.read("small", json!({"limit": 2})).await?;
    same("first page", s.keys("small", &first.rows)?, texts(&["1", "2"]))?;
    let cursor = first.tail.next_cursor.ok_or_else(|| Failure::wrong("the first page has no cursor"))?;
    // A scan that a published runner began must go on here: a single key is plain text.
    same("cursor", cursor.as_str(), s.fixture.cursor("small", "2").as_str())?;
    let second = s.read("small", json!({"limit": 2, "cursor": cursor})).await?;
    same("second page", s.keys("small", &second.rows)?, texts(&["3", "4"]))
}

async fn the_last_page_has_no_cursor(s: &Subject<'_>) -> Outcome {
    for limit in [5, 15] {
        let page = s.read("small", json!({"limit": limit})).await?;
        same("cursor", page.tail.next_cursor, None)?;
        same("rows", page.rows.len(), 5)?;
    }
    let last = s.read("small", json!({"limit": 2, "cursor": s.fixture.cursor("small", "4")})).await?;
    same("cursor", last.tail.next_cursor, None)?;
    same("rows after 4", s.keys("small", &last.rows)?, texts(&["5"]))
}

async fn count_counts_every_row(s: &Subject<'_>) -> Outcome {
    s.close_enough("count of small", s.count("small", json!({})).await?, 5)?;
    s.close_enough("count of facts", s.count("facts", json!({})).await?, 50)?;
    s.close_enough("count of empty", s.count("empty", json!({})).await?, 0)
}

async fn a_closed_bridge_answers_no_more(s: &Subject<'_>) -> Outcome {
    let other = s.connect(Database::First).await?;
    other.test(&s.call()).await?;
    other.close().await;
    // Closing twice is no mistake, and the first bridge does not mind.
    other.close().await;
    same("rows of the other bridge", s.query("small", json!({})).await?.len(), 5)
}

async fn a_key_finds_its_row(s: &Subject<'_>) -> Outcome {
    let rows = s.query("small", json!({"orderBy": {"field": "id"}})).await?;
    let first = rows.first().and_then(|row| row.get("id")).cloned();
    let first = first.ok_or_else(|| Failure::wrong("no first row"))?;
    let found = s.query("small", json!({"where": {"id": first.clone()}})).await?;
    let ids: Vec<Json> = found.into_iter().filter_map(|mut row| row.remove("id")).collect();
    same("ids", ids, vec![first])
}

async fn query_sorts(s: &Subject<'_>) -> Outcome {
    let ascending = s.query("small", json!({"orderBy": {"field": "id", "dir": "asc"}})).await?;
    same("ascending", s.keys("small", &ascending)?, texts(&["1", "2", "3", "4", "5"]))?;
    let two = json!({"orderBy": [{"field": "category", "dir": "desc"}, {"field": "id"}]});
    same("two keys", s.keys("small", &s.query("small", two).await?)?, texts(&["2", "4", "1", "3", "5"]))?;
    let shorthand = json!({"orderBy": {"category": "asc", "id": "desc"}});
    same(
        "shorthand",
        s.keys("small", &s.query("small", shorthand).await?)?,
        texts(&["5", "3", "1", "4", "2"]),
    )
}

async fn limit_and_offset(s: &Subject<'_>) -> Outcome {
    let rows = s.query("small", json!({"orderBy": {"field": "id"}, "limit": 2, "offset": 1})).await?;
    same("rows", s.keys("small", &rows)?, texts(&["2", "3"]))?;
    let page = s.query_page("small", json!({"where": {"category": "a"}, "limit": 1, "total": true})).await?;
    same("rows", page.rows.len(), 1)?;
    let total = page.tail.total.ok_or_else(|| Failure::wrong("no total although it was asked for"))?;
    s.close_enough("total", total, 3)?;
    let beyond = s.query("small", json!({"orderBy": {"field": "id"}, "limit": 2, "offset": 100})).await?;
    same("rows beyond the last", beyond.len(), 0)
}

async fn batch_read_answers(s: &Subject<'_>) -> Outcome {
    same("rows", s.batch_read("small", json!({"where": {"id": 1}})).await?.len(), 1)
}

async fn batch_read_finds_every_key(s: &Subject<'_>) -> Outcome {
    let rows = s.batch_read("small", json!({"where": {"id": {"$in": [3, 1, 2, 2]}}})).await?;
    let mut keys = s.keys("small", &rows)?;
    keys.sort();
    same("keys", keys, texts(&["1", "2", "3"]))
}

async fn batch_read_of_no_keys(s: &Subject<'_>) -> Outcome {
    same("rows", s.batch_read("small", json!({"where": {"id": {"$in": []}}})).await?.len(), 0)
}

async fn impossible_keys_are_dropped(s: &Subject<'_>) -> Outcome {
    let ids = json!([1, "no such key", 2, "99999999999999999999999", 1.5, true, null, ""]);
    let rows =
        s.batch_read("small", json!({"where": {"id": {"$in": ids}}, "orderBy": {"field": "id"}})).await?;
    same("keys", s.keys("small", &rows)?, texts(&["1", "2"]))
}

async fn batch_read_projects(s: &Subject<'_>) -> Outcome {
    let rows = s.batch_read("small", json!({"where": {"id": {"$in": [2]}}, "select": ["id"]})).await?;
    same("keys", s.keys("small", &rows)?, texts(&["2"]))?;
    let all = s.batch_read("small", json!({"where": {"id": {"$in": [2]}}, "select": "*"})).await?;
    let own = usize::from(s.fixture.catalog() != Catalog::Declared);
    same("columns of *", all.first().map(serde_json::Map::len), Some(3 + own))
}

async fn batch_read_heeds_its_limit(s: &Subject<'_>) -> Outcome {
    let options = json!({"where": {"id": {"$in": [1, 2, 3, 4, 5]}}, "orderBy": {"field": "id", "dir": "desc"}, "limit": 2});
    same("keys", s.keys("small", &s.batch_read("small", options).await?)?, texts(&["5", "4"]))
}

async fn count_of_an_empty_filter(s: &Subject<'_>) -> Outcome {
    s.close_enough("count", s.count("small", json!({"where": {}})).await?, 5)
}

async fn finds_small(s: &Subject<'_>, filter: Json, expected: usize) -> Outcome {
    let found = s.finds("small", filter).await?;
    ensure(found == expected, || format!("found {found} rows, the specification says {expected}"))
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
