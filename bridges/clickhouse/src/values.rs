//! Values as `RowBinary` carries them, written as JSON at once.
//!
//! A row is its values one after the other, without separators or lengths: a value that is not wholly there yet asks for
//! more bytes, and the row is begun again when they have come. Which JSON a type becomes is the table of
//! `docs/bridges/clickhouse.md`.

mod clock;
mod input;
mod types;
mod wide;

use std::collections::BTreeSet;

use bridge_core::RowWriter;
use protocol::{ROW_LIMIT_BYTES, Timestamp};
use uuid::Uuid;

pub(crate) use self::input::{Input, Stop};
pub(crate) use self::types::Type;

use self::wide::Decimal;

/// What a column's values become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Encoding {
    /// The JSON of its type.
    As(Type),
    /// JSON text that the server has written, spliced in.
    Json(Type),
}

impl Encoding {
    /// Writes the next value.
    #[inline]
    pub(crate) fn write(&self, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), Stop> {
        match self {
            Self::As(kind) => kind.write(input, out),
            Self::Json(Type::Nullable(inner)) => match input.is_null()? {
                true => {
                    out.null();
                    Ok(())
                }
                false => write_json(inner, input, out),
            },
            Self::Json(kind) => write_json(kind, input, out),
        }
    }

    /// The type that is read.
    pub(crate) fn kind(&self) -> &Type {
        match self {
            Self::As(kind) | Self::Json(kind) => kind,
        }
    }

    /// Reads the next value as the text that a cursor carries; nothing for null.
    pub(crate) fn key_text(&self, input: &mut Input<'_>) -> Result<Option<String>, Stop> {
        self.kind().key_text(input)
    }
}

/// A server's JSON is valid; what is not would break the whole answer, so it is looked at.
fn write_json(kind: &Type, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), Stop> {
    let Type::String = kind else { return Err(Stop::Bad("JSON that is no text")) };
    // Bytes within its texts that are no UTF-8 become what they become in a column of text.
    let text = String::from_utf8_lossy(input.string()?);
    if serde_json::from_str::<&serde_json::value::RawValue>(&text).is_err() {
        return Err(Stop::Bad("JSON that is none"));
    }
    out.json(&text);
    Ok(())
}

impl Type {
    /// Reads the next value and writes it as JSON.
    pub(crate) fn write(&self, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), Stop> {
        match self {
            Self::Int8 => out.integer(i64::from(i8::from_le_bytes(input.fixed()?))),
            Self::Int16 => out.integer(i64::from(i16::from_le_bytes(input.fixed()?))),
            Self::Int32 => out.integer(i64::from(i32::from_le_bytes(input.fixed()?))),
            Self::Int64 | Self::Interval => out.integer_safe(i64::from_le_bytes(input.fixed()?)),
            Self::UInt8 => out.integer(i64::from(u8::from_le_bytes(input.fixed()?))),
            Self::UInt16 => out.integer(i64::from(u16::from_le_bytes(input.fixed()?))),
            Self::UInt32 => out.integer(i64::from(u32::from_le_bytes(input.fixed()?))),
            Self::UInt64 => out.unsigned_safe(u64::from_le_bytes(input.fixed()?)),
            Self::Int128 => out.display(i128::from_le_bytes(input.fixed()?)),
            Self::UInt128 => out.display(u128::from_le_bytes(input.fixed()?)),
            Self::Int256 => out.plain_text(&wide::signed(input.fixed()?)),
            Self::UInt256 => out.plain_text(&wide::unsigned(input.fixed()?)),
            Self::Float32 => out.single(f32::from_le_bytes(input.fixed()?)),
            Self::Float64 => out.double(f64::from_le_bytes(input.fixed()?)),
            Self::BFloat16 => out.single(bfloat(input.fixed()?)),
            Self::Bool => out.boolean(input.fixed::<1>()? != [0]),
            Self::Decimal32(scale) => {
                out.display(Decimal::of(i32::from_le_bytes(input.fixed()?).into(), *scale))
            }
            Self::Decimal64(scale) => {
                out.display(Decimal::of(i64::from_le_bytes(input.fixed()?).into(), *scale))
            }
            Self::Decimal128(scale) => out.display(Decimal::of(i128::from_le_bytes(input.fixed()?), *scale)),
            Self::Decimal256(scale) => out.plain_text(&wide::decimal(input.fixed()?, *scale)),
            Self::String => write_text(input.string()?, out),
            Self::FixedString(length) => write_text(without_padding(input.take(*length)?), out),
            Self::Bytes => out.bytes(input.string()?),
            Self::FixedBytes(length) => out.bytes(input.take(*length)?),
            Self::Uuid => write_uuid(input, out)?,
            Self::Date => write_day(i64::from(u16::from_le_bytes(input.fixed()?)), out)?,
            Self::Date32 => write_day(i64::from(i32::from_le_bytes(input.fixed()?)), out)?,
            Self::DateTime => write_seconds(u32::from_le_bytes(input.fixed()?), out),
            Self::DateTime64(scale) => clock::write_instant(i64::from_le_bytes(input.fixed()?), *scale, out)?,
            Self::Time => out.display(clock::Time::of(i64::from(i32::from_le_bytes(input.fixed()?)), 0)),
            Self::Time64(scale) => out.display(clock::Time::of(i64::from_le_bytes(input.fixed()?), *scale)),
            Self::Enum8(labels) => write_label(labels, i16::from(i8::from_le_bytes(input.fixed()?)), out)?,
            Self::Enum16(labels) => write_label(labels, i16::from_le_bytes(input.fixed()?), out)?,
            Self::Ipv4 => out.display(std::net::Ipv4Addr::from(u32::from_le_bytes(input.fixed()?))),
            Self::Ipv6 => out.display(std::net::Ipv6Addr::from(input.fixed::<16>()?)),
            Self::Nothing => {
                input.take(1)?;
                out.null();
            }
            Self::Nullable(inner) => match input.is_null()? {
                true => out.null(),
                false => inner.write(input, out)?,
            },
            Self::Array(element) => write_array(element, input, out)?,
            Self::Tuple(fields) => write_tuple(fields, input, out)?,
            Self::Map(key, value) => write_map(key, value, input, out)?,
        }
        Ok(())
    }

    /// Passes over the next value.
    pub(crate) fn skip(&self, input: &mut Input<'_>) -> Result<(), Stop> {
        match self {
            Self::String | Self::Bytes => input.string().map(drop),
            Self::Nullable(inner) => match input.is_null()? {
                true => Ok(()),
                false => inner.skip(input),
            },
            Self::Array(element) => each_of(input, element.least(), |input| element.skip(input)),
            Self::Tuple(fields) => fields.iter().try_for_each(|(_, kind)| kind.skip(input)),
            Self::Map(key, value) => each_of(input, key.least().saturating_add(value.least()), |input| {
                key.skip(input)?;
                value.skip(input)
            }),
            fixed => input.take(fixed.width()).map(drop),
        }
    }

    /// Bytes of a value of a type whose values all have as many.
    fn width(&self) -> usize {
        match self {
            Self::Int8 | Self::UInt8 | Self::Bool | Self::Enum8(_) | Self::Nothing => 1,
            Self::Int16 | Self::UInt16 | Self::BFloat16 | Self::Date | Self::Enum16(_) => 2,
            Self::Int32
            | Self::UInt32
            | Self::Float32
            | Self::Decimal32(_)
            | Self::Date32
            | Self::DateTime
            | Self::Time
            | Self::Ipv4 => 4,
            Self::Int64
            | Self::UInt64
            | Self::Float64
            | Self::Decimal64(_)
            | Self::DateTime64(_)
            | Self::Time64(_)
            | Self::Interval => 8,
            Self::Int128 | Self::UInt128 | Self::Decimal128(_) | Self::Uuid | Self::Ipv6 => 16,
            Self::Int256 | Self::UInt256 | Self::Decimal256(_) => 32,
            Self::FixedString(length) | Self::FixedBytes(length) => *length,
            Self::String
            | Self::Bytes
            | Self::Nullable(_)
            | Self::Array(_)
            | Self::Tuple(_)
            | Self::Map(..) => 0,
        }
    }

    /// Bytes of the shortest value.
    fn least(&self) -> usize {
        match self {
            Self::String | Self::Bytes | Self::Nullable(_) | Self::Array(_) | Self::Map(..) => 1,
            Self::Tuple(fields) => fields.iter().fold(0, |all, (_, kind)| all.saturating_add(kind.least())),
            fixed => fixed.width(),
        }
    }

    /// Whether values are binary numbers, null or not.
    pub(crate) fn is_float(&self) -> bool {
        matches!(self.not_null(), Self::Float32 | Self::Float64 | Self::BFloat16)
    }

    /// Reads the next value and writes it as a JSON number, as measures are.
    pub(crate) fn write_number(&self, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), Stop> {
        match self {
            Self::Nullable(inner) => match input.is_null()? {
                true => {
                    out.null();
                    Ok(())
                }
                false => inner.write_number(input, out),
            },
            Self::Decimal32(_)
            | Self::Decimal64(_)
            | Self::Decimal128(_)
            | Self::Decimal256(_)
            | Self::Int128
            | Self::UInt128
            | Self::Int256
            | Self::UInt256 => {
                write_decimal(&self.key_text(input)?.unwrap_or_default(), out);
                Ok(())
            }
            _ => self.write(input, out),
        }
    }

    /// Reads the next value as a double; nothing for null.
    pub(crate) fn double(&self, input: &mut Input<'_>) -> Result<Option<f64>, Stop> {
        match self {
            Self::Nullable(inner) => match input.is_null()? {
                true => Ok(None),
                false => inner.double(input),
            },
            Self::Float64 => Ok(Some(f64::from_le_bytes(input.fixed()?))),
            _ => match self.key_text(input)? {
                Some(text) => text.parse().map(Some).map_err(|_| Stop::Bad("a number that is none")),
                None => Ok(None),
            },
        }
    }

    /// Reads the next value as text; nothing for null. Text must be UTF-8 here: it has to find its row again.
    pub(crate) fn key_text(&self, input: &mut Input<'_>) -> Result<Option<String>, Stop> {
        let strict = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map_err(|_| Stop::NotText)?;
            Ok(Some(text.to_owned()))
        };
        match self {
            Self::Nullable(inner) => match input.is_null()? {
                true => Ok(None),
                false => inner.key_text(input),
            },
            Self::String => strict(input.string()?),
            Self::FixedString(length) => strict(without_padding(input.take(*length)?)),
            Self::Enum8(labels) => {
                Ok(Some(label(labels, i16::from(i8::from_le_bytes(input.fixed()?)))?.to_owned()))
            }
            Self::Enum16(labels) => Ok(Some(label(labels, i16::from_le_bytes(input.fixed()?))?.to_owned())),
            _ => {
                let mut scratch = RowWriter::new(ROW_LIMIT_BYTES);
                self.write(input, &mut scratch)?;
                let text = scratch.into_text();
                let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                Ok((text != "null").then(|| unquoted.unwrap_or(&text).to_owned()))
            }
        }
    }
}

fn bfloat(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Text as it is; bytes that are no UTF-8 become U+FFFD, as the server's own JSON has them.
#[inline]
fn write_text(bytes: &[u8], out: &mut RowWriter) {
    match std::str::from_utf8(bytes) {
        Ok(text) => out.text(text),
        Err(_) => out.text(&String::from_utf8_lossy(bytes)),
    }
}

/// What was shorter than its column is filled up with zeros.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or(bytes)
}

fn write_uuid(input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), Stop> {
    let (high, low) = (u64::from_le_bytes(input.fixed()?), u64::from_le_bytes(input.fixed()?));
    let mut buffer = Uuid::encode_buffer();
    out.plain_text(Uuid::from_u64_pair(high, low).hyphenated().encode_lower(&mut buffer));
    Ok(())
}

fn write_day(days: i64, out: &mut RowWriter) -> Result<(), Stop> {
    out.timestamp(Timestamp::from_days(days).ok_or(Stop::Bad("a day beyond all calendars"))?);
    Ok(())
}

#[inline]
fn write_seconds(seconds: u32, out: &mut RowWriter) {
    out.timestamp(Timestamp::from_micros(i64::from(seconds) * 1_000_000));
}

fn write_label(labels: &[(i16, Box<str>)], number: i16, out: &mut RowWriter) -> Result<(), Stop> {
    out.text(label(labels, number)?);
    Ok(())
}

fn label(labels: &[(i16, Box<str>)], number: i16) -> Result<&str, Stop> {
    let at = labels.binary_search_by_key(&number, |(number, _)| *number);
    let found = at.ok().and_then(|at| labels.get(at));
    found.map(|(_, label)| &**label).ok_or(Stop::Bad("an enum without a label"))
}

fn write_array(element: &Type, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), Stop> {
    out.begin_array();
    each_of(input, element.least(), |input| {
        element.write(input, out)?;
        check_room(out)
    })?;
    out.end_array();
    Ok(())
}

/// Reads a count and so many elements. A count that lies ends where the bytes do. What is missing in the middle is at
/// least the elements that are still to come, of `least` bytes each.
fn each_of<'a>(
    input: &mut Input<'a>,
    least: usize,
    mut read: impl FnMut(&mut Input<'a>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let count = input.count()?;
    for done in 1..=count {
        read(input).map_err(|stop| match stop {
            Stop::More(missing) => Stop::More(missing.saturating_add((count - done).saturating_mul(least))),
            stop => stop,
        })?;
    }
    Ok(())
}

/// A label or the names of a tuple's fields are told once and stand in every element, so few bytes can say a row of any
/// size: it is not written further than it may be long.
fn check_room(out: &RowWriter) -> Result<(), Stop> {
    if out.is_row_too_large() { Err(Stop::TooLarge) } else { Ok(()) }
}

fn write_tuple(
    fields: &[(Option<Box<str>>, Type)],
    input: &mut Input<'_>,
    out: &mut RowWriter,
) -> Result<(), Stop> {
    let named = !fields.is_empty() && fields.iter().all(|(name, _)| name.is_some());
    if !named {
        out.begin_array();
        fields.iter().try_for_each(|(_, kind)| kind.write(input, out))?;
        out.end_array();
        return Ok(());
    }
    out.begin_object();
    for (name, kind) in fields {
        out.object_key(name.as_deref().unwrap_or_default());
        kind.write(input, out)?;
    }
    out.end_object();
    Ok(())
}

/// A map may have a key twice, an object may not: the first value counts, which is the one that the server finds.
fn write_map(key: &Type, value: &Type, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), Stop> {
    let mut seen = BTreeSet::new();
    out.begin_object();
    each_of(input, key.least().saturating_add(value.least()), |input| {
        let mut named = *input;
        key.skip(input)?;
        if !seen.insert(named.read_to(input)) {
            return value.skip(input);
        }
        match key {
            Type::String => out.object_key(&String::from_utf8_lossy(named.string()?)),
            key => {
                let text = key.key_text(&mut named)?;
                out.object_key(text.as_deref().unwrap_or("null"));
            }
        }
        value.write(input, out)?;
        check_room(out)
    })?;
    out.end_object();
    Ok(())
}

/// A decimal as a JSON number: `5.0000` is the whole number 5, and what no double holds is text.
fn write_decimal(text: &str, out: &mut RowWriter) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn json(name: &str, bytes: &[u8]) -> Result<String, Stop> {
        let mut out = RowWriter::new(usize::MAX);
        let mut input = Input::new(bytes);
        Type::parse(name).unwrap().write(&mut input, &mut out)?;
        assert_eq!(input.left(), 0, "{name}");
        Ok(out.into_text())
    }

    #[test]
    fn values_of_each_shape_read() {
        for (name, bytes, expected) in [
            ("Int8", b"\xff".as_slice(), "-1"),
            ("UInt64", &u64::MAX.to_le_bytes(), "\"18446744073709551615\""),
            ("Int64", &9_007_199_254_740_991_i64.to_le_bytes(), "9007199254740991"),
            ("Decimal(9, 2)", &(-5_i32).to_le_bytes(), "\"-0.05\""),
            ("Decimal(9, 0)", &12_i32.to_le_bytes(), "\"12\""),
            ("Float64", &f64::NAN.to_le_bytes(), "null"),
            ("BFloat16", b"\xc0?", "1.5"),
            ("FixedString(4)", b"ab\0\0", "\"ab\""),
            ("Nullable(Bool)", b"\x01", "null"),
            ("Array(Nullable(UInt8))", b"\x02\x00\x07\x01", "[7,null]"),
            ("Tuple(a UInt8, `b c` String)", b"\x01\x01x", r#"{"a":1,"b c":"x"}"#),
            ("Tuple(UInt8, String)", b"\x01\x01x", r#"[1,"x"]"#),
            ("Map(UInt8, String)", b"\x01\x05\x01x", r#"{"5":"x"}"#),
            ("DateTime64(3, 'Europe/Berlin')", &1_i64.to_le_bytes(), "\"1970-01-01T00:00:00.001Z\""),
            ("DateTime64(9)", &(-1_i64).to_le_bytes(), "\"1969-12-31T23:59:59.999999999Z\""),
            ("DateTime64(9)", &1_000_i64.to_le_bytes(), "\"1970-01-01T00:00:00.000001Z\""),
            ("Time64(3)", &(-1_500_i64).to_le_bytes(), "\"-00:00:01.500\""),
            ("Enum8('it\\'s' = -1, 'b' = 2)", b"\xff", "\"it's\""),
            ("IPv4", &[1, 0, 0, 127], "\"127.0.0.1\""),
            ("LowCardinality(Nullable(String))", b"\x00\x01\xff", "\"\u{fffd}\""),
            ("Nullable(Nothing)", b"\x01", "null"),
        ] {
            assert_eq!(json(name, bytes).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_wholly_there_asks_for_more_and_is_never_wrong() {
        let whole = b"\x02\x03abc\x02de";
        for end in 0..whole.len() {
            let missing = json("Array(String)", &whole[..end]);
            assert!(matches!(missing, Err(Stop::More(_))), "{end}: {missing:?}");
        }
        assert_eq!(json("Array(String)", whole).unwrap(), r#"["abc","de"]"#);
    }

    #[test]
    fn a_list_asks_for_all_that_its_elements_take_at_least() {
        let begun = [&[0xe8, 0x07], 5_u64.to_le_bytes().as_slice()].concat();
        assert_eq!(json("Array(UInt64)", &begun).unwrap_err(), Stop::More(999 * 8));
        assert_eq!(json("Array(Map(String, UInt8))", &[0xe8, 0x07, 0]).unwrap_err(), Stop::More(999));
    }

    #[test]
    fn lengths_that_no_memory_holds_are_asked_for_and_not_reserved() {
        let vast = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert!(matches!(json("String", vast), Err(Stop::More(_))));
        assert!(matches!(json("Array(UInt8)", vast), Err(Stop::More(_))));
        assert!(matches!(json("String", &[0xff; 12]), Err(Stop::Bad(_))));
    }

    #[test]
    fn few_bytes_of_long_names_are_not_written_further_than_a_row_may_be_long() {
        let name = "n".repeat(1_000);
        let kind = Type::parse(&format!("Array(Tuple({name} Array(Tuple({name} Nothing))))")).unwrap();
        // A hundred lists of a hundred nothings each: ten kilobytes on the wire, ten megabytes as JSON.
        let list = [&[100][..], &[1; 100]].concat();
        let bytes = [&[100][..], &list.repeat(100)].concat();
        let mut out = RowWriter::new(50_000);
        assert_eq!(kind.write(&mut Input::new(&bytes), &mut out), Err(Stop::TooLarge));
        assert!(out.len() < 60_000, "{}", out.len());
    }
}
