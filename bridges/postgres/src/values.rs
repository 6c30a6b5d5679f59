//! PostgreSQL's values as JSON text, written straight from the bytes of a row.
//!
//! Types whose binary form is simple come in it, because printing them is cheaper here than at the server and parsing
//! text again; every other type, also one that an extension brings, comes as the server's own text and is a string. The
//! table for people is `docs/bridges/postgres.md`.

mod array;
mod number;

use bridge_core::RowWriter;
use protocol::Timestamp;

use crate::wire::{Format, Oid};

/// How a column's values are asked for and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A scalar type.
    One(Scalar),
    /// An array of it, of any number of dimensions.
    Many(Scalar),
}

/// The types that are written as something better than the server's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    /// `oid` and its kin: unsigned, 32 bits.
    Oid,
    Float4,
    Float8,
    Numeric,
    /// Text in either format: `text`, `varchar`, `bpchar`, `name`, enums and so on.
    Text,
    Bytea,
    Uuid,
    Date,
    /// `timestamp` and `timestamptz`: both are microseconds; one without a zone is read as UTC.
    Timestamp,
    Interval,
    Json,
    Jsonb,
    Point,
    Circle,
    /// Of pgvector: the server's text is a list of numbers as JSON has it.
    Vector,
    /// The server's text, as a string.
    AsText,
}

/// Types that every database has under ids of its own.
#[derive(Debug, Default)]
pub(crate) struct Types {
    /// Arrays of types that are not well known.
    pub(crate) arrays: Vec<Oid>,
    /// Vectors of pgvector.
    pub(crate) vectors: Vec<Oid>,
}

/// Bytes that are not what their type promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a {0} that cannot be read")]
pub(crate) struct BadValue(pub(crate) &'static str);

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i64 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// `int2vector`, `oidvector` and `box[]`: their text is not that of other arrays, but a list with spaces between the
/// numbers or with semicolons between the boxes. Strings of the whole.
const NO_ARRAYS: [u32; 3] = [22, 30, 1020];
/// Days of 400 Gregorian years, after which the calendar repeats itself.
const ERA_DAYS: i64 = 146_097;

impl Encoding {
    /// The encoding of a type by its object id (`pg_type.dat`). Types that are neither listed nor among `types` are strings.
    pub(crate) fn of(type_oid: Oid, types: &Types) -> Self {
        if let Some(scalar) = Scalar::of(type_oid) {
            return Self::One(scalar);
        }
        match Scalar::element_of(type_oid) {
            Some(scalar) => Self::Many(scalar),
            None if types.vectors.contains(&type_oid) => Self::One(Scalar::Vector),
            None if types.arrays.contains(&type_oid) && !NO_ARRAYS.contains(&type_oid) => {
                Self::Many(Scalar::AsText)
            }
            None => Self::One(Scalar::AsText),
        }
    }

    /// The format to ask for.
    pub(crate) fn format(self) -> Format {
        match self {
            Self::One(Scalar::AsText | Scalar::Vector) | Self::Many(Scalar::AsText) => Format::Text,
            Self::One(_) | Self::Many(_) => Format::Binary,
        }
    }

    /// Writes a value that is not null.
    #[inline]
    pub(crate) fn write(self, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
        match self {
            Self::One(scalar) => scalar.write(bytes, out),
            Self::Many(Scalar::AsText) => array::write_text(bytes, out),
            Self::Many(scalar) => array::write_binary(scalar, bytes, out),
        }
    }
}

/// A key's value as a cursor holds it: as rows carry it, or the server's word for what rows show as null.
pub(crate) fn key_text(encoding: Encoding, bytes: &[u8]) -> Result<String, BadValue> {
    if let Some(word) = not_finite(encoding, bytes) {
        return Ok(word.to_owned());
    }
    let mut writer = RowWriter::new(usize::MAX);
    encoding.write(bytes, &mut writer)?;
    let json = writer.into_text();
    match serde_json::from_str(&json) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Ok(json),
    }
}

/// What JSON has no word for.
fn not_finite(encoding: Encoding, bytes: &[u8]) -> Option<&'static str> {
    let Encoding::One(scalar) = encoding else { return None };
    let of_double = |value: f64| match value {
        value if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    };
    match scalar {
        Scalar::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MAX => Some("infinity"),
            i32::MIN => Some("-infinity"),
            _ => None,
        },
        Scalar::Timestamp => match i64::from_be_bytes(bytes.try_into().ok()?) {
            i64::MAX => Some("infinity"),
            i64::MIN => Some("-infinity"),
            _ => None,
        },
        Scalar::Float4 => of_double(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        Scalar::Float8 => of_double(f64::from_be_bytes(bytes.try_into().ok()?)),
        Scalar::Numeric => number::not_finite(bytes),
        _ => None,
    }
}

/// A measure: whole values exactly, as text beyond 2^53-1; others as the nearest double.
pub(crate) fn write_number(encoding: Encoding, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    match encoding {
        Encoding::One(Scalar::Int8) => out.integer_safe(i64::from_be_bytes(fixed(bytes, "bigint")?)),
        Encoding::One(Scalar::Numeric) => match number::text(bytes)? {
            None => out.null(),
            Some(text) => write_decimal(&text, out),
        },
        encoding => encoding.write(bytes, out)?,
    }
    Ok(())
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
        (Some(Err(_)), Some(digits)) => out.plain_text(digits),
        _ => out.double(text.parse().unwrap_or(f64::NAN)),
    }
}

/// The number of a bucket's index.
pub(crate) fn double_of(encoding: Encoding, bytes: &[u8]) -> Result<f64, BadValue> {
    let bad = BadValue("number");
    Ok(match encoding {
        Encoding::One(Scalar::Int2) => f64::from(i16::from_be_bytes(fixed(bytes, "smallint")?)),
        Encoding::One(Scalar::Int4) => f64::from(i32::from_be_bytes(fixed(bytes, "integer")?)),
        Encoding::One(Scalar::Int8) => {
            i64::from_be_bytes(fixed(bytes, "bigint")?).to_string().parse().map_err(|_| bad)?
        }
        Encoding::One(Scalar::Float4) => f64::from(f32::from_be_bytes(fixed(bytes, "real")?)),
        Encoding::One(Scalar::Float8) => f64::from_be_bytes(fixed(bytes, "double precision")?),
        Encoding::One(Scalar::Numeric) => number::text(bytes)?.ok_or(bad)?.parse().map_err(|_| bad)?,
        _ => return Err(bad),
    })
}

impl Scalar {
    fn of(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            // "char", name, text, bpchar, varchar, unknown, xml; refcursor; all are their own text in binary form.
            18 | 19 | 25 | 1042 | 1043 | 705 | 142 | 1790 => Self::Text,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            // oid, xid, cid
            26 | 28 | 29 => Self::Oid,
            114 => Self::Json,
            3802 => Self::Jsonb,
            600 => Self::Point,
            718 => Self::Circle,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1114 | 1184 => Self::Timestamp,
            1186 => Self::Interval,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            _ => return None,
        })
    }

    /// The element of a known array type.
    fn element_of(array_oid: u32) -> Option<Self> {
        Some(match array_oid {
            1000 => Self::Bool,
            1001 => Self::Bytea,
            1002 | 1003 | 1009 | 1014 | 1015 | 143 | 2201 => Self::Text,
            1016 => Self::Int8,
            1005 => Self::Int2,
            1007 => Self::Int4,
            1028 | 1011 | 1012 => Self::Oid,
            199 => Self::Json,
            3807 => Self::Jsonb,
            1017 => Self::Point,
            719 => Self::Circle,
            1021 => Self::Float4,
            1022 => Self::Float8,
            1182 => Self::Date,
            1115 | 1185 => Self::Timestamp,
            1187 => Self::Interval,
            1231 => Self::Numeric,
            2951 => Self::Uuid,
            // money, inet, cidr, macaddr, macaddr8, bit, varbit, time, timetz, ranges: the server's text.
            791 | 1041 | 651 | 1040 | 775 | 1561 | 1563 | 1183 | 1270 | 3905 | 3907 | 3909 | 3911 | 3913
            | 3927 | 3221 => Self::AsText,
            _ => return None,
        })
    }

    #[inline]
    fn write(self, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
        match self {
            Self::Bool => out.boolean(fixed::<1>(bytes, "boolean")? != [0]),
            Self::Int2 => out.integer(i64::from(i16::from_be_bytes(fixed(bytes, "smallint")?))),
            Self::Int4 => out.integer(i64::from(i32::from_be_bytes(fixed(bytes, "integer")?))),
            Self::Int8 => out.integer_text(i64::from_be_bytes(fixed(bytes, "bigint")?)),
            Self::Oid => out.integer(i64::from(u32::from_be_bytes(fixed(bytes, "oid")?))),
            Self::Float4 => out.single(f32::from_be_bytes(fixed(bytes, "real")?)),
            Self::Float8 => out.double(f64::from_be_bytes(fixed(bytes, "double precision")?)),
            Self::Numeric => number::write_numeric(bytes, out)?,
            Self::Text | Self::AsText => out.text(text(bytes)?),
            Self::Vector => write_vector(text(bytes)?, out)?,
            Self::Bytea => out.bytes(bytes),
            Self::Uuid => write_uuid(&fixed(bytes, "uuid")?, out),
            Self::Date => write_date(i32::from_be_bytes(fixed(bytes, "date")?), out),
            Self::Timestamp => write_timestamp(i64::from_be_bytes(fixed(bytes, "timestamp")?), out),
            Self::Interval => write_interval(bytes, out)?,
            Self::Json => out.json_or_text(text(bytes)?),
            Self::Jsonb => match bytes.split_first() {
                Some((1, json)) => out.json_or_text(text(json)?),
                _ => return Err(BadValue("jsonb")),
            },
            Self::Point => write_doubles(bytes, &["x", "y"], "point", out)?,
            Self::Circle => write_doubles(bytes, &["x", "y", "radius"], "circle", out)?,
        }
        Ok(())
    }
}

fn fixed<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], BadValue> {
    bytes.try_into().map_err(|_| BadValue(what))
}

/// `client_encoding` is UTF8, so this only fails for a server that lies.
fn text(bytes: &[u8]) -> Result<&str, BadValue> {
    std::str::from_utf8(bytes).map_err(|_| BadValue("text"))
}

/// `[1,2.5,-3e-05]`, which is JSON as it is: vectors hold finite numbers alone.
fn write_vector(text: &str, out: &mut RowWriter) -> Result<(), BadValue> {
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(BadValue("vector"))?;
    if !inside.split(',').all(is_json_number) {
        return Err(BadValue("vector"));
    }
    out.json(text);
    Ok(())
}

/// A number of RFC 8259, section 6.
fn is_json_number(word: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (decimal, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((decimal, exponent)) => (decimal, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, "0"));
    let is_whole = is_digits(whole) && (whole.len() == 1 || !whole.starts_with('0'));
    is_whole && is_digits(fraction) && is_digits(exponent)
}

fn write_uuid(bytes: &[u8; 16], out: &mut RowWriter) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let mut text = [b'-'; 36];
    let mut places = text.iter_mut();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            places.next();
        }
        if let (Some(high), Some(low)) = (places.next(), places.next()) {
            (*high, *low) = (digit(byte >> 4), digit(byte & 15));
        }
    }
    out.plain_text(std::str::from_utf8(&text).unwrap_or_default());
}

/// Days since 2000-01-01; the two extremes are the infinities.
fn write_date(days: i32, out: &mut RowWriter) {
    match days {
        i32::MIN | i32::MAX => out.null(),
        days => write_instant(i64::from(days) + EPOCH_DAYS, 0, out),
    }
}

/// Microseconds since 2000-01-01; the two extremes are the infinities.
fn write_timestamp(micros: i64, out: &mut RowWriter) {
    match micros {
        i64::MIN | i64::MAX => out.null(),
        micros => write_instant(
            micros.div_euclid(MICROS_PER_DAY) + EPOCH_DAYS,
            micros.rem_euclid(MICROS_PER_DAY),
            out,
        ),
    }
}

#[inline]
fn write_instant(days: i64, micros_of_day: i64, out: &mut RowWriter) {
    let near = Timestamp::from_days(days).and_then(|day| day.micros().checked_add(micros_of_day));
    match near {
        Some(micros) => out.timestamp(Timestamp::from_micros(micros)),
        None => write_far_instant(days, micros_of_day, out),
    }
}

/// A year beyond 292 000: the same day some eras earlier, with the years put back into the text.
fn write_far_instant(days: i64, micros_of_day: i64, out: &mut RowWriter) {
    let eras = days.div_euclid(ERA_DAYS);
    let early = days.rem_euclid(ERA_DAYS) * MICROS_PER_DAY + micros_of_day;
    let early = Timestamp::from_micros(early);
    let (year, ..) = early.civil();
    let year = year + eras * 400;
    let text = early.to_string();
    let rest = text.get(4..).unwrap_or_default();
    out.display(format_args!("{}{:06}{rest}", if year < 0 { '-' } else { '+' }, year.unsigned_abs()));
}

/// `{years?, months?, days?, hours?, minutes?, seconds?, milliseconds?}`, exact: milliseconds have a fraction where
/// there are microseconds. The extremes of PostgreSQL 17 are null.
fn write_interval(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let (micros, rest) = bytes.split_at_checked(8).ok_or(BadValue("interval"))?;
    let (days, months) = rest.split_at_checked(4).ok_or(BadValue("interval"))?;
    let micros = i64::from_be_bytes(fixed(micros, "interval")?);
    let days = i32::from_be_bytes(fixed(days, "interval")?);
    let months = i32::from_be_bytes(fixed(months, "interval")?);
    if matches!((micros, days, months), (i64::MAX, i32::MAX, i32::MAX) | (i64::MIN, i32::MIN, i32::MIN)) {
        out.null();
        return Ok(());
    }
    out.begin_object();
    let mut part = |name, value: i64| {
        if value != 0 {
            out.object_key(name);
            out.integer(value);
        }
    };
    part("years", i64::from(months / 12));
    part("months", i64::from(months % 12));
    part("days", i64::from(days));
    part("hours", micros / 3_600_000_000);
    part("minutes", micros / 60_000_000 % 60);
    part("seconds", micros / 1_000_000 % 60);
    let fraction = micros % 1_000_000;
    if fraction % 1_000 == 0 {
        part("milliseconds", fraction / 1_000);
    } else {
        out.object_key("milliseconds");
        let sign = if fraction < 0 { "-" } else { "" };
        let (whole, thousandths) = (fraction.abs() / 1_000, fraction.abs() % 1_000);
        let text = format!("{sign}{whole}.{thousandths:03}");
        out.json(text.trim_end_matches('0'));
    }
    out.end_object();
    Ok(())
}

fn write_doubles(
    bytes: &[u8],
    names: &[&str],
    what: &'static str,
    out: &mut RowWriter,
) -> Result<(), BadValue> {
    let (doubles, rest) = bytes.as_chunks::<8>();
    if doubles.len() != names.len() || !rest.is_empty() {
        return Err(BadValue(what));
    }
    out.begin_object();
    for (name, double) in names.iter().zip(doubles) {
        out.object_key(name);
        out.double(f64::from_be_bytes(*double));
    }
    out.end_object();
    Ok(())
}

#[cfg(test)]
mod tests {
    use bridge_core::Columns;

    use super::*;

    fn written(encoding: Encoding, bytes: &[u8]) -> String {
        let mut writer = RowWriter::new(1_000_000);
        writer.begin_row();
        writer.key(&Columns::new(["v"]), 0);
        encoding.write(bytes, &mut writer).unwrap();
        writer.end_row().unwrap();
        let row = writer.take().unwrap().rows;
        row.strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned()
    }

    fn one(scalar: Scalar, bytes: &[u8]) -> String {
        written(Encoding::One(scalar), bytes)
    }

    #[test]
    fn a_vector_is_numbers_as_json_has_them_and_nothing_else() {
        let vector = |text: &str| {
            let mut writer = RowWriter::new(1_000);
            write_vector(text, &mut writer).map(|()| writer.into_text())
        };
        assert_eq!(vector("[1,2.5,-3e-05,0]").unwrap(), "[1,2.5,-3e-05,0]");
        for text in
            ["", "[]", "[1", "[1,]", "[1-2]", "[--1]", "[+1]", "[.5]", "[01]", "[1.]", "[1e]", "[NaN]"]
        {
            assert_eq!(vector(text), Err(BadValue("vector")), "{text}");
        }
    }

    #[test]
    fn integers_have_their_published_forms() {
        assert_eq!(one(Scalar::Int2, &(-7_i16).to_be_bytes()), "-7");
        assert_eq!(one(Scalar::Int8, &9_007_199_254_740_993_i64.to_be_bytes()), "\"9007199254740993\"");
        assert_eq!(one(Scalar::Oid, &u32::MAX.to_be_bytes()), "4294967295");
    }

    #[test]
    fn dates_reach_as_far_as_the_server() {
        assert_eq!(one(Scalar::Date, &0_i32.to_be_bytes()), "\"2000-01-01T00:00:00.000Z\"");
        assert_eq!(one(Scalar::Date, &i32::MAX.to_be_bytes()), "null");
        // 5874897-12-31, the last date, and 4713-11-24 BC, the first.
        assert_eq!(one(Scalar::Date, &2_145_031_948_i32.to_be_bytes()), "\"+5874897-12-31T00:00:00.000Z\"");
        assert_eq!(one(Scalar::Date, &(-2_451_545_i32).to_be_bytes()), "\"-004713-11-24T00:00:00.000Z\"");
    }

    #[test]
    fn timestamps_keep_their_microseconds() {
        assert_eq!(one(Scalar::Timestamp, &1_i64.to_be_bytes()), "\"2000-01-01T00:00:00.000001Z\"");
        assert_eq!(one(Scalar::Timestamp, &(-1_i64).to_be_bytes()), "\"1999-12-31T23:59:59.999999Z\"");
        assert_eq!(one(Scalar::Timestamp, &i64::MIN.to_be_bytes()), "null");
        // 294276-12-31 23:59:59.999999, the last timestamp.
        assert_eq!(
            one(Scalar::Timestamp, &9_223_371_331_199_999_999_i64.to_be_bytes()),
            "\"+294276-12-31T23:59:59.999999Z\""
        );
    }

    #[test]
    fn intervals_are_objects_without_zeros() {
        let interval = |micros: i64, days: i32, months: i32| {
            let bytes = [&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat();
            one(Scalar::Interval, &bytes)
        };
        assert_eq!(interval(0, 0, 0), "{}");
        assert_eq!(
            interval(3_723_004_500, 2, 14),
            r#"{"years":1,"months":2,"days":2,"hours":1,"minutes":2,"seconds":3,"milliseconds":4.5}"#
        );
        assert_eq!(interval(-1_500_000, 0, -1), r#"{"months":-1,"seconds":-1,"milliseconds":-500}"#);
        assert_eq!(interval(i64::MAX, i32::MAX, i32::MAX), "null");
    }

    #[test]
    fn vectors_are_lists_and_nothing_else_is_a_vector() {
        assert_eq!(one(Scalar::Vector, b"[1,-2.5,3e-05]"), "[1,-2.5,3e-05]");
        let mut writer = RowWriter::new(100);
        for text in ["", "[]", "[1,]", "1,2", "[NaN]", "[1],\"x\":[2]", "[1e]"] {
            assert_eq!(Scalar::Vector.write(text.as_bytes(), &mut writer), Err(BadValue("vector")), "{text}");
        }
    }

    #[test]
    fn bytes_of_the_wrong_length_are_refused() {
        let mut writer = RowWriter::new(100);
        for scalar in [
            Scalar::Bool,
            Scalar::Int4,
            Scalar::Uuid,
            Scalar::Point,
            Scalar::Interval,
            Scalar::Jsonb,
            Scalar::Numeric,
        ] {
            assert!(scalar.write(&[], &mut writer).is_err(), "{scalar:?}");
        }
        assert_eq!(Scalar::Text.write(&[0xff], &mut writer), Err(BadValue("text")));
    }
}
