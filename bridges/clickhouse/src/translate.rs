//! What to ask ClickHouse, and how its parameters are written.
//!
//! Every parameter travels apart from the statement, as text of a type that the statement declares. A scalar is escaped
//! as in tab-separated files, an element of an array as in a quoted literal.

use std::fmt::Write as _;

use bridge_sql::{Aggregates, CLICKHOUSE, Cell, Column, Dialect, Kind, Sql, Value};
use protocol::Timestamp;

use crate::values::Type;

/// ClickHouse's dialect, as one server speaks it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialects(Dialect);

/// Parameters of one statement, whose text must not become too long for a field.
const MOST_PARAMS: usize = 10_000;
/// What a request has besides them: the statement, and settings.
const OTHER_FIELDS: usize = 100;

/// How values show whose bytes cannot be read as they are: as JSON that the server writes.
pub(crate) const SHOWN_AS_JSON: &str = "toJSONString(#1)";
/// States of aggregate functions are bytes.
const SHOWN_AS_BYTES: &str = "base64Encode(toString(#1))";

impl Dialects {
    /// `latitude_first`: the server's `geoToH3` takes its arguments in that order. `fields`: so many a form may have, 0 for
    /// any number; every parameter is one.
    pub(crate) fn new(latitude_first: bool, fields: Option<usize>) -> Self {
        let cell = if latitude_first {
            "toString(geoToH3(toFloat64(#1), toFloat64(#2), #3))"
        } else {
            "toString(geoToH3(toFloat64(#2), toFloat64(#1), #3))"
        };
        let aggregates = Aggregates { h3: Some(Cell { cell, point: None }), ..CLICKHOUSE.aggregates };
        let max_params = match fields {
            None => CLICKHOUSE.max_params,
            Some(0) => MOST_PARAMS,
            Some(fields) => fields.saturating_sub(OTHER_FIELDS).clamp(1, MOST_PARAMS),
        };
        Self(Dialect { aggregates, shown, tie, max_params, ..CLICKHOUSE })
    }

    pub(crate) fn plain(&self) -> &Dialect {
        &self.0
    }
}

/// How a row shows a column.
pub(crate) fn shown(column: &Column) -> Option<&'static str> {
    match Type::parse(&column.native) {
        Some(_) => None,
        None if is_state(&column.native) => Some(SHOWN_AS_BYTES),
        None => Some(SHOWN_AS_JSON),
    }
}

/// What has no order is ordered by its text.
fn tie(column: &Column) -> Option<&'static str> {
    let has_order = Type::parse(&column.native).is_some() && !column.native.contains("QBit(");
    (!has_order).then_some("toString(#1)")
}

fn is_state(native: &str) -> bool {
    native.starts_with("AggregateFunction(")
}

/// A statement's parameters, by slot.
pub(crate) fn params(sql: &Sql) -> Vec<String> {
    sql.params.iter().map(|param| text_of(&param.value, param.kind)).collect()
}

fn text_of(value: &Value, kind: Option<Kind>) -> String {
    match value {
        Value::Text(text) => escaped(text, '\t'),
        Value::List(values) => array(values, kind),
        other => plain(other, kind),
    }
}

/// The text of a value that needs no escape.
fn plain(value: &Value, kind: Option<Kind>) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Double(value) => format!("{value:?}"),
        Value::Decimal(text) | Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Timestamp(at) if kind == Some(Kind::Date) => day(*at),
        Value::Timestamp(at) => instant(*at),
        Value::List(_) => String::new(),
    }
}

fn array(values: &[Value], kind: Option<Kind>) -> String {
    let mut text = String::from("[");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match value {
            Value::Text(value) => {
                let _infallible = write!(text, "'{}'", escaped(value, '\''));
            }
            Value::Bytes(_) | Value::Timestamp(_) => {
                let _infallible = write!(text, "'{}'", plain(value, kind));
            }
            other => text.push_str(&plain(other, kind)),
        }
    }
    text.push(']');
    text
}

/// With a backslash before what would end or change the text, `end` among it.
fn escaped(text: &str, end: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            character if character == end => out.extend(['\\', character]),
            character => out.push(character),
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// `2026-01-02 03:04:05.678901`; the server reads years of four digits.
fn instant(at: Timestamp) -> String {
    let micros = at.micros_of_day();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match at.civil().0 {
        ..1 => "0001-01-01 00:00:00.000000".to_owned(),
        10_000.. => "9999-12-31 23:59:59.999999".to_owned(),
        _ => format!("{} {hour:02}:{minute:02}:{second:02}.{fraction:06}", day(at)),
    }
}

fn day(at: Timestamp) -> String {
    let (year, month, day) = at.civil();
    match year {
        ..1 => "0001-01-01".to_owned(),
        10_000.. => "9999-12-31".to_owned(),
        _ => format!("{year:04}-{month:02}-{day:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_its_place() {
        let text = Value::Text("it's\\ \t\n\r\0 \"q\"".to_owned());
        assert_eq!(text_of(&text, None), r#"it's\\ \t\n\r\0 "q""#);
        let list = Value::List(vec![text, Value::Text("b".to_owned())]);
        assert_eq!(text_of(&list, None), r#"['it\'s\\ \t\n\r\0 "q"','b']"#);
    }

    #[test]
    fn instants_and_days_have_the_forms_of_their_types() {
        let at = Value::Timestamp(Timestamp::parse("1969-12-31T23:59:59.000001Z").unwrap());
        assert_eq!(text_of(&at, Some(Kind::TimestampTz)), "1969-12-31 23:59:59.000001");
        assert_eq!(text_of(&at, Some(Kind::Date)), "1969-12-31");
        assert_eq!(text_of(&Value::List(vec![at]), Some(Kind::Date)), "['1969-12-31']");
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_text() {
        let shown_as = |native: &str| {
            shown(&Column { native: native.to_owned(), ..Column::new("x", Kind::Other, false) })
        };
        assert_eq!(shown_as("Array(String)"), None);
        assert_eq!(shown_as("JSON"), Some(SHOWN_AS_JSON));
        assert_eq!(shown_as("Array(Variant(Int64, String))"), Some(SHOWN_AS_JSON));
        assert_eq!(shown_as("AggregateFunction(sum, Int64)"), Some(SHOWN_AS_BYTES));
    }
}
