//! Every type of MySQL and MariaDB: how its values read, and that a value that was read finds its row again.
//!
//! This is the table of `docs/bridges/mysql.md` as a program.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it"
)]

#[path = "support/asking.rs"]
mod asking;
#[path = "support/database.rs"]
mod database;
#[path = "support/server.rs"]
mod server;

use asking::{json_rows, open, query};
use database::{Database, on_each_engine};
use serde_json::{Value, json};
use server::Engine;

/// A type, a value as SQL, the same as JSON, and whether it finds its row as an operand.
type Case = (&'static str, &'static str, &'static str, Finds);

/// Whether a value that was read finds its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finds {
    /// It does.
    Its,
    /// Not as an operand: it has no one text, or the calendar has no such day.
    Nothing,
}

use Finds::{Its, Nothing};

const CASES: &[Case] = &[
    ("TINYINT(1)", "TRUE", "1", Its),
    ("TINYINT", "-128", "-128", Its),
    ("TINYINT UNSIGNED", "255", "255", Its),
    ("SMALLINT", "-32768", "-32768", Its),
    ("SMALLINT UNSIGNED", "65535", "65535", Its),
    ("MEDIUMINT", "-8388608", "-8388608", Its),
    ("MEDIUMINT UNSIGNED", "16777215", "16777215", Its),
    ("INT", "-2147483648", "-2147483648", Its),
    ("INT UNSIGNED", "4294967295", "4294967295", Its),
    ("INT(5) UNSIGNED ZEROFILL", "42", "42", Its),
    ("BIGINT", "9007199254740991", "9007199254740991", Its),
    ("BIGINT", "9007199254740993", "\"9007199254740993\"", Its),
    ("BIGINT", "-9223372036854775808", "\"-9223372036854775808\"", Its),
    ("BIGINT UNSIGNED", "18446744073709551615", "\"18446744073709551615\"", Its),
    ("FLOAT", "0.1", "0.1", Its),
    ("FLOAT", "16777216", "16777216", Its),
    ("FLOAT", "1.2345678", "1.2345678", Its),
    ("DOUBLE", "0.1", "0.1", Its),
    ("DOUBLE", "-1.5e300", "-1.5e+300", Its),
    ("DECIMAL(10, 4)", "12345.6789", "\"12345.6789\"", Its),
    ("DECIMAL(10, 4)", "5", "\"5.0000\"", Its),
    ("DECIMAL(65, 30)", "-0.000000000000000000000000000001", "\"-0.000000000000000000000000000001\"", Its),
    ("BIT(1)", "b'1'", "1", Its),
    ("BIT(12)", "b'101010101010'", "2730", Its),
    ("BIT(64)", "18446744073709551615", "\"18446744073709551615\"", Its),
    ("YEAR", "2026", "2026", Its),
    ("YEAR", "0", "0", Its),
    ("DATE", "'2026-04-27'", "\"2026-04-27T00:00:00.000Z\"", Its),
    ("DATE", "'9999-12-31'", "\"9999-12-31T00:00:00.000Z\"", Its),
    ("DATE", "'0000-00-00'", "\"0000-00-00\"", Nothing),
    ("DATE", "'2026-02-00'", "\"2026-02-00\"", Nothing),
    ("DATETIME", "'2026-04-27 23:59:59'", "\"2026-04-27T23:59:59.000Z\"", Its),
    ("DATETIME(3)", "'1000-01-01 00:00:00.001'", "\"1000-01-01T00:00:00.001Z\"", Its),
    ("DATETIME(6)", "'2026-04-27 23:59:59.999999'", "\"2026-04-27T23:59:59.999999Z\"", Its),
    ("DATETIME(6)", "'9999-12-31 23:59:59.999999'", "\"9999-12-31T23:59:59.999999Z\"", Its),
    ("DATETIME", "'0000-00-00 00:00:00'", "\"0000-00-00 00:00:00\"", Nothing),
    ("TIMESTAMP NULL", "'1970-01-01 00:00:01'", "\"1970-01-01T00:00:01.000Z\"", Its),
    ("TIMESTAMP(6) NULL", "'2038-01-19 03:14:07.999999'", "\"2038-01-19T03:14:07.999999Z\"", Its),
    ("TIMESTAMP NULL", "'0000-00-00 00:00:00'", "\"0000-00-00 00:00:00\"", Nothing),
    ("TIME", "'12:34:56'", "\"12:34:56\"", Its),
    ("TIME(3)", "'01:02:03'", "\"01:02:03.000\"", Its),
    ("TIME(6)", "'00:00:00.000001'", "\"00:00:00.000001\"", Its),
    ("TIME", "'838:59:59'", "\"838:59:59\"", Nothing),
    ("TIME(6)", "'-838:59:58.000001'", "\"-838:59:58.000001\"", Nothing),
    ("CHAR(5)", "'ab'", "\"ab\"", Its),
    ("VARCHAR(20)", "'ünï 日本 🦀'", "\"ünï 日本 🦀\"", Its),
    ("VARCHAR(20) CHARACTER SET latin1", "'ünï'", "\"ünï\"", Its),
    ("TINYTEXT", "'it''s \"quoted\"'", "\"it's \\\"quoted\\\"\"", Its),
    ("TEXT", "CONCAT('a', CHAR(10), 'b', CHAR(0))", "\"a\\nb\\u0000\"", Its),
    ("MEDIUMTEXT", "''", "\"\"", Its),
    ("LONGTEXT", "'long'", "\"long\"", Its),
    ("BINARY(16)", "X'000102FF'", "\"AAEC/wAAAAAAAAAAAAAAAA==\"", Its),
    ("VARBINARY(20)", "X'00FF'", "\"AP8=\"", Its),
    ("TINYBLOB", "X''", "\"\"", Its),
    ("BLOB", "'text as bytes'", "\"dGV4dCBhcyBieXRlcw==\"", Its),
    ("MEDIUMBLOB", "X'FF'", "\"/w==\"", Its),
    ("LONGBLOB", "X'FF'", "\"/w==\"", Its),
    ("ENUM('small', 'it''s large')", "'it''s large'", "\"it's large\"", Its),
    ("SET('a', 'b', 'c')", "'c,a'", "\"a,c\"", Its),
    ("SET('a', 'b', 'c')", "''", "\"\"", Its),
    (
        "JSON",
        "'{\"a\": [1, 2.5, null], \"b\": \"\\\\\"q\\\\\"\"}'",
        "{\"a\": [1, 2.5, null], \"b\": \"\\\"q\\\"\"}",
        Nothing,
    ),
    ("JSON", "'null'", "null", Nothing),
    ("JSON", "'12345678901234567890'", "12345678901234567890", Its),
    (
        "POINT",
        "ST_GeomFromText('POINT(-71.0589 42.3601)')",
        "{\"type\":\"Point\",\"coordinates\":[-71.0589,42.3601]}",
        Nothing,
    ),
    (
        "GEOMETRY",
        "ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0), (0.2 0.1, 0.3 0.1, 0.3 0.2, 0.2 0.1))')",
        "{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,0],[1,1],[0,0]],[[0.2,0.1],[0.3,0.1],[0.3,0.2],[0.2,0.1]]]}",
        Nothing,
    ),
    (
        "GEOMETRY",
        "ST_GeomFromText('GEOMETRYCOLLECTION(LINESTRING(0 0, 1 1), MULTIPOINT(1 2, 3 4))')",
        "{\"type\":\"GeometryCollection\",\"geometries\":[{\"type\":\"LineString\",\"coordinates\":[[0,0],[1,1]]},{\"type\":\"MultiPoint\",\"coordinates\":[[1,2],[3,4]]}]}",
        Nothing,
    ),
];

const MYSQL_ONLY: &[Case] = &[
    ("VECTOR(3)", "STRING_TO_VECTOR('[1, -2.5, 0.1]')", "[1,-2.5,0.1]", Nothing),
    (
        "POINT SRID 4326",
        "ST_GeomFromText('POINT(42.3601 -71.0589)', 4326)",
        "{\"type\":\"Point\",\"coordinates\":[-71.0589,42.3601]}",
        Nothing,
    ),
];

const MARIADB_ONLY: &[Case] = &[
    ("UUID", "'0A0B0C0D-1111-4222-8333-444455556666'", "\"0a0b0c0d-1111-4222-8333-444455556666\"", Its),
    ("INET4", "'192.0.2.255'", "\"192.0.2.255\"", Its),
    ("INET6", "'2001:db8::1'", "\"2001:db8::1\"", Its),
    ("TEXT COMPRESSED", "REPEAT('ab', 3)", "\"ababab\"", Its),
];

const MARIADB_11_ONLY: &[Case] = &[
    ("VECTOR(3)", "VEC_FromText('[1, -2.5, 0.1]')", "[1,-2.5,0.1]", Nothing),
    ("TIMESTAMP(6) NULL", "'2106-02-07 06:28:15.999999'", "\"2106-02-07T06:28:15.999999Z\"", Its),
    ("VARCHAR(20) COLLATE uca1400_ai_ci", "'ünï 日本 🦀'", "\"ünï 日本 🦀\"", Its),
    ("ENUM('a', 'ß') COLLATE uca1400_german2_as_cs", "'ß'", "\"ß\"", Its),
];

fn cases(engine: Engine) -> impl Iterator<Item = &'static Case> {
    let own = match engine {
        Engine::Mysql => [MYSQL_ONLY, &[]],
        Engine::Mariadb => [MARIADB_ONLY, &[]],
        Engine::Mariadb11 => [MARIADB_ONLY, MARIADB_11_ONLY],
    };
    CASES.iter().chain(own.into_iter().flatten())
}

/// A table of every case: `id` and the value.
async fn fill(database: &Database) {
    let mut client = database.client().await;
    for (index, (kind, value, ..)) in cases(database.server.engine).enumerate() {
        use mysql_async::prelude::Queryable;
        for statement in [
            format!("CREATE TABLE t{index} (id INT PRIMARY KEY, v {kind})"),
            format!("INSERT INTO t{index} VALUES (1, {value}), (2, NULL)"),
        ] {
            client.query_drop(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_reads_exactly_and_finds_its_row_again() {
    on_each_engine("", async |database| {
        fill(database).await;
        let bridge = open(database).await;
        for (index, (kind, value, expected, finds)) in cases(database.server.engine).enumerate() {
            let target = format!("t{index}");
            let rows = json_rows(&*bridge, &target, json!({ "orderBy": { "id": "asc" } })).await.unwrap();
            let shown = [format!("{{\"id\":1,\"v\":{expected}}}"), "{\"id\":2,\"v\":null}".to_owned()];
            assert_eq!(rows, shown, "{kind} {value}");
            let operand: Value = serde_json::from_str(expected).unwrap();
            if operand.is_object() || operand.is_array() || operand.is_null() {
                continue;
            }
            let found = query(&*bridge, &target, json!({ "where": { "v": operand } })).await.unwrap();
            let expected_rows = usize::from(*finds == Its);
            assert_eq!(found.len(), expected_rows, "{kind} {value} by {operand}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_document_that_nobody_checked_is_a_string() {
    let database = Database::with(Engine::Mariadb, "CREATE TABLE t (id INT PRIMARY KEY, v JSON)").await;
    database.run("SET check_constraint_checks = 0;\nINSERT INTO t VALUES (1, '{\"a\": ')").await;
    let bridge = open(&database).await;
    let rows = query(&*bridge, "t", json!({})).await.unwrap();
    assert_eq!(rows, [json!({ "id": 1, "v": "{\"a\": " })]);
}

/// The zone of the process that runs the tests, and of the server's sessions, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_time_zone_changes_a_value() {
    let zone = zone();
    if zone.as_deref() != Some(ELSEWHERE) {
        let program = std::env::current_exe().unwrap();
        for test in ["every_type_reads_exactly_and_finds_its_row_again", "no_time_zone_changes_a_value"] {
            let mut child = tokio::process::Command::new(&program);
            let output = child.args(["--exact", test]).env("TZ", ELSEWHERE).output().await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        return;
    }
    on_each_engine("CREATE TABLE t (id INT PRIMARY KEY, v TIMESTAMP NULL)", async |database| {
        // 12:00 in a zone five hours before UTC.
        database.run("SET time_zone = '-05:00';\nINSERT INTO t VALUES (1, '2026-07-01 12:00:00')").await;
        let bridge = open(database).await;
        let rows = query(&*bridge, "t", json!({ "where": { "v": "2026-07-01T17:00:00Z" } })).await.unwrap();
        assert_eq!(rows, [json!({ "id": 1, "v": "2026-07-01T17:00:00.000Z" })]);
    })
    .await;
}

const ELSEWHERE: &str = "America/New_York";

#[expect(clippy::disallowed_methods, reason = "the zone of the process is what the test is about")]
fn zone() -> Option<String> {
    std::env::var("TZ").ok()
}
