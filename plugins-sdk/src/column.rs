//! Columns, and what a target looks like.

use crate::bindings::semilayer::bridge::types as wit;

pub use wit::Kind;

/// A column of a target, and of rows that are packed.
///
/// ```
/// use semilayer_plugin::{Column, Kind};
///
/// let id = Column::new("id", Kind::Int64).native("bigint").key();
/// assert!(!id.nullable);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the target.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// The database's own name of the type; by default the kind's.
    pub native_type: String,
    /// Whether null is allowed; by default it is.
    pub nullable: bool,
    /// Whether it is part of the primary key.
    pub primary_key: bool,
}

/// What a target looks like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// Columns in their own order. Never empty.
    pub columns: Vec<Column>,
    /// Rows now; 0 when that is not known.
    pub row_count: u64,
}

impl Column {
    /// A column that may be null and is not part of a key.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        let native_type = name_of(kind).to_owned();
        Self { name: name.into(), kind, native_type, nullable: true, primary_key: false }
    }

    /// The same as part of the primary key, never null.
    #[must_use]
    pub fn key(self) -> Self {
        Self { primary_key: true, nullable: false, ..self }
    }

    /// The same, never null.
    #[must_use]
    pub fn required(self) -> Self {
        Self { nullable: false, ..self }
    }

    /// The same with the database's own name of the type.
    #[must_use]
    pub fn native(self, native_type: impl Into<String>) -> Self {
        Self { native_type: native_type.into(), ..self }
    }

    pub(crate) fn info(&self) -> wit::ColumnInfo {
        wit::ColumnInfo { name: self.name.clone(), kind: self.kind }
    }
}

impl Schema {
    /// A target with these columns and an unknown number of rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), row_count: 0 }
    }

    /// The same with so many rows.
    #[must_use]
    pub fn rows(self, row_count: u64) -> Self {
        Self { row_count, ..self }
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl From<Schema> for wit::Schema {
    fn from(schema: Schema) -> Self {
        let column = |column: Column| wit::ColumnSchema {
            name: column.name,
            native_type: column.native_type,
            nullable: column.nullable,
            primary_key: column.primary_key,
        };
        Self { columns: schema.columns.into_iter().map(column).collect(), row_count: schema.row_count }
    }
}

pub(crate) fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Int64 => "int64",
        Kind::Uint64 => "uint64",
        Kind::Float64 => "float64",
        Kind::Decimal => "decimal",
        Kind::Text => "text",
        Kind::Binary => "binary",
        Kind::Date => "date",
        Kind::Time => "time",
        Kind::Timestamp => "timestamp",
        Kind::Uuid => "uuid",
        Kind::Json => "json",
    }
}
