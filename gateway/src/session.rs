//! One runner's WebSocket, from `hello` to its close.
//!
//! Two tasks: the reader turns frames into events of jobs, the writer sends what is queued. The reader does not wait for
//! slow callers: a job's rows are bounded by its credit, and [`crate::link::Inbox`] says what becomes of runners without.
//! Running jobs of a source that is taken from the runner go on to their end; to stop at once is what revoking is for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use protocol::{
    ChunkParts, Decoded, Draining, ExecChunk, Extension, Extensions, FrameError, HEARTBEAT_INTERVAL_MS,
    HELLO_TIMEOUT_MS, Hello, HelloAck, PROTOCOL_VERSION, RawObject, RunnerFrame, decode_runner_frame,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::audit::{self, Actor, AuditRow, action};
use crate::capability::{Capability, CapabilitySet};
use crate::guard::Watch;
use crate::link::{Announced, ChunkData, CloseReason, Event, Kind, Link, Outgoing, ShellEvent};
use crate::model::Runner;
use crate::shell::grant::reported;
use crate::shell::record::{RunnerSnapshot, said};
use crate::state::Gateway;
use crate::strangers::Stranger;
use crate::token::TokenHash;

/// How often we ping, and how long a silent socket lives. A link that swallows packets is noticed by this, not by TCP.
const PING_EVERY: Duration = Duration::from_secs(15);
const DEAD_AFTER: Duration = Duration::from_secs(40);
/// How long one frame may take to leave.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Frames that leave before the socket is flushed.
const BATCH: usize = 256;
/// How long a close frame may take to leave, and how long we then read what the other side has sent already: a socket
/// with unread bytes is reset, and a reset can overtake the close frame.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(1);
/// `hello` is small, and who sends it is not known yet.
pub(crate) const HELLO_LIMIT: usize = 64 * 1024;
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

/// Who has upgraded: a runner known by its token, or nobody yet, who must say a secret in `hello` and has a place among the
/// strangers until then.
#[derive(Debug)]
pub(crate) enum Caller {
    Known { token: TokenHash },
    Anonymous(#[expect(dead_code, reason = "held for its drop")] Stranger),
}

/// Where a socket comes from, for operators.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) remote: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) request_id: String,
    /// What the connection is watched for.
    pub(crate) watch: Option<Arc<Watch>>,
}

/// A runner that has said a good `hello`.
struct Greeted {
    runner: Arc<Runner>,
    token: TokenHash,
    hello: Box<Hello>,
}

/// Serves one socket until it closes.
pub(crate) async fn serve(gateway: Arc<Gateway>, socket: WebSocket, caller: Caller, origin: Origin) {
    let (mut sink, mut stream) = socket.split();
    match introduce(&gateway, &mut stream, &caller).await {
        Ok(greeted) => {
            drop(caller);
            if let Some(watch) = &origin.watch {
                watch.lift();
            }
            // Waits while the log is behind: what was accepted is in it.
            gateway.audit.record(connect_row(Actor::Runner(greeted.runner.id), audit::OK, &origin)).await;
            attend(&gateway, greeted, sink, &mut stream, origin).await;
        }
        Err(reason) => {
            let outcome = match reason.code {
                close::REVOKED => "unauthorized",
                close::GOING_AWAY => "CANCELLED",
                _ => "bad_request",
            };
            if reason.code == close::REVOKED {
                gateway.metrics.auth_failed("hello");
            }
            gateway.audit.refuse(connect_row(Actor::Anonymous, outcome, &origin), origin.address);
            send_close(&mut sink, &reason).await;
        }
    }
    let left = async { while let Some(Ok(_)) = stream.next().await {} };
    // Whoever still sends after that has been told.
    let _told = tokio::time::timeout(LINGER, left).await;
}

/// The audit row of a socket that was accepted or refused.
pub(crate) fn connect_row(actor: Actor, outcome: &'static str, origin: &Origin) -> AuditRow {
    AuditRow {
        target: origin.remote.clone(),
        ..AuditRow::new(actor, action::CONNECT, outcome, origin.request_id.clone())
    }
}

/// Waits for `hello`, not for long.
async fn introduce(
    gateway: &Gateway,
    stream: &mut SplitStream<WebSocket>,
    caller: &Caller,
) -> Result<Greeted, CloseReason> {
    let greeting =
        tokio::time::timeout(Duration::from_millis(HELLO_TIMEOUT_MS), greet(gateway, stream, caller));
    match gateway.drain.stopping().run_until_cancelled(greeting).await {
        Some(Ok(greeted)) => greeted,
        Some(Err(_)) => Err(CloseReason { code: close::POLICY, text: "no hello within 10 seconds" }),
        None => Err(STOPPING),
    }
}

const STOPPING: CloseReason = CloseReason { code: close::GOING_AWAY, text: "the gateway is stopping" };

/// Reads `hello` and finds out whose it is.
async fn greet(
    gateway: &Gateway,
    stream: &mut SplitStream<WebSocket>,
    caller: &Caller,
) -> Result<Greeted, CloseReason> {
    let refuse = |code, text| CloseReason { code, text };
    let text = loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(refuse(close::UNSUPPORTED, "frames are text")),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(Message::Close(_))) | None => return Err(refuse(close::GOING_AWAY, "closed")),
        }
    };
    if text.len() > HELLO_LIMIT {
        return Err(refuse(close::TOO_BIG, "hello is too large"));
    }
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
    let (runner, token) =
        gateway.identify(caller, &hello).ok_or(refuse(close::REVOKED, "credentials refused"))?;
    Ok(Greeted { runner, token, hello })
}

/// Serves a runner that is known.
async fn attend(
    gateway: &Arc<Gateway>,
    greeted: Greeted,
    sink: SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    origin: Origin,
) {
    let Greeted { runner, token, hello } = greeted;
    let announced = announced(gateway.extensions.and(hello.extensions), &hello, origin.remote);
    let (link, outgoing) = Link::new(gateway.registry.next_id(), &runner, token, announced);
    tracing::info!(runner = %link.runner_name, link = link.id, version = link.hello.version, "runner connected");
    welcome(gateway, &link, &hello.running_jobs);
    let writer =
        gateway.drain.spawn_companion("runner socket writer", write(Arc::clone(&link), sink, outgoing));
    read(gateway, &link, stream).await;
    gateway.registry.remove(&link);
    link.lose_jobs();
    gateway.metrics.runner_left();
    gateway.presence.seen(link.runner);
    tracing::info!(runner = %link.runner_name, link = link.id, "runner disconnected");
    // The writer ends by itself: the link is closed. Its result says nothing more.
    let _ended = writer.await;
}

/// What the rest of the gateway may know of a runner's hello.
fn announced(extensions: Extensions, hello: &Hello, remote: Option<String>) -> Announced {
    let shell = shell_capabilities(extensions, hello);
    let metadata = hello.metadata.as_ref().and_then(|metadata| RawObject::parse(&metadata.0).ok());
    let text = |key: &str| metadata.as_ref()?.text(key).ok()?.map(|text| said(&text));
    let said = RunnerSnapshot {
        hostname: text("hostname"),
        platform: text("platform"),
        arch: text("arch"),
        version: hello.runtime_version.as_deref().map(said),
        capabilities: shell.iter().flat_map(|set| set.words()).map(str::to_owned).collect(),
    };
    Announced {
        extensions,
        capabilities: hello.capabilities.clone(),
        version: hello.runtime_version.clone(),
        instance: hello.instance_id.clone(),
        max_jobs: hello.max_jobs,
        remote,
        shell,
        max_shell_jobs: hello.exec.as_ref().and_then(|offer| offer.max_exec),
        said,
    }
}

/// What a runner says that it does beside queries: in `hello.exec`, or, in the other dialect, in its metadata.
fn shell_capabilities(extensions: Extensions, hello: &Hello) -> Option<CapabilitySet> {
    if !extensions.has(Extension::Exec) {
        return Some(CapabilitySet::NONE);
    }
    if let Some(offer) = &hello.exec {
        return Some(reported(offer));
    }
    let metadata = RawObject::parse(&hello.metadata.as_ref()?.0).ok()?;
    let words = metadata.texts("capabilities").ok()??;
    // Words that are not known allow nothing.
    Some(words.iter().filter_map(|word| word.parse::<Capability>().ok()).collect())
}

/// Registers before it acknowledges, so that a push of assignments or a revocation cannot fall between the two.
fn welcome(gateway: &Gateway, link: &Arc<Link>, running: &[String]) {
    gateway.registry.add(link);
    gateway.metrics.runner_joined();
    supersede(gateway, link);
    let ack = || HelloAck {
        server_version: gateway.version.to_owned(),
        assigned_sources: gateway.assigned_sources(link.runner).into(),
        extensions: link.hello.extensions,
    };
    // A job ends with the connection that it was given to: whatever still runs is nobody's.
    let orphans = if link.has(Extension::Resume) { running } else { &[] };
    link.greet(ack, orphans);
    // A revocation or rotation between the check of the credentials and the registration found nobody to close.
    if !gateway.may_connect(link) {
        link.close(CloseReason { code: close::REVOKED, text: "credentials refused" });
    }
    gateway.presence.seen(link.runner);
}

/// A process that dials in again has lost its connection, even if we have not noticed: its jobs must not wait for that.
fn supersede(gateway: &Gateway, link: &Link) {
    if !link.has(Extension::Resume) || link.hello.instance.is_none() {
        return;
    }
    for old in gateway.registry.of(link.runner) {
        if old.id != link.id && old.hello.instance == link.hello.instance {
            old.close(CloseReason { code: close::GOING_AWAY, text: "this instance has dialed in again" });
        }
    }
}

async fn read(gateway: &Gateway, link: &Arc<Link>, stream: &mut SplitStream<WebSocket>) {
    let mut heartbeat_deadline = Instant::now() + HEARTBEAT_LIMIT;
    let stopping = gateway.drain.stopping();
    loop {
        let silence = tokio::time::sleep_until((Instant::now() + DEAD_AFTER).min(heartbeat_deadline));
        let message = tokio::select! {
            message = stream.next() => message,
            () = link.closed.cancelled() => return,
            () = stopping.cancelled() => return link.close(STOPPING),
            () = silence => return link.close(CloseReason { code: close::POLICY, text: "no sign of life" }),
        };
        link.heard(None);
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(_))) => {
                return link.close(CloseReason { code: close::UNSUPPORTED, text: "frames are text" });
            }
            Some(Err(error)) => {
                tracing::warn!(runner = %link.runner_name, %error, "socket failed");
                return link.close(broken(&error));
            }
            Some(Ok(Message::Close(_))) | None => return link.closed.cancel(),
        };
        // Credentials are checked on every frame: a revocation is in force at once, whatever else goes wrong.
        if !gateway.may_connect(link) {
            return link.close(CloseReason { code: close::REVOKED, text: "revoked" });
        }
        let since = Instant::now();
        match handle(gateway, link, &text).await {
            Handled::Heartbeat => heartbeat_deadline = Instant::now() + HEARTBEAT_LIMIT,
            // Heartbeats that we did not read because we held the socket back are not missing.
            Handled::Other => heartbeat_deadline += since.elapsed(),
            Handled::Fatal(reason) => return link.close(reason),
        }
    }
}

fn broken(error: &axum::Error) -> CloseReason {
    let text = error.to_string();
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

async fn handle(gateway: &Gateway, link: &Arc<Link>, text: &Utf8Bytes) -> Handled {
    let fatal = |code, text| Handled::Fatal(CloseReason { code, text });
    let frame = match decode_runner_frame(text.as_str()) {
        Ok(Decoded::Frame(frame)) => frame,
        Ok(Decoded::Unknown(kind)) => {
            gateway.metrics.unknown_frame(&kind);
            return Handled::Other;
        }
        Err(error) if error.is_fatal() => {
            tracing::warn!(runner = %link.runner_name, %error, "socket closed for a bad frame");
            return fatal(close::PROTOCOL, "not a frame");
        }
        Err(error) => {
            refuse_frame(gateway, link, &error);
            return Handled::Other;
        }
    };
    match frame {
        RunnerFrame::Heartbeat(heartbeat) => {
            link.heard(heartbeat.stats);
            if let Some(bridges) = heartbeat.capabilities
                && link.has(Extension::Bridges)
            {
                tracing::info!(runner = %link.runner_name, bridges = bridges.len(), "the runner has other bridges now");
                link.has_now(bridges);
            }
            gateway.presence.seen(link.runner);
            return Handled::Heartbeat;
        }
        RunnerFrame::Chunk(chunk) => take(gateway, link, text.clone().into(), chunk).await,
        RunnerFrame::Done { id, meta } => end(gateway, link, &id, Kind::Query, Event::Done(meta)),
        RunnerFrame::Error(error) => {
            let id = error.id.clone();
            end(gateway, link, &id, Kind::Query, Event::Error(error));
        }
        RunnerFrame::ExecChunk(chunk) => take_output(gateway, link, chunk),
        RunnerFrame::ExecDone(done) => {
            let id = done.job_id.clone();
            end(gateway, link, &id, Kind::Shell, Event::Shell(ShellEvent::Done(done)));
        }
        RunnerFrame::ExecError(error) => {
            let id = error.job_id.clone();
            end(gateway, link, &id, Kind::Shell, Event::Shell(ShellEvent::Error(error)));
        }
        RunnerFrame::Draining(draining) => drain(link, draining),
        RunnerFrame::Hello(_) => return fatal(close::POLICY, "hello was said already"),
    }
    Handled::Other
}

/// Hands a chunk to its job.
async fn take(gateway: &Gateway, link: &Link, frame: Bytes, chunk: ChunkParts<'_>) {
    let Some(inbox) = link.inbox(&chunk.id, Kind::Query) else {
        return gateway.metrics.stray_frame();
    };
    if link.has(Extension::Resume) && !inbox.in_sequence(chunk.seq) {
        return link.fail(&inbox, "the runner left out a chunk");
    }
    gateway.metrics.bytes_received(frame.len());
    let rows = if chunk.agg.is_empty() { &chunk.rows } else { &chunk.agg };
    let data = ChunkData::new(&frame, rows.iter().map(|row| row.get()), chunk.tail);
    let taken = inbox.take(data, || link.active_jobs() > 1);
    if let Some(Err(why)) = link.closed.run_until_cancelled(taken).await {
        link.fail(&inbox, why);
    }
}

/// Hands output to its shell job.
fn take_output(gateway: &Gateway, link: &Link, chunk: ExecChunk) {
    let Some(inbox) = link.inbox(&chunk.job_id, Kind::Shell) else {
        return gateway.metrics.stray_frame();
    };
    gateway.metrics.output_received(chunk.data.len());
    if let Err(why) = inbox.take_output(chunk) {
        link.fail(&inbox, why);
    }
}

fn drain(link: &Link, draining: Draining) {
    if link.has(Extension::Drain) {
        tracing::info!(runner = %link.runner_name, deadline_ms = draining.deadline_ms, "runner is draining");
        link.drain();
    }
}

/// A known frame with a wrong field: its job cannot be trusted any more, the socket can.
fn refuse_frame(gateway: &Gateway, link: &Link, error: &FrameError) {
    tracing::warn!(runner = %link.runner_name, %error, "bad frame from runner");
    gateway.metrics.stray_frame();
    if let FrameError::Field { kind, id: Some(id), .. } = error
        && let Some(inbox) = link.inbox(id, if kind.starts_with("exec_") { Kind::Shell } else { Kind::Query })
    {
        link.fail(&inbox, "the runner sent a frame with a wrong field");
    }
}

fn end(gateway: &Gateway, link: &Link, id: &str, kind: Kind, event: Event) {
    let Some(inbox) = link.inbox(id, kind) else {
        return gateway.metrics.stray_frame();
    };
    link.forget(id);
    inbox.send(event);
}

async fn write(
    link: Arc<Link>,
    mut sink: SplitSink<WebSocket, Message>,
    mut outgoing: mpsc::Receiver<Outgoing>,
) {
    let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            biased;
            () = link.closed.cancelled() => break,
            _ = ping.tick() => send_all(&mut sink, &mut outgoing, Outgoing::Ping).await,
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

/// Sends `first` and what else is queued, and flushes once. Whether it left in time.
async fn send_all(
    sink: &mut SplitSink<WebSocket, Message>,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    first: Outgoing,
) -> bool {
    let mut written = Vec::new();
    let send = async {
        let mut sent = 0;
        let mut next = Some(first);
        while let Some(item) = next {
            let message = match item {
                Outgoing::Ping => Message::Ping(Bytes::new()),
                Outgoing::Frame(text) => Message::Text(text.into()),
                Outgoing::Job(text, inbox) => {
                    written.push(inbox);
                    Message::Text(text.into())
                }
            };
            sink.feed(message).await?;
            sent += 1;
            next = if sent < BATCH { outgoing.try_recv().ok() } else { None };
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
    let _unreachable = tokio::time::timeout(CLOSE_LIMIT, close).await;
}
