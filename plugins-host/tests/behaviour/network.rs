//! A guest that connects to wherever it is told, by every way there is out of a component.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call};
use protocol::ReadOptions;
use semilayer_plugins_host::{Allowlist, Grants, Limits, Plugin};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::support::{ample, engine, guest, opened, read, until};

/// A server on loopback that answers requests, and sends back everything else.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let (count, mut tasks) = (Arc::clone(&accepted), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                // A guest that goes away is how most of these end.
                connections.spawn(async move { drop(serve(stream).await) });
            }
        });
        Self { address, accepted, _tasks: tasks }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = vec![0; 10_000];
    loop {
        let count = stream.read(&mut bytes).await?;
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        match text.split_once("\r\n") {
            _ if count == 0 => return Ok(()),
            Some((line, _)) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
                stream.write_all(head.as_bytes()).await?;
            }
            None => stream.write_all(&bytes[..count]).await?,
        }
    }
}

/// The guest, with what it may do.
async fn dialer(allow: &[&str], sockets: bool) -> Arc<Plugin> {
    let allow = Allowlist::parse(allow.iter().copied()).unwrap();
    let limits = Limits { grace: Duration::from_millis(500), ..Limits::default() };
    engine().load(guest("dialer"), |_| Grants { limits, allow, sockets }).await.unwrap()
}

async fn source(plugin: &Plugin) -> Box<dyn Bridge> {
    opened(plugin, json!({ "poolMax": 1 })).await.unwrap()
}

/// What the guest tells of its one row.
async fn told(bridge: &dyn Bridge, target: &str) -> Result<String, BridgeError> {
    let (rows, _) = read(bridge, target).await?;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    Ok(rows[0]["told"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_way_leads_to_what_is_allowed() {
    let server = Server::new().await;
    let (address, port) = (server.address, server.address.port());
    let plugin = dialer(&["127.0.0.1", &format!("localhost:{port}")], true).await;
    let bridge = source(&plugin).await;
    let asked = [
        (format!("stream 127.0.0.1 {port}"), "ping"),
        (format!("stream LOCALHOST. {port}"), "ping"),
        (format!("get http://{address} /a?b"), "GET /a?b HTTP/1.1"),
        (format!("tcp {address}"), "ping"),
        (format!("tcp localhost:{port}"), "ping"),
        (format!("wasi-get {address} /a?b"), "GET /a?b HTTP/1.1"),
    ];
    for (target, answer) in asked {
        assert_eq!(told(&*bridge, &target).await.unwrap(), answer, "{target}");
    }
    assert_eq!(plugin.stats().refused_connections, 0);
}

#[tokio::test]
async fn no_way_leads_anywhere_else() {
    let server = Server::new().await;
    let (address, port) = (server.address, server.address.port());
    let plugin = dialer(&["10.0.0.0/8", "*.example.com:443"], true).await;
    let bridge = source(&plugin).await;
    for target in [
        format!("stream 127.0.0.1 {port}"),
        format!("stream localhost {port}"),
        format!("get http://{address} /"),
    ] {
        let refused = told(&*bridge, &target).await.unwrap_err().to_string();
        assert!(refused.contains("the runner does not let this plugin connect there"), "{target}: {refused}");
    }
    let asked = [
        (format!("tcp {address}"), "Permission denied"),
        (format!("tcp localhost:{port}"), "Permission denied"),
        (format!("tcp [::1]:{port}"), "Permission denied"),
        ("lookup secret.evil.example".to_owned(), "Permission denied"),
        (format!("wasi-get {address} /"), "HttpRequestDenied"),
        (format!("wasi-get 2130706433:{port} /"), "HttpRequestUriInvalid"),
    ];
    for (target, answer) in asked {
        let said = told(&*bridge, &target).await.unwrap();
        assert!(said.starts_with("failed: ") && said.contains(answer), "{target}: {said}");
    }
    assert_eq!((server.accepted(), plugin.stats().refused_connections), (0, 8));
}

#[tokio::test]
async fn sockets_of_wasi_connect_and_do_nothing_else() {
    let plugin = dialer(&["127.0.0.1", "0.0.0.0/0"], true).await;
    let bridge = source(&plugin).await;
    for target in ["listen 127.0.0.1:0", "listen 0.0.0.0:0", "udp 127.0.0.1:9"] {
        let said = told(&*bridge, target).await.unwrap();
        assert!(said.starts_with("failed: "), "{target}: {said}");
    }
}

#[tokio::test]
async fn sockets_of_wasi_are_counted_with_all_others() {
    let server = Server::new().await;
    let plugin = dialer(&["127.0.0.1"], true).await;
    let bridge = source(&plugin).await;
    let most = Limits::default().sockets;
    for _ in 0..2 {
        let said = told(&*bridge, &format!("tcp-count {}", server.address)).await.unwrap();
        assert!(said.starts_with(&format!("{most}: ")), "{said}");
    }
    // What is closed is given back, to the other ways too.
    assert_eq!(told(&*bridge, &format!("stream 127.0.0.1 {}", server.address.port())).await.unwrap(), "ping");
    assert_eq!(plugin.stats().failures, 0);
}

#[tokio::test]
async fn without_the_grant_there_are_no_sockets_of_wasi() {
    let server = Server::new().await;
    let plugin = dialer(&["127.0.0.1", "localhost"], false).await;
    let bridge = source(&plugin).await;
    for target in [format!("tcp {}", server.address), "lookup localhost".to_owned()] {
        let said = told(&*bridge, &target).await.unwrap();
        assert!(said.starts_with("failed: "), "{target}: {said}");
    }
    assert_eq!(server.accepted(), 0);
    // What the runner does for it works all the same.
    let stream = format!("stream 127.0.0.1 {}", server.address.port());
    assert_eq!(told(&*bridge, &stream).await.unwrap(), "ping");
}

#[tokio::test]
async fn the_endpoint_of_a_source_is_reached_as_far_as_the_operator_lets_it() {
    let server = Server::new().await;
    let address = server.address.to_string();
    let stream = format!("stream 127.0.0.1 {}", server.address.port());
    let settings = json!({ "endpoint": address });
    let alone = dialer(&[], false).await;
    let bridge = opened(&alone, settings.clone()).await.unwrap();
    assert!(
        told(&*bridge, &stream).await.is_err(),
        "settings may come from a gateway, and loopback is the operator's"
    );
    let listed = dialer(&[&address], false).await;
    let bridge = opened(&listed, settings).await.unwrap();
    assert_eq!(told(&*bridge, &stream).await.unwrap(), "ping");
}

#[tokio::test]
async fn there_is_nothing_around_a_guest() {
    let plugin = dialer(&[], true).await;
    let said = told(&*source(&plugin).await, "surroundings").await.unwrap();
    assert_eq!(said, "files 0, writes false, variables 0, arguments 0");
}

#[tokio::test]
async fn a_guest_that_waits_for_the_runner_comes_to_an_end_when_nobody_wants_its_answer() {
    let server = Server::new().await;
    let plugin = dialer(&["127.0.0.1"], false).await;
    let bridge = source(&plugin).await;
    let target = format!("wait 127.0.0.1 {}", server.address.port());
    let call = ample();
    let job = bridge.read(&call, &target, ReadOptions::default());
    tokio::select! {
        ended = job => panic!("nothing was sent: {}", ended.is_ok()),
        () = until("connected", || server.accepted() == 1) => {}
    }
    let began = Instant::now();
    assert_eq!(told(&*bridge, &target.replace("wait", "stream")).await.unwrap(), "ping");
    assert!(began.elapsed() < Duration::from_millis(400), "it was not waited for");
    assert_eq!((plugin.stats().killed, plugin.stats().instances), (0, 1), "its connection lives");
}

#[tokio::test]
async fn a_guest_that_waits_by_itself_is_ended() {
    let server = Server::new().await;
    let plugin = dialer(&["127.0.0.1"], true).await;
    let bridge = source(&plugin).await;
    let call = ample();
    let target = format!("tcp-wait {}", server.address);
    let job = bridge.read(&call, &target, ReadOptions::default());
    tokio::select! {
        ended = job => panic!("nothing was sent: {}", ended.is_ok()),
        () = until("connected", || server.accepted() == 1) => {}
    }
    assert_eq!(told(&*bridge, &format!("tcp {}", server.address)).await.unwrap(), "ping");
    assert_eq!(plugin.stats().killed, 1);
}

#[tokio::test]
async fn waiting_ends_at_the_deadline() {
    let server = Server::new().await;
    let plugin = dialer(&["127.0.0.1"], false).await;
    let bridge = source(&plugin).await;
    let target = format!("wait 127.0.0.1 {}", server.address.port());
    let call = Call::within(Duration::from_millis(200));
    let late = bridge.read(&call, &target, ReadOptions::default()).await.err();
    assert!(matches!(late, Some(BridgeError::Timeout)), "{late:?}");
    assert_eq!(told(&*bridge, &target.replace("wait", "stream")).await.unwrap(), "ping");
    assert_eq!(plugin.stats().killed, 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_of_the_job_alone() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(TcpStream::connect(closed).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let plugin = dialer(&["127.0.0.1"], false).await;
    let bridge = source(&plugin).await;
    let failed = told(&*bridge, &format!("stream 127.0.0.1 {}", closed.port())).await;
    assert!(matches!(failed, Err(BridgeError::Unreachable { .. })), "{failed:?}");
    assert_eq!(plugin.stats().failures, 0);
}
