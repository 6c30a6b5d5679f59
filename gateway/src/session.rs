//! One runner's WebSocket, from `hello` to its close.
//!
//! Two tasks: the reader turns frames into events of jobs, the writer sends what is queued. The reader never waits for a
//! slow caller: a job's rows are bounded by its credit (see [`crate::link::Inbox`]).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use protocol::{
    Decoded, Extension, Extensions, FRAME_LIMIT_BYTES, GatewayFrame, HEARTBEAT_INTERVAL_MS, HELLO_TIMEOUT_MS, Hello,
    HelloAck, PROTOCOL_VERSION, RunnerFrame, Secret, decode_runner_frame,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::link::{Announced, ChunkData, CloseReason, Event, Link, Outgoing};
use crate::model::Runner;
use crate::state::Gateway;

/// How often we ping, and how long a silent socket lives. A link that swallows packets is noticed by this, not by TCP.
const PING_EVERY: Duration = Duration::from_secs(15);
const DEAD_AFTER: Duration = Duration::from_secs(40);
/// How long one frame may take to leave.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// A runner that pings but has stopped its heartbeats is dropped after two missed ones.
const HEARTBEAT_LIMIT: Duration = Duration::from_millis(2 * HEARTBEAT_INTERVAL_MS + 5_000);

/// `ws` close codes (RFC 6455, section 7.4.1) and two of ours.
pub(crate) mod close {
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const UNSUPPORTED: u16 = 1003;
    pub(crate) const POLICY: u16 = 1008;
    pub(crate) const TOO_BIG: u16 = 1009;
    /// Ours: the runner's credentials are not valid (any more). Reconnecting at once is of no use.
    pub(crate) const REVOKED: u16 = 4401;
    /// Ours: the protocol version is not served.
    pub(crate) const VERSION: u16 = 4426;
}

/// Who has upgraded: a runner known by its token, or nobody yet, who must say a secret in `hello`.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Known { token: Secret },
    Anonymous,
}

/// Serves one socket until it closes.
pub(crate) async fn serve(gateway: Arc<Gateway>, socket: WebSocket, caller: Caller, remote: Option<String>) {
    let (mut sink, mut stream) = socket.split();
    let greeting = tokio::time::timeout(Duration::from_millis(HELLO_TIMEOUT_MS), greet(&gateway, &mut stream, &caller));
    let (runner, hello) = match greeting.await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(reason)) => return turn_away(&gateway, &mut sink, reason).await,
        Err(_) => {
            let reason = CloseReason { code: close::POLICY, text: "no hello within 10 seconds" };
            return turn_away(&gateway, &mut sink, reason).await;
        }
    };
    let extensions = gateway.extensions.and(hello.extensions);
    let announced = Announced {
        extensions,
        capabilities: hello.capabilities.clone(),
        version: hello.runtime_version.clone(),
        instance: hello.instance_id.clone(),
        remote,
    };
    let (link, outgoing) =
        Link::new(gateway.registry.next_id(), runner.id, runner.name.clone(), announced, hello.max_jobs);
    tracing::info!(runner = %link.runner_name, link = link.id, version = link.hello.version, "runner connected");
    welcome(&gateway, &link, extensions);
    // A revocation or rotation between the check of the credentials and the registration found nobody to close.
    if gateway.identify(&caller, &hello).is_none() {
        link.close(CloseReason { code: close::REVOKED, text: "credentials refused" });
    }
    let writer = gateway.drain.spawn_companion("runner socket writer", write(Arc::clone(&link), sink, outgoing));
    read(&gateway, &link, stream).await;
    gateway.registry.remove(&link);
    link.lose_jobs();
    gateway.metrics.runner_left();
    gateway.presence.seen(link.runner);
    tracing::info!(runner = %link.runner_name, link = link.id, "runner disconnected");
    // The writer ends by itself: the link is closed. Its result says nothing more.
    let _ended = writer.await;
}

/// Reads `hello` and finds out whose it is.
async fn greet(
    gateway: &Gateway,
    stream: &mut SplitStream<WebSocket>,
    caller: &Caller,
) -> Result<(Arc<Runner>, Box<Hello>), CloseReason> {
    let refuse = |code, text| CloseReason { code, text };
    loop {
        let text = match stream.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(_))) => return Err(refuse(close::UNSUPPORTED, "frames are text")),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(refuse(close::GOING_AWAY, "closed")),
        };
        let hello = match decode_runner_frame(text.as_str()) {
            Ok(Decoded::Frame(RunnerFrame::Hello(hello))) => hello,
            Ok(_) => return Err(refuse(close::POLICY, "the first frame must be hello")),
            Err(error) => {
                tracing::debug!(%error, "hello refused");
                return Err(refuse(close::PROTOCOL, "hello is not a valid frame"));
            }
        };
        // Versions N and N-1 are served; there is no version 0.
        if hello.version != PROTOCOL_VERSION {
            return Err(refuse(close::VERSION, "protocol version not served; this gateway speaks 1"));
        }
        let runner = gateway.identify(caller, &hello).ok_or(refuse(close::REVOKED, "credentials refused"))?;
        return Ok((runner, hello));
    }
}

async fn turn_away(gateway: &Gateway, sink: &mut SplitSink<WebSocket, Message>, reason: CloseReason) {
    if reason.code == close::REVOKED {
        gateway.metrics.auth_failed("hello");
    }
    send_close(sink, &reason).await;
}

/// Registers before it acknowledges, so that a push of assignments cannot fall between the two.
fn welcome(gateway: &Gateway, link: &Arc<Link>, extensions: Extensions) {
    gateway.registry.add(link);
    gateway.metrics.runner_joined();
    let ack = HelloAck {
        server_version: gateway.version.to_owned(),
        assigned_sources: gateway.assigned_sources(link.runner),
        extensions,
    };
    link.tell(GatewayFrame::HelloAck(ack));
    gateway.presence.seen(link.runner);
}

async fn read(gateway: &Gateway, link: &Arc<Link>, mut stream: SplitStream<WebSocket>) {
    let mut heartbeat_deadline = Instant::now() + HEARTBEAT_LIMIT;
    let stopping = gateway.drain.stopping();
    loop {
        let silence = tokio::time::sleep_until((Instant::now() + DEAD_AFTER).min(heartbeat_deadline));
        let message = tokio::select! {
            message = stream.next() => message,
            () = link.closed.cancelled() => return,
            () = stopping.cancelled() => {
                return link.close(CloseReason { code: close::GOING_AWAY, text: "the gateway is stopping" });
            }
            () = silence => {
                return link.close(CloseReason { code: close::POLICY, text: "no sign of life" });
            }
        };
        link.heard(None);
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(_))) => {
                return link.close(CloseReason { code: close::UNSUPPORTED, text: "frames are text" });
            }
            Some(Err(error)) => return link.close(broken(link, &error)),
            Some(Ok(Message::Close(_))) | None => return link.closed.cancel(),
        };
        // Credentials are checked on every frame: a revocation is in force at once, whatever else goes wrong.
        if !gateway.may_connect(link.runner) {
            return link.close(CloseReason { code: close::REVOKED, text: "revoked" });
        }
        match handle(gateway, link, Message::Text(text)).await {
            Handled::Heartbeat => heartbeat_deadline = Instant::now() + HEARTBEAT_LIMIT,
            Handled::Other => {}
            Handled::Fatal(reason) => return link.close(reason),
        }
    }
}

fn broken(link: &Link, error: &axum::Error) -> CloseReason {
    let text = error.to_string();
    tracing::warn!(runner = %link.runner_name, error = %text, "socket failed");
    if text.contains("too long") || text.contains("too big") {
        return CloseReason { code: close::TOO_BIG, text: "frame too large" };
    }
    CloseReason { code: close::PROTOCOL, text: "socket failed" }
}

enum Handled {
    Heartbeat,
    Other,
    Fatal(CloseReason),
}

async fn handle(gateway: &Gateway, link: &Arc<Link>, message: Message) -> Handled {
    let frame: Bytes = message.into_data();
    // The socket has checked this already; the second look costs little and needs no trust.
    let Ok(text) = std::str::from_utf8(&frame) else {
        return Handled::Fatal(CloseReason { code: close::PROTOCOL, text: "not UTF-8" });
    };
    match decode_runner_frame(text) {
        Ok(Decoded::Frame(RunnerFrame::Heartbeat(heartbeat))) => {
            link.heard(heartbeat.stats);
            gateway.presence.seen(link.runner);
            return Handled::Heartbeat;
        }
        Ok(Decoded::Frame(RunnerFrame::Chunk(chunk))) => {
            let Some(inbox) = link.inbox(&chunk.id) else {
                gateway.metrics.stray_frame();
                return Handled::Other;
            };
            if link.has(Extension::Resume) && !inbox.in_sequence(chunk.seq) {
                link.cancel(&inbox.id);
                inbox.send(Event::Broken("the runner left out a chunk"));
                return Handled::Other;
            }
            let rows = if chunk.agg.is_empty() { &chunk.rows } else { &chunk.agg };
            let data = ChunkData::new(&frame, rows.iter().map(|row| row.get()), chunk.tail);
            gateway.metrics.bytes_received(frame.len());
            inbox.take(data).await;
        }
        Ok(Decoded::Frame(RunnerFrame::Done { id, meta })) => {
            end(gateway, link, &id, Event::Done(meta));
        }
        Ok(Decoded::Frame(RunnerFrame::Error(error))) => {
            let id = error.id.clone();
            end(gateway, link, &id, Event::Error(error));
        }
        Ok(Decoded::Frame(RunnerFrame::Draining(draining))) => {
            if link.has(Extension::Drain) {
                tracing::info!(runner = %link.runner_name, deadline_ms = draining.deadline_ms, "runner is draining");
                link.drain();
            }
        }
        Ok(Decoded::Frame(RunnerFrame::Hello(_))) => {
            return Handled::Fatal(CloseReason { code: close::POLICY, text: "hello was said already" });
        }
        Ok(Decoded::Unknown(kind)) => gateway.metrics.unknown_frame(&kind),
        Err(error) if error.is_fatal() => {
            tracing::warn!(runner = %link.runner_name, %error, "socket closed for a bad frame");
            return Handled::Fatal(CloseReason { code: close::PROTOCOL, text: "not a frame" });
        }
        Err(error) => refuse_frame(gateway, link, &error),
    }
    Handled::Other
}

/// A known frame with a wrong field: its job cannot be trusted any more, the socket can.
fn refuse_frame(gateway: &Gateway, link: &Arc<Link>, error: &protocol::FrameError) {
    tracing::warn!(runner = %link.runner_name, %error, "bad frame from runner");
    gateway.metrics.stray_frame();
    if let protocol::FrameError::Field { id: Some(id), .. } = error
        && let Some(inbox) = link.inbox(id)
    {
        link.cancel(id);
        inbox.send(Event::Broken("the runner sent a frame with a wrong field"));
    }
}

fn end(gateway: &Gateway, link: &Link, id: &str, event: Event) {
    let Some(inbox) = link.inbox(id) else {
        return gateway.metrics.stray_frame();
    };
    link.forget(id);
    inbox.send(event);
}

async fn write(link: Arc<Link>, mut sink: SplitSink<WebSocket, Message>, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            biased;
            () = link.closed.cancelled() => break,
            _ = ping.tick() => send_all(&mut sink, &mut outgoing, Outgoing::Frame(String::new())).await,
            next = outgoing.recv() => match next {
                Some(next) => send_all(&mut sink, &mut outgoing, next).await,
                None => break,
            },
        };
        if !sent {
            link.close(CloseReason { code: close::POLICY, text: "the runner does not read" });
            break;
        }
    }
    let gone = CloseReason { code: close::GOING_AWAY, text: "closed" };
    send_close(&mut sink, &link.close_reason().unwrap_or(gone)).await;
}

/// Sends `first` and everything else that is queued, and flushes once. Whether it left in time.
async fn send_all(
    sink: &mut SplitSink<WebSocket, Message>,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    first: Outgoing,
) -> bool {
    let mut written = Vec::new();
    let send = async {
        let mut next = Some(first);
        while let Some(item) = next {
            let text = match item {
                Outgoing::Frame(text) => text,
                Outgoing::Job(text, inbox) => {
                    written.push(inbox);
                    text
                }
            };
            // An empty frame stands for a ping.
            let message = if text.is_empty() { Message::Ping(Bytes::new()) } else { Message::Text(text.into()) };
            sink.feed(message).await?;
            next = outgoing.try_recv().ok();
        }
        sink.flush().await
    };
    let sent = matches!(tokio::time::timeout(WRITE_LIMIT, send).await, Ok(Ok(())));
    if sent {
        written.iter().for_each(|inbox| inbox.mark_dispatched());
    }
    sent
}

async fn send_close(sink: &mut SplitSink<WebSocket, Message>, reason: &CloseReason) {
    let frame = CloseFrame { code: reason.code, reason: reason.text.into() };
    let close = async {
        sink.send(Message::Close(Some(frame))).await?;
        sink.close().await
    };
    // The other side may be gone; then there is nobody to tell.
    let _unreachable = tokio::time::timeout(Duration::from_secs(2), close).await;
}

/// The largest frame that a runner may send.
pub(crate) const fn frame_limit() -> usize {
    FRAME_LIMIT_BYTES
}
