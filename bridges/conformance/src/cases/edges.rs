//! Cases that each guard against a defect of the published bridges (5E).

use serde_json::{Value as Json, json};

use super::aggregates::{measured, top_counts, total};
use super::basics::texts;
use super::{
    AGGREGATE, AND, CHANGED_SINCE, CONTAINS, COUNT, CURSOR, Case, DISTINCT, ENDS_WITH, GROUP_BY, HAVING,
    ILIKE, LIKE, NOT, NUMERIC, Need, OR, PERCENTILE, STARTS_WITH, SUM, TOP_K,
};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::fixture::{Catalog, Database, Offer};
use crate::subject::{Subject, collect};

pub(super) const CASES: &[Case] = &[
    case("E1", "$not takes all of its fields and operators", &[NOT], |s| Box::pin(not_takes_all(s))),
    case("E2", "a field that asks nothing vanishes", &[], |s| Box::pin(what_asks_nothing_vanishes(s))),
    case("E2-or", "empty logical operators vanish", &[OR, AND, NOT], |s| Box::pin(empty_logic_vanishes(s))),
    case("E3", "a scan over a key of several columns returns every row once", &[CURSOR], |s| {
        Box::pin(scans(s, "pairs", 12))
    }),
    case("E4", "a projection without the key still pages", &[CURSOR], |s| {
        Box::pin(projection_without_key(s))
    }),
    case("E5", "limit 0 is no row", &[CURSOR], |s| Box::pin(limit_0(s))),
    case("E6", "a role that may only read can read", &[CURSOR], |s| Box::pin(least_privilege(s))),
    case("E7-timestamp", "a key of instants pages", &[CURSOR], |s| Box::pin(scans(s, "by_timestamp", 8))),
    case("E7-uuid", "a key of uuids pages", &[CURSOR], |s| Box::pin(scans(s, "by_uuid", 9))),
    case("E7-bytes", "a key of bytes pages", &[CURSOR], |s| Box::pin(scans(s, "by_bytes", 7))),
    case("E7-text", "a key of hostile text pages", &[CURSOR], |s| Box::pin(scans(s, "by_text", 21))),
    case("E7-bigint", "a key beyond doubles pages", &[CURSOR], |s| Box::pin(scans(s, "by_big_integer", 8))),
    case("E7-find", "each such key finds its row", &[], |s| Box::pin(each_key_finds_its_row(s))),
    case("E8-contains", "$contains takes its operand literally", &[CONTAINS], |s| {
        Box::pin(literal(s, "$contains"))
    }),
    case("E8-startsWith", "$startsWith takes its operand literally", &[STARTS_WITH], |s| {
        Box::pin(literal(s, "$startsWith"))
    }),
    case("E8-endsWith", "$endsWith takes its operand literally", &[ENDS_WITH], |s| {
        Box::pin(literal(s, "$endsWith"))
    }),
    case("E8-ilike", "$ilike knows %, _ and escapes", &[ILIKE], |s| Box::pin(patterns(s, "$ilike"))),
    case("E8-like", "$like heeds case", &[LIKE], |s| Box::pin(patterns(s, "$like"))),
    case("E8-not", "negated string operators leave nulls out", &[NOT, CONTAINS], |s| {
        Box::pin(negated_text(s))
    }),
    case("E9-null", "aggregate filters know null", &[COUNT], |s| Box::pin(aggregate_null(s))),
    case("E9-text", "aggregate filters know string operators", &[COUNT, CONTAINS], |s| {
        Box::pin(aggregate_text(s))
    }),
    case("E9-empty", "aggregate filters know empty lists", &[COUNT], |s| Box::pin(aggregate_empty_lists(s))),
    case("E9-logic", "aggregate filters know logic", &[COUNT, OR, NOT], |s| Box::pin(aggregate_logic(s))),
    case("E11", "having works on a measure with its own filter", &[GROUP_BY, SUM, HAVING], |s| {
        Box::pin(having_on_filtered_measures(s))
    }),
    case("E12-ids", "top_k heeds ids", &[GROUP_BY, TOP_K], |s| Box::pin(top_k_heeds_ids(s))),
    case("E12-breaks", "top_k heeds breaks", &[GROUP_BY, TOP_K, NUMERIC], |s| {
        Box::pin(top_k_heeds_breaks(s))
    }),
    case("E12-spaces", "top_k keeps values with spaces apart", &[TOP_K], |s| Box::pin(top_k_keeps_spaces(s))),
    case("E12-filter", "top_k heeds filters", &[TOP_K], |s| Box::pin(top_k_heeds_filters(s))),
    case("E13", "values round-trip", &[], |s| Box::pin(values_round_trip(s))),
    case("E13-null", "nulls round-trip", &[], |s| Box::pin(nulls_round_trip(s))),
    case("E14", "nothing grouped over no rows is one bucket", &[COUNT, SUM, DISTINCT], |s| {
        Box::pin(zero_rows(s))
    }),
    case("E14-percentile", "a percentile of nothing is null", &[PERCENTILE], |s| {
        Box::pin(percentile_of_nothing(s))
    }),
    case("E17", "two sources never mix", &[], |s| Box::pin(two_sources(s))),
    case("E18", "a qualified name is its table", &[CURSOR], |s| Box::pin(qualified_names(s))),
    case("E18-aggregate", "a qualified name aggregates", &[COUNT], |s| Box::pin(qualified_aggregate(s))),
    case("E19", "offset works without limit", &[], |s| Box::pin(offset_without_limit(s))),
    case("E21", "changedSince returns only newer rows", &[CURSOR, CHANGED_SINCE], |s| {
        Box::pin(changed_since(s))
    }),
    case("E22", "ids restrict an aggregate by the real key", &[AGGREGATE, SUM], |s| {
        Box::pin(ids_restrict(s))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "edges", title, needs, run }
}

async fn not_takes_all(s: &Subject<'_>) -> Outcome {
    s.finds("small", json!({"$not": {"id": {"$gte": 2, "$lt": 4}}})).await?;
    s.finds("small", json!({"$not": {"category": "a", "name": "Alpha"}})).await?;
    s.finds("facts", json!({"$not": {"cuisine": "italian", "rating": {"$gt": 2}}})).await.map(|_| ())
}

async fn what_asks_nothing_vanishes(s: &Subject<'_>) -> Outcome {
    same("rows", s.finds("small", json!({"name": {}, "id": 2})).await?, 1)?;
    same("rows", s.finds("small", json!({"name": {}})).await?, 5)
}

async fn empty_logic_vanishes(s: &Subject<'_>) -> Outcome {
    for filter in
        [json!({"$or": []}), json!({"$and": [{}]}), json!({"$not": {}}), json!({"$or": [{}, {"name": {}}]})]
    {
        same("rows", s.finds("small", filter).await?, 5)?;
    }
    same("rows", s.finds("small", json!({"$or": [], "$not": {}, "id": 2})).await?, 1)
}

/// Reads the table in pages of 1, 2 and 5: every row once, in one order whatever the page size.
async fn scans(s: &Subject<'_>, table: &str, rows: usize) -> Outcome {
    let whole = s.keys(table, &s.read(table, json!({"limit": 1_000})).await?.rows)?;
    for limit in [1, 2, 5] {
        same(&format!("keys in pages of {limit}"), pages(s, table, limit).await?, whole.clone())?;
    }
    let mut sorted = whole;
    sorted.sort();
    same("keys", sorted.len(), rows)?;
    same("keys", sorted, s.expected_keys(table, &json!({}))?)
}

async fn pages(s: &Subject<'_>, table: &str, limit: usize) -> Outcome<Vec<String>> {
    let mut keys = Vec::new();
    let mut cursor = None;
    // More pages than rows would be pages that do not end.
    for _ in 0..100 {
        let page = s.read(table, json!({"limit": limit, "cursor": cursor})).await?;
        ensure(page.rows.len() <= limit, || format!("a page of {limit} has {} rows", page.rows.len()))?;
        keys.extend(s.keys(table, &page.rows)?);
        match page.tail.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(keys),
        }
    }
    Err(Failure::wrong(format!("the scan does not end; so far: {keys:?}")))
}

async fn projection_without_key(s: &Subject<'_>) -> Outcome {
    let first = s.read("pairs", json!({"limit": 7, "fields": ["note"]})).await?;
    let second =
        s.read("pairs", json!({"limit": 7, "fields": ["note"], "cursor": first.tail.next_cursor})).await?;
    same("rows", (first.rows.len(), second.rows.len()), (7, 5))?;
    let mut notes = Vec::new();
    for row in first.rows.iter().chain(&second.rows) {
        same("columns", row.keys().map(String::as_str).collect(), vec!["note"])?;
        notes.push(row.get("note").and_then(Json::as_str).unwrap_or_default().to_owned());
    }
    notes.sort();
    notes.dedup();
    same("different notes", notes.len(), 12)?;
    same("the last cursor", second.tail.next_cursor, None)
}

async fn limit_0(s: &Subject<'_>) -> Outcome {
    same("rows of read", s.read("small", json!({"limit": 0})).await?.rows.len(), 0)?;
    same("rows of query", s.query("small", json!({"limit": 0})).await?.len(), 0)?;
    same("rows of read on nothing", s.read("empty", json!({"limit": 0})).await?.rows.len(), 0)
}

async fn least_privilege(s: &Subject<'_>) -> Outcome {
    let config = given(s.fixture.least_privilege())?;
    let bridge = s.driver.connect(&config, &s.call()).await?;
    let call = s.call();
    let options = protocol::ReadOptions { limit: 5, ..protocol::ReadOptions::default() };
    let (first, tail) =
        collect(bridge.read(&call, &s.fixture.target("pairs"), options.clone()).await?).await?;
    same("rows", first.len(), 5)?;
    let next = protocol::ReadOptions { limit: 100, cursor: tail.next_cursor, ..options };
    let (rest, _) = collect(bridge.read(&call, &s.fixture.target("pairs"), next).await?).await?;
    same("rows after them", rest.len(), 7)?;
    let schema = bridge.introspect_target(&call, &s.fixture.target("small")).await?;
    let keys: Vec<&str> = schema
        .columns
        .iter()
        .filter(|column| column.primary_key)
        .map(|column| column.name.as_str())
        .collect();
    let expected = match s.fixture.catalog() {
        Catalog::Declared => "id",
        Catalog::Rows { key } => key,
    };
    same("primary key", keys, vec![expected])?;
    bridge.close().await;
    Ok(())
}

pub(super) fn given<T>(offer: Offer<T>) -> Outcome<T> {
    match offer {
        Offer::Given(given) => Ok(given),
        Offer::Impossible(reason) => Err(Failure::Impossible(reason)),
    }
}

async fn each_key_finds_its_row(s: &Subject<'_>) -> Outcome {
    for table in ["by_timestamp", "by_uuid", "by_bytes", "by_text", "by_big_integer"] {
        let rows = s.query(table, json!({})).await?;
        for row in &rows {
            let key = row.get("key").cloned().unwrap_or(Json::Null);
            same(
                &format!("rows of {table} where key is {key}"),
                s.finds(table, json!({"key": key})).await?,
                1,
            )?;
        }
        let keys: Vec<Json> = rows.iter().filter_map(|row| row.get("key").cloned()).collect();
        same("rows by all keys", s.finds(table, json!({"key": {"$in": keys}})).await?, rows.len())?;
    }
    Ok(())
}

async fn literal(s: &Subject<'_>, op: &str) -> Outcome {
    let operands = [
        "%", "_", "\\", "'", "[", "]", "50%", "a_c", "a\\b", "b]c", "\"", "!", "^", "#", "ÜNÏ", "ünï", "日",
        "🦀", "\n", "", " ", "null", "a", "\\\\", "%b_c\\",
    ];
    for operand in operands {
        s.finds("texts", json!({"value": {op: operand}})).await?;
    }
    // No text, no row.
    for operand in [json!(5), json!(null), json!(["a"]), json!(true)] {
        same("rows", s.finds("texts", json!({"value": {op: operand}})).await?, 0)?;
    }
    Ok(())
}

async fn patterns(s: &Subject<'_>, op: &str) -> Outcome {
    let patterns = [
        "a%", "A%", "%C", "a_c", "a\\_c", "50\\%", "50%", "%\\%%", "a\\\\b", "%[%", "_", "__", "%", "",
        "%b]c", "%'%", "ün_", "ÜNÏ", "%\n%", "日__", "🦀%", "!%", "\\_", "%\\\\%",
    ];
    for pattern in patterns {
        s.finds("texts", json!({"value": {op: pattern}})).await?;
    }
    Ok(())
}

async fn negated_text(s: &Subject<'_>) -> Outcome {
    s.finds("texts", json!({"$not": {"value": {"$contains": "a"}}})).await?;
    s.finds("texts", json!({"$not": {"value": {"$contains": 5}}})).await.map(|_| ())
}

async fn counts(s: &Subject<'_>, filter: Json) -> Outcome<u64> {
    let by_candidates =
        s.reduces("facts", json!({"candidatesWhere": filter, "measures": {"n": {"agg": "count"}}})).await?;
    let by_measure =
        s.reduces("facts", json!({"measures": {"n": {"agg": "count", "where": filter}}})).await?;
    let rows = by_measure.first().and_then(|bucket| measured(bucket, "n").as_u64()).unwrap_or(u64::MAX);
    same(&format!("rows counted where {filter}"), total(&by_candidates), rows)?;
    Ok(rows)
}

async fn aggregate_null(s: &Subject<'_>) -> Outcome {
    same("rows", counts(s, json!({"cuisine": null})).await?, 1)?;
    same("rows", counts(s, json!({"cuisine": {"$ne": null}})).await?, 49)?;
    same("rows", counts(s, json!({"cuisine": {"$ne": "italian"}})).await?, 32)
}

async fn aggregate_text(s: &Subject<'_>) -> Outcome {
    same("rows", counts(s, json!({"cuisine": {"$contains": "ITAL"}})).await?, 17)
}

async fn aggregate_empty_lists(s: &Subject<'_>) -> Outcome {
    same("rows", counts(s, json!({"country": {"$in": []}})).await?, 0)?;
    same("rows", counts(s, json!({"country": {"$nin": []}})).await?, 50)?;
    same("rows", counts(s, json!({"country": ["US", "JP"]})).await?, 34)
}

async fn aggregate_logic(s: &Subject<'_>) -> Outcome {
    let filter = json!({"$or": [{"country": "US"}, {"$not": {"rating": {"$gt": 1}, "status": "published"}}]});
    counts(s, filter).await?;
    same("rows", counts(s, json!({"$or": []})).await?, 50)
}

async fn having_on_filtered_measures(s: &Subject<'_>) -> Outcome {
    let options = json!({
        "candidatesWhere": {"id": {"$gt": 3}},
        "dimensions": [{"field": "country"}],
        "measures": {
            "drafts": {"agg": "sum", "column": "views", "where": {"status": "draft", "rating": {"$lte": 4}}},
            "all": {"agg": "sum", "column": "views"},
        },
        "having": {"drafts": {"$gt": 1_000, "$lt": 1_000_000}, "all": {"$gte": 1}},
    });
    s.reduces("facts", options).await.map(|_| ())
}

/// Each bucket's `top` has the counts that the oracle has.
async fn same_top_counts(s: &Subject<'_>, table: &str, options: Json) -> Outcome {
    let mut tops = Vec::new();
    for buckets in [s.aggregate(table, options.clone()).await?, s.expected_buckets(table, &options)?] {
        let top = |bucket: &crate::Row| {
            let counts = top_counts(measured(bucket, "top"))?;
            Ok(format!("{} {:?} {counts:?}", bucket["dims"], bucket["count"].as_u64()))
        };
        let mut texts = buckets.iter().map(top).collect::<Outcome<Vec<String>>>()?;
        texts.sort();
        tops.push(texts);
    }
    let expected = tops.pop().unwrap_or_default();
    same(&format!("top_k of {table} by {options}"), tops.pop().unwrap_or_default(), expected)
}

fn top(column: &str, k: u32) -> Json {
    json!({"top": {"agg": "top_k", "column": column, "k": k}})
}

async fn top_k_heeds_ids(s: &Subject<'_>) -> Outcome {
    let ids: Vec<u32> = (1..=20).collect();
    let options = json!({"ids": ids, "dimensions": [{"field": "cuisine"}], "measures": top("status", 5)});
    same_top_counts(s, "facts", options).await
}

async fn top_k_heeds_breaks(s: &Subject<'_>) -> Outcome {
    let bucket = json!({"type": "numeric", "breaks": [0, 30, 60, 120]});
    let options = json!({"dimensions": [{"field": "prepTime", "bucket": bucket}, {"field": "cuisine"}], "measures": top("country", 3)});
    same_top_counts(s, "facts", options).await
}

async fn top_k_keeps_spaces(s: &Subject<'_>) -> Outcome {
    same_top_counts(s, "texts", json!({"measures": top("value", 100)})).await?;
    let grouped = json!({"dimensions": [{"field": "value"}, {"field": "id"}], "measures": top("value", 2)});
    same_top_counts(s, "texts", grouped).await
}

async fn top_k_heeds_filters(s: &Subject<'_>) -> Outcome {
    let options = json!({
        "candidatesWhere": {"rating": {"$gte": 2}},
        "measures": {"top": {"agg": "top_k", "column": "country", "k": 3, "where": {"status": "draft"}}},
    });
    same_top_counts(s, "facts", options).await?;
    let none = json!({"candidatesWhere": {"id": -1}, "measures": top("country", 3)});
    same_top_counts(s, "facts", none).await
}

async fn values_round_trip(s: &Subject<'_>) -> Outcome {
    let table = s.table("wide")?;
    let rows = s.query("wide", json!({"where": {"id": {"$lte": 3}}, "orderBy": {"field": "id"}})).await?;
    same("rows", rows.len(), 3)?;
    for (seeded, given) in table.rows().zip(&rows) {
        for (column, value) in table.columns.iter().zip(&seeded) {
            let given = given.get(column.name).unwrap_or(&Json::Null);
            crate::wire::compare(column.kind, value, given, s.decimals())
                .map_err(|message| Failure::wrong(format!("{}: {message}", column.name)))?;
        }
        let names = s.columns(table);
        let mut got: Vec<&str> =
            rows.first().map(|row| row.keys().map(String::as_str).collect()).unwrap_or_default();
        got.sort_unstable();
        let mut expected = names;
        expected.sort_unstable();
        same("columns", got, expected)?;
    }
    Ok(())
}

async fn nulls_round_trip(s: &Subject<'_>) -> Outcome {
    let rows = s.query("wide", json!({"where": {"id": 4}})).await?;
    let [row] = rows.as_slice() else { return Err(Failure::wrong("expected one row")) };
    for column in s.table("wide")?.columns.iter().filter(|column| column.nullable) {
        same(column.name, row.get(column.name), Some(&Json::Null))?;
        same("rows where it is null", s.finds("wide", json!({column.name: null})).await?, 1)?;
        same("rows where it is not", s.finds("wide", json!({column.name: {"$ne": null}})).await?, 3)?;
    }
    Ok(())
}

async fn zero_rows(s: &Subject<'_>) -> Outcome {
    let measures = json!({"n": {"agg": "count"}, "sum": {"agg": "sum", "column": "value"},
        "distinct": {"agg": "count_distinct", "column": "value"}});
    let found = s.reduces("empty", json!({ "measures": measures })).await?;
    let [bucket] = found.as_slice() else { return Err(Failure::wrong("expected one bucket")) };
    same("count", total(&found), 0)?;
    same("sum", measured(bucket, "sum"), &Json::Null)?;
    let filtered = json!({"measures": {"sum": {"agg": "sum", "column": "views", "where": {"id": -1}}}});
    let found = s.reduces("facts", filtered).await?;
    same("sum of nothing", found.first().map(|bucket| measured(bucket, "sum")), Some(&Json::Null))
}

async fn percentile_of_nothing(s: &Subject<'_>) -> Outcome {
    let options = json!({"measures": {"p": {"agg": "percentile", "column": "value", "p": 0.5}}});
    let found = s.reduces("empty", options).await?;
    same("percentile", found.first().map(|bucket| measured(bucket, "p")), Some(&Json::Null))
}

async fn two_sources(s: &Subject<'_>) -> Outcome {
    let second = s.connect(Database::Second).await?;
    let target = s.fixture.target("small");
    let call = s.call();
    let ordered = || protocol::QueryOptions {
        order_by: vec![protocol::OrderBy {
            field: "id".to_owned(),
            direction: protocol::Direction::Ascending,
        }],
        ..protocol::QueryOptions::default()
    };
    let names = |rows: &[Json]| -> Vec<String> {
        rows.iter().filter_map(|row| Some(row.get("name")?.as_str()?.to_owned())).collect()
    };
    // Turn about, so that a shared connection would show.
    for _ in 0..3 {
        let (first_rows, _) = collect(s.bridge.query(&call, &target, ordered()).await?).await?;
        let (second_rows, _) = collect(second.query(&call, &target, ordered()).await?).await?;
        same(
            "names in the first",
            names(&first_rows),
            texts(&["Alpha", "Beta", "Gamma", "Delta", "Epsilon"]),
        )?;
        same("names in the second", names(&second_rows), texts(&["Zulu", "Yankee", "Xray"]))?;
    }
    second.close().await;
    same("rows of the first after the second has closed", s.query("small", json!({})).await?.len(), 5)
}

async fn qualified_names(s: &Subject<'_>) -> Outcome {
    let target = given(s.fixture.qualified_target("pairs"))?;
    let call = s.call();
    let (rows, _) = collect(s.bridge.query(&call, &target, protocol::QueryOptions::default()).await?).await?;
    same("rows of query", rows.len(), 12)?;
    let options = protocol::ReadOptions { limit: 5, ..protocol::ReadOptions::default() };
    let (rows, tail) = collect(s.bridge.read(&call, &target, options).await?).await?;
    same("rows of read", rows.len(), 5)?;
    ensure(tail.next_cursor.is_some(), || "no cursor".to_owned())?;
    let schema = s.bridge.introspect_target(&call, &target).await?;
    same("columns", schema.columns.len(), 3)
}

async fn qualified_aggregate(s: &Subject<'_>) -> Outcome {
    let target = given(s.fixture.qualified_target("pairs"))?;
    let stream = s.bridge.aggregate(&s.call(), &target, protocol::AggregateOptions::default()).await?;
    let (rows, _) = collect(stream).await?;
    same("count", rows.first().and_then(|row| row.get("count")?.as_u64()), Some(12))
}

async fn offset_without_limit(s: &Subject<'_>) -> Outcome {
    let rows = s.query("small", json!({"orderBy": {"field": "id"}, "offset": 3})).await?;
    same("keys", s.keys("small", &rows)?, texts(&["4", "5"]))
}

async fn changed_since(s: &Subject<'_>) -> Outcome {
    let since = "2026-03-10T12:00:00.000Z";
    let expected = s.expected_keys("facts", &json!({"createdAt": {"$gt": since}}))?;
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let options =
            json!({"limit": 5, "changedSince": since, "changeTrackingColumn": "createdAt", "cursor": cursor});
        let page = s.read("facts", options).await?;
        keys.extend(s.keys("facts", &page.rows)?);
        match page.tail.next_cursor {
            Some(next) if keys.len() <= 50 => cursor = Some(next),
            _ => break,
        }
    }
    keys.sort();
    same("keys", keys, expected)?;
    // The default column does not exist here: then everything has changed.
    let page = s.read("small", json!({"changedSince": since})).await?;
    same("rows of a table without a tracking column", page.rows.len(), 5)
}

async fn ids_restrict(s: &Subject<'_>) -> Outcome {
    let measures = json!({"n": {"agg": "sum", "column": "n"}});
    let rows = s.query("by_text", json!({"where": {"n": {"$lte": 4}}})).await?;
    let ids: Vec<Json> = rows.iter().filter_map(|row| row.get("key").cloned()).collect();
    let found = s.reduces("by_text", json!({"ids": ids, "measures": measures})).await?;
    same("sum", found.first().and_then(|bucket| measured(bucket, "n").as_i64()), Some(10))?;
    let none = s
        .reduces(
            "facts",
            json!({"ids": ["no such id"], "measures": {"v": {"agg": "sum", "column": "views"}}}),
        )
        .await?;
    same("rows", total(&none), 0)
}
