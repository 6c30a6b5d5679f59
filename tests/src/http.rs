//! A small HTTP/1.1 client that hides nothing: one connection a request, bodies read when the test says so.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::wait::secs;

/// A request to be.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    /// Any method.
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        Self { method: method.to_owned(), path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// A POST of JSON.
    pub fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", path).json(body)
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// With a body of any kind.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self, to: SocketAddr) -> Answer {
        self.open(to).await.whole().await
    }

    /// The same where nobody may listen.
    pub async fn try_send(self, to: SocketAddr) -> Option<Answer> {
        Some(self.try_open(to).await?.whole().await)
    }

    /// Sends it and reads the head of the answer.
    pub async fn open(self, to: SocketAddr) -> Streaming {
        let what = format!("{} {}", self.method, self.path);
        self.try_open(to).await.unwrap_or_else(|| panic!("no answer to {what} from {to}"))
    }

    async fn try_open(self, to: SocketAddr) -> Option<Streaming> {
        let stream = tokio::time::timeout(secs(10), TcpStream::connect(to)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        self.open_over(stream, &to.to_string()).await
    }

    /// The same over a connection that is there already, whatever it is made of.
    pub async fn open_over(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: &str,
    ) -> Option<Streaming> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let connection = Connection(tokio::spawn(async move {
            // It also ends with an error when the test goes away first.
            drop(connection.await);
        }));
        let mut request = hyper::Request::builder().method(self.method.as_str()).uri(&self.path);
        request = request.header(HOST, host).header(CONTENT_LENGTH, self.body.len());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Full::new(self.body)).unwrap()).await.ok()?;
        let (head, body) = response.into_parts();
        Some(Streaming {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            rest: Vec::new(),
            _connection: connection,
        })
    }
}

/// An answer that has been read.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether the body ended as it should.
    pub complete: bool,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The body of an answer that must be a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        self.check();
        self.json()
    }

    /// The answer must be a success.
    #[track_caller]
    pub fn check(&self) {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
    }

    /// The code of an error that must have this status.
    #[track_caller]
    pub fn code(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no code in {}", self.text())).to_owned()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An answer whose body is still on the way. Dropping it closes the connection.
#[derive(Debug)]
pub struct Streaming {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    rest: Vec<u8>,
    _connection: Connection,
}

impl Streaming {
    /// The next piece of the body; none at its end.
    pub async fn piece(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next line of the body as JSON; none at its end.
    pub async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            match self.piece().await {
                Some(Ok(bytes)) => self.rest.extend_from_slice(&bytes),
                Some(Err(error)) => panic!("the lines broke off: {error}"),
                None => {
                    assert!(self.rest.is_empty(), "half a line: {}", String::from_utf8_lossy(&self.rest));
                    return None;
                }
            }
        }
    }

    /// All lines to the end.
    pub async fn lines(mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        lines
    }

    /// Reads the rest and counts its lines and bytes without keeping them.
    pub async fn count_lines(mut self) -> (usize, usize) {
        let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        let (mut lines, mut size) = (newlines(&self.rest), self.rest.len());
        while let Some(piece) = self.piece().await {
            let piece = piece.expect("the lines broke off");
            lines += newlines(&piece);
            size += piece.len();
        }
        (lines, size)
    }

    /// Reads the whole body.
    pub async fn whole(mut self) -> Answer {
        let mut body = std::mem::take(&mut self.rest);
        let mut complete = true;
        while let Some(piece) = self.piece().await {
            match piece {
                Ok(bytes) => body.extend_from_slice(&bytes),
                Err(_) => {
                    complete = false;
                    break;
                }
            }
        }
        Answer { status: self.status, headers: self.headers.clone(), body: body.into(), complete }
    }
}

/// A connection that is closed when nobody wants it any more, whether or not its answer has begun.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
