#![no_main]
//! The body of a ClickHouse server's answer: whatever it says and however it is cut, rows are JSON, values are passed over
//! as they are read, and what the server says behind a tag is an error and no row.

use answers::{ROW_LIMIT, check_rows, check_value, parts};
use bridge_clickhouse::fuzzing::{Told, read_type, tell};
use bridge_conformance::cut;
use libfuzzer_sys::fuzz_target;

const TAG: &[u8] = b"0123456789abcdef";

/// Of the mode: the server marks its errors.
const MARKED: u8 = 1;
/// A first byte says how many columns there are, the next ones their types; what follows is rows.
const TYPES: u8 = 2;
/// The words are the name of a type.
const NAME: u8 = 4;

/// Each type that is read in a way of its own.
const NATIVES: [&str; 48] = [
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Int128",
    "Int256",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "UInt128",
    "UInt256",
    "Float32",
    "Float64",
    "BFloat16",
    "Bool",
    "Decimal(9, 2)",
    "Decimal(18, 18)",
    "Decimal(38, 5)",
    "Decimal(76, 76)",
    "Decimal(9, 255)",
    "String",
    "FixedString(3)",
    "UUID",
    "Date",
    "Date32",
    "DateTime",
    "DateTime64(0)",
    "DateTime64(6)",
    "DateTime64(9)",
    "Time",
    "Time64(3)",
    "Enum8('a\\'b' = -1, '\"' = 2)",
    "Enum16('x' = 256)",
    "IPv4",
    "IPv6",
    "Nothing",
    "Nullable(Int32)",
    "Nullable(String)",
    "Array(String)",
    "Array(Array(Nullable(UInt8)))",
    "Tuple(UInt8, String)",
    "Tuple(a UInt8, `b \"c` Array(Bool))",
    "Map(String, Float64)",
    "Map(Int8, Array(Date))",
    "Map(Nullable(Float32), String)",
    "MultiPolygon",
    "Nested(k String, v Array(Nothing))",
];

fuzz_target!(|input: &[u8]| {
    let Some((mode, cuts, words)) = parts(input) else { return };
    if mode & NAME != 0 {
        return name(words);
    }
    let body = if mode & TYPES != 0 { with_header(words) } else { words.to_vec() };
    let tag = (mode & MARKED != 0).then_some(TAG);
    let whole = tell(&cut(&body, &[]), tag, ROW_LIMIT);
    check(&whole);
    let pieces = tell(&cut(&body, cuts), tag, ROW_LIMIT);
    check(&pieces);
    if !is_too_large(&whole) && !is_too_large(&pieces) {
        assert_eq!(pieces.failure, whole.failure);
    }
    assert_eq!(alike(pieces), alike(whole));
});

/// A type can stand in others, unless that is too deep for a person to have written it.
fn name(words: &[u8]) {
    let Ok(text) = std::str::from_utf8(words) else { return };
    let text = text.trim();
    if let Some(kind) = read_type(text)
        && text.matches('(').count() < 60
    {
        assert_eq!(read_type(&format!("Array({text})")), Some(format!("Array({kind})")));
        assert_eq!(read_type(&format!("SimpleAggregateFunction(any, {text})")), Some(kind));
    }
    assert_eq!(read_type(&format!("Array({text}")), None);
}

fn with_header(words: &[u8]) -> Vec<u8> {
    let Some((count, rest)) = words.split_first() else { return Vec::new() };
    let (types, rows) = rest.split_at(usize::from(count % 8).min(rest.len()));
    let mut body = vec![u8::try_from(types.len()).unwrap()];
    for (at, kind) in types.iter().enumerate() {
        // The first letter says how a column is read: as JSON, as bytes, or as it is.
        let letter = match kind {
            0xc0..=0xdf => 'j',
            0xe0.. => 'b',
            _ => 'c',
        };
        body.extend([2, u8::try_from(letter).unwrap(), b'0' + u8::try_from(at).unwrap()]);
    }
    for kind in types {
        let native = NATIVES[usize::from(*kind) % NATIVES.len()];
        body.push(u8::try_from(native.len()).unwrap());
        body.extend(native.as_bytes());
    }
    body.extend(rows);
    body
}

fn check(told: &Told) {
    check_rows(&told.columns, &told.rows, told.count);
    told.measures.iter().for_each(|measure| check_value(measure));
    assert_eq!(told.misread, Vec::<String>::new());
}

/// What does not depend on which values were at hand together, and whether there was a failure. A row that announces more
/// than it may have is too large before anybody sees what else is wrong with it.
fn alike(told: Told) -> (Vec<String>, String, u64, bool) {
    (told.columns, told.rows, told.count, told.failure.is_some())
}

fn is_too_large(told: &Told) -> bool {
    told.failure.as_ref().is_some_and(|failure| failure.starts_with("RowTooLarge"))
}
