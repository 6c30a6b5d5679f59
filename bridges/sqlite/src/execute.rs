//! Runs plans. Every function here runs in a connection's own thread; rows leave through a [`Tray`].

mod tray;

use bridge_core::{Columns, Position, RowWriter};
use bridge_sql::{AggregatePlan, Decode, Select, Sql};
use protocol::{CountOptions, Tail};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Row};

pub(crate) use tray::{Filler, SqliteRows, Tray};

use crate::connect::Transaction;
use crate::error::Failure;
use crate::translate::{DIALECT, Relation};
use crate::values::{self, bind, write, write_row};

/// Counts the rows that match.
pub(crate) fn count(
    connection: &Connection,
    relation: &Relation,
    options: &CountOptions,
) -> Result<u64, Failure> {
    let sql = bridge_sql::count(&DIALECT, &relation.table, options)?;
    let mut statement = prepare(connection, &sql)?;
    let mut rows = statement.raw_query();
    let total = rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()?;
    Ok(total.and_then(|total| u64::try_from(total).ok()).unwrap_or_default())
}

/// Puts the rows of a select onto the tray; answers with the cursor of the next page.
pub(crate) fn select(transaction: &Transaction<'_>, select: &Select, tray: &Tray) -> Result<Tail, Failure> {
    let columns = Columns::new(select.outputs.iter().map(String::as_str));
    let mut statement = prepare(transaction.connection, &select.sql)?;
    let mut rows = statement.raw_query();
    let mut written = 0;
    let mut position = None;
    while let Some(row) = rows.next()? {
        if select.page.is_some_and(|page| written >= page) {
            let position: Option<Position> = position.transpose()?;
            let next_cursor = position.map(|position| position.encode());
            return Ok(Tail { next_cursor, ..Tail::default() });
        }
        tray.put(transaction.control, |writer| write_row(writer, &columns, row))?;
        written += 1;
        if !select.key.is_empty() && select.page == Some(written) {
            position = Some(position_of(row, &select.key));
        }
    }
    Ok(Tail::default())
}

/// Puts the buckets of an aggregate onto the tray.
pub(crate) fn aggregate(
    transaction: &Transaction<'_>,
    plan: &AggregatePlan,
    tray: &Tray,
) -> Result<(), Failure> {
    let mut statement = prepare(transaction.connection, &plan.sql)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        tray.put(transaction.control, |writer| {
            plan.write_bucket(writer, 0..plan.columns.len(), |writer, decode, index| {
                write_decoded(writer, decode, row.get_ref(index)?);
                Ok(())
            })
        })?;
    }
    Ok(())
}

fn prepare<'a>(connection: &'a Connection, sql: &Sql) -> Result<CachedStatement<'a>, Failure> {
    let mut statement = connection.prepare_cached(&sql.text)?;
    bind(&mut statement, &sql.params)?;
    Ok(statement)
}

fn position_of(row: &Row<'_>, key: &[usize]) -> Result<Position, Failure> {
    let entries = key.iter().map(|index| values::key_text(row, *index));
    Ok(Position(entries.collect::<Result<_, _>>()?))
}

fn write_decoded(writer: &mut RowWriter, decode: &Decode, value: ValueRef<'_>) {
    match (decode, value) {
        (Decode::Json, ValueRef::Text(json)) => writer.json(&String::from_utf8_lossy(json)),
        (Decode::Step(_) | Decode::Breaks(_), ValueRef::Integer(index)) => {
            decode.write_label(writer, index as f64);
        }
        (Decode::Step(_) | Decode::Breaks(_), ValueRef::Real(index)) => decode.write_label(writer, index),
        // A sum of texts that are numbers is one already; what is left is text that is none.
        (Decode::Number, ValueRef::Text(_) | ValueRef::Blob(_)) => writer.null(),
        (_, value) => write(writer, value),
    }
}
