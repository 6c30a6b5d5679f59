//! Rows say what was put into them, however the answer's body is cut.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_conformance::cut;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::Timestamp;
use serde_json::value::RawValue;

use super::{Told, tell};

const ROW_LIMIT: usize = 1_000_000;
const TAG: &[u8] = b"0123456789abcdef";

#[derive(Clone, Debug)]
enum Value {
    Signed(i64),
    Unsigned(u64),
    Wide(i128),
    Double(f64),
    Decimal { units: i64, scale: u8 },
    WideDecimal { units: i128, scale: u8 },
    Text(String),
    Bytes(Vec<u8>),
    Perhaps(Option<u8>),
    Day(u16),
    Second(u32),
    Moment { micros: i64 },
    Uuid(u128),
    List(Vec<String>),
    Named { number: i16, text: String },
}

proptest! {
    #[test]
    fn rows_say_what_was_put_into_them_however_they_are_cut(
        values in vec(value(), 1..10),
        copies in 0_usize..4,
        tagged in any::<bool>(),
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let told = tell(&cut(&body(&values, copies), &cuts), tagged.then_some(TAG), ROW_LIMIT);
        prop_assert_eq!(&told.failure, &None);
        prop_assert_eq!(&told.misread, &Vec::<String>::new());
        let rows = rows_of(&told);
        prop_assert_eq!(rows.len(), copies);
        for row in rows {
            prop_assert_eq!(row.len(), values.len());
            for (at, value) in values.iter().enumerate() {
                let cell = row[&name(at, value)].get();
                prop_assert!(is_told(cell, value), "{cell} is not {value:?}");
            }
        }
    }

    #[test]
    fn what_was_damaged_is_told_alike_however_it_is_cut(
        values in vec(value(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        tagged in any::<bool>(),
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let mut body = body(&values, 2);
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let tag = tagged.then_some(TAG);
        let whole = tell(&cut(&body, &[]), tag, ROW_LIMIT);
        let Told { columns, rows, count, failure, misread, .. } = tell(&cut(&body, &cuts), tag, ROW_LIMIT);
        prop_assert_eq!((&columns, &rows, count), (&whole.columns, &whole.rows, whole.count));
        // A row that announces more than it may have is too large before anybody sees what else is wrong with it.
        let is_too_large =
            |failure: &Option<String>| failure.as_ref().is_some_and(|failure| failure.starts_with("RowTooLarge"));
        if is_too_large(&failure) || is_too_large(&whole.failure) {
            prop_assert!(failure.is_some() && whole.failure.is_some());
        } else {
            prop_assert_eq!(&failure, &whole.failure);
        }
        prop_assert_eq!((misread, whole.misread.clone()), (Vec::new(), Vec::new()));
        prop_assert_eq!(rows_of(&whole).len() as u64, whole.count);
    }

    #[test]
    fn an_error_behind_the_rows_is_never_a_row_however_it_is_cut(
        values in vec(value(), 1..4),
        copies in 0_usize..3,
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let rows = body(&values, copies);
        let block = [b"\r\n__exception__\r\n", TAG, b"\r\nCode: 241. DB::Exception: no memory\n"].concat();
        let told = tell(&cut(&[&rows[..], &block].concat(), &cuts), Some(TAG), ROW_LIMIT);
        prop_assert_eq!(told.count, copies as u64);
        prop_assert!(told.failure.is_some_and(|failure| failure.contains("no memory")));
    }
}

#[test]
fn bytes_without_columns_are_refused_and_not_rows_without_end() {
    for body in [&b"\0rest"[..], b"\x01\x01c\x07Tuple()rest"] {
        assert!(tell(&cut(body, &[]), None, ROW_LIMIT).failure.is_some(), "{body:?}");
    }
}

fn rows_of(told: &Told) -> Vec<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(&format!("[{}]", told.rows)).unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    // 0001-01-01 to 9999-12-31.
    let micros = -62_135_596_800_000_000_i64..=253_402_300_799_999_999;
    prop_oneof![
        any::<i64>().prop_map(Value::Signed),
        any::<u64>().prop_map(Value::Unsigned),
        any::<i128>().prop_map(Value::Wide),
        prop::num::f64::NORMAL.prop_map(Value::Double),
        (any::<i64>(), 0_u8..=18).prop_map(|(units, scale)| Value::Decimal { units, scale }),
        (any::<i128>(), 0_u8..=76).prop_map(|(units, scale)| Value::WideDecimal { units, scale }),
        any::<String>().prop_map(Value::Text),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        any::<Option<u8>>().prop_map(Value::Perhaps),
        any::<u16>().prop_map(Value::Day),
        any::<u32>().prop_map(Value::Second),
        micros.prop_map(|micros| Value::Moment { micros }),
        any::<u128>().prop_map(Value::Uuid),
        vec(any::<String>(), 0..5).prop_map(Value::List),
        (any::<i16>(), any::<String>()).prop_map(|(number, text)| Value::Named { number, text }),
    ]
}

fn name(at: usize, value: &Value) -> String {
    // The first letter says how the column is read.
    format!("{}{at}", if matches!(value, Value::Bytes(_)) { 'b' } else { 'c' })
}

fn body(values: &[Value], copies: usize) -> Vec<u8> {
    let mut out = Vec::new();
    push_count(&mut out, values.len());
    for (at, value) in values.iter().enumerate() {
        push_text(&mut out, name(at, value).as_bytes());
    }
    values.iter().for_each(|value| push_text(&mut out, native(value).as_bytes()));
    let mut row = Vec::new();
    values.iter().for_each(|value| push(&mut row, value));
    out.extend(row.repeat(copies));
    out
}

fn native(value: &Value) -> String {
    match value {
        Value::Signed(_) => "Int64".to_owned(),
        Value::Unsigned(_) => "UInt64".to_owned(),
        Value::Wide(_) => "Int128".to_owned(),
        Value::Double(_) => "Float64".to_owned(),
        Value::Decimal { scale, .. } => format!("Decimal(18, {scale})"),
        Value::WideDecimal { scale, .. } => format!("Decimal(76, {scale})"),
        Value::Text(_) => "LowCardinality(String)".to_owned(),
        Value::Bytes(_) => "String".to_owned(),
        Value::Perhaps(_) => "Nullable(UInt8)".to_owned(),
        Value::Day(_) => "Date".to_owned(),
        Value::Second(_) => "DateTime(\'UTC\')".to_owned(),
        Value::Moment { .. } => "DateTime64(6, \'UTC\')".to_owned(),
        Value::Uuid(_) => "UUID".to_owned(),
        Value::List(_) => "Array(String)".to_owned(),
        Value::Named { .. } => "Tuple(number Int16, `the text` String)".to_owned(),
    }
}

fn push(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Signed(value) => out.extend(value.to_le_bytes()),
        Value::Unsigned(value) => out.extend(value.to_le_bytes()),
        Value::Wide(value) => out.extend(value.to_le_bytes()),
        Value::Double(value) => out.extend(value.to_le_bytes()),
        Value::Decimal { units, .. } => out.extend(units.to_le_bytes()),
        Value::WideDecimal { units, .. } => {
            out.extend(units.to_le_bytes());
            out.extend([if *units < 0 { 0xff } else { 0 }; 16]);
        }
        Value::Text(text) => push_text(out, text.as_bytes()),
        Value::Bytes(bytes) => push_text(out, bytes),
        Value::Perhaps(None) => out.push(1),
        Value::Perhaps(Some(value)) => out.extend([0, *value]),
        Value::Day(days) => out.extend(days.to_le_bytes()),
        Value::Second(seconds) => out.extend(seconds.to_le_bytes()),
        Value::Moment { micros } => out.extend(micros.to_le_bytes()),
        Value::Uuid(id) => {
            let (high, low) = uuid::Uuid::from_u128(*id).as_u64_pair();
            out.extend(high.to_le_bytes());
            out.extend(low.to_le_bytes());
        }
        Value::List(texts) => {
            push_count(out, texts.len());
            texts.iter().for_each(|text| push_text(out, text.as_bytes()));
        }
        Value::Named { number, text } => {
            out.extend(number.to_le_bytes());
            push_text(out, text.as_bytes());
        }
    }
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_count(out, text.len());
    out.extend(text);
}

/// Seven bits a byte, the low ones first.
fn push_count(out: &mut Vec<u8>, mut count: usize) {
    while count >= 0x80 {
        out.push(u8::try_from(count % 0x80).unwrap() | 0x80);
        count /= 0x80;
    }
    out.push(u8::try_from(count).unwrap());
}

/// Whether the cell of a row says the value, exactly.
fn is_told(cell: &str, value: &Value) -> bool {
    const SAFE: u64 = (1 << 53) - 1;
    let text = || serde_json::from_str::<String>(cell).unwrap();
    match value {
        Value::Signed(value) if value.unsigned_abs() <= SAFE => cell == value.to_string(),
        Value::Signed(value) => text() == value.to_string(),
        Value::Unsigned(value) if *value <= SAFE => cell == value.to_string(),
        Value::Unsigned(value) => text() == value.to_string(),
        Value::Wide(value) => text() == value.to_string(),
        Value::Double(value) => cell.parse() == Ok(*value),
        Value::Decimal { units, scale } => is_decimal(&text(), i128::from(*units), *scale),
        Value::WideDecimal { units, scale } => is_decimal(&text(), *units, *scale),
        Value::Text(value) => text() == *value,
        Value::Bytes(bytes) => STANDARD.decode(text()).unwrap() == *bytes,
        Value::Perhaps(None) => cell == "null",
        Value::Perhaps(Some(value)) => cell == value.to_string(),
        Value::Day(days) => text() == Timestamp::from_days(i64::from(*days)).unwrap().to_string(),
        Value::Second(seconds) => {
            text() == Timestamp::from_micros(i64::from(*seconds) * 1_000_000).to_string()
        }
        Value::Moment { micros } => text() == Timestamp::from_micros(*micros).to_string(),
        Value::Uuid(id) => text() == uuid::Uuid::from_u128(*id).to_string(),
        Value::List(texts) => serde_json::from_str::<Vec<String>>(cell).unwrap() == *texts,
        Value::Named { number, text } => {
            let said: serde_json::Value = serde_json::from_str(cell).unwrap();
            said == serde_json::json!({ "number": number, "the text": text })
        }
    }
}

/// The same digits, and as many behind the point as its scale.
fn is_decimal(text: &str, units: i128, scale: u8) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = [whole, fraction].concat().parse::<i128>();
    // What stands before the digits of so wide a fraction is more zeros than a number has.
    fraction.len() == usize::from(scale) && digits == Ok(units)
}
