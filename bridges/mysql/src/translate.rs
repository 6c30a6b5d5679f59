//! What to ask MySQL, and how its parameters are bound.
//!
//! Every parameter travels in its binary form with a type that the column's index can be used with.

use bridge_sql::{Column, Kind, Param as SqlParam, Sql, Value};
use protocol::Timestamp;

use crate::wire::Param;

/// Types whose text in rows is not their `CAST(.. AS CHAR)`, or which that refuses, with the server's words for their text.
pub(crate) const MYSQL_CASTS: &[(&str, &str)] = &casts("VECTOR_TO_STRING(#1)");
/// The same of MariaDB.
pub(crate) const MARIADB_CASTS: &[(&str, &str)] = &casts("VEC_ToText(#1)");

const fn casts(vector: &'static str) -> [(&'static str, &'static str); 13] {
    const WELL_KNOWN: &str = "ST_AsText(#1)";
    [
        // With the collation of the column, in which labels differ.
        ("enum", "CONCAT(#1)"),
        ("set", "CONCAT(#1)"),
        ("bit", "CAST(#1 + 0 AS CHAR)"),
        ("geometry", WELL_KNOWN),
        ("point", WELL_KNOWN),
        ("linestring", WELL_KNOWN),
        ("polygon", WELL_KNOWN),
        ("multipoint", WELL_KNOWN),
        ("multilinestring", WELL_KNOWN),
        ("multipolygon", WELL_KNOWN),
        ("geomcollection", WELL_KNOWN),
        ("geometrycollection", WELL_KNOWN),
        ("vector", vector),
    ]
}

/// Dates that are in no calendar and times beyond a day, which are no operands but may be keys. The server reads its own
/// text of them.
pub(crate) fn cursor_value(column: &Column, text: &str) -> Option<Value> {
    let is_as_the_server_writes_it = match column.kind {
        Kind::Date => is_shaped(text, "0000-00-00"),
        Kind::Timestamp | Kind::TimestampTz => is_shaped(whole_seconds(text), "0000-00-00 00:00:00"),
        Kind::Time => {
            let clock = whole_seconds(text.strip_prefix('-').unwrap_or(text));
            is_shaped(clock, "00:00:00") || is_shaped(clock, "000:00:00")
        }
        _ => false,
    };
    is_as_the_server_writes_it.then(|| Value::Text(text.to_owned()))
}

/// The text without up to six digits behind a point.
fn whole_seconds(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, fraction))
            if fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            whole
        }
        _ => text,
    }
}

/// Whether `text` has digits where `shape` has them, and otherwise its characters.
fn is_shaped(text: &str, shape: &str) -> bool {
    let fits = |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

/// A statement's parameters as the wire takes them.
pub(crate) fn bound(sql: &Sql) -> Vec<Param> {
    sql.params.iter().map(param).collect()
}

fn param(param: &SqlParam) -> Param {
    match &param.value {
        Value::Boolean(value) => Param::Integer(i64::from(*value)),
        Value::Integer(value) => Param::Integer(*value),
        Value::Double(value) => Param::Double(*value),
        // An unsigned integer beyond the signed ones; a decimal would not use the index.
        Value::Decimal(text) => match text.parse() {
            Ok(unsigned) if matches!(param.kind, Some(Kind::Integer { .. })) => Param::Unsigned(unsigned),
            _ => Param::Decimal(text.clone()),
        },
        Value::Text(text) => Param::Text(text.clone()),
        Value::Bytes(bytes) => Param::Bytes(bytes.clone()),
        Value::Timestamp(instant) => moment(*instant, param.kind == Some(Kind::Date)),
        // Lists are expanded in this dialect.
        Value::List(_) => Param::Null,
    }
}

/// The years that MySQL has; others compare as the first or the last moment of them.
const YEARS: std::ops::RangeInclusive<i64> = 0..=9_999;
const LAST_MICROSECOND: u64 = 86_399_999_999;

fn moment(instant: Timestamp, day_only: bool) -> Param {
    let (year, month, day) = instant.civil();
    let micros_of_day = u64::try_from(instant.micros_of_day()).unwrap_or(0);
    let (year, month, day, micros_of_day) = match u16::try_from(year) {
        Ok(near) if YEARS.contains(&year) => (near, month, day, micros_of_day),
        _ if year < 0 => (0, 1, 1, 0),
        _ => (9_999, 12, 31, LAST_MICROSECOND),
    };
    if day_only {
        Param::Date { year, month, day }
    } else {
        Param::DateTime { year, month, day, micros_of_day }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: Value, kind: Option<Kind>) -> Param {
        param(&SqlParam { value, kind })
    }

    #[test]
    fn an_unsigned_integer_stays_one() {
        let unsigned = Some(Kind::Integer { bits: 64, signed: false });
        let most = || Value::Decimal("18446744073709551615".to_owned());
        assert_eq!(one(most(), unsigned), Param::Unsigned(u64::MAX));
        assert_eq!(one(most(), Some(Kind::Decimal)), Param::Decimal("18446744073709551615".to_owned()));
    }

    #[test]
    fn a_cursor_may_hold_a_key_that_is_no_operand_and_nothing_else() {
        let read = |kind, text: &str| cursor_value(&Column::new("k", kind, false), text).is_some();
        assert!(read(Kind::Date, "0000-00-00") && read(Kind::Timestamp, "2026-02-00 00:00:00.000001"));
        assert!(read(Kind::Time, "-838:59:59") && read(Kind::Time, "24:00:00.5"));
        assert!(!read(Kind::Date, "2026-02-0x") && !read(Kind::Timestamp, "0000-00-00 00:00:00.x"));
        assert!(!read(Kind::Time, "--01:00:00") && !read(Kind::Text, "0000-00-00"));
    }

    #[test]
    fn instants_are_bound_as_days_or_to_the_microsecond() {
        let instant = Timestamp::parse("2026-01-02T03:04:05.678901Z").unwrap();
        let bound = one(Value::Timestamp(instant), Some(Kind::Timestamp));
        assert_eq!(bound, Param::DateTime { year: 2026, month: 1, day: 2, micros_of_day: 11_045_678_901 });
        let bound = one(Value::Timestamp(instant), Some(Kind::Date));
        assert_eq!(bound, Param::Date { year: 2026, month: 1, day: 2 });
    }

    #[test]
    fn instants_that_mysql_has_not_are_its_first_and_its_last() {
        let late = one(Value::Timestamp(Timestamp::from_micros(i64::MAX)), None);
        assert_eq!(
            late,
            Param::DateTime { year: 9_999, month: 12, day: 31, micros_of_day: LAST_MICROSECOND }
        );
        let early = one(Value::Timestamp(Timestamp::from_micros(i64::MIN)), None);
        assert_eq!(early, Param::DateTime { year: 0, month: 1, day: 1, micros_of_day: 0 });
    }
}
