//! What to ask PostgreSQL, and how its parameters are bound.
//!
//! Every parameter travels as text with a declared type: the type decides which index can be used, and the server parses
//! the text exactly. Only parameters beside text columns are left to the server, which knows whether the column is
//! `text`, `varchar` or a domain over one of them.

use std::fmt::Write as _;

use bridge_sql::{Aggregates, Dialect, Kind, Param, Sql, Value};
use protocol::Timestamp;

use crate::wire::Oid;

/// Ids of types (`pg_type.dat`): the type and its array.
const BOOL: [Oid; 2] = [16, 1000];
const BYTEA: [Oid; 2] = [17, 1001];
const INT8: [Oid; 2] = [20, 1016];
const INT2: [Oid; 2] = [21, 1005];
const INT4: [Oid; 2] = [23, 1007];
const TEXT: [Oid; 2] = [25, 1009];
const OID: [Oid; 2] = [26, 1028];
const FLOAT4: [Oid; 2] = [700, 1021];
const FLOAT8: [Oid; 2] = [701, 1022];
const DATE: [Oid; 2] = [1082, 1182];
const TIME: [Oid; 2] = [1083, 1183];
const TIMESTAMP: [Oid; 2] = [1114, 1115];
const TIMESTAMPTZ: [Oid; 2] = [1184, 1185];
const NUMERIC: [Oid; 2] = [1700, 1231];
const UUID: [Oid; 2] = [2950, 2951];
/// The server works it out.
const INFERRED: [Oid; 2] = [0, 0];

/// A flavor's dialect, with PostGIS where the source has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialects(Dialect);

impl Dialects {
    pub(crate) fn new(dialect: Dialect, postgis: bool) -> Self {
        let geohash = dialect.aggregates.geohash.filter(|_| postgis);
        Self(Dialect { aggregates: Aggregates { geohash, ..dialect.aggregates }, ..dialect })
    }

    pub(crate) fn plain(&self) -> &Dialect {
        &self.0
    }
}

/// A statement's parameters in the form that the wire takes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Bound {
    pub(crate) types: Vec<Oid>,
    pub(crate) values: Vec<String>,
}

impl Bound {
    pub(crate) fn of(sql: &Sql) -> Self {
        let values = sql.params.iter().map(|param| text_of(&param.value)).collect();
        Self { types: sql.params.iter().map(type_of).collect(), values }
    }
}

fn type_of(param: &Param) -> Oid {
    let [one, many] = match param.kind {
        Some(kind) => type_of_kind(kind),
        None => type_of_value(&param.value),
    };
    if matches!(param.value, Value::List(_)) { many } else { one }
}

fn type_of_kind(kind: Kind) -> [Oid; 2] {
    match kind {
        Kind::Integer { bits: 0..=16, signed: true } => INT2,
        Kind::Integer { bits: 17..=32, signed: true } => INT4,
        Kind::Integer { signed: false, .. } => OID,
        Kind::Integer { .. } => INT8,
        Kind::Decimal => NUMERIC,
        Kind::Float { bits: 0..=32 } => FLOAT4,
        Kind::Float { .. } => FLOAT8,
        Kind::Boolean => BOOL,
        Kind::Uuid => UUID,
        Kind::Date => DATE,
        Kind::Timestamp => TIMESTAMP,
        Kind::TimestampTz => TIMESTAMPTZ,
        Kind::Time => TIME,
        Kind::Bytes => BYTEA,
        // Compared as the server's text of them.
        Kind::Json | Kind::Other => TEXT,
        Kind::Text | Kind::Enum | Kind::Unknown => INFERRED,
    }
}

fn type_of_value(value: &Value) -> [Oid; 2] {
    match value {
        Value::Boolean(_) => BOOL,
        Value::Integer(_) => INT8,
        Value::Double(_) => FLOAT8,
        Value::Decimal(_) => NUMERIC,
        Value::Text(_) => TEXT,
        Value::Bytes(_) => BYTEA,
        Value::Timestamp(_) => TIMESTAMPTZ,
        Value::List(values) => values.first().map_or(TEXT, type_of_value),
    }
}

/// The text that the type's input function reads.
fn text_of(value: &Value) -> String {
    match value {
        Value::Boolean(value) => (if *value { "t" } else { "f" }).to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Double(value) => format!("{value:e}"),
        Value::Decimal(text) | Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Timestamp(timestamp) => instant(*timestamp),
        Value::List(values) => array(values),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// ISO 8601, which PostgreSQL reads for years 1 to 9999; beyond them it wants plain digits, or `BC` at the end.
fn instant(timestamp: Timestamp) -> String {
    let text = timestamp.to_string();
    let (year, ..) = timestamp.civil();
    match text.strip_prefix(['+', '-']) {
        Some(_) if year <= 0 => {
            let rest = text.get(7..).unwrap_or_default();
            format!("{:04}{rest} BC", 1 - year)
        }
        Some(later) => later.trim_start_matches('0').to_owned(),
        None if year == 0 => format!("0001{} BC", text.get(4..).unwrap_or_default()),
        None => text,
    }
}

/// An array literal with every element in quotes, so that none of them can be read as anything else.
fn array(values: &[Value]) -> String {
    let mut text = String::from("{");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push('"');
        for character in text_of(value).chars() {
            if matches!(character, '"' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push('"');
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_quote_what_would_be_read_otherwise() {
        let texts = ["a,b", "q\"\\", "NULL", "", "{}"].map(|text| Value::Text(text.to_owned()));
        assert_eq!(array(&texts), r#"{"a,b","q\"\\","NULL","","{}"}"#);
        assert_eq!(array(&[Value::Bytes(vec![0, 255])]), r#"{"\\x00ff"}"#);
    }

    #[test]
    fn types_follow_the_column_and_lists_are_arrays() {
        let list = Param {
            value: Value::List(vec![Value::Integer(1)]),
            kind: Some(Kind::Integer { bits: 32, signed: true }),
        };
        assert_eq!(type_of(&list), 1007);
        assert_eq!(type_of(&Param::plain(Value::Integer(5))), 20);
        let name = Param { value: Value::Text("x".to_owned()), kind: Some(Kind::Text) };
        assert_eq!(type_of(&name), 0);
    }

    #[test]
    fn instants_far_away_are_written_as_the_server_reads_them() {
        let shown = |text: &str| instant(Timestamp::parse(text).unwrap());
        assert_eq!(shown("2026-01-02T03:04:05.678901Z"), "2026-01-02T03:04:05.678901Z");
        let late = Timestamp::from_micros(253_402_300_800_000_000);
        assert_eq!(instant(late), "10000-01-01T00:00:00.000Z");
        assert_eq!(shown("0000-03-01"), "0001-03-01T00:00:00.000Z BC");
        let early = Timestamp::from_micros(-63_000_000_000_000_000);
        assert!(instant(early).ends_with(" BC"), "{}", instant(early));
    }
}
