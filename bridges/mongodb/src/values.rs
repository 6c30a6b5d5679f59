//! BSON values as JSON text, written from the bytes that the server sent. The table of types is in
//! `docs/bridges/mongodb.md`.

mod path;

use bridge_core::{BridgeError, RowWriter};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{DateTime, Decimal128, RawArray, RawBsonRef, RawDocument, RawDocumentBuf};
use protocol::Timestamp;

use crate::error::{too_deep, unreadable};

pub(crate) use path::{find, write_path};

/// The server nests documents 180 levels at the most; more than this is not one of its answers.
pub(crate) const MAX_DEPTH: usize = 200;
/// The first and the last instant that ECMAScript has, in milliseconds.
const MAX_DATE_MS: u64 = 8_640_000_000_000_000;

/// How 64-bit integers and decimals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// As rows carry them: text where a reader of JSON numbers would lose digits, and every decimal.
    Rows,
    /// As number literals with every digit, for the reducer.
    Literal,
    /// As numbers where no digit is lost, as aggregates carry them.
    Measures,
}

/// Writes a value.
pub(crate) fn write(
    writer: &mut RowWriter,
    value: RawBsonRef<'_>,
    numbers: Numbers,
) -> Result<(), BridgeError> {
    write_at(writer, value, numbers, 0)
}

/// Writes the fields of a document into the row that has been begun.
pub(crate) fn write_fields(writer: &mut RowWriter, document: &RawDocument) -> Result<(), BridgeError> {
    fields(writer, document, Numbers::Rows, 0)
}

/// Whether a document is nested no deeper than the server's own. What walks documents by recursion without a limit, as
/// the driver's own types do, must know before it begins.
pub(crate) fn is_shallow(document: &RawDocument) -> Result<bool, BridgeError> {
    is_shallow_at(document, 0)
}

fn is_shallow_at(document: &RawDocument, depth: usize) -> Result<bool, BridgeError> {
    if depth > MAX_DEPTH {
        return Ok(false);
    }
    for element in document {
        let (_, value) = element.map_err(unreadable)?;
        let within = match value {
            RawBsonRef::Document(document) => document,
            RawBsonRef::Array(items) => RawDocument::from_bytes(items.as_bytes()).map_err(unreadable)?,
            RawBsonRef::JavaScriptCodeWithScope(code) => code.scope,
            _ => continue,
        };
        if !is_shallow_at(within, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[inline]
fn write_at(
    writer: &mut RowWriter,
    value: RawBsonRef<'_>,
    numbers: Numbers,
    depth: usize,
) -> Result<(), BridgeError> {
    match value {
        RawBsonRef::Double(value) => writer.double(value),
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => writer.text(text),
        RawBsonRef::Document(document) => return object(writer, document, numbers, depth),
        RawBsonRef::Array(items) => return list(writer, items, numbers, depth),
        RawBsonRef::Boolean(value) => writer.boolean(value),
        RawBsonRef::Null | RawBsonRef::Undefined => writer.null(),
        RawBsonRef::Int32(value) => writer.integer(i64::from(value)),
        RawBsonRef::Int64(value) if numbers == Numbers::Literal => writer.integer(value),
        RawBsonRef::Int64(value) => writer.integer_safe(value),
        RawBsonRef::Decimal128(value) => decimal(writer, value, numbers),
        RawBsonRef::ObjectId(id) => writer.display(id),
        RawBsonRef::DateTime(at) => date(writer, at),
        RawBsonRef::Binary(binary) => bytes(writer, binary.subtype, binary.bytes),
        other => return write_rare(writer, other, depth),
    }
    Ok(())
}

/// Types that hardly any document has: MongoDB's canonical extended JSON.
fn write_rare(writer: &mut RowWriter, value: RawBsonRef<'_>, depth: usize) -> Result<(), BridgeError> {
    writer.begin_object();
    match value {
        RawBsonRef::RegularExpression(regex) => {
            writer.object_key("$regularExpression");
            writer.begin_object();
            writer.object_key("pattern");
            writer.text(regex.pattern.as_str());
            writer.object_key("options");
            writer.text(regex.options.as_str());
            writer.end_object();
        }
        RawBsonRef::Timestamp(at) => {
            writer.object_key("$timestamp");
            writer.begin_object();
            writer.object_key("t");
            writer.integer(i64::from(at.time));
            writer.object_key("i");
            writer.integer(i64::from(at.increment));
            writer.end_object();
        }
        RawBsonRef::JavaScriptCode(code) => {
            writer.object_key("$code");
            writer.text(code);
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            writer.object_key("$code");
            writer.text(code.code);
            writer.object_key("$scope");
            object(writer, code.scope, Numbers::Rows, depth)?;
        }
        RawBsonRef::MinKey => {
            writer.object_key("$minKey");
            writer.integer(1);
        }
        RawBsonRef::MaxKey => {
            writer.object_key("$maxKey");
            writer.integer(1);
        }
        RawBsonRef::DbPointer(_) => pointer(writer, value),
        _ => {}
    }
    writer.end_object();
    Ok(())
}

fn object(
    writer: &mut RowWriter,
    document: &RawDocument,
    numbers: Numbers,
    depth: usize,
) -> Result<(), BridgeError> {
    writer.begin_object();
    fields(writer, document, numbers, deeper(depth)?)?;
    writer.end_object();
    Ok(())
}

fn fields(
    writer: &mut RowWriter,
    document: &RawDocument,
    numbers: Numbers,
    depth: usize,
) -> Result<(), BridgeError> {
    for element in document {
        let (name, value) = element.map_err(unreadable)?;
        writer.object_key(name.as_str());
        write_at(writer, value, numbers, depth)?;
    }
    Ok(())
}

fn list(writer: &mut RowWriter, items: &RawArray, numbers: Numbers, depth: usize) -> Result<(), BridgeError> {
    let depth = deeper(depth)?;
    writer.begin_array();
    for item in items {
        write_at(writer, item.map_err(unreadable)?, numbers, depth)?;
    }
    writer.end_array();
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, BridgeError> {
    if depth >= MAX_DEPTH { Err(too_deep(MAX_DEPTH)) } else { Ok(depth + 1) }
}

/// The specification's own text of a decimal: every digit, trailing zeros too.
fn decimal(writer: &mut RowWriter, value: Decimal128, numbers: Numbers) {
    let text = value.to_string();
    if !text.ends_with(|last: char| last.is_ascii_digit()) {
        return writer.null();
    }
    if numbers == Numbers::Rows {
        return writer.plain_text(&text);
    }
    match (numbers, bridge_reduce::Number::parse(&text.replace("E+", "E"))) {
        (_, None) => writer.plain_text(&text),
        (Numbers::Measures, Some(number)) if is_safe(&number) => writer.double(number.as_f64()),
        (Numbers::Measures, Some(number)) => writer.plain_text(&number.to_string()),
        (Numbers::Rows | Numbers::Literal, Some(number)) => writer.json(&number.to_string()),
    }
}

/// Whether the double next to a number is that number.
fn is_safe(number: &bridge_reduce::Number) -> bool {
    bridge_reduce::Number::from_f64(number.as_f64()).as_ref() == Some(number)
}

fn date(writer: &mut RowWriter, at: DateTime) {
    let ms = at.timestamp_millis();
    match ms.checked_mul(1_000).filter(|_| ms.unsigned_abs() <= MAX_DATE_MS) {
        Some(micros) => writer.timestamp(Timestamp::from_micros(micros)),
        // No text of ISO 8601 reaches that far.
        None => {
            writer.begin_object();
            writer.object_key("$date");
            writer.begin_object();
            writer.object_key("$numberLong");
            writer.integer_text(ms);
            writer.end_object();
            writer.end_object();
        }
    }
}

fn bytes(writer: &mut RowWriter, subtype: BinarySubtype, bytes: &[u8]) {
    match (subtype, <[u8; 16]>::try_from(bytes)) {
        (BinarySubtype::Uuid | BinarySubtype::UuidOld, Ok(uuid)) => {
            writer.display(mongodb::bson::Uuid::from_bytes(uuid));
        }
        _ => writer.bytes(bytes),
    }
}

/// The driver shows the parts of this long deprecated type to nobody, so they are read where they stand: behind the
/// length of a document, a type and an empty key.
fn pointer(writer: &mut RowWriter, value: RawBsonRef<'_>) {
    let mut document = RawDocumentBuf::new();
    document.append(mongodb::bson::raw::cstr!(""), value);
    let bytes = document.as_bytes().get(6..).unwrap_or_default();
    let length = bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
    let end = usize::try_from(length).unwrap_or(0).saturating_add(3);
    let namespace = bytes.get(4..end).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let id = bytes.get(end + 1..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    writer.object_key("$dbPointer");
    writer.begin_object();
    writer.object_key("$ref");
    writer.text(namespace);
    writer.object_key("$id");
    writer.display(mongodb::bson::oid::ObjectId::from_bytes(id));
    writer.end_object();
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Bson, doc};

    use super::*;

    fn json(value: impl Into<Bson>, numbers: Numbers) -> String {
        let document = RawDocumentBuf::try_from(&doc! {"v": value.into()}).unwrap();
        let mut writer = RowWriter::new(10_000);
        write(&mut writer, document.get("v").unwrap().unwrap(), numbers).unwrap();
        writer.into_text()
    }

    fn decimal(text: &str) -> Bson {
        Bson::Decimal128(text.parse().unwrap())
    }

    #[test]
    fn decimals_keep_every_digit() {
        for (given, row, literal, measure) in [
            ("10.500000", "\"10.500000\"", "10.5", "10.5"),
            ("-0.000001", "\"-0.000001\"", "-0.000001", "-0.000001"),
            ("1E+3", "\"1E+3\"", "1000", "1000"),
            (
                "123456789012345678901234.567890",
                "\"123456789012345678901234.567890\"",
                "123456789012345678901234.56789",
                "\"123456789012345678901234.56789\"",
            ),
            ("NaN", "null", "null", "null"),
            ("-Infinity", "null", "null", "null"),
        ] {
            assert_eq!(json(decimal(given), Numbers::Rows), row);
            assert_eq!(json(decimal(given), Numbers::Literal), literal);
            assert_eq!(json(decimal(given), Numbers::Measures), measure);
        }
    }

    #[test]
    fn integers_lose_no_digit() {
        assert_eq!(json(9_007_199_254_740_993_i64, Numbers::Rows), "\"9007199254740993\"");
        assert_eq!(json(9_007_199_254_740_993_i64, Numbers::Literal), "9007199254740993");
        assert_eq!(json(9_007_199_254_740_991_i64, Numbers::Rows), "9007199254740991");
    }

    #[test]
    fn nesting_has_an_end() {
        let mut nested = doc! {};
        for _ in 0..MAX_DEPTH + 1 {
            nested = doc! {"a": nested};
        }
        let document = RawDocumentBuf::try_from(&nested).unwrap();
        let mut writer = RowWriter::new(10_000);
        assert!(matches!(write_fields(&mut writer, &document), Err(BridgeError::Query { .. })));
    }

    #[test]
    fn dates_beyond_any_calendar_are_numbers() {
        assert_eq!(json(DateTime::from_millis(-1), Numbers::Rows), "\"1969-12-31T23:59:59.999Z\"");
        assert_eq!(
            json(DateTime::from_millis(i64::MAX), Numbers::Rows),
            r#"{"$date":{"$numberLong":"9223372036854775807"}}"#
        );
    }
}
