//! What a plugin says of its targets and columns.

use std::collections::HashSet;

use bridge_core::{BridgeError, ColumnSchema, TargetSchema};

use crate::bindings::types::{ColumnInfo, Kind, Schema};
use crate::error::PluginFailure;
use crate::limits::{COLUMNS, NAME_BYTES, TARGETS};

/// What the values of columns are for whoever compares them. In a column of JSON a list is the value; in any other it is
/// several of them.
pub(crate) fn kinds(columns: &[ColumnInfo]) -> bridge_reduce::Schema {
    let kind = |kind| match kind {
        Kind::Boolean => bridge_reduce::Kind::Boolean,
        Kind::Int64 | Kind::Uint64 | Kind::Float64 | Kind::Decimal => bridge_reduce::Kind::Number,
        Kind::Text | Kind::Time => bridge_reduce::Kind::Text,
        Kind::Binary => bridge_reduce::Kind::Bytes,
        Kind::Date | Kind::Timestamp => bridge_reduce::Kind::Timestamp,
        Kind::Uuid => bridge_reduce::Kind::Uuid,
        Kind::Json => bridge_reduce::Kind::Unknown,
    };
    let named = |schema: bridge_reduce::Schema, column: &ColumnInfo| match column.kind {
        Kind::Json => schema.with(column.name.clone(), kind(column.kind)),
        _ => schema.with_several(column.name.clone(), kind(column.kind)),
    };
    columns.iter().fold(bridge_reduce::Schema::unknown(), named)
}

/// The names of targets, checked, sorted, each once.
pub(crate) fn targets(mut targets: Vec<String>) -> Result<Vec<String>, BridgeError> {
    if targets.len() > TARGETS {
        return Err(wrong(format!("{} targets; at most {TARGETS} may be", targets.len())));
    }
    if targets.iter().any(|target| target.is_empty() || target.len() > NAME_BYTES) {
        return Err(wrong(format!("a target whose name does not have 1 to {NAME_BYTES} bytes")));
    }
    targets.sort_unstable();
    targets.dedup();
    Ok(targets)
}

/// The columns of a target, checked.
pub(crate) fn target_schema(target: &str, schema: Schema) -> Result<TargetSchema, BridgeError> {
    let fits = |name: &str| (1..=NAME_BYTES).contains(&name.len());
    if schema.columns.is_empty() || schema.columns.len() > COLUMNS {
        return Err(wrong(format!("a schema of {} columns; 1 to {COLUMNS} may be", schema.columns.len())));
    }
    let mut seen = HashSet::new();
    for column in &schema.columns {
        if !fits(&column.name) || column.native_type.len() > NAME_BYTES || !seen.insert(column.name.as_str())
        {
            return Err(wrong("a schema with a column whose name or type is too long, empty or there twice"));
        }
    }
    let columns = schema.columns.into_iter().map(|column| ColumnSchema {
        name: column.name,
        kind: column.native_type,
        nullable: column.nullable,
        primary_key: column.primary_key,
    });
    Ok(TargetSchema { name: target.to_owned(), columns: columns.collect(), row_count: schema.row_count })
}

fn wrong(what: impl Into<String>) -> BridgeError {
    PluginFailure::Wrong(what.into()).into()
}
