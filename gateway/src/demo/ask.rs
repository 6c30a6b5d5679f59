//! An application that asks the gateway over HTTP, and takes the time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use protocol::Secret;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::sample::{ROWS, weight};
use super::{DemoError, Result};

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(30);
const NDJSON: &str = "application/x-ndjson";

/// An application with a key.
pub(super) struct Client {
    address: SocketAddr,
    key: Secret,
}

/// One JSON answer.
pub(super) struct Answer {
    body: Value,
    pub(super) elapsed: Duration,
}

/// What came out of a stream of lines.
pub(super) struct Streamed {
    pub(super) rows: u64,
    pub(super) digest: u64,
    /// Until the first bytes.
    pub(super) first: Duration,
    pub(super) elapsed: Duration,
}

impl Answer {
    pub(super) fn rows(&self) -> &Value {
        self.body.get("rows").unwrap_or(&Value::Null)
    }

    pub(super) fn count(&self) -> usize {
        self.rows().as_array().map_or(0, Vec::len)
    }

    fn next_cursor(&self) -> Option<&str> {
        self.body.pointer("/meta/nextCursor").and_then(Value::as_str)
    }
}

impl Client {
    pub(super) fn new(address: SocketAddr, key: Secret) -> Self {
        Self { address, key }
    }

    /// Rows as one JSON object.
    pub(super) async fn query(&self, question: &'static str, body: &Value) -> Result<Answer> {
        self.ask(question, "/v1/query/products", body).await
    }

    /// How many rows match.
    pub(super) async fn count(&self, question: &'static str, body: &Value) -> Result<(u64, Duration)> {
        let answer = self.ask(question, "/v1/count/products", body).await?;
        let count = answer.body.get("count").and_then(Value::as_u64);
        Ok((count.ok_or_else(|| wrong(question, "no count in the answer"))?, answer.elapsed))
    }

    /// Follows cursors to the end: rows, pages and time.
    pub(super) async fn walk(&self, question: &'static str, page: u64) -> Result<(u64, u64, Duration)> {
        let started = Instant::now();
        let (mut rows, mut pages, mut cursor) = (0, 0, None);
        loop {
            let answer = self.query(question, &json!({"limit": page, "cursor": cursor})).await?;
            rows += u64::try_from(answer.count()).unwrap_or_default();
            pages += 1;
            match answer.next_cursor() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok((rows, pages, started.elapsed())),
            }
        }
    }

    /// Every row, as lines that come as they are read.
    pub(super) async fn stream(&self, question: &'static str) -> Result<Streamed> {
        let started = Instant::now();
        let body = json!({"limit": ROWS});
        let mut response = self.send(question, "/v1/query/products", &body, NDJSON).await?;
        let mut streamed = Streamed { rows: 0, digest: 0, first: Duration::ZERO, elapsed: Duration::ZERO };
        let mut rest = Vec::new();
        while let Some(frame) = within(question, response.body_mut().frame()).await? {
            let Ok(data) = frame.map_err(|error| wrong(question, error))?.into_data() else { continue };
            if streamed.first.is_zero() {
                streamed.first = started.elapsed();
            }
            rest.extend_from_slice(&data);
            streamed.take_lines(question, &mut rest)?;
        }
        streamed.elapsed = started.elapsed();
        Ok(streamed)
    }

    async fn ask(&self, question: &'static str, path: &str, body: &Value) -> Result<Answer> {
        let started = Instant::now();
        let response = self.send(question, path, body, "application/json").await?;
        let bytes = within(question, response.into_body().collect()).await?;
        let bytes = bytes.map_err(|error| wrong(question, error))?.to_bytes();
        let body = serde_json::from_slice(&bytes).map_err(|error| wrong(question, error))?;
        Ok(Answer { body, elapsed: started.elapsed() })
    }

    async fn send(
        &self,
        question: &'static str,
        path: &str,
        body: &Value,
        accept: &str,
    ) -> Result<Response<Incoming>> {
        let request = Request::post(path)
            .header("host", self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.key.expose()))
            .header(ACCEPT, accept)
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| wrong(question, error))?;
        let mut connection =
            within(question, self.connect()).await?.map_err(|error| wrong(question, error))?;
        let response = within(question, connection.send_request(request)).await?;
        let response = response.map_err(|error| wrong(question, error))?;
        if !response.status().is_success() {
            let status = response.status();
            let text = response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            return Err(wrong(question, format!("{status}: {text}")));
        }
        Ok(response)
    }

    async fn connect(
        &self,
    ) -> std::result::Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The connection lives as long as its request; the drain of the gateway ends what is left.
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(connection);
        Ok(sender)
    }
}

impl Streamed {
    fn take_lines(&mut self, question: &'static str, rest: &mut Vec<u8>) -> Result<()> {
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let after = rest.split_off(end + 1);
        for line in rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: Value = serde_json::from_slice(line).map_err(|error| wrong(question, error))?;
            let number = |key: &str| row.get(key).and_then(Value::as_u64);
            let (Some(id), Some(stock)) = (number("id"), number("stock")) else {
                return Err(wrong(question, format!("a line that is no product: {row}")));
            };
            self.rows += 1;
            self.digest = self.digest.wrapping_add(weight(id, stock));
        }
        *rest = after;
        Ok(())
    }
}

async fn within<T>(question: &'static str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, work).await.map_err(|_| wrong(question, "no answer in time"))
}

fn wrong(question: &'static str, reason: impl std::fmt::Display) -> DemoError {
    DemoError::Wrong { question, reason: reason.to_string() }
}
