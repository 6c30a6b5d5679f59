//! ClickHouse.

use protocol::CalendarUnit;

use super::{Aggregates, COMMON, Cell, Dialect, Matching, Membership, Nulls, Paging, back_quoted, numbered};
use crate::{Column, Kind, Param, PatternSyntax, Value};

/// ClickHouse, from version 23.3 on. Joins want `join_use_nulls=1`.
///
/// Its primary keys say how rows are stored, not that they are unique. H3 cells are those of a server whose `geoToH3`
/// takes the longitude first; a bridge asks the server which it is.
pub const CLICKHOUSE: Dialect = Dialect {
    name: "clickhouse",
    max_parts: 2,
    // A tuple called `t` would hide a table of that name.
    base: "semilayer",
    // Each is a field of a form, of which servers take 1000.
    max_params: 900,
    quote: |out, name| back_quoted(out, &name.replace('\\', "\\\\")),
    placeholder: typed,
    booleans_are_integers: true,
    membership: Membership::InArray { few: 100, has: "if(isNull(#1), NULL, has(#2, #1))" },
    row_comparison: true,
    nulls: Nulls::Last,
    paging: Paging::Limit { unlimited: Some("9223372036854775807"), bound: true },
    text_cast: "toString(#1)",
    bytes_cast: Some("base64Encode(#1)"),
    matching_case: Matching { template: "#1 LIKE #2", syntax: PatternSyntax::Backslash },
    matching_any_case: Matching { template: "#1 ILIKE #2", syntax: PatternSyntax::Backslash },
    unique_keys: false,
    uuid_order: Some("toString(#1)"),
    finite: Some("if(isFinite(#1), #1, NULL)"),
    cursor_value: nanoseconds,
    aggregates: Aggregates {
        double: "toFloat64(#1)",
        floor: "floor(#1)",
        instant: |kind| {
            let is_time = matches!(kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz);
            is_time.then_some("toDateTime64(#1, 6, 'UTC')")
        },
        calendar,
        iso: "replaceOne(concat(formatDateTime(#1, '%FT%T', 'UTC'), '.', leftPad(toString((toUnixTimestamp64Micro(#1) % 1000000 + 1000000) % 1000000), 6, '0'), 'Z'), '000Z', 'Z')",
        sum_integers: "sumOrNull(toDecimal128(#1, 0))",
        sum: "sumOrNull(#1)",
        extremes: ("minOrNull(#1)", "maxOrNull(#1)"),
        avg: "avgOrNull(#1)",
        // The sum behind it has 64 bits otherwise.
        avg_integers: Some("avgOrNull(toInt128(#1))"),
        booleans: ("minOrNull(#1)", "maxOrNull(#1)"),
        distinct_fast: Some("uniq(#1)"),
        percentile: Some("quantileExactInclusiveOrNull(#2)(#1)"),
        sample: "rand64() / 18446744073709551616. < #1",
        list: "concat('[', arrayStringConcat(arrayMap(x -> concat('{\"key\":', toJSONString(x.2), ',\"count\":', toString(x.3), '}'), arraySort(groupArray((r, v, n)))), ','), ']')",
        geohash: Some(Cell { cell: "geohashEncode(toFloat64(#2), toFloat64(#1), #3)", point: None }),
        h3: Some(Cell { cell: "toString(geoToH3(toFloat64(#2), toFloat64(#1), #3))", point: None }),
        ..COMMON.aggregates
    },
    ..COMMON
};

/// `{p0:Int64}`: parameters carry their type. Bytes travel as hexadecimal digits.
fn typed(out: &mut String, slot: usize, param: &Param) {
    let slot = slot.saturating_sub(1);
    let (before, after) = match &param.value {
        Value::Bytes(_) => ("unhex({p", ":String})".to_owned()),
        Value::List(values) if matches!(values.first(), Some(Value::Bytes(_))) => {
            ("arrayMap(x -> unhex(x), {p", ":Array(String)})".to_owned())
        }
        Value::List(values) => ("{p", format!(":Array({})}}", type_of(values, param.kind))),
        value => ("{p", format!(":{}}}", type_of(std::slice::from_ref(value), param.kind))),
    };
    numbered(out, before, slot);
    out.push_str(&after);
}

/// The type that holds all of `values`, which are of one kind.
fn type_of(values: &[Value], kind: Option<Kind>) -> String {
    let is_decimal = |value: &Value| matches!(value, Value::Decimal(_));
    match (kind, values.first()) {
        // Beyond 64 signed bits.
        (Some(Kind::Integer { signed: false, .. }), _) => "UInt64".to_owned(),
        (Some(Kind::Decimal), _) if values.iter().all(is_integer) => integer_type(values),
        _ if values.iter().any(is_decimal) => decimal_type(values),
        (Some(Kind::Date), Some(Value::Timestamp(_))) => "Date32".to_owned(),
        (Some(Kind::Uuid), Some(Value::Text(_))) => "UUID".to_owned(),
        // Of a cursor: see `nanoseconds`.
        (Some(Kind::TimestampTz), Some(Value::Text(_))) => "DateTime64(9, 'UTC')".to_owned(),
        (_, Some(Value::Boolean(_))) => "Bool".to_owned(),
        (_, Some(Value::Integer(_))) => "Int64".to_owned(),
        (_, Some(Value::Double(_))) => "Float64".to_owned(),
        (_, Some(Value::Timestamp(_))) => "DateTime64(6, 'UTC')".to_owned(),
        (_, Some(Value::Text(_) | Value::Bytes(_) | Value::Decimal(_) | Value::List(_)) | None) => {
            "String".to_owned()
        }
    }
}

fn is_integer(value: &Value) -> bool {
    matches!(value, Value::Decimal(text) if !text.contains(['.', 'e', 'E']))
}

/// The greatest integer of 256 bits with a sign.
const GREATEST: &str = "57896044618658097711785492504343953926634992332820282019728792003956564819967";

/// Integers compare with decimals, and with integers of any width, as exactly as they are.
fn integer_type(values: &[Value]) -> String {
    let is_beyond = |value: &Value| {
        matches!(value, Value::Decimal(text) if !text.starts_with('-')
            && (text.len(), text.as_str()) > (GREATEST.len(), GREATEST))
    };
    if values.iter().any(is_beyond) { "UInt256" } else { "Int256" }.to_owned()
}

/// All digits of a decimal type.
const DECIMAL_DIGITS: usize = 76;

/// A decimal as wide as the values need; a double where no decimal is.
fn decimal_type(values: &[Value]) -> String {
    let (mut whole, mut scale) = (0, 0);
    for value in values {
        if let Value::Decimal(text) = value {
            let (before, after) = text.split_once('.').unwrap_or((text, ""));
            if text.contains(['e', 'E']) {
                return "Float64".to_owned();
            }
            let before = before.trim_start_matches(['-', '0']);
            (whole, scale) = (before.len().max(whole), after.len().max(scale));
        }
    }
    if whole + scale > DECIMAL_DIGITS { "Float64".to_owned() } else { format!("Decimal256({scale})") }
}

/// A time to more than the microsecond, which an operand does not keep.
fn nanoseconds(column: &Column, text: &str) -> Option<Value> {
    let (clock, fraction) = text.strip_suffix('Z')?.split_once('.')?;
    let exact = column.kind == Kind::TimestampTz
        && fraction.len() == 9
        && fraction.bytes().all(|digit| digit.is_ascii_digit())
        && clock.len() == 19
        && protocol::Timestamp::parse(text).is_some();
    exact.then(|| Value::Text(format!("{}.{fraction}", clock.replace('T', " "))))
}

/// `%i` is the minute in every version; `%M` was it only in some.
fn calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "formatDateTime(#1, '%FT%H:%i', 'UTC')",
        CalendarUnit::Hour => "formatDateTime(#1, '%FT%H', 'UTC')",
        CalendarUnit::Day => "formatDateTime(#1, '%F', 'UTC')",
        CalendarUnit::Week => "formatDateTime(#1, '%G-W%V', 'UTC')",
        CalendarUnit::Month => "formatDateTime(#1, '%Y-%m', 'UTC')",
        CalendarUnit::Quarter => "formatDateTime(#1, '%Y-Q%Q', 'UTC')",
        CalendarUnit::Year => "toString(toYear(#1))",
    }
}
