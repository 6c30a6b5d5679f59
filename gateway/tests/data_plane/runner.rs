//! A runner that follows a script.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use crate::harness::{Gateway, PATIENCE};

/// Every extension that the gateway has.
pub(crate) const ALL: [&str; 9] =
    ["flow/1", "drain/1", "trace/1", "resume/1", "stats/1", "project/1", "keyset/1", "bridges/1", "exec/1"];

/// A socket to `/connect`.
pub(crate) struct Runner {
    socket: WebSocketStream<TcpStream>,
    /// The `hello-ack`.
    pub(crate) ack: Value,
    /// How long it waits for a frame.
    pub(crate) patience: Duration,
}

/// How a runner opens its socket.
#[derive(Default)]
pub(crate) struct Dial<'a> {
    /// In the header.
    pub(crate) token: Option<&'a str>,
    /// Behind `/connect`.
    pub(crate) query: &'a str,
}

impl Runner {
    /// Upgrades, or answers the status of the refusal.
    pub(crate) async fn dial(gateway: &Gateway, dial: Dial<'_>) -> Result<Self, u16> {
        let mut request =
            format!("ws://{}/connect{}", gateway.address, dial.query).into_client_request().unwrap();
        if let Some(token) = dial.token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Self { socket, ack: Value::Null, patience: PATIENCE }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Upgrades with the token in the header.
    pub(crate) async fn open(gateway: &Gateway, token: &str) -> Self {
        Self::dial(gateway, Dial { token: Some(token), ..Dial::default() }).await.unwrap()
    }

    /// Says this hello and reads `hello-ack`.
    pub(crate) async fn greet(gateway: &Gateway, token: &str, hello: Value) -> Self {
        let mut runner = Self::open(gateway, token).await;
        runner.send(hello).await;
        runner.ack = runner.frame().await;
        assert_eq!(runner.ack["type"], "hello-ack", "{}", runner.ack);
        runner
    }

    /// A runner of plain version 1.
    pub(crate) async fn plain(gateway: &Gateway, token: &str) -> Self {
        Self::with(gateway, token, &[]).await
    }

    /// A runner with these extensions.
    pub(crate) async fn with(gateway: &Gateway, token: &str, extensions: &[&str]) -> Self {
        let capabilities = ["@semilayer/bridge-postgres", "@semilayer/bridge-sqlite"];
        let mut hello = json!({"type": "hello", "version": 1, "capabilities": capabilities});
        if !extensions.is_empty() {
            hello["extensions"] = json!(extensions);
        }
        Self::greet(gateway, token, hello).await
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.text(frame.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: impl Into<String>) {
        timeout(PATIENCE, self.socket.send(Message::text(text.into())))
            .await
            .expect("it does not read")
            .unwrap();
    }

    /// Sends what the gateway may refuse to read.
    pub(crate) async fn try_send(&mut self, message: Message) {
        // The socket may be closed before all of it has left.
        let _refused = timeout(PATIENCE, self.socket.send(message)).await.expect("it does not read");
    }

    /// Whether a frame leaves at once, or the gateway holds the socket back.
    pub(crate) async fn try_text(&mut self, text: String, limit: Duration) -> bool {
        timeout(limit, self.socket.send(Message::text(text))).await.is_ok_and(|sent| sent.is_ok())
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        timeout(self.patience, self.next())
            .await
            .expect("no frame in time")
            .unwrap_or_else(|code| panic!("closed: {code:?}"))
    }

    async fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(close))) => return Err(close.map(|close| u16::from(close.code))),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next frame of that type; credits in between are passed over.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
            assert_eq!(frame["type"], "credit", "{frame}");
        }
    }

    pub(crate) async fn job(&mut self) -> Value {
        self.expect("job").await
    }

    /// The next frame, if one comes within this time.
    pub(crate) async fn try_frame(&mut self, limit: Duration) -> Option<Value> {
        timeout(limit, self.next()).await.ok()?.ok()
    }

    /// The next shell job.
    pub(crate) async fn shell_job(&mut self) -> Value {
        self.expect("exec_request").await
    }

    /// Waits until this job may send more.
    pub(crate) async fn expect_credit(&mut self, job: &Value) {
        let frame = self.frame().await;
        assert_eq!((&frame["type"], &frame["id"]), (&json!("credit"), &job["job_id"]));
    }

    /// Sends output of a shell job.
    pub(crate) async fn wrote(&mut self, job: &Value, seq: u64, stream: &str, data: &str) {
        self.send(json!({"type": "exec_chunk", "job_id": job["job_id"], "stream": stream, "data": data, "seq": seq}))
            .await;
    }

    /// A shell job's program has ended.
    pub(crate) async fn exited(&mut self, job: &Value, code: i32) {
        self.send(
            json!({"type": "exec_done", "job_id": job["job_id"], "exit_code": code, "duration_ms": 12}),
        )
        .await;
    }

    /// A shell job has failed.
    pub(crate) async fn refused(&mut self, job: &Value, code: &str, rule: Option<&str>) {
        let mut frame =
            json!({"type": "exec_error", "job_id": job["job_id"], "code": code, "error": "it went wrong"});
        if let Some(rule) = rule {
            frame["rule"] = json!(rule);
        }
        self.send(frame).await;
    }

    /// The code of the close frame, once it comes.
    pub(crate) async fn closed(self) -> u16 {
        timeout(PATIENCE, self.close_code()).await.expect("the socket stayed open")
    }

    /// The same, however long it takes.
    pub(crate) async fn close_code(mut self) -> u16 {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(code) => return code.expect("ended without a close frame"),
            }
        }
    }

    /// Sends these rows as one chunk.
    pub(crate) async fn chunk(&mut self, job: &Value, rows: Value) {
        self.send(json!({"type": "chunk", "id": job["id"], "rows": rows})).await;
    }

    /// The same with its number.
    pub(crate) async fn numbered(&mut self, job: &Value, seq: u64, rows: Value) {
        self.send(json!({"type": "chunk", "id": job["id"], "rows": rows, "seq": seq})).await;
    }

    pub(crate) async fn done(&mut self, job: &Value) {
        self.send(json!({"type": "done", "id": job["id"], "meta": {"count": 0, "durationMs": 1}})).await;
    }

    pub(crate) async fn error(&mut self, job: &Value, code: &str) {
        self.send(json!({"type": "error", "id": job["id"], "code": code, "message": "it went wrong"})).await;
    }

    /// Takes one job and answers it with one chunk.
    pub(crate) async fn answer(&mut self, rows: Value) -> Value {
        let job = self.job().await;
        self.chunk(&job, rows).await;
        self.done(&job).await;
        job
    }

    /// The bridge's options of a job.
    pub(crate) fn options(job: &Value) -> &Value {
        &job["params"]["job"]["options"]
    }
}

/// Rows of about `bytes` bytes each.
pub(crate) fn wide_rows(ids: std::ops::Range<u64>, bytes: usize) -> Value {
    ids.map(|id| json!({"id": id, "name": "x".repeat(bytes)})).collect()
}
