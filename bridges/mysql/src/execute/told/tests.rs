//! Rows say what was put into them, however the server's words are cut.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_conformance::{Script, cut};
use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::Timestamp;
use serde_json::value::RawValue;

use super::{Told, tell};
use crate::wire::scripted::{Dialect, push_text};

const ROW_LIMIT: usize = 1_000_000;
/// utf8mb4, and what is no text.
const TEXT: u16 = 45;
const BINARY: u16 = 63;
const UNSIGNED: u16 = 0x20;

#[derive(Clone, Debug)]
enum Value {
    Null,
    Signed(i64),
    Unsigned(u64),
    Small(i8),
    Double(f64),
    Single(f32),
    Decimal(i64, u64),
    Text(String),
    Bytes(Vec<u8>),
    Moment { days: i64, micros: i64 },
    Day(i64),
    Time { seconds: i32 },
}

proptest! {
    #[test]
    fn rows_say_what_was_put_into_them_however_they_are_cut(
        dialect in prop_oneof![Just(Dialect::New), Just(Dialect::Old), Just(Dialect::MariaDb)],
        values in vec(value(), 1..12),
        copies in 0_usize..4,
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let columns: Vec<_> = values.iter().enumerate().map(|(at, value)| column(dialect, at, value)).collect();
        let rows = vec![row(&values); copies];
        let told = told(dialect, &dialect.result(&columns, &rows), &cuts);
        prop_assert_eq!(&told.failure, &None);
        prop_assert!(told.is_idle);
        let rows = rows_of(&told);
        prop_assert_eq!(rows.len(), copies);
        for row in rows {
            prop_assert_eq!(row.len(), values.len());
            for (at, value) in values.iter().enumerate() {
                let cell = row[&format!("c{at}")].get();
                prop_assert!(is_told(cell, value), "{cell} is not {value:?}");
            }
        }
    }

    #[test]
    fn what_was_damaged_is_told_alike_however_it_is_cut(
        values in vec(value(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let dialect = Dialect::MariaDb;
        let columns: Vec<_> = values.iter().enumerate().map(|(at, value)| column(dialect, at, value)).collect();
        let mut words = dialect.result(&columns, &[row(&values), row(&values)]);
        for (place, byte) in damage {
            let place = place.index(words.len());
            words[place] = byte;
        }
        let whole = told(dialect, &words, &[]);
        let pieces = told(dialect, &words, &cuts);
        // Whether something is left behind the answer is only known of what has been received.
        prop_assert_eq!(&Told { is_idle: whole.is_idle, ..pieces }, &whole);
        prop_assert_eq!(rows_of(&whole).len() as u64, whole.count);
    }
}

fn told(dialect: Dialect, words: &[u8], cuts: &[u8]) -> Told {
    let script = Script::new([cut(&dialect.login(), cuts), cut(words, cuts)]);
    tell(script, ROW_LIMIT).now_or_never().unwrap()
}

fn rows_of(told: &Told) -> Vec<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(&format!("[{}]", told.rows)).unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    // 0001-01-01 to 9999-12-31.
    let days = -719_162_i64..=2_932_896;
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Signed),
        any::<u64>().prop_map(Value::Unsigned),
        any::<i8>().prop_map(Value::Small),
        prop::num::f64::NORMAL.prop_map(Value::Double),
        prop::num::f32::NORMAL.prop_map(Value::Single),
        (any::<i64>(), 0_u64..1_000_000).prop_map(|(whole, fraction)| Value::Decimal(whole, fraction)),
        any::<String>().prop_map(Value::Text),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        (days.clone(), 0_i64..86_400_000_000).prop_map(|(days, micros)| Value::Moment { days, micros }),
        days.prop_map(Value::Day),
        (-3_020_399..=3_020_399).prop_map(|seconds| Value::Time { seconds }),
    ]
}

fn column(dialect: Dialect, at: usize, value: &Value) -> Vec<u8> {
    let (code, charset, flags, decimals) = match value {
        Value::Null => (6, BINARY, 0, 0),
        Value::Signed(_) => (8, BINARY, 0, 0),
        Value::Unsigned(_) => (8, BINARY, UNSIGNED, 0),
        Value::Small(_) => (1, BINARY, 0, 0),
        Value::Double(_) => (5, BINARY, 0, 31),
        Value::Single(_) => (4, BINARY, 0, 31),
        Value::Decimal(..) => (246, BINARY, 0, 6),
        Value::Text(_) => (253, TEXT, 0, 0),
        Value::Bytes(_) => (252, BINARY, 0, 0),
        Value::Moment { .. } => (12, BINARY, 0, 6),
        Value::Day(_) => (10, BINARY, 0, 0),
        Value::Time { .. } => (11, BINARY, 0, 0),
    };
    dialect.column(&format!("c{at}"), code, charset, flags, decimals)
}

fn row(values: &[Value]) -> Vec<u8> {
    let mut nulls = vec![0_u8; (values.len() + 9) / 8];
    let mut bytes = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match value {
            Value::Null => nulls[(at + 2) / 8] |= 1 << ((at + 2) % 8),
            Value::Signed(value) => bytes.extend(value.to_le_bytes()),
            Value::Unsigned(value) => bytes.extend(value.to_le_bytes()),
            Value::Small(value) => bytes.extend(value.to_le_bytes()),
            Value::Double(value) => bytes.extend(value.to_le_bytes()),
            Value::Single(value) => bytes.extend(value.to_le_bytes()),
            Value::Decimal(whole, fraction) => push_text(&mut bytes, decimal(*whole, *fraction).as_bytes()),
            Value::Text(text) => push_text(&mut bytes, text.as_bytes()),
            Value::Bytes(value) => push_text(&mut bytes, value),
            Value::Moment { days, micros } => {
                let (year, month, day) = civil(*days);
                bytes.push(11);
                bytes.extend(year.to_le_bytes());
                bytes.extend([month, day]);
                let seconds = micros / 1_000_000;
                let parts = [seconds / 3_600, seconds / 60 % 60, seconds % 60];
                bytes.extend(parts.map(|part| u8::try_from(part).unwrap()));
                bytes.extend(u32::try_from(micros % 1_000_000).unwrap().to_le_bytes());
            }
            Value::Day(days) => {
                let (year, month, day) = civil(*days);
                bytes.push(4);
                bytes.extend(year.to_le_bytes());
                bytes.extend([month, day]);
            }
            Value::Time { seconds } => {
                let all = seconds.unsigned_abs();
                bytes.extend([8, u8::from(*seconds < 0)]);
                bytes.extend((all / 86_400).to_le_bytes());
                let parts = [all / 3_600 % 24, all / 60 % 60, all % 60];
                bytes.extend(parts.map(|part| u8::try_from(part).unwrap()));
            }
        }
    }
    [vec![0], nulls, bytes].concat()
}

fn civil(days: i64) -> (u16, u8, u8) {
    let (year, month, day) = Timestamp::from_days(days).unwrap().civil();
    (u16::try_from(year).unwrap(), month, day)
}

fn decimal(whole: i64, fraction: u64) -> String {
    format!("{whole}.{fraction:06}")
}

/// Whether the cell of a row says the value, exactly.
fn is_told(cell: &str, value: &Value) -> bool {
    const SAFE: u64 = (1 << 53) - 1;
    let text = || serde_json::from_str::<String>(cell).unwrap();
    match value {
        Value::Null => cell == "null",
        Value::Signed(value) if value.unsigned_abs() <= SAFE => cell == value.to_string(),
        Value::Signed(value) => text() == value.to_string(),
        Value::Unsigned(value) if *value <= SAFE => cell == value.to_string(),
        Value::Unsigned(value) => text() == value.to_string(),
        Value::Small(value) => cell == value.to_string(),
        Value::Double(value) => cell.parse() == Ok(*value),
        Value::Single(value) => cell.parse() == Ok(*value),
        Value::Decimal(whole, fraction) => text() == decimal(*whole, *fraction),
        Value::Text(value) => text() == *value,
        Value::Bytes(bytes) => STANDARD.decode(text()).unwrap() == *bytes,
        Value::Moment { days, micros } => {
            text() == Timestamp::from_micros(days * 86_400_000_000 + micros).to_string()
        }
        Value::Day(days) => text() == Timestamp::from_days(*days).unwrap().to_string(),
        Value::Time { seconds } => {
            let (sign, all) = (if *seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
            text() == format!("{sign}{:02}:{:02}:{:02}", all / 3_600, all / 60 % 60, all % 60)
        }
    }
}
