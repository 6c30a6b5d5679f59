//! What a bridge can do, as it declares it.

use serde::{Deserialize, Serialize};

/// A logical operator of `where`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogicalOp {
    /// `$or`
    Or,
    /// `$and`
    And,
    /// `$not`
    Not,
}

impl LogicalOp {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Or, Self::And, Self::Not];

    /// The operator with its `$`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Or => "$or",
            Self::And => "$and",
            Self::Not => "$not",
        }
    }
}

/// A string operator of `where`. `like` is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StringOp {
    /// `$ilike`
    Ilike,
    /// `$contains`
    Contains,
    /// `$startsWith`
    StartsWith,
    /// `$endsWith`
    EndsWith,
    /// `$like`
    Like,
}

impl StringOp {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ilike, Self::Contains, Self::StartsWith, Self::EndsWith, Self::Like];

    /// The operator with its `$`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ilike => "$ilike",
            Self::Contains => "$contains",
            Self::StartsWith => "$startsWith",
            Self::EndsWith => "$endsWith",
            Self::Like => "$like",
        }
    }
}

/// A bridge's capability object (spec, bridges 1.4). A flag that is missing on the wire is false.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "the published object is a list of flags")]
pub struct Capabilities {
    /// `batchRead` answers `$in`; without it a target cannot be the child of a join.
    pub batch_read: bool,
    /// Filters run in the database.
    pub where_pushdown: bool,
    /// Orders run in the database.
    pub order_by_pushdown: bool,
    /// Limits run in the database.
    pub limit_pushdown: bool,
    /// Only the selected columns are fetched.
    pub select_projection: bool,
    /// Joins run in the database.
    pub native_join: bool,
    /// `read` pages.
    pub cursor: bool,
    /// `read` honours `changedSince`.
    pub changed_since: bool,
    /// `batchRead` limits per key.
    pub per_key_limit: bool,
    /// Accepted logical operators.
    pub where_logical_ops: Vec<LogicalOp>,
    /// Accepted string operators.
    pub where_string_ops: Vec<StringOp>,
    /// False: counts are estimates.
    pub exact_count: bool,
    /// `search` ranks rows by text. Not in the published object.
    pub search: bool,
    /// `similar` ranks rows by vectors, where the server has them. Not in the published object.
    pub similar: bool,
}

impl Capabilities {
    /// A database that filters, orders, limits and projects by itself and knows every operator.
    pub fn full() -> Self {
        Self {
            batch_read: true,
            where_pushdown: true,
            order_by_pushdown: true,
            limit_pushdown: true,
            select_projection: true,
            native_join: false,
            cursor: true,
            changed_since: true,
            per_key_limit: false,
            where_logical_ops: LogicalOp::ALL.to_vec(),
            where_string_ops: StringOp::ALL.to_vec(),
            exact_count: true,
            search: false,
            similar: false,
        }
    }
}

/// In which accuracy a measure is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Support {
    /// Not at all; `false` on the wire.
    #[default]
    No,
    /// Exact only.
    Exact,
    /// Approximate only.
    Approximate,
    /// Either, as asked.
    Both,
}

impl Serialize for Support {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Exact => serializer.serialize_str("exact"),
            Self::Approximate => serializer.serialize_str("approximate"),
            Self::Both => serializer.serialize_str("both"),
        }
    }
}

/// A bridge's aggregate capability object (spec, bridges 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the published object is a list of flags")]
pub struct AggregateCapabilities {
    /// False: the planner reduces over `read` by itself.
    pub supports: bool,
    /// Dimensions are grouped.
    pub group_by: bool,
    /// Calendar buckets.
    pub time_bucket: bool,
    /// Buckets by step or breaks.
    pub numeric_bucket: bool,
    /// Geohash or H3 cells.
    pub geo_bucket: bool,
    /// Geohash cells.
    pub geohash_bucket: bool,
    /// H3 cells.
    pub h3_bucket: bool,
    /// `count`.
    pub count: bool,
    /// `count_distinct`.
    pub count_distinct: Support,
    /// `sum`.
    pub sum: bool,
    /// `avg`.
    pub avg: bool,
    /// `min` and `max`.
    pub min_max: bool,
    /// `percentile`.
    pub percentile: Support,
    /// `top_k`.
    pub top_k: bool,
    /// `having`.
    pub having_on_aggregates: bool,
    /// `sort` and `limit`.
    pub pushdown_order_limit: bool,
    /// `sample`.
    pub sampling: bool,
    /// Mergeable sketches in rows; no bridge of ours emits them.
    pub emits_sketches: bool,
    /// `joins`.
    pub joins: bool,
}

impl AggregateCapabilities {
    /// Everything but geography and sketches, exact.
    pub fn full() -> Self {
        Self {
            supports: true,
            group_by: true,
            time_bucket: true,
            numeric_bucket: true,
            geo_bucket: false,
            geohash_bucket: false,
            h3_bucket: false,
            count: true,
            count_distinct: Support::Exact,
            sum: true,
            avg: true,
            min_max: true,
            percentile: Support::Exact,
            top_k: true,
            having_on_aggregates: true,
            pushdown_order_limit: true,
            sampling: true,
            emits_sketches: false,
            joins: true,
        }
    }
}
