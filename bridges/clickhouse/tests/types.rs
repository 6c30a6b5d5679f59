//! Every type of ClickHouse: how its values read, and that a value that was read finds its row again.
//!
//! This is the table of `docs/bridges/clickhouse.md` as a program.

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
use database::Database;
use serde_json::{Value, json};

/// A type, and expressions with what they are in a row.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

/// Values that find their row again.
const FOUND: &[Case] = &[
    ("Int8", &[("-128", "-128"), ("127", "127")]),
    ("Int16", &[("-32768", "-32768")]),
    ("Int32", &[("-2147483648", "-2147483648")]),
    (
        "Int64",
        &[
            ("-9223372036854775808", "\"-9223372036854775808\""),
            ("9007199254740991", "9007199254740991"),
            ("9007199254740992", "\"9007199254740992\""),
        ],
    ),
    ("UInt8", &[("255", "255")]),
    ("UInt16", &[("65535", "65535")]),
    ("UInt32", &[("4294967295", "4294967295")]),
    ("UInt64", &[("18446744073709551615", "\"18446744073709551615\""), ("7", "7")]),
    (
        "Int128",
        &[("'-170141183460469231731687303715884105728'", "\"-170141183460469231731687303715884105728\"")],
    ),
    (
        "UInt128",
        &[("'340282366920938463463374607431768211455'", "\"340282366920938463463374607431768211455\"")],
    ),
    (
        "Int256",
        &[("'-12345678901234567890123456789012345678901'", "\"-12345678901234567890123456789012345678901\"")],
    ),
    (
        "UInt256",
        &[
            ("5", "\"5\""),
            (
                "'115792089237316195423570985008687907853269984665640564039457584007913129639935'",
                "\"115792089237316195423570985008687907853269984665640564039457584007913129639935\"",
            ),
            (
                "'115792089237316195423570985008687907853269984665640564039457584007913129639934'",
                "\"115792089237316195423570985008687907853269984665640564039457584007913129639934\"",
            ),
        ],
    ),
    ("Float32", &[("0.1", "0.1"), ("5", "5")]),
    ("Float64", &[("0.1", "0.1"), ("-1.5e300", "-1.5e+300")]),
    ("BFloat16", &[("1.5", "1.5")]),
    ("Decimal(9, 2)", &[("'5'", "\"5.00\""), ("'-0.05'", "\"-0.05\"")]),
    ("Decimal(18, 4)", &[("'12345678901234.5678'", "\"12345678901234.5678\"")]),
    ("Decimal(38, 10)", &[("'-1234567890123456789.0123456789'", "\"-1234567890123456789.0123456789\"")]),
    ("Decimal(76, 5)", &[("'12345678901234567890123456789.5'", "\"12345678901234567890123456789.50000\"")]),
    (
        "Decimal(76, 70)",
        &[
            ("'1.5'", "\"1.5000000000000000000000000000000000000000000000000000000000000000000000\""),
            (
                "'-1.0000000000000000000000000000000000000000000000000000000000000000000001'",
                "\"-1.0000000000000000000000000000000000000000000000000000000000000000000001\"",
            ),
        ],
    ),
    (
        "Decimal(76, 0)",
        &[(
            "'9999999999999999999999999999999999999999999999999999999999999999999999999999'",
            "\"9999999999999999999999999999999999999999999999999999999999999999999999999999\"",
        )],
    ),
    ("Bool", &[("true", "true"), ("false", "false")]),
    ("String", &[("'ünï \"q\" \\\\ \\n'", r#""ünï \"q\" \\ \n""#), ("''", "\"\"")]),
    ("LowCardinality(String)", &[("'low'", "\"low\"")]),
    ("LowCardinality(Nullable(String))", &[("'low'", "\"low\"")]),
    ("Nullable(Int32)", &[("5", "5")]),
    ("FixedString(5)", &[("'ab'", "\"ab\"")]),
    ("UUID", &[("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"")]),
    ("Date", &[("'2026-04-27'", "\"2026-04-27T00:00:00.000Z\"")]),
    ("Date32", &[("'1925-01-01'", "\"1925-01-01T00:00:00.000Z\"")]),
    ("DateTime", &[("toDateTime('2026-04-27 12:30:00', 'UTC')", "\"2026-04-27T12:30:00.000Z\"")]),
    ("DateTime('Asia/Tokyo')", &[("'2026-04-27 12:30:00'", "\"2026-04-27T03:30:00.000Z\"")]),
    ("DateTime64(3, 'America/New_York')", &[("'2026-04-27 12:30:00.123'", "\"2026-04-27T16:30:00.123Z\"")]),
    ("DateTime64(6, 'UTC')", &[("'1969-12-31 23:59:59.000001'", "\"1969-12-31T23:59:59.000001Z\"")]),
    ("Enum8('a' = -1, 'it\\'s' = 2)", &[("'it\\'s'", "\"it's\"")]),
    ("Enum16('x' = 1000)", &[("'x'", "\"x\"")]),
    ("IPv4", &[("'127.0.0.1'", "\"127.0.0.1\"")]),
    ("IPv6", &[("'::1'", "\"::1\""), ("'2001:db8::ff'", "\"2001:db8::ff\"")]),
    ("Time", &[("'12:30:01'", "\"12:30:01\"")]),
    ("Time64(3)", &[("'12:30:01.5'", "\"12:30:01.500\"")]),
    ("SimpleAggregateFunction(sum, Int64)", &[("5", "5")]),
];

/// Values that are read, but for which there is no operand.
const SHOWN: &[Case] = &[
    ("Float32", &[("nan", "null"), ("inf", "null")]),
    ("Float64", &[("-inf", "null"), ("-0.0", "0")]),
    ("Nullable(String)", &[("NULL", "null")]),
    ("String", &[("unhex('61ff62')", "\"a\u{fffd}b\"")]),
    ("DateTime64(9, 'UTC')", &[("'2026-04-27 12:30:00.123456789'", "\"2026-04-27T12:30:00.123456789Z\"")]),
    ("Array(UInt64)", &[("[1, 18446744073709551615]", "[1,\"18446744073709551615\"]"), ("[]", "[]")]),
    ("Array(Nullable(String))", &[("['a', NULL]", "[\"a\",null]")]),
    ("Array(Array(Int8))", &[("[[1], []]", "[[1],[]]")]),
    ("Tuple(Int8, String)", &[("(1, 'x')", "[1,\"x\"]")]),
    ("Tuple(a Int8, `b c` String)", &[("(1, 'x')", "{\"a\":1,\"b c\":\"x\"}")]),
    ("Map(String, Array(Int8))", &[("map('k', [1], 'l', [])", "{\"k\":[1],\"l\":[]}")]),
    ("Map(UInt8, Nullable(Bool))", &[("map(5, NULL)", "{\"5\":null}")]),
    // The server finds the first one.
    ("Map(String, Int8)", &[("map('a', 1, 'b', 2, 'a', 3)", "{\"a\":1,\"b\":2}")]),
    ("Point", &[("(1.5, 2)", "[1.5,2]")]),
    ("Polygon", &[("[[(1, 2), (3, 4)]]", "[[[1,2],[3,4]]]")]),
    ("IntervalDay", &[("INTERVAL 5 DAY", "5")]),
    (
        "JSON",
        &[(
            "'{\"a\":{\"b\":9007199254740993},\"c\":[1,\"x\"]}'",
            "{\"a\":{\"b\":9007199254740993},\"c\":[1,\"x\"]}",
        )],
    ),
    ("Dynamic", &[("5::Int64", "5"), ("'x'", "\"x\""), ("NULL", "null")]),
    ("Variant(Int64, String)", &[("'x'", "\"x\""), ("5::Int64", "5"), ("unhex('61ff62')", "\"a\u{fffd}b\"")]),
    ("Array(JSON)", &[("['{\"a\":1}']", "[{\"a\":1}]")]),
    ("AggregateFunction(sum, Int64)", &[("sumState(5::Int64)", "\"BQAAAAAAAAA=\"")]),
    ("QBit(Float32, 4)", &[("[1, 2, 3, 4]", "[1,2,3,4]")]),
];

/// A table of its own for each type: a bridge believes for a while that a table is what it was.
fn create(database: &Database, number: usize, kind: &str, expressions: &[(&str, &str)]) -> String {
    let table = format!("typed_{number}");
    database.run(&format!("CREATE TABLE {table} (id Int32, v {kind}) ENGINE = MergeTree ORDER BY id"));
    for (id, (expression, _)) in expressions.iter().enumerate() {
        database.run(&format!("INSERT INTO {table} SELECT {id}, {expression}"));
    }
    table
}

/// How each value reads, and whether it and the others of its column can be asked for, counted and ordered.
async fn check(cases: &[Case], found: bool) {
    let database = Database::create();
    let bridge = open(database.config()).await;
    for (number, (kind, expressions)) in cases.iter().enumerate() {
        let table = create(&database, number, kind, expressions);
        for (id, (expression, expected)) in expressions.iter().enumerate() {
            let rows = json_rows(&*bridge, &table, json!({ "where": { "id": id } })).await;
            let rows = rows.unwrap_or_else(|error| panic!("{kind} {expression}: {error}"));
            assert_eq!(rows, [format!("{{\"id\":{id},\"v\":{expected}}}")], "{kind} {expression}");
            if found {
                let value: Value = serde_json::from_str(expected).unwrap();
                let asked = json!({ "where": { "v": value }, "select": ["id"] });
                let rows =
                    query(&*bridge, &table, asked).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
                assert!(rows.contains(&json!({ "id": id })), "{kind} = {expected}: {rows:?}");
                let one = json!({ "where": { "v": value }, "select": ["id"], "orderBy": { "id": "asc" } });
                let listed =
                    json!({ "where": { "v": { "$in": [value, null] } }, "select": ["id"], "keyset": true });
                let listed = query(&*bridge, &table, listed).await;
                let listed = listed.unwrap_or_else(|error| panic!("{kind} $in: {error}"));
                assert_eq!(listed, query(&*bridge, &table, one).await.unwrap(), "{kind} $in {expected}");
                assert_eq!(listed.len(), 1, "{kind} = {expected}");
            }
        }
        let page = json!({ "keyset": true, "limit": 1 });
        query(&*bridge, &table, page).await.unwrap_or_else(|error| panic!("a page of {kind}: {error}"));
        let text = json!({ "where": { "v": { "$contains": "x" } } });
        query(&*bridge, &table, text).await.unwrap_or_else(|error| panic!("$contains on {kind}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_read_exactly_and_find_their_rows() {
    check(FOUND, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_without_an_operand_read_exactly() {
    check(SHOWN, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_base64_where_the_source_says_so() {
    let database = Database::create();
    let mut config = database.config();
    config["binaryColumns"] = "typed_0.v, typed_1.v, typed_2.v".into();
    let bridge = open(config).await;
    for (number, kind) in ["String", "Nullable(String)", "FixedString(3)"].iter().enumerate() {
        let table = create(&database, number, kind, &[("unhex('00ff61')", "")]);
        let rows = query(&*bridge, &table, json!({ "where": { "v": "AP9h" } })).await.unwrap();
        assert_eq!(rows, [json!({ "id": 0, "v": "AP9h" })], "{kind}");
    }
}

/// The zone of the process, and that of the session where the role may say it.
#[tokio::test(flavor = "multi_thread")]
async fn no_time_zone_changes_a_value() {
    let database = Database::with(
        "CREATE TABLE zoned (id Int32, plain DateTime, tokyo DateTime('Asia/Tokyo'), day Date) ENGINE = MergeTree ORDER BY id;
        INSERT INTO zoned SELECT 1, toDateTime(1777293000, 'UTC'), toDateTime(1777293000, 'UTC'), '2026-04-27'",
    );
    let expected = r#"{"id":1,"plain":"2026-04-27T12:30:00.000Z","tokyo":"2026-04-27T12:30:00.000Z","day":"2026-04-27T00:00:00.000Z"}"#;
    for role in ["app", "reader"] {
        let bridge = open(database.config_of(role)).await;
        for filter in [
            json!({ "plain": "2026-04-27T12:30:00Z" }),
            json!({ "tokyo": "2026-04-27T12:30:00Z" }),
            json!({ "day": "2026-04-27" }),
        ] {
            let rows = json_rows(&*bridge, "zoned", json!({ "where": filter })).await.unwrap();
            assert_eq!(rows, [expected], "{role} {filter}");
        }
    }
    #[expect(clippy::disallowed_methods, reason = "the test starts itself again under another zone")]
    let zone = std::env::var("TZ").unwrap_or_default();
    if zone != "Pacific/Auckland" {
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["no_time_zone_changes_a_value", "--exact"])
            .env("TZ", "Pacific/Auckland")
            .output()
            .unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    }
}
