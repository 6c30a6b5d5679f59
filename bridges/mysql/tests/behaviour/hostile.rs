//! A server that lies: in lengths, in counts, in what it was asked, and about where it ends.

use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call};
use serde_json::{Value, json};

use crate::asking::{collect, connect, json_rows, options};
use crate::fake::{Answer, Fake, TEXT, column, description_of_a_table, end, frame, row, rows};
use semilayer_bridge_mysql::Mysql;

/// What answers every question is asked for so long.
fn short() -> Call {
    Call::within(Duration::from_secs(20))
}

async fn open(answers: Vec<Answer>) -> Box<dyn Bridge> {
    let port = Fake::start(answers).await;
    let config =
        json!({ "host": "127.0.0.1", "port": port, "user": "me", "password": "secret", "poolMax": 1 });
    connect(Mysql, config).await.unwrap_or_else(|error| panic!("{error}"))
}

fn unreachable_because<T: std::fmt::Debug>(answer: Result<T, BridgeError>) -> String {
    match answer {
        Err(BridgeError::Unreachable { message, .. }) => message,
        other => panic!("expected a server that is left, got {other:?}"),
    }
}

/// Asks for all rows of a table with the one column `v`, of a type and a character set.
async fn rows_of(kind: u8, charset: u16, cells: &[&[u8]]) -> Result<Vec<String>, BridgeError> {
    let described = Answer::Whole(description_of_a_table("v", "text"));
    let cells: Vec<Vec<u8>> = cells.iter().map(|cell| row(&[cell])).collect();
    let bridge = open(vec![described, Answer::Whole(rows(&[column("v", kind, charset)], &cells))]).await;
    json_rows(&*bridge, "t", json!({})).await
}

const JSON: u8 = 245;
const BINARY: u16 = 63;
const UTF8MB4: u16 = 45;

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_none_stays_within_its_cell() {
    let cells: [&[u8]; 2] = [b"{\"a\": 1}", b"1},{\"v\":2"];
    let rows = rows_of(JSON, BINARY, &cells).await.unwrap();
    assert_eq!(rows, [r#"{"v":{"a": 1}}"#, r#"{"v":"1},{\"v\":2"}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_none_fails_its_job() {
    let refused = rows_of(TEXT, UTF8MB4, &[b"ok", b"\xFF\xFE"]).await.unwrap_err();
    assert!(matches!(&refused, BridgeError::Query { message, .. } if message.contains("cannot be read")));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_without_end_are_not_collected() {
    let counted = frame(&[&[0xFE][..], &u64::MAX.to_le_bytes()].concat());
    let endless = column(&"n".repeat(1_000), TEXT, UTF8MB4);
    let bridge = open(vec![Answer::Endless(counted, endless)]).await;
    let left = unreachable_because(bridge.list_targets(&short()).await);
    assert!(left.contains("more columns than a result can have"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_end_are_not_collected() {
    let head = [frame(&[1]), column("TABLE_NAME", TEXT, UTF8MB4)].concat();
    let bridge = open(vec![Answer::Endless(head, row(&[&[b'n'; 60_000]]))]).await;
    let left = unreachable_because(bridge.list_targets(&short()).await);
    assert!(left.contains("its catalog does not end"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_and_rows_that_are_cut_off_are_noticed() {
    let head = || [frame(&[1]), column("TABLE_NAME", TEXT, UTF8MB4)].concat();
    for (answer, why) in [
        (Answer::Cut([head(), vec![200, 0, 0, 1, 0]].concat()), "closed"),
        (Answer::Whole([head(), frame(&[0, 0, 50, b'x'])].concat()), "ends early"),
        (
            Answer::Whole([head(), frame(&[0, 0, 0xFE, 255, 255, 255, 255, 255, 255, 255, 255])].concat()),
            "ends early",
        ),
        (Answer::Whole([head(), frame(&[])].concat()), "an empty packet"),
        (Answer::Whole([head(), frame(&[7])].concat()), "expected a row"),
        (Answer::Whole([frame(&[1]), frame(&[3, b'd'])].concat()), "ends early"),
        (Answer::Whole([vec![255, 255, 200, 1, 1]].concat()), "longer than its kind allows"),
        (Answer::Whole(frame(b"\xFB/etc/passwd")), "asks for a file"),
    ] {
        let bridge =
            open(vec![answer, Answer::Whole(rows(&[column("TABLE_NAME", TEXT, UTF8MB4)], &[]))]).await;
        let left = unreachable_because(bridge.list_targets(&short()).await);
        assert!(left.contains(why), "{left}");
        // The next one gets another connection.
        assert!(bridge.list_targets(&short()).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_an_answer_is_not_taken_for_the_next_one() {
    let twice =
        [rows(&[column("TABLE_NAME", TEXT, UTF8MB4)], &[row(&[b"a"])]), row(&[b"stray"]), end()].concat();
    let once = rows(&[column("TABLE_NAME", TEXT, UTF8MB4)], &[row(&[b"b"])]);
    let bridge = open(vec![Answer::Whole(twice), Answer::Whole(once)]).await;
    assert_eq!(bridge.list_targets(&short()).await.unwrap(), ["a"]);
    assert_eq!(bridge.list_targets(&short()).await.unwrap(), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_costs_no_more_than_the_deadline() {
    let described = Answer::Whole(description_of_a_table("v", "text"));
    let silent = Answer::Silent([frame(&[1]), column("v", TEXT, UTF8MB4), row(&[b"first"])].concat());
    let bridge = open(vec![described, silent]).await;
    let call = Call::within(Duration::from_millis(500));
    let mut stream = bridge.query(&call, "t", options(json!({}))).await.unwrap();
    let first: Value = serde_json::from_str(&stream.next(100).await.unwrap().unwrap().rows).unwrap();
    assert_eq!(first, json!({ "v": "first" }));
    assert!(matches!(collect(stream).await.unwrap_err(), BridgeError::Timeout));
}
