use serde::Serialize;

/// What a target looks like (spec, bridges 1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetSchema {
    /// The target as it was asked for.
    pub name: String,
    /// Columns in their own order.
    pub columns: Vec<ColumnSchema>,
    /// Rows now.
    pub row_count: u64,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnSchema {
    /// Name.
    pub name: String,
    /// The engine's own name of the type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether null is allowed.
    pub nullable: bool,
    /// Whether it is part of the primary key.
    pub primary_key: bool,
}
