//! HTTP, against servers that behave and servers that do not.

use super::super::error::NetworkError;
use super::super::http::Response;
use super::*;
use crate::bindings::http::Request;
use crate::call::Ended;

fn get(url: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: vec![],
        body: None,
        tls: None,
        timeout_ms: None,
    }
}

fn post(url: &str, body: &str) -> Request {
    Request { method: "POST".to_owned(), body: Some(body.into()), ..get(url) }
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends the same bytes to whoever asks, and keeps the connection open.
    async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::new(move |mut stream, _| {
            let bytes = Arc::clone(&bytes);
            async move {
                while request(&mut stream).await?.is_some() {
                    stream.write_all(&bytes).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// Sends the same bytes and closes.
    async fn saying_once(bytes: &'static str) -> Self {
        Self::new(move |mut stream, _| async move {
            request(&mut stream).await?;
            stream.write_all(bytes.as_bytes()).await?;
            stream.shutdown().await
        })
        .await
    }

    /// Answers with the request.
    async fn mirror() -> Self {
        Self::new(|mut stream, _| async move {
            while let Some(request) = request(&mut stream).await? {
                answer(&mut stream, &request).await?;
            }
            Ok(())
        })
        .await
    }
}

impl World {
    fn local() -> Self {
        Self::allowing(&["127.0.0.1"])
    }

    async fn send(&self, request: Request) -> Result<Response, NetworkError> {
        Response::to(request, &self.network.outlet, &self.call).await
    }

    /// The whole body of the answer.
    async fn fetch(&self, request: Request) -> Result<String, NetworkError> {
        let mut response = self.send(request).await?;
        let mut all = Vec::new();
        loop {
            let read = response.read(&self.call, 1_000_000).await?;
            if read.is_empty() {
                return Ok(String::from_utf8(all).unwrap());
            }
            all.extend(read);
        }
    }

    fn idle(&self) -> usize {
        self.network.outlet.pool().idle()
    }
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_meant() {
    let server = Server::mirror().await;
    let world = World::local();
    let mut asked = post(&server.url("/a%20b/ü?q=1&r=%2F"), "body");
    asked.headers =
        vec![("X-Token".to_owned(), "t".to_owned()), ("Accept".to_owned(), "application/json".to_owned())];
    let seen = world.fetch(asked).await.unwrap();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /a%20b/%C3%BC?q=1&r=%2F HTTP/1.1"));
    let mut headers: Vec<_> = lines.collect();
    headers.sort_unstable();
    let host = format!("host: {}", server.address);
    let agent = concat!("user-agent: semilayer-runner/", env!("CARGO_PKG_VERSION"));
    let expected = [
        "accept-encoding: identity",
        "accept: application/json",
        "content-length: 4",
        &host,
        agent,
        "x-token: t",
    ];
    assert_eq!(headers, expected);
    assert_eq!(body, "body");
}

#[tokio::test]
async fn an_empty_post_says_that_it_is_empty() {
    let server = Server::mirror().await;
    let seen = World::local().fetch(Request { body: None, ..post(&server.url("/"), "") }).await.unwrap();
    assert!(seen.contains("\r\ncontent-length: 0\r\n"), "{seen}");
}

#[tokio::test]
async fn an_answer_is_told_as_it_is() {
    let bytes =
        b"HTTP/1.1 404 Nope\r\nX-One: a\r\nx-one: b\r\nX-Latin: \xe9\r\ncontent-length: 5\r\n\r\nhello";
    let server = Server::saying(bytes.as_slice()).await;
    let world = World::local();
    let mut response = world.send(get(&server.url("/"))).await.unwrap();
    assert_eq!(response.status(), 404);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(response.headers(), [pair("x-one", "a"), pair("x-one", "b"), pair("content-length", "5")]);
    assert_eq!(response.read(&world.call, 2).await.unwrap(), b"he");
    assert!(matches!(response.read(&world.call, 0).await, Err(NetworkError::Invalid { .. })));
    assert_eq!(response.read(&world.call, 100).await.unwrap(), b"llo");
    assert_eq!(response.read(&world.call, 100).await.unwrap(), b"");
    assert_eq!(response.read(&world.call, 100).await.unwrap(), b"");
}

#[tokio::test]
async fn chunks_are_put_together() {
    let server = Server::saying(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n",
    )
    .await;
    let world = World::local();
    assert_eq!(world.fetch(get(&server.url("/"))).await.unwrap(), "abcde");
    assert_eq!(world.fetch(get(&server.url("/"))).await.unwrap(), "abcde");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_before_anything_is_sent() {
    let world = World::allowing(&["a.example", "127.0.0.1"]);
    let urls = [
        "",
        "/path",
        "a.example",
        "ftp://a.example/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http:a.example",
        "https:/a.example",
        "http:\\\\a.example",
        "http://127.0.0.1\\@a.example/",
        "https://u@a.example/",
        "https://u:p@a.example/",
        "https://a.example/#f",
        "http://a.example/ b",
        "http://a.example/\r\nx: y",
        "ht\ntp://a.example/",
        "http://a.example:0/",
        "http://a.example:99999/",
        "http://a%0db/",
        "unix:/x",
        "data:,x",
        "http://a.example\t/",
        "javascript:alert(1)",
    ];
    for url in urls {
        let wrong = world.send(get(url)).await.err().unwrap();
        assert!(matches!(wrong, NetworkError::Invalid { field: "url", .. }), "{url:?}: {wrong}");
    }
    for method in ["", "GE T", "CONNECT", "G\r\nX", "G\u{e9}", &"A".repeat(40)] {
        let asked = Request { method: method.to_owned(), ..get("http://a.example/") };
        let wrong = world.send(asked).await.err().unwrap();
        assert!(matches!(wrong, NetworkError::Invalid { field: "method", .. }), "{method:?}: {wrong}");
    }
    let headers = [
        ("host", "evil"),
        ("Host", "evil"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("keep-alive", "x"),
        ("proxy-authorization", "x"),
        ("te", "x"),
        ("trailer", "x"),
        ("upgrade", "x"),
        ("expect", "100-continue"),
        ("", "x"),
        ("a b", "x"),
        ("a:b", "x"),
        ("a\r\nb", "x"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        ("\u{e9}", "x"),
    ];
    for (name, value) in headers {
        let asked =
            Request { headers: vec![(name.to_owned(), value.to_owned())], ..get("http://a.example/") };
        let wrong = world.send(asked).await.err().unwrap();
        assert!(matches!(wrong, NetworkError::Invalid { field: "headers", .. }), "{name:?}: {wrong}");
    }
    for (count, bytes) in [(101, 1), (2, 40_000)] {
        let asked =
            Request { headers: vec![("x".to_owned(), "v".repeat(bytes)); count], ..get("http://a.example/") };
        assert!(matches!(world.send(asked).await, Err(NetworkError::Invalid { field: "headers", .. })));
    }
    assert_eq!((world.web.looked_up().len(), world.web.dialed().len()), (0, 0));
}

#[tokio::test]
async fn a_url_cannot_hide_where_it_goes() {
    let server = Server::mirror().await;
    let world = World::allowing(&["a.example"]);
    let port = server.port();
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://１２７.0.0.1:{port}/"),
        format!("http://0:{port}/"),
        format!("http://localhost:{port}/"),
    ];
    for url in urls {
        assert!(matches!(world.send(get(&url)).await, Err(NetworkError::Refused)), "{url}");
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nothing_more() {
    let inner = Server::mirror().await;
    let head =
        format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inner.url("/secret"));
    let server = Server::saying(head).await;
    let world = World::local();
    let response = world.send(get(&server.url("/"))).await.unwrap();
    assert_eq!((response.status(), inner.accepted()), (302, 0));
}

#[tokio::test]
async fn a_connection_serves_again_once_its_answer_was_read() {
    let server = Server::mirror().await;
    let world = World::local();
    for _ in 0..5 {
        world.fetch(get(&server.url("/"))).await.unwrap();
    }
    assert_eq!((server.accepted(), world.idle()), (1, 1));
}

#[tokio::test]
async fn an_answer_without_a_body_gives_its_connection_back_at_once() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let world = World::local();
    let _kept = world.send(get(&server.url("/"))).await.unwrap();
    assert_eq!(world.idle(), 1);
}

#[tokio::test]
async fn a_connection_whose_answer_was_not_read_is_closed() {
    let server = Server::new(|mut stream, _| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await?;
        while stream.write_all(&[b'x'; 10_000]).await.is_ok() {}
        Ok(())
    })
    .await;
    let world = World::local();
    let mut response = world.send(get(&server.url("/"))).await.unwrap();
    response.read(&world.call, 10).await.unwrap();
    assert_eq!(world.network.outlet.pool().tasks(), 1);
    drop(response);
    eventually("closing", || world.network.outlet.pool().tasks() == 0).await;
    assert_eq!(world.idle(), 0);
}

#[tokio::test]
async fn at_most_four_connections_to_a_server_are_kept() {
    let server = Server::mirror().await;
    let world = World::local();
    let url = server.url("/");
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(world.send(get(&url)).await.unwrap());
    }
    for response in &mut open {
        while !response.read(&world.call, 10_000).await.unwrap().is_empty() {}
    }
    assert_eq!((server.accepted(), world.idle()), (6, 4));
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_another() {
    let (first, second) = (Server::mirror().await, Server::mirror().await);
    let making = Making { allow: &["127.0.0.1"], sockets: 1, ..Making::default() };
    let world = World::of(&Web::default(), making);
    for _ in 0..3 {
        world.fetch(get(&first.url("/"))).await.unwrap();
        world.fetch(get(&second.url("/"))).await.unwrap();
    }
    assert_eq!(first.accepted(), 3);
    // One that is in use does not.
    let _open = world.send(get(&first.url("/"))).await.unwrap();
    assert!(matches!(world.send(get(&second.url("/"))).await, Err(NetworkError::TooMany { limit: 1 })));
}

#[tokio::test]
async fn connections_are_closed_after_half_a_minute() {
    let server = Server::mirror().await;
    let world = World { call: CallState::within(Duration::from_secs(120)), ..World::local() };
    world.fetch(get(&server.url("/"))).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(world.idle(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    eventually("closing", || world.network.outlet.pool().tasks() == 0).await;
    // And the next one is looked after as well.
    world.fetch(get(&server.url("/"))).await.unwrap();
    assert_eq!((world.idle(), server.accepted(), world.network.outlet.pool().tasks()), (1, 2, 2));
}

#[tokio::test]
async fn nothing_stays_open_when_the_instance_has_gone() {
    let server = Server::mirror().await;
    let world = World::local();
    world.fetch(get(&server.url("/"))).await.unwrap();
    let outlet = Arc::clone(&world.network.outlet);
    drop(world);
    eventually("closing", || outlet.pool().tasks() == 0).await;
}

/// Answers once for each connection and then closes it as soon as the next request comes.
async fn forgetful() -> Server {
    Server::new(|mut stream, _| async move {
        if request(&mut stream).await?.is_some() {
            answer(&mut stream, "once").await?;
        }
        // The next one is read and not answered.
        request(&mut stream).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_stale_connection_is_replaced_once() {
    let server = forgetful().await;
    let world = World::local();
    assert_eq!(world.fetch(get(&server.url("/"))).await.unwrap(), "once");
    assert_eq!(world.fetch(get(&server.url("/"))).await.unwrap(), "once");
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn what_must_not_happen_twice_is_not_sent_twice() {
    let server = forgetful().await;
    let world = World::local();
    assert_eq!(world.fetch(get(&server.url("/"))).await.unwrap(), "once");
    let lost = world.fetch(post(&server.url("/"), "pay")).await.unwrap_err();
    assert!(matches!(lost, NetworkError::Lost(_)), "{lost}");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let server = Server::saying_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let world = World::local();
    for count in 1..4 {
        assert_eq!(world.fetch(post(&server.url("/"), "pay")).await.unwrap(), "ok");
        eventually("closing", || world.idle() == 0).await;
        assert_eq!(server.accepted(), count);
    }
}

#[tokio::test]
async fn a_new_connection_that_breaks_is_not_tried_again() {
    let server = Server::saying_once("").await;
    let lost = World::local().send(get(&server.url("/"))).await.err().unwrap();
    assert!(matches!(lost, NetworkError::Lost(_)), "{lost}");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn waiting_for_an_answer_ends_with_the_job() {
    let server = Server::mute().await;
    let world = World::local();
    let cancel = async {
        eventually("connecting", || server.accepted() == 1).await;
        world.call.cancel();
    };
    let (sent, ()) = tokio::join!(world.send(get(&server.url("/"))), cancel);
    assert!(matches!(sent, Err(NetworkError::Ended(Ended::Cancelled))));
    eventually("closing", || world.network.outlet.pool().tasks() == 0).await;
}

#[tokio::test]
async fn waiting_for_an_answer_ends_when_the_guest_has_waited_enough() {
    let server = Server::mute().await;
    let asked = Request { timeout_ms: Some(30), ..get(&server.url("/")) };
    assert!(matches!(World::local().send(asked).await, Err(NetworkError::Late)));
}

#[tokio::test]
async fn a_body_that_stops_is_waited_for_until_the_job_ends() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await;
    let world = World::local();
    let mut response = world.send(get(&server.url("/"))).await.unwrap();
    assert_eq!(response.read(&world.call, 100).await.unwrap(), b"begun");
    let job = CallState::within(Duration::from_millis(30));
    assert!(matches!(response.read(&job, 100).await, Err(NetworkError::Ended(Ended::TimedOut))));
}

#[tokio::test]
async fn a_body_without_end_is_read_piece_by_piece() {
    let server = Server::new(|mut stream, _| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        while stream.write_all(&[b'x'; 100_000]).await.is_ok() {}
        Ok(())
    })
    .await;
    let world = World::local();
    let mut response = world.send(get(&server.url("/"))).await.unwrap();
    let mut seen = 0;
    while seen < 5_000_000 {
        let read = response.read(&world.call, u32::MAX).await.unwrap().len();
        assert!((1..=256 << 10).contains(&read));
        seen += read;
    }
}

#[tokio::test]
async fn heads_without_measure_are_refused() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "v".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200));
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x: yyyyyyyyyyyyyy\r\n".repeat(100_000));
    for head in [long, many, endless] {
        let server = Server::saying(head).await;
        let refused = World::local().send(get(&server.url("/"))).await.err().unwrap();
        assert!(matches!(refused, NetworkError::HeadTooLarge), "{refused:?}");
    }
}

#[tokio::test]
async fn a_head_of_almost_the_limit_is_taken() {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: {}\r\n\r\n", "v".repeat(60_000));
    let server = Server::saying(head).await;
    assert_eq!(World::local().fetch(get(&server.url("/"))).await.unwrap(), "");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let answers = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 2OO OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
    ];
    for text in answers {
        let server = Server::saying(text).await;
        let world = World::local();
        let refused = world.send(get(&server.url("/"))).await.err();
        assert!(matches!(refused, Some(NetworkError::Nonsense(_))), "{text:?}: {refused:?}");
        eventually("closing", || world.network.outlet.pool().tasks() == 0).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_whole_body() {
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\npart",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\npart",
    ];
    for text in answers {
        let server = Server::saying_once(text).await;
        let world = World::local();
        let broken = world.fetch(get(&server.url("/"))).await.unwrap_err();
        assert!(matches!(broken, NetworkError::Lost(_) | NetworkError::Nonsense(_)), "{text:?}: {broken:?}");
        assert_eq!(world.idle(), 0, "{text:?}");
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over_up_to_a_point() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    let server = Server::saying(format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).await;
    assert_eq!(World::local().fetch(get(&server.url("/"))).await.unwrap(), "ok");
    let server = Server::new(|mut stream, _| async move {
        request(&mut stream).await?;
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {}
        Ok(())
    })
    .await;
    let flooded = World::local().send(get(&server.url("/"))).await.err().unwrap();
    assert!(matches!(flooded, NetworkError::Flood), "{flooded:?}");
}

#[tokio::test]
async fn a_change_of_protocol_is_refused() {
    let server =
        Server::saying("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    let refused = World::local().send(get(&server.url("/"))).await.err().unwrap();
    assert!(matches!(refused, NetworkError::Upgrade), "{refused:?}");
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_not_taken_for_the_next() {
    let server = Server::new(|mut stream, number| async move {
        request(&mut stream).await?;
        let body = format!("answer {number}");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all((head.clone() + &head.replace("answer", "forged")).as_bytes()).await?;
        request(&mut stream).await.map(drop)
    })
    .await;
    let world = World::local();
    assert_eq!(world.fetch(get(&server.url("/"))).await.unwrap(), "answer 0");
    assert_eq!(world.fetch(get(&server.url("/"))).await.unwrap(), "answer 1");
}

#[tokio::test]
async fn what_cannot_be_reached_says_so_without_names() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failed = World::local().send(get(&format!("http://{closed}/"))).await.err().unwrap();
    assert!(matches!(failed, NetworkError::Connect(_)), "{failed:?}");
    assert!(!failed.to_string().contains("127.0.0.1"), "{failed}");
}

/// How many answers an instance with one socket keeps before there is no room, when each has had its first byte read.
async fn kept(world: &World, url: &str, read: bool) -> usize {
    let mut kept = Vec::new();
    for _ in 0..1_000 {
        let one = async {
            let mut response = world.send(get(url)).await?;
            if read {
                response.read(&world.call, 1).await?;
            }
            Ok(response)
        };
        match one.await {
            Ok(response) => kept.push(response),
            Err(NetworkError::Full { .. }) => return kept.len(),
            // The connection of an answer that found no room is about to be closed.
            Err(NetworkError::TooMany { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("there is always room");
}

#[tokio::test]
async fn answers_that_are_kept_are_counted_until_they_are_dropped() {
    let (body, long) = ("x".repeat(5_000), "x".repeat(20_000));
    let full = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let long = format!("HTTP/1.1 200 OK\r\nlong: {long}\r\ncontent-length: 0\r\n\r\n");
    let (bodies, heads) = (Server::saying(full).await, Server::saying(long).await);
    let world = World::of(&Web::default(), Making { allow: &["127.0.0.1"], sockets: 1, ..Making::default() });
    for _ in 0..100 {
        assert_eq!(world.fetch(get(&bodies.url("/"))).await.unwrap(), body, "what is read takes up nothing");
    }
    for _ in 0..2 {
        // 256 KiB for each socket.
        assert_eq!(kept(&world, &bodies.url("/"), true).await, 51);
        assert_eq!(kept(&world, &heads.url("/"), false).await, 12);
    }
}

#[tokio::test]
async fn headers_are_the_same_when_they_are_counted() {
    let head = "HTTP/1.1 200 OK\r\na: 1\r\nB: two\r\na: \u{c3}\u{bc}\r\nempty:\r\nodd: \u{ff}\r\ncontent-length: 0\r\n\r\n";
    let bytes: Vec<u8> = head.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let server = Server::saying(bytes).await;
    let headers = World::local().send(get(&server.url("/"))).await.unwrap().headers();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("a", "1"), ("a", "ü"), ("b", "two"), ("empty", ""), ("content-length", "0")]);
}
