//! Every type of PostgreSQL: how its values read, and that a value that was read finds its row again.
//!
//! This is the table of `docs/bridges/postgres.md` as a program.

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

use std::collections::{BTreeSet, HashMap};

use asking::{ample, collect, json_rows, open, query, texts};
use database::Database;
use protocol::AggregateOptions;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// A type, and what its values are in a row.
type Case = (&'static str, &'static [(&'static str, Reads)]);

/// What a value is in a row.
#[derive(Debug, Clone, Copy)]
enum Reads {
    /// This JSON.
    As(&'static str),
    /// A string: the server's text of the value.
    Text,
}

use Reads::{As, Text};

const NUMBERS: &[Case] = &[
    ("smallint", &[("-32768", As("-32768")), ("0", As("0")), ("32767", As("32767"))]),
    ("integer", &[("-2147483648", As("-2147483648")), ("2147483647", As("2147483647"))]),
    (
        "bigint",
        &[
            ("-9223372036854775808", As("\"-9223372036854775808\"")),
            ("9223372036854775807", As("\"9223372036854775807\"")),
            ("7", As("\"7\"")),
        ],
    ),
    (
        "real",
        &[
            ("0.1", As("0.1")),
            ("-0", As("0")),
            ("3.4028235e38", As("3.4028235e+38")),
            ("1e-45", As("1e-45")),
            ("5", As("5")),
            ("NaN", As("null")),
            ("-Infinity", As("null")),
        ],
    ),
    (
        "double precision",
        &[
            ("0.1", As("0.1")),
            ("-0", As("0")),
            ("1.7976931348623157e308", As("1.7976931348623157e+308")),
            ("5e-324", As("5e-324")),
            ("9007199254740993", As("9007199254740992")),
            ("NaN", As("null")),
            ("Infinity", As("null")),
        ],
    ),
    (
        "numeric",
        &[
            ("0", Text),
            ("0.00", As("\"0.00\"")),
            ("-12345.6789", As("\"-12345.6789\"")),
            ("1e100", Text),
            ("1e-100", Text),
            ("10000", As("\"10000\"")),
            ("0.00001", As("\"0.00001\"")),
            ("99999999999999999999999999999999.99999999999999999999", Text),
            ("NaN", As("null")),
            ("Infinity", As("null")),
        ],
    ),
    ("numeric(12, 3)", &[("5", As("\"5.000\"")), ("-999999999.999", As("\"-999999999.999\""))]),
    ("numeric(3, -2)", &[("12345", As("\"12300\""))]),
    ("money", &[("1234.5", Text), ("-0.05", Text)]),
    ("oid", &[("0", As("0")), ("4294967295", As("4294967295"))]),
    ("xid", &[("4294967295", As("4294967295"))]),
    ("cid", &[("7", As("7"))]),
    ("xid8", &[("18446744073709551615", Text)]),
];

const TEXTS: &[Case] = &[
    (
        "text",
        &[
            ("", As("\"\"")),
            ("plain", Text),
            ("quote \" backslash \\ slash /", Text),
            ("tab\tline\nbell\u{7}", As(r#""tab\tline\nbell\u0007""#)),
            ("ünï ☃ 𝄞", Text),
            ("NULL", Text),
        ],
    ),
    ("varchar(5)", &[("abcde", Text), ("", Text)]),
    ("char(5)", &[("ab", As("\"ab   \""))]),
    ("\"char\"", &[("x", Text)]),
    ("name", &[("a name", Text)]),
    ("citext", &[("MiXed", Text)]),
    ("xml", &[("<a b=\"c\">d</a>", Text)]),
    ("refcursor", &[("cursor", Text)]),
    ("mood", &[("sad", Text), ("it's \"fine\"", Text)]),
    ("tsvector", &[("a fat cat", Text)]),
    ("tsquery", &[("fat & !rat", Text)]),
    ("jsonpath", &[("$.a[*] ? (@ > 2)", Text)]),
];

const OTHERS: &[Case] = &[
    ("boolean", &[("true", As("true")), ("false", As("false"))]),
    ("bytea", &[(r"\x", As("\"\"")), (r"\x00ff10", As("\"AP8Q\"")), (r"\x61", As("\"YQ==\""))]),
    ("uuid", &[("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", As("\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\""))]),
    ("bit(4)", &[("1010", Text)]),
    ("bit varying", &[("", Text), ("101", Text)]),
    ("inet", &[("192.168.0.1/24", Text), ("::1", As("\"::1\"")), ("10.1.2.3", As("\"10.1.2.3\""))]),
    ("cidr", &[("10.0.0.0/8", Text), ("2001:db8::/32", Text)]),
    ("macaddr", &[("08:00:2b:01:02:03", Text)]),
    ("macaddr8", &[("08:00:2b:01:02:03:04:05", Text)]),
    (
        "json",
        &[
            (
                r#"{"a": [1, 2.50, null, "x\u0041"] , "big": 12345678901234567890.10}"#,
                As(r#"{"a": [1, 2.50, null, "x\u0041"] , "big": 12345678901234567890.10}"#),
            ),
            ("null", As("null")),
            ("\"text\"", As("\"text\"")),
        ],
    ),
    (
        "jsonb",
        &[
            (r#"{"b":1,"a":12345678901234567890.10}"#, As(r#"{"a": 12345678901234567890.10, "b": 1}"#)),
            ("[]", As("[]")),
        ],
    ),
    ("point", &[("(1.5,-2)", As(r#"{"x":1.5,"y":-2}"#)), ("(NaN,Infinity)", As(r#"{"x":null,"y":null}"#))]),
    ("circle", &[("<(1,2),3.5>", As(r#"{"x":1,"y":2,"radius":3.5}"#))]),
    ("line", &[("{1,2,3}", Text)]),
    ("lseg", &[("[(1,2),(3,4)]", Text)]),
    ("box", &[("(3,4),(1,2)", Text)]),
    ("path", &[("((1,2),(3,4))", Text)]),
    ("polygon", &[("((1,2),(3,4),(5,6))", Text)]),
    ("tid", &[("(3,4)", Text)]),
    ("pg_lsn", &[("16/B374D848", Text)]),
    ("pg_snapshot", &[("10:20:10,14,15", Text)]),
    ("txid_snapshot", &[("10:20:10,14,15", Text)]),
    ("regclass", &[("pg_catalog.pg_class", Text)]),
    ("regtype", &[("integer", Text)]),
    ("regproc", &[("now", Text)]),
    ("regprocedure", &[("abs(integer)", Text)]),
    ("regoper", &[("pg_catalog.!!", Text)]),
    ("regoperator", &[("+(integer,integer)", Text)]),
    ("regrole", &[("admin", Text)]),
    ("regnamespace", &[("public", Text)]),
    ("regconfig", &[("english", Text)]),
    ("regdictionary", &[("simple", Text)]),
    ("regcollation", &[("\"C\"", Text)]),
    ("int2vector", &[("1 2 3", Text)]),
    ("oidvector", &[("1 2", Text)]),
    ("hstore", &[("a=>1, b=>NULL", Text)]),
    ("ltree", &[("Top.Science", Text)]),
    ("pair", &[("(1,\"x y\")", Text)]),
    ("positive", &[("5", As("5"))]),
    ("posting", &[("2026-01-02", As("\"2026-01-02T00:00:00.000Z\""))]),
];

const TIMES: &[Case] = &[
    (
        "date",
        &[
            ("2026-01-02", As("\"2026-01-02T00:00:00.000Z\"")),
            ("1600-02-29", As("\"1600-02-29T00:00:00.000Z\"")),
            ("0001-01-01", As("\"0001-01-01T00:00:00.000Z\"")),
            ("0001-12-31 BC", As("\"0000-12-31T00:00:00.000Z\"")),
            ("4713-01-01 BC", As("\"-004712-01-01T00:00:00.000Z\"")),
            ("9999-12-31", As("\"9999-12-31T00:00:00.000Z\"")),
            ("10000-01-01", As("\"+010000-01-01T00:00:00.000Z\"")),
            ("5874897-12-31", As("\"+5874897-12-31T00:00:00.000Z\"")),
            ("infinity", As("null")),
            ("-infinity", As("null")),
        ],
    ),
    (
        "timestamp",
        &[
            ("2026-01-02 03:04:05", As("\"2026-01-02T03:04:05.000Z\"")),
            ("2026-01-02 03:04:05.678", As("\"2026-01-02T03:04:05.678Z\"")),
            ("2026-01-02 03:04:05.678901", As("\"2026-01-02T03:04:05.678901Z\"")),
            ("1969-12-31 23:59:59.999999", As("\"1969-12-31T23:59:59.999999Z\"")),
            ("4713-01-01 00:00:00 BC", As("\"-004712-01-01T00:00:00.000Z\"")),
            ("294276-12-31 23:59:59.999999", As("\"+294276-12-31T23:59:59.999999Z\"")),
            ("infinity", As("null")),
        ],
    ),
    (
        "timestamptz",
        &[
            ("2026-01-02 03:04:05+02", As("\"2026-01-02T01:04:05.000Z\"")),
            ("2026-01-02 03:04:05.000001-08", As("\"2026-01-02T11:04:05.000001Z\"")),
            ("-infinity", As("null")),
        ],
    ),
    ("time", &[("03:04:05", Text), ("23:59:59.999999", Text), ("24:00:00", Text)]),
    ("timetz", &[("03:04:05.5+02", Text)]),
    (
        "interval",
        &[
            ("0", As("{}")),
            (
                "1 year 2 mons 3 days 04:05:06.789",
                As(r#"{"years":1,"months":2,"days":3,"hours":4,"minutes":5,"seconds":6,"milliseconds":789}"#),
            ),
            ("00:00:00.000001", As(r#"{"milliseconds":0.001}"#)),
            ("-1 mons +5 days -00:00:01.5", As(r#"{"months":-1,"days":5,"seconds":-1,"milliseconds":-500}"#)),
            ("100 hours", As(r#"{"hours":100}"#)),
        ],
    ),
];

const ARRAYS: &[Case] = &[
    (
        "integer[]",
        &[("{}", As("[]")), ("{1,NULL,-3}", As("[1,null,-3]")), ("{{1,2},{3,4}}", As("[[1,2],[3,4]]"))],
    ),
    ("bigint[]", &[("{9007199254740993}", As("[\"9007199254740993\"]"))]),
    ("smallint[]", &[("{1}", As("[1]"))]),
    ("oid[]", &[("{1}", As("[1]"))]),
    ("numeric[]", &[("{1.50,NaN}", As("[\"1.50\",null]"))]),
    ("real[]", &[("{0.1}", As("[0.1]"))]),
    ("double precision[]", &[("{0.1,NaN}", As("[0.1,null]"))]),
    ("boolean[]", &[("{t,f,NULL}", As("[true,false,null]"))]),
    (
        "text[]",
        &[("{a,\"b c\",NULL,\"NULL\",\"q\\\"\\\\\",\"\"}", As(r#"["a","b c",null,"NULL","q\"\\",""]"#))],
    ),
    ("varchar[]", &[("{a}", As("[\"a\"]"))]),
    ("char(3)[]", &[("{a}", As("[\"a  \"]"))]),
    ("name[]", &[("{a}", As("[\"a\"]"))]),
    ("citext[]", &[("{A}", As("[\"A\"]"))]),
    ("mood[]", &[("{sad,\"it's \\\"fine\\\"\"}", As(r#"["sad","it's \"fine\""]"#))]),
    (
        "uuid[]",
        &[("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", As("[\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"]"))],
    ),
    ("bytea[]", &[(r#"{"\\x00ff"}"#, As("[\"AP8=\"]"))]),
    ("date[]", &[("{2026-01-02,infinity}", As("[\"2026-01-02T00:00:00.000Z\",null]"))]),
    ("timestamp[]", &[("{2026-01-02 03:04:05}", As("[\"2026-01-02T03:04:05.000Z\"]"))]),
    ("timestamptz[]", &[("{2026-01-02 03:04:05+02}", As("[\"2026-01-02T01:04:05.000Z\"]"))]),
    ("time[]", &[("{03:04:05}", As("[\"03:04:05\"]"))]),
    ("timetz[]", &[("{03:04:05+02}", As("[\"03:04:05+02\"]"))]),
    ("interval[]", &[("{1 day}", As(r#"[{"days":1}]"#))]),
    ("json[]", &[(r#"{"{\"a\": 1}"}"#, As(r#"[{"a": 1}]"#))]),
    ("jsonb[]", &[(r#"{"{\"a\": 1}"}"#, As(r#"[{"a": 1}]"#))]),
    ("inet[]", &[("{10.0.0.1}", As("[\"10.0.0.1\"]"))]),
    ("cidr[]", &[("{10.0.0.0/8}", As("[\"10.0.0.0/8\"]"))]),
    ("macaddr[]", &[("{08:00:2b:01:02:03}", As("[\"08:00:2b:01:02:03\"]"))]),
    ("bit(2)[]", &[("{10}", As("[\"10\"]"))]),
    ("bit varying[]", &[("{1}", As("[\"1\"]"))]),
    ("money[]", &[("{1.5}", As("[\"$1.50\"]"))]),
    ("point[]", &[("{\"(1,2)\"}", As(r#"[{"x":1,"y":2}]"#))]),
    ("circle[]", &[("{\"<(1,2),3>\"}", As(r#"[{"x":1,"y":2,"radius":3}]"#))]),
    ("box[]", &[("{(3,4),(1,2);(7,8),(5,6)}", Text)]),
    ("int4range[]", &[("{\"[1,3)\",empty}", As("[\"[1,3)\",\"empty\"]"))]),
    ("tsvector[]", &[("{'a'}", As("[\"'a'\"]"))]),
    ("pg_lsn[]", &[("{0/1}", As("[\"0/1\"]"))]),
    ("hstore[]", &[("{\"\\\"a\\\"=>\\\"1\\\"\"}", As(r#"["\"a\"=>\"1\""]"#))]),
    ("pair[]", &[("{\"(1,x)\"}", As("[\"(1,x)\"]"))]),
    ("positive[]", &[("{1,2}", As("[\"1\",\"2\"]"))]),
    ("numbers", &[("{1,2}", As("[1,2]"))]),
    ("xml[]", &[("{<a/>}", As("[\"<a/>\"]"))]),
    ("int4range", &[("[1,3)", Text), ("empty", Text)]),
    ("int8range", &[("(,5)", Text)]),
    ("numrange", &[("[1.5,2.5]", Text)]),
    ("tsrange", &[("[2026-01-01,2026-01-02)", Text)]),
    ("tstzrange", &[("[2026-01-01 00:00:00+00,)", Text)]),
    ("daterange", &[("[2026-01-01,2026-01-02)", Text)]),
    ("int4multirange", &[("{[1,3),[5,7)}", Text)]),
    ("int8multirange", &[("{}", Text)]),
    ("nummultirange", &[("{[1.5,2.5]}", Text)]),
    ("tsmultirange", &[("{}", Text)]),
    ("tstzmultirange", &[("{}", Text)]),
    ("datemultirange", &[("{[2026-01-01,2026-01-03)}", Text)]),
    ("span", &[("[1,2)", Text)]),
];

/// Types of our own, and extensions that come with PostgreSQL.
const MADE: &str = "
CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree;
CREATE TYPE mood AS ENUM ('sad', 'it''s \"fine\"');
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN day AS date;
CREATE DOMAIN posting AS day NOT NULL;
CREATE DOMAIN numbers AS integer[];
";

/// Beyond what an operand can say: instants after the year 294 246.
const NOT_COMPARED: [&str; 2] = ["5874897-12-31", "294276-12-31 23:59:59.999999"];

fn cases() -> impl Iterator<Item = &'static Case> {
    [NUMBERS, TEXTS, OTHERS, TIMES, ARRAYS].into_iter().flatten()
}

/// Makes the table `c<n>` for case n, with a row for each value and one for null; returns the server's texts.
async fn fill(database: &Database) {
    let client = database.client("admin").await;
    client.batch_execute(MADE).await.unwrap();
    for (number, (kind, values)) in cases().enumerate() {
        let table = format!("CREATE TABLE c{number} (id integer PRIMARY KEY, v {kind})");
        client.batch_execute(&table).await.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        for (id, (literal, _)) in values.iter().enumerate() {
            let literal = literal.replace('\'', "''");
            let insert = format!("INSERT INTO c{number} VALUES ({id}, '{literal}')");
            client.batch_execute(&insert).await.unwrap_or_else(|error| panic!("{kind} {literal}: {error:?}"));
        }
    }
    client.batch_execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_reads_as_the_table_says_and_finds_its_row_again() {
    let database = Database::create().await;
    fill(&database).await;
    let bridge = open(database.config()).await;
    let other = database.client("admin").await;
    let mut wrong = Vec::new();
    for (number, (kind, values)) in cases().enumerate() {
        let table = format!("c{number}");
        let rows = json_rows(&*bridge, &table, json!({"select": ["v"], "orderBy": {"field": "id"}})).await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                wrong.push(format!("{kind}: {error}"));
                continue;
            }
        };
        assert_eq!(rows.len(), values.len(), "{kind}");
        for (id, ((literal, reads), row)) in values.iter().zip(rows).enumerate() {
            let got = row.strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap();
            let expected = match reads {
                As(json) => (*json).to_owned(),
                Text => {
                    let sql = format!("SELECT v::text FROM c{number} WHERE id = {id}");
                    let text: String = other.query_one(&sql, &[]).await.unwrap().get(0);
                    serde_json::to_string(&text).unwrap()
                }
            };
            if got != expected {
                wrong.push(format!("{kind} {literal}: got {got}, expected {expected}"));
            }
            let value: Value = serde_json::from_str(got).unwrap();
            let has_no_operand = value.is_null() || value.is_array() || value.is_object();
            if has_no_operand || kind.starts_with("json") || NOT_COMPARED.contains(literal) {
                continue;
            }
            let found =
                query(&*bridge, &table, json!({"where": {"v": {"$eq": value}}, "select": ["id"]})).await;
            let ids: Vec<_> = match found {
                Ok(rows) => rows.iter().map(|row| row["id"].as_u64().unwrap()).collect(),
                Err(error) => {
                    wrong.push(format!("{kind} = {value}: {error}"));
                    continue;
                }
            };
            if !ids.contains(&(id as u64)) {
                wrong.push(format!("{kind} = {value} finds {ids:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_every_type_that_a_column_can_have() {
    /// Types that only the server's own catalogs fill.
    const CATALOG_ONLY: [&str; 8] = [
        "aclitem",
        "gtsvector",
        "pg_brin_bloom_summary",
        "pg_brin_minmax_multi_summary",
        "pg_dependencies",
        "pg_mcv_list",
        "pg_ndistinct",
        "pg_node_tree",
    ];
    let database = Database::create().await;
    let client = database.client("admin").await;
    client.batch_execute(MADE).await.unwrap();
    let mut covered = BTreeSet::new();
    for (kind, _) in cases() {
        let name: String = client
            .query_one("SELECT typname::text FROM pg_type WHERE oid = $1::text::regtype", &[kind])
            .await
            .unwrap()
            .get(0);
        covered.insert(name);
    }
    let all = "SELECT typname::text FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace \
        AND typtype IN ('b', 'r', 'm') AND typelem = 0 OR typname IN ('point', 'box', 'lseg', 'line', 'name', 'int2vector', 'oidvector')";
    let all: BTreeSet<String> = texts(&client, all).await.into_iter().collect();
    let missing: Vec<_> = all
        .iter()
        .filter(|name| !covered.contains(*name) && !CATALOG_ONLY.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_are_null_in_every_type() {
    let database = Database::create().await;
    let client = database.client("admin").await;
    client.batch_execute(MADE).await.unwrap();
    let columns: Vec<_> = cases()
        .filter(|(kind, _)| *kind != "posting")
        .enumerate()
        .map(|(number, (kind, _))| format!("c{number} {kind}"))
        .collect();
    client
        .batch_execute(&format!("CREATE TABLE nulls (id integer PRIMARY KEY, {})", columns.join(", ")))
        .await
        .unwrap();
    client.batch_execute("INSERT INTO nulls VALUES (1); GRANT SELECT ON nulls TO app").await.unwrap();
    let bridge = open(database.config()).await;
    let rows = query(&*bridge, "nulls", json!({})).await.unwrap();
    let row = rows[0].as_object().unwrap();
    assert_eq!(row.len(), columns.len() + 1);
    assert!(row.iter().all(|(name, value)| name == "id" || value.is_null()), "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numerics_as_long_as_they_come_are_exact() {
    let database = Database::with(
        "CREATE VIEW long AS SELECT n AS id, v FROM (VALUES
            (1, repeat('9', 131072)::numeric),
            (2, ('-0.' || repeat('0', 16382) || '1')::numeric),
            (3, (repeat('1234567890', 10) || '.' || repeat('0987654321', 10))::numeric)) AS t(n, v)",
    )
    .await;
    let bridge = open(database.config()).await;
    let rows = query(&*bridge, "long", json!({"orderBy": {"field": "id"}})).await.unwrap();
    let read: Vec<_> = rows.iter().map(|row| row["v"].as_str().unwrap().to_owned()).collect();
    let client = database.client("app").await;
    assert_eq!(read, texts(&client, "SELECT v::text FROM long ORDER BY id").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_counted_and_searched_as_they_read_in_rows() {
    // The server breaks its base64 of more than 57 bytes into lines.
    let database = Database::with(
        r"CREATE TABLE t (id integer PRIMARY KEY, v bytea);
        INSERT INTO t VALUES (1, '\xff01'), (2, decode(repeat('fb', 100), 'hex')), (3, '\xff01')",
    )
    .await;
    let bridge = open(database.config()).await;
    let asked = json!({ "measures": { "top": { "agg": "top_k", "column": "v", "k": 2 } } });
    let asked = AggregateOptions::parse(&to_raw_value(&asked).unwrap()).unwrap();
    let (batches, _) = collect(bridge.aggregate(&ample(), "t", asked).await.unwrap()).await.unwrap();
    let bucket: Value = serde_json::from_str(&batches.concat()).unwrap();
    let rows = query(&*bridge, "t", json!({ "orderBy": { "field": "id" } })).await.unwrap();
    assert_eq!(
        bucket["measures"]["top"],
        json!([{ "key": rows[0]["v"], "count": 2 }, { "key": rows[1]["v"], "count": 1 }])
    );
    let found = query(&*bridge, "t", json!({ "where": { "v": { "$startsWith": "+/v7" } } })).await.unwrap();
    assert_eq!(found, [rows[1].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_values_read_as_the_server_writes_them() {
    // The server's own JSON is another way to the same values.
    let database = Database::with(
        "CREATE TABLE random_values AS SELECT n AS id,
            (random() * 4294967295 - 2147483648)::int8::int4 AS i4, random()::real * 1e6::real AS f4,
            (random() - 0.5) * 10::float8 ^ (random() * 600 - 300) AS f8,
            ((random() - 0.5)::numeric * 10::numeric ^ (n % 40))::numeric(60, 20) AS dec,
            '2000-01-01Z'::timestamptz + (random() - 0.5) * interval '8000 years' AS at,
            '2000-01-01'::date + ((random() - 0.5) * 2000000)::int AS day,
            gen_random_uuid() AS uid, random() < 0.5 AS yes,
            (SELECT string_agg(chr((random() * 1000)::int + 1), '') FROM generate_series(1, n % 20)) AS txt
        FROM generate_series(1, 2000) n",
    )
    .await;
    let bridge = open(database.config()).await;
    let rows = json_rows(&*bridge, "random_values", json!({"orderBy": {"field": "id"}})).await.unwrap();
    let client = database.client("app").await;
    let text = "SELECT json_build_object('id', id::text, 'i4', i4::text, 'f4', f4::text, 'f8', f8::text, 'dec', dec::text,
            'at', (extract(epoch FROM at) * 1000000)::bigint::text,
            'day', (extract(epoch FROM day) * 1000000)::bigint::text,
            'uid', uid::text, 'yes', yes::text, 'txt', coalesce(txt, '(null)'))::text
        FROM random_values ORDER BY id";
    for (row, expected) in rows.iter().zip(texts(&client, text).await) {
        let row: HashMap<String, Box<RawValue>> = serde_json::from_str(row).unwrap();
        let expected: HashMap<String, String> = serde_json::from_str(&expected).unwrap();
        let text = |field: &str| serde_json::from_str(row[field].get()).unwrap_or("(null)".to_owned());
        for field in ["id", "i4", "yes"] {
            assert_eq!(row[field].get(), expected[field], "{field}");
        }
        for field in ["dec", "uid", "txt"] {
            assert_eq!(text(field), expected[field], "{field}");
        }
        assert_eq!(row["f4"].get().parse::<f32>(), expected["f4"].parse::<f32>());
        assert_eq!(row["f8"].get().parse::<f64>(), expected["f8"].parse::<f64>());
        for field in ["at", "day"] {
            let instant = protocol::Timestamp::parse(&text(field)).unwrap();
            assert_eq!(instant.micros().to_string(), expected[field], "{field} {instant}");
        }
    }
    assert_eq!(rows.len(), 2_000);
}
