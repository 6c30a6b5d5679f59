//! Servers that go silent, lie or mean harm: whatever they answer, the bridge ends with an error, within its limits, and
//! is as good as before for whoever comes next.

use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call};
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use protocol::QueryOptions;
use serde_json::json;

use crate::asking::{call, count, query, raw};
use crate::pretend::{Answer, CURSOR, Pretend, Reply, batch, message, nested};
use crate::server::eventually;

fn is(command: &Document, name: &str) -> bool {
    command.keys().next().is_some_and(|it| it == name)
}

/// What a query of everything ends with.
async fn outcome(bridge: &dyn Bridge, options: serde_json::Value) -> Result<usize, BridgeError> {
    query(bridge, "c", options).await.map(|rows| rows.len())
}

#[tokio::test]
async fn a_stream_that_is_left_kills_its_cursor_and_its_session_at_the_server() {
    let server = Pretend::start(|_| None).await;
    let bridge = server.source().await;
    let mut stream = bridge.query(&call(), "c", QueryOptions::default()).await.unwrap();
    assert!(stream.next(1).await.unwrap().is_some());
    drop(stream);
    eventually("the cursor and the session are killed", async || {
        !server.told("killCursors").is_empty() && !server.told("killSessions").is_empty()
    })
    .await;
    let cursors = server.told("killCursors").remove(0);
    assert_eq!(cursors.get_array("cursors").unwrap(), &vec![Bson::Int64(CURSOR)]);
    let session = server.told("find").remove(0).get_document("lsid").unwrap().clone();
    let killed = server.told("killSessions").remove(0);
    assert_eq!(killed.get_array("killSessions").unwrap(), &vec![Bson::Document(session.clone())]);
    // The command that kills it does not run in it.
    assert_ne!(killed.get_document("lsid").unwrap(), &session);
    bridge.close().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for_and_ended_at_the_server() {
    for name in ["find", "getMore", "aggregate"] {
        let answer: Answer = match name {
            "find" => |command| is(command, "find").then_some(Reply::Silence),
            "getMore" => |command| is(command, "getMore").then_some(Reply::Silence),
            _ => |command| is(command, "aggregate").then_some(Reply::Silence),
        };
        let server = Pretend::start(answer).await;
        let bridge = server.source().await;
        if name == "aggregate" {
            let short = Call::within(Duration::from_millis(300));
            let counted = bridge.count(&short, "c", protocol::CountOptions::default()).await;
            assert!(matches!(counted, Err(BridgeError::Timeout)), "{counted:?}");
        } else {
            let mut stream = bridge.query(&call(), "c", QueryOptions::default()).await.unwrap();
            if name == "getMore" {
                assert!(stream.next(1).await.unwrap().is_some());
            }
            eventually("the server was asked", async || !server.told(name).is_empty()).await;
            drop(stream);
        }
        eventually("its connection is closed and its session killed", async || {
            server.given_up() == [name] && !server.told("killSessions").is_empty()
        })
        .await;
        let session = server.told(name).remove(0).get_document("lsid").unwrap().clone();
        let killed = server.told("killSessions").remove(0);
        assert_eq!(killed.get_array("killSessions").unwrap(), &vec![Bson::Document(session)], "{name}");
        bridge.close().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_left_is_ended_while_others_have_all_the_connections() {
    let server = Pretend::start(|command| {
        let waits = command.get_document("filter").is_ok_and(|filter| filter.contains_key("wait"));
        (is(command, "find") && waits).then_some(Reply::Silence)
    })
    .await;
    let bridge = server.source_of(1).await;
    let mut left = bridge.query(&call(), "c", QueryOptions::default()).await.unwrap();
    assert!(left.next(1).await.unwrap().is_some());
    eventually("its next batch is there", async || {
        server.told("getMore").len() == 1 && bridge.pool_use().in_use == 0
    })
    .await;
    let options = QueryOptions::parse(&raw(json!({"where": {"wait": "x!"}}))).unwrap();
    let waiting = bridge.query(&call(), "c", options).await.unwrap();
    eventually("the other one waits for its answer", async || server.told("find").len() == 2).await;
    drop(left);
    let session = server.told("find").remove(0).get_document("lsid").unwrap().clone();
    eventually("the session of the first is killed", async || {
        server.told("killSessions").iter().any(|killed| {
            killed.get_array("killSessions").is_ok_and(|them| them.contains(&Bson::Document(session.clone())))
        })
    })
    .await;
    assert!(server.given_up().is_empty());
    drop(waiting);
    bridge.close().await;
}

#[tokio::test]
async fn jobs_beyond_the_pool_wait_for_a_connection_until_their_deadline() {
    let server = Pretend::start(|command| is(command, "find").then_some(Reply::Silence)).await;
    let bridge = server.source_of(1).await;
    let first = bridge.query(&call(), "c", QueryOptions::default()).await.unwrap();
    eventually("the first one has the connection", async || server.told("find").len() == 1).await;
    let short = Call::within(Duration::from_millis(300));
    let mut second = bridge.query(&short, "c", QueryOptions::default()).await.unwrap();
    let answer = second.next(1).await;
    assert!(matches!(answer, Err(BridgeError::Timeout)), "{answer:?}");
    assert_eq!(server.told("find").len(), 1);
    drop(first);
    bridge.test(&call()).await.unwrap();
    bridge.close().await;
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_server() {
    let server = Pretend::start(|_| None).await;
    let bridge = server.source().await;
    let mut stream = bridge.query(&call(), "c", QueryOptions::default()).await.unwrap();
    assert!(stream.next(1).await.unwrap().is_some());
    eventually("the next batch was asked for", async || server.told("getMore").len() == 1).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
        bridge.test(&call()).await.unwrap();
    }
    // One batch waits; nobody has asked for the one behind it.
    assert_eq!(server.told("getMore").len(), 1);
    drop(stream);
    bridge.close().await;
}

#[tokio::test]
async fn batches_that_never_end_end_with_the_deadline() {
    let server = Pretend::start(|command| is(command, "getMore").then(|| batch("nextBatch", vec![]))).await;
    let bridge = server.source().await;
    let begun = Instant::now();
    let short = Call::within(Duration::from_millis(500));
    let stream = bridge.query(&short, "c", QueryOptions::default()).await.unwrap();
    let answer = bridge_conformance::collect(stream).await.map(drop);
    assert!(matches!(answer, Err(BridgeError::Timeout)), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    bridge.close().await;
}

#[tokio::test]
async fn answers_that_no_mongodb_gives_are_errors() {
    let answers: [Answer; 9] = [
        |command| is(command, "find").then(|| doc! {"ok": 1}.into()),
        |command| is(command, "find").then(|| doc! {"ok": 1, "cursor": 5}.into()),
        |command| {
            let cursor = doc! {"id": 0_i64, "ns": "d.c", "firstBatch": "rows"};
            is(command, "find").then(|| doc! {"ok": 1, "cursor": cursor}.into())
        },
        |command| {
            let cursor = doc! {"id": 0_i64, "ns": "d.c", "firstBatch": [5]};
            is(command, "find").then(|| doc! {"ok": 1, "cursor": cursor}.into())
        },
        // A text that is no UTF-8.
        |command| is(command, "find").then(|| spoiled(b"good", b"b\xff\xfed")),
        // A document that says it is longer than its batch.
        |command| is(command, "find").then(|| spoiled(b"\x18\0\0\0\x02a\0", b"\xff\xff\0\0\x02a\0")),
        |command| is(command, "find").then(|| spoiled(b"\x18\0\0\0\x02a\0", b"\x02\0\0\0\x02a\0")),
        // A text that says it is longer than its document, or shorter than nothing.
        |command| is(command, "find").then(|| spoiled(b"\x05\0\0\0good", b"\xff\0\0\0good")),
        |command| is(command, "find").then(|| spoiled(b"\x05\0\0\0good", b"\xff\xff\xff\xffgood")),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let server = Pretend::start(answer).await;
        let bridge = server.source().await;
        let answer = outcome(&*bridge, json!({})).await;
        assert!(matches!(answer, Err(BridgeError::Query { .. })), "{index}: {answer:?}");
        bridge.close().await;
    }
}

/// A batch with a document in which some bytes are others.
fn spoiled(bytes: &[u8], others: &[u8]) -> Reply {
    let good = doc! {"cursor": {"id": 0_i64, "ns": "d.c", "firstBatch": [{"a": "good", "b": 7}]}, "ok": 1};
    let mut reply = RawDocumentBuf::try_from(&good).unwrap().into_bytes();
    let at = reply.windows(bytes.len()).position(|window| window == bytes).unwrap();
    reply[at..at + others.len()].copy_from_slice(others);
    Reply::Document(RawDocumentBuf::from_bytes(reply).unwrap())
}

#[tokio::test]
async fn messages_that_lie_about_their_length_cost_a_connection_and_no_more() {
    let answers: [Answer; 5] = [
        |command| is(command, "find").then_some(Reply::Farewell),
        |command| is(command, "find").then(|| lying(-5)),
        |command| is(command, "find").then(|| lying(5)),
        |command| is(command, "find").then(|| lying(i32::MAX)),
        |command| is(command, "find").then(|| Reply::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let server = Pretend::start(answer).await;
        let bridge = server.source().await;
        let short = Call::within(Duration::from_secs(5));
        let stream = bridge.query(&short, "c", QueryOptions::default()).await.unwrap();
        let answer = bridge_conformance::collect(stream).await.map(drop);
        let expected = matches!(answer, Err(BridgeError::Unreachable { .. } | BridgeError::Query { .. }));
        assert!(expected, "{index}: {answer:?}");
        bridge.test(&call()).await.unwrap();
        eventually("no connection is in use", async || bridge.pool_use().in_use == 0).await;
        bridge.close().await;
    }
}

fn lying(length: i32) -> Reply {
    let mut bytes = message(0, RawDocumentBuf::new().as_bytes());
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Reply::Bytes(bytes)
}

/// Deeper than any stack.
const DEPTH: usize = 500_000;

fn with_first(first: RawDocumentBuf) -> Reply {
    use mongodb::bson::raw::{RawArrayBuf, cstr};
    let mut documents = RawArrayBuf::new();
    documents.push(first);
    let mut cursor = RawDocumentBuf::new();
    cursor.append(cstr!("id"), 0_i64);
    cursor.append(cstr!("ns"), "d.c");
    cursor.append(cstr!("firstBatch"), documents);
    let mut reply = RawDocumentBuf::new();
    reply.append(cstr!("cursor"), cursor);
    reply.append(cstr!("ok"), 1);
    Reply::Document(reply)
}

#[tokio::test]
async fn documents_nested_without_end_are_refused_wherever_they_are_read() {
    let server = Pretend::start(|command| match command.keys().next().map(String::as_str) {
        Some("find") => Some(with_first(nested(4, "0", DEPTH))),
        Some("aggregate") => Some(with_first(nested(3, "n", DEPTH))),
        _ => None,
    })
    .await;
    let bridge = server.source().await;
    for options in [
        json!({}),
        json!({"select": ["0"]}),
        json!({"select": ["0.b"]}),
        json!({"keyset": ["0.b"], "limit": 1}),
    ] {
        let answer = outcome(&*bridge, options.clone()).await;
        assert!(
            matches!(answer, Err(BridgeError::Query { .. } | BridgeError::Invalid(_))),
            "{options}: {answer:?}"
        );
    }
    let described = bridge.introspect_target(&call(), "c").await.map(|schema| schema.columns.len());
    assert!(described.is_ok_and(|columns| columns == 2), "a sample looks at the types of its values alone");
    bridge.close().await;
}

#[tokio::test]
async fn a_schema_nested_without_end_is_refused() {
    let server = Pretend::start(|command| {
        is(command, "listCollections").then(|| {
            let mut collection = RawDocumentBuf::new();
            collection.append(mongodb::bson::raw::cstr!("name"), "c");
            collection.append(mongodb::bson::raw::cstr!("options"), nested(3, "properties", DEPTH / 2));
            with_first(collection)
        })
    })
    .await;
    let bridge = server.source().await;
    let answer = outcome(&*bridge, json!({})).await;
    assert!(matches!(answer, Err(BridgeError::Query { .. })), "{answer:?}");
    bridge.close().await;
}

#[tokio::test]
async fn lists_of_names_that_never_end_are_refused_within_the_limit_of_memory() {
    let server = Pretend::start(|command| match command.keys().next().map(String::as_str) {
        Some("listCollections") => {
            let long = doc! {"name": "n".repeat(1_000_000), "type": "collection"};
            Some(batch("firstBatch", vec![long]))
        }
        Some("getMore") => {
            let long = doc! {"name": "n".repeat(1_000_000), "type": "collection"};
            Some(batch("nextBatch", vec![long; 8]))
        }
        _ => None,
    })
    .await;
    let bridge = server.source().await;
    let answer = bridge.list_targets(&call()).await.map(|names| names.len());
    assert!(matches!(answer, Err(BridgeError::Query { .. })), "{answer:?}");
    bridge.close().await;
}

#[tokio::test]
async fn nothing_follows_an_error_in_the_middle_of_a_stream() {
    let server = Pretend::start(|command| {
        is(command, "getMore").then(|| {
            let cursor = doc! {"id": CURSOR, "ns": "d.c", "nextBatch": [{"_id": 2}, 5, {"_id": 3}]};
            doc! {"ok": 1, "cursor": cursor}.into()
        })
    })
    .await;
    let bridge = server.source().await;
    let mut stream = bridge.query(&call(), "c", QueryOptions::default()).await.unwrap();
    assert_eq!(stream.next(1).await.unwrap().unwrap().rows, r#"{"_id":1}"#);
    let answer = stream.next(1_000).await;
    assert!(matches!(answer, Err(BridgeError::Query { .. })), "{answer:?}");
    assert_eq!(stream.next(1_000).await.unwrap(), None);
    eventually("the cursor is killed", async || !server.told("killCursors").is_empty()).await;
    drop(stream);
    bridge.close().await;
}

#[tokio::test]
async fn what_the_server_says_of_itself_decides_whose_turn_it_is() {
    type Expected = fn(&BridgeError) -> bool;
    let failing: [(Answer, Expected); 4] = [
        (|command| refusing(command, 50), |error| matches!(error, BridgeError::Timeout)),
        (|command| refusing(command, 11_600), |error| matches!(error, BridgeError::Unreachable { .. })),
        (|command| refusing(command, 11_602), |error| matches!(error, BridgeError::Unreachable { .. })),
        (
            |command| refusing(command, 2),
            |error| matches!(error, BridgeError::Query { native: Some(code), .. } if code == "2"),
        ),
    ];
    for (answer, expected) in failing {
        let server = Pretend::start(answer).await;
        let bridge = server.source().await;
        let error = outcome(&*bridge, json!({})).await.unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert_eq!(count(&*bridge, "c", json!({})).await, 0);
        bridge.close().await;
    }
}

fn refusing(command: &Document, code: i32) -> Option<Reply> {
    is(command, "find").then(|| doc! {"ok": 0, "code": code, "codeName": "Said", "errmsg": "no"}.into())
}
