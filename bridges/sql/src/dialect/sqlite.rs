//! SQLite and what is made of it.
//!
//! Values have types there, columns hardly. Dates are text (or numbers) that the date functions understand; integers
//! are milliseconds since 1970, as everywhere in this product.

use protocol::CalendarUnit;

use super::{
    Aggregates, COMMON, Dialect, LOWER_LIKE, Matching, Membership, Nulls, Paging, double_quoted,
    question_mark,
};
use crate::{Column, Kind, PatternSyntax, Value};

/// SQLite 3.44 or later, with functions of ours that the bridge registers: `semilayer_fold(text)` folds case as Unicode
/// has it and is null for null; `semilayer_shown(value)` is a value as rows show it where JSON can hold no bytes.
pub const SQLITE: Dialect = Dialect {
    name: "sqlite",
    max_parts: 2,
    max_params: 32_766,
    quote: double_quoted,
    placeholder: question_mark,
    booleans_are_integers: true,
    dates_are_text: true,
    membership: Membership::JsonText { from: 33, template: "SELECT value FROM json_each(#1)" },
    row_comparison: true,
    nulls: Nulls::Smallest,
    paging: Paging::Limit { unlimited: Some("-1"), bound: true },
    text_cast: "CAST(#1 AS TEXT)",
    // The literal of null would be a text.
    literal: Some("NULLIF(quote(#1), 'NULL')"),
    matching_case: Matching { template: "#1 GLOB #2", syntax: PatternSyntax::Glob },
    matching_any_case: Matching {
        template: "semilayer_fold(#1) LIKE semilayer_fold(#2) ESCAPE '!'",
        syntax: PatternSyntax::Like,
    },
    cursor_value: infinite,
    aggregates: Aggregates {
        double: "CAST(#1 AS REAL)",
        // FLOOR is an option of the build.
        floor: "(CAST(#1 AS INTEGER) - (#1 < CAST(#1 AS INTEGER)))",
        instant,
        calendar,
        iso: "strftime('%Y-%m-%dT%H:%M:%fZ', #1)",
        sample: "(random() & 9223372036854775807) / 9223372036854775808.0 < #1",
        run_once: Some(("MATERIALIZED ", "")),
        list: "json_group_array(json_object('key', semilayer_shown(v), 'count', n) ORDER BY r)",
        ..COMMON.aggregates
    },
    ..COMMON
};

/// SQLite without functions of ours: Turso and D1. Case is folded for ASCII only.
pub const LIBSQL: Dialect = Dialect {
    name: "libsql",
    matching_any_case: LOWER_LIKE,
    aggregates: Aggregates {
        list: "json_group_array(json_object('key', iif(typeof(v) = 'blob', hex(v), v), 'count', n) ORDER BY r)",
        ..SQLITE.aggregates
    },
    ..SQLITE
};

/// A REAL may be infinite, which no operand can say.
fn infinite(column: &Column, text: &str) -> Option<Value> {
    let number = match text {
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => return None,
    };
    matches!(column.kind, Kind::Float { .. } | Kind::Decimal).then_some(Value::Double(number))
}

fn instant(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Text => Some("#1"),
        Kind::Integer { .. } | Kind::Decimal | Kind::Float { .. } => Some("#1 / 1000.0, 'unixepoch'"),
        // Whatever the declared type says, each value is what it is.
        Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Other | Kind::Unknown => Some(
            "iif(typeof(#1) = 'text', #1, #1 / 1000.0), iif(typeof(#1) = 'text', '+0 days', 'unixepoch')",
        ),
        Kind::Boolean | Kind::Enum | Kind::Uuid | Kind::Time | Kind::Bytes | Kind::Json => None,
    }
}

/// An ISO week is the one that its Thursday is in. (`%G` and `%V` came with 3.46.)
fn calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "strftime('%Y-%m-%dT%H:%M', #1)",
        CalendarUnit::Hour => "strftime('%Y-%m-%dT%H', #1)",
        CalendarUnit::Day => "strftime('%Y-%m-%d', #1)",
        CalendarUnit::Week => {
            "strftime('%Y', #1, '-3 days', 'weekday 4') || '-W' || substr('0' || ((strftime('%j', #1, '-3 days', 'weekday 4') - 1) / 7 + 1), -2)"
        }
        CalendarUnit::Month => "strftime('%Y-%m', #1)",
        CalendarUnit::Quarter => "strftime('%Y', #1) || '-Q' || ((strftime('%m', #1) + 2) / 3)",
        CalendarUnit::Year => "CAST(CAST(strftime('%Y', #1) AS INTEGER) AS TEXT)",
    }
}
