//! What is in the database, from the information schema.
//!
//! Keys come from `STATISTICS` of the one table: every primary key of MySQL is called `PRIMARY`, and unlike
//! `KEY_COLUMN_USAGE` it is open to an account that may only select.

use std::collections::BTreeMap;

use bridge_core::{BridgeError, ColumnSchema, TargetSchema};
use bridge_sql::{Column, Kind, Param, Repertoire, Sql, Table, Value, parse_target};

use crate::connect::Lease;
use crate::execute::{Access, Row, text, whole};
use crate::flavor::Flavor;
use crate::search::FullText;

/// One row a column; none for no table. An empty name of the database means the session's own. Names are the same table's
/// only byte by byte: MariaDB's catalog compares them without case and accents, which its tables may differ in.
const COLUMNS: &str = "\
SELECT c.COLUMN_NAME, c.DATA_TYPE, c.COLUMN_TYPE, c.IS_NULLABLE, s.SEQ_IN_INDEX, c.CHARACTER_SET_NAME
FROM information_schema.COLUMNS c LEFT JOIN information_schema.STATISTICS s
  ON s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.COLUMN_NAME = c.COLUMN_NAME
  AND s.INDEX_NAME = 'PRIMARY' AND CAST(s.TABLE_NAME AS BINARY) = CAST(c.TABLE_NAME AS BINARY)
WHERE c.TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND c.TABLE_NAME = ?
ORDER BY c.ORDINAL_POSITION";

const TABLES: &str = "\
SELECT TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')";

/// One row a column of a FULLTEXT index.
const FULL_TEXT: &str = "\
SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND INDEX_TYPE = 'FULLTEXT'
ORDER BY INDEX_NAME, SEQ_IN_INDEX";

/// A table or view.
#[derive(Debug)]
pub(crate) struct Relation {
    /// As the translator sees it.
    pub(crate) table: Table,
    /// The types of its columns with lengths, signs and labels, in their order.
    shown: Vec<String>,
}

impl Relation {
    /// The type of a column with its length: `vector(3)`.
    pub(crate) fn shown(&self, column: &str) -> Option<&str> {
        let place = self.table.columns.iter().position(|known| known.name == column)?;
        self.shown.get(place).map(String::as_str)
    }
}

impl AsRef<Table> for Relation {
    fn as_ref(&self) -> &Table {
        &self.table
    }
}

/// Tables of the session's database, sorted. Each is a target as it is: a name with a dot or a quote comes in quotes.
pub(crate) async fn list(access: Access<'_>) -> Result<Vec<String>, BridgeError> {
    let mut names = Vec::new();
    let lease = access.lease().await?;
    access.each_row(lease, &question(TABLES, &[]), |row| names.extend(text(row, 0).map(as_target))).await?;
    // Here, because the order at the server is that of its collation.
    names.sort_unstable();
    Ok(names)
}

/// The FULLTEXT indexes of a table, by name.
pub(crate) async fn full_text(
    access: Access<'_>,
    lease: Lease,
    table: &Table,
) -> Result<(Vec<FullText>, Lease), BridgeError> {
    let (database, name) = database_and_name(&table.parts)?;
    let mut indexes: BTreeMap<String, FullText> = BTreeMap::new();
    let each = |row: Row<'_>| {
        if let (Some(index), Some(column)) = (text(row, 0), text(row, 1)) {
            indexes.entry(index.to_owned()).or_default().push(column.to_owned());
        }
    };
    let lease = access.each_row(lease, &question(FULL_TEXT, &[database, name]), each).await?;
    Ok((indexes.into_values().collect(), lease))
}

/// The columns of a relation with the types that the flavor shows.
pub(crate) fn describe(target: &str, relation: &Relation, flavor: &Flavor, row_count: u64) -> TargetSchema {
    let column = |(column, shown): (&Column, &String)| ColumnSchema {
        name: column.name.clone(),
        kind: if flavor.shows_length { shown.clone() } else { column.native.clone() },
        nullable: column.nullable,
        primary_key: relation.table.primary_key.contains(&column.name),
    };
    let columns = relation.table.columns.iter().zip(&relation.shown).map(column).collect();
    TargetSchema { name: target.to_owned(), columns, row_count }
}

/// The relation called `target`.
pub(crate) async fn look_up(
    access: Access<'_>,
    lease: Lease,
    flavor: &Flavor,
    target: &str,
) -> Result<(Relation, Lease), BridgeError> {
    let parts = parse_target(&flavor.dialect, target)?;
    let (database, name) = database_and_name(&parts)?;
    let mut described = Vec::new();
    let columns = question(COLUMNS, &[database, name]);
    let lease = access.each_row(lease, &columns, |row| described.extend(Described::read(row))).await?;
    if described.is_empty() {
        return Err(BridgeError::Query {
            message: format!("table '{}' doesn't exist", parts.join(".")),
            native: Some("1146".to_owned()),
            source: None,
        });
    }
    Ok((relation(parts, described), lease))
}

/// An empty name of the database means the session's own.
fn database_and_name(parts: &[String]) -> Result<(&str, &str), BridgeError> {
    match parts {
        [name] => Ok(("", name)),
        [database, name] => Ok((database, name)),
        // The dialect has refused everything else.
        _ => Err(BridgeError::Internal("a target of more than two parts".to_owned())),
    }
}

fn relation(parts: Vec<String>, described: Vec<Described>) -> Relation {
    let mut key: Vec<(u64, String)> =
        described.iter().filter_map(|column| Some((column.key?, column.name.clone()))).collect();
    key.sort();
    let shown = described.iter().map(|column| column.shown.clone()).collect();
    let table = Table {
        parts,
        primary_key: key.into_iter().map(|(_, name)| name).collect(),
        columns: described.into_iter().map(Described::into_column).collect(),
    };
    Relation { table, shown }
}

struct Described {
    name: String,
    /// `int`
    native: String,
    /// `int(10) unsigned`
    shown: String,
    nullable: bool,
    /// Place in the primary key.
    key: Option<u64>,
    /// Of a text.
    charset: String,
}

impl Described {
    fn read(row: Row<'_>) -> Option<Self> {
        let own = |column| text(row, column).map(str::to_owned);
        Some(Self {
            name: own(0)?,
            native: own(1)?.to_ascii_lowercase(),
            shown: own(2)?,
            nullable: text(row, 3) == Some("YES"),
            key: whole(row, 4),
            charset: own(5).unwrap_or_default(),
        })
    }

    fn into_column(self) -> Column {
        let (kind, repertoire) = (self.kind(), self.repertoire());
        Column { native: self.native, repertoire, ..Column::new(self.name, kind, self.nullable) }
    }

    /// The server refuses to compare a column with text that its character set cannot say.
    fn repertoire(&self) -> Repertoire {
        match self.charset.as_str() {
            "ascii" => Repertoire::Ascii,
            "latin1" => Repertoire::Windows1252,
            "utf8" | "utf8mb3" | "ucs2" => Repertoire::Basic,
            _ => Repertoire::All,
        }
    }

    /// The class of operands that fit.
    fn kind(&self) -> Kind {
        let signed = !self.shown.to_ascii_lowercase().contains("unsigned");
        let integer = |bits| Kind::Integer { bits, signed };
        match self.native.as_str() {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" => integer(24),
            "int" => integer(32),
            "bigint" => integer(64),
            "year" => Kind::Integer { bits: 16, signed: false },
            "bit" => Kind::Integer { bits: 64, signed: false },
            "decimal" => Kind::Decimal,
            "float" => Kind::Float { bits: 32 },
            "double" => Kind::Float { bits: 64 },
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Kind::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
            "date" => Kind::Date,
            "datetime" => Kind::Timestamp,
            "timestamp" => Kind::TimestampTz,
            "time" => Kind::Time,
            "json" => Kind::Json,
            "uuid" => Kind::Uuid,
            // Without labels ranges compare as text: the order of labels is not that of comparisons.
            "enum" => Kind::Enum,
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
