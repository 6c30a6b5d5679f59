//! What is in the database: its tables, their columns and keys, as SQLite's own table-valued pragmas tell.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bridge_core::{BridgeError, ColumnSchema, TargetSchema};
use bridge_sql::{Column, Kind, Table, parse_target};
use rusqlite::{Connection, OptionalExtension};

use crate::connect::Transaction;
use crate::error::Failure;
use crate::translate::{DIALECT, Relation};

/// Tables that are remembered; more than a request can make us keep.
const REMEMBERED: usize = 512;
/// Names of the hidden key of a table without a primary key, unless a column takes them.
const ROWID: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// Tables as they were when last looked at, valid for one version of the schema.
#[derive(Default)]
pub(crate) struct Catalog {
    version: i64,
    relations: HashMap<String, Arc<Relation>>,
}

impl Catalog {
    /// Forgets everything when the schema is no longer the one that was read.
    pub(crate) fn follow(&mut self, version: i64) {
        if self.version != version || self.relations.len() > REMEMBERED {
            self.relations.clear();
            self.version = version;
        }
    }

    /// The table or view called `target`.
    pub(crate) fn relation(
        &mut self,
        connection: &Connection,
        target: &str,
    ) -> Result<Arc<Relation>, Failure> {
        if let Some(relation) = self.relations.get(target) {
            return Ok(relation.clone());
        }
        let relation = Arc::new(look_up(connection, target)?);
        self.relations.insert(target.to_owned(), relation.clone());
        Ok(relation)
    }
}

/// The tables, sorted; neither SQLite's own nor those in which another table keeps its data. Each is a target as it is:
/// a name with a dot or a quote comes in quotes.
pub(crate) fn list(transaction: &Transaction<'_>) -> Result<Vec<String>, Failure> {
    const TABLES: &str = "SELECT name FROM pragma_table_list \
        WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite!_%' ESCAPE '!'";
    let mut statement = transaction.connection.prepare_cached(TABLES)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut targets: Vec<String> = names.map(|name| name.map(as_target)).collect::<Result<_, _>>()?;
    targets.sort();
    Ok(targets)
}

/// One table or view, with its rows counted.
pub(crate) fn describe(transaction: &mut Transaction<'_>, target: &str) -> Result<TargetSchema, Failure> {
    let name = existing(transaction.connection, target)?.name;
    let described = columns(transaction.connection, &name)?;
    let columns = described.into_iter().map(|column| ColumnSchema {
        name: column.name,
        kind: if column.declared.is_empty() { "TEXT".to_owned() } else { column.declared },
        nullable: !column.not_null,
        primary_key: column.key > 0,
    });
    let columns = columns.collect();
    let relation = transaction.catalog.relation(transaction.connection, target)?;
    let row_count =
        crate::execute::count(transaction.connection, &relation, &protocol::CountOptions::default())?;
    Ok(TargetSchema { name: target.to_owned(), columns, row_count })
}

struct Existing {
    name: String,
    /// An ordinary table with the hidden key that SQLite calls rowid.
    has_rowid: bool,
}

struct Described {
    name: String,
    declared: String,
    not_null: bool,
    /// Place in the primary key, from 1; 0 outside of it.
    key: u32,
}

fn look_up(connection: &Connection, target: &str) -> Result<Relation, Failure> {
    let existing = existing(connection, target)?;
    let described = columns(connection, &existing.name)?;
    let mut key: Vec<&Described> = described.iter().filter(|column| column.key > 0).collect();
    key.sort_by_key(|column| column.key);
    let rowid = existing.has_rowid.then(|| rowid(&described)).flatten();
    let is_rowid = |declared: &str| existing.has_rowid && declared.eq_ignore_ascii_case("INTEGER");
    // `INTEGER PRIMARY KEY` is the rowid itself, which is never null; any other key of an ordinary table may hold nulls.
    let integer_key = matches!(key.as_slice(), [only] if is_rowid(&only.declared));
    let loose_key = rowid.is_some() && !integer_key && key.iter().any(|column| !column.not_null);
    let primary_key: Vec<String> = if key.is_empty() {
        rowid.iter().map(|name| (*name).to_owned()).collect()
    } else {
        key.iter().map(|column| column.name.clone()).collect()
    };
    let column = |column: &Described| Column {
        native: column.declared.clone(),
        ..Column::new(
            column.name.clone(),
            kind_of(&column.declared),
            !(column.not_null || integer_key && column.key > 0),
        )
    };
    let mut columns: Vec<Column> = described.iter().map(column).collect();
    if let Some(name) = rowid {
        let integer = Kind::Integer { bits: 64, signed: true };
        columns.push(Column { hidden: true, ..Column::new(name, integer, false) });
    }
    let table = Table { parts: vec![existing.name], columns, primary_key };
    Ok(Relation { table, rowid: rowid.map(str::to_owned), loose_key, full_text: OnceLock::new() })
}

/// Finds a table or view by name, as SQLite does: without regard to the case of ASCII letters.
fn existing(connection: &Connection, target: &str) -> Result<Existing, Failure> {
    let parts = parse_target(&DIALECT, target)?;
    let name = match parts.as_slice() {
        [name] => name,
        [schema, name] if schema.eq_ignore_ascii_case("main") => name,
        _ => return Err(missing(target)),
    };
    // Names that begin with sqlite_ are SQLite's own bookkeeping.
    const FIND: &str = "SELECT name, type, wr FROM pragma_table_list(?1) \
        WHERE schema = 'main' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'";
    let found = connection.prepare_cached(FIND)?.query_row([name], |row| {
        let is_table = row.get_ref(1)?.as_str()? == "table";
        Ok(Existing { name: row.get(0)?, has_rowid: is_table && !row.get::<_, bool>(2)? })
    });
    found.optional()?.ok_or_else(|| missing(target))
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<Described>, Failure> {
    // Hidden columns of virtual tables (1) are arguments; generated ones (2, 3) are data.
    const COLUMNS: &str =
        "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let mut statement = connection.prepare_cached(COLUMNS)?;
    let described = statement.query_map([table], |row| {
        Ok(Described { name: row.get(0)?, declared: row.get(1)?, not_null: row.get(2)?, key: row.get(3)? })
    })?;
    Ok(described.collect::<Result<_, _>>()?)
}

fn rowid(columns: &[Described]) -> Option<&'static str> {
    let is_free = |name: &&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    ROWID.into_iter().find(is_free)
}

fn missing(target: &str) -> Failure {
    BridgeError::query(format!("no such table: {target}")).into()
}

fn as_target(name: String) -> String {
    if name.contains(['.', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name }
}

/// The class of operands that fit a column, by SQLite's rules of affinity (<https://sqlite.org/datatype3.html>, 3.1).
///
/// Dates have no class of their own in SQLite: their columns hold text or numbers, and operands are compared with what is
/// there as it is.
pub(crate) fn kind_of(declared: &str) -> Kind {
    let declared = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    if has(&["BOOL"]) {
        Kind::Boolean
    } else if has(&["INT"]) {
        Kind::Integer { bits: 64, signed: true }
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Kind::Text
    } else if has(&["BLOB"]) {
        Kind::Bytes
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Kind::Float { bits: 64 }
    } else if has(&["DECIMAL", "NUMERIC", "NUMBER"]) {
        Kind::Decimal
    } else if has(&["DATETIME", "TIMESTAMP"]) {
        Kind::Timestamp
    } else if has(&["DATE"]) {
        Kind::Date
    } else {
        Kind::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_fall_into_sqlites_classes() {
        let integer = Kind::Integer { bits: 64, signed: true };
        for (declared, kind) in [
            ("INTEGER", integer),
            ("UNSIGNED BIG INT", integer),
            ("varchar(20)", Kind::Text),
            ("BOOLEAN", Kind::Boolean),
            ("double precision", Kind::Float { bits: 64 }),
            ("DECIMAL(10,2)", Kind::Decimal),
            ("BLOB", Kind::Bytes),
            ("DATETIME", Kind::Timestamp),
            ("date", Kind::Date),
            ("ANY", Kind::Unknown),
            ("", Kind::Unknown),
        ] {
            assert_eq!(kind_of(declared), kind, "{declared}");
        }
    }

    #[test]
    fn a_name_that_a_target_cannot_say_plainly_is_quoted() {
        assert_eq!(as_target("orders".to_owned()), "orders");
        assert_eq!(as_target("a.\"b".to_owned()), "\"a.\"\"b\"");
    }
}
