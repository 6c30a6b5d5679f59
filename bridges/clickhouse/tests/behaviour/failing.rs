//! Servers that break off, speak nonsense, are too old or go away.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bridge_core::BridgeError;
use protocol::CHUNK_BYTES;
use serde_json::{Value, json};

use crate::asking::{ample, collect, connect, open, options, query};
use crate::database::{Database, ask};
use crate::server::{eventually, old_server, server};

/// How a made-up server ends its rows.
#[derive(Clone, Copy)]
enum End {
    /// As it should.
    Well,
    /// The connection closes before the last chunk.
    Cut,
}

/// A server of 24.8 that has one table, `t`, and answers every select from it with `rows`.
fn made_up(rows: Vec<u8>, end: End) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let rows = rows.clone();
            std::thread::spawn(move || serve(stream, &rows, end));
        }
    });
    json!({ "host": "127.0.0.1", "port": port, "database": "d" })
}

fn serve(mut stream: TcpStream, rows: &[u8], end: End) {
    while let Some(asked) = request(&mut stream) {
        let body = match () {
            () if asked.contains("SELECT version()") => b"24.8.1.1\n".to_vec(),
            () if asked.contains("join_use_nulls') ") || asked.contains("toString(getSetting") => {
                [head(&[("a", "String"), ("b", "String")]), text("1"), text("lon_lat")].concat()
            }
            () if asked.contains("system.columns") => {
                let columns = ["name", "type", "pk", "sk", "kind", "key"].map(|name| (name, "String"));
                let row = ["v", "String", "1", "1", "", "v"].map(text).concat();
                [head(&columns), row].concat()
            }
            () if asked.contains("KILL QUERY") => Vec::new(),
            () => {
                let body = [head(&[("v", "String")]), rows.to_vec()].concat();
                answer(&mut stream, &body, end);
                if matches!(end, End::Cut) {
                    stream.shutdown(Shutdown::Both).ok();
                    return;
                }
                continue;
            }
        };
        answer(&mut stream, &body, End::Well);
    }
}

pub(crate) fn request(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(at) = all.windows(4).position(|bytes: &[u8]| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..at]).to_ascii_lowercase();
            let length =
                head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if all.len() >= at + 4 + length.unwrap_or(0) {
                return Some(String::from_utf8_lossy(&all).into_owned());
            }
        }
        match stream.read(&mut piece) {
            Ok(count @ 1..) => all.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
}

fn answer(stream: &mut TcpStream, body: &[u8], end: End) {
    let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    // Small chunks, so that what matters lies across their borders.
    for piece in body.chunks(7) {
        out.extend(format!("{:x}\r\n", piece.len()).bytes());
        out.extend_from_slice(piece);
        out.extend(b"\r\n");
    }
    if matches!(end, End::Well) {
        out.extend(b"0\r\n\r\n");
    }
    stream.write_all(&out).ok();
}

pub(crate) fn head(columns: &[(&str, &str)]) -> Vec<u8> {
    let names = columns.iter().flat_map(|(name, _)| text(name));
    let types = columns.iter().flat_map(|(_, kind)| text(kind));
    [u8::try_from(columns.len()).unwrap()].into_iter().chain(names).chain(types).collect()
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    [u8::try_from(value.len()).unwrap()].into_iter().chain(value.bytes()).collect()
}

/// Rows before the end, and how they end.
async fn rows_of(rows: Vec<u8>, end: End) -> (Vec<String>, Result<(), BridgeError>) {
    let bridge = open(made_up(rows, end)).await;
    let mut stream = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
    let mut seen = Vec::new();
    loop {
        match stream.next(CHUNK_BYTES).await {
            Ok(Some(batch)) => seen.push(batch.rows),
            Ok(None) => return (seen, Ok(())),
            Err(error) => return (seen, Err(error)),
        }
    }
}

pub(crate) const OLD_ERROR: &[u8] =
    b"Code: 395. DB::Exception: broken on purpose. (X) (version 24.8.1.1 (official build))\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_is_text_behind_the_rows_is_an_error() {
    for end in [End::Well, End::Cut] {
        let (seen, ended) = rows_of([text("one"), text("two"), OLD_ERROR.to_vec()].concat(), end).await;
        assert!(!seen.join(",").contains("Code"), "{seen:?}");
        let error = ended.unwrap_err();
        assert!(
            matches!(&error, BridgeError::Query { native: Some(code), .. } if code == "395"),
            "{error:?}"
        );
        assert_eq!(error.to_string(), "broken on purpose. (X)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_reads_like_an_error_is_a_value() {
    let value = std::str::from_utf8(OLD_ERROR).unwrap().trim_end();
    let (seen, ended) = rows_of([text("one"), text(value)].concat(), End::Well).await;
    ended.unwrap();
    assert_eq!(seen.join(","), format!("{{\"v\":\"one\"}},{{\"v\":\"{value}\"}}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_break_off_are_an_error() {
    let torn = [text("one"), b"\x05ab".to_vec()].concat();
    for (rows, end) in [(torn.clone(), End::Well), (torn, End::Cut), (text("whole"), End::Cut)] {
        let (_, ended) = rows_of(rows, end).await;
        assert!(matches!(ended, Err(BridgeError::Unreachable { .. })), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_refused_in_one_clear_sentence() {
    let server = old_server();
    let config = json!({ "host": server.host, "port": server.port, "username": server.name("app"),
        "password": server.password("app") });
    let refused = connect(config).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("ClickHouse 18.16.1 is too old: 23.3 or later is needed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_that_kills_is_understood_by_a_server_that_is_no_stand_in() {
    // What the bridge sends when a stream is dropped, against a real process list.
    let server = old_server();
    let id = "6a1f7f0c-0000-4000-8000-0123456789ab";
    let mark = "/* semilayer:6a1f7f0c0000400080000123456789ab */";
    let slow = format!("{mark} SELECT count() FROM system.numbers WHERE number = 5");
    let running = std::thread::spawn(move || ask(server, "app", "", &slow));
    let count = || {
        let sql = format!("SELECT count() FROM system.processes WHERE query LIKE '{mark}%'");
        ask(server, "admin", "", &sql).unwrap().trim().to_owned()
    };
    eventually("the statement runs", async || count() == "1").await;
    let kill = format!("KILL QUERY WHERE query_id = '{id}' OR position(query, '{mark}') = 1 ASYNC");
    ask(server, "app", "", &kill).unwrap();
    eventually("the statement is gone", async || count() == "0").await;
    let ended = running.join().unwrap();
    assert!(ended.is_err() || ended.unwrap().contains("Exception"));
}

/// Forwards to the server, and can cut and refuse.
#[derive(Clone)]
struct Gate {
    port: u16,
    open: Arc<Mutex<bool>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Gate {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Self { port, open: Arc::new(Mutex::new(true)), streams: Arc::default() };
        let own = gate.clone();
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if !*own.open.lock().unwrap() {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                own.streams
                    .lock()
                    .unwrap()
                    .extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        std::io::copy(&mut from, &mut to).ok();
                        to.shutdown(Shutdown::Both).ok();
                    });
                }
            }
        });
        gate
    }

    fn cut(&self) {
        *self.open.lock().unwrap() = false;
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    fn mend(&self) {
        *self.open.lock().unwrap() = true;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_and_comes_back_is_used_again() {
    let database = Database::with(
        "CREATE TABLE t (id Int32) ENGINE = MergeTree ORDER BY id;
        INSERT INTO t VALUES (1);
        CREATE VIEW endless AS SELECT number AS n FROM numbers(1000000000000);",
    );
    let gate = Gate::start(server().port);
    let mut config = database.config();
    config["port"] = gate.port.into();
    let bridge = open(config).await;
    let mut rows = bridge.query(&ample(), "endless", options(json!({}))).await.unwrap();
    assert!(rows.next(CHUNK_BYTES).await.unwrap().is_some());
    gate.cut();
    let broken = collect(rows).await.unwrap_err();
    assert!(matches!(broken, BridgeError::Unreachable { .. }), "{broken:?}");
    let gone = query(&*bridge, "t", json!({})).await.unwrap_err();
    assert!(matches!(gone, BridgeError::Unreachable { .. }), "{gone:?}");
    gate.mend();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap(), [json!({ "id": 1 })]);
    // Connections that lie idle when they are cut are replaced without a word.
    gate.cut();
    gate.mend();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap(), [json!({ "id": 1 })]);
}
