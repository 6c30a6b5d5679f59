//! An `orderBy` as a sort.

use semilayer_plugin::Error;
use semilayer_plugin::options::{Direction, OrderBy};
use serde_json::{Value as Json, json};

use super::filter::lost;
use crate::introspect::{Field, Index, Kind};

/// A sort, and how to find rows that it would misplace because their values are too long for the index.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sort {
    pub(crate) keys: Vec<Json>,
    pub(crate) losses: Vec<Json>,
}

/// Translates an order; each column counts once. Nulls are the largest values.
///
/// # Errors
/// Names a column that is none; `unsupported-kind` for one that the engine cannot order by, which leaves the job to the
/// runner.
pub(crate) fn order(order_by: &[OrderBy], index: &Index, ids_sort: bool) -> Result<Sort, Error> {
    let mut sort = Sort::default();
    let mut seen: Vec<&str> = Vec::new();
    for key in order_by {
        let field = index.expect(&key.field)?;
        if seen.contains(&key.field.as_str()) {
            continue;
        }
        seen.push(&key.field);
        let entry = entry(&field, key.direction, ids_sort);
        sort.keys.push(entry.ok_or_else(|| Error::unsupported_kind(&format!("order by {}", key.field)))?);
        sort.losses.extend(lost(&field));
    }
    Ok(sort)
}

fn entry(field: &Field, direction: Direction, ids_sort: bool) -> Option<Json> {
    let dir = direction.as_str();
    if field.kind == Kind::Id {
        return ids_sort.then(|| json!({"_id": {"order": dir}}));
    }
    let exact = field.exact.as_ref()?;
    let comparable = exact.sortable && !exact.normalized && !field.has_null_value;
    let known = matches!(
        field.kind,
        Kind::Keyword
            | Kind::Text
            | Kind::Integer { .. }
            | Kind::Double
            | Kind::Float
            | Kind::Boolean
            | Kind::Date
            | Kind::DateNanos
            | Kind::Ip
    );
    if !comparable || !known {
        return None;
    }
    let missing = match direction {
        Direction::Ascending => "_last",
        Direction::Descending => "_first",
    };
    let mut options = json!({"order": dir, "missing": missing});
    if let (true, Some(options)) = (field.partial, options.as_object_mut()) {
        let native = if field.kind == Kind::Text { "keyword" } else { field.native.as_str() };
        options.insert("unmapped_type".to_owned(), json!(native));
    }
    Some(json!({&exact.field: options}))
}
