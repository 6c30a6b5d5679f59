//! Aggregates: what the reducer computes over the rows that were read.

use serde_json::{Value as Json, json};

use super::sample::{Class, Column, Sample};
use super::{Need, Site, SurveyCase};
use crate::cases::{
    AVG, COUNT, DISTINCT, GROUP_BY, HAVING, MIN_MAX, NUMERIC, ORDER_LIMIT, PERCENTILE, SAMPLING, SUM, TIME,
    TOP_K,
};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::wire::Row;

pub(super) const CASES: &[SurveyCase] = &[
    case("D50", "rows are counted", &[COUNT], |s| Box::pin(counts(s))),
    case("D51", "one dimension groups", &[GROUP_BY], |s| Box::pin(groups(s))),
    case("D52", "sum", &[SUM], |s| Box::pin(measure(s, &["sum", "rate"]))),
    case("D53", "avg", &[AVG], |s| Box::pin(measure(s, &["avg"]))),
    case("D54", "min and max", &[MIN_MAX], |s| Box::pin(measure(s, &["min", "max"]))),
    case("D55", "count_distinct", &[DISTINCT], |s| Box::pin(measure(s, &["count_distinct"]))),
    case("D56", "percentiles, interpolated", &[PERCENTILE], |s| Box::pin(percentiles(s))),
    case("D57", "top_k", &[TOP_K], |s| Box::pin(top_k(s))),
    case("D58", "calendar buckets", &[GROUP_BY, TIME], |s| Box::pin(calendar(s))),
    case("D59", "steps and breaks", &[GROUP_BY, NUMERIC], |s| Box::pin(steps_and_breaks(s))),
    case("D60", "having filters buckets", &[GROUP_BY, HAVING], |s| Box::pin(having(s))),
    case("D61", "sort and limit of buckets", &[GROUP_BY, ORDER_LIMIT], |s| Box::pin(sort_and_limit(s))),
    case("D62", "filters before grouping and of a measure", &[COUNT], |s| Box::pin(filtered(s))),
    case("D63", "a sample is a part", &[SAMPLING, COUNT], |s| Box::pin(sampled(s))),
    case("D64", "no row, no bucket, and one when nothing is grouped", &[GROUP_BY, COUNT, SUM], |s| {
        Box::pin(no_rows(s))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "aggregates", title, needs, run }
}

fn by(column: &Column) -> Json {
    json!([{"field": column.name}])
}

fn total(buckets: &[Row]) -> u64 {
    buckets.iter().filter_map(|bucket| bucket.get("count")?.as_u64()).sum()
}

/// A column of the same target to group by.
fn group_beside<'s>(sample: &'s Sample, column: &Column) -> Option<&'s Column> {
    let few = |it: &&Column| (2..=200).contains(&it.values.len()) && it.name != column.name;
    [Class::Text, Class::Boolean, Class::Number].into_iter().find_map(|class| sample.of(class).find(few))
}

async fn counts(s: &Site<'_>) -> Outcome {
    let (sample, _) = s.column(|sample| sample.columns.first(), "no target is known as a whole")?;
    let found = s.reduces(sample, json!({"measures": {"n": {"agg": "count"}}})).await?;
    same(&format!("rows of {}", sample.target), total(&found), sample.rows.len() as u64)
}

async fn groups(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.groups()?;
    s.reduces(sample, json!({"dimensions": by(column)})).await?;
    let named = json!({"dimensions": [{"field": column.name, "as": "another \"name\""}]});
    s.reduces(sample, named).await?;
    if let Some(other) = group_beside(sample, column) {
        s.reduces(sample, json!({"dimensions": [{"field": column.name}, {"field": other.name}]})).await?;
    }
    Ok(())
}

/// Each measure over all rows, and over groups where there are some.
async fn measure(s: &Site<'_>, kinds: &[&str]) -> Outcome {
    let (sample, column) = s.numbers()?;
    for kind in kinds {
        let measures = json!({"m": {"agg": kind, "column": column.name}});
        s.reduces(sample, json!({ "measures": measures })).await?;
        if let Some(group) = group_beside(sample, column) {
            s.reduces(sample, json!({"dimensions": by(group), "measures": measures})).await?;
        }
    }
    Ok(())
}

async fn percentiles(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.numbers()?;
    for p in [0.01, 0.5, 0.9] {
        let measures = json!({"m": {"agg": "percentile", "column": column.name, "p": p}});
        s.reduces(sample, json!({ "measures": measures })).await?;
    }
    Ok(())
}

/// The counts of each `top_k`; keys of equal counts are any of those that there are.
fn top_counts(buckets: &[Row]) -> Vec<Vec<u64>> {
    let entries = |bucket: &Row| bucket.get("measures")?.get("top")?.as_array().cloned();
    let counts = |entries: Vec<Json>| entries.iter().filter_map(|it| it.get("count")?.as_u64()).collect();
    buckets.iter().filter_map(entries).map(counts).collect()
}

async fn top_k(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.groups()?;
    for k in [1, 3] {
        let options = json!({"measures": {"top": {"agg": "top_k", "column": column.name, "k": k}}});
        let got = top_counts(&s.aggregate(&sample.target, options.clone()).await?);
        let mut counts: Vec<u64> = column
            .values
            .iter()
            .map(|value| sample.rows.iter().filter(|row| row.get(&column.name) == Some(value)).count() as u64)
            .collect();
        counts.sort_unstable_by(|left, right| right.cmp(left));
        counts.truncate(k);
        same(&format!("the {k} most frequent of {} in {}", column.name, sample.target), got, vec![counts])?;
    }
    Ok(())
}

async fn calendar(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.column(|sample| sample.of(Class::Instant).next(), "no column has instants")?;
    for unit in ["minute", "hour", "day", "week", "month", "quarter", "year"] {
        s.reduces(sample, json!({"dimensions": [{"field": column.name, "bucket": unit}]})).await?;
    }
    Ok(())
}

async fn steps_and_breaks(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.numbers()?;
    let number = |value: &Json| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let mut values: Vec<f64> =
        column.values.iter().filter_map(number).filter(|value| value.abs() < 1e15).collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(1.0));
    // A whole step, so that doubles and decimals say the same.
    let step = ((high - low) / 7.0).ceil().max(1.0);
    let breaks = [low.floor(), low.floor() + step, high.ceil() + 1.0];
    let mut buckets = vec![json!({"type": "numeric", "step": step})];
    if breaks.is_sorted_by(|left, right| left < right) {
        buckets.push(json!({"type": "numeric", "breaks": breaks}));
    }
    for bucket in buckets {
        s.reduces(sample, json!({"dimensions": [{"field": column.name, "bucket": bucket}]})).await?;
    }
    Ok(())
}

async fn having(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.groups()?;
    for least in [2, 1_000_000_000] {
        let options = json!({"dimensions": by(column), "having": {"count": {"$gte": least}}});
        s.reduces(sample, options).await?;
    }
    Ok(())
}

async fn sort_and_limit(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.groups()?;
    let all = s.aggregate(&sample.target, json!({"dimensions": by(column)})).await?;
    let count = |bucket: &Row| bucket.get("count").and_then(Json::as_u64);
    let mut ascending: Vec<Option<u64>> = all.iter().map(count).collect();
    ascending.sort_unstable();
    let descending: Vec<Option<u64>> = ascending.iter().rev().copied().collect();
    for (dir, sorted) in [("asc", ascending), ("desc", descending)] {
        for limit in [0, 1, 2, all.len()] {
            let sort = json!([{"key": "count", "dir": dir}]);
            let options = json!({"dimensions": by(column), "sort": sort, "limit": limit});
            let got = s.aggregate(&sample.target, options).await?;
            let got: Vec<Option<u64>> = got.iter().map(count).collect();
            let what = format!("{limit} buckets of {} by {}, {dir}", sample.target, column.name);
            same(&what, got.as_slice(), sorted.get(..limit).unwrap_or(&sorted))?;
        }
    }
    Ok(())
}

async fn filtered(s: &Site<'_>) -> Outcome {
    let (sample, column) =
        s.column(|sample| sample.compared().first().copied(), "no column has values that can be compared")?;
    let value = column.values.first().cloned().unwrap_or(Json::Null);
    for filter in
        [json!({&column.name: value}), json!({&column.name: {"$ne": value}}), json!({&column.name: null})]
    {
        s.reduces(sample, json!({"candidatesWhere": filter, "measures": {"n": {"agg": "count"}}})).await?;
        s.reduces(sample, json!({"measures": {"n": {"agg": "count", "where": filter}}})).await?;
    }
    Ok(())
}

async fn sampled(s: &Site<'_>) -> Outcome {
    let most = s.samples.iter().filter(|sample| sample.complete).max_by_key(|sample| sample.rows.len());
    let Some(sample) = most.or(s.samples.first()) else { return Err(Failure::Impossible("no target")) };
    let options = json!({"sample": 0.5, "measures": {"n": {"agg": "count"}}});
    let kept = total(&s.aggregate(&sample.target, options).await?);
    let rows = sample.rows.len() as u64;
    if !sample.complete {
        return ensure(kept > 0, || format!("half of more than {rows} rows came to none"));
    }
    // Half, give or take ten standard deviations.
    let slack = 5 * rows.isqrt() + 1;
    ensure(kept.abs_diff(rows / 2) <= slack && kept <= rows, || format!("half of {rows} rows came to {kept}"))
}

async fn no_rows(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.numbers()?;
    let nothing = json!({&column.name: {"$in": []}});
    let grouped = json!({"candidatesWhere": nothing, "dimensions": by(column)});
    same("buckets of no rows", s.reduces(sample, grouped).await?.len(), 0)?;
    let measures = json!({"n": {"agg": "count"}, "sum": {"agg": "sum", "column": column.name}});
    let whole = json!({"candidatesWhere": nothing, "measures": measures});
    same("buckets of nothing", s.reduces(sample, whole).await?.len(), 1)
}
