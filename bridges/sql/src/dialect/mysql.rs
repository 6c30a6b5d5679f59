//! MySQL and MariaDB. Their bridges set the session's `time_zone` to `+00:00` and raise `group_concat_max_len`, on which
//! `top_k` relies.

use protocol::CalendarUnit;

use super::{
    Aggregates, COMMON, Cell, Dialect, LOWER_LIKE, Matching, Nulls, Paging, back_quoted, question_mark,
};
use crate::{Kind, PatternSyntax};

/// MySQL 8 and PlanetScale.
pub const MYSQL: Dialect = Dialect {
    name: "mysql",
    max_parts: 2,
    max_params: 65_535,
    quote: back_quoted,
    placeholder: question_mark,
    booleans_are_integers: true,
    // It exists, but only the expanded form uses an index.
    row_comparison: false,
    nulls: Nulls::Smallest,
    paging: Paging::Limit { unlimited: Some("18446744073709551615"), bound: true },
    // Compared by its characters: the session's collation takes texts for equal that are not.
    text_cast: "CAST(#1 AS CHAR) COLLATE utf8mb4_bin",
    bytes_cast: Some("REPLACE(TO_BASE64(#1), '\\n', '') COLLATE utf8mb4_bin"),
    matching_case: Matching {
        template: "CONVERT(#1 USING utf8mb4) COLLATE utf8mb4_bin LIKE #2 ESCAPE '!'",
        syntax: PatternSyntax::Like,
    },
    matching_any_case: LOWER_LIKE,
    narrows_enums: true,
    aggregates: Aggregates {
        double: "(#1 + 0e0)",
        instant,
        calendar,
        iso: "REPLACE(DATE_FORMAT(#1, '%Y-%m-%dT%H:%i:%s.%fZ'), '000Z', 'Z')",
        sample: "RAND() < #1",
        // A derived table with a limit is never merged into its users.
        run_once: Some(("", " LIMIT 18446744073709551615")),
        list: "CONCAT('[', GROUP_CONCAT(JSON_OBJECT('key', v, 'count', n) ORDER BY r SEPARATOR ','), ']')",
        geohash: Some(Cell { cell: "ST_GeoHash(POINT(#2, #1), #3)", point: Some(("ST_Y(#1)", "ST_X(#1)")) }),
        ..COMMON.aggregates
    },
    ..COMMON
};

/// MariaDB 10.3 and later. It runs a `WITH` query once for each use.
pub const MARIADB: Dialect =
    Dialect { name: "mariadb", aggregates: Aggregates { run_once: None, ..MYSQL.aggregates }, ..MYSQL };

fn instant(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Unknown => Some("#1"),
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
        CalendarUnit::Minute => "DATE_FORMAT(#1, '%Y-%m-%dT%H:%i')",
        CalendarUnit::Hour => "DATE_FORMAT(#1, '%Y-%m-%dT%H')",
        CalendarUnit::Day => "DATE_FORMAT(#1, '%Y-%m-%d')",
        CalendarUnit::Week => "DATE_FORMAT(#1, '%x-W%v')",
        CalendarUnit::Month => "DATE_FORMAT(#1, '%Y-%m')",
        CalendarUnit::Quarter => "CONCAT(DATE_FORMAT(#1, '%Y'), '-Q', QUARTER(#1))",
        CalendarUnit::Year => "CAST(YEAR(#1) AS CHAR)",
    }
}
