//! A runner of version 1 that does what the test says.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::shape;
use super::table::Table;
use crate::wait::secs;

/// The runner. Dropping it closes its socket.
#[derive(Debug)]
pub struct StrictRunner {
    /// The sources of `hello-ack`.
    pub sources: Value,
    incoming: mpsc::UnboundedReceiver<Result<Value, String>>,
    outgoing: mpsc::Sender<String>,
}

/// A job that it was given.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names it on the socket.
    pub id: String,
    /// `query`, `count`, …
    pub kind: String,
    /// The source.
    pub source: String,
    /// The table.
    pub target: String,
    /// What else is said.
    pub options: Value,
}

impl StrictRunner {
    /// Dials the gateway at `address` and says hello.
    pub async fn connect(
        address: std::net::SocketAddr,
        token: &str,
        runner_id: &str,
        bridges: &[&str],
    ) -> Self {
        let mut request = format!("ws://{address}/connect").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) =
            tokio_tungstenite::client_async(request, stream).await.expect("the gateway refused");
        let (heard, incoming) = mpsc::unbounded_channel();
        let (outgoing, to_send) = mpsc::channel(1);
        let (sink, stream) = socket.split();
        tokio::spawn(write(sink, to_send));
        tokio::spawn(read(stream, heard));
        let mut runner = Self { sources: Value::Null, incoming, outgoing };
        let hello = json!({"type": "hello", "version": 1, "runnerId": runner_id, "capabilities": bridges});
        runner.send(hello).await;
        let ack = runner.next().await;
        assert_eq!(ack["type"], "hello-ack");
        runner.sources = ack["assignedSources"].clone();
        runner
    }

    /// Sends a frame; waits while the socket does not take it.
    pub async fn send(&self, frame: Value) {
        shape::of_runner(&frame)
            .unwrap_or_else(|wrong| panic!("the double itself would send {frame}: {wrong}"));
        self.outgoing.send(frame.to_string()).await.expect("the gateway has gone");
    }

    /// Sends the same frame many times beside the test, as fast as the gateway takes it.
    pub fn flood(&self, frame: &Value, times: usize) -> Flood {
        let (outgoing, text) = (self.outgoing.clone(), frame.to_string());
        let (sent, progress) = watch::channel(0);
        tokio::spawn(async move {
            for count in 1..=times {
                if outgoing.send(text.clone()).await.is_err() {
                    return;
                }
                sent.send_replace(count);
            }
        });
        Flood { times, progress }
    }

    /// The next frame, which must be one of version 1.
    pub async fn next(&mut self) -> Value {
        match tokio::time::timeout(secs(60), self.incoming.recv()).await.expect("the gateway is silent") {
            Some(Ok(frame)) => frame,
            Some(Err(wrong)) => panic!("{wrong}"),
            None => panic!("the gateway closed the socket"),
        }
    }

    /// The next frame, which must be a job.
    pub async fn job(&mut self) -> Job {
        let frame = self.next().await;
        assert_eq!(frame["type"], "job", "{frame}");
        let (params, text) = (&frame["params"], |value: &Value| value.as_str().unwrap().to_owned());
        Job {
            id: text(&frame["id"]),
            kind: text(&params["job"]["kind"]),
            source: text(&params["source"]),
            target: text(&params["job"]["target"]),
            options: params["job"]["options"].clone(),
        }
    }

    /// Waits for the cancellation of a job; answers of other frames are not expected.
    pub async fn cancelled(&mut self, id: &str) {
        let frame = self.next().await;
        assert_eq!(frame, json!({"type": "cancel", "id": id}));
    }

    /// Reads on until the gateway closes the socket.
    pub async fn closed(&mut self) {
        while let Some(frame) =
            tokio::time::timeout(secs(60), self.incoming.recv()).await.expect("the socket stays")
        {
            frame.unwrap_or_else(|wrong| panic!("{wrong}"));
        }
    }

    /// Sends rows of a job.
    pub async fn chunk(&self, id: &str, rows: &[Value]) {
        self.send(json!({"type": "chunk", "id": id, "rows": rows})).await;
    }

    /// Ends a job.
    pub async fn done(&self, id: &str, count: usize) {
        self.send(json!({"type": "done", "id": id, "meta": {"count": count, "durationMs": 1}})).await;
    }

    /// Fails a job.
    pub async fn fail(&self, id: &str, code: &str, message: &str) {
        self.send(json!({"type": "error", "id": id, "code": code, "message": message})).await;
    }

    /// Answers one job from a table, in chunks of a few rows.
    pub async fn answer(&self, job: &Job, table: &Table) {
        if job.kind == "count" {
            let total = table.count(&job.options);
            self.send(json!({"type": "chunk", "id": job.id, "rows": [], "total": total})).await;
            return self.done(&job.id, 0).await;
        }
        assert_eq!(job.kind, "query");
        let rows = table.query(&job.options);
        for rows in rows.chunks(3) {
            self.chunk(&job.id, rows).await;
        }
        self.done(&job.id, rows.len()).await;
    }

    /// Answers every job from a table until the gateway or the test goes.
    pub async fn serve(mut self, table: Table) {
        while let Some(frame) = self.incoming.recv().await {
            let frame = frame.unwrap_or_else(|wrong| panic!("{wrong}"));
            if frame["type"] == "job" {
                let job = Job {
                    id: frame["id"].as_str().unwrap().to_owned(),
                    kind: frame["params"]["job"]["kind"].as_str().unwrap().to_owned(),
                    source: String::new(),
                    target: String::new(),
                    options: frame["params"]["job"]["options"].clone(),
                };
                self.answer(&job, &table).await;
            }
        }
    }
}

/// Dials with a token or without, sends any text first, and answers the gateway's first frame and the open socket; or
/// the reason for which there is none.
pub async fn dial_with(
    address: std::net::SocketAddr,
    token: Option<&str>,
    first: &str,
) -> Result<(Value, Socket), String> {
    let mut request = format!("ws://{address}/connect").into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut socket, _) =
        tokio_tungstenite::client_async(request, stream).await.map_err(|error| error.to_string())?;
    socket.send(Message::text(first)).await.map_err(|error| error.to_string())?;
    loop {
        match tokio::time::timeout(secs(20), socket.next()).await.map_err(|_| "silence")? {
            Some(Ok(Message::Text(text))) => return Ok((serde_json::from_str(&text).unwrap(), socket)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(other)) => return Err(format!("{other:?}")),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("closed".to_owned()),
        }
    }
}

/// Frames on their way in great number.
#[derive(Debug)]
pub struct Flood {
    times: usize,
    progress: watch::Receiver<usize>,
}

impl Flood {
    /// Waits until nothing has been taken for a while, though there is more.
    pub async fn is_held_back(&mut self) {
        while let Ok(changed) =
            tokio::time::timeout(Duration::from_millis(500), self.progress.changed()).await
        {
            changed.expect("the gateway has taken everything, or gone");
        }
        assert!(*self.progress.borrow() < self.times);
    }

    /// Waits until everything has been taken.
    pub async fn is_taken(mut self) {
        let times = self.times;
        let taken = tokio::time::timeout(secs(30), self.progress.wait_for(|sent| *sent == times)).await;
        taken.expect("the rest is not taken").expect("the gateway has gone");
    }
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

/// Reads until the gateway closes the socket, whether or not it takes what is written.
async fn read(mut stream: SplitStream<Socket>, heard: mpsc::UnboundedSender<Result<Value, String>>) {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => drop(heard.send(frame(text.as_str()))),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(other)) => drop(heard.send(Err(format!("version 1 has text frames only: {other:?}")))),
        }
    }
}

async fn write(mut sink: SplitSink<Socket, Message>, mut to_send: mpsc::Receiver<String>) {
    let mut heartbeat = tokio::time::interval(secs(25));
    loop {
        let text = tokio::select! {
            text = to_send.recv() => match text {
                Some(text) => text,
                None => return drop(sink.close().await),
            },
            _ = heartbeat.tick() => json!({"type": "heartbeat", "stats": {"activeJobs": 0}}).to_string(),
        };
        if sink.send(Message::text(text)).await.is_err() {
            return;
        }
    }
}

fn frame(text: &str) -> Result<Value, String> {
    let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    shape::of_gateway(&frame).map_err(|wrong| format!("{wrong}: {frame}"))?;
    Ok(frame)
}
