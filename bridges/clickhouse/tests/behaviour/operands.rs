//! Operands that are beyond their column, longer than it, or very many.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bridge_core::Bridge;
use serde_json::{Value, json};

use crate::asking::{open, query};
use crate::database::Database;
use crate::failing::request;
use crate::server::server;

async fn ids(bridge: &dyn Bridge, target: &str, filter: Value) -> Vec<i64> {
    let asked = json!({ "where": filter, "select": ["id"], "orderBy": { "id": "asc" } });
    let rows = query(bridge, target, asked).await.unwrap_or_else(|error| panic!("{filter}: {error}"));
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_any_width_are_compared_exactly() {
    const MOST: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    const NEXT: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639934";
    const BEYOND: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
    let database = Database::with(&format!(
        "CREATE TABLE wide (id Int32, u UInt256, d Decimal(76, 70), p Decimal(9, 2)) ENGINE = MergeTree ORDER BY id;
        INSERT INTO wide VALUES (1, '{MOST}', '123456.5', '1.50'), (2, '{NEXT}', '-1.5', '-0.05'), (3, '0', '0', '0')"
    ));
    let bridge = open(database.config()).await;
    for (filter, expected) in [
        (json!({ "u": MOST }), [1].as_slice()),
        (json!({ "u": { "$in": [MOST, 0] } }), &[1, 3]),
        (json!({ "u": { "$nin": [MOST, 0] } }), &[2]),
        (json!({ "u": { "$gt": NEXT } }), &[1]),
        (json!({ "u": { "$lte": BEYOND } }), &[1, 2, 3]),
        (json!({ "u": { "$gt": BEYOND } }), &[]),
        (json!({ "u": { "$gt": -5 } }), &[1, 2, 3]),
        (json!({ "u": { "$lt": 0.5 } }), &[3]),
        (json!({ "u": { "$gt": -0.5 } }), &[1, 2, 3]),
        (json!({ "d": { "$gt": 1_000_000_000 } }), &[]),
        (json!({ "d": { "$lt": "1e-75" } }), &[2, 3]),
        (json!({ "d": { "$in": ["123456.50", 0] } }), &[1, 3]),
        (json!({ "p": { "$in": [1.5, 1.505, -0.05] } }), &[1, 2]),
        (json!({ "p": { "$gt": -0.055 } }), &[1, 2, 3]),
        (json!({ "p": { "$lt": -0.045 } }), &[2]),
        (json!({ "p": { "$ne": 1.505 } }), &[1, 2, 3]),
    ] {
        assert_eq!(ids(&*bridge, "wide", filter.clone()).await, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_beyond_a_column_of_nanoseconds_lies_on_one_side_of_it() {
    let database = Database::with(
        "CREATE TABLE nanos (id Int32, ts DateTime64(9, 'UTC')) ENGINE = MergeTree ORDER BY id;
        INSERT INTO nanos VALUES (1, '1900-01-01 00:00:00'), (2, '2262-04-11 23:47:16.854775807')",
    );
    let bridge = open(database.config()).await;
    for (filter, expected) in [
        (json!({ "ts": { "$lt": "9999-12-31T00:00:00Z" } }), [1, 2].as_slice()),
        (json!({ "ts": { "$gte": "2262-04-12T00:00:00Z" } }), &[]),
        (json!({ "ts": { "$gt": "0001-01-01T00:00:00Z" } }), &[1, 2]),
        (json!({ "ts": { "$in": ["1900-01-01T00:00:00Z", "3000-01-01T00:00:00Z"] } }), &[1]),
        (json!({ "ts": { "$ne": "3000-01-01T00:00:00Z" } }), &[1, 2]),
    ] {
        assert_eq!(ids(&*bridge, "nanos", filter.clone()).await, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zeros_that_fill_a_text_up_are_no_part_of_it() {
    let database = Database::with(
        "CREATE TABLE padded (id Int32, v FixedString(5)) ENGINE = MergeTree ORDER BY id;
        INSERT INTO padded VALUES (1, 'ab'), (2, 'abcde'), (3, '')",
    );
    let bridge = open(database.config()).await;
    for (filter, expected) in [
        (json!({ "v": { "$endsWith": "b" } }), [1].as_slice()),
        (json!({ "v": { "$ilike": "AB" } }), &[1]),
        (json!({ "v": { "$in": ["ab", "longer than it"] } }), &[1]),
        (json!({ "v": { "$nin": ["longer than it"] } }), &[1, 2, 3]),
        (json!({ "v": { "$gt": "ab" } }), &[2]),
        (json!({ "v": "" }), &[3]),
    ] {
        assert_eq!(ids(&*bridge, "padded", filter.clone()).await, expected, "{filter}");
    }
}

/// Fields of a form, and bytes of one, that a server of 26.9 takes; the front that stands in for it takes any.
const MOST_FIELDS: usize = 1_000;
const MOST_BYTES: usize = 128 * 1024;

/// Passes requests on to the server, and notes those whose forms it would refuse.
fn strict() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&refused);
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut server = TcpStream::connect(("127.0.0.1", server().port)).unwrap();
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            let noted = Arc::clone(&noted);
            std::thread::spawn(move || {
                while let Some(asked) = request(&mut client) {
                    noted.lock().unwrap().extend(mistake_of(&asked));
                    server.write_all(asked.as_bytes()).unwrap();
                }
            });
        }
    });
    (port, refused)
}

fn mistake_of(asked: &str) -> Option<String> {
    let boundary = asked.split("boundary=").nth(1)?.lines().next()?;
    let fields: Vec<&str> = asked.split(&format!("--{boundary}")).skip(1).collect();
    if fields.len() > MOST_FIELDS {
        return Some(format!("{} fields", fields.len()));
    }
    fields
        .iter()
        .map(|field| field.len())
        .find(|bytes| *bytes > MOST_BYTES)
        .map(|bytes| format!("{bytes} bytes"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_values_of_any_type_are_within_what_a_server_takes() {
    let database = Database::with(
        "CREATE TABLE many (id Int64, s String, d Decimal(18, 4), ts DateTime, ms Nullable(DateTime64(3)))
            ENGINE = MergeTree ORDER BY id;
        INSERT INTO many SELECT number, concat(toString(number), repeat('x', 40)), number, toDateTime(number, 'UTC'),
            if(number = 0, NULL, toDateTime64(number, 3)) FROM numbers(20000)",
    );
    let (port, refused) = strict();
    let mut config = database.config();
    config["port"] = port.into();
    let bridge = open(config).await;
    let clock = |at: i64| format!("1970-01-01T{:02}:{:02}:{:02}Z", at / 3_600, at / 60 % 60, at % 60);
    for (column, values) in [
        ("id", (0..10_000).map(|at| json!(at)).collect::<Vec<_>>()),
        ("s", (0..10_000).map(|at| json!(format!("{at}{}", "x".repeat(40)))).collect()),
        ("d", (0..10_000).map(|at| json!(at)).collect()),
        ("ts", (0..10_000).map(|at| json!(clock(at))).collect()),
        ("ms", (0..10_000).map(|at| json!(clock(at))).collect()),
    ] {
        let has_null = column == "ms";
        let some = ids(&*bridge, "many", json!({ column: { "$in": values } })).await;
        assert_eq!(some, (i64::from(has_null)..10_000).collect::<Vec<_>>(), "{column}");
        let others = ids(&*bridge, "many", json!({ column: { "$nin": values } })).await;
        assert_eq!(others, (10_000..20_000).collect::<Vec<_>>(), "{column}");
        assert_eq!(*refused.lock().unwrap(), Vec::<String>::new(), "{column}");
    }
    let conditions: Vec<Value> = (0..1_500).map(|at| json!({ "id": at })).collect();
    let too_many = query(&*bridge, "many", json!({ "where": { "$or": conditions } })).await;
    assert!(matches!(too_many, Err(bridge_core::BridgeError::Invalid(_))), "{too_many:?}");
    assert_eq!(*refused.lock().unwrap(), Vec::<String>::new());
}
