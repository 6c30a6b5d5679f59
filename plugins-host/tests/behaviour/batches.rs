//! Batches that are none. Nothing of them reaches the caller.

use bridge_core::{BridgeError, Call};
use protocol::{Projection, ReadOptions};
use semilayer_plugins_host::Limits;
use serde_json::Value;

use crate::support::{ample, collect, failure, hostile, open, read, tight, works};

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_break_the_interfaces_promises_are_refused_by_name() {
    let bridge = open(&*hostile(Limits { memory_bytes: 128 << 20, ..tight() }).await).await;
    for (target, reason) in [
        ("not-utf8", "text that is not UTF-8 in column 1"),
        ("offsets-fall", "offsets that fall in column 1"),
        ("offsets-beyond", "offsets beyond the bytes in column 1"),
        ("offsets-short", "2 offsets for 2 rows in column 1"),
        ("offsets-none", "0 offsets for 2 rows in column 1"),
        ("offsets-start", "offsets that do not begin with 0 in column 1"),
        ("offsets-cut", "text that ends within a character in column 1"),
        ("validity-short", "1 bytes of validity for 9 rows in column 0"),
        ("values-short", "2 values for 3 rows in column 0"),
        ("columns-few", "a batch of 1 columns where 2 were announced"),
        ("columns-many", "a batch of 3 columns where 2 were announced"),
        ("json-columns", "a batch of 2 columns where 0 were announced"),
        ("announced-many", "3000 columns; at most 2000 may be"),
        ("announced-twice", "two columns of one name"),
        ("announced-long", "a column whose name has more than 1024 bytes"),
        ("kind", "ints as Kind::Text in column 0"),
        ("dates", "a date beyond all calendars in column 0"),
        ("empty", "a batch of 0 rows; 1 to 100000 may be in one"),
        ("rows-many", "a batch of 4294967295 rows; 1 to 100000 may be in one"),
        ("long-cursor", "a cursor of more than 65536 bytes"),
        ("odd-method", "an unknown method of search"),
    ] {
        assert_eq!(failure(&*bridge, target).await, format!("the plugin answered {reason}"), "{target}");
    }
    let reason = failure(&*bridge, "not-utf8-string").await;
    assert!(reason.starts_with("the plugin answered what the interface does not allow: "), "{reason}");
    assert!(reason.to_lowercase().contains("utf-8"), "{reason}");
    works(&*bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_may_say_what_its_columns_hold() {
    let bridge = open(&*hostile(tight()).await).await;
    assert_eq!(read(&*bridge, "columns-json").await.unwrap().0, r#"[{"id":1}]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_none_is_refused_and_cannot_leave_its_place() {
    let bridge = open(&*hostile(tight()).await).await;
    for (target, reason) in [
        ("json-garbage", "rows that are not JSON"),
        ("json-forged", "rows without a comma between them"),
        ("json-list", "JSON that is no object where a row should begin"),
        ("json-scalar", "JSON that is no object where a row should begin"),
        ("json-nothing", "JSON that is no object where a row should begin"),
        ("json-trailing", "JSON that is no object where a row should begin"),
        ("json-count", "a batch of 2 rows that it calls 3"),
        ("json-comma", "rows without a comma between them"),
        ("json-half", "rows that are not JSON (half a character in an escape)"),
    ] {
        let failed = failure(&*bridge, target).await;
        assert!(failed.starts_with(&format!("the plugin answered {reason}")), "{target}: {failed}");
    }
    let (rows, _) = read(&*bridge, "json").await.unwrap();
    assert_eq!(rows, r#"[{"id":1,"name":"a"},{"id":2}]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_cannot_leave_their_cells() {
    let bridge = open(&*hostile(tight()).await).await;
    let (rows, _) = read(&*bridge, "documents").await.unwrap();
    assert_eq!(rows, r#"[{"id":{"a":[1]}},{"id":"1},{\"forged\":2"},{"id":"x"},{"id":""}]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_above_its_limit_is_not_even_taken_over() {
    let bridge = open(&*hostile(Limits { memory_bytes: 128 << 20, ..tight() }).await).await;
    let reason = failure(&*bridge, "huge").await;
    assert_eq!(reason, "the plugin handed over more than 16777216 bytes at once");
    works(&*bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_above_the_callers_limit_is_named_as_that() {
    let bridge = open(&*hostile(Limits { memory_bytes: 128 << 20, ..tight() }).await).await;
    let call = Call { row_limit: 1 << 20, ..ample() };
    for target in ["large-row", "json-large"] {
        let rows = bridge.read(&call, target, ReadOptions::default()).await.unwrap();
        let error = collect(rows).await.unwrap_err();
        assert!(matches!(error, BridgeError::RowTooLarge { limit: 1_048_576 }), "{target}: {error:?}");
        let (rows, _) = read(&*bridge, target).await.unwrap();
        assert!(rows.len() > 8 << 20, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_the_limit_are_a_failure() {
    let bridge = open(&*hostile(tight()).await).await;
    let read = async |limit| {
        let options = ReadOptions { limit, ..ReadOptions::default() };
        collect(bridge.read(&ample(), "rows", options).await.unwrap()).await
    };
    assert!(read(3).await.is_ok());
    let error = read(2).await.unwrap_err();
    assert_eq!(error.to_string(), "the plugin answered more rows than the limit that it was asked with");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_leaves_in_pieces_of_the_size_that_is_wanted() {
    let bridge = open(&*hostile(Limits { memory_bytes: 128 << 20, ..tight() }).await).await;
    for (target, rows, room) in [("large-rows", 4, 100), ("json-many", 2_000, 90), ("wide", 100_000, 1 << 20)]
    {
        let options = ReadOptions { limit: 1_000_000, ..ReadOptions::default() };
        let mut stream = bridge.read(&ample(), target, options).await.unwrap();
        let mut seen = 0;
        while let Some(batch) = stream.next(room).await.unwrap() {
            let list: Vec<Value> = serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
            assert_eq!(u64::try_from(list.len()).unwrap(), batch.count);
            let largest = list.iter().map(|row| row.to_string().len()).max().unwrap();
            assert!(batch.rows.len() <= room + largest + 1, "{target}: {} bytes", batch.rows.len());
            seen += batch.count;
        }
        assert_eq!(seen, rows, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_left_out_and_renamed_by_the_runner() {
    let bridge = open(&*hostile(tight()).await).await;
    let projected = async |target: &str, pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, column)| ((*name).to_owned(), (*column).to_owned()));
        let options =
            ReadOptions { projection: Projection::Renamed(pairs.collect()), ..ReadOptions::default() };
        collect(bridge.read(&ample(), target, options).await.unwrap()).await.unwrap().0
    };
    assert!(projected("rows", &[("a\"b", "name")]).await.starts_with(r#"[{"a\"b":"row 1"},"#));
    assert_eq!(
        projected("json", &[("x", "name"), ("y", "id"), ("z", "id"), ("w", "nope")]).await,
        r#"[{"x":"a","y":1,"z":1,"w":null},{"x":null,"y":2,"z":2,"w":null}]"#
    );
    let options = projected("options", &[("name", "name"), ("again", "name"), ("gone", "nope")]).await;
    let rows: Value = serde_json::from_str(&options).unwrap();
    let told: Value = serde_json::from_str(rows[0]["name"].as_str().unwrap()).unwrap();
    assert_eq!(told["fields"], serde_json::json!(["name", "nope"]), "each once, by their own names");
    assert_eq!(rows[0]["gone"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_failed_has_no_more_rows() {
    let bridge = open(&*hostile(tight()).await).await;
    let mut rows = bridge.read(&ample(), "json-garbage", ReadOptions::default()).await.unwrap();
    assert!(rows.next(1_000).await.is_err());
    assert_eq!(rows.next(1_000).await.unwrap(), None);
}
