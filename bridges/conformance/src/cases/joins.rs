//! Joins of the published aggregate suite (5B-31 to 36): facts, left-joined with their regions.

use serde_json::{Value as Json, json};

use super::aggregates::{measured, top_counts, total};
use super::{COUNT, Case, GROUP_BY, HAVING, JOINS, Need, ORDER_LIMIT, SUM, TOP_K};
use crate::failure::{Outcome, ensure, same};
use crate::subject::{Subject, with};

pub(super) const CASES: &[Case] = &[
    case("5B-31", "a joined dimension groups", &[GROUP_BY, JOINS], |s| Box::pin(a_joined_dimension(s))),
    case("5B-32", "base and joined dimensions group", &[GROUP_BY, JOINS], |s| Box::pin(both_dimensions(s))),
    case("5B-33", "base measures by a joined dimension", &[GROUP_BY, JOINS, SUM], |s| {
        Box::pin(measures_by_joined(s))
    }),
    case("5B-34", "only a joined dimension drops rows", &[JOINS, COUNT], |s| {
        Box::pin(only_dimensions_drop(s))
    }),
    case("5B-35", "having over joined dimensions", &[GROUP_BY, JOINS, HAVING], |s| {
        Box::pin(having_over_joined(s))
    }),
    case("5B-36", "top_k per joined dimension", &[GROUP_BY, JOINS, TOP_K], |s| Box::pin(top_k_per_joined(s))),
    case("5B-x4", "columns of the same name stay apart", &[GROUP_BY, JOINS, ORDER_LIMIT], |s| {
        Box::pin(same_names_stay_apart(s))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "joins", title, needs, run }
}

/// The options with the join `c`.
fn joined(s: &Subject<'_>, options: Json) -> Json {
    let join = json!({"target": s.fixture.target("regions"), "alias": "c", "kind": "left",
        "on": {"local": "id", "foreign": "pk"}});
    with(options, "joins", json!([join]))
}

async fn a_joined_dimension(s: &Subject<'_>) -> Outcome {
    let options = joined(s, json!({"dimensions": [{"field": "region", "from": "c"}]}));
    let found = s.reduces("facts", options).await?;
    same("buckets and rows", (found.len(), total(&found)), (3, 48))
}

async fn both_dimensions(s: &Subject<'_>) -> Outcome {
    let options = joined(s, json!({"dimensions": [{"field": "cuisine"}, {"field": "region", "from": "c"}]}));
    same("rows", total(&s.reduces("facts", options).await?), 47)
}

async fn measures_by_joined(s: &Subject<'_>) -> Outcome {
    let options = joined(
        s,
        json!({"dimensions": [{"field": "region", "from": "c", "as": "where"}],
            "measures": {"views": {"agg": "sum", "column": "views"}}}),
    );
    let found = s.reduces("facts", options).await?;
    let views: i64 = found.iter().filter_map(|bucket| measured(bucket, "views").as_i64()).sum();
    same("views", views, 16_168)
}

async fn only_dimensions_drop(s: &Subject<'_>) -> Outcome {
    let without = joined(s, json!({"measures": {"n": {"agg": "count"}}}));
    same("rows", total(&s.reduces("facts", without).await?), 50)?;
    let with = joined(
        s,
        json!({"dimensions": [{"field": "tier", "from": "c"}], "measures": {"n": {"agg": "count"}}}),
    );
    same("rows by tier", total(&s.reduces("facts", with).await?), 48)
}

async fn having_over_joined(s: &Subject<'_>) -> Outcome {
    let options = joined(
        s,
        json!({"dimensions": [{"field": "region", "from": "c"}], "having": {"count": {"$gt": 15}}}),
    );
    same("buckets", s.reduces("facts", options).await?.len(), 2)
}

async fn top_k_per_joined(s: &Subject<'_>) -> Outcome {
    let options = joined(
        s,
        json!({"dimensions": [{"field": "region", "from": "c"}],
            "measures": {"top": {"agg": "top_k", "column": "rating", "k": 2}}}),
    );
    let found = s.aggregate("facts", options).await?;
    for bucket in &found {
        let counts = top_counts(measured(bucket, "top"))?;
        ensure(counts.len() == 2, || format!("two values, not {counts:?}"))?;
    }
    same("buckets", found.len(), 3)
}

async fn same_names_stay_apart(s: &Subject<'_>) -> Outcome {
    let join =
        json!({"target": s.fixture.target("small"), "alias": "c", "on": {"local": "id", "foreign": "id"}});
    let options = json!({"candidatesWhere": {"id": {"$lt": 10}}, "joins": [join],
        "dimensions": [{"field": "id", "from": "c", "as": "theirs"}, {"field": "id"}], "sort": [{"key": "id"}]});
    same("buckets", s.reduces("facts", options).await?.len(), 5)
}
