//! A gateway of version 1 that keeps every byte it is sent.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::shape;
use crate::wait::secs;

/// Everything that runners have said, handshakes included.
type Record = Arc<Mutex<Vec<u8>>>;

/// The gateway.
#[derive(Debug)]
pub struct StrictGateway {
    address: SocketAddr,
    record: Record,
    sockets: mpsc::UnboundedReceiver<RunnerSocket>,
    listener: JoinHandle<()>,
}

impl StrictGateway {
    /// A gateway that lets in whoever has this token.
    pub async fn start(token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, sockets) = mpsc::unbounded_channel();
        let record = Record::default();
        let listener = tokio::spawn(listen(listener, token.to_owned(), Arc::clone(&record), arrived));
        Self { address, record, sockets, listener }
    }

    /// What a runner is told to dial.
    pub fn url(&self) -> String {
        format!("ws://{}/connect", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next runner that dials in and says hello.
    pub async fn runner(&mut self) -> RunnerSocket {
        let socket = tokio::time::timeout(secs(60), self.sockets.recv()).await;
        let mut socket = socket.expect("no runner dialed in").expect("the gateway has ended");
        let hello = socket.next().await;
        assert_eq!(hello["type"], "hello", "the first frame");
        socket.hello = hello;
        socket
    }

    /// The next runner, which gets these sources.
    pub async fn runner_with(&mut self, sources: &[Value]) -> RunnerSocket {
        let socket = self.runner().await;
        socket.send(json!({"type": "hello-ack", "serverVersion": "1.0.0", "assignedSources": sources}));
        socket
    }

    /// Every byte that any runner has sent.
    pub fn record(&self) -> Vec<u8> {
        self.record.lock().unwrap().clone()
    }
}

impl Drop for StrictGateway {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// One runner's socket. Dropping it closes the connection.
#[derive(Debug)]
pub struct RunnerSocket {
    /// Its first frame.
    pub hello: Value,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    outgoing: mpsc::UnboundedSender<Message>,
    waiting: VecDeque<Value>,
    jobs: HashMap<String, Outcome>,
    next_id: u64,
    heartbeats: u64,
}

#[derive(Debug)]
enum Incoming {
    Frame(Value),
    Bad(String),
    Closed(Option<u16>),
}

/// How a job ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// All rows.
    pub rows: Vec<Value>,
    /// All buckets.
    pub buckets: Vec<Value>,
    /// How many chunks they came in.
    pub chunks: usize,
    /// `total` of the last chunk.
    pub total: Option<u64>,
    /// `nextCursor` of the last chunk.
    pub next_cursor: Option<String>,
    /// `done.meta`.
    pub meta: Value,
    /// Code and message of an error.
    pub error: Option<(String, String)>,
    ended: bool,
}

impl Outcome {
    /// The outcome of a job that must have ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.error, None);
        self
    }

    /// The code of a job that must have failed.
    #[track_caller]
    pub fn code(&self) -> &str {
        self.error.as_ref().map_or_else(|| panic!("the job did not fail: {self:?}"), |(code, _)| code)
    }
}

impl RunnerSocket {
    /// Sends a frame.
    pub fn send(&self, frame: Value) {
        shape::of_gateway(&frame)
            .unwrap_or_else(|wrong| panic!("the double itself would send {frame}: {wrong}"));
        self.send_text(frame.to_string());
    }

    /// Sends any text.
    pub fn send_text(&self, text: String) {
        self.outgoing.send(Message::text(text)).expect("the runner has gone");
    }

    /// Gives the runner another set of sources.
    pub fn assign(&self, sources: &[Value]) {
        self.send(json!({"type": "assignments-changed", "assignedSources": sources}));
    }

    /// Starts a job and answers its id.
    pub fn start(&mut self, source: &str, kind: &str, target: &str, options: Value) -> String {
        self.start_within(secs(30), source, kind, target, options)
    }

    /// The same with a deadline.
    pub fn start_within(
        &mut self,
        deadline: Duration,
        source: &str,
        kind: &str,
        target: &str,
        options: Value,
    ) -> String {
        self.next_id += 1;
        let id = format!("job-{}", self.next_id);
        self.send(json!({
            "type": "job",
            "id": id,
            "params": {"source": source, "job": {"kind": kind, "target": target, "options": options}},
            "deadlineMs": u64::try_from(deadline.as_millis()).unwrap(),
        }));
        self.jobs.insert(id.clone(), Outcome::default());
        id
    }

    /// Runs a job to its end.
    pub async fn ask(&mut self, source: &str, kind: &str, target: &str, options: Value) -> Outcome {
        let id = self.start(source, kind, target, options);
        self.outcome(&id).await
    }

    /// Waits for the end of a job.
    pub async fn outcome(&mut self, id: &str) -> Outcome {
        while !self.jobs.get(id).unwrap_or_else(|| panic!("no job {id}")).ended {
            self.step().await;
        }
        self.jobs.remove(id).unwrap()
    }

    /// Waits until a job has sent some rows, and answers how many.
    pub async fn first_rows(&mut self, id: &str) -> usize {
        while self.jobs[id].rows.is_empty() && !self.jobs[id].ended {
            self.step().await;
        }
        self.jobs[id].rows.len()
    }

    /// The next frame, which must be one of version 1.
    pub async fn next(&mut self) -> Value {
        if let Some(frame) = self.waiting.pop_front() {
            return frame;
        }
        match tokio::time::timeout(secs(60), self.incoming.recv()).await.expect("the runner is silent") {
            Some(Incoming::Frame(frame)) => frame,
            Some(Incoming::Bad(wrong)) => panic!("{wrong}"),
            Some(Incoming::Closed(code)) => panic!("the runner closed the socket with {code:?}"),
            None => panic!("the socket is gone"),
        }
    }

    /// Waits for a heartbeat.
    pub async fn heartbeat(&mut self) {
        let before = self.heartbeats;
        while self.heartbeats == before {
            self.step().await;
        }
    }

    /// Reads on until the runner leaves, and answers its close code.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match tokio::time::timeout(secs(60), self.incoming.recv()).await.expect("the runner stays") {
                Some(Incoming::Frame(frame)) => self.take(frame),
                Some(Incoming::Bad(wrong)) => panic!("{wrong}"),
                Some(Incoming::Closed(code)) => return code,
                None => return None,
            }
        }
    }

    /// What is known of a job so far.
    pub fn so_far(&self, id: &str) -> &Outcome {
        &self.jobs[id]
    }

    async fn step(&mut self) {
        let frame = self.next().await;
        self.take(frame);
    }

    fn take(&mut self, frame: Value) {
        let kind = frame["type"].as_str().unwrap();
        if kind == "heartbeat" {
            self.heartbeats += 1;
            return;
        }
        let id = frame["id"].as_str().unwrap();
        let job = self.jobs.get_mut(id).unwrap_or_else(|| panic!("a frame of a job that is not: {frame}"));
        assert!(!job.ended, "a frame behind the end of its job: {frame}");
        match kind {
            "chunk" => job.chunk(&frame),
            "done" => job.done(&frame),
            "error" => job.fail(&frame),
            other => panic!("a second {other}"),
        }
    }
}

impl Outcome {
    fn chunk(&mut self, frame: &Value) {
        assert!(self.total.is_none() && self.next_cursor.is_none(), "a chunk behind the last one: {frame}");
        self.rows.extend(frame["rows"].as_array().unwrap().iter().cloned());
        self.buckets.extend(frame["agg"].as_array().into_iter().flatten().cloned());
        self.total = frame["total"].as_u64();
        self.next_cursor = frame["nextCursor"].as_str().map(str::to_owned);
        self.chunks += 1;
    }

    fn done(&mut self, frame: &Value) {
        let meta = &frame["meta"];
        let sent = self.rows.len() + self.buckets.len();
        assert_eq!(
            meta["count"].as_u64(),
            Some(u64::try_from(sent).unwrap()),
            "rows sent and rows said: {meta}"
        );
        assert_eq!(meta["total"].as_u64(), self.total, "the tail stands in the last chunk and in done");
        assert_eq!(meta["nextCursor"].as_str(), self.next_cursor.as_deref(), "likewise");
        self.meta = meta.clone();
        self.ended = true;
    }

    fn fail(&mut self, frame: &Value) {
        let text = |field: &str| frame[field].as_str().unwrap().to_owned();
        self.error = Some((text("code"), text("message")));
        self.ended = true;
    }
}

async fn listen(
    listener: TcpListener,
    token: String,
    record: Record,
    arrived: mpsc::UnboundedSender<RunnerSocket>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (token, record, arrived) = (token.clone(), Arc::clone(&record), arrived.clone());
        tokio::spawn(serve(stream, token, record, arrived));
    }
}

async fn serve(
    stream: TcpStream,
    token: String,
    record: Record,
    arrived: mpsc::UnboundedSender<RunnerSocket>,
) {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        keep(&record, format!("{:?} {:?}\n", request.uri(), request.headers()).as_bytes());
        let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        if header == Some(&format!("Bearer {token}")) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        Err(refusal)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
    let (heard, incoming) = mpsc::unbounded_channel();
    let (outgoing, mut to_send) = mpsc::unbounded_channel::<Message>();
    let (jobs, waiting) = (HashMap::new(), VecDeque::new());
    let hello = Value::Null;
    drop(arrived.send(RunnerSocket { hello, incoming, outgoing, waiting, jobs, next_id: 0, heartbeats: 0 }));
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(incoming) = read(message, &record) else { continue };
                let over = !matches!(incoming, Incoming::Frame(_));
                drop(heard.send(incoming));
                if over {
                    return;
                }
            }
            message = to_send.recv() => match message {
                Some(message) => if socket.send(message).await.is_err() { return },
                None => return drop(socket.close(None).await),
            },
        }
    }
}

fn read(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    record: &Record,
) -> Option<Incoming> {
    match message {
        Some(Ok(Message::Text(text))) => {
            keep(record, text.as_bytes());
            Some(frame(text.as_str()))
        }
        Some(Ok(Message::Ping(bytes) | Message::Pong(bytes))) => {
            keep(record, &bytes);
            None
        }
        Some(Ok(Message::Close(close))) => {
            keep(record, format!("{close:?}\n").as_bytes());
            Some(Incoming::Closed(close.map(|close| close.code.into())))
        }
        Some(Ok(other)) => Some(Incoming::Bad(format!("version 1 has text frames only: {other:?}"))),
        Some(Err(_)) | None => Some(Incoming::Closed(None)),
    }
}

fn frame(text: &str) -> Incoming {
    match serde_json::from_str::<Value>(text) {
        Ok(frame) => match shape::of_runner(&frame) {
            Ok(()) => Incoming::Frame(frame),
            Err(wrong) => Incoming::Bad(format!("{wrong}: {frame}")),
        },
        Err(error) => Incoming::Bad(format!("{error}: {text}")),
    }
}

fn keep(record: &Record, bytes: &[u8]) {
    let mut record = record.lock().unwrap();
    record.extend_from_slice(bytes);
    record.push(b'\n');
}
