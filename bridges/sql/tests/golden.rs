//! The SQL of every dialect, one file a case: `tests/golden/<dialect>/<case>.sql`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p semilayer-bridge-sql --test golden` writes the files anew; read the difference before
//! it is committed.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use protocol::{AggregateOptions, CountOptions, QueryOptions, ReadOptions};
use semilayer_bridge_sql::{
    AggregatePlan, BIGQUERY, CLICKHOUSE, COCKROACHDB, Column, DUCKDB, Dialect, Kind, LIBSQL, MARIADB, MSSQL,
    MYSQL, ORACLE, POSTGRES, SNOWFLAKE, SQLITE, Select, Sql, SqlError, Table, Value, aggregate, count, query,
    read,
};
use serde_json::value::RawValue;

const DIALECTS: [Dialect; 12] = [
    POSTGRES,
    COCKROACHDB,
    MYSQL,
    MARIADB,
    SQLITE,
    LIBSQL,
    MSSQL,
    ORACLE,
    CLICKHOUSE,
    BIGQUERY,
    SNOWFLAKE,
    DUCKDB,
];

enum Job {
    Query,
    Read,
    Count,
    Aggregate,
}

/// A name, a job, and its options.
const CASES: &[(&str, Job, &str)] = &[
    ("query-everything", Job::Query, "{}"),
    (
        "query-filter-order-page",
        Job::Query,
        r#"{"where":{"status":{"$in":["draft","published"]},"rating":{"$gte":3.5}},"orderBy":[{"field":"createdAt","dir":"desc"},{"field":"id"}],"limit":10,"offset":20,"select":["id","cuisine"]}"#,
    ),
    ("query-offset-alone", Job::Query, r#"{"orderBy":{"id":"asc"},"offset":5}"#),
    ("query-limit-without-order", Job::Query, r#"{"limit":5}"#),
    ("query-limit-zero", Job::Query, r#"{"limit":0}"#),
    (
        "query-renamed",
        Job::Query,
        r#"{"where":{"id":{"$gt":5}},"orderBy":{"id":"desc"},"project":{"id":"cuisine","b\"ad`]":"id"}}"#,
    ),
    (
        "query-keyset-first",
        Job::Query,
        r#"{"where":{"status":"published"},"orderBy":{"createdAt":"desc"},"limit":10,"select":["cuisine"],"keyset":true}"#,
    ),
    (
        "query-keyset-same-direction",
        Job::Query,
        r#"{"orderBy":{"createdAt":"desc"},"limit":10,"keyset":true,"cursor":"k1.WyIyMDI2LTAxLTAyVDAzOjA0OjA1LjAwMFoiLCI3Il0"}"#,
    ),
    (
        "query-keyset-mixed-with-nulls",
        Job::Query,
        r#"{"orderBy":[{"field":"cuisine"},{"field":"createdAt","dir":"desc"}],"limit":10,"keyset":["id"],"cursor":"k1.WyJpdGFsaWFuIiwiMjAyNi0wMS0wMlQwMzowNDowNS4wMDBaIiwiNyJd"}"#,
    ),
    (
        "query-keyset-at-null",
        Job::Query,
        r#"{"orderBy":[{"field":"cuisine"}],"limit":10,"keyset":["id"],"cursor":"k1.W251bGwsIjciXQ"}"#,
    ),
    ("read-first", Job::Read, r#"{"limit":2}"#),
    (
        "read-next-changed",
        Job::Read,
        r#"{"limit":2,"cursor":"42","fields":["cuisine"],"changedSince":"2026-01-02T03:04:05Z","changeTrackingColumn":"createdAt"}"#,
    ),
    ("count-everything", Job::Count, "{}"),
    (
        "count-nested",
        Job::Count,
        r#"{"where":{"$or":[{"cuisine":{"$ilike":"ital%"}},{"$and":[{"country":{"$startsWith":"J"}},{"$not":{"status":{"$like":"dr_ft"}}}]}],"active":true}}"#,
    ),
    ("aggregate-nothing", Job::Aggregate, "{}"),
    (
        "aggregate-measures",
        Job::Aggregate,
        r#"{"candidatesWhere":{"status":"published"},"dimensions":[{"field":"cuisine","as":"group"},{"field":"country"}],"measures":{"rows":{"agg":"count"},"kinds":{"agg":"count_distinct","column":"country"},"about":{"agg":"count_distinct","column":"country","accuracy":"fast"},"views":{"agg":"sum","column":"views"},"rating":{"agg":"avg","column":"rating"},"least":{"agg":"min","column":"createdAt"},"most":{"agg":"max","column":"price"},"any":{"agg":"max","column":"active"}}}"#,
    ),
    (
        "aggregate-measure-filters",
        Job::Aggregate,
        r#"{"measures":{"drafts":{"agg":"count","where":{"status":"draft"}},"views":{"agg":"sum","column":"views","where":{"rating":{"$gte":3}}}},"having":{"views":{"$gt":10},"$or":[{"drafts":1},{"count":{"$lt":100}}]}}"#,
    ),
    ("aggregate-minute", Job::Aggregate, r#"{"dimensions":[{"field":"createdAt","bucket":"minute"}]}"#),
    ("aggregate-hour", Job::Aggregate, r#"{"dimensions":[{"field":"createdAt","bucket":"hour"}]}"#),
    ("aggregate-day", Job::Aggregate, r#"{"dimensions":[{"field":"createdAt","bucket":"day"}]}"#),
    ("aggregate-week", Job::Aggregate, r#"{"dimensions":[{"field":"createdAt","bucket":"week"}]}"#),
    ("aggregate-month", Job::Aggregate, r#"{"dimensions":[{"field":"createdAt","bucket":"month"}]}"#),
    ("aggregate-quarter", Job::Aggregate, r#"{"dimensions":[{"field":"born","bucket":"quarter"}]}"#),
    ("aggregate-year", Job::Aggregate, r#"{"dimensions":[{"field":"createdAt","bucket":"year"}]}"#),
    (
        "aggregate-step",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"prepTime","bucket":{"type":"numeric","step":30}}]}"#,
    ),
    (
        "aggregate-breaks",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"prepTime","bucket":{"type":"numeric","breaks":[0,30,60.5,120]}}]}"#,
    ),
    (
        "aggregate-sort-limit",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"country"}],"measures":{"views":{"agg":"sum","column":"views"}},"sort":[{"key":"views","dir":"desc"},{"key":"nope"}],"limit":3}"#,
    ),
    (
        "aggregate-sample-ids",
        Job::Aggregate,
        r#"{"sample":0.5,"ids":["1","2","x"],"dimensions":[{"field":"country"}]}"#,
    ),
    (
        "aggregate-percentile",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"country"}],"measures":{"p":{"agg":"percentile","column":"rating","p":0.9}}}"#,
    ),
    (
        "aggregate-first-last",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"country"}],"changeTrackingColumn":"createdAt","measures":{"f":{"agg":"first","column":"cuisine"},"l":{"agg":"last","column":"views","where":{"status":"published"}}}}"#,
    ),
    (
        "aggregate-top",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"country"}],"measures":{"top":{"agg":"top_k","column":"cuisine","k":2},"days":{"agg":"top_k","column":"createdAt","k":1,"where":{"rating":5}}},"having":{"count":{"$gte":2}},"sort":[{"key":"count","dir":"desc"}],"limit":5}"#,
    ),
    (
        "aggregate-top-sampled",
        Job::Aggregate,
        r#"{"sample":0.25,"measures":{"top":{"agg":"top_k","column":"country","k":2}}}"#,
    ),
    (
        "aggregate-join",
        Job::Aggregate,
        r#"{"candidatesWhere":{"c.tier":"gold","status":"published"},"dimensions":[{"field":"region","from":"c"},{"field":"cuisine"}],"measures":{"views":{"agg":"sum","column":"views"}},"joins":[{"target":"child","alias":"c","kind":"left","on":{"local":"id","foreign":"pk"}},{"target":"child","alias":"d","kind":"left","on":{"local":"country","foreign":"region"}}]}"#,
    ),
    (
        "aggregate-geohash",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"cell","bucket":{"type":"geohash","precision":5,"latField":"lat","lngField":"lng"}}]}"#,
    ),
    (
        "aggregate-geohash-point",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"cell","bucket":{"type":"geohash","precision":7,"geoField":"spot"}}]}"#,
    ),
    (
        "aggregate-h3",
        Job::Aggregate,
        r#"{"dimensions":[{"field":"cell","bucket":{"type":"h3","resolution":7,"latField":"lat","lngField":"lng"}}]}"#,
    ),
];

const INT4: Kind = Kind::Integer { bits: 32, signed: true };
const INT8: Kind = Kind::Integer { bits: 64, signed: true };
const DOUBLE: Kind = Kind::Float { bits: 64 };

fn facts() -> Table {
    Table {
        parts: vec!["shop".to_owned(), "facts".to_owned()],
        columns: vec![
            Column::new("id", INT8, false),
            Column::new("cuisine", Kind::Text, true),
            Column::new("country", Kind::Text, false),
            Column::new("rating", INT4, false),
            Column::new("prepTime", INT4, false),
            Column::new("views", INT8, false),
            Column::new("status", Kind::Text, false),
            Column::new("createdAt", Kind::TimestampTz, false),
            Column::new("born", Kind::Date, true),
            Column::new("price", Kind::Decimal, true),
            Column::new("active", Kind::Boolean, true),
            Column::new("lat", DOUBLE, true),
            Column::new("lng", DOUBLE, true),
            Column::new("spot", Kind::Other, true),
        ],
        primary_key: vec!["id".to_owned()],
    }
}

fn child() -> Table {
    Table {
        parts: vec!["shop".to_owned(), "child".to_owned()],
        columns: vec![
            Column::new("pk", INT8, false),
            Column::new("region", Kind::Text, true),
            Column::new("tier", Kind::Text, true),
        ],
        primary_key: vec!["pk".to_owned()],
    }
}

#[test]
fn every_case_reads_as_its_golden_file_in_every_dialect() {
    let update = std::env::vars_os().any(|(key, _)| key == "UPDATE_GOLDEN");
    let mut differences = Vec::new();
    for dialect in &DIALECTS {
        for (name, job, options) in CASES {
            let text = render(dialect, job, options);
            let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("tests/golden/{}/{name}.sql", dialect.name));
            if update {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, &text).unwrap();
            }
            let golden = fs::read_to_string(&file).unwrap_or_default();
            if golden != text {
                differences.push(format!("{}:\n{golden}\nis now\n{text}", file.display()));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn every_golden_file_belongs_to_a_case() {
    for dialect in &DIALECTS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dialect.name);
        // The other test says so when a folder is missing.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let file = entry.unwrap().path();
            let name = file.file_stem().unwrap().to_str().unwrap();
            assert!(CASES.iter().any(|(case, ..)| *case == name), "{}", file.display());
        }
    }
}

fn render(dialect: &Dialect, job: &Job, options: &str) -> String {
    let options = RawValue::from_string(options.to_owned()).unwrap();
    let facts = facts();
    let written = match job {
        Job::Query => query(dialect, &facts, &QueryOptions::parse(&options).unwrap()).map(show_select),
        Job::Read => read(dialect, &facts, &ReadOptions::parse(&options).unwrap()).map(show_select),
        Job::Count => count(dialect, &facts, &CountOptions::parse(&options).unwrap()).map(|sql| show(&sql)),
        Job::Aggregate => {
            let options = AggregateOptions::parse(&options).unwrap();
            let joined = vec![child(); options.joins.len()];
            aggregate(dialect, &facts, &joined, &options).map(show_plan)
        }
    };
    written.unwrap_or_else(|error: SqlError| format!("-- refused: {error}\n"))
}

fn show(sql: &Sql) -> String {
    let mut out = format!("{}\n", sql.text);
    for (index, param) in sql.params.iter().enumerate() {
        writeln!(out, "-- {}: {} beside {:?}", index + 1, show_value(&param.value), param.kind).unwrap();
    }
    out
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Timestamp(timestamp) => format!("Timestamp({timestamp})"),
        other => format!("{other:?}"),
    }
}

fn show_select(select: Select) -> String {
    let mut out = show(&select.sql);
    if let Some(page) = select.page {
        let Select { key, hidden, .. } = select;
        writeln!(out, "-- a page of {page}; cursor from columns {key:?}, of which {hidden} hidden").unwrap();
    }
    out
}

fn show_plan(plan: AggregatePlan) -> String {
    let mut out = show(&plan.sql);
    for column in &plan.columns {
        writeln!(out, "-- {:?} {}: {:?}", column.role, column.name, column.decode).unwrap();
    }
    out
}
