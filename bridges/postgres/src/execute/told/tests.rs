//! Rows say what was put into them, however the server's words are cut.

use std::collections::BTreeMap;

use bridge_conformance::{Script, cut};
use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::Timestamp;
use serde_json::value::RawValue;

use super::{ARRAY, Told, VECTOR, tell};
use crate::wire::Oid;
use crate::wire::scripted::{begin, end, row};

const ROW_LIMIT: usize = 1_000_000;
/// Microseconds from 1970 to 2000.
const EPOCH: i64 = 946_684_800_000_000;

#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    Small(i16),
    Integer(i32),
    Big(i64),
    Double(f64),
    Single(f32),
    /// So many millionths.
    Numeric(i64),
    Text(String),
    Timestamp(i64),
    Integers(Vec<Option<i32>>),
    Words(Vec<String>),
    Vector(Vec<f32>),
}

proptest! {
    #[test]
    fn rows_say_what_was_put_into_them_however_they_are_cut(
        values in vec(value(), 0..10),
        copies in 0_usize..4,
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let told = told(&words(&values, copies), &cuts);
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
        let mut words = words(&values, 2);
        for (place, byte) in damage {
            let place = place.index(words.len());
            words[place] = byte;
        }
        let whole = told(&words, &[]);
        let pieces = told(&words, &cuts);
        // Whether something is left behind the answer is only known of what has been received.
        prop_assert_eq!(&Told { is_idle: whole.is_idle, ..pieces }, &whole);
        prop_assert_eq!(rows_of(&whole).len() as u64, whole.count);
    }
}

/// The largest numeric takes ten bytes and has 131 072 digits.
fn largest_numeric() -> Vec<u8> {
    [1_i16, 32_767, 0, 0, 9_999].iter().flat_map(|part| part.to_be_bytes()).collect()
}

#[test]
fn a_row_of_many_large_numerics_is_not_written_further_than_a_row_may_be_long() {
    let columns: Vec<_> = (0..20).map(|at| (format!("c{at}"), 1700)).collect();
    let values = vec![Some(largest_numeric()); columns.len()];
    let told = told(&[begin(&columns), row(&values), end()].concat(), &[]);
    assert!(told.failure.is_some_and(|failure| failure.starts_with("RowTooLarge")));
}

#[test]
fn an_array_of_many_large_numerics_is_not_written_further_than_a_row_may_be_long() {
    let element = [&10_i32.to_be_bytes()[..], &largest_numeric()].concat();
    let head: Vec<u8> = [1_i32, 0, 1700, 10_000, 1].iter().flat_map(|part| part.to_be_bytes()).collect();
    let array = [head, element.repeat(10_000)].concat();
    let mut writer = bridge_core::RowWriter::new(ROW_LIMIT);
    writer.begin_row();
    writer.object_key("v");
    let numerics = crate::values::Encoding::of(1231, &super::types());
    numerics.write(&array, &mut writer).unwrap();
    assert!(writer.len() < 2 * ROW_LIMIT, "{}", writer.len());
    assert!(writer.end_row().is_err());
}

fn told(words: &[u8], cuts: &[u8]) -> Told {
    tell(Script::answer(cut(words, cuts)), ROW_LIMIT).now_or_never().unwrap()
}

fn rows_of(told: &Told) -> Vec<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(&format!("[{}]", told.rows)).unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    // 4713 BC to 294276, without the infinities.
    let micros = -211_813_488_000_000_000_i64..=9_223_371_331_199_999_999;
    let plain = || "[^\0]{0,8}";
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i16>().prop_map(Value::Small),
        any::<i32>().prop_map(Value::Integer),
        any::<i64>().prop_map(Value::Big),
        prop::num::f64::NORMAL.prop_map(Value::Double),
        prop::num::f32::NORMAL.prop_map(Value::Single),
        any::<i64>().prop_map(Value::Numeric),
        any::<String>().prop_map(Value::Text),
        micros.prop_map(Value::Timestamp),
        vec(any::<Option<i32>>(), 0..6).prop_map(Value::Integers),
        vec(plain(), 0..6).prop_map(Value::Words),
        vec(prop::num::f32::NORMAL, 1..6).prop_map(Value::Vector),
    ]
}

fn words(values: &[Value], copies: usize) -> Vec<u8> {
    let columns: Vec<_> =
        values.iter().enumerate().map(|(at, value)| (format!("c{at}"), type_of(value))).collect();
    let values: Vec<_> = values.iter().map(bytes_of).collect();
    [begin(&columns), row(&values).repeat(copies), end()].concat()
}

fn type_of(value: &Value) -> Oid {
    match value {
        Value::Null | Value::Text(_) => 25,
        Value::Bool(_) => 16,
        Value::Small(_) => 21,
        Value::Integer(_) => 23,
        Value::Big(_) => 20,
        Value::Double(_) => 701,
        Value::Single(_) => 700,
        Value::Numeric(_) => 1700,
        Value::Timestamp(_) => 1184,
        Value::Integers(_) => 1007,
        Value::Words(_) => ARRAY,
        Value::Vector(_) => VECTOR,
    }
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => vec![u8::from(*value)],
        Value::Small(value) => value.to_be_bytes().to_vec(),
        Value::Integer(value) => value.to_be_bytes().to_vec(),
        Value::Big(value) => value.to_be_bytes().to_vec(),
        Value::Double(value) => value.to_be_bytes().to_vec(),
        Value::Single(value) => value.to_be_bytes().to_vec(),
        Value::Numeric(millionths) => numeric(*millionths),
        Value::Text(text) => text.clone().into_bytes(),
        Value::Timestamp(micros) => (micros - EPOCH).to_be_bytes().to_vec(),
        Value::Integers(integers) => array(integers),
        Value::Words(words) => {
            let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("{{{}}}", quoted.join(",")).into_bytes()
        }
        Value::Vector(singles) => {
            let singles: Vec<String> = singles.iter().map(|single| format!("{single:e}")).collect();
            format!("[{}]", singles.join(",")).into_bytes()
        }
    })
}

/// Digits in groups of four, of which the first may be zeros.
fn numeric(millionths: i64) -> Vec<u8> {
    // Two more digits, so that what is behind the point is whole groups.
    let mut rest = u128::from(millionths.unsigned_abs()) * 100;
    let mut groups = [0_u16; 6];
    for group in groups.iter_mut().rev() {
        *group = u16::try_from(rest % 10_000).unwrap();
        rest /= 10_000;
    }
    let sign = if millionths < 0 { 0x4000_u16 } else { 0 };
    let head = [6_u16, 3, sign, 6];
    head.iter().chain(&groups).flat_map(|part| part.to_be_bytes()).collect()
}

fn array(integers: &[Option<i32>]) -> Vec<u8> {
    let count = i32::try_from(integers.len()).unwrap();
    let mut parts = if count == 0 { vec![0, 0, 23] } else { vec![1, 0, 23, count, 1] };
    for integer in integers {
        match integer {
            Some(integer) => parts.extend([4, *integer]),
            None => parts.push(-1),
        }
    }
    parts.iter().flat_map(|part| part.to_be_bytes()).collect()
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether the cell of a row says the value, exactly.
fn is_told(cell: &str, value: &Value) -> bool {
    let text = || serde_json::from_str::<String>(cell).unwrap();
    match value {
        Value::Null => cell == "null",
        Value::Bool(value) => cell == value.to_string(),
        Value::Small(value) => cell == value.to_string(),
        Value::Integer(value) => cell == value.to_string(),
        Value::Big(value) => text() == value.to_string(),
        Value::Double(value) => cell.parse() == Ok(*value),
        Value::Single(value) => cell.parse() == Ok(*value),
        Value::Numeric(millionths) => {
            let text = text();
            let (whole, fraction) = text.split_once('.').unwrap();
            let digits = [whole, fraction].concat();
            fraction.len() == 6 && digits.parse() == Ok(*millionths)
        }
        Value::Text(value) => text() == *value,
        Value::Timestamp(micros) => text() == Timestamp::from_micros(*micros).to_string(),
        Value::Integers(integers) => serde_json::from_str::<Vec<Option<i32>>>(cell).unwrap() == *integers,
        Value::Words(words) => serde_json::from_str::<Vec<String>>(cell).unwrap() == *words,
        Value::Vector(singles) => {
            let said: Vec<Box<RawValue>> = serde_json::from_str(cell).unwrap();
            said.iter().map(|single| single.get().parse()).eq(singles.iter().map(|single| Ok(*single)))
        }
    }
}
