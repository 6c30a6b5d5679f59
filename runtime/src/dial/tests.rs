use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::Drain;
use crate::fixtures::Authority;
use crate::settings::{Mapping, Reader};

/// A server that answers each line with itself, over TLS if it has an acceptor.
async fn echo(drain: &Drain, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drain.spawn("echo", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream: Transport = match &tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => continue,
                },
            };
            let (reader, mut writer) = tokio::io::split(stream);
            let mut line = String::new();
            BufReader::new(reader).read_line(&mut line).await.unwrap();
            writer.write_all(line.as_bytes()).await.unwrap();
            writer.shutdown().await.unwrap();
        }
    });
    address
}

async fn says_hello(mut dialed: Dialed) {
    dialed.write_all(b"hello\n").await.unwrap();
    let mut answer = String::new();
    dialed.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello\n");
}

/// A proxy that speaks CONNECT, wants `user:pa ss` and remembers what it was asked for.
struct ConnectProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    async fn start(drain: &Drain, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        drain.spawn("proxy", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream: Transport = match &tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(tls.accept(stream).await.unwrap()),
                };
                serve_tunnel(stream, &log).await;
            }
        });
        Self { address, asked }
    }
}

async fn serve_tunnel(stream: Transport, asked: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).await.unwrap();
    }
    let authority = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(authority.clone());
    let credentials = format!("\r\nProxy-Authorization: Basic {}\r\n", STANDARD.encode("user:pa ss"));
    if !head.contains(&credentials) {
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
        return;
    }
    let Ok(mut server) = TcpStream::connect(&authority).await else {
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
        return;
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    // Ends when either side breaks off, which is how a client that refuses a certificate leaves.
    drop(tokio::io::copy_bidirectional(&mut stream, &mut server).await);
}

fn dialer<const N: usize>(authority: &Authority, proxies: [(&str, String); N]) -> Dialer {
    let source: Mapping = proxies.into_iter().collect();
    let mut reader = Reader::new(&source);
    let proxies = Proxies::load(&mut reader);
    reader.finish().unwrap();
    Dialer::new(authority.client(), proxies)
}

async fn dial(dialer: &Dialer, url: &str) -> Result<Dialed, DialError> {
    dialer.dial(&Url::parse(url).unwrap(), Instant::now() + Duration::from_secs(10)).await
}

#[tokio::test]
async fn a_plain_url_is_dialed_directly() {
    let drain = Drain::new();
    let address = echo(&drain, None).await;
    let dialed =
        dial(&dialer(&Authority::named("CA"), []), &format!("ws://{address}/connect")).await.unwrap();
    assert_eq!(dialed.remote_addr(), address);
    assert_eq!((dialed.via_proxy(), dialed.tls_version(), dialed.peer_issuer()), (None, None, None));
    says_hello(dialed).await;
}

#[tokio::test]
async fn a_name_is_resolved_and_a_secure_url_gets_tls() {
    let drain = Drain::new();
    let authority = Authority::named("House CA");
    let address = echo(&drain, Some(authority.acceptor("localhost"))).await;
    let url = format!("wss://localhost:{}/connect", address.port());
    let dialed = dial(&dialer(&authority, []), &url).await.unwrap();
    assert_eq!(dialed.remote_addr(), address);
    assert_eq!((dialed.tls_version(), dialed.peer_issuer()), (Some("TLS 1.3"), Some("CN=House CA")));
    says_hello(dialed).await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_refused() {
    let drain = Drain::new();
    let address = echo(&drain, Some(Authority::named("Unknown CA").acceptor("127.0.0.1"))).await;
    let error =
        dial(&dialer(&Authority::named("Known CA"), []), &format!("wss://{address}")).await.unwrap_err();
    assert_eq!(error.stage(), Stage::Tls);
    assert!(error.to_string().contains("issued by CN=Unknown CA"), "{error}");
}

#[tokio::test]
async fn each_scheme_goes_through_the_proxy_with_credentials() {
    let drain = Drain::new();
    let authority = Authority::named("House CA");
    let proxy = ConnectProxy::start(&drain, None).await;
    let through = format!("http://user:pa%20ss@{}", proxy.address);
    let dialer = dialer(&authority, [("ALL_PROXY", through)]);
    let plain = echo(&drain, None).await;
    let secure = echo(&drain, Some(authority.acceptor("127.0.0.1"))).await;

    for url in [format!("ws://{plain}/"), format!("wss://{secure}/")] {
        let dialed = dial(&dialer, &url).await.unwrap();
        assert_eq!(dialed.via_proxy(), Some(proxy.address.to_string().as_str()));
        assert_eq!(dialed.remote_addr(), proxy.address);
        says_hello(dialed).await;
    }
    assert_eq!(*proxy.asked.lock().unwrap(), [plain.to_string(), secure.to_string()]);
}

#[tokio::test]
async fn an_https_proxy_is_reached_by_tls_and_carries_tls() {
    let drain = Drain::new();
    let authority = Authority::named("House CA");
    let proxy = ConnectProxy::start(&drain, Some(authority.acceptor("127.0.0.1"))).await;
    let through = format!("https://user:pa%20ss@{}", proxy.address);
    let server = echo(&drain, Some(authority.acceptor("127.0.0.1"))).await;
    let dialed =
        dial(&dialer(&authority, [("HTTPS_PROXY", through)]), &format!("wss://{server}")).await.unwrap();
    assert_eq!(dialed.tls_version(), Some("TLS 1.3"));
    says_hello(dialed).await;
}

#[tokio::test]
async fn no_proxy_goes_around_it() {
    let drain = Drain::new();
    let address = echo(&drain, None).await;
    let proxies = [("HTTP_PROXY", "http://127.0.0.1:1".to_owned()), ("NO_PROXY", "127.0.0.1".to_owned())];
    let dialed = dial(&dialer(&Authority::named("CA"), proxies), &format!("ws://{address}")).await.unwrap();
    assert_eq!(dialed.via_proxy(), None);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_credentials() {
    let drain = Drain::new();
    let proxy = ConnectProxy::start(&drain, None).await;
    let through = format!("http://user:hunter2@{}", proxy.address);
    let dialer = dialer(&Authority::named("CA"), [("HTTP_PROXY", through)]);
    let error = dial(&dialer, "ws://127.0.0.1:9/").await.unwrap_err();
    assert_eq!(error.stage(), Stage::Proxy);
    assert_eq!(error.to_string(), format!("proxy {}: it refuses the credentials (407)", proxy.address));
    let shown = format!("{error:?} {dialer:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(&STANDARD.encode("user:hunter2")), "{shown}");
}

#[tokio::test]
async fn a_proxy_that_cannot_reach_the_server_says_so() {
    let drain = Drain::new();
    let proxy = ConnectProxy::start(&drain, None).await;
    let through = format!("http://user:pa%20ss@{}", proxy.address);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let dialer = dialer(&Authority::named("CA"), [("HTTP_PROXY", through)]);
    let error = dial(&dialer, &format!("ws://{nobody}/")).await.unwrap_err();
    assert!(matches!(error, DialError::Proxy { source: ProxyError::Refused(502), .. }), "{error}");
}

#[tokio::test]
async fn each_early_failure_names_its_stage() {
    let dialer = dialer(&Authority::named("CA"), []);
    assert_eq!(dial(&dialer, "ftp://127.0.0.1/").await.unwrap_err().stage(), Stage::Url);
    // Too long for a label, so that the resolver refuses it without asking anyone.
    let name = "x".repeat(64);
    assert_eq!(dial(&dialer, &format!("ws://{name}/")).await.unwrap_err().stage(), Stage::Dns);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(dial(&dialer, &format!("ws://{nobody}/")).await.unwrap_err().stage(), Stage::Tcp);
}

#[tokio::test]
async fn a_server_that_stays_silent_in_the_handshake_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("wss://{}", listener.local_addr().unwrap())).unwrap();
    let dialer = dialer(&Authority::named("CA"), []);
    let error = dialer.dial(&url, Instant::now() + Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { stage: Stage::Tls, .. }), "{error}");
}
