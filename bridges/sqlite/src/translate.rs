//! What to ask SQLite. Nothing here touches a database but [`Relation::paging`], which asks one question of the key.

use std::borrow::Cow;
use std::sync::OnceLock;

use bridge_sql::{AggregatePlan, Column, Dialect, Select, SqlError, SqlText, Table};
use protocol::{AggregateOptions, QueryOptions, ReadOptions};
use rusqlite::Connection;

use crate::connect::Transaction;
use crate::error::Failure;
use crate::search::FullText;

/// SQLite with `semilayer_fold`.
pub(crate) const DIALECT: Dialect = bridge_sql::SQLITE;

/// A table or view.
#[derive(Debug)]
pub(crate) struct Relation {
    /// As the translator sees it.
    pub(crate) table: Table,
    /// Name of the hidden integer key; only of ordinary tables.
    pub(crate) rowid: Option<String>,
    /// SQLite allows nulls in a primary key that is not an integer, and any number of them: such a key orders rows but
    /// does not tell all of them apart.
    pub(crate) loose_key: bool,
    /// The full-text indexes of its texts; looked up by the first search.
    pub(crate) full_text: OnceLock<Vec<FullText>>,
}

/// The statement of a `query`.
pub(crate) fn query(
    connection: &Connection,
    relation: &Relation,
    options: &QueryOptions,
) -> Result<Select, Failure> {
    let cursor = match &options.keyset {
        Some(keyset) if keyset.tiebreak.is_none() => keyset.cursor.as_deref(),
        _ => return Ok(bridge_sql::query(&DIALECT, &relation.table, options)?),
    };
    relation.paging(connection, cursor, |table| bridge_sql::query(&DIALECT, table, options))
}

/// The statement of a `read`.
pub(crate) fn read(
    connection: &Connection,
    relation: &Relation,
    options: &ReadOptions,
) -> Result<Select, Failure> {
    let cursor = options.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    relation.paging(connection, cursor, |table| bridge_sql::read(&DIALECT, table, options))
}

/// The statement of an `aggregate`, with the tables that it joins.
pub(crate) fn aggregate(
    transaction: &mut Transaction<'_>,
    target: &str,
    options: &AggregateOptions,
) -> Result<AggregatePlan, Failure> {
    let connection = transaction.connection;
    let relation = transaction.catalog.relation(connection, target)?;
    let mut joined = Vec::new();
    for join in &options.joins {
        joined.push(transaction.catalog.relation(connection, &join.target)?.table.clone());
    }
    Ok(bridge_sql::aggregate(&DIALECT, &relation.table, &joined, options)?)
}

impl Relation {
    /// Translates with a primary key that tells rows apart.
    ///
    /// A loose key is followed by the rowid when it holds nulls. The first page looks; the pages after it go by the shape
    /// of their cursor, so that a scan does not change its order half way.
    fn paging(
        &self,
        connection: &Connection,
        cursor: Option<&str>,
        translate: impl Fn(&Table) -> Result<Select, SqlError>,
    ) -> Result<Select, Failure> {
        if cursor.is_none() && self.holds_null_keys(connection)? {
            return Ok(translate(&self.with_rowid())?);
        }
        match translate(&self.with_solid_key()) {
            Err(SqlError::Invalid(invalid)) if self.loose_key && invalid.field == "cursor" => {
                Ok(translate(&self.with_rowid())?)
            }
            result => Ok(result?),
        }
    }

    fn holds_null_keys(&self, connection: &Connection) -> Result<bool, Failure> {
        match self.table.primary_key.as_slice() {
            _ if !self.loose_key => Ok(false),
            [key] => {
                let mut text = SqlText::new(&DIALECT);
                text.syntax("SELECT 1 FROM ").name(&self.table.parts);
                text.syntax(" WHERE ").ident(key).syntax(" IS NULL LIMIT 1");
                Ok(connection.prepare_cached(&text.finish()?.text)?.exists([])?)
            }
            // Looking would be a scan; with several columns the cursor has a form of its own anyway.
            _ => Ok(true),
        }
    }

    fn with_rowid(&self) -> Table {
        let mut table = self.table.clone();
        table.primary_key.extend(self.rowid.clone());
        table
    }

    fn with_solid_key(&self) -> Cow<'_, Table> {
        if !self.loose_key {
            return Cow::Borrowed(&self.table);
        }
        let mut table = self.table.clone();
        let key = &table.primary_key;
        let is_key = |column: &&mut Column| key.contains(&column.name);
        table.columns.iter_mut().filter(is_key).for_each(|column| column.nullable = false);
        Cow::Owned(table)
    }
}
