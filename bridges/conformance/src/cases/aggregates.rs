//! The published aggregate suite without its joins (5B). Each answer is compared with the reducer's, and with the literal
//! numbers where the specification states them.

use serde_json::{Value as Json, json};

use super::{
    AGGREGATE, AVG, COUNT, Case, DISTINCT, GEOHASH, GROUP_BY, H3, HAVING, MIN_MAX, NUMERIC, Need,
    ORDER_LIMIT, PERCENTILE, SAMPLING, SUM, TIME, TOP_K,
};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::{Subject, with};
use crate::wire::Row;

pub(super) const CASES: &[Case] = &[
    case("5B-1", "one dimension groups", &[GROUP_BY], |s| Box::pin(buckets(s, dims(&["cuisine"]), 3, 49))),
    case("5B-2", "two dimensions group", &[GROUP_BY], |s| {
        Box::pin(buckets(s, dims(&["cuisine", "country"]), 3, 49))
    }),
    case("5B-3", "a dimension takes another name", &[GROUP_BY], |s| Box::pin(a_dimension_is_renamed(s))),
    case("5B-4", "a row without a dimension is in no bucket", &[GROUP_BY], |s| {
        Box::pin(nulls_are_dropped(s))
    }),
    case("5B-5", "days", &[GROUP_BY, TIME], |s| Box::pin(calendar(s, "day", "0000-00-00", 36))),
    case("5B-6", "months", &[GROUP_BY, TIME], |s| Box::pin(calendar(s, "month", "0000-00", 4))),
    case("5B-7", "ISO weeks", &[GROUP_BY, TIME], |s| Box::pin(calendar(s, "week", "0000-W00", 17))),
    case("5B-9", "steps", &[GROUP_BY, NUMERIC], |s| Box::pin(steps(s))),
    case("5B-10", "breaks", &[GROUP_BY, NUMERIC], |s| Box::pin(breaks(s))),
    case("5B-11", "values outside of all breaks are dropped", &[GROUP_BY, NUMERIC], |s| {
        Box::pin(breaks_drop_the_rest(s))
    }),
    case("5B-12", "count without dimensions", &[COUNT], |s| {
        Box::pin(measure(s, json!({"agg": "count"}), json!(50)))
    }),
    case("5B-13", "sum", &[SUM], |s| {
        Box::pin(measure(s, json!({"agg": "sum", "column": "views"}), json!(16_625)))
    }),
    case("5B-14", "avg", &[AVG], |s| {
        Box::pin(measure(s, json!({"agg": "avg", "column": "rating"}), json!(3)))
    }),
    case("5B-15", "min and max", &[MIN_MAX], |s| Box::pin(min_and_max(s))),
    case("5B-16", "count_distinct", &[DISTINCT], |s| {
        Box::pin(measure(s, json!({"agg": "count_distinct", "column": "country"}), json!(3)))
    }),
    case("5B-18", "percentile, interpolated", &[PERCENTILE], |s| Box::pin(percentile(s))),
    case("5B-20", "top_k", &[TOP_K], |s| Box::pin(top_k(s))),
    case("5B-22", "a measure has its own filter", &[SUM], |s| {
        let published = json!({"agg": "sum", "column": "views", "where": {"status": "published"}});
        Box::pin(measure(s, published, json!(12_387)))
    }),
    case("5B-23", "candidatesWhere filters before grouping", &[COUNT], |s| Box::pin(candidates(s))),
    case("5B-24", "having filters buckets", &[GROUP_BY, HAVING], |s| Box::pin(having(s))),
    case("5B-25", "sort and limit of buckets", &[GROUP_BY, ORDER_LIMIT], |s| Box::pin(sort_and_limit(s))),
    case("5B-26", "a sample is a part", &[SAMPLING, COUNT], |s| Box::pin(sample(s))),
    case("5B-28", "an aggregate streams", &[GROUP_BY], |s| Box::pin(an_aggregate_streams(s))),
    case("5B-29", "no row, no bucket", &[GROUP_BY], |s| Box::pin(no_row_no_bucket(s))),
    case("5B-30", "buckets sort by count", &[GROUP_BY, ORDER_LIMIT], |s| Box::pin(buckets_sort_by_count(s))),
    case("5B-37", "geohash cells", &[GROUP_BY, GEOHASH], |s| Box::pin(geohash_cells(s))),
    case("5B-38", "finer geohash cells are more", &[GROUP_BY, GEOHASH], |s| Box::pin(finer_geohash_cells(s))),
    case("5B-39", "measures over geohash cells", &[GROUP_BY, GEOHASH, COUNT], |s| {
        Box::pin(measured_cells(s, geohash(6)))
    }),
    case("5B-40", "H3 cells", &[GROUP_BY, H3], |s| Box::pin(h3_cells(s))),
    case("5B-41", "finer H3 cells are more", &[GROUP_BY, H3], |s| Box::pin(finer_h3_cells(s))),
    case("5B-42", "measures over H3 cells", &[GROUP_BY, H3, COUNT], |s| Box::pin(measured_cells(s, h3(8)))),
    case("5B-x1", "every calendar unit", &[GROUP_BY, TIME], |s| Box::pin(every_calendar_unit(s))),
    case("5B-x2", "first and last go by the tracking column", &[AGGREGATE], |s| Box::pin(first_and_last(s))),
    case("5B-x5", "min and max of instants and text are values", &[MIN_MAX], |s| {
        Box::pin(extremes_of_others(s))
    }),
    case("5B-x3", "rate is the sum", &[SUM], |s| {
        Box::pin(measure(s, json!({"agg": "rate", "column": "views"}), json!(16_625)))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "aggregate", title, needs, run }
}

pub(super) fn dims(fields: &[&str]) -> Json {
    let dimension = |field: &&str| json!({ "field": field });
    json!({ "dimensions": fields.iter().map(dimension).collect::<Vec<_>>() })
}

fn bucketed(field: &str, bucket: Json) -> Json {
    json!({"dimensions": [{"field": field, "bucket": bucket}]})
}

fn geohash(precision: u8) -> Json {
    let bucket = json!({"type": "geohash", "precision": precision, "latField": "lat", "lngField": "lng"});
    json!({"dimensions": [{"field": "lat", "as": "cell", "bucket": bucket}]})
}

fn h3(resolution: u8) -> Json {
    let bucket = json!({"type": "h3", "resolution": resolution, "latField": "lat", "lngField": "lng"});
    json!({"dimensions": [{"field": "lat", "as": "cell", "bucket": bucket}]})
}

/// The rows of all buckets.
pub(super) fn total(buckets: &[Row]) -> u64 {
    buckets.iter().filter_map(|bucket| bucket.get("count")?.as_u64()).sum()
}

/// The text of a dimension in each bucket.
fn labels(buckets: &[Row], dimension: &str) -> Vec<String> {
    let label = |bucket: &Row| Some(bucket.get("dims")?.get(dimension)?.as_str()?.to_owned());
    buckets.iter().filter_map(label).collect()
}

pub(super) fn measured<'a>(bucket: &'a Row, name: &str) -> &'a Json {
    bucket.get("measures").and_then(|measures| measures.get(name)).unwrap_or(&Json::Null)
}

async fn buckets(s: &Subject<'_>, options: Json, expected: usize, rows: u64) -> Outcome {
    let found = s.reduces("facts", options).await?;
    same("buckets and their rows", (found.len(), total(&found)), (expected, rows))
}

async fn measure(s: &Subject<'_>, measure: Json, expected: Json) -> Outcome {
    let found = s.reduces("facts", json!({"measures": {"m": measure}})).await?;
    let [bucket] = found.as_slice() else { return Err(Failure::wrong("expected one bucket")) };
    let (got, expected) = (measured(bucket, "m").as_f64(), expected.as_f64());
    let close = got.zip(expected).is_some_and(|(got, expected)| (got - expected).abs() < 1e-9);
    ensure(close, || format!("a number: got {got:?}, expected {expected:?}"))
}

async fn a_dimension_is_renamed(s: &Subject<'_>) -> Outcome {
    let found = s.reduces("facts", json!({"dimensions": [{"field": "cuisine", "as": "group by"}]})).await?;
    same("labels", labels(&found, "group by").len(), 3)?;
    same("labels under the old name", labels(&found, "cuisine").len(), 0)
}

async fn nulls_are_dropped(s: &Subject<'_>) -> Outcome {
    let found = s.reduces("facts", dims(&["cuisine"])).await?;
    same("rows", total(&found), 49)?;
    let with_null =
        found.iter().any(|bucket| bucket.get("dims").is_some_and(|dims| dims["cuisine"].is_null()));
    ensure(!with_null, || "a bucket has a null dimension".to_owned())
}

/// `shape` has a 0 for each digit.
async fn calendar(s: &Subject<'_>, unit: &str, shape: &str, expected: usize) -> Outcome {
    let found = s.reduces("facts", bucketed("createdAt", json!(unit))).await?;
    let labels = labels(&found, "createdAt");
    let digits_to_0 = |label: &String| {
        label.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect::<String>()
    };
    let other = labels.iter().find(|label| digits_to_0(label) != shape);
    ensure(other.is_none(), || format!("a label is not like {shape}: {other:?}"))?;
    same("buckets and their rows", (labels.len(), total(&found)), (expected, 50))
}

async fn every_calendar_unit(s: &Subject<'_>) -> Outcome {
    for unit in ["minute", "hour", "day", "week", "month", "quarter", "year"] {
        s.reduces("facts", bucketed("createdAt", json!(unit))).await?;
        // Instants with microseconds, before 1970 and on a leap day; naive ones and dates.
        s.reduces("wide", bucketed("moment", json!(unit))).await?;
        s.reduces("wide", bucketed("wall", json!(unit))).await?;
        s.reduces("wide", bucketed("day", json!(unit))).await?;
    }
    Ok(())
}

async fn steps(s: &Subject<'_>) -> Outcome {
    let found = s.reduces("facts", bucketed("prepTime", json!({"type": "numeric", "step": 30}))).await?;
    let mut labels = labels(&found, "prepTime");
    labels.sort();
    same("labels", labels, super::basics::texts(&["0..30", "30..60", "60..90", "90..120", "990..1020"]))?;
    s.reduces("places", bucketed("lng", json!({"type": "numeric", "step": 12.5}))).await.map(|_| ())
}

async fn breaks(s: &Subject<'_>) -> Outcome {
    let found = s
        .reduces("facts", bucketed("prepTime", json!({"type": "numeric", "breaks": [0, 30, 60, 120]})))
        .await?;
    same("rows", total(&found), 49)
}

async fn breaks_drop_the_rest(s: &Subject<'_>) -> Outcome {
    // 5 and 12 are values of the seed: a lower bound is inside, an upper one is not.
    let found = s
        .reduces("facts", bucketed("prepTime", json!({"type": "numeric", "breaks": [5, 12, 110.5]})))
        .await?;
    let labels = labels(&found, "prepTime");
    ensure(!labels.iter().any(|label| label.contains("999")), || format!("{labels:?}"))?;
    s.reduces("facts", bucketed("prepTime", json!({"type": "numeric", "breaks": [12, 999]})))
        .await
        .map(|_| ())
}

async fn min_and_max(s: &Subject<'_>) -> Outcome {
    measure(s, json!({"agg": "min", "column": "rating"}), json!(1)).await?;
    measure(s, json!({"agg": "max", "column": "rating"}), json!(5)).await
}

async fn extremes_of_others(s: &Subject<'_>) -> Outcome {
    let options = json!({"dimensions": [], "measures": {
        "earliest": {"agg": "min", "column": "createdAt"}, "latest": {"agg": "max", "column": "createdAt"},
        "first": {"agg": "min", "column": "cuisine"}, "last": {"agg": "max", "column": "cuisine"}}});
    s.reduces("facts", options).await.map(|_| ())
}

async fn percentile(s: &Subject<'_>) -> Outcome {
    measure(s, json!({"agg": "percentile", "column": "rating", "p": 0.5}), json!(3)).await?;
    for p in [0.01, 0.25, 0.95] {
        let options = json!({"dimensions": [{"field": "country"}],
            "measures": {"m": {"agg": "percentile", "column": "views", "p": p}}});
        s.reduces("facts", options).await?;
    }
    Ok(())
}

async fn top_k(s: &Subject<'_>) -> Outcome {
    let options = json!({"measures": {"top": {"agg": "top_k", "column": "country", "k": 2}}});
    let found = s.aggregate("facts", options).await?;
    let [bucket] = found.as_slice() else { return Err(Failure::wrong("expected one bucket")) };
    same("counts", top_counts(measured(bucket, "top"))?, vec![17, 17])
}

/// The counts of a `top_k`, which must not increase, with keys that are text and distinct.
pub(super) fn top_counts(top: &Json) -> Outcome<Vec<u64>> {
    let entries = top.as_array().ok_or_else(|| Failure::wrong(format!("top_k is a list, not {top}")))?;
    let counts: Vec<u64> = entries.iter().filter_map(|entry| entry.get("count")?.as_u64()).collect();
    let mut keys: Vec<&str> = entries.iter().filter_map(|entry| entry.get("key")?.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let good =
        counts.len() == entries.len() && keys.len() == entries.len() && counts.is_sorted_by(|a, b| a >= b);
    ensure(good, || format!("not a list of {{key, count}} with falling counts: {top}"))?;
    Ok(counts)
}

async fn candidates(s: &Subject<'_>) -> Outcome {
    let options = json!({"candidatesWhere": {"status": "published"}, "measures": {"n": {"agg": "count"}}});
    let found = s.reduces("facts", options).await?;
    same("rows", total(&found), 37)
}

async fn having(s: &Subject<'_>) -> Outcome {
    let options =
        json!({"dimensions": [{"field": "cuisine"}, {"field": "rating"}], "having": {"count": {"$gte": 4}}});
    let found = s.reduces("facts", options).await?;
    ensure(!found.is_empty(), || "no bucket of at least four rows".to_owned())
}

async fn sort_and_limit(s: &Subject<'_>) -> Outcome {
    let options = json!({"dimensions": [{"field": "rating"}], "measures": {"views": {"agg": "sum", "column": "views"}},
        "sort": [{"key": "views", "dir": "desc"}], "limit": 2});
    same("buckets", s.reduces("facts", options).await?.len(), 2)?;
    let by_dim = json!({"dimensions": [{"field": "createdAt", "bucket": "month", "as": "month"}],
        "sort": [{"key": "month", "dir": "desc"}], "limit": 1});
    same("labels", labels(&s.reduces("facts", by_dim).await?, "month"), super::basics::texts(&["2026-04"]))?;
    let none = json!({"dimensions": [{"field": "rating"}], "limit": 0});
    same("buckets of limit 0", s.aggregate("facts", none).await?.len(), 0)
}

async fn sample(s: &Subject<'_>) -> Outcome {
    // Of 20 000 rows half, give or take ten standard deviations.
    let found = s.aggregate("big", json!({"sample": 0.5, "measures": {"n": {"agg": "count"}}})).await?;
    let rows = total(&found);
    ensure((9_290..=10_710).contains(&rows), || format!("half of 20000 rows came to {rows}"))
}

async fn an_aggregate_streams(s: &Subject<'_>) -> Outcome {
    let found = s.reduces("facts", dims(&["id"])).await?;
    same("buckets", found.len(), 50)
}

async fn no_row_no_bucket(s: &Subject<'_>) -> Outcome {
    let options =
        json!({"candidatesWhere": {"status": "no such status"}, "dimensions": [{"field": "cuisine"}]});
    same("buckets", s.reduces("facts", options).await?.len(), 0)
}

async fn buckets_sort_by_count(s: &Subject<'_>) -> Outcome {
    let options = json!({"dimensions": [{"field": "country"}],
        "sort": [{"key": "count", "dir": "desc"}, {"key": "country", "dir": "desc"}]});
    let found = s.reduces("facts", options).await?;
    same("labels", labels(&found, "country"), super::basics::texts(&["US", "JP", "IT"]))
}

async fn geohash_cells(s: &Subject<'_>) -> Outcome {
    let found = s.reduces("places", geohash(5)).await?;
    same("rows", total(&found), 24)?;
    let labels = labels(&found, "cell");
    ensure(labels.iter().all(|label| label.len() == 5), || format!("cells of five characters: {labels:?}"))
}

async fn finer_geohash_cells(s: &Subject<'_>) -> Outcome {
    let (coarse, fine) = (s.reduces("places", geohash(5)).await?, s.reduces("places", geohash(7)).await?);
    ensure(fine.len() >= coarse.len(), || format!("{} cells, finer ones {}", coarse.len(), fine.len()))
}

async fn measured_cells(s: &Subject<'_>, options: Json) -> Outcome {
    let options = with(options, "measures", json!({"n": {"agg": "count"}}));
    let found = s.aggregate("places", options).await?;
    let rows: u64 = found.iter().filter_map(|bucket| measured(bucket, "n").as_u64()).sum();
    same("rows", rows, 24)
}

async fn h3_cells(s: &Subject<'_>) -> Outcome {
    let found = s.aggregate("places", h3(7)).await?;
    same("rows and cells with a name", (total(&found), labels(&found, "cell").len()), (24, found.len()))
}

async fn finer_h3_cells(s: &Subject<'_>) -> Outcome {
    let (coarse, fine) = (s.aggregate("places", h3(4)).await?, s.aggregate("places", h3(9)).await?);
    ensure(fine.len() >= coarse.len(), || format!("{} cells, finer ones {}", coarse.len(), fine.len()))
}

async fn first_and_last(s: &Subject<'_>) -> Outcome {
    let options = json!({"changeTrackingColumn": "createdAt", "measures": {
        "first": {"agg": "first", "column": "id"}, "last": {"agg": "last", "column": "id"}}});
    let found = s.aggregate("facts", options).await?;
    let [bucket] = found.as_slice() else { return Err(Failure::wrong("expected one bucket")) };
    let first = measured(bucket, "first").as_i64();
    ensure(matches!(first, Some(1 | 37)), || format!("ids 1 and 37 are earliest, not {first:?}"))?;
    same("the latest id", measured(bucket, "last").as_i64(), Some(36))
}
