//! Filters as SQL: the published builder's cases in our words, and what its defects must not be here.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use protocol::{CountOptions, Filter};
use semilayer_bridge_sql::{
    BIGQUERY, CLICKHOUSE, Column, DUCKDB, Dialect, Kind, LIBSQL, MSSQL, MYSQL, ORACLE, POSTGRES, Repertoire,
    SNOWFLAKE, SQLITE, Sql, Table, Value, count,
};

fn table(columns: &[(&str, Kind)]) -> Table {
    Table {
        parts: vec!["orders".to_owned()],
        columns: columns.iter().map(|(name, kind)| Column::new(*name, *kind, true)).collect(),
        primary_key: Vec::new(),
    }
}

fn written(dialect: &Dialect, table: &Table, filter: &str) -> Sql {
    let options = CountOptions { filter: Filter::from_json(filter).unwrap() };
    count(dialect, table, &options).unwrap()
}

/// What stands behind WHERE, with the bound values.
fn condition(dialect: &Dialect, table: &Table, filter: &str) -> String {
    let sql = written(dialect, table, filter);
    let condition = sql.text.split_once(" WHERE ").map_or("", |(_, condition)| condition);
    if sql.params.is_empty() {
        return condition.to_owned();
    }
    let values: Vec<String> = sql.params.iter().map(|param| show(&param.value)).collect();
    format!("{condition} | {}", values.join(", "))
}

fn show(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Double(value) => format!("{value}f"),
        Value::Decimal(text) => format!("{text}d"),
        Value::Text(text) => format!("'{text}'"),
        Value::Bytes(bytes) => format!("{bytes:?}"),
        Value::Timestamp(timestamp) => timestamp.to_string(),
        Value::List(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(", ")),
    }
}

fn untyped(filter: &str) -> String {
    condition(&POSTGRES, &table(&[]), filter)
}

fn typed(kind: Kind, filter: &str) -> String {
    condition(&POSTGRES, &table(&[("a", kind)]), filter)
}

const INT4: Kind = Kind::Integer { bits: 32, signed: true };
const INT8: Kind = Kind::Integer { bits: 64, signed: true };

#[test]
fn the_published_builders_vectors_hold() {
    for (filter, expected) in [
        (r#"{}"#, ""),
        (r#"{"a":1}"#, r#""a" = $1 | 1"#),
        (r#"{"a":null}"#, r#""a" IS NULL"#),
        (r#"{"a":{"$ne":null}}"#, r#""a" IS NOT NULL"#),
        (r#"{"a":1,"b":2}"#, r#"("a" = $1) AND ("b" = $2) | 1, 2"#),
        (r#"{"price":{"$gte":10,"$lt":100}}"#, r#"("price" >= $1) AND ("price" < $2) | 10, 100"#),
        (r#"{"$or":[{"a":1},{"b":2}]}"#, r#"(("a" = $1) OR ("b" = $2)) | 1, 2"#),
        (r#"{"a":3,"$or":[{"b":2}]}"#, r#"("a" = $1) AND ("b" = $2) | 3, 2"#),
        (r#"{"$or":[]}"#, ""),
        (r#"{"$or":[{}]}"#, ""),
        (r#"{"$not":{}}"#, ""),
        (r#"{"a":{}}"#, ""),
        (r#"{"a":{},"b":1}"#, r#""b" = $1 | 1"#),
        (r#"{"a":{"$in":[]}}"#, "1=0"),
        (r#"{"a":{"$nin":[]}}"#, "1=1"),
        (r#"{"a":{"$in":null}}"#, "1=0"),
        (r#"{"a":{"$nin":"x"}}"#, "1=1"),
        (r#"{"a":["x","y"]}"#, r#""a" = ANY($1) | ['x', 'y']"#),
        (r#"{"a":{"$nin":["x"]}}"#, r#""a" <> ALL($1) | ['x']"#),
        (r#"{"a":{"$contains":5}}"#, "1=0"),
        (r#"{"$not":{"$or":[{"a":1},{"b":2}]}}"#, r#"NOT (("a" = $1) OR ("b" = $2)) | 1, 2"#),
        (r#"{"a.b":1}"#, r#""a.b" = $1 | 1"#),
    ] {
        assert_eq!(untyped(filter), expected, "{filter}");
    }
}

#[test]
fn groups_are_parenthesised_by_structure() {
    assert_eq!(untyped(r#"{"$not":{"a":1,"b":2}}"#), r#"NOT (("a" = $1) AND ("b" = $2)) | 1, 2"#);
    assert_eq!(
        untyped(r#"{"$not":{"id":{"$gte":3,"$lt":6}}}"#),
        r#"NOT (("id" >= $1) AND ("id" < $2)) | 3, 6"#
    );
    assert_eq!(
        untyped(r#"{"$or":[{"a":1,"b":2},{"c":3}]}"#),
        r#"((("a" = $1) AND ("b" = $2)) OR ("c" = $3)) | 1, 2, 3"#
    );
    assert_eq!(
        untyped(r#"{"$or":[{"a":1},{"$and":[{"b":2},{"$not":{"$or":[{"c":3},{"d":4}]}}]}]}"#),
        r#"(("a" = $1) OR (("b" = $2) AND (NOT (("c" = $3) OR ("d" = $4))))) | 1, 2, 3, 4"#
    );
}

#[test]
fn many_conditions_do_not_make_a_deep_expression() {
    let filter = |count: usize| {
        let parts: Vec<String> = (0..count).map(|value| format!(r#"{{"a":{value}}}"#)).collect();
        written(&SQLITE, &table(&[]), &format!(r#"{{"$or":[{}]}}"#, parts.join(","))).text
    };
    assert!(filter(8).ends_with(r#"("a" = ?) OR ("a" = ?))"#));
    let depth = |text: &str| {
        let mut depth = 0_i32;
        text.bytes()
            .map(|byte| {
                depth += i32::from(byte == b'(') - i32::from(byte == b')');
                depth
            })
            .max()
    };
    assert_eq!(depth(&filter(4_000)), Some(11));
    assert_eq!(filter(4_000).matches('?').count(), 4_000);
}

#[test]
fn names_that_the_table_does_not_have_are_refused_before_any_io() {
    let table = table(&[("a", Kind::Text)]);
    let options = CountOptions { filter: Filter::from_json(r#"{"a":"x","$or":[{"nope":1}]}"#).unwrap() };
    assert_eq!(
        count(&POSTGRES, &table, &options).unwrap_err().to_string(),
        "where.nope: expected a column of orders"
    );
}

#[test]
fn a_nul_in_a_name_is_refused() {
    let options = CountOptions { filter: Filter::from_json(r#"{"a\u0000b":1}"#).unwrap() };
    let refusal = count(&POSTGRES, &table(&[]), &options).unwrap_err().to_string();
    assert!(refusal.contains("without NUL"), "{refusal}");
}

#[test]
fn an_integer_column_never_meets_what_it_cannot_hold() {
    for (filter, expected) in [
        (r#"{"a":"5"}"#, r#""a" = $1 | 5"#),
        (r#"{"a":5.0}"#, r#""a" = $1 | 5"#),
        (r#"{"a":10.5}"#, "1=0"),
        (r#"{"a":{"$ne":10.5}}"#, r#""a" IS NOT NULL"#),
        (r#"{"a":{"$gte":10.5}}"#, r#""a" > $1 | 10"#),
        (r#"{"a":{"$gt":-10.5}}"#, r#""a" > $1 | -11"#),
        (r#"{"a":{"$lt":10.5}}"#, r#""a" <= $1 | 10"#),
        (r#"{"a":{"$lte":-0.001}}"#, r#""a" <= $1 | -1"#),
        (r#"{"a":2147483648}"#, "1=0"),
        (r#"{"a":{"$lt":2147483648}}"#, r#""a" IS NOT NULL"#),
        (r#"{"a":{"$lt":2147483647.5}}"#, r#""a" <= $1 | 2147483647"#),
        (r#"{"a":{"$gt":-1e400}}"#, r#""a" IS NOT NULL"#),
        (r#"{"a":{"$gt":1e999999999999999999999}}"#, "1=0"),
        (r#"{"a":{"$gt":1e-999999999999999999999}}"#, r#""a" > $1 | 0"#),
        (r#"{"a":"abc"}"#, "1=0"),
        (r#"{"a":{"$lt":"abc"}}"#, "1=0"),
        (r#"{"a":true}"#, "1=0"),
        (r#"{"a":{"$in":[1,"__missing__",2.5,"3"]}}"#, r#""a" = ANY($1) | [1, 3]"#),
        (r#"{"a":{"$in":["x"]}}"#, "1=0"),
        (r#"{"a":{"$nin":["x"]}}"#, r#""a" IS NOT NULL"#),
    ] {
        assert_eq!(typed(INT4, filter), expected, "{filter}");
    }
    assert_eq!(typed(INT8, r#"{"a":9223372036854775807}"#), r#""a" = $1 | 9223372036854775807"#);
    let unsigned = Kind::Integer { bits: 64, signed: false };
    assert_eq!(typed(unsigned, r#"{"a":18446744073709551615}"#), r#""a" = $1 | 18446744073709551615d"#);
    assert_eq!(typed(unsigned, r#"{"a":{"$gte":-1}}"#), r#""a" IS NOT NULL"#);
}

#[test]
fn other_kinds_take_what_rows_carry_and_nothing_else() {
    let uuid = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
    for (kind, filter, expected) in [
        (Kind::Decimal, r#"{"a":"12345678901234567890.10"}"#, r#""a" = $1 | 12345678901234567890.10d"#),
        (Kind::Decimal, r#"{"a":"twelve"}"#, "1=0"),
        (Kind::Decimal, r#"{"a":{"$lt":1e5000}}"#, r#""a" IS NOT NULL"#),
        (Kind::Decimal, r#"{"a":{"$gt":-1e-5000}}"#, r#""a" >= $1 | 0d"#),
        (Kind::Float { bits: 64 }, r#"{"a":0.1}"#, r#""a" = $1 | 0.1f"#),
        (Kind::Float { bits: 32 }, r#"{"a":0.1}"#, r#""a" = $1 | 0.10000000149011612f"#),
        (Kind::Float { bits: 32 }, r#"{"a":{"$lt":1e39}}"#, r#""a" IS NOT NULL"#),
        (Kind::Float { bits: 64 }, r#"{"a":{"$gt":-1e400}}"#, r#""a" IS NOT NULL"#),
        (Kind::Boolean, r#"{"a":"true"}"#, r#""a" = $1 | true"#),
        (Kind::Boolean, r#"{"a":1}"#, "1=0"),
        (Kind::Text, r#"{"a":10.50}"#, r#""a" = $1 | '10.50'"#),
        (Kind::Text, r#"{"a":"a\u0000b"}"#, "1=0"),
        (Kind::Text, r#"{"a":{"$gte":"a\u0000b"}}"#, r#""a" > $1 | 'a'"#),
        (Kind::Text, r#"{"a":{"$contains":"\u0000"}}"#, "1=0"),
        (Kind::Uuid, r#"{"a":"6F9619FF8B86D011B42D00CF4FC964FF"}"#, &format!(r#""a" = $1 | '{uuid}'"#)),
        (Kind::Uuid, r#"{"a":{"$gt":"zzz"}}"#, "1=0"),
        (
            Kind::TimestampTz,
            r#"{"a":{"$gt":"2026-04-27T01:30:00+02:00"}}"#,
            r#""a" > $1 | 2026-04-26T23:30:00.000Z"#,
        ),
        (Kind::TimestampTz, r#"{"a":"soon"}"#, "1=0"),
        (Kind::Timestamp, r#"{"a":"2026-04-27"}"#, r#""a" = $1 | 2026-04-27T00:00:00.000Z"#),
        (Kind::Date, r#"{"a":"2026-04-27T00:00:00.000Z"}"#, r#""a" = $1 | 2026-04-27T00:00:00.000Z"#),
        (Kind::Date, r#"{"a":"2026-04-27T10:00:00Z"}"#, "1=0"),
        (Kind::Date, r#"{"a":{"$gte":"2026-04-27T10:00:00Z"}}"#, r#""a" > $1 | 2026-04-27T00:00:00.000Z"#),
        (Kind::Time, r#"{"a":"07:05"}"#, r#""a" = $1 | '07:05:00'"#),
        (Kind::Time, r#"{"a":"25:00"}"#, "1=0"),
        (Kind::Bytes, r#"{"a":"AP8="}"#, r#""a" = $1 | [0, 255]"#),
        (Kind::Bytes, r#"{"a":"not base64!"}"#, "1=0"),
        (Kind::Other, r#"{"a":"10.0.0.1"}"#, r#"CAST("a" AS text) = $1 | '10.0.0.1'"#),
        (Kind::Json, r#"{"a":5}"#, r#"CAST("a" AS text) = $1 | '5'"#),
        (INT4, r#"{"a":{"$contains":"5"}}"#, r#"CAST("a" AS text) ILIKE $1 ESCAPE '!' | '%5%'"#),
    ] {
        assert_eq!(typed(kind, filter), expected, "{kind:?} {filter}");
    }
}

#[test]
fn an_enum_knows_its_labels() {
    let mut table = table(&[("a", Kind::Enum)]);
    table.columns[0].labels = vec!["new".to_owned(), "paid".to_owned()];
    assert_eq!(condition(&POSTGRES, &table, r#"{"a":{"$gt":"new"}}"#), r#""a" > $1 | 'new'"#);
    assert_eq!(
        condition(&POSTGRES, &table, r#"{"a":{"$in":["paid","lost"]}}"#),
        r#""a" = ANY($1) | ['paid']"#
    );
    assert_eq!(condition(&POSTGRES, &table, r#"{"a":"lost"}"#), "1=0");
}

#[test]
fn an_enum_without_labels_is_looked_up_as_it_is_and_compared_as_text() {
    const TEXT: &str = "CAST(`a` AS CHAR) COLLATE utf8mb4_bin";
    let table = table(&[("a", Kind::Enum)]);
    for (filter, expected) in [
        (r#"{"a":"new"}"#, format!("(`a` = ? AND {TEXT} = ?) | 'new', 'new'")),
        (r#"{"a":{"$ne":"new"}}"#, format!("{TEXT} <> ? | 'new'")),
        (
            r#"{"a":{"$in":["new","paid"]}}"#,
            format!("(`a` IN (?, ?) AND {TEXT} IN (?, ?)) | 'new', 'paid', 'new', 'paid'"),
        ),
        (r#"{"a":{"$nin":["new","paid"]}}"#, format!("{TEXT} NOT IN (?, ?) | 'new', 'paid'")),
        (r#"{"a":{"$gt":"new"}}"#, format!("{TEXT} > ? | 'new'")),
    ] {
        assert_eq!(condition(&MYSQL, &table, filter), expected);
    }
    // This one refuses texts that are no labels.
    assert_eq!(condition(&POSTGRES, &table, r#"{"a":"new"}"#), r#"CAST("a" AS text) = $1 | 'new'"#);
}

#[test]
fn text_with_characters_that_a_column_cannot_have_matches_nothing() {
    let mut table = table(&[("a", Kind::Text)]);
    for (repertoire, fitting, foreign) in [
        (Repertoire::Ascii, "x~", "é"),
        (Repertoire::Windows1252, "é€\u{81}", "日"),
        (Repertoire::Windows1252, "ÿ", "\u{80}"),
        (Repertoire::Basic, "日\u{FFFF}", "🦀"),
    ] {
        table.columns[0].repertoire = repertoire;
        let asked = |operator: &str, text: &str| {
            condition(&MYSQL, &table, &format!(r#"{{"a":{{"{operator}":"{text}"}}}}"#))
        };
        assert_eq!(asked("$eq", fitting), format!("`a` = ? | '{fitting}'"));
        assert_eq!(asked("$eq", foreign), "1=0");
        assert_eq!(asked("$ne", foreign), "`a` IS NOT NULL");
        assert_eq!(asked("$contains", foreign), "1=0");
        let either = format!(r#"{{"a":{{"$in":["{fitting}","{foreign}"]}}}}"#);
        assert_eq!(condition(&MYSQL, &table, &either), format!("`a` IN (?) | '{fitting}'"));
    }
}

#[test]
fn not_leaves_out_rows_for_which_an_impossible_test_is_unknown() {
    for (filter, expected) in [
        // False for a value and unknown for null: NOT lets values through and nulls not.
        (r#"{"$not":{"a":"abc"}}"#, r#"NOT ("a" IS NULL)"#),
        (r#"{"$not":{"a":{"$ne":"abc"}}}"#, "NOT (1=1)"),
        (r#"{"$not":{"$not":{"a":"abc"}}}"#, "NOT (NOT (1=0))"),
        (r#"{"$not":{"a":{"$gt":null}}}"#, "NOT (1=1)"),
        (r#"{"a":{"$gt":null}}"#, "1=0"),
        // Two-valued for everybody: an empty list.
        (r#"{"$not":{"a":{"$in":[]}}}"#, "NOT (1=0)"),
        // A null in a list is never equal and never unequal.
        (r#"{"a":{"$in":[1,null]}}"#, r#""a" = ANY($1) | [1]"#),
        (r#"{"$not":{"a":{"$in":[1,null]}}}"#, "NOT (1=1)"),
        (r#"{"a":{"$nin":[1,null]}}"#, "1=0"),
        (r#"{"$not":{"a":{"$nin":[1,null]}}}"#, r#"NOT ("a" <> ALL($1)) | [1]"#),
        (r#"{"a":{"$in":[null]}}"#, "1=0"),
    ] {
        assert_eq!(typed(INT4, filter), expected, "{filter}");
    }
}

#[test]
fn booleans_are_integers_where_the_engine_has_none() {
    let table = table(&[("a", Kind::Integer { bits: 8, signed: true }), ("b", Kind::Boolean)]);
    assert_eq!(condition(&MYSQL, &table, r#"{"a":true,"b":"false"}"#), "(`a` = ?) AND (`b` = ?) | 1, 0");
    assert_eq!(condition(&SQLITE, &table, r#"{"b":1}"#), r#""b" = ? | 1"#);
}

#[test]
fn string_operators_escape_alike_in_every_dialect() {
    let orders = table(&[("a", Kind::Text)]);
    let filter = r#"{"a":{"$contains":"50%_!\\[x]*?"}}"#;
    for (dialect, expected) in [
        (&POSTGRES, r#""a" ILIKE $1 ESCAPE '!' | '%50!%!_!!\[x]*?%'"#),
        (&MYSQL, r#"LOWER(`a`) LIKE LOWER(?) ESCAPE '!' | '%50!%!_!!\[x]*?%'"#),
        (&SQLITE, r#"semilayer_fold("a") LIKE semilayer_fold(?) ESCAPE '!' | '%50!%!_!!\[x]*?%'"#),
        (&LIBSQL, r#"LOWER("a") LIKE LOWER(?) ESCAPE '!' | '%50!%!_!!\[x]*?%'"#),
        (&MSSQL, r#"LOWER([a]) LIKE LOWER(@p1) ESCAPE '!' | '%50!%!_!!\![x]*?%'"#),
        (&ORACLE, r#"LOWER("a") LIKE LOWER(:1) ESCAPE '!' | '%50!%!_!!\[x]*?%'"#),
        (&CLICKHOUSE, r#"`a` ILIKE {p0:String} | '%50\%\_!\\[x]*?%'"#),
        (&BIGQUERY, r#"LOWER(`a`) LIKE LOWER(?) | '%50\%\_!\\[x]*?%'"#),
        (&SNOWFLAKE, r#""a" ILIKE ? ESCAPE '!' | '%50!%!_!!\[x]*?%'"#),
        (&DUCKDB, r#""a" ILIKE ? ESCAPE '!' | '%50!%!_!!\[x]*?%'"#),
    ] {
        assert_eq!(condition(dialect, &orders, filter), expected, "{}", dialect.name);
    }
    let like = r#"{"a":{"$like":"a*[%_\\%"}}"#;
    assert_eq!(condition(&SQLITE, &orders, like), r#""a" GLOB ? | 'a[*][[]*?%'"#);
    assert_eq!(condition(&POSTGRES, &orders, like), r#""a" LIKE $1 ESCAPE '!' | 'a*[%_!%'"#);
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let filter = r#"{"a\"b`c]d?$1\\":1}"#;
    for (dialect, expected) in [
        (&POSTGRES, r#""a""b`c]d?$1\" = $1 | 1"#),
        (&MYSQL, r#"`a"b``c]d?$1\` = ? | 1"#),
        (&MSSQL, r#"[a"b`c]]d?$1\] = @p1 | 1"#),
        (&BIGQUERY, r#"`a"b\`c]d?$1\\` = ? | 1"#),
        (&CLICKHOUSE, r#"`a"b``c]d?$1\\` = {p0:Int64} | 1"#),
    ] {
        assert_eq!(condition(dialect, &table(&[]), filter), expected, "{}", dialect.name);
    }
}

#[test]
fn long_lists_become_what_the_engine_can_take() {
    let orders = table(&[("a", INT8)]);
    let filter = |count: usize| {
        let values: Vec<String> = (0..count).map(|value| value.to_string()).collect();
        format!(r#"{{"a":{{"$nin":[{}]}}}}"#, values.join(","))
    };
    let short = written(&SQLITE, &orders, &filter(3));
    assert!(short.text.ends_with(r#""a" NOT IN (?, ?, ?)"#), "{}", short.text);
    let long = written(&SQLITE, &orders, &filter(40_000));
    assert!(long.text.ends_with(r#""a" NOT IN (SELECT value FROM json_each(?))"#), "{}", long.text);
    let oracle = written(&ORACLE, &orders, &filter(1_001));
    assert!(oracle.text.contains(r#":1000) AND "a" NOT IN (:1001))"#));
    let options = CountOptions { filter: Filter::from_json(&filter(2_099)).unwrap() };
    assert_eq!(
        count(&MSSQL, &orders, &options).unwrap_err().to_string(),
        "where: expected at most 2098 values"
    );
}
