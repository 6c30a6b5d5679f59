//! One acknowledged socket, until it ends.
//!
//! A single task reads and writes, so that a frame needs no hop between tasks. Everything that is ready to leave is put
//! into the socket's buffer and flushed once. Control frames go first; the jobs then take turns, and a job whose rows
//! wait for credit or for its database is simply not ready. Reading goes on while a write is stuck, because what comes in
//! may be the cancel that frees it.

mod renewal;
mod watched;

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt, Stream, StreamExt};
use protocol::{
    Decoded, Draining, ExecRequest, Extension, Extensions, GatewayFrame, Heartbeat, decode_gateway_frame,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error as SocketError, Message};

use renewal::{Renewal, Turn};
pub(crate) use watched::Watched;

use crate::config::Timings;
use crate::dispatch::{Dispatch, refuse_frame};
use crate::runner::Runner;

/// Control frames that wait for the socket. Above this nothing more is read: a gateway that floods the runner with frames
/// to refuse is held back by TCP.
const CONTROL_FRAMES: usize = 1024;
/// How long a close frame may take to leave, and the gateway to answer it.
const CLOSE_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);
/// Ticks in the shortest of the watched times.
const TICKS: u32 = 4;

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The runner drains and every job has been answered.
    Drained,
    /// The gateway closed.
    Closed {
        /// Its code; 1005 without.
        code: u16,
        /// Its reason, cut to a bounded length.
        reason: String,
    },
    /// The connection broke.
    Broken(String),
    /// No byte came for too long.
    Silent,
    /// No byte could be sent for too long.
    Stuck,
    /// The gateway sent something that is not a frame.
    Violation(String),
    /// The runner has other bridges than it said, and the gateway hears of them only in a new `hello`.
    Outdated,
}

/// What was said and agreed when the socket was opened.
pub(crate) struct Greeted {
    pub(crate) extensions: Extensions,
    /// The bridges in `hello`.
    pub(crate) bridges: Vec<String>,
}

/// A socket after `hello-ack`.
pub(crate) struct Session<S> {
    runner: Arc<Runner>,
    socket: WebSocketStream<Watched<S>>,
    extensions: Extensions,
    timings: Timings,
    dispatch: Dispatch,
    control: VecDeque<Message>,
    /// Whether the socket's buffer holds something.
    unflushed: bool,
    /// When the socket last refused to take bytes, if it still does.
    stuck_since: Option<Instant>,
    next_ping: Instant,
    next_heartbeat: Instant,
    farewell: Farewell,
    /// The bridges that the gateway knows of.
    announced: Vec<String>,
    /// Whether a new socket is needed to tell it of others.
    renewal: Renewal,
}

/// How far leaving has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// Not leaving.
    None,
    /// The gateway was told, and may have sent jobs before it heard. They are refused; what it sends after its answer to
    /// our ping knows that we leave.
    Announced { until: Instant },
    /// Everything that crossed has been answered.
    Heard,
}

enum Event {
    Message(Message),
    /// A frame of a job left, or nothing can be done: look whether the session is over.
    Idle,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) fn new(
        runner: Arc<Runner>,
        socket: WebSocketStream<Watched<S>>,
        greeted: Greeted,
        timings: Timings,
    ) -> Self {
        let Greeted { extensions, bridges } = greeted;
        let now = Instant::now();
        Self {
            dispatch: Dispatch::new(Arc::clone(&runner), extensions),
            runner,
            socket,
            extensions,
            timings,
            control: VecDeque::new(),
            unflushed: false,
            stuck_since: None,
            next_ping: now + timings.ping,
            next_heartbeat: now,
            farewell: Farewell::None,
            announced: bridges,
            renewal: Renewal::new(timings.renew),
        }
    }

    /// Runs until the socket ends or the runner has drained, and closes it.
    pub(crate) async fn run(mut self) -> Ended {
        let ended = self.serve().await;
        let close = match &ended {
            Ended::Drained => Some((CloseCode::Away, "the runner stops")),
            Ended::Violation(reason) if reason == TOO_LARGE => Some((CloseCode::Size, "frame too large")),
            Ended::Violation(reason) if reason == BINARY => Some((CloseCode::Unsupported, BINARY)),
            Ended::Violation(reason) => Some((CloseCode::Protocol, reason.as_str())),
            Ended::Silent => Some((CloseCode::Away, "no sign of life")),
            Ended::Outdated => Some((CloseCode::Away, "the runner has other bridges now")),
            Ended::Closed { .. } | Ended::Broken(_) | Ended::Stuck => None,
        };
        if let Some((code, reason)) = close {
            self.close(code, reason).await;
        }
        ended
    }

    async fn serve(&mut self) -> Ended {
        let Timings { ping, heartbeat, write, dead, renew, .. } = self.timings;
        let shortest = [heartbeat, write, dead, renew].into_iter().fold(ping, std::time::Duration::min);
        let period = (shortest / TICKS).max(std::time::Duration::from_millis(1));
        let mut clock = interval_at(Instant::now() + period, period);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (refusing, stopping) = (self.runner.drain.refusing(), self.runner.drain.stopping());
        let (mut refusing, mut stopping) = (pin!(refusing.cancelled()), pin!(stopping.cancelled()));
        let (mut refused, mut stopped) = (false, false);
        let runner = Arc::clone(&self.runner);
        self.tick();
        self.announce_bridges();
        loop {
            let result = tokio::select! {
                event = std::future::poll_fn(|cx| self.poll(cx)) => event.and_then(|event| self.handle(event)),
                _ = clock.tick() => self.check(),
                () = &mut refusing, if !refused => {
                    refused = true;
                    self.announce_drain();
                    Ok(())
                }
                () = &mut stopping, if !stopped => {
                    stopped = true;
                    self.dispatch.cancel_all();
                    Ok(())
                }
                () = runner.other_bridges.notified() => {
                    self.announce_bridges();
                    Ok(())
                }
            };
            if !refused {
                self.renew();
            }
            match result {
                Err(ended) => return ended,
                Ok(()) if !self.has_left(stopped) => {}
                Ok(()) if refused => return Ended::Drained,
                Ok(()) => return Ended::Outdated,
            }
        }
    }

    /// Whether the runner leaves and nothing is left to say.
    fn has_left(&self, stopped: bool) -> bool {
        let heard = match self.farewell {
            Farewell::None => false,
            Farewell::Announced { until } => stopped || Instant::now() >= until,
            Farewell::Heard => true,
        };
        heard && self.has_nothing_to_say()
    }

    /// Whether every job has been answered, and the answers are out; so are the refusals of jobs that never were any.
    fn has_nothing_to_say(&self) -> bool {
        self.dispatch.is_idle() && self.control.is_empty() && !self.unflushed
    }

    /// Tells the gateway which bridges there are, if it thinks otherwise.
    fn announce_bridges(&mut self) {
        let bridges = self.runner.registry.names();
        if bridges == self.announced || !self.extensions.has(Extension::Bridges) {
            self.renewal.need(bridges != self.announced, Instant::now());
        } else {
            self.announced.clone_from(&bridges);
            let stats = Some(self.runner.stats(self.extensions));
            self.control.push_back(Message::text(Heartbeat { stats, capabilities: Some(bridges) }.encode()));
        }
    }

    /// Refuses new jobs, or takes them again, where the renewal of this socket asks for it.
    fn renew(&mut self) {
        let grace = self.runner.config().drain_timeout;
        let turn = self.renewal.look(Instant::now(), self.has_nothing_to_say(), grace);
        match turn {
            None => return,
            Some(Turn::Refuse) => self.say_farewell(),
            Some(Turn::TakeAgain) => {
                tracing::warn!(
                    "jobs run for too long to wait with a new hello for; new ones are taken again"
                );
                self.farewell = Farewell::None;
            }
        }
        self.dispatch.refuse(self.renewal.refuses());
    }

    fn announce_drain(&mut self) {
        if self.extensions.has(Extension::Drain) {
            let limit = self.runner.config().drain_timeout;
            let deadline_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            self.control.push_back(Message::text(Draining { deadline_ms }.encode()));
        }
        self.say_farewell();
    }

    /// From here on jobs are refused; the answer to the ping comes behind those that were sent before.
    fn say_farewell(&mut self) {
        self.farewell = Farewell::Announced { until: Instant::now() + CLOSE_LIMIT };
        self.control.push_back(Message::Ping(Bytes::from_static(FAREWELL)));
    }

    /// Looks at the times that have passed.
    fn check(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        let watched = self.socket.get_ref();
        if now.duration_since(watched.last_read()) >= self.timings.dead {
            return Err(Ended::Silent);
        }
        if let Some(since) = self.stuck_since
            && now.duration_since(since.max(watched.last_write())) >= self.timings.write
        {
            return Err(Ended::Stuck);
        }
        self.tick();
        Ok(())
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_ping {
            self.next_ping = now + self.timings.ping;
            self.control.push_back(Message::Ping(timestamp(now, self.socket.get_ref().opened())));
        }
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + self.timings.heartbeat;
            self.heartbeat();
        }
    }

    fn heartbeat(&mut self) {
        let stats = self.runner.stats(self.extensions);
        for (name, pool) in &stats.pools {
            self.runner.metrics.pool(name, pool.in_use);
        }
        self.control.push_back(Message::text(Heartbeat { stats: Some(stats), capabilities: None }.encode()));
    }

    fn handle(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Message(Message::Text(text)) => self.frame(&text),
            Event::Message(Message::Binary(_)) => Err(Ended::Violation(BINARY.to_owned())),
            Event::Message(Message::Close(frame)) => Err(closed(frame)),
            Event::Message(Message::Pong(payload)) => {
                self.pong(&payload);
                Ok(())
            }
            // Pings are answered by the library; raw frames never come out of it.
            Event::Message(Message::Ping(_) | Message::Frame(_)) | Event::Idle => Ok(()),
        }
    }

    fn pong(&mut self, payload: &[u8]) {
        if payload == FAREWELL {
            if let Farewell::Announced { .. } = self.farewell {
                self.farewell = Farewell::Heard;
            }
        } else if let Some(time) = elapsed_since(payload, self.socket.get_ref().opened()) {
            self.runner.metrics.round_trip(time);
        }
    }

    fn frame(&mut self, text: &str) -> Result<(), Ended> {
        match decode_gateway_frame(text) {
            Ok(Decoded::Frame(frame)) => self.act(frame),
            Ok(Decoded::Unknown(kind)) => note_unknown(&self.runner, &kind),
            Err(error) if error.is_fatal() => return Err(Ended::Violation(error.to_string())),
            Err(error) => {
                // As text, not as Display: it may repeat a key of the frame, and the log then escapes line breaks.
                tracing::warn!(error = error.to_string(), "the gateway sent a frame with a wrong field");
                if let Some(refusal) = refuse_frame(&error, self.extensions) {
                    self.control.push_back(Message::text(refusal));
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, frame: GatewayFrame) {
        match frame {
            GatewayFrame::Job(job) => {
                if let Some(refusal) = self.dispatch.accept(*job) {
                    self.control.push_back(Message::text(refusal.encode()));
                }
            }
            GatewayFrame::Cancel { id } => self.dispatch.cancel(&id),
            GatewayFrame::Credit { id, bytes } => self.dispatch.credit(&id, bytes),
            GatewayFrame::ExecRequest(request) => self.shell(*request),
            GatewayFrame::ExecCancel { job_id } => self.dispatch.cancel(&job_id),
            GatewayFrame::AssignmentsChanged(assignments) => self.assign(assignments),
            // Said again: only the assignments can be news.
            GatewayFrame::HelloAck(ack) => self.assign(ack.assigned_sources),
            GatewayFrame::Ping => self.heartbeat(),
        }
    }

    fn shell(&mut self, request: ExecRequest) {
        if !self.extensions.has(Extension::Exec) {
            tracing::warn!("a shell job, which was not agreed upon");
        } else if let Some(refusal) = self.dispatch.accept_shell(request) {
            self.control.push_back(Message::text(refusal.encode()));
        }
    }

    fn assign(&self, assignments: protocol::Assignments) {
        self.runner.sources.take(assignments, &self.runner.config().sources);
    }

    /// Writes what can be written, then reads one message.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Ended>> {
        let wrote = match self.poll_write(cx) {
            Ok(wrote) => wrote,
            Err(error) => return Poll::Ready(Err(broken(&error))),
        };
        if self.control.len() < CONTROL_FRAMES {
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => return Poll::Ready(Ok(Event::Message(message))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(None) => {
                    return Poll::Ready(Err(Ended::Broken("the connection ended".to_owned())));
                }
                Poll::Pending => {}
            }
        }
        // A session that leaves is over as soon as its last frame is out, not with the next tick.
        let leaves = self.farewell != Farewell::None || self.renewal.is_needed();
        if wrote && leaves { Poll::Ready(Ok(Event::Idle)) } else { Poll::Pending }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, SocketError> {
        let mut wrote = false;
        loop {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    self.stuck_since.get_or_insert_with(Instant::now);
                    return Ok(wrote);
                }
            }
            self.stuck_since = None;
            let Some(message) = self.next_message(cx) else { break };
            Pin::new(&mut self.socket).start_send(message)?;
            self.unflushed = true;
            wrote = true;
        }
        if self.unflushed {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.unflushed = false;
                    wrote = true;
                }
                Poll::Pending => {
                    self.stuck_since.get_or_insert_with(Instant::now);
                }
            }
        }
        Ok(wrote)
    }

    fn next_message(&mut self, cx: &mut Context<'_>) -> Option<Message> {
        if let Some(control) = self.control.pop_front() {
            return Some(control);
        }
        match self.dispatch.poll_frame(cx) {
            Poll::Ready(frame) => Some(Message::text(frame)),
            Poll::Pending => None,
        }
    }

    /// Says goodbye, and reads until the gateway answers: closing with unread input would reset the connection and could
    /// take the last frames along.
    async fn close(&mut self, code: CloseCode, reason: &str) {
        let reason: String = reason.chars().take(100).collect();
        let frame = CloseFrame { code, reason: reason.into() };
        let farewell = async {
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        if timeout(CLOSE_LIMIT, farewell).await.is_err() {
            tracing::debug!("the gateway did not answer the close");
        }
    }
}

const BINARY: &str = "frames are text";
const TOO_LARGE: &str = "a frame is larger than the limit";
const FAREWELL: &[u8] = b"farewell";

/// Counts a frame of a type that this build does not know.
pub(crate) fn note_unknown(runner: &Runner, kind: &str) {
    if runner.metrics.unknown_frame(kind) {
        let kind: String = kind.chars().take(40).collect();
        tracing::info!(kind, "frames of an unknown type are ignored");
    }
}

/// What a socket's error means.
pub(crate) fn broken(error: &SocketError) -> Ended {
    match error {
        SocketError::Capacity(CapacityError::MessageTooLong { .. }) => Ended::Violation(TOO_LARGE.to_owned()),
        SocketError::Protocol(_) | SocketError::Utf8(_) | SocketError::Capacity(_) => {
            Ended::Violation(error.to_string())
        }
        _ => Ended::Broken(error.to_string()),
    }
}

/// What a close frame means.
pub(crate) fn closed(frame: Option<CloseFrame>) -> Ended {
    match frame {
        Some(frame) => Ended::Closed {
            code: frame.code.into(),
            reason: frame.reason.chars().filter(|character| !character.is_control()).collect(),
        },
        None => Ended::Closed { code: 1005, reason: String::new() },
    }
}

fn timestamp(now: Instant, opened: Instant) -> Bytes {
    let micros = u64::try_from(now.duration_since(opened).as_micros()).unwrap_or(u64::MAX);
    Bytes::copy_from_slice(&micros.to_be_bytes())
}

fn elapsed_since(payload: &[u8], opened: Instant) -> Option<std::time::Duration> {
    let sent = std::time::Duration::from_micros(u64::from_be_bytes(payload.try_into().ok()?));
    opened.elapsed().checked_sub(sent)
}

#[cfg(feature = "plugins")]
#[cfg(test)]
mod tests;
