//! The component over a real HTTP server on loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of a test may fail it, too")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bridge_conformance::{SurveyOptions, collect};
use bridge_core::{Bridge, BridgeError, Call, Driver};
use plugins_host::{Allowlist, Engine, EngineSettings, Grants, Plugin};
use protocol::{QueryOptions, ReadOptions, SourceConfig};
use serde_json::{Value, json};

/// People, sorted by id, with nulls, quotes and line ends.
fn people(count: usize) -> String {
    let mut text = "id,name,born,score,note\r\n".to_owned();
    for id in 1..=count {
        let born = if id % 7 == 0 {
            String::new()
        } else {
            format!("19{:02}-0{}-1{}", id % 90 + 10, id % 9 + 1, id % 9)
        };
        text += &format!("{id},\"Person, {id}\",{born},{}.{},\"line\n\"\"{id}\"\"\"\r\n", id % 100, id % 10);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_behind_a_url_passes_the_survey() {
    let server = Server::start(people(250));
    let report =
        bridge_conformance::survey(&*plugin().await, &server.config(), SurveyOptions::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_range_requests_that_join() {
    let server = Server::start(people(1_000));
    let bridge = connect(&server).await;
    let mut options = ReadOptions { limit: 300, ..ReadOptions::default() };
    let mut ids = Vec::new();
    loop {
        let stream = bridge.read(&call(), "people", options.clone()).await.unwrap();
        let (rows, tail) = collect(stream).await.unwrap();
        ids.extend(rows.iter().map(|row| row["id"].as_i64().unwrap()));
        options.cursor = tail.next_cursor;
        if options.cursor.is_none() {
            break;
        }
    }
    assert_eq!(ids, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(server.ranges.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runner_filters_and_orders_what_the_file_has() {
    let server = Server::start(people(1_000));
    let bridge = connect(&server).await;
    let options = json!({
        "where": {"born": null, "score": {"$gt": 90}},
        "orderBy": {"id": "desc"},
        "limit": 2,
        "select": ["id", "note"],
    });
    let options = QueryOptions::parse(&serde_json::value::to_raw_value(&options).unwrap()).unwrap();
    let (rows, _) = collect(bridge.query(&call(), "people", options).await.unwrap()).await.unwrap();
    let note = |id: u64| json!({"id": id, "note": format!("line\n\"{id}\"")});
    assert_eq!(rows, [note(994), note(896)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_in_the_middle_fails_that_job_and_not_the_next() {
    let server = Server::start(people(1_000));
    let bridge = connect(&server).await;
    server.cuts.store(true, Ordering::SeqCst);
    let failed = read(&*bridge).await.unwrap_err();
    assert!(matches!(failed, BridgeError::Unreachable { .. }), "{failed:?}");
    server.cuts.store(false, Ordering::SeqCst);
    assert_eq!(read(&*bridge).await.unwrap(), 1_000);
}

/// How many rows there are.
async fn read(bridge: &dyn Bridge) -> Result<usize, BridgeError> {
    let stream = bridge.read(&call(), "people", ReadOptions::default()).await?;
    collect(stream).await.map(|(rows, _)| rows.len())
}

fn call() -> Call {
    Call::within(Duration::from_secs(20))
}

async fn connect(server: &Server) -> Box<dyn Bridge> {
    plugin().await.connect(&server.config(), &call()).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its guests")]
async fn plugin() -> Arc<Plugin> {
    let folder = std::env::var_os("SEMILAYER_TEST_GUESTS");
    let folder = folder.expect("SEMILAYER_TEST_GUESTS names no folder: run cargo xtask guests");
    let component =
        std::fs::read(PathBuf::from(folder).join("csv_http.wasm")).expect("run cargo xtask guests");
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled-plugins");
    let engine = Engine::new(EngineSettings { cache: Some(cache) }).unwrap();
    // Private addresses are for the operator to allow.
    let allow = Allowlist::parse(["127.0.0.1"]).unwrap();
    engine.load(component, |_| Grants { allow, ..Grants::default() }).await.unwrap()
}

/// A file behind HTTP, with ranges.
struct Server {
    address: SocketAddr,
    /// Requests for a part of the file.
    ranges: Arc<AtomicUsize>,
    /// Whether connections are closed when half of the body is gone.
    cuts: Arc<AtomicBool>,
}

impl Server {
    fn start(file: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ranges, cuts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (file, counted, cutting) = (Arc::new(file), Arc::clone(&ranges), Arc::clone(&cuts));
        // Ends with the test's process: it waits for connections only.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (file, counted, cutting) =
                    (Arc::clone(&file), Arc::clone(&counted), Arc::clone(&cutting));
                std::thread::spawn(move || serve(&stream, &file, &counted, &cutting));
            }
        });
        Self { address, ranges, cuts }
    }

    fn config(&self) -> SourceConfig {
        let url = Value::from(format!("http://{}/people.csv", self.address));
        SourceConfig::new(
            [("fileUrl".to_owned(), url), ("key".to_owned(), "id".into())].into_iter().collect(),
        )
    }
}

/// Answers requests until the client has gone.
fn serve(stream: &TcpStream, file: &str, ranges: &AtomicUsize, cuts: &AtomicBool) {
    let mut requests = BufReader::new(stream);
    loop {
        let mut from = None;
        loop {
            let mut line = String::new();
            match requests.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim().is_empty() => break,
                Ok(_) => {
                    let range =
                        line.trim().strip_prefix("range: bytes=").and_then(|range| range.strip_suffix('-'));
                    from = from.or(range.map(|from| from.parse::<usize>().unwrap()));
                }
            }
        }
        let body = file.get(from.unwrap_or(0)..).unwrap_or_default();
        let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
        ranges.fetch_add(usize::from(from.is_some()), Ordering::SeqCst);
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: \"1\"\r\n\r\n", body.len());
        let cut = cuts.load(Ordering::SeqCst);
        let sent = if cut { body.get(..body.len() / 2).unwrap_or_default() } else { body };
        let mut answer = stream;
        let written = answer.write_all(head.as_bytes()).and_then(|()| answer.write_all(sent.as_bytes()));
        if written.is_err() || cut {
            return;
        }
    }
}
