//! SQL Server, Oracle, BigQuery, Snowflake, DuckDB.

use protocol::CalendarUnit;

use super::{
    Aggregates, COMMON, Cell, Dialect, ILIKE, LIKE, LOWER_LIKE, Matching, Membership, Nulls, Paging,
    double_quoted, numbered, question_mark, quoted,
};
use crate::{Kind, PatternSyntax};

/// SQL Server 2017 or later. Sessions have `QUOTED_IDENTIFIER` on.
pub const MSSQL: Dialect = Dialect {
    name: "mssql",
    max_parts: 3,
    max_params: 2_098,
    quote: |out, name| quoted(out, name, '[', ']'),
    placeholder: |out, slot, _| numbered(out, "@p", slot),
    nulls: Nulls::Smallest,
    paging: Paging::Fetch { order: Some("(SELECT NULL)") },
    text_cast: "CAST(#1 AS nvarchar(max))",
    matching_case: Matching {
        template: "#1 COLLATE Latin1_General_100_BIN2 LIKE #2 ESCAPE '!'",
        syntax: PatternSyntax::LikeWithSets,
    },
    matching_any_case: Matching {
        template: "LOWER(#1) LIKE LOWER(#2) ESCAPE '!'",
        syntax: PatternSyntax::LikeWithSets,
    },
    aggregates: Aggregates {
        double: "CAST(#1 AS float)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("CAST(SWITCHOFFSET(#1, '+00:00') AS datetime2)"),
            true => Some("CAST(#1 AS datetime2)"),
            false => None,
        },
        calendar: mssql_calendar,
        iso: "REPLACE(CONVERT(varchar(26), CAST(#1 AS datetime2(6)), 126) + 'Z', '000Z', 'Z')",
        sum_integers: "SUM(CAST(#1 AS decimal(38,0)))",
        // The mean of integers would be an integer.
        avg: "AVG(CAST(#1 AS float))",
        booleans: ("MIN(CAST(#1 AS tinyint))", "MAX(CAST(#1 AS tinyint))"),
        sample: "(CHECKSUM(NEWID()) & 2147483647) / 2147483648e0 < #1",
        list: "'[' + STRING_AGG(CAST('{\"key\":\"' + STRING_ESCAPE(v, 'json') + '\",\"count\":' + CAST(n AS varchar(20)) + '}' AS nvarchar(max)), ',') WITHIN GROUP (ORDER BY r) + ']'",
        ..COMMON.aggregates
    },
    ..COMMON
};

/// Oracle 12.2 or later. An empty text is null there.
pub const ORACLE: Dialect = Dialect {
    name: "oracle",
    max_parts: 2,
    max_params: 65_535,
    quote: double_quoted,
    placeholder: |out, slot, _| numbered(out, ":", slot),
    booleans_are_integers: true,
    membership: Membership::List { max: 1_000 },
    nulls: Nulls::Largest,
    paging: Paging::Fetch { order: None },
    text_cast: "TO_CHAR(#1)",
    matching_case: LIKE,
    matching_any_case: LOWER_LIKE,
    aggregates: Aggregates {
        double: "CAST(#1 AS BINARY_DOUBLE)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("SYS_EXTRACT_UTC(#1)"),
            true => Some("CAST(#1 AS TIMESTAMP)"),
            false => None,
        },
        calendar: oracle_calendar,
        iso: "REPLACE(TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6') || 'Z', '000Z', 'Z')",
        distinct_fast: Some("APPROX_COUNT_DISTINCT(#1)"),
        percentile: Some("PERCENTILE_CONT(#2) WITHIN GROUP (ORDER BY #1)"),
        sample: "DBMS_RANDOM.VALUE < #1",
        list: "JSON_ARRAYAGG(JSON_OBJECT('key' VALUE v, 'count' VALUE n) ORDER BY r RETURNING CLOB)",
        ..COMMON.aggregates
    },
    ..COMMON
};

/// BigQuery.
pub const BIGQUERY: Dialect = Dialect {
    name: "bigquery",
    max_parts: 3,
    max_params: 10_000,
    quote: bigquery_quoted,
    placeholder: question_mark,
    nulls: Nulls::Smallest,
    paging: Paging::Limit { unlimited: Some("9223372036854775807"), bound: false },
    text_cast: "CAST(#1 AS STRING)",
    bytes_cast: Some("TO_BASE64(#1)"),
    matching_case: Matching { template: "#1 LIKE #2", syntax: PatternSyntax::Backslash },
    matching_any_case: Matching { template: "LOWER(#1) LIKE LOWER(#2)", syntax: PatternSyntax::Backslash },
    aggregates: Aggregates {
        double: "CAST(#1 AS FLOAT64)",
        // Doubles cannot be grouped by.
        floor: "CAST(FLOOR(#1) AS INT64)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("#1"),
            true => Some("TIMESTAMP(#1)"),
            false => None,
        },
        calendar: bigquery_calendar,
        iso: "REPLACE(FORMAT_TIMESTAMP('%Y-%m-%dT%H:%M:%E6SZ', #1, 'UTC'), '000Z', 'Z')",
        sum_integers: "SUM(CAST(#1 AS BIGNUMERIC))",
        booleans: ("LOGICAL_AND(#1)", "LOGICAL_OR(#1)"),
        distinct_fast: Some("APPROX_COUNT_DISTINCT(#1)"),
        sample: "RAND() < #1",
        list: "NULLIF(TO_JSON_STRING(ARRAY_AGG(STRUCT(v AS `key`, n AS `count`) ORDER BY r)), 'null')",
        geohash: Some(Cell {
            cell: "ST_GEOHASH(ST_GEOGPOINT(#2, #1), #3)",
            point: Some(("ST_Y(#1)", "ST_X(#1)")),
        }),
        ..COMMON.aggregates
    },
    ..COMMON
};

/// Snowflake.
pub const SNOWFLAKE: Dialect = Dialect {
    name: "snowflake",
    max_parts: 3,
    max_params: 16_384,
    quote: double_quoted,
    placeholder: question_mark,
    membership: Membership::List { max: 16_384 },
    nulls: Nulls::Largest,
    paging: Paging::Limit { unlimited: Some("NULL"), bound: false },
    text_cast: "CAST(#1 AS VARCHAR)",
    bytes_cast: Some("BASE64_ENCODE(#1)"),
    matching_case: LIKE,
    matching_any_case: ILIKE,
    aggregates: Aggregates {
        double: "CAST(#1 AS DOUBLE)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("CAST(CONVERT_TIMEZONE('UTC', #1) AS TIMESTAMP_NTZ)"),
            true => Some("CAST(#1 AS TIMESTAMP_NTZ)"),
            false => None,
        },
        calendar: snowflake_calendar,
        iso: "REPLACE(TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6') || 'Z', '000Z', 'Z')",
        booleans: ("BOOLAND_AGG(#1)", "BOOLOR_AGG(#1)"),
        distinct_fast: Some("APPROX_COUNT_DISTINCT(#1)"),
        percentile: Some("PERCENTILE_CONT(#2) WITHIN GROUP (ORDER BY #1)"),
        sample: "UNIFORM(0::FLOAT, 1::FLOAT, RANDOM()) < #1",
        list: "TO_JSON(ARRAY_AGG(OBJECT_CONSTRUCT('key', v, 'count', n)) WITHIN GROUP (ORDER BY r))",
        geohash: Some(Cell {
            cell: "ST_GEOHASH(ST_MAKEPOINT(#2, #1), #3)",
            point: Some(("ST_Y(#1)", "ST_X(#1)")),
        }),
        ..COMMON.aggregates
    },
    ..COMMON
};

/// DuckDB.
pub const DUCKDB: Dialect = Dialect {
    name: "duckdb",
    max_parts: 3,
    max_params: 65_535,
    quote: double_quoted,
    placeholder: question_mark,
    row_comparison: true,
    nulls: Nulls::Last,
    paging: Paging::Limit { unlimited: None, bound: true },
    text_cast: "CAST(#1 AS VARCHAR)",
    bytes_cast: Some("to_base64(#1)"),
    matching_case: LIKE,
    matching_any_case: ILIKE,
    aggregates: Aggregates {
        double: "CAST(#1 AS DOUBLE)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("(#1 AT TIME ZONE 'UTC')"),
            true => Some("CAST(#1 AS TIMESTAMP)"),
            false => None,
        },
        calendar: duckdb_calendar,
        iso: "replace(strftime(#1, '%Y-%m-%dT%H:%M:%S.%fZ'), '000Z', 'Z')",
        booleans: ("bool_and(#1)", "bool_or(#1)"),
        distinct_fast: Some("approx_count_distinct(#1)"),
        percentile: Some("quantile_cont(#1, #2)"),
        sample: "random() < #1",
        run_once: Some(("MATERIALIZED ", "")),
        list: "CAST(to_json(list({'key': v, 'count': n} ORDER BY r)) AS VARCHAR)",
        ..COMMON.aggregates
    },
    ..COMMON
};

fn is_time(kind: Kind) -> bool {
    matches!(kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Unknown)
}

/// Quotes are not doubled but escaped.
fn bigquery_quoted(out: &mut String, name: &str) {
    out.push('`');
    out.push_str(&name.replace('\\', "\\\\").replace('`', "\\`"));
    out.push('`');
}

fn mssql_calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "CONVERT(varchar(16), #1, 126)",
        CalendarUnit::Hour => "CONVERT(varchar(13), #1, 126)",
        CalendarUnit::Day => "CONVERT(varchar(10), #1, 126)",
        // The day 26 - week after it lies in the ISO week's own year, whatever the week.
        CalendarUnit::Week => {
            "CONCAT(YEAR(DATEADD(day, 26 - DATEPART(ISO_WEEK, #1), #1)), '-W', RIGHT(CONCAT('0', DATEPART(ISO_WEEK, #1)), 2))"
        }
        CalendarUnit::Month => "CONVERT(varchar(7), #1, 126)",
        CalendarUnit::Quarter => "CONCAT(CONVERT(varchar(4), #1, 126), '-Q', DATEPART(quarter, #1))",
        CalendarUnit::Year => "CAST(YEAR(#1) AS varchar(4))",
    }
}

fn oracle_calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24:MI')",
        CalendarUnit::Hour => "TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24')",
        CalendarUnit::Day => "TO_CHAR(#1, 'YYYY-MM-DD')",
        CalendarUnit::Week => "TO_CHAR(#1, 'IYYY-\"W\"IW')",
        CalendarUnit::Month => "TO_CHAR(#1, 'YYYY-MM')",
        CalendarUnit::Quarter => "TO_CHAR(#1, 'YYYY-\"Q\"Q')",
        CalendarUnit::Year => "TO_CHAR(#1, 'FMYYYY')",
    }
}

fn bigquery_calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "FORMAT_TIMESTAMP('%Y-%m-%dT%H:%M', #1, 'UTC')",
        CalendarUnit::Hour => "FORMAT_TIMESTAMP('%Y-%m-%dT%H', #1, 'UTC')",
        CalendarUnit::Day => "FORMAT_TIMESTAMP('%Y-%m-%d', #1, 'UTC')",
        CalendarUnit::Week => "FORMAT_TIMESTAMP('%G-W%V', #1, 'UTC')",
        CalendarUnit::Month => "FORMAT_TIMESTAMP('%Y-%m', #1, 'UTC')",
        CalendarUnit::Quarter => "FORMAT_TIMESTAMP('%Y-Q%Q', #1, 'UTC')",
        CalendarUnit::Year => "CAST(EXTRACT(YEAR FROM #1) AS STRING)",
    }
}

fn snowflake_calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24:MI')",
        CalendarUnit::Hour => "TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24')",
        CalendarUnit::Day => "TO_CHAR(#1, 'YYYY-MM-DD')",
        CalendarUnit::Week => "YEAROFWEEKISO(#1) || '-W' || LPAD(WEEKISO(#1), 2, '0')",
        CalendarUnit::Month => "TO_CHAR(#1, 'YYYY-MM')",
        CalendarUnit::Quarter => "YEAR(#1) || '-Q' || QUARTER(#1)",
        CalendarUnit::Year => "CAST(YEAR(#1) AS VARCHAR)",
    }
}

fn duckdb_calendar(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Minute => "strftime(#1, '%Y-%m-%dT%H:%M')",
        CalendarUnit::Hour => "strftime(#1, '%Y-%m-%dT%H')",
        CalendarUnit::Day => "strftime(#1, '%Y-%m-%d')",
        CalendarUnit::Week => "strftime(#1, '%G-W%V')",
        CalendarUnit::Month => "strftime(#1, '%Y-%m')",
        CalendarUnit::Quarter => "strftime(#1, '%Y') || '-Q' || quarter(#1)",
        CalendarUnit::Year => "CAST(year(#1) AS VARCHAR)",
    }
}
