//! Aggregate plans: what the golden files do not say by themselves.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use protocol::AggregateOptions;
use semilayer_bridge_sql::{
    AggregatePlan, CLICKHOUSE, Column, Decode, Dialect, Kind, MARIADB, POSTGRES, Role, SQLITE, Table,
    aggregate,
};
use serde_json::value::RawValue;

const INT8: Kind = Kind::Integer { bits: 64, signed: true };

fn facts() -> Table {
    Table {
        parts: vec!["facts".to_owned()],
        columns: vec![
            Column::new("id", INT8, false),
            Column::new("name", Kind::Text, true),
            Column::new("price", Kind::Decimal, true),
            Column::new("weight", Kind::Float { bits: 32 }, true),
            Column::new("at", Kind::TimestampTz, true),
            Column::new("data", Kind::Json, true),
            Column::new("key", Kind::Uuid, true),
        ],
        primary_key: vec!["id".to_owned()],
    }
}

fn planned(dialect: &Dialect, table: &Table, options: &str) -> Result<AggregatePlan, String> {
    let raw = RawValue::from_string(options.to_owned()).unwrap();
    let options = AggregateOptions::parse(&raw).unwrap();
    let joined = vec![facts(); options.joins.len()];
    aggregate(dialect, table, &joined, &options).map_err(|error| error.to_string())
}

fn text(dialect: &Dialect, options: &str) -> String {
    planned(dialect, &facts(), options).unwrap().sql.text
}

fn refusal(dialect: &Dialect, options: &str) -> String {
    planned(dialect, &facts(), options).unwrap_err()
}

#[test]
fn columns_are_dimensions_then_measures_then_the_count() {
    let plan = planned(
        &POSTGRES,
        &facts(),
        r#"{"dimensions":[{"field":"at","bucket":"day","as":"when"}],"measures":{"z":{"agg":"min","column":"at"},"a":{"agg":"count"}}}"#,
    )
    .unwrap();
    let columns: Vec<_> = plan.columns.iter().map(|column| (column.role, column.name.as_str())).collect();
    assert_eq!(
        columns,
        [(Role::Dimension, "when"), (Role::Measure, "z"), (Role::Measure, "a"), (Role::Count, "count")]
    );
    assert_eq!(plan.columns[1].decode, Decode::Native(Kind::TimestampTz));
}

#[test]
fn mistakes_name_their_place() {
    for (options, expected) in [
        (r#"{"dimensions":[{"field":"nope"}]}"#, "dimensions[0].field: expected a column of facts"),
        (r#"{"candidatesWhere":{"nope":1}}"#, "candidatesWhere.nope: expected a column of facts"),
        (
            r#"{"measures":{"m":{"agg":"sum","column":"nope"}}}"#,
            "measures.m.column: expected a column of facts",
        ),
        (
            r#"{"measures":{"m":{"agg":"sum","column":"name"}}}"#,
            "measures.m.column: expected a column of numbers",
        ),
        (
            r#"{"measures":{"m":{"agg":"count","where":{"nope":1}}}}"#,
            "measures.m.where.nope: expected a column of facts",
        ),
        (
            r#"{"dimensions":[{"field":"name","bucket":"day"}]}"#,
            "dimensions[0].field: expected a column of dates or timestamps",
        ),
        (
            r#"{"dimensions":[{"field":"name","bucket":{"type":"numeric","step":1}}]}"#,
            "dimensions[0].field: expected a column of numbers",
        ),
        (
            r#"{"measures":{"m":{"agg":"first","column":"id"}},"changeTrackingColumn":"nope"}"#,
            "changeTrackingColumn: expected a column of facts",
        ),
        (
            r#"{"measures":{"m":{"agg":"top_k","column":"id","k":1}},"having":{"m":1}}"#,
            "having.m: expected count or a measure that can be compared",
        ),
        (
            r#"{"joins":[{"target":"x","alias":"c","kind":"left","on":{"local":"nope","foreign":"id"}}]}"#,
            "joins[0].on.local: expected a column of facts",
        ),
        (
            r#"{"dimensions":[{"field":"c","bucket":{"type":"geohash","precision":1,"latField":"nope","lngField":"id"}}]}"#,
            "dimensions[0].bucket.latField: expected a column of facts",
        ),
    ] {
        assert_eq!(refusal(&POSTGRES, options), expected, "{options}");
    }
}

#[test]
fn cells_are_refused_where_the_engine_has_none() {
    let geohash = r#"{"dimensions":[{"field":"c","bucket":{"type":"geohash","precision":1,"latField":"id","lngField":"id"}}]}"#;
    assert!(refusal(&SQLITE, geohash).contains("does not implement geohashExpr"));
    let point = r#"{"dimensions":[{"field":"c","bucket":{"type":"geohash","precision":1,"geoField":"id"}}]}"#;
    assert!(refusal(&CLICKHOUSE, point).contains("cannot decode \"geoField\""));
    let h3 = r#"{"dimensions":[{"field":"c","bucket":{"type":"h3","resolution":1,"latField":"id","lngField":"id"}}]}"#;
    assert!(refusal(&POSTGRES, h3).contains("does not implement h3Expr"));
    let mut plain = POSTGRES;
    plain.aggregates.geohash = None;
    assert!(planned(&plain, &facts(), geohash).is_err(), "a source without PostGIS");
}

#[test]
fn lists_over_a_sample_are_refused_where_each_use_would_draw_its_own() {
    let options = r#"{"sample":0.5,"measures":{"t":{"agg":"top_k","column":"name","k":1}}}"#;
    assert!(refusal(&MARIADB, options).contains("top_k over a sample"));
    assert!(text(&POSTGRES, options).starts_with("WITH b AS MATERIALIZED ("));
}

#[test]
fn keys_restrict_by_the_primary_key_whatever_its_name() {
    let mut table = facts();
    table.primary_key = vec!["key".to_owned()];
    let ids = r#"{"ids":["6f9619ff-8b86-d011-b42d-00cf4fc964ff","nope"]}"#;
    let plan = planned(&POSTGRES, &table, ids).unwrap();
    assert!(plan.sql.text.contains(r#"WHERE (t."key" = ANY($1))"#), "{}", plan.sql.text);
    table.primary_key = vec!["key".to_owned(), "id".to_owned()];
    assert_eq!(
        planned(&POSTGRES, &table, ids).unwrap_err(),
        "ids: expected a table with a primary key of one column"
    );
    assert!(text(&POSTGRES, r#"{"ids":[]}"#).ends_with(r#"FROM "facts" t) b"#), "an empty list is no list");
}

#[test]
fn a_measure_that_is_filtered_binds_its_operands_once() {
    let options = r#"{"measures":{"m":{"agg":"sum","column":"id","where":{"name":{"$in":["a","b"]}}}},"having":{"m":{"$gt":1},"$not":{"m":{"$gt":9}}}}"#;
    let plan = planned(&SQLITE, &facts(), options).unwrap();
    assert_eq!(plan.sql.params.len(), 4);
    assert_eq!(plan.sql.text.matches('?').count(), 4);
}

#[test]
fn a_numeric_bucket_is_labelled_as_javascript_writes_numbers() {
    let step = |step: f64, index: f64| Decode::Step(step).label(index).unwrap();
    assert_eq!(step(30.0, 0.0), "0..30");
    assert_eq!(step(30.0, -1.0), "-30..0");
    assert_eq!(step(0.1, 2.0), "0.2..0.30000000000000004");
    assert_eq!(step(1e21, 1.0), "1e+21..2e+21");
    let breaks = Decode::Breaks(vec![0.0, 30.0, 60.5, 120.0]);
    assert_eq!(breaks.label(0.0).unwrap(), "0..30");
    assert_eq!(breaks.label(2.0).unwrap(), "60.5..120");
    assert_eq!(breaks.label(3.0), None);
    assert_eq!(Decode::Text.label(1.0), None);
}

#[test]
fn singles_are_added_up_as_doubles() {
    let options = r#"{"measures":{"m":{"agg":"sum","column":"weight"}}}"#;
    assert!(text(&POSTGRES, options).contains(r#"SELECT CAST(t."weight" AS double precision) AS c0"#));
}

#[test]
fn types_without_an_aggregate_of_their_own_keep_their_type() {
    let options = r#"{"measures":{"m":{"agg":"min","column":"key"}}}"#;
    assert!(
        text(&POSTGRES, options)
            .contains("(array_agg(c0 ORDER BY c0) FILTER (WHERE c0 IS NOT NULL))[1] AS m0")
    );
    assert!(text(&SQLITE, options).contains("MIN(c0) AS m0"));
    let options = r#"{"measures":{"m":{"agg":"max","column":"data"}},"dimensions":[{"field":"data"}]}"#;
    assert!(
        text(&POSTGRES, options).contains(r#"CAST(t."data" AS text) AS d0, CAST(t."data" AS text) AS c0"#)
    );
}

#[test]
fn what_is_infinite_falls_into_no_step() {
    let options = r#"{"dimensions":[{"field":"price","bucket":{"type":"numeric","step":1}}]}"#;
    assert!(text(&POSTGRES, options).contains("BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308"));
    assert!(!text(&SQLITE, options).contains("BETWEEN"));
}

#[test]
fn sort_keys_are_looked_up_and_unknown_ones_passed_over() {
    let options = r#"{"dimensions":[{"field":"name","as":"n"}],"measures":{"m":{"agg":"avg","column":"id"},"t":{"agg":"top_k","column":"id","k":1}},"sort":[{"key":"nope"},{"key":"t"},{"key":"m","dir":"desc"},{"key":"count"},{"key":"n","dir":"desc"}]}"#;
    assert!(text(&POSTGRES, options).ends_with(" ORDER BY g.m0 DESC, g.n, g.d0 DESC"));
}
