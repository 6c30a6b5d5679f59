//! Buckets by the engine's own aggregations, where they are exact.
//!
//! `composite` gives every bucket, page after page, and exact counts; `terms` would not. Sums are made of doubles: they are
//! taken only where no digit can have been lost. What is only known when all is added up (a field with several values in a
//! document, a sum beyond doubles) leaves the job to the runner, which adds up rows.

mod answer;
mod plan;

use std::rc::Rc;

use semilayer_plugin::options::{AggregateOptions, Filter, Scalar, Test, Where};
use semilayer_plugin::{Error, Rows};
use serde_json::{Map, Value as Json, json};

use crate::connect::{Body, Server, Source};
use crate::introspect::{ID, Index};
use crate::jobs::{Found, find};
use answer::Buckets;
use plan::Plan;

/// Buckets of one request.
const PAGE: usize = 1_000;
/// Buckets that are kept here, to be ordered and checked. Beyond them rows are no more work.
const MOST_BUCKETS: usize = 50_000;

/// The buckets.
pub(crate) fn aggregate(
    server: &Server,
    target: &str,
    index: &Rc<Index>,
    options: &AggregateOptions,
) -> Result<Rows, Error> {
    if options.sample.is_some() || !options.joins.is_empty() {
        return Err(left("samples and joins"));
    }
    let exactly = |filter: &Filter| match find(server, target, index, filter)? {
        Some(Found { residual: Some(_), .. }) => Err(left("a filter that is looked at row by row")),
        Some(found) => Ok(found.query),
        None => Ok(json!({"match_none": {}})),
    };
    let plan = Plan::new(options, index, exactly)?;
    let query = exactly(&with_ids(options))?;
    let buckets = gather(server, target, &plan, &query)?;
    Ok(Rows::json(buckets.finish(options, &plan)?))
}

/// What is not done here is done by the runner, from rows.
pub(crate) fn left(what: &str) -> Error {
    Error::unsupported_kind(what)
}

fn with_ids(options: &AggregateOptions) -> Filter {
    if options.ids.is_empty() {
        return options.filter.clone();
    }
    let ids: Vec<Scalar> = options.ids.clone();
    options.filter.clone().and(Filter::from_where(Where::field(ID, Test::In(ids))))
}

/// Asks for all buckets.
fn gather(server: &Server, target: &str, plan: &Plan, query: &Json) -> Result<Buckets, Error> {
    let query = plan.with_dimensions(query);
    let mut buckets = Buckets::default();
    let mut after = None;
    loop {
        let aggregations = plan.aggregations(PAGE, after.as_ref());
        let more: Map<String, Json> = aggregations.into_iter().map(|it| ("aggs".to_owned(), it)).collect();
        let body = Body { track_total_hits: true, ..Body::new(&query, 0, &Source::None, &more) };
        let answer = server.search(target, &body)?;
        let rows = answer.total.unwrap_or(0);
        if !plan.has_dimensions() {
            buckets.add_only(plan, rows, &answer.aggregations)?;
            return Ok(buckets);
        }
        let page = answer.aggregations.get("buckets").unwrap_or(&Json::Null);
        let found = buckets.add(plan, page)?;
        if buckets.len() > MOST_BUCKETS {
            return Err(left("so many buckets"));
        }
        after = page.get("after_key").cloned();
        if found == 0 || after.is_none() {
            buckets.check(rows)?;
            return Ok(buckets);
        }
    }
}

#[cfg(test)]
mod tests;
