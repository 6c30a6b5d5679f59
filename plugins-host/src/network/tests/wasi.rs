//! The network of WASI.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::super::error::NetworkError;
use super::super::host::Host;
use super::super::wasi::may_use;
use super::*;

fn granting(web: &Web, allow: &[&str]) -> World {
    World::of(web, Making { allow, wasi_sockets: true, ..Making::default() })
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl World {
    fn may(&self, what: SocketAddrUse, to: &str) -> bool {
        may_use(&self.network.outlet, address(to), what)
    }

    /// Sends a request as a guest of `wasi:http` does.
    async fn wasi_send(
        &mut self,
        uri: &str,
        body: Option<&'static str>,
    ) -> Result<hyper::Response<WasiBody>, Error> {
        let body = match body {
            Some(text) => Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync(),
            None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        };
        let method = if hyper::body::Body::is_end_stream(&body) { "GET" } else { "POST" };
        let request = hyper::Request::builder().method(method).uri(uri).body(body).unwrap();
        self.network.hooks.begin(self.call.clone());
        let options =
            RequestOptions { between_bytes_timeout: Some(Duration::from_millis(100)), ..Default::default() };
        let sent = self.network.hooks.send_request(request, Some(options), Box::new(async { Ok(()) }));
        Box::into_pin(sent).await.map(|(response, _)| response)
    }

    async fn wasi_fetch(&mut self, uri: &str, body: Option<&'static str>) -> Result<String, Error> {
        let body = self.wasi_send(uri, body).await?.into_body().collect().await?;
        Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_guest_connects_to_what_it_looked_up_and_may() {
    let web = Web::default();
    web.name("db.internal", &[&["10.0.0.5"]]);
    let world = granting(&web, &["db.internal:5432"]);
    assert!(!world.may(SocketAddrUse::TcpConnect, "10.0.0.5:5432"), "not looked up yet");
    assert_eq!(world.network.outlet.look_up(&host("db.internal")).await.unwrap(), [ip("10.0.0.5")]);
    assert!(world.may(SocketAddrUse::TcpConnect, "10.0.0.5:5432"));
    assert!(world.may(SocketAddrUse::TcpConnect, "[::ffff:10.0.0.5]:5432"));
    assert!(!world.may(SocketAddrUse::TcpConnect, "10.0.0.5:22"));
    assert!(!world.may(SocketAddrUse::TcpConnect, "10.0.0.6:5432"));
    assert_eq!(world.refused(), 3);
}

#[tokio::test]
async fn a_guest_connects_to_addresses_that_are_listed_themselves() {
    let world = granting(&Web::default(), &["10.0.0.0/8:5432"]);
    assert!(world.may(SocketAddrUse::TcpConnect, "10.1.2.3:5432"));
    assert!(!world.may(SocketAddrUse::TcpConnect, "10.1.2.3:22"));
    assert!(!world.may(SocketAddrUse::TcpConnect, "8.8.8.8:5432"));
}

#[tokio::test]
async fn only_names_that_are_allowed_are_looked_up() {
    let web = Web::default();
    web.name("es.example", &[&["127.0.0.1", PUBLIC]]);
    let making = Making { endpoints: &["es.example:9200"], wasi_sockets: true, ..Making::default() };
    let world = World::of(&web, making);
    let refused = world.network.outlet.look_up(&host("secret.evil.example")).await;
    assert!(matches!(refused, Err(NetworkError::Refused)));
    world.network.outlet.look_up(&host("es.example")).await.unwrap();
    assert_eq!(web.looked_up(), ["es.example"]);
    assert!(world.may(SocketAddrUse::TcpConnect, "8.8.8.8:9200"));
    assert!(!world.may(SocketAddrUse::TcpConnect, "127.0.0.1:9200"), "its own endpoint must not lead inside");
    // An address is not looked up, and that tells nothing about whether it may be connected to.
    assert_eq!(world.network.outlet.look_up(&host("10.0.0.5")).await.unwrap(), [ip("10.0.0.5")]);
    assert!(!world.may(SocketAddrUse::TcpConnect, "10.0.0.5:9200"));
}

#[tokio::test]
async fn what_a_guest_has_looked_up_is_forgotten_some_day() {
    let web = Web::default();
    let world = granting(&web, &["*.example", "10.0.0.0/8"]);
    for number in 0..300 {
        let name = format!("n{number}.example");
        web.name(&name, &[&[&format!("10.0.{}.{}", number / 250, number % 250)]]);
        world.network.outlet.look_up(&host(&name)).await.unwrap();
    }
    assert_eq!(world.network.outlet.looked_up(), 256);
}

#[tokio::test]
async fn a_guest_binds_to_nothing_and_listens_to_nobody() {
    let world = granting(&Web::default(), &["127.0.0.1", "0.0.0.0/0", "::/0"]);
    assert!(world.may(SocketAddrUse::TcpBind, "0.0.0.0:0"), "every connection begins with it");
    assert!(world.may(SocketAddrUse::TcpBind, "[::]:0"));
    for what in ["0.0.0.0:80", "127.0.0.1:0", "[::1]:0"] {
        assert!(!world.may(SocketAddrUse::TcpBind, what), "{what}");
    }
    let others = [
        SocketAddrUse::TcpListen,
        SocketAddrUse::TcpAccept,
        SocketAddrUse::UdpBind,
        SocketAddrUse::UdpSend,
        SocketAddrUse::UdpReceive,
    ];
    for what in others {
        assert!(!world.may(what, "127.0.0.1:80") && !world.may(what, "0.0.0.0:0"), "{what:?}");
    }
}

#[tokio::test]
async fn without_the_grant_nothing_is_looked_up() {
    let web = Web::default();
    web.name("db.internal", &[&["10.0.0.5"]]);
    let world = World::of(&web, Making { allow: &["db.internal"], ..Making::default() });
    assert!(matches!(world.network.outlet.look_up(&host("db.internal")).await, Err(NetworkError::Refused)));
    assert_eq!(web.looked_up(), [""; 0]);
}

#[tokio::test]
async fn requests_of_wasi_go_where_the_others_go() {
    let server = Server::new(|mut stream, _| async move {
        while let Some(request) = request(&mut stream).await? {
            answer(&mut stream, &request).await?;
        }
        Ok(())
    })
    .await;
    let mut world = World::allowing(&["127.0.0.1"]);
    let uri = format!("http://{}/a?b", server.address);
    let seen = world.wasi_fetch(&uri, None).await.unwrap();
    assert!(seen.starts_with(&format!("GET /a?b HTTP/1.1\r\nhost: {}\r\n", server.address)), "{seen}");
    world.wasi_fetch(&uri, None).await.unwrap();
    assert_eq!(server.accepted(), 1, "connections are kept");
    let mut other = World::allowing(&["10.0.0.0/8"]);
    assert!(matches!(other.wasi_fetch(&uri, None).await, Err(Error::HttpRequestDenied)));
    assert_eq!((server.accepted(), other.refused()), (1, 1));
}

#[tokio::test]
async fn requests_of_wasi_with_an_odd_authority_go_nowhere() {
    let mut world = World::allowing(&["127.0.0.1", "a.example"]);
    for authority in ["user@a.example", "2130706433", "127.1", "a.example:0", "a.example:99999", "a.example:"]
    {
        let sent = world.wasi_fetch(&format!("http://{authority}/"), None).await;
        assert!(matches!(sent, Err(Error::HttpRequestUriInvalid)), "{authority}: {sent:?}");
    }
    assert_eq!((world.web.looked_up().len(), world.web.dialed().len()), (0, 0));
}

#[tokio::test]
async fn bodies_of_wasi_go_both_ways() {
    let server = Server::new(|mut stream, _| async move {
        while let Some(request) = request(&mut stream).await? {
            answer(&mut stream, request.split_once("\r\n\r\n").unwrap().1).await?;
        }
        Ok(())
    })
    .await;
    let mut world = World::allowing(&["127.0.0.1"]);
    let uri = format!("http://{}/", server.address);
    assert_eq!(world.wasi_fetch(&uri, Some("there and back")).await.unwrap(), "there and back");
}

#[tokio::test]
async fn a_body_for_wasi_ends_with_its_job_and_when_nothing_comes() {
    let server = Server::new(|mut stream, _| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await?;
        request(&mut stream).await.map(drop)
    })
    .await;
    let uri = format!("http://{}/", server.address);
    let mut world = World::allowing(&["127.0.0.1"]);
    assert!(matches!(world.wasi_fetch(&uri, None).await, Err(Error::HttpResponseTimeout)));
    let body = world.wasi_send(&uri, None).await.unwrap().into_body();
    world.call.cancel();
    assert!(matches!(body.collect().await, Err(Error::ConnectionTerminated)));
}
