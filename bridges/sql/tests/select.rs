//! Statements that read rows: projections, orders, pages by key, scans.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use bridge_core::Position;
use protocol::{QueryOptions, ReadOptions};
use semilayer_bridge_sql::{
    Column, DUCKDB, Dialect, Kind, MSSQL, MYSQL, ORACLE, POSTGRES, SQLITE, Select, Table, Value,
    parse_target, query, read,
};
use serde_json::value::RawValue;

const INT8: Kind = Kind::Integer { bits: 64, signed: true };

fn orders() -> Table {
    Table {
        parts: vec!["public".to_owned(), "orders".to_owned()],
        columns: vec![
            Column::new("id", INT8, false),
            Column::new("name", Kind::Text, true),
            Column::new("at", Kind::TimestampTz, false),
            Column::new("tags", Kind::Other, true),
        ],
        primary_key: vec!["id".to_owned()],
    }
}

fn raw(options: &str) -> Box<RawValue> {
    RawValue::from_string(options.to_owned()).unwrap()
}

fn queried(dialect: &Dialect, table: &Table, options: &str) -> Result<Select, String> {
    let options = QueryOptions::parse(&raw(options)).unwrap();
    query(dialect, table, &options).map_err(|error| error.to_string())
}

fn scanned(table: &Table, options: &str) -> Result<Select, String> {
    let options = ReadOptions::parse(&raw(options)).unwrap();
    read(&POSTGRES, table, &options).map_err(|error| error.to_string())
}

/// What stands between WHERE and LIMIT.
fn after_where(select: &Select) -> &str {
    let (_, rest) = select.sql.text.split_once(" WHERE ").unwrap();
    rest.split_once(" LIMIT ").map_or(rest, |(condition, _)| condition)
}

fn cursor(keys: &[Option<&str>]) -> String {
    Position(keys.iter().map(|key| key.map(str::to_owned)).collect()).encode()
}

#[test]
fn unknown_columns_are_refused_by_name() {
    let refusal = |options| queried(&POSTGRES, &orders(), options).unwrap_err();
    let table = "a column of public.orders";
    for (options, field) in [
        (r#"{"where":{"nope":1}}"#, "where.nope"),
        (r#"{"orderBy":{"nope":"asc"}}"#, "orderBy.nope"),
        (r#"{"select":["id","nope"]}"#, "select.nope"),
        (r#"{"project":{"out":"nope"}}"#, "project.out"),
        (r#"{"keyset":["nope"]}"#, "keyset.nope"),
    ] {
        assert_eq!(refusal(options), format!("{field}: expected {table}"), "{options}");
    }
    assert_eq!(
        scanned(&orders(), r#"{"fields":["nope"]}"#).unwrap_err(),
        format!("fields.nope: expected {table}")
    );
}

#[test]
fn a_key_that_the_row_shows_is_not_selected_twice() {
    let select =
        queried(&POSTGRES, &orders(), r#"{"select":["name","id"],"limit":5,"keyset":true}"#).unwrap();
    assert_eq!(
        select.sql.text,
        r#"SELECT t."name", t."id" FROM "public"."orders" t ORDER BY t."id" LIMIT $1"#
    );
    assert_eq!((select.hidden, select.key.as_slice(), select.page), (0, [1].as_slice(), Some(5)));
}

#[test]
fn a_key_that_the_row_does_not_show_is_selected_behind_it() {
    let options = r#"{"project":{"id":"name"},"orderBy":{"at":"desc"},"limit":5,"keyset":true}"#;
    let select = queried(&POSTGRES, &orders(), options).unwrap();
    assert_eq!(
        select.sql.text,
        r#"SELECT t."name" AS "id", t."at" AS k0, t."id" AS k1 FROM "public"."orders" t ORDER BY t."at" DESC, t."id" DESC LIMIT $1"#
    );
    assert_eq!((select.outputs, select.hidden, select.key), (vec!["id".to_owned()], 2, vec![1, 2]));
    assert_eq!(select.columns, ["name", "at", "id"].map(|name| Some(name.to_owned())));
}

#[test]
fn a_column_that_is_called_like_a_name_of_ours_is_still_the_column() {
    let mut table = orders();
    table.columns.push(Column::new("k0", Kind::Text, true));
    let options = r#"{"orderBy":[{"field":"at"},{"field":"k0"}],"select":["name"],"keyset":true}"#;
    let text = queried(&POSTGRES, &table, options).unwrap().sql.text;
    assert!(text.ends_with(r#" ORDER BY t."at", t."k0", t."id""#), "{text}");
}

#[test]
fn one_row_more_than_the_page_is_fetched_but_none_for_an_empty_page() {
    let limit = |options| {
        let select = queried(&POSTGRES, &orders(), options).unwrap();
        select.sql.params.last().unwrap().value.clone()
    };
    assert_eq!(limit(r#"{"limit":5,"keyset":true}"#), Value::Integer(6));
    assert_eq!(limit(r#"{"limit":5}"#), Value::Integer(5));
    assert_eq!(limit(r#"{"limit":0,"keyset":true}"#), Value::Integer(0));
    assert_eq!(limit(r#"{"limit":18446744073709551615,"keyset":true}"#), Value::Integer(i64::MAX));
}

#[test]
fn rows_after_a_position_compare_as_a_whole_where_an_index_can_serve_that() {
    let after = cursor(&[Some("2026-01-02T00:00:00.000Z"), Some("7")]);
    let options =
        |order: &str| format!(r#"{{"orderBy":{order},"limit":5,"keyset":true,"cursor":"{after}"}}"#);
    let condition = |dialect: &Dialect, order: &str| {
        after_where(&queried(dialect, &orders(), &options(order)).unwrap()).to_owned()
    };
    assert_eq!(
        condition(&POSTGRES, r#"{"at":"desc"}"#),
        r#"(t."at", t."id") < ($1, $2) ORDER BY t."at" DESC, t."id" DESC"#
    );
    assert_eq!(
        condition(&MYSQL, r#"{"at":"asc"}"#),
        "t.`at` >= ? AND ((t.`at` > ?) OR (t.`at` = ? AND t.`id` > ?)) ORDER BY t.`at`, t.`id`"
    );
    assert_eq!(
        condition(&POSTGRES, r#"[{"field":"at"},{"field":"id","dir":"desc"}]"#),
        r#"t."at" >= $1 AND ((t."at" > $2) OR (t."at" = $3 AND t."id" < $4)) ORDER BY t."at", t."id" DESC"#
    );
}

#[test]
fn nulls_stand_where_the_engine_sorts_them() {
    let condition = |dialect: &Dialect, direction: &str, name: Option<&str>| {
        let after = cursor(&[name, Some("7")]);
        let options = format!(
            r#"{{"orderBy":[{{"field":"name","dir":"{direction}"}},{{"field":"id"}}],"limit":5,"keyset":true,"cursor":"{after}"}}"#
        );
        let select = queried(dialect, &orders(), &options).unwrap();
        after_where(&select).split_once(" ORDER BY ").unwrap().0.to_owned()
    };
    // Last when ascending: after a value come greater ones and nulls, after a null only nulls.
    assert_eq!(
        condition(&POSTGRES, "asc", Some("x")),
        r#"(((t."name" > $1 OR t."name" IS NULL)) OR (t."name" = $2 AND t."id" > $3))"#
    );
    assert_eq!(condition(&POSTGRES, "asc", None), r#"((t."name" IS NULL AND t."id" > $1))"#);
    // First when descending: after a null come all values.
    assert_eq!(
        condition(&POSTGRES, "desc", None),
        r#"((t."name" IS NOT NULL) OR (t."name" IS NULL AND t."id" > $1))"#
    );
    // First when ascending.
    assert_eq!(condition(&SQLITE, "asc", Some("x")), r#"(t."name", t."id") > (?, ?)"#);
    // Last in both directions.
    assert_eq!(
        condition(&DUCKDB, "desc", Some("x")),
        r#"(((t."name" < ? OR t."name" IS NULL)) OR (t."name" = ? AND t."id" > ?))"#
    );
}

#[test]
fn a_type_without_a_class_is_ordered_and_compared_by_its_text() {
    let after = cursor(&[Some("{a}"), Some("7")]);
    let options = format!(r#"{{"orderBy":{{"tags":"desc"}},"limit":5,"keyset":true,"cursor":"{after}"}}"#);
    let select = queried(&POSTGRES, &orders(), &options).unwrap();
    assert_eq!(
        after_where(&select),
        r#"(CAST(t."tags" AS text), t."id") < ($1, $2) ORDER BY CAST(t."tags" AS text) DESC, t."id" DESC"#
    );
    assert!(
        select.sql.text.contains(r#"t."tags", CAST(t."tags" AS text) AS k0 FROM"#),
        "{}",
        select.sql.text
    );
    assert_eq!((select.hidden, select.key), (1, vec![4, 0]));
}

#[test]
fn a_cursor_that_does_not_fit_is_refused() {
    for cursor in [cursor(&[Some("x")]), cursor(&[Some("1"), Some("2")]), "k1.broken!".to_owned()] {
        let refusal = scanned(&orders(), &format!(r#"{{"cursor":"{cursor}"}}"#)).unwrap_err();
        assert_eq!(refusal, "cursor: expected a cursor of this target and order");
    }
    assert_eq!(
        after_where(&scanned(&orders(), r#"{"cursor":"42"}"#).unwrap()),
        r#"t."id" > $1 ORDER BY t."id""#
    );
}

#[test]
fn an_infinite_key_is_a_place_too() {
    let after = cursor(&[Some("infinity"), Some("7")]);
    let options = format!(r#"{{"orderBy":{{"at":"asc"}},"limit":5,"keyset":true,"cursor":"{after}"}}"#);
    let select = queried(&POSTGRES, &orders(), &options).unwrap();
    assert_eq!(select.sql.params[0].value, Value::Text("infinity".to_owned()));
    assert!(queried(&SQLITE, &orders(), &options).is_ok(), "dates are text there");
    assert!(queried(&MYSQL, &orders(), &options).is_err());
}

#[test]
fn keys_of_columns_without_a_type_are_literals() {
    let table = Table {
        parts: vec!["t".to_owned()],
        columns: vec![Column::new("id", Kind::Unknown, false)],
        primary_key: vec!["id".to_owned()],
    };
    let after = |cursor: &str| {
        let options = ReadOptions { cursor: Some(cursor.to_owned()), ..ReadOptions::default() };
        let select = read(&SQLITE, &table, &options).unwrap();
        let expected = r#"SELECT t."id", NULLIF(quote(t."id"), 'NULL') AS k0 FROM "t" t WHERE t."id" > ?"#;
        assert!(select.sql.text.starts_with(expected), "{}", select.sql.text);
        select.sql.params[0].value.clone()
    };
    assert_eq!(after("42"), Value::Integer(42));
    assert_eq!(after("4.5"), Value::Double(4.5));
    assert_eq!(after("'it''s 42'"), Value::Text("it's 42".to_owned()));
    assert_eq!(after("X'00FF'"), Value::Bytes(vec![0, 255]));
    assert_eq!(after("plain"), Value::Text("plain".to_owned()));
}

#[test]
fn a_composite_key_is_scanned_as_a_whole() {
    let mut table = orders();
    table.primary_key = vec!["id".to_owned(), "at".to_owned()];
    let after = cursor(&[Some("7"), Some("2026-01-02T00:00:00.000Z")]);
    let select = scanned(&table, &format!(r#"{{"cursor":"{after}","fields":["name"]}}"#)).unwrap();
    assert_eq!(
        select.sql.text,
        r#"SELECT t."name", t."id" AS k0, t."at" AS k1 FROM "public"."orders" t WHERE (t."id", t."at") > ($1, $2) ORDER BY t."id", t."at" LIMIT $3"#
    );
}

#[test]
fn a_table_without_a_key_cannot_be_scanned() {
    let table = Table { primary_key: Vec::new(), ..orders() };
    let refusal = scanned(&table, "{}").unwrap_err();
    assert!(refusal.contains("Could not detect primary key for table \"public.orders\""), "{refusal}");
    let refusal = queried(&POSTGRES, &table, r#"{"keyset":true}"#).unwrap_err();
    assert!(refusal.contains("Could not detect primary key"), "{refusal}");
    assert!(queried(&POSTGRES, &table, r#"{"keyset":["name","id"]}"#).is_ok());
}

#[test]
fn changes_are_read_by_the_tracking_column() {
    let since = r#""changedSince":"2026-01-02T03:04:05.000006Z""#;
    let select = scanned(&orders(), &format!(r#"{{{since},"changeTrackingColumn":"at"}}"#)).unwrap();
    assert_eq!(after_where(&select), r#"t."at" > $1 ORDER BY t."id""#);
    assert!(matches!(select.sql.params[0].value, Value::Timestamp(_)));
    // The default is optional, a name is not.
    let full = scanned(&orders(), &format!("{{{since}}}")).unwrap();
    assert!(!full.sql.text.contains("WHERE"), "{}", full.sql.text);
    assert_eq!(
        scanned(&orders(), &format!(r#"{{{since},"changeTrackingColumn":"nope"}}"#)).unwrap_err(),
        "changeTrackingColumn: expected a column of public.orders"
    );
    assert_eq!(
        scanned(&orders(), &format!(r#"{{{since},"changeTrackingColumn":"id"}}"#)).unwrap_err(),
        "changeTrackingColumn: expected a column of dates or timestamps"
    );
}

#[test]
fn pages_are_counted_off_in_every_grammar() {
    let tail = |dialect: &Dialect, options: &str| {
        let text = queried(dialect, &orders(), options).unwrap().sql.text;
        text.split_once("orders").unwrap().1[1..].to_owned()
    };
    assert_eq!(tail(&MYSQL, r#"{"offset":5}"#), " LIMIT 18446744073709551615 OFFSET ?");
    assert_eq!(tail(&SQLITE, r#"{"offset":5}"#), " LIMIT -1 OFFSET ?");
    assert_eq!(tail(&POSTGRES, r#"{"offset":5}"#), " OFFSET $1");
    assert_eq!(
        tail(&MSSQL, r#"{"limit":5}"#),
        " ORDER BY (SELECT NULL) OFFSET @p1 ROWS FETCH NEXT @p2 ROWS ONLY"
    );
    assert_eq!(tail(&MSSQL, r#"{"limit":0}"#), " WHERE 1=0");
    assert_eq!(tail(&ORACLE, r#"{"limit":5}"#), " OFFSET :1 ROWS FETCH NEXT :2 ROWS ONLY");
}

#[test]
fn a_column_ordered_by_twice_counts_once() {
    let select = queried(&POSTGRES, &orders(), r#"{"orderBy":[{"field":"id","dir":"desc"},{"field":"id"}]}"#);
    assert!(select.unwrap().sql.text.ends_with(r#" ORDER BY "id" DESC"#));
}

#[test]
fn hidden_columns_are_for_those_who_name_them() {
    let mut table = orders();
    table.columns.push(Column { hidden: true, ..Column::new("rowid", INT8, false) });
    table.primary_key = vec!["rowid".to_owned()];
    let select = scanned(&table, r#"{"fields":["rowid"]}"#).unwrap();
    assert!(select.sql.text.starts_with(r#"SELECT t."rowid" FROM"#));
    let select = scanned(&table, "{}").unwrap();
    assert_eq!(select.outputs, ["id", "name", "at", "tags"]);
    assert_eq!((select.hidden, select.key), (1, vec![4]));
}

#[test]
fn a_table_of_which_nothing_is_known_is_read_as_it_is() {
    let table = Table::named(vec!["t".to_owned()]);
    let select = queried(&POSTGRES, &table, r#"{"where":{"a":1},"orderBy":{"b":"asc"},"limit":1}"#).unwrap();
    assert_eq!(select.sql.text, r#"SELECT * FROM "t" WHERE "a" = $1 ORDER BY "b" LIMIT $2"#);
    assert!(select.outputs.is_empty());
}

#[test]
fn targets_are_split_at_dots_outside_of_quotes() {
    let parts = |target: &str| parse_target(&POSTGRES, target).map_err(|error| error.to_string());
    assert_eq!(parts("orders"), Ok(vec!["orders".to_owned()]));
    assert_eq!(parts("public.orders"), Ok(vec!["public".to_owned(), "orders".to_owned()]));
    assert_eq!(parts(r#"public."a.b""c""#), Ok(vec!["public".to_owned(), r#"a.b"c"#.to_owned()]));
    assert_eq!(parts("Ünï côdé; drop"), Ok(vec!["Ünï côdé; drop".to_owned()]));
    for bad in ["", ".", "a.", ".a", "a.b.c", "\"a", "a\"b", "\"a\"b", "\"\"", "a\0b"] {
        let refusal = parts(bad).unwrap_err();
        assert_eq!(refusal, format!("target: expected a table name (Invalid table name: \"{bad}\")"));
    }
}
