//! The list of cases.

mod aggregates;
mod basics;
mod edges;
mod joins;
mod keyset;
mod refusals;
mod search;
mod streams;
mod values;

use bridge_core::{BoxFuture, BridgeError};
use protocol::{AggregateCapabilities, Capabilities, LogicalOp, StringOp, Support};

use crate::failure::Outcome;
use crate::subject::Subject;

/// One promise of the contract.
#[derive(Clone, Copy)]
pub struct Case {
    /// Stable id: section of the specification and number, or a letter of our own.
    pub id: &'static str,
    /// What it belongs to.
    pub group: &'static str,
    /// What is promised, in a sentence.
    pub title: &'static str,
    /// What the bridge must have declared. Otherwise it must refuse.
    pub needs: &'static [Need],
    /// Asks the bridge and looks at the answer.
    pub run: for<'a> fn(&'a Subject<'a>) -> BoxFuture<'a, Outcome>,
}

/// Something that a bridge may declare.
#[derive(Clone, Copy)]
pub enum Need {
    /// A flag of [`Capabilities`].
    Bridge(&'static str, fn(&Capabilities) -> bool),
    /// A logical operator.
    Logical(LogicalOp),
    /// A string operator.
    Text(StringOp),
    /// A flag of [`AggregateCapabilities`].
    Aggregate(&'static str, fn(&AggregateCapabilities) -> bool),
}

/// All cases, in the order in which they run.
pub fn cases() -> Vec<&'static Case> {
    [
        basics::CASES,
        aggregates::CASES,
        joins::CASES,
        edges::CASES,
        keyset::CASES,
        values::CASES,
        refusals::CASES,
        search::CASES,
        streams::CASES,
    ]
    .into_iter()
    .flatten()
    .collect()
}

const OR: Need = Need::Logical(LogicalOp::Or);
const AND: Need = Need::Logical(LogicalOp::And);
const NOT: Need = Need::Logical(LogicalOp::Not);
const ILIKE: Need = Need::Text(StringOp::Ilike);
const LIKE: Need = Need::Text(StringOp::Like);
const CONTAINS: Need = Need::Text(StringOp::Contains);
const STARTS_WITH: Need = Need::Text(StringOp::StartsWith);
const ENDS_WITH: Need = Need::Text(StringOp::EndsWith);
const CURSOR: Need = Need::Bridge("cursor", |it| it.cursor);
const BATCH_READ: Need = Need::Bridge("batchRead", |it| it.batch_read);
const CHANGED_SINCE: Need = Need::Bridge("changedSince", |it| it.changed_since);
const SEARCH: Need = Need::Bridge("search", |it| it.search);
const AGGREGATE: Need = Need::Aggregate("supports", |it| it.supports);
const GROUP_BY: Need = Need::Aggregate("groupBy", |it| it.group_by);
const TIME: Need = Need::Aggregate("timeBucket", |it| it.time_bucket);
const NUMERIC: Need = Need::Aggregate("numericBucket", |it| it.numeric_bucket);
const GEOHASH: Need = Need::Aggregate("geohashBucket", |it| it.geohash_bucket);
const H3: Need = Need::Aggregate("h3Bucket", |it| it.h3_bucket);
const COUNT: Need = Need::Aggregate("count", |it| it.count);
const DISTINCT: Need = Need::Aggregate("countDistinct", |it| it.count_distinct != Support::No);
const SUM: Need = Need::Aggregate("sum", |it| it.sum);
const AVG: Need = Need::Aggregate("avg", |it| it.avg);
const MIN_MAX: Need = Need::Aggregate("minMax", |it| it.min_max);
const PERCENTILE: Need = Need::Aggregate("percentile", |it| it.percentile != Support::No);
const TOP_K: Need = Need::Aggregate("topK", |it| it.top_k);
const HAVING: Need = Need::Aggregate("havingOnAggregates", |it| it.having_on_aggregates);
const ORDER_LIMIT: Need = Need::Aggregate("pushdownOrderLimit", |it| it.pushdown_order_limit);
const SAMPLING: Need = Need::Aggregate("sampling", |it| it.sampling);
const JOINS: Need = Need::Aggregate("joins", |it| it.joins);

impl Need {
    /// Whether it is declared.
    pub fn is_declared(&self, capabilities: &Capabilities, aggregates: &AggregateCapabilities) -> bool {
        match self {
            Self::Bridge(_, declared) => declared(capabilities),
            Self::Logical(op) => capabilities.where_logical_ops.contains(op),
            Self::Text(op) => capabilities.where_string_ops.contains(op),
            Self::Aggregate(_, declared) => aggregates.supports && declared(aggregates),
        }
    }

    /// The name of the capability or operator.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge(name, _) | Self::Aggregate(name, _) => name,
            Self::Logical(op) => op.as_str(),
            Self::Text(op) => op.as_str(),
        }
    }

    /// Whether this is the right error for asking without it: the operator's own where it is one, otherwise that the
    /// kind of job or an option of it is not taken.
    pub fn is_refused_by(&self, error: &BridgeError) -> bool {
        match (self, error) {
            (Self::Logical(_) | Self::Text(_), BridgeError::Operator(refused)) => refused.op == self.name(),
            (
                Self::Bridge(..) | Self::Aggregate(..),
                BridgeError::UnsupportedKind { .. } | BridgeError::Invalid(_),
            ) => true,
            _ => false,
        }
    }
}
