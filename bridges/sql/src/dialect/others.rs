//! SQL Server, Oracle, ClickHouse, BigQuery, Snowflake, DuckDB.

use protocol::CalendarUnit;

use super::{
    Aggregates, Cell, Dialect, Matching, Membership, Nulls, Paging, back_quoted, double_quoted, numbered,
    question_mark, quoted,
};
use crate::{Kind, Param, PatternSyntax, Value};

/// SQL Server 2017 or later. Sessions have `QUOTED_IDENTIFIER` on.
pub const MSSQL: Dialect = Dialect {
    name: "mssql",
    max_parts: 3,
    max_params: 2_098,
    quote: |out, name| quoted(out, name, '[', ']'),
    placeholder: |out, slot, _| numbered(out, "@p", slot),
    booleans_are_integers: false,
    dates_are_text: false,
    nul_in_text: true,
    infinities: false,
    membership: Membership::List { max: usize::MAX },
    row_comparison: false,
    nulls: Nulls::Smallest,
    paging: Paging::Fetch { order: Some("(SELECT NULL)") },
    text_cast: "CAST(#1 AS nvarchar(max))",
    text_casts: &[],
    literal: None,
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
        floor: "FLOOR(#1)",
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
        distinct_fast: None,
        percentile: None,
        first: None,
        sample: "(CHECKSUM(NEWID()) & 2147483647) / 2147483648e0 < #1",
        run_once: None,
        list: "'[' + STRING_AGG(CAST('{\"key\":\"' + STRING_ESCAPE(v, 'json') + '\",\"count\":' + CAST(n AS varchar(20)) + '}' AS nvarchar(max)), ',') WITHIN GROUP (ORDER BY r) + ']'",
        geohash: None,
        h3: None,
    },
};

/// Oracle 12.2 or later. An empty text is null there.
pub const ORACLE: Dialect = Dialect {
    name: "oracle",
    max_parts: 2,
    max_params: 65_535,
    quote: double_quoted,
    placeholder: |out, slot, _| numbered(out, ":", slot),
    booleans_are_integers: true,
    dates_are_text: false,
    nul_in_text: true,
    infinities: false,
    membership: Membership::List { max: 1_000 },
    row_comparison: false,
    nulls: Nulls::Largest,
    paging: Paging::Fetch { order: None },
    text_cast: "TO_CHAR(#1)",
    text_casts: &[],
    literal: None,
    matching_case: Matching { template: "#1 LIKE #2 ESCAPE '!'", syntax: PatternSyntax::Like },
    matching_any_case: Matching {
        template: "LOWER(#1) LIKE LOWER(#2) ESCAPE '!'",
        syntax: PatternSyntax::Like,
    },
    aggregates: Aggregates {
        double: "CAST(#1 AS BINARY_DOUBLE)",
        floor: "FLOOR(#1)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("SYS_EXTRACT_UTC(#1)"),
            true => Some("CAST(#1 AS TIMESTAMP)"),
            false => None,
        },
        calendar: oracle_calendar,
        iso: "REPLACE(TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6') || 'Z', '000Z', 'Z')",
        sum_integers: "SUM(#1)",
        avg: "AVG(#1)",
        booleans: ("MIN(#1)", "MAX(#1)"),
        distinct_fast: Some("APPROX_COUNT_DISTINCT(#1)"),
        percentile: Some("PERCENTILE_CONT(#2) WITHIN GROUP (ORDER BY #1)"),
        first: None,
        sample: "DBMS_RANDOM.VALUE < #1",
        run_once: None,
        list: "JSON_ARRAYAGG(JSON_OBJECT('key' VALUE v, 'count' VALUE n) ORDER BY r RETURNING CLOB)",
        geohash: None,
        h3: None,
    },
};

/// ClickHouse. Aggregates want `join_use_nulls=1`.
pub const CLICKHOUSE: Dialect = Dialect {
    name: "clickhouse",
    max_parts: 2,
    max_params: 10_000,
    quote: clickhouse_quoted,
    placeholder: clickhouse_typed,
    booleans_are_integers: true,
    dates_are_text: false,
    nul_in_text: true,
    infinities: false,
    membership: Membership::List { max: usize::MAX },
    row_comparison: true,
    nulls: Nulls::Last,
    paging: Paging::Limit { unlimited: Some("9223372036854775807"), bound: true },
    text_cast: "toString(#1)",
    text_casts: &[],
    literal: None,
    matching_case: Matching { template: "#1 LIKE #2", syntax: PatternSyntax::Backslash },
    matching_any_case: Matching { template: "#1 ILIKE #2", syntax: PatternSyntax::Backslash },
    aggregates: Aggregates {
        double: "toFloat64(#1)",
        floor: "floor(#1)",
        instant: |kind| is_time(kind).then_some("toDateTime64(#1, 6, 'UTC')"),
        calendar: clickhouse_calendar,
        iso: "replaceOne(concat(formatDateTime(#1, '%FT%T', 'UTC'), '.', leftPad(toString(toUnixTimestamp64Micro(#1) % 1000000), 6, '0'), 'Z'), '000Z', 'Z')",
        sum_integers: "sum(toDecimal128(#1, 0))",
        avg: "avg(#1)",
        booleans: ("min(#1)", "max(#1)"),
        distinct_fast: Some("uniqHLL12(#1)"),
        percentile: Some("quantileExactInclusive(#2)(#1)"),
        first: None,
        sample: "rand64() / 18446744073709551616. < #1",
        run_once: None,
        list: "concat('[', arrayStringConcat(arrayMap(x -> concat('{\"key\":', toJSONString(x.2), ',\"count\":', toString(x.3), '}'), arraySort(groupArray((r, v, n)))), ','), ']')",
        geohash: Some(Cell { cell: "geohashEncode(#2, #1, #3)", point: None }),
        h3: Some(Cell { cell: "toString(geoToH3(#2, #1, #3))", point: None }),
    },
};

/// BigQuery.
pub const BIGQUERY: Dialect = Dialect {
    name: "bigquery",
    max_parts: 3,
    max_params: 10_000,
    quote: bigquery_quoted,
    placeholder: question_mark,
    booleans_are_integers: false,
    dates_are_text: false,
    nul_in_text: true,
    infinities: false,
    membership: Membership::List { max: usize::MAX },
    row_comparison: false,
    nulls: Nulls::Smallest,
    paging: Paging::Limit { unlimited: Some("9223372036854775807"), bound: false },
    text_cast: "CAST(#1 AS STRING)",
    text_casts: &[],
    literal: None,
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
        avg: "AVG(#1)",
        booleans: ("LOGICAL_AND(#1)", "LOGICAL_OR(#1)"),
        distinct_fast: Some("APPROX_COUNT_DISTINCT(#1)"),
        percentile: None,
        first: None,
        sample: "RAND() < #1",
        run_once: None,
        list: "NULLIF(TO_JSON_STRING(ARRAY_AGG(STRUCT(v AS `key`, n AS `count`) ORDER BY r)), 'null')",
        geohash: Some(Cell {
            cell: "ST_GEOHASH(ST_GEOGPOINT(#2, #1), #3)",
            point: Some(("ST_Y(#1)", "ST_X(#1)")),
        }),
        h3: None,
    },
};

/// Snowflake.
pub const SNOWFLAKE: Dialect = Dialect {
    name: "snowflake",
    max_parts: 3,
    max_params: 16_384,
    quote: double_quoted,
    placeholder: question_mark,
    booleans_are_integers: false,
    dates_are_text: false,
    nul_in_text: true,
    infinities: false,
    membership: Membership::List { max: 16_384 },
    row_comparison: false,
    nulls: Nulls::Largest,
    paging: Paging::Limit { unlimited: Some("NULL"), bound: false },
    text_cast: "CAST(#1 AS VARCHAR)",
    text_casts: &[],
    literal: None,
    matching_case: Matching { template: "#1 LIKE #2 ESCAPE '!'", syntax: PatternSyntax::Like },
    matching_any_case: Matching { template: "#1 ILIKE #2 ESCAPE '!'", syntax: PatternSyntax::Like },
    aggregates: Aggregates {
        double: "CAST(#1 AS DOUBLE)",
        floor: "FLOOR(#1)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("CAST(CONVERT_TIMEZONE('UTC', #1) AS TIMESTAMP_NTZ)"),
            true => Some("CAST(#1 AS TIMESTAMP_NTZ)"),
            false => None,
        },
        calendar: snowflake_calendar,
        iso: "REPLACE(TO_CHAR(#1, 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6') || 'Z', '000Z', 'Z')",
        sum_integers: "SUM(#1)",
        avg: "AVG(#1)",
        booleans: ("BOOLAND_AGG(#1)", "BOOLOR_AGG(#1)"),
        distinct_fast: Some("APPROX_COUNT_DISTINCT(#1)"),
        percentile: Some("PERCENTILE_CONT(#2) WITHIN GROUP (ORDER BY #1)"),
        first: None,
        sample: "UNIFORM(0::FLOAT, 1::FLOAT, RANDOM()) < #1",
        run_once: None,
        list: "TO_JSON(ARRAY_AGG(OBJECT_CONSTRUCT('key', v, 'count', n)) WITHIN GROUP (ORDER BY r))",
        geohash: Some(Cell {
            cell: "ST_GEOHASH(ST_MAKEPOINT(#2, #1), #3)",
            point: Some(("ST_Y(#1)", "ST_X(#1)")),
        }),
        h3: None,
    },
};

/// DuckDB.
pub const DUCKDB: Dialect = Dialect {
    name: "duckdb",
    max_parts: 3,
    max_params: 65_535,
    quote: double_quoted,
    placeholder: question_mark,
    booleans_are_integers: false,
    dates_are_text: false,
    nul_in_text: true,
    infinities: false,
    membership: Membership::List { max: usize::MAX },
    row_comparison: true,
    nulls: Nulls::Last,
    paging: Paging::Limit { unlimited: None, bound: true },
    text_cast: "CAST(#1 AS VARCHAR)",
    text_casts: &[],
    literal: None,
    matching_case: Matching { template: "#1 LIKE #2 ESCAPE '!'", syntax: PatternSyntax::Like },
    matching_any_case: Matching { template: "#1 ILIKE #2 ESCAPE '!'", syntax: PatternSyntax::Like },
    aggregates: Aggregates {
        double: "CAST(#1 AS DOUBLE)",
        floor: "FLOOR(#1)",
        instant: |kind| match is_time(kind) {
            true if kind == Kind::TimestampTz => Some("(#1 AT TIME ZONE 'UTC')"),
            true => Some("CAST(#1 AS TIMESTAMP)"),
            false => None,
        },
        calendar: duckdb_calendar,
        iso: "replace(strftime(#1, '%Y-%m-%dT%H:%M:%S.%fZ'), '000Z', 'Z')",
        sum_integers: "SUM(#1)",
        avg: "AVG(#1)",
        booleans: ("bool_and(#1)", "bool_or(#1)"),
        distinct_fast: Some("approx_count_distinct(#1)"),
        percentile: Some("quantile_cont(#1, #2)"),
        first: None,
        sample: "random() < #1",
        run_once: Some(("MATERIALIZED ", "")),
        list: "CAST(to_json(list({'key': v, 'count': n} ORDER BY r)) AS VARCHAR)",
        geohash: None,
        h3: None,
    },
};

fn is_time(kind: Kind) -> bool {
    matches!(kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Unknown)
}

/// Backslashes are escapes within quoted names there.
fn clickhouse_quoted(out: &mut String, name: &str) {
    back_quoted(out, &name.replace('\\', "\\\\"));
}

/// Quotes are not doubled but escaped.
fn bigquery_quoted(out: &mut String, name: &str) {
    out.push('`');
    out.push_str(&name.replace('\\', "\\\\").replace('`', "\\`"));
    out.push('`');
}

/// `{p0:Int64}`: parameters carry their type.
fn clickhouse_typed(out: &mut String, slot: usize, param: &Param) {
    numbered(out, "{p", slot.saturating_sub(1));
    out.push(':');
    match &param.value {
        Value::Boolean(_) => out.push_str("UInt8"),
        Value::Integer(_) => out.push_str("Int64"),
        Value::Double(_) => out.push_str("Float64"),
        Value::Decimal(text) => match text.contains(['e', 'E']) {
            true => out.push_str("Float64"),
            false => {
                let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len().min(38));
                out.push_str(&format!("Decimal256({scale})"));
            }
        },
        Value::Timestamp(_) => out.push_str("DateTime64(6, 'UTC')"),
        Value::Text(_) if param.kind == Some(Kind::Uuid) => out.push_str("UUID"),
        Value::Text(_) | Value::Bytes(_) => out.push_str("String"),
        Value::List(_) => out.push_str("Array(String)"),
    }
    out.push('}');
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

/// `%i` is the minute in every version; `%M` was it only in some.
fn clickhouse_calendar(unit: CalendarUnit) -> &'static str {
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
