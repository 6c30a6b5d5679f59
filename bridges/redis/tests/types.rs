//! Everything that Redis can hold, and the exact rows that come of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test may fail it, too"
)]

#[path = "support/asking.rs"]
mod asking;
#[path = "support/server.rs"]
mod server;

use std::process::Command;

use asking::{aggregate, collect, count, open, options, query, read, texts};
use serde_json::json;
use server::Prefix;

/// The rows of a target as text, sorted, with its name taken out.
async fn rows(prefix: &Prefix) -> Vec<String> {
    let bridge = open(prefix.config()).await;
    let stream = bridge.query(&asking::ample(), &prefix.name, options(json!({}))).await.unwrap();
    let (batches, _) = collect(stream).await.unwrap();
    let text = format!("[{}]", batches.join(",")).replace(&prefix.name, "t");
    let rows: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&text).unwrap();
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.get().to_owned()).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn strings_are_rows() {
    let prefix = Prefix::new();
    for (name, value) in [
        (
            "a",
            r#"{"id":1,"name":"Ünï","tags":["x"],"big":9007199254740993,"at":"2026-01-02T03:04:05Z","_key":"no"}"#,
        ),
        ("b", "{ \"spaced\" : [ 1 , 2 ] ,\n \"n\" : null }"),
        ("c", "plain text\n"),
        ("d", "12.50"),
        ("e", "-9223372036854775808"),
        ("f", "[true,false]"),
        ("g", ""),
        ("h", "{\"broken\":"),
    ] {
        prefix.set(name, value);
    }
    prefix.set("i", &[0xff_u8, 0xfe][..]);
    let expected = [
        r#"{"_key":"t:a","id":1,"name":"Ünï","tags":["x"],"big":"9007199254740993","at":"2026-01-02T03:04:05Z"}"#,
        r#"{"_key":"t:b","spaced":[1,2],"n":null}"#,
        r#"{"_key":"t:c","value":"plain text\n"}"#,
        r#"{"_key":"t:d","value":12.50}"#,
        r#"{"_key":"t:e","value":"-9223372036854775808"}"#,
        r#"{"_key":"t:f","value":[true,false]}"#,
        r#"{"_key":"t:g","value":""}"#,
        r#"{"_key":"t:h","value":"{\"broken\":"}"#,
        r#"{"_key":"t:i","value":"//4=","_base64":["value"]}"#,
    ];
    assert_eq!(rows(&prefix).await, expected);
}

#[tokio::test]
async fn collections_under_a_prefix_are_rows() {
    let prefix = Prefix::new();
    prefix.run("HSET", "hash", &["name", "Ada", "price", "12.50", "zip", "01234"]);
    prefix.run("RPUSH", "list", &["1", "x", "{\"a\":1}"]);
    prefix.run("SADD", "set", &["only"]);
    prefix.run("ZADD", "sorted", &["1.5", "m", "+inf", "n"]);
    prefix.run("XADD", "stream", &["1-1", "f", "v"]);
    prefix.set("text", "between them");
    let expected = [
        r#"{"_key":"t:hash","name":"Ada","price":"12.50","zip":"01234"}"#,
        r#"{"_key":"t:list","_type":"list","value":[1,"x",{"a":1}]}"#,
        r#"{"_key":"t:set","_type":"set","value":["only"]}"#,
        r#"{"_key":"t:sorted","_type":"zset","value":[{"member":"m","score":1.5},{"member":"n","score":"Infinity"}]}"#,
        r#"{"_key":"t:stream","_type":"stream","value":[{"_id":"1-1","f":"v"}]}"#,
        r#"{"_key":"t:text","value":"between them"}"#,
    ];
    assert_eq!(rows(&prefix).await, expected);
    let bridge = open(prefix.config()).await;
    assert_eq!(count(&*bridge, &prefix.name, json!({})).await.unwrap(), 6);
    let (page, _) = read(&*bridge, &prefix.name, json!({})).await.unwrap();
    let keys: Vec<String> = page.iter().map(|row| row["_key"].as_str().unwrap().to_owned()).collect();
    assert!(keys.is_sorted() && keys.len() == 6, "{keys:?}");
}

#[tokio::test]
async fn fields_of_hashes_compare_and_sort_as_the_numbers_that_they_look_like() {
    let prefix = Prefix::new();
    for (name, price) in [("a", "9"), ("b", "12.50"), ("c", "100"), ("d", "n/a")] {
        prefix.run("HSET", name, &["price", price]);
    }
    let bridge = open(prefix.config()).await;
    let asked = json!({"where": {"price": {"$gt": 9, "$lt": 1000}}, "orderBy": {"price": "desc"}});
    assert_eq!(texts(&query(&*bridge, &prefix.name, asked).await.unwrap(), "price"), ["100", "12.50"]);
    let asked = json!({"where": {"price": "12.5"}});
    assert_eq!(texts(&query(&*bridge, &prefix.name, asked).await.unwrap(), "price"), ["12.50"]);
    let asked = json!({"measures": {"sum": {"agg": "sum", "column": "price"}, "max": {"agg": "max", "column": "price", "where": {"price": {"$lt": 1000}}}}});
    let buckets = aggregate(&*bridge, &prefix.name, asked).await.unwrap();
    assert_eq!(buckets[0]["measures"], json!({"sum": 121.5, "max": 100}));
}

#[tokio::test]
async fn the_elements_of_one_key_are_rows() {
    let prefix = Prefix::new();
    prefix.run("RPUSH", "list", &["10", "{\"a\":1,\"_key\":\"no\"}", "x"]);
    prefix.run("SADD", "set", &["m", "{\"a\":2}"]);
    prefix.run("ZADD", "sorted", &["2", "b", "1", "a"]);
    prefix.run("HSET", "hash", &["f", "{\"a\":3}", "g", "4"]);
    prefix.run("XADD", "stream", &["1-1", "f", "v", "n", "5"]);
    prefix.run("XADD", "stream", &["2-0", "f", "w"]);
    let bridge = open(prefix.config()).await;
    let elements = async |name: &str| {
        let asked = json!({"orderBy": {"_key": "asc"}});
        query(&*bridge, &prefix.key(name), asked).await.unwrap()
    };
    assert_eq!(
        elements("list").await,
        [json!({"_key": 0, "value": 10}), json!({"_key": 1, "a": 1}), json!({"_key": 2, "value": "x"})]
    );
    assert_eq!(
        elements("set").await,
        [json!({"_key": "m", "value": "m"}), json!({"_key": "{\"a\":2}", "a": 2})]
    );
    assert_eq!(
        elements("sorted").await,
        [json!({"_key": "a", "_score": 1, "value": "a"}), json!({"_key": "b", "_score": 2, "value": "b"})]
    );
    assert_eq!(elements("hash").await, [json!({"_key": "f", "a": 3}), json!({"_key": "g", "value": 4})]);
    assert_eq!(
        elements("stream").await,
        [json!({"_key": "1-1", "f": "v", "n": "5"}), json!({"_key": "2-0", "f": "w"})]
    );
    let filtered = json!({"where": {"_score": {"$gte": 2}}});
    assert_eq!(query(&*bridge, &prefix.key("sorted"), filtered).await.unwrap().len(), 1);
    for (name, size) in [("list", 3), ("set", 2), ("sorted", 2), ("hash", 2), ("stream", 2)] {
        assert_eq!(count(&*bridge, &prefix.key(name), json!({})).await.unwrap(), size);
    }
}

#[tokio::test]
async fn elements_page_each_once() {
    let prefix = Prefix::new();
    let mut client = prefix.client();
    let mut pipeline = redis::pipe();
    for number in 0..2_500_u32 {
        pipeline.cmd("RPUSH").arg(prefix.key("list")).arg(number).ignore();
        pipeline.cmd("SADD").arg(prefix.key("set")).arg(format!("member {number}")).ignore();
        pipeline
            .cmd("ZADD")
            .arg(prefix.key("sorted"))
            .arg(number % 7)
            .arg(format!("member {number}"))
            .ignore();
        pipeline.cmd("HSET").arg(prefix.key("hash")).arg(format!("field {number}")).arg(number).ignore();
        pipeline
            .cmd("XADD")
            .arg(prefix.key("stream"))
            .arg(format!("{}-{}", number / 3, number % 3 + 1))
            .arg("n")
            .arg(number)
            .ignore();
    }
    pipeline.exec(&mut client).unwrap();
    let bridge = open(prefix.config()).await;
    for name in ["list", "set", "sorted", "hash", "stream"] {
        let mut keys = Vec::new();
        let mut cursor = None;
        loop {
            let asked = json!({"limit": 999, "cursor": cursor});
            let (page, tail) = read(&*bridge, &prefix.key(name), asked).await.unwrap();
            keys.extend(page.iter().map(|row| row["_key"].to_string()));
            cursor = tail.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let pages = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!((pages, keys.len()), (2_500, 2_500), "{name}");
        let all = query(&*bridge, &prefix.key(name), json!({})).await.unwrap();
        assert_eq!(all.len(), 2_500, "{name}");
    }
}

#[tokio::test]
async fn keys_that_are_no_text_page() {
    let prefix = Prefix::new();
    let mut client = prefix.client();
    for byte in [0x00_u8, 0x41, 0x7f, 0x80, 0xfe, 0xff] {
        let mut key = prefix.key("").into_bytes();
        key.push(byte);
        redis::cmd("SET").arg(key).arg(byte).exec(&mut client).unwrap();
    }
    let bridge = open(prefix.config()).await;
    let mut values = Vec::new();
    let mut cursor = None;
    for _ in 0..6 {
        let (page, tail) = read(&*bridge, &prefix.name, json!({"limit": 1, "cursor": cursor})).await.unwrap();
        values.push(page[0]["value"].as_u64().unwrap());
        cursor = tail.next_cursor;
    }
    assert_eq!((values, cursor), (vec![0x00, 0x41, 0x7f, 0x80, 0xfe, 0xff], None));
}

#[tokio::test]
async fn changes_are_known_by_instants_in_text_and_by_milliseconds() {
    let prefix = Prefix::new();
    prefix.set("old", r#"{"updated_at":"2026-01-01T00:00:00Z"}"#);
    prefix.set("new", r#"{"updated_at":"2026-02-01T00:00:00+01:00"}"#);
    prefix.set("old-ms", r#"{"updated_at":1767225600000}"#);
    prefix.set("new-ms", r#"{"updated_at":1770000000000}"#);
    prefix.run("HSET", "new-hash", &["updated_at", "1770000000000"]);
    prefix.set("unknown", r#"{"a":1}"#);
    let bridge = open(prefix.config()).await;
    let asked = json!({"changedSince": "2026-01-15T00:00:00Z"});
    let (page, _) = read(&*bridge, &prefix.name, asked).await.unwrap();
    let keys: Vec<String> = texts(&page, "_key").iter().map(|key| key.replace(&prefix.name, "t")).collect();
    assert_eq!(keys, ["t:new", "t:new-hash", "t:new-ms", "t:unknown"]);
}

/// Run again in a child process under another time zone: nothing may change.
#[test]
fn no_value_depends_on_the_time_zone_of_the_runner() {
    let program = std::env::current_exe().unwrap();
    for zone in ["America/New_York", "Asia/Kolkata"] {
        let tests = ["strings_are_rows", "changes_are_known_by_instants_in_text_and_by_milliseconds"];
        let output = Command::new(&program).args(["--exact"]).args(tests).env("TZ", zone).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("2 passed"), "{zone}: {text}");
    }
}
