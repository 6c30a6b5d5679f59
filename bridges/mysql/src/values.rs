//! MySQL's values as JSON text, written straight from the binary form of a row.
//!
//! Nothing here knows a time zone: the session's is UTC, so `TIMESTAMP` arrives in it, and `DATETIME` is read as UTC. The
//! table for people is `docs/bridges/mysql.md`.

mod geometry;
mod moment;

use bridge_core::RowWriter;
use serde::de::IgnoredAny;

use crate::wire::{Column, ColumnType};

/// Bytes that are not what their type promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a {0} that cannot be read")]
pub(crate) struct BadValue(pub(crate) &'static str);

/// Writes a value that is not null.
#[inline]
pub(crate) fn write(column: &Column, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    match column.kind {
        ColumnType::Null => out.null(),
        ColumnType::Tiny { .. }
        | ColumnType::Short { .. }
        | ColumnType::Long { .. }
        | ColumnType::LongLong { .. }
        | ColumnType::Year
        | ColumnType::Bit
        | ColumnType::BitDigits => match integer(column, bytes)? {
            Integer::Signed(value) => out.integer_safe(value),
            Integer::Unsigned(value) => out.unsigned_safe(value),
        },
        ColumnType::Float => out.single(f32::from_le_bytes(fixed(bytes, "FLOAT")?)),
        ColumnType::Double => out.double(f64::from_le_bytes(fixed(bytes, "DOUBLE")?)),
        ColumnType::Decimal | ColumnType::Text => write_text(bytes, out)?,
        ColumnType::Date => moment::write_date(bytes, out)?,
        ColumnType::DateTime => moment::write_date_time(column, bytes, out)?,
        ColumnType::Time => moment::write_time(column, bytes, out)?,
        // MariaDB checks it when it is written, unless somebody has switched that off.
        ColumnType::Json => out.json_or_text(text(bytes)?),
        ColumnType::Geometry => geometry::write(bytes, out)?,
        ColumnType::Vector => write_vector(bytes, out)?,
        ColumnType::Bytes => out.bytes(bytes),
    }
    Ok(())
}

/// Writes a value that the statement has made text of.
pub(crate) fn write_text(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    out.text(text(bytes)?);
    Ok(())
}

/// A key's value as a cursor holds it: as rows carry it.
pub(crate) fn key_text(column: &Column, bytes: &[u8]) -> Result<String, BadValue> {
    let mut writer = RowWriter::new(usize::MAX);
    write(column, bytes, &mut writer)?;
    let json = writer.into_text();
    match serde_json::from_str(&json) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Ok(json),
    }
}

/// A measure: whole values exactly, as text beyond 2^53-1; others as the nearest double.
pub(crate) fn write_number(column: &Column, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    match column.kind {
        ColumnType::Decimal => write_decimal(text(bytes)?, out),
        _ => return write(column, bytes, out),
    }
    Ok(())
}

/// A list of `top_k` that the statement has put together.
pub(crate) fn write_list(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let json = text(bytes)?;
    // The server cuts a list off at group_concat_max_len; half a list must not become half a row.
    serde_json::from_str::<IgnoredAny>(json).map_err(|_| BadValue("list of more than 16 MiB"))?;
    out.json(json);
    Ok(())
}

/// The number of a bucket's index.
pub(crate) fn double_of(column: &Column, bytes: &[u8]) -> Result<f64, BadValue> {
    const BAD: BadValue = BadValue("number");
    match column.kind {
        ColumnType::Double => fixed(bytes, "DOUBLE").map(f64::from_le_bytes),
        ColumnType::Float => fixed(bytes, "FLOAT").map(|bytes| f64::from(f32::from_le_bytes(bytes))),
        ColumnType::Decimal => text(bytes)?.parse().map_err(|_| BAD),
        // By its text, because there is no exact conversion that fails by itself.
        _ => integer_of(column, bytes).and_then(|value| value.to_string().parse().ok()).ok_or(BAD),
    }
}

/// The whole number that a value is, where its type is one of whole numbers.
pub(crate) fn integer_of(column: &Column, bytes: &[u8]) -> Option<i128> {
    if column.kind == ColumnType::Decimal {
        return text(bytes).ok()?.parse().ok();
    }
    match integer(column, bytes).ok()? {
        Integer::Signed(value) => Some(i128::from(value)),
        Integer::Unsigned(value) => Some(i128::from(value)),
    }
}

enum Integer {
    Signed(i64),
    Unsigned(u64),
}

#[inline]
fn integer(column: &Column, bytes: &[u8]) -> Result<Integer, BadValue> {
    Ok(match column.kind {
        ColumnType::Tiny { signed: true } => {
            Integer::Signed(i64::from(i8::from_le_bytes(fixed(bytes, "TINYINT")?)))
        }
        ColumnType::Tiny { signed: false } => {
            Integer::Unsigned(u64::from(u8::from_le_bytes(fixed(bytes, "TINYINT")?)))
        }
        ColumnType::Short { signed: true } => {
            Integer::Signed(i64::from(i16::from_le_bytes(fixed(bytes, "SMALLINT")?)))
        }
        ColumnType::Short { signed: false } | ColumnType::Year => {
            Integer::Unsigned(u64::from(u16::from_le_bytes(fixed(bytes, "SMALLINT")?)))
        }
        ColumnType::Long { signed: true } => {
            Integer::Signed(i64::from(i32::from_le_bytes(fixed(bytes, "INT")?)))
        }
        ColumnType::Long { signed: false } => {
            Integer::Unsigned(u64::from(u32::from_le_bytes(fixed(bytes, "INT")?)))
        }
        ColumnType::LongLong { signed: true } => Integer::Signed(i64::from_le_bytes(fixed(bytes, "BIGINT")?)),
        ColumnType::LongLong { signed: false } => {
            Integer::Unsigned(u64::from_le_bytes(fixed(bytes, "BIGINT")?))
        }
        ColumnType::Bit if bytes.len() <= 8 => {
            Integer::Unsigned(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        }
        ColumnType::BitDigits => Integer::Unsigned(text(bytes)?.parse().map_err(|_| BadValue("BIT"))?),
        _ => return Err(BadValue("whole number")),
    })
}

fn write_decimal(text: &str, out: &mut RowWriter) {
    // `5.0000` is the whole number 5.
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => Some(whole),
        Some(_) => None,
        None => Some(text),
    };
    match (whole.map(str::parse::<i64>), whole) {
        (Some(Ok(integer)), _) => out.integer_safe(integer),
        (Some(Err(_)), Some(digits)) => out.text(digits),
        _ => out.double(text.parse().unwrap_or(f64::NAN)),
    }
}

/// Singles, the lowest byte first.
fn write_vector(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let (singles, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(BadValue("VECTOR"));
    }
    out.begin_array();
    singles.iter().for_each(|single| out.single(f32::from_le_bytes(*single)));
    out.end_array();
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], BadValue> {
    bytes.try_into().map_err(|_| BadValue(what))
}

/// The session's character set is utf8mb4, so this only fails for a server that lies.
fn text(bytes: &[u8]) -> Result<&str, BadValue> {
    std::str::from_utf8(bytes).map_err(|_| BadValue("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn written(kind: ColumnType, decimals: u8, bytes: &[u8]) -> Result<String, BadValue> {
        let mut writer = RowWriter::new(1_000_000);
        write(&Column { name: "v".into(), kind, decimals }, bytes, &mut writer)?;
        Ok(writer.into_text())
    }

    #[test]
    fn whole_numbers_are_numbers_up_to_what_a_double_holds() {
        let big = |signed, bytes: [u8; 8]| written(ColumnType::LongLong { signed }, 0, &bytes).unwrap();
        assert_eq!(big(true, 9_007_199_254_740_991_i64.to_le_bytes()), "9007199254740991");
        assert_eq!(big(true, (-9_007_199_254_740_992_i64).to_le_bytes()), "\"-9007199254740992\"");
        assert_eq!(big(false, u64::MAX.to_le_bytes()), "\"18446744073709551615\"");
        assert_eq!(written(ColumnType::Tiny { signed: false }, 0, &[255]).unwrap(), "255");
        assert_eq!(written(ColumnType::Bit, 0, &[1, 0, 1]).unwrap(), "65537");
    }

    #[test]
    fn json_that_is_none_is_a_string() {
        assert_eq!(written(ColumnType::Json, 0, b"{\"a\": [1.50]}").unwrap(), "{\"a\": [1.50]}");
        assert_eq!(written(ColumnType::Json, 0, b"{\"a\": ").unwrap(), "\"{\\\"a\\\": \"");
        assert_eq!(written(ColumnType::Json, 0, b"1},{\"b\":2").unwrap(), "\"1},{\\\"b\\\":2\"");
    }

    #[test]
    fn a_sum_that_is_no_number_cannot_leave_its_string() {
        let mut writer = RowWriter::new(1_000);
        let sum = Column { name: "s".into(), kind: ColumnType::Decimal, decimals: 0 };
        write_number(&sum, b"\",\"x\":\"", &mut writer).unwrap();
        assert_eq!(writer.into_text(), "\"\\\",\\\"x\\\":\\\"\"");
    }

    #[test]
    fn bytes_of_the_wrong_length_are_refused() {
        for kind in [
            ColumnType::Tiny { signed: true },
            ColumnType::LongLong { signed: false },
            ColumnType::Double,
            ColumnType::Geometry,
        ] {
            assert!(written(kind, 0, &[]).is_err(), "{kind:?}");
        }
        assert!(written(ColumnType::Bit, 0, &[0; 9]).is_err());
        assert!(written(ColumnType::Vector, 0, &[0; 3]).is_err());
        assert_eq!(written(ColumnType::Text, 0, &[0xFF]), Err(BadValue("text")));
    }

    #[test]
    fn a_list_that_was_cut_off_is_no_list() {
        let mut writer = RowWriter::new(1_000);
        assert!(write_list(b"[{\"key\": \"a\", \"cou", &mut writer).is_err());
    }
}
