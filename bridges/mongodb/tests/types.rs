//! Every type of BSON as a row carries it, and found again by what the row says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

#[path = "support/asking.rs"]
mod asking;
#[path = "support/server.rs"]
mod server;

use std::process::Command;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, JavaScriptCodeWithScope, Timestamp, Uuid, doc};
use serde_json::json;

use crate::asking::{count, open, query, scan, text};
use crate::server::Scratch;

const ID: &str = "0123456789abcdef01234567";

fn binary(subtype: BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype, bytes: bytes.to_vec() })
}

fn regex() -> Bson {
    let part = |text: &str| mongodb::bson::raw::CString::try_from(text).unwrap();
    Bson::RegularExpression(mongodb::bson::Regex { pattern: part("^a"), options: part("i") })
}

/// Each value with the JSON that it must become.
fn values() -> Vec<(&'static str, Bson, &'static str)> {
    let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
    let uuid = Uuid::parse_str("0a0b0c0d-1111-4222-8333-444455556666").unwrap();
    vec![
        ("double", 0.1.into(), "0.1"),
        ("whole", 5.0.into(), "5"),
        ("nan", f64::NAN.into(), "null"),
        ("infinite", f64::INFINITY.into(), "null"),
        ("string", "a\"b\u{1}🦀".into(), "\"a\\\"b\\u0001🦀\""),
        (
            "document",
            doc! {"a": {"b": 1_i64 << 60}, "id": ObjectId::parse_str(ID).unwrap()}.into(),
            r#"{"a":{"b":"1152921504606846976"},"id":"0123456789abcdef01234567"}"#,
        ),
        ("array", vec![Bson::Int32(1), Bson::Null, "x".into()].into(), r#"[1,null,"x"]"#),
        ("bytes", binary(BinarySubtype::Generic, &[0, 255]), "\"AP8=\""),
        ("md5", binary(BinarySubtype::Md5, &[1; 16]), "\"AQEBAQEBAQEBAQEBAQEBAQ==\""),
        ("uuid", uuid.into(), "\"0a0b0c0d-1111-4222-8333-444455556666\""),
        (
            "legacyUuid",
            binary(BinarySubtype::UuidOld, &uuid.bytes()),
            "\"0a0b0c0d-1111-4222-8333-444455556666\"",
        ),
        ("objectId", ObjectId::parse_str(ID).unwrap().into(), "\"0123456789abcdef01234567\""),
        ("true", true.into(), "true"),
        ("date", DateTime::from_millis(1_709_208_000_001).into(), "\"2024-02-29T12:00:00.001Z\""),
        ("before1970", DateTime::from_millis(-1).into(), "\"1969-12-31T23:59:59.999Z\""),
        ("null", Bson::Null, "null"),
        ("regex", regex(), r#"{"$regularExpression":{"pattern":"^a","options":"i"}}"#),
        ("code", Bson::JavaScriptCode("f()".to_owned()), r#"{"$code":"f()"}"#),
        (
            "scoped",
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
                code: "f".to_owned(),
                scope: doc! {"x": 1},
            }),
            r#"{"$code":"f","$scope":{"x":1}}"#,
        ),
        ("symbol", Bson::Symbol("s".to_owned()), "\"s\""),
        ("int", 7.into(), "7"),
        (
            "timestamp",
            Bson::Timestamp(Timestamp { time: 5, increment: 6 }),
            r#"{"$timestamp":{"t":5,"i":6}}"#,
        ),
        ("long", Bson::Int64(9_007_199_254_740_993), "\"9007199254740993\""),
        ("shortLong", Bson::Int64(-5), "-5"),
        ("decimal", decimal("10.500"), "\"10.500\""),
        ("decimalNan", decimal("NaN"), "null"),
        ("minKey", Bson::MinKey, r#"{"$minKey":1}"#),
        ("maxKey", Bson::MaxKey, r#"{"$maxKey":1}"#),
        (
            "dbRef",
            doc! {"$ref": "c", "$id": ObjectId::parse_str(ID).unwrap()}.into(),
            r#"{"$ref":"c","$id":"0123456789abcdef01234567"}"#,
        ),
    ]
}

#[tokio::test]
async fn every_type_has_one_json_in_any_time_zone() {
    const CHILD: &str = "SEMILAYER_TYPES_CHILD";
    #[expect(clippy::disallowed_methods, reason = "tells the same test in another time zone from this one")]
    let is_child = std::env::var_os(CHILD).is_some();
    let scratch = Scratch::new().await;
    for (name, value, _) in values() {
        scratch.insert("types", vec![doc! {"_id": name, "value": value}]).await;
    }
    let bridge = open(&scratch.config()).await.unwrap();
    for (name, _, expected) in values() {
        let row = text(&*bridge, "types", json!({"where": {"_id": name}, "select": ["value"]})).await;
        assert_eq!(row, format!("{{\"value\":{expected}}}"), "{name}");
    }
    bridge.close().await;
    scratch.drop().await;
    if !is_child {
        let test = "every_type_has_one_json_in_any_time_zone";
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", test]).env("TZ", "Pacific/Chatham").env(CHILD, "1");
        assert!(again.status().unwrap().success(), "the same test fails in another time zone");
    }
}

#[tokio::test]
async fn a_value_is_found_by_what_its_row_says() {
    let scratch = Scratch::new().await;
    for (name, value, _) in values() {
        scratch.insert("types", vec![doc! {"_id": name, "value": value}]).await;
    }
    let bridge = open(&scratch.config()).await.unwrap();
    for name in [
        "double",
        "whole",
        "string",
        "bytes",
        "uuid",
        "legacyUuid",
        "objectId",
        "true",
        "date",
        "int",
        "long",
        "decimal",
    ] {
        let row = query(&*bridge, "types", json!({"where": {"_id": name}})).await.unwrap().remove(0);
        let found = query(&*bridge, "types", json!({"where": {"value": row["value"]}})).await.unwrap();
        assert!(found.iter().any(|it| it["_id"] == name), "{name}: {found:?}");
    }
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test]
async fn ids_of_every_type_page_and_are_found_again() {
    let scratch = Scratch::new().await;
    let ids: Vec<Bson> = vec![
        Bson::MinKey,
        f64::NAN.into(),
        (-3).into(),
        0.5.into(),
        2.into(),
        Bson::Int64(i64::MAX),
        "".into(),
        "2".into(),
        ID.into(),
        "k1.x".into(),
        "!".into(),
        "日本".into(),
        doc! {"a": 1}.into(),
        doc! {"a": 1, "b": 2}.into(),
        binary(BinarySubtype::Generic, &[0]),
        binary(BinarySubtype::Generic, &[255, 1]),
        Uuid::from_bytes([7; 16]).into(),
        ObjectId::parse_str(ID).unwrap().into(),
        false.into(),
        true.into(),
        DateTime::from_millis(-1).into(),
        DateTime::from_millis(1).into(),
        Bson::Timestamp(Timestamp { time: 1, increment: 1 }),
        Bson::MaxKey,
    ];
    scratch.insert("ids", ids.iter().map(|id| doc! {"_id": id.clone()}).collect()).await;
    let bridge = open(&scratch.config()).await.unwrap();
    let whole = scan(&*bridge, "ids", 1_000).await;
    assert_eq!(whole.len(), ids.len());
    for limit in [1, 2, 5] {
        assert_eq!(scan(&*bridge, "ids", limit).await, whole, "in pages of {limit}");
    }
    // As text, an identifier is one and the same as its 24 digits.
    assert_eq!(count(&*bridge, "ids", json!({"_id": ID})).await, 2);
    assert_eq!(count(&*bridge, "ids", json!({"_id": {"$in": [ID, "nope!", 2]}})).await, 4);
    let row = query(&*bridge, "ids", json!({"where": {"_id": ID}})).await.unwrap();
    assert!(row.iter().all(|row| row["_id"] == ID));
    bridge.close().await;
    scratch.drop().await;
}
