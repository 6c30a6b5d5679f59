//! Values on their way out and in. The rules are written down for users in `docs/bridges/sqlite.md`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_core::{BridgeError, Columns, RowWriter, js_number};
use bridge_sql::{Kind, Param, Value};
use protocol::Number;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Column, Row, Statement};

use crate::error::Failure;
use crate::introspect::kind_of;

/// Writes the first columns of `row`, one for each name.
pub(crate) fn write_row(writer: &mut RowWriter, columns: &Columns, row: &Row<'_>) -> Result<(), Failure> {
    writer.begin_row();
    for index in 0..columns.len() {
        writer.key(columns, index);
        write(writer, row.get_ref(index)?);
    }
    Ok(writer.end_row()?)
}

/// Writes a value by its storage class; a column's declared type does not matter, because SQLite does not enforce it.
#[inline]
pub(crate) fn write(writer: &mut RowWriter, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => writer.null(),
        ValueRef::Integer(integer) => writer.integer_safe(integer),
        ValueRef::Real(double) => writer.double(double),
        // SQLite stores any bytes as text; those that are not UTF-8 become U+FFFD.
        ValueRef::Text(text) => writer.text(&String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => writer.bytes(bytes),
    }
}

/// Binds a statement's parameters.
pub(crate) fn bind(statement: &mut Statement<'_>, params: &[Param]) -> Result<(), Failure> {
    for (slot, param) in (1..).zip(params) {
        statement.raw_bind_parameter(slot, Bound(&param.value))?;
    }
    Ok(())
}

struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self.0 {
            Value::Boolean(value) => ValueRef::Integer(i64::from(*value)),
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Double(value) => ValueRef::Real(*value),
            Value::Decimal(literal) => number(literal),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::Timestamp(timestamp) => return Ok(ToSqlOutput::from(timestamp.to_string())),
            Value::List(_) => {
                let mistake = BridgeError::Internal("SQLite has no arrays to bind".to_owned());
                return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(mistake)));
            }
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// SQLite has no decimals: what is not a 64-bit integer is the nearest double.
fn number(literal: &str) -> ValueRef<'static> {
    let number = Number::parse(literal);
    let integer = number.as_ref().and_then(Number::as_i64).map(ValueRef::Integer);
    integer.unwrap_or_else(|| number.map_or(ValueRef::Null, |number| ValueRef::Real(number.as_f64())))
}

/// One column of a page's last row as text for a cursor; nothing for null.
///
/// The cursor will be fitted to the column's declared type again. SQLite does not enforce that type, so a value of
/// another one may stand there, and to go on after it would lose rows: better to refuse.
pub(crate) fn key_text(row: &Row<'_>, index: usize) -> Result<Option<String>, Failure> {
    let statement: &Statement<'_> = row.as_ref();
    let columns = statement.columns();
    let declared = columns.get(index).and_then(Column::decl_type).unwrap_or_default();
    match row.get_ref(index)? {
        ValueRef::Null => Ok(None),
        value => text_that_fits(value, declared).map(Some).ok_or_else(|| odd_key(declared)),
    }
}

fn text_that_fits(value: ValueRef<'_>, declared: &str) -> Option<String> {
    let kind = kind_of(declared);
    match value {
        ValueRef::Blob(bytes) if kind == Kind::Bytes => Some(STANDARD.encode(bytes)),
        ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) if kind == Kind::Bytes => None,
        ValueRef::Integer(flag) if kind == Kind::Boolean => matches!(flag, 0 | 1).then(|| flag.to_string()),
        ValueRef::Integer(integer) => Some(integer.to_string()),
        ValueRef::Real(_) if matches!(kind, Kind::Boolean | Kind::Integer { .. }) => None,
        ValueRef::Real(double) => Some(js_number(double)),
        ValueRef::Text(_) if kind.is_numeric() || kind == Kind::Boolean => None,
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(str::to_owned),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

fn odd_key(declared: &str) -> Failure {
    let message = format!("cannot page by a column declared {declared}: it holds a value of another type");
    BridgeError::query(message).into()
}
