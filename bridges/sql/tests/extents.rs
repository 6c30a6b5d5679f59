//! Operands beyond what a column can hold, by what is known of it.

#![expect(clippy::unwrap_used, reason = "a helper of the tests may fail them")]

use protocol::{CountOptions, Filter, Timestamp};
use semilayer_bridge_sql::{CLICKHOUSE, Column, Extent, Kind, Table, Value, count};
use serde_json::{Value as Json, json};

const MOST: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

/// A condition over a column, as SQL and the values that it has.
fn condition(column: Column, test: Json) -> (String, Vec<Value>) {
    let table = Table { parts: vec!["t".to_owned()], columns: vec![column], ..Table::default() };
    let raw = serde_json::value::to_raw_value(&json!({ "v": test })).unwrap();
    let filter = Filter::parse(&raw).unwrap();
    let sql = count(&CLICKHOUSE, &table, &CountOptions { filter }).unwrap();
    let text = sql.text.split_once(" WHERE ").map(|(_, text)| text.to_owned()).unwrap_or_default();
    (text, sql.params.into_iter().map(|param| param.value).collect())
}

fn column(kind: Kind, extent: Extent) -> Column {
    Column { extent, ..Column::new("v", kind, false) }
}

fn decimal(text: &str) -> Vec<Value> {
    vec![Value::Decimal(text.to_owned())]
}

#[test]
fn integers_of_any_width_are_bound_as_integers_and_what_is_between_two_is_a_bound() {
    let of = |test: Json| {
        let (text, values) =
            condition(column(Kind::Decimal, Extent::Integers { least: "0", greatest: MOST }), test);
        (text, values)
    };
    assert_eq!(of(json!(MOST)), ("`v` = {p0:UInt256}".to_owned(), decimal(MOST)));
    assert_eq!(of(json!("5.00")), ("`v` = {p0:Int256}".to_owned(), decimal("5")));
    assert_eq!(of(json!({ "$gt": 5.5 })), ("`v` > {p0:Int256}".to_owned(), decimal("5")));
    assert_eq!(of(json!({ "$gt": -0.5 })), ("`v` >= {p0:Int256}".to_owned(), decimal("0")));
    assert_eq!(of(json!({ "$lt": "1e2" })), ("`v` < {p0:Int256}".to_owned(), decimal("100")));
    assert_eq!(of(json!({ "$gt": "1e90" })), ("1=0".to_owned(), Vec::new()));
    assert_eq!(of(json!({ "$gte": -1 })), ("`v` IS NOT NULL".to_owned(), Vec::new()));
    assert_eq!(of(json!(5.5)), ("1=0".to_owned(), Vec::new()));
}

#[test]
fn decimals_have_the_digits_of_their_column() {
    let of = |test: Json| condition(column(Kind::Decimal, Extent::Digits { whole: 3, scale: 2 }), test);
    assert_eq!(of(json!(1)), ("`v` = {p0:Decimal256(1)}".to_owned(), decimal("1.0")));
    assert_eq!(of(json!("-0.0500")), ("`v` = {p0:Decimal256(2)}".to_owned(), decimal("-0.05")));
    assert_eq!(of(json!({ "$gt": 1.505 })), ("`v` > {p0:Decimal256(1)}".to_owned(), decimal("1.5")));
    assert_eq!(of(json!({ "$lt": -1.505 })), ("`v` < {p0:Decimal256(1)}".to_owned(), decimal("-1.5")));
    assert_eq!(of(json!({ "$lt": "1e-9" })), ("`v` <= {p0:Decimal256(1)}".to_owned(), decimal("0.0")));
    assert_eq!(of(json!({ "$lt": 1000 })), ("`v` IS NOT NULL".to_owned(), Vec::new()));
    assert_eq!(of(json!(1000)), ("1=0".to_owned(), Vec::new()));
}

#[test]
fn instants_beyond_a_column_lie_on_one_side_of_it() {
    let at = Timestamp::from_micros;
    let of = |test: Json| {
        condition(column(Kind::TimestampTz, Extent::Instants { first: at(0), last: at(1_000_000) }), test).0
    };
    assert_eq!(of(json!({ "$lt": "2026-01-01T00:00:00Z" })), "`v` IS NOT NULL");
    assert_eq!(of(json!({ "$gt": "2026-01-01T00:00:00Z" })), "1=0");
    assert_eq!(of(json!({ "$gte": "1970-01-01T00:00:01Z" })), "`v` >= {p0:DateTime64(6, 'UTC')}");
    assert_eq!(of(json!("1969-12-31T00:00:00Z")), "1=0");
}

#[test]
fn a_list_of_a_column_that_fills_up_has_only_what_it_can_hold() {
    let of = |test: Json| condition(column(Kind::Text, Extent::Padded { bytes: 3 }), test);
    let listed = vec![Value::List(vec![Value::Text("abc".to_owned())])];
    assert_eq!(of(json!({ "$in": ["abc", "abcd"] })), ("`v` IN {p0:Array(String)}".to_owned(), listed));
    assert_eq!(of(json!({ "$endsWith": "c" })).0, "toString(`v`) ILIKE {p0:String}");
}

#[test]
fn a_list_is_as_many_parameters_as_its_length_asks_for() {
    let texts: Vec<String> = (0..10_000).map(|at| format!("{at:036}")).collect();
    let (text, values) = condition(column(Kind::Text, Extent::OfItsKind), json!({ "$nin": texts }));
    assert!(
        text.starts_with("(`v` NOT IN {p0:Array(String)} AND `v` NOT IN {p1:Array(String)} AND"),
        "{text}"
    );
    let mut all = Vec::new();
    for value in values {
        let Value::List(list) = value else { panic!("no list: {value:?}") };
        assert!(list.len() * 40 < 128 * 1024);
        all.extend(list);
    }
    assert_eq!(all, texts.into_iter().map(Value::Text).collect::<Vec<_>>());
}
