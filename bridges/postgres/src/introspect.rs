//! What is in the database, from `pg_catalog`: the information schema hides keys from roles that may only select.

use std::sync::OnceLock;

use bridge_core::{BridgeError, ColumnSchema, TargetSchema};
use bridge_sql::{Column, Dialect, Kind, Param, Sql, Table, Value, parse_target};

use crate::connect::Lease;
use crate::execute::{Access, text};
use crate::flavor::Flavor;
use crate::search::TextIndexes;
use crate::similar::Vector;
use crate::values::Types;
use crate::wire::{Oid, RowView};

/// One row a column; one row without a name for a relation without columns; no row for no relation. A domain is what it
/// is made from. The words before and after the flavor's own.
const COLUMNS: [&str; 2] = ["\
WITH RECURSIVE relation AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), base(oid, typbasetype, root) AS (
  SELECT t.oid, t.typbasetype, t.oid FROM relation
  JOIN pg_catalog.pg_attribute a ON a.attrelid = relation.oid JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  UNION
  SELECT t.oid, t.typbasetype, base.root FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype
  WHERE base.typbasetype <> 0
)
SELECT a.attname, b.oid::int8, t.typname, t.typtype::text, t.typcategory::text,
       pg_catalog.format_type(a.atttypid, NULL), a.attnotnull,
       CASE WHEN k.place <= i.indnkeyatts THEN k.place END,
       (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = b.oid),
       s.nspname, CASE WHEN a.atttypid = b.oid THEN a.atttypmod END, ", "
FROM relation
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = relation.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN base b ON b.root = a.atttypid AND b.typbasetype = 0
LEFT JOIN pg_catalog.pg_type t ON t.oid = b.oid
LEFT JOIN pg_catalog.pg_namespace s ON s.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = relation.oid AND i.indisprimary
LEFT JOIN LATERAL (
  SELECT pg_catalog.array_position(pg_catalog.string_to_array(pg_catalog.translate(i.indkey::text, ',{}', ' '), ' '), a.attnum::text) AS place
) k ON true
ORDER BY a.attnum"];

const TABLES: &str = "\
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition";

/// A table, view or foreign table.
#[derive(Debug)]
pub(crate) struct Relation {
    /// As the translator sees it.
    pub(crate) table: Table,
    /// Types of its columns that are not known by their ids.
    pub(crate) types: Types,
    /// Its columns of vectors.
    pub(crate) vectors: Vec<Vector>,
    /// What a search can use; looked up by the first one.
    pub(crate) text_indexes: OnceLock<TextIndexes>,
}

impl AsRef<Table> for Relation {
    fn as_ref(&self) -> &Table {
        &self.table
    }
}

/// What the catalog is asked.
pub(crate) struct Catalog {
    dialect: Dialect,
    /// Where targets without a schema are.
    schema: String,
    columns: String,
}

impl Catalog {
    pub(crate) fn new(flavor: &Flavor, schema: String) -> Self {
        Self { dialect: flavor.dialect, schema, columns: COLUMNS.join(flavor.is_hidden) }
    }

    /// Tables of the default schema, sorted. Each is a target as it is: a name with a dot or a quote comes in quotes.
    pub(crate) async fn list(&self, access: Access<'_>) -> Result<Vec<String>, BridgeError> {
        let mut names = Vec::new();
        let lease = access.lease().await?;
        let tables = question(TABLES, &[&self.schema]);
        access.each_row(lease, &tables, |row| names.extend(text(row, 0).map(as_target))).await?;
        // Here, because the order at the server is that of the database's collation.
        names.sort_unstable();
        Ok(names)
    }

    /// The relation called `target`.
    pub(crate) async fn look_up(
        &self,
        access: Access<'_>,
        lease: Lease,
        target: &str,
    ) -> Result<(Relation, Lease), BridgeError> {
        let parts = match parse_target(&self.dialect, target)?.as_slice() {
            [name] => [self.schema.clone(), name.clone()],
            [schema, name] => [schema.clone(), name.clone()],
            // The dialect has refused everything else.
            _ => return Err(BridgeError::Internal("a target of more than two parts".to_owned())),
        };
        let mut found = false;
        let mut described = Vec::new();
        let [schema, name] = &parts;
        let columns = question(&self.columns, &[schema, name]);
        let each = |row: RowView<'_>| {
            found = true;
            described.extend(Described::read(row));
        };
        let lease = access.each_row(lease, &columns, each).await?;
        if !found {
            return Err(BridgeError::Query {
                message: format!("relation \"{schema}.{name}\" does not exist"),
                native: Some("42P01".to_owned()),
                source: None,
            });
        }
        Ok((relation(parts.to_vec(), described), lease))
    }
}

/// The columns of a relation as the catalog names their types.
pub(crate) fn describe(target: &str, relation: &Relation, row_count: u64) -> TargetSchema {
    let column = |column: &Column| ColumnSchema {
        name: column.name.clone(),
        kind: column.native.clone(),
        nullable: column.nullable,
        primary_key: relation.table.primary_key.contains(&column.name),
    };
    let columns = relation.table.columns.iter().filter(|column| !column.hidden).map(column).collect();
    TargetSchema { name: target.to_owned(), columns, row_count }
}

fn relation(parts: Vec<String>, described: Vec<Described>) -> Relation {
    let mut key: Vec<(i64, String)> =
        described.iter().filter_map(|column| Some((column.key?, column.name.clone()))).collect();
    key.sort();
    let types_of = |is: fn(&Described) -> bool| {
        described.iter().filter(|column| is(column)).map(|column| column.type_oid).collect()
    };
    let types =
        Types { arrays: types_of(|column| column.category == "A"), vectors: types_of(Described::is_vector) };
    let vectors = described.iter().filter(|column| column.is_vector()).map(Described::vector).collect();
    let table = Table {
        parts,
        primary_key: key.into_iter().map(|(_, name)| name).collect(),
        columns: described.into_iter().map(Described::into_column).collect(),
    };
    Relation { table, types, vectors, text_indexes: OnceLock::new() }
}

struct Described {
    name: String,
    type_oid: Oid,
    type_name: String,
    type_kind: String,
    category: String,
    shown: String,
    not_null: bool,
    /// Place in the primary key.
    key: Option<i64>,
    labels: Vec<String>,
    type_schema: String,
    /// What stands in parentheses behind the type's name.
    modifier: Option<i32>,
    hidden: bool,
}

impl Described {
    /// Nothing for the one row of a relation without columns.
    fn read(row: RowView<'_>) -> Option<Self> {
        let own = |column| text(row, column).map(str::to_owned);
        Some(Self {
            name: own(0)?,
            type_oid: text(row, 1)?.parse().ok()?,
            type_name: own(2)?,
            type_kind: own(3)?,
            category: own(4)?,
            shown: own(5)?,
            not_null: text(row, 6) == Some("t"),
            key: text(row, 7).and_then(|place| place.parse().ok()),
            labels: text(row, 8).and_then(|labels| serde_json::from_str(labels).ok()).unwrap_or_default(),
            type_schema: own(9)?,
            modifier: text(row, 10).and_then(|modifier| modifier.parse().ok()),
            hidden: text(row, 11) == Some("t"),
        })
    }

    /// Of pgvector: types of a base, in whatever schema the extension is.
    fn is_vector(&self) -> bool {
        self.type_kind == "b" && matches!(self.type_name.as_str(), "vector" | "halfvec")
    }

    fn vector(&self) -> Vector {
        Vector {
            column: self.name.clone(),
            type_name: [self.type_schema.clone(), self.type_name.clone()],
            dimensions: self.modifier.and_then(|dimensions| usize::try_from(dimensions).ok()),
        }
    }

    fn into_column(self) -> Column {
        let kind = self.kind();
        let labels = if kind == Kind::Enum { self.labels } else { Vec::new() };
        let hidden = self.hidden;
        Column { native: self.shown, labels, hidden, ..Column::new(self.name, kind, !self.not_null) }
    }

    /// The class of operands that fit. Types of extensions are compared as text.
    fn kind(&self) -> Kind {
        match self.type_oid {
            16 => Kind::Boolean,
            17 => Kind::Bytes,
            20 => Kind::Integer { bits: 64, signed: true },
            21 => Kind::Integer { bits: 16, signed: true },
            23 => Kind::Integer { bits: 32, signed: true },
            26 => Kind::Integer { bits: 32, signed: false },
            19 | 25 | 1042 | 1043 => Kind::Text,
            114 | 3802 => Kind::Json,
            700 => Kind::Float { bits: 32 },
            701 => Kind::Float { bits: 64 },
            1082 => Kind::Date,
            1083 => Kind::Time,
            1114 => Kind::Timestamp,
            1184 => Kind::TimestampTz,
            1700 => Kind::Decimal,
            2950 => Kind::Uuid,
            _ if self.type_kind == "e" => Kind::Enum,
            _ if self.type_name == "citext" => Kind::Text,
            _ => Kind::Other,
        }
    }
}

fn as_target(name: &str) -> String {
    if name.contains(['.', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}

/// A question of ours with texts as its parameters.
pub(crate) fn question(sql: &str, values: &[&str]) -> Sql {
    let params = values.iter().map(|value| Param::plain(Value::Text((*value).to_owned())));
    Sql { text: sql.to_owned(), params: params.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_target_cannot_say_plainly_is_quoted() {
        assert_eq!(as_target("orders"), "orders");
        assert_eq!(as_target("a.\"b"), "\"a.\"\"b\"");
    }
}
