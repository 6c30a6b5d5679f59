//! A gateway that says what the test tells it to say.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Gateway {
    listener: TcpListener,
}

/// One runner's socket, seen from the gateway.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    pub(crate) authorization: String,
    pub(crate) uri: String,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Heard {
    Frame(Value),
    Closed(u16, String),
    Gone,
}

impl Gateway {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> url::Url {
        format!("ws://{}/connect", self.address()).parse().unwrap()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        timeout(LIMIT, self.listener.accept()).await.expect("nobody connects").unwrap().0
    }

    /// Upgrades the next connection.
    pub(crate) async fn accept(&self) -> Socket {
        let (mut authorization, mut uri) = (String::new(), String::new());
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let note = |request: &Request, response: Response| {
            authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
            uri = request.uri().to_string();
            Ok(response)
        };
        let stream = self.tcp().await;
        stream.set_nodelay(true).unwrap();
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let stream = accept_hdr_async_with_config(stream, note, Some(config)).await.unwrap();
        Socket { stream, authorization, uri }
    }

    /// Answers the next upgrade with another status.
    pub(crate) async fn refuse(&self, status: &str) {
        let mut stream = self.tcp().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        drop(stream.shutdown().await);
    }

    /// Upgrades, hears hello and acknowledges.
    pub(crate) async fn greet(&self, sources: Value, extensions: &[&str]) -> Socket {
        let mut socket = self.accept().await;
        assert_eq!(socket.frame().await["type"], "hello");
        socket.acknowledge(sources, extensions).await;
        socket
    }
}

impl Socket {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        timeout(LIMIT, self.stream.send(message)).await.expect("the runner does not read").unwrap();
    }

    pub(crate) async fn acknowledge(&mut self, sources: Value, extensions: &[&str]) {
        let mut ack = json!({"type": "hello-ack", "serverVersion": "test 1", "assignedSources": sources});
        if !extensions.is_empty() {
            ack["extensions"] = json!(extensions);
        }
        self.send(ack).await;
    }

    /// What comes next, heartbeats left out.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match self.hear_all().await {
                Heard::Frame(frame) if frame["type"] == "heartbeat" => {}
                heard => return heard,
            }
        }
    }

    /// What comes next.
    pub(crate) async fn hear_all(&mut self) -> Heard {
        loop {
            match timeout(LIMIT, self.stream.next()).await.expect("the runner says nothing") {
                Some(Ok(Message::Text(text))) => return Heard::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    return Heard::Closed(code.into(), reason.to_string());
                }
                Some(Ok(Message::Close(None))) => return Heard::Closed(1005, String::new()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("a runner sends text: {other:?}"),
                Some(Err(_)) | None => return Heard::Gone,
            }
        }
    }

    /// The next frame, heartbeats left out.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    pub(crate) async fn heartbeat(&mut self) -> Value {
        loop {
            match self.hear_all().await {
                Heard::Frame(frame) if frame["type"] == "heartbeat" => return frame,
                Heard::Frame(_) => {}
                other => panic!("a heartbeat was expected, not {other:?}"),
            }
        }
    }

    /// Nothing but heartbeats comes for that time.
    pub(crate) async fn is_quiet_for(&mut self, time: Duration) -> bool {
        timeout(time, self.hear()).await.is_err()
    }

    /// Reads until the socket ends and answers how.
    pub(crate) async fn end(&mut self) -> (u16, String) {
        loop {
            match self.hear().await {
                Heard::Frame(_) => {}
                Heard::Closed(code, reason) => return (code, reason),
                Heard::Gone => return (1006, String::new()),
            }
        }
    }

    /// All frames of job `id` up to its last one.
    pub(crate) async fn answer(&mut self, id: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            assert_eq!(frame["id"], id, "{frame}");
            let is_last = frame["type"] != "chunk";
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }

    pub(crate) async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        drop(self.stream.close(Some(frame)).await);
        while let Some(Ok(_)) = self.stream.next().await {}
    }

    pub(crate) fn into_tcp(self) -> TcpStream {
        self.stream.into_inner()
    }
}

/// A job frame for the source `main`.
pub(crate) fn job(id: &str, kind: &str, target: &str, options: Value) -> Value {
    json!({
        "type": "job",
        "id": id,
        "params": {"source": "main", "job": {"kind": kind, "target": target, "options": options}},
        "deadlineMs": 10_000,
    })
}

/// A managed source of the test driver.
pub(crate) fn managed(name: &str, config: Value) -> Value {
    json!({"id": format!("id-{name}"), "name": name, "bridge": "fake", "credentialsLocation": "managed", "config": config})
}

/// A runner-local source of the test driver.
pub(crate) fn local(name: &str) -> Value {
    json!({"id": format!("id-{name}"), "name": name, "bridge": "fake", "credentialsLocation": "runner-local"})
}
