//! Shapes of the application API, for its description alone: requests are read by [`crate::plan`], which names what is
//! wrong, and rows pass through as text.

use serde_json::Value;
use utoipa::ToSchema;

/// Body of a query.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct QueryBody {
    /// Which rows, by the lens's field names: a value, or an object of `$eq $ne $gt $gte $lt $lte $in $nin $ilike $like
    /// $contains $startsWith $endsWith $exists`; `$or`, `$and` and `$not` nest.
    #[schema(value_type = Option<Object>)]
    r#where: Option<Value>,
    /// `{field, dir}` or a list of them; `dir` is `asc` or `desc`.
    #[schema(value_type = Option<Object>)]
    order_by: Option<Value>,
    /// At most so many rows; 100 when absent.
    limit: Option<u64>,
    /// Rows to pass over; not together with `cursor`.
    offset: Option<u64>,
    /// `meta.nextCursor` of the page before, with the same `where` and `orderBy`.
    cursor: Option<String>,
    /// Fields to return; all when absent.
    select: Option<Vec<String>>,
    /// The same as `select`.
    fields: Option<Vec<String>>,
    /// Whether to count all matching rows, too. Costs a scan.
    total: Option<bool>,
    /// Whether a stream of lines ends with a line `{"meta": …}`.
    meta: Option<bool>,
}

/// Answer to a query.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct QueryAnswer {
    /// Rows in the shape of the lens.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// About the answer.
    meta: QueryMeta,
}

/// About an answer.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct QueryMeta {
    /// The lens.
    lens: String,
    /// Rows in this answer.
    count: u64,
    /// Milliseconds from the request to the last row.
    duration_ms: u64,
    /// Matching rows, when asked for.
    total: Option<u64>,
    /// Where the next page begins; absent on the last page.
    next_cursor: Option<String>,
}

/// Body of a count.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct CountBody {
    /// As in a query.
    #[schema(value_type = Option<Object>)]
    r#where: Option<Value>,
}

/// Answer to a count.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct CountAnswer {
    /// Matching rows.
    count: u64,
    /// About the answer.
    #[schema(value_type = Object)]
    meta: Value,
}

/// Every refusal and failure.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct Envelope {
    /// For people.
    error: String,
    /// For programs.
    code: String,
    /// The field that is wrong, when one is.
    field: Option<String>,
}
