//! A gateway to ask, and runners that do nothing but connect.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use runtime::settings::Mapping;
use runtime::{Drain, Drained};
use semilayer_gateway::app::{App, Running};
use semilayer_gateway::error::StartError;
use semilayer_gateway::settings::{ServeFlags, Settings};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::Message;

const PATIENCE: Duration = Duration::from_secs(10);

/// A folder that goes away with its owner.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("semilayer-gateway-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Every byte of every file.
    pub(crate) fn contents(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: String,
    pub(crate) folder: Folder,
    drain: Drain,
    running: Running,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more of the environment.
    pub(crate) async fn start_with(environment: &[(&str, &str)]) -> Self {
        Self::start_in(Folder::new(), None, environment).await.ok().unwrap()
    }

    /// On what is in `folder` already; `admin` is the token that the first start has made.
    pub(crate) async fn start_in(
        folder: Folder,
        admin: Option<String>,
        environment: &[(&str, &str)],
    ) -> Result<Self, (StartError, Folder)> {
        let own =
            [("SEMILAYER_LISTEN", "127.0.0.1:0"), ("SEMILAYER_STATE_DIR", folder.path().to_str().unwrap())];
        let mapping: Mapping = own.iter().chain(environment).copied().collect();
        let settings = Settings::load(&ServeFlags::default(), &mapping).unwrap().settings;
        let drain = Drain::new();
        let app = match App::build(&settings, &drain).await {
            Ok(app) => app,
            Err(error) => return Err((error, folder)),
        };
        let admin = admin.or_else(|| app.new_admin_token().map(|token| token.expose().to_owned()));
        let address = app.local_addr();
        let running = app.spawn(&drain);
        Ok(Self { address, admin: admin.unwrap_or_default(), folder, drain, running })
    }

    /// Drains and closes, as a SIGTERM does.
    pub(crate) async fn stop(self) -> (Folder, String) {
        self.drain.run(PATIENCE, std::future::pending()).await;
        self.running.close().await;
        (self.folder, self.admin)
    }

    /// Begins to drain, with work under way until the answer is dropped.
    pub(crate) fn begin_draining(&self) -> tokio::sync::oneshot::Sender<()> {
        let (held, ends) = tokio::sync::oneshot::channel();
        self.drain.spawn("held", async move { drop(ends.await) });
        self.drain.refusing().cancel();
        held
    }

    /// Drains, as a SIGTERM does, beside what the test goes on doing.
    pub(crate) async fn drain(&self) -> Drained {
        self.drain.clone().run(PATIENCE, std::future::pending()).await
    }

    /// Waits until the drain has begun.
    pub(crate) async fn draining(&self) {
        self.drain.refusing().cancelled().await;
    }

    /// Asks as the operator.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, Some(&self.admin), &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(HOST, "gateway")
            .header(CONNECTION, "close");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        timeout(PATIENCE, exchange(self.address, request)).await.expect("no answer in time")
    }

    /// Makes a runner; answers its id and its token.
    pub(crate) async fn runner(&self, name: &str) -> (String, String) {
        let made = self.admin("POST", "/api/runners", json!({"name": name})).await.expect(201);
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn source(&self, name: &str) {
        let body = json!({"name": name, "bridge": "sqlite", "credentialsLocation": "runner-local"});
        self.admin("POST", "/api/sources", body).await.expect(201);
    }

    /// Asks until the answer is what is wanted.
    pub(crate) async fn eventually(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            loop {
                let answer = self.admin("GET", path, Value::Null).await.expect(200);
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, asked).await.expect("it did not come to be")
    }
}

impl Answer {
    /// The body, once the status is what is expected.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// The refusal's status and code; the envelope must be whole.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body: Value =
            serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no envelope: {self:?}"));
        assert!(body["error"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        (self.status, body["code"].as_str().unwrap().to_owned())
    }

    /// The field that a 400 names.
    #[track_caller]
    pub(crate) fn wrong_field(&self) -> String {
        assert_eq!(self.refusal(), (400, "bad_request".to_owned()));
        let body: Value = serde_json::from_str(&self.text).unwrap();
        body["field"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let answer = async {
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.into()).unwrap(),
        }
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = answer.as_mut() => answer,
        _ = connection => answer.await,
    }
}

/// A runner's socket that has said hello.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

/// Why a socket could not be opened: the status of the upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unopened(pub(crate) u16);

impl Socket {
    /// Dials in and reads `hello-ack`.
    pub(crate) async fn open(gateway: &Gateway, id: &str, token: &str) -> Result<(Self, Value), Unopened> {
        let hello = json!({"type": "hello", "version": 1, "runnerId": id, "capabilities": ["@semilayer/bridge-sqlite"]});
        Self::greet(gateway, token, &hello).await
    }

    /// The same with this hello.
    pub(crate) async fn greet(
        gateway: &Gateway,
        token: &str,
        hello: &Value,
    ) -> Result<(Self, Value), Unopened> {
        let mut request = format!("ws://{}/connect", gateway.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let mut socket = match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Self(socket),
            Err(SocketError::Http(response)) => return Err(Unopened(response.status().as_u16())),
            Err(error) => panic!("{error}"),
        };
        socket.send(hello).await;
        let ack = socket.frame().await;
        assert_eq!(ack["type"], "hello-ack");
        Ok((socket, ack))
    }

    pub(crate) async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        let next = async {
            loop {
                match self.0.next().await.expect("the socket was closed").unwrap() {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Close(close) => panic!("closed: {close:?}"),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, next).await.expect("no frame in time")
    }

    /// The code of the close frame, once it comes.
    pub(crate) async fn closed(mut self) -> u16 {
        let closed = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(Some(close)))) => return u16::from(close.code),
                    Some(Ok(_)) => {}
                    other => panic!("ended without a close frame: {other:?}"),
                }
            }
        };
        timeout(PATIENCE, closed).await.expect("the socket stayed open")
    }
}
