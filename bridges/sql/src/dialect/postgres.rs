//! PostgreSQL and what speaks its language.

use protocol::CalendarUnit;

use super::{
    Aggregates, COMMON, Cell, Dialect, ILIKE, LIKE, Membership, Nulls, Paging, double_quoted, numbered,
};
use crate::{Kind, Param};

/// PostgreSQL, Neon, Supabase. Geohash cells need PostGIS; a source without it takes `geohash: None`.
pub const POSTGRES: Dialect = Dialect {
    name: "postgres",
    max_parts: 2,
    max_params: 65_535,
    quote: double_quoted,
    placeholder: dollar,
    nul_in_text: false,
    infinities: true,
    membership: Membership::Array,
    row_comparison: true,
    nulls: Nulls::Largest,
    paging: Paging::Limit { unlimited: None, bound: true },
    text_cast: "CAST(#1 AS text)",
    // Without the line breaks that the server puts into longer ones.
    bytes_cast: Some("replace(encode(#1, 'base64'), chr(10), '')"),
    // The cast adds the `/32` that rows do not show.
    text_casts: &[("inet", "abbrev(#1)")],
    matching_case: LIKE,
    matching_any_case: ILIKE,
    aggregates: Aggregates {
        double: "CAST(#1 AS double precision)",
        instant,
        calendar,
        iso: "replace(to_char(#1, 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z', '000Z', 'Z')",
        booleans: ("bool_and(#1)", "bool_or(#1)"),
        percentile: Some("percentile_cont(#2) WITHIN GROUP (ORDER BY #1)"),
        first: Some("(array_agg(#1 ORDER BY #2) FILTER (WHERE #3))[1]"),
        sample: "random() < #1",
        run_once: Some(("MATERIALIZED ", "")),
        list: "CAST(json_agg(json_build_object('key', v, 'count', n) ORDER BY r) AS text)",
        geohash: Some(Cell {
            cell: "ST_GeoHash(ST_SetSRID(ST_MakePoint(#2, #1), 4326), #3)",
            point: Some(("ST_Y(CAST(#1 AS geometry))", "ST_X(CAST(#1 AS geometry))")),
        }),
        ..COMMON.aggregates
    },
    ..COMMON
};

/// CockroachDB.
pub const COCKROACHDB: Dialect = Dialect {
    name: "cockroachdb",
    max_parts: 3,
    nulls: Nulls::Smallest,
    aggregates: Aggregates {
        calendar: cockroach_calendar,
        iso: "replace(experimental_strftime(#1, '%Y-%m-%dT%H:%M:%S.%f') || 'Z', '000Z', 'Z')",
        ..POSTGRES.aggregates
    },
    ..POSTGRES
};

fn dollar(out: &mut String, slot: usize, _param: &Param) {
    numbered(out, "$", slot);
}

fn instant(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Date => Some("CAST(#1 AS timestamp)"),
        Kind::Timestamp | Kind::Unknown => Some("#1"),
        Kind::TimestampTz => Some("(#1 AT TIME ZONE 'UTC')"),
        Kind::Integer { .. }
        | Kind::Decimal
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Text
        | Kind::Enum
        | Kind::Uuid
        | Kind::Time
        | Kind::Bytes
        | Kind::Json
        | Kind::Other => None,
    }
}

fn calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "to_char(#1, 'YYYY-MM-DD\"T\"HH24:MI')",
        CalendarUnit::Hour => "to_char(#1, 'YYYY-MM-DD\"T\"HH24')",
        CalendarUnit::Day => "to_char(#1, 'YYYY-MM-DD')",
        CalendarUnit::Week => "to_char(#1, 'IYYY-\"W\"IW')",
        CalendarUnit::Month => "to_char(#1, 'YYYY-MM')",
        CalendarUnit::Quarter => "to_char(#1, 'YYYY-\"Q\"Q')",
        CalendarUnit::Year => "to_char(#1, 'FMYYYY')",
    }
}

fn cockroach_calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "experimental_strftime(#1, '%Y-%m-%dT%H:%M')",
        CalendarUnit::Hour => "experimental_strftime(#1, '%Y-%m-%dT%H')",
        CalendarUnit::Day => "experimental_strftime(#1, '%Y-%m-%d')",
        CalendarUnit::Week => {
            "CAST(CAST(extract(isoyear FROM #1) AS int) AS text) || '-W' || lpad(CAST(CAST(extract(week FROM #1) AS int) AS text), 2, '0')"
        }
        CalendarUnit::Month => "experimental_strftime(#1, '%Y-%m')",
        CalendarUnit::Quarter => {
            "experimental_strftime(#1, '%Y') || '-Q' || CAST(CAST(extract(quarter FROM #1) AS int) AS text)"
        }
        CalendarUnit::Year => "CAST(CAST(extract(year FROM #1) AS int) AS text)",
    }
}
