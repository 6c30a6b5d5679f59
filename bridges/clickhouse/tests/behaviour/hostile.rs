//! Servers that mean harm: none of them makes the runner hang, grow, or take for rows what is none.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Call};
use protocol::CHUNK_BYTES;
use serde_json::{Value, json};

use crate::asking::{connect, open, options, settings};
use crate::failing::{OLD_ERROR, head, request, text};

/// Writes one answer, whatever it is.
type Answers = Arc<dyn Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync>;

/// A server of 24.8 with a table `t` of one text, which answers what has `marked` in it by `answer`.
fn server(marked: &'static str, answer: Answers) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                while let Some(asked) = request(&mut stream) {
                    let done = match asked.contains(marked) {
                        true => answer(&mut stream).and_then(|()| stream.shutdown(Shutdown::Both)),
                        false => stream.write_all(&usual(&asked)),
                    };
                    if done.is_err() {
                        return;
                    }
                }
            });
        }
    });
    json!({ "host": "127.0.0.1", "port": port, "database": "d" })
}

/// What such a server says when it means no harm.
fn usual(asked: &str) -> Vec<u8> {
    let body = match () {
        () if asked.contains("SELECT version()") => b"24.8.1.1\n".to_vec(),
        () if asked.contains("toString(getSetting") => {
            let columns = ["a", "b", "c"].map(|name| (name, "String"));
            [head(&columns), ["1", "lon_lat", "1000"].map(text).concat()].concat()
        }
        () if asked.contains("system.columns") => {
            let columns = ["name", "type", "pk", "sk", "kind", "key"].map(|name| (name, "String"));
            [head(&columns), ["v", "String", "1", "1", "", "v"].map(text).concat()].concat()
        }
        () => Vec::new(),
    };
    [answer_head("", body.len()).as_bytes(), &body].concat()
}

fn answer_head(headers: &str, length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n")
}

/// The answer to a select: these bytes, and the end.
fn with_rows(headers: &'static str, body: Vec<u8>) -> Value {
    raw([answer_head(headers, body.len()).as_bytes(), &body].concat())
}

fn raw(bytes: Vec<u8>) -> Value {
    server("`t`", Arc::new(move |stream| stream.write_all(&bytes)))
}

/// Writes `piece` for as long as somebody reads.
fn endless(begin: Vec<u8>, piece: Vec<u8>) -> Answers {
    Arc::new(move |stream| {
        stream.write_all(&begin)?;
        loop {
            stream.write_all(&piece)?;
        }
    })
}

/// The begin of an answer that has no length.
fn open_end(body: Vec<u8>) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), body].concat()
}

/// Rows of `t` before the end, and how they end. Nothing may take as long as the deadline.
async fn rows_of(config: Value) -> (String, Result<(), BridgeError>) {
    let call = Call::within(Duration::from_secs(50));
    let begun = Instant::now();
    let mut seen = Vec::new();
    let ended = async {
        let bridge = open(config).await;
        let mut stream = bridge.query(&call, "t", options(json!({}))).await?;
        while let Some(batch) = stream.next(CHUNK_BYTES).await? {
            seen.push(batch.rows);
        }
        Ok(())
    };
    let ended = ended.await;
    assert!(begun.elapsed() < Duration::from_secs(40), "{ended:?}");
    (seen.join(","), ended)
}

fn broken(ended: &Result<(), BridgeError>) -> bool {
    matches!(ended, Err(BridgeError::Unreachable { .. } | BridgeError::Query { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_to_what_was_asked_is_an_error_and_no_row() {
    let one = || head(&[("v", "String")]);
    let other = || head(&[("v", "String"), ("w", "String")]);
    for (what, config) in [
        ("compressed", with_rows("Content-Encoding: gzip\r\n", [one(), text("x")].concat())),
        ("other columns", with_rows("", [other(), text("x"), text("y")].concat())),
        ("no columns and then rows", with_rows("", vec![0, 1, 1, 1])),
        ("rows of no bytes", with_rows("", [head(&[("v", "Tuple()")]), vec![1, 1]].concat())),
        ("too many columns", with_rows("", [vec![0xff, 0xff, 0xff, 0x7f], vec![0; 4_000_000]].concat())),
        ("a type that is none", with_rows("", [head(&[("v", "Strange")]), text("x")].concat())),
        ("another format", with_rows("", b"v\nString\nhello there\n".to_vec())),
        (
            "elsewhere",
            raw(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ),
        ("no chunk", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello".to_vec())),
        ("no HTTP", raw(b"\x16\x03\x01 hello\r\n\r\n".to_vec())),
        ("less than was said", raw([answer_head("", 100).into_bytes(), one(), text("x")].concat())),
    ] {
        let (seen, ended) = rows_of(config).await;
        assert!(broken(&ended), "{what}: {ended:?}");
        assert!(seen.is_empty() || what == "less than was said", "{what}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_given_up() {
    let line = b"X-More: and more, and more, and more, and more\r\n".repeat(1_000);
    let lines = server("`t`", endless(b"HTTP/1.1 200 OK\r\n".to_vec(), line));
    let (_, ended) = rows_of(lines).await;
    assert!(broken(&ended), "a head: {ended:?}");
    let vast = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let name = server("`t`", endless(open_end([vec![1], vast.clone()].concat()), vec![b'x'; 1 << 20]));
    let (_, ended) = rows_of(name).await;
    assert!(broken(&ended), "a name: {ended:?}");
    let begin = open_end([head(&[("v", "String")]), vast].concat());
    let value = server("`t`", endless(begin, vec![b'x'; 1 << 20]));
    let (_, ended) = rows_of(value).await;
    assert!(matches!(ended, Err(BridgeError::RowTooLarge { .. })), "a value: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_does_not_end_is_given_up() {
    let columns = ["name", "type", "pk", "sk", "kind", "key"].map(|name| (name, "String"));
    let vast = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let rows = text("x").repeat(100_000);
    for (what, begin, piece) in [
        ("one value", [head(&columns), vast].concat(), vec![b'x'; 1 << 20]),
        ("many rows", head(&columns), rows),
        ("rows of no bytes", vec![0], vec![1; 1_000]),
    ] {
        let (_, ended) = rows_of(server("system.columns", endless(open_end(begin), piece))).await;
        assert!(broken(&ended), "{what}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_without_columns_are_refused_at_once() {
    let answer = [answer_head("", 4).into_bytes(), vec![0, 1, 1, 1]].concat();
    let config = server("toString(getSetting", Arc::new(move |stream| stream.write_all(&answer)));
    let refused = connect(settings_of(config)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, BridgeError::Query { .. } | BridgeError::Unreachable { .. }), "{refused:?}");
}

/// Checked as settings, as they are.
fn settings_of(config: Value) -> Value {
    drop(settings(config.clone()));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tagged_block_is_an_error_however_little_of_it_comes() {
    let rows = [head(&[("v", "String")]), text("one")].concat();
    let block = b"\r\n__exception__\r\nabcdefghijklmnop\r\nCode: 395. DB::Exception: broken on purpose. (X)\n48 abcdefghijklmnop\r\n__exception__\r\n";
    for length in [block.len(), block.len() - 20, 90] {
        let body = [rows.clone(), block[..length].to_vec()].concat();
        for (headers, cut) in [
            ("X-ClickHouse-Exception-Tag: abcdefghijklmnop\r\n", 0),
            ("X-ClickHouse-Exception-Tag: abcdefghijklmnop\r\n", 7),
        ] {
            let told = answer_head(headers, body.len() + cut);
            let (seen, ended) = rows_of(raw([told.into_bytes(), body.clone()].concat())).await;
            assert_eq!(seen, if seen.is_empty() { "" } else { r#"{"v":"one"}"# });
            let refused = ended.unwrap_err();
            assert!(
                matches!(&refused, BridgeError::Query { native: Some(code), .. } if code == "395"),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_behind_values_that_read_like_one_is_found_and_they_are_rows() {
    let value = std::str::from_utf8(OLD_ERROR).unwrap().trim_end();
    let values = [head(&[("v", "String")]), text(value).repeat(50_000)].concat();
    let row = format!("{{\"v\":\"{value}\"}}");
    let (seen, ended) = rows_of(with_rows("", values.clone())).await;
    ended.unwrap();
    assert_eq!(seen.matches(&row).count(), 50_000);
    let (seen, ended) = rows_of(with_rows("", [values, OLD_ERROR.to_vec()].concat())).await;
    let refused = ended.unwrap_err();
    assert!(
        matches!(&refused, BridgeError::Query { native: Some(code), .. } if code == "395"),
        "{refused:?}"
    );
    assert_eq!(seen.matches("\"v\"").count(), seen.matches(&row).count());
}
