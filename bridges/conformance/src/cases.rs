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

pub(crate) const OR: Need = Need::Logical(LogicalOp::Or);
pub(crate) const AND: Need = Need::Logical(LogicalOp::And);
pub(crate) const NOT: Need = Need::Logical(LogicalOp::Not);
pub(crate) const ILIKE: Need = Need::Text(StringOp::Ilike);
pub(crate) const LIKE: Need = Need::Text(StringOp::Like);
pub(crate) const CONTAINS: Need = Need::Text(StringOp::Contains);
pub(crate) const STARTS_WITH: Need = Need::Text(StringOp::StartsWith);
pub(crate) const ENDS_WITH: Need = Need::Text(StringOp::EndsWith);
pub(crate) const CURSOR: Need = Need::Bridge("cursor", |it| it.cursor);
pub(crate) const BATCH_READ: Need = Need::Bridge("batchRead", |it| it.batch_read);
pub(crate) const CHANGED_SINCE: Need = Need::Bridge("changedSince", |it| it.changed_since);
pub(crate) const SEARCH: Need = Need::Bridge("search", |it| it.search);
pub(crate) const AGGREGATE: Need = Need::Aggregate("supports", |it| it.supports);
pub(crate) const GROUP_BY: Need = Need::Aggregate("groupBy", |it| it.group_by);
pub(crate) const TIME: Need = Need::Aggregate("timeBucket", |it| it.time_bucket);
pub(crate) const NUMERIC: Need = Need::Aggregate("numericBucket", |it| it.numeric_bucket);
pub(crate) const GEOHASH: Need = Need::Aggregate("geohashBucket", |it| it.geohash_bucket);
pub(crate) const H3: Need = Need::Aggregate("h3Bucket", |it| it.h3_bucket);
pub(crate) const COUNT: Need = Need::Aggregate("count", |it| it.count);
pub(crate) const DISTINCT: Need = Need::Aggregate("countDistinct", |it| it.count_distinct != Support::No);
pub(crate) const SUM: Need = Need::Aggregate("sum", |it| it.sum);
pub(crate) const AVG: Need = Need::Aggregate("avg", |it| it.avg);
pub(crate) const MIN_MAX: Need = Need::Aggregate("minMax", |it| it.min_max);
pub(crate) const PERCENTILE: Need = Need::Aggregate("percentile", |it| it.percentile != Support::No);
pub(crate) const TOP_K: Need = Need::Aggregate("topK", |it| it.top_k);
pub(crate) const HAVING: Need = Need::Aggregate("havingOnAggregates", |it| it.having_on_aggregates);
pub(crate) const ORDER_LIMIT: Need = Need::Aggregate("pushdownOrderLimit", |it| it.pushdown_order_limit);
pub(crate) const SAMPLING: Need = Need::Aggregate("sampling", |it| it.sampling);
pub(crate) const JOINS: Need = Need::Aggregate("joins", |it| it.joins);

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
