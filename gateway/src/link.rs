//! One connected runner, as the rest of the gateway sees it: what it can do, how busy it is, and a way to give it jobs.
//!
//! Queries and shell jobs share the list of jobs and differ in their frames; a frame of one kind never reaches a job of the
//! other.
//!
//! Jobs report through their [`Inbox`]. The bytes that wait in an inbox are bounded: by the job's credit where the
//! runner speaks `flow/1`. Otherwise the socket's reader is held back, as long as it takes while the job has the socket to
//! itself; beside other jobs the slow one fails, because they must not wait for its caller.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use protocol::{
    AssignedSource, DoneMeta, ErrorFrame, ExecChunk, ExecDone, ExecError, ExecRequest, Extension, Extensions,
    FRAME_LIMIT_BYTES, GatewayFrame, HelloAck, JobFrame, Stats, Tail,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::capability::CapabilitySet;
use crate::model::{Runner, RunnerId};
use crate::shell::record::RunnerSnapshot;
use crate::token::TokenHash;

/// Bytes of rows that one job may have under way or waiting.
pub(crate) const JOB_WINDOW: u64 = 1024 * 1024;
/// Jobs that one socket carries at the most.
const MAX_JOBS: usize = 4096;
/// Frames that wait for the socket: a job, its cancel and two credits for each job fit.
const OUTGOING: usize = 4 * MAX_JOBS;
/// What a chunk weighs beyond its frame, and each of its rows beyond its text.
const CHUNK_OVERHEAD: usize = 128;
const ROW_OVERHEAD: usize = size_of::<(usize, usize)>();
/// Memory that the waiting chunks of a job with `flow/1` may take, whatever their rows count for in its window: frames hold
/// more than rows. A window of rows and the largest row fit with room to spare.
const METERED_LIMIT: usize = 2 * FRAME_LIMIT_BYTES;
/// Bytes that wait for one job of a runner without `flow/1` before its socket is held back.
const UNMETERED_WINDOW: usize = 8 * 1024 * 1024;
/// How long a job may hold back such a socket that carries other jobs, too, and how often that is looked at.
const UNMETERED_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const TOO_SLOW: &str = "the caller reads more slowly than a runner without flow control can wait";

/// A connected runner.
#[derive(Debug)]
pub(crate) struct Link {
    /// Which connection, over the life of this process.
    pub(crate) id: u64,
    pub(crate) runner: RunnerId,
    pub(crate) runner_name: String,
    /// The token that opened the connection, which ends with it.
    pub(crate) token: TokenHash,
    pub(crate) hello: Announced,
    pub(crate) connected_at: Instant,
    /// Cancelled when the connection must end; says why through [`Link::close`].
    pub(crate) closed: CancellationToken,
    why: Mutex<Option<CloseReason>>,
    outgoing: mpsc::Sender<Outgoing>,
    /// Held while the runner is told of its sources, so that an older list never follows a newer one. Whether it was told
    /// for the first time, in `hello-ack`: before that it gets nothing else.
    greeted: Mutex<bool>,
    jobs: Mutex<HashMap<Box<str>, Arc<Inbox>>>,
    active: AtomicU32,
    max_jobs: AtomicU32,
    welcome: AtomicBool,
    draining: AtomicBool,
    last_heard: AtomicU64,
    stats: Mutex<Option<Stats>>,
    /// Package names of its bridges, as it last said.
    bridges: ArcSwap<Vec<String>>,
}

/// What a runner said of itself in `hello`, and what was agreed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Announced {
    pub(crate) extensions: Extensions,
    pub(crate) capabilities: Vec<String>,
    pub(crate) version: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) max_jobs: Option<u32>,
    pub(crate) remote: Option<String>,
    /// What its own settings let it do beside queries; `None` when it takes shell jobs and does not say which.
    pub(crate) shell: Option<CapabilitySet>,
    /// Shell jobs that it takes at once, where it says.
    pub(crate) max_shell_jobs: Option<u32>,
    /// The rest, for people.
    pub(crate) said: RunnerSnapshot,
}

/// Why a connection is closed, as the close frame says it (RFC 6455, section 7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloseReason {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

/// What the writer of a socket sends.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A frame's text.
    Frame(String),
    /// A ping of the WebSocket itself.
    Ping,
    /// A job, and whom to tell that it has been written.
    Job(String, Arc<Inbox>),
}

/// What a job's reader gets.
#[derive(Debug)]
pub(crate) enum Event {
    /// The job frame is on the wire.
    Dispatched,
    /// Rows or buckets.
    Chunk(ChunkData),
    /// The job is finished.
    Done(DoneMeta),
    /// The job has failed at the runner.
    Error(ErrorFrame),
    /// What only shell jobs get.
    Shell(ShellEvent),
    /// The connection is gone.
    Lost,
    /// The runner broke the protocol, or its caller is too slow for a runner without flow control.
    Broken(&'static str),
}

/// What the runner says of a shell job.
#[derive(Debug)]
pub(crate) enum ShellEvent {
    /// Output.
    Output(ExecChunk),
    /// The program has ended.
    Done(ExecDone),
    /// It was refused, did not start, or was ended.
    Error(ExecError),
}

/// Which frames a job is spoken of with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `job`, `chunk`, `done`, `error`, `cancel`.
    Query,
    /// `exec_request`, `exec_chunk`, `exec_done`, `exec_error`, `exec_cancel`.
    Shell,
}

/// A chunk's rows, still in the frame that brought them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChunkData {
    frame: Bytes,
    rows: Vec<(usize, usize)>,
    pub(crate) tail: Tail,
}

impl ChunkData {
    /// Keeps the places of `rows` in `frame`, which they are slices of.
    pub(crate) fn new<'a>(frame: &Bytes, rows: impl Iterator<Item = &'a str>, tail: Tail) -> Self {
        let base = frame.as_ptr().addr();
        let place = |row: &str| {
            let start = row.as_ptr().addr().wrapping_sub(base);
            (start, start.wrapping_add(row.len()))
        };
        let rows: Vec<_> = rows.map(place).collect();
        let frame = if rows.is_empty() { Bytes::new() } else { frame.clone() };
        Self { frame, rows, tail }
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tail.is_empty()
    }

    /// How many rows.
    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// The rows' texts.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().filter_map(|(start, end)| self.frame.get(*start..*end))
    }

    /// From the first row to the last, with the commas between them: what stands between a list's brackets.
    pub(crate) fn joined(&self) -> Bytes {
        match (self.rows.first(), self.rows.last()) {
            (Some((start, _)), Some((_, end))) if end <= &self.frame.len() && start <= end => {
                self.frame.slice(*start..*end)
            }
            _ => Bytes::new(),
        }
    }

    /// Bytes of memory that the chunk takes.
    pub(crate) fn weight(&self) -> usize {
        let cursor = self.tail.next_cursor.as_ref().map_or(0, String::len);
        self.frame.len() + self.rows.len() * ROW_OVERHEAD + cursor + CHUNK_OVERHEAD
    }

    /// Bytes that the chunk counts for in its job's window: its rows, as the runner counts them.
    pub(crate) fn cost(&self) -> usize {
        match (self.rows.first(), self.rows.last()) {
            (Some((start, _)), Some((_, end))) => end.saturating_sub(*start),
            _ => 0,
        }
    }
}

/// Where a job's answers wait.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) id: Box<str>,
    kind: Kind,
    events: mpsc::UnboundedSender<Event>,
    waiting: AtomicUsize,
    /// Bytes that the runner may still send; only with `flow/1`.
    credit: Option<AtomicU64>,
    /// Bytes that were taken out and not yet granted again.
    ungranted: AtomicU64,
    taken: Notify,
    next_seq: AtomicU64,
}

impl Inbox {
    pub(crate) fn new(id: &str, kind: Kind, metered: bool) -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let inbox = Self {
            id: id.into(),
            kind,
            events,
            waiting: AtomicUsize::new(0),
            credit: metered.then(|| AtomicU64::new(JOB_WINDOW)),
            ungranted: AtomicU64::new(0),
            taken: Notify::new(),
            next_seq: AtomicU64::new(0),
        };
        (Arc::new(inbox), receiver)
    }

    /// Hands an event to the job. A job that nobody listens to any more takes nothing.
    pub(crate) fn send(&self, event: Event) {
        // The receiver is gone when the caller is; then there is nobody to tell.
        let _gone = self.events.send(event);
    }

    pub(crate) fn mark_dispatched(&self) {
        self.send(Event::Dispatched);
    }

    /// `resume/1`: whether this chunk is the next one. Chunks are numbered from 0 without gaps.
    pub(crate) fn in_sequence(&self, seq: Option<u64>) -> bool {
        seq == Some(self.next_seq.fetch_add(1, Ordering::AcqRel))
    }

    /// Takes a chunk in, or says why the job is to end. `crowded` tells whether the socket carries other jobs, too.
    pub(crate) async fn take(
        &self,
        chunk: ChunkData,
        crowded: impl Fn() -> bool,
    ) -> Result<(), &'static str> {
        if chunk.is_empty() {
            return Ok(());
        }
        match &self.credit {
            Some(credit) => self.charge(credit, chunk.cost(), chunk.weight())?,
            None => self.room(crowded).await?,
        }
        self.waiting.fetch_add(chunk.weight(), Ordering::AcqRel);
        self.send(Event::Chunk(chunk));
        Ok(())
    }

    /// Takes output of a shell job in, or says why the job is to end. Never waits: a command's output is bounded by the
    /// runner, and where it does not fit the command must not hold back the others.
    pub(crate) fn take_output(&self, chunk: ExecChunk) -> Result<(), &'static str> {
        if !self.in_sequence(Some(chunk.seq)) {
            return Err("the runner left out a piece of the output");
        }
        let (cost, weight) = (chunk.data.len(), output_weight(&chunk));
        match &self.credit {
            Some(credit) => self.charge(credit, cost, weight)?,
            None if self.waiting() + weight > UNMETERED_WINDOW => return Err(TOO_SLOW),
            None => {}
        }
        self.waiting.fetch_add(weight, Ordering::AcqRel);
        self.send(Event::Shell(ShellEvent::Output(chunk)));
        Ok(())
    }

    /// Notes that the caller has taken something of this weight out.
    fn taken(&self, weight: usize) {
        self.waiting.fetch_sub(weight, Ordering::AcqRel);
        self.taken.notify_one();
    }

    /// Bytes that wait.
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Gives the runner `bytes` more.
    pub(crate) fn grant(&self, bytes: u64) {
        if let Some(credit) = &self.credit {
            credit.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    /// Pays for a chunk. The last one may overdraw what is left: the runner cannot split a row.
    fn charge(&self, credit: &AtomicU64, cost: usize, weight: usize) -> Result<(), &'static str> {
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        // The caller's side grants at the same time; neither may undo the other.
        let paid = credit.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
            (left > 0 || cost == 0).then(|| left.saturating_sub(cost))
        });
        if paid.is_err() || self.waiting() + weight > METERED_LIMIT {
            return Err("the runner sent more than its credit");
        }
        Ok(())
    }

    /// Waits until there is room for more.
    async fn room(&self, crowded: impl Fn() -> bool) -> Result<(), &'static str> {
        let mut crowded_since = None;
        while self.waiting() > UNMETERED_WINDOW && !self.events.is_closed() {
            if !crowded() {
                crowded_since = None;
            } else if crowded_since.get_or_insert_with(tokio::time::Instant::now).elapsed()
                >= UNMETERED_PATIENCE
            {
                return Err(TOO_SLOW);
            }
            // Looked at again in any case: another job may have come or gone.
            let _elapsed = tokio::time::timeout(LOOK_EVERY, self.taken.notified()).await;
        }
        Ok(())
    }
}

impl Link {
    pub(crate) fn new(
        id: u64,
        runner: &Runner,
        token: TokenHash,
        hello: Announced,
    ) -> (Arc<Self>, mpsc::Receiver<Outgoing>) {
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let link = Self {
            id,
            runner: runner.id,
            runner_name: runner.name.clone(),
            token,
            max_jobs: AtomicU32::new(hello.max_jobs.unwrap_or(0)),
            bridges: ArcSwap::from_pointee(hello.capabilities.clone()),
            hello,
            connected_at: Instant::now(),
            closed: CancellationToken::new(),
            why: Mutex::default(),
            outgoing,
            greeted: Mutex::default(),
            jobs: Mutex::default(),
            active: AtomicU32::new(0),
            welcome: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            last_heard: AtomicU64::new(0),
            stats: Mutex::default(),
        };
        (Arc::new(link), receiver)
    }

    pub(crate) fn has(&self, extension: Extension) -> bool {
        self.hello.extensions.has(extension)
    }

    /// Whether the runner takes new jobs: it has its `hello-ack`, and does not stop.
    pub(crate) fn is_open(&self) -> bool {
        self.welcome.load(Ordering::Acquire) && !self.is_draining() && !self.closed.is_cancelled()
    }

    /// Whether the runner has the bridge of that package name. One that does not say has them all.
    pub(crate) fn has_bridge(&self, package: &str) -> bool {
        let bridges = self.bridges.load();
        bridges.is_empty() || bridges.iter().any(|name| name == package)
    }

    /// Package names of the runner's bridges.
    pub(crate) fn bridges(&self) -> Arc<Vec<String>> {
        self.bridges.load_full()
    }

    /// The runner has these bridges now.
    pub(crate) fn has_now(&self, bridges: Vec<String>) {
        self.bridges.store(Arc::new(bridges));
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// How full the runner is: jobs over slots, in thousandths. Without a known number of slots each job counts as one
    /// of 64, the default of runners.
    pub(crate) fn load(&self) -> u32 {
        let slots = match self.max_jobs.load(Ordering::Relaxed) {
            0 => 64,
            slots => slots,
        };
        self.active_jobs().saturating_mul(1_000) / slots
    }

    /// Jobs that this gateway has given to the runner.
    pub(crate) fn active_jobs(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn max_jobs(&self) -> Option<u32> {
        match self.max_jobs.load(Ordering::Relaxed) {
            0 => None,
            slots => Some(slots),
        }
    }

    /// Notes a frame, and what a heartbeat says.
    pub(crate) fn heard(&self, stats: Option<Stats>) {
        let since = u64::try_from(self.connected_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_heard.store(since, Ordering::Relaxed);
        if let Some(stats) = stats {
            if let Some(max_jobs) = stats.max_jobs {
                self.max_jobs.store(max_jobs, Ordering::Relaxed);
            }
            *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = Some(stats);
        }
    }

    /// Time since the last frame.
    pub(crate) fn silence(&self) -> Duration {
        self.connected_at
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last_heard.load(Ordering::Relaxed)))
    }

    pub(crate) fn stats(&self) -> Option<Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a job on the way. Fails when the connection is closing or full.
    pub(crate) fn place(&self, frame: JobFrame, inbox: &Arc<Inbox>) -> Result<(), NotPlaced> {
        self.enlist(inbox, MAX_JOBS)?;
        self.dispatch(&GatewayFrame::Job(Box::new(frame)), inbox)
    }

    /// Puts a shell job on the way, unless the runner has `most` of them.
    pub(crate) fn place_shell(
        &self,
        request: ExecRequest,
        inbox: &Arc<Inbox>,
        most: usize,
    ) -> Result<(), NotPlaced> {
        self.enlist(inbox, most)?;
        self.dispatch(&GatewayFrame::ExecRequest(Box::new(request)), inbox)
    }

    /// Shell jobs that this gateway has given to the runner.
    pub(crate) fn shell_jobs(&self) -> usize {
        count(&self.jobs.lock().unwrap_or_else(PoisonError::into_inner), Kind::Shell)
    }

    /// Notes a job, unless there are `most` of its kind.
    fn enlist(&self, inbox: &Arc<Inbox>, most: usize) -> Result<(), NotPlaced> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_open() {
            return Err(NotPlaced::Closed);
        }
        if jobs.len() >= MAX_JOBS || (most < MAX_JOBS && count(&jobs, inbox.kind) >= most) {
            return Err(NotPlaced::Full);
        }
        jobs.insert(inbox.id.clone(), Arc::clone(inbox));
        self.active.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn dispatch(&self, frame: &GatewayFrame, inbox: &Arc<Inbox>) -> Result<(), NotPlaced> {
        let text = frame.encode();
        // The runner would have to close the socket, with everybody's jobs on it.
        let sent = if text.len() > FRAME_LIMIT_BYTES {
            Err(NotPlaced::TooLarge)
        } else {
            let job = Outgoing::Job(text, Arc::clone(inbox));
            self.outgoing.try_send(job).map_err(|_| NotPlaced::Closed)
        };
        sent.inspect_err(|_| {
            self.forget(&inbox.id);
        })
    }

    /// Takes a job off the list. Whether it was still there.
    pub(crate) fn forget(&self, id: &str) -> bool {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = jobs.remove(id).is_some();
        if known {
            self.active.fetch_sub(1, Ordering::Relaxed);
        }
        known
    }

    /// Tells the runner to stop a job that has not ended, and listens to it no more.
    pub(crate) fn cancel(&self, inbox: &Inbox) {
        if self.forget(&inbox.id) {
            self.tell(cancel_frame(inbox));
        }
    }

    /// Tells the runner to stop a job because an operator says so. Of a query nothing more is wanted; of a shell job the
    /// runner still tells that its processes are gone.
    pub(crate) fn stop(&self, inbox: &Inbox) {
        match inbox.kind {
            Kind::Query => self.cancel(inbox),
            Kind::Shell if self.inbox(&inbox.id, Kind::Shell).is_some() => self.tell(cancel_frame(inbox)),
            Kind::Shell => {}
        }
    }

    /// Notes that the caller has taken something out, and lets the runner send as much again once half the window is used.
    pub(crate) fn taken(&self, inbox: &Inbox, weight: usize, cost: usize) {
        inbox.taken(weight);
        if inbox.credit.is_none() {
            return;
        }
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let ungranted = inbox.ungranted.fetch_add(cost, Ordering::AcqRel).saturating_add(cost);
        if ungranted >= JOB_WINDOW / 2 {
            inbox.ungranted.fetch_sub(ungranted, Ordering::AcqRel);
            self.credit(inbox, ungranted);
        }
    }

    fn credit(&self, inbox: &Inbox, bytes: u64) {
        inbox.grant(bytes);
        self.tell(GatewayFrame::Credit { id: inbox.id.to_string(), bytes });
    }

    /// Acknowledges `hello` and says which jobs of an earlier connection are to stop. From now on the runner gets jobs.
    pub(crate) fn greet(&self, ack: impl FnOnce() -> HelloAck, orphans: &[String]) {
        let mut greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(GatewayFrame::HelloAck(ack()));
        for id in orphans.iter().take(MAX_JOBS) {
            self.tell(GatewayFrame::Cancel { id: id.clone() });
            if self.has(Extension::Exec) {
                self.tell(GatewayFrame::ExecCancel { job_id: id.clone() });
            }
        }
        *greeted = true;
        self.welcome.store(true, Ordering::Release);
    }

    /// Tells the runner of its sources; `sources` is asked for them when nobody else tells it at the same time.
    pub(crate) fn push(&self, sources: impl FnOnce() -> Vec<AssignedSource>) {
        let greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        if *greeted {
            self.tell(GatewayFrame::AssignmentsChanged(sources().into()));
        }
    }

    /// Queues a control frame. The queue holds everything that well-behaved jobs can need; when it is full the socket
    /// does not take anything any more.
    pub(crate) fn tell(&self, frame: GatewayFrame) {
        if self.outgoing.try_send(Outgoing::Frame(frame.encode())).is_err() {
            self.close(CloseReason { code: 1008, text: "the runner does not read" });
        }
    }

    /// Where the answers to a job of that kind wait.
    pub(crate) fn inbox(&self, id: &str, kind: Kind) -> Option<Arc<Inbox>> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(id).filter(|inbox| inbox.kind == kind).cloned()
    }

    /// Bytes that wait for the callers of all jobs.
    pub(crate) fn waiting(&self) -> usize {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.values().map(|inbox| inbox.waiting()).sum()
    }

    /// Ends a job that cannot go on.
    pub(crate) fn fail(&self, inbox: &Inbox, why: &'static str) {
        self.cancel(inbox);
        inbox.send(Event::Broken(why));
    }

    /// Ends the connection. The first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.closed.cancel();
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells every job that the connection is gone.
    pub(crate) fn lose_jobs(&self) {
        self.closed.cancel();
        let jobs = {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            self.active.store(0, Ordering::Relaxed);
            std::mem::take(&mut *jobs)
        };
        for inbox in jobs.into_values() {
            inbox.send(Event::Lost);
        }
    }
}

/// The runner could not take the job; another one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPlaced {
    /// The connection is closing, or takes nothing.
    Closed,
    /// There are as many jobs as it may have.
    Full,
    /// The frame is larger than frames may be; it is for every runner.
    TooLarge,
}

/// Bytes of memory that a piece of output takes.
pub(crate) fn output_weight(chunk: &ExecChunk) -> usize {
    chunk.data.len() + CHUNK_OVERHEAD
}

fn count(jobs: &HashMap<Box<str>, Arc<Inbox>>, kind: Kind) -> usize {
    jobs.values().filter(|inbox| inbox.kind == kind).count()
}

fn cancel_frame(inbox: &Inbox) -> GatewayFrame {
    let id = inbox.id.to_string();
    match inbox.kind {
        Kind::Query => GatewayFrame::Cancel { id },
        Kind::Shell => GatewayFrame::ExecCancel { job_id: id },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(rows: &[&str]) -> ChunkData {
        padded(rows, 0)
    }

    /// A chunk whose frame holds more than its rows.
    fn padded(rows: &[&str], padding: usize) -> ChunkData {
        let frame = Bytes::from(format!("[{}]{}", rows.join(","), " ".repeat(padding)));
        let text = std::str::from_utf8(&frame).unwrap();
        let mut from = 0;
        let slices = rows.iter().map(|row| {
            let start = text[from..].find(row).unwrap() + from;
            from = start + row.len();
            &text[start..from]
        });
        ChunkData::new(&frame, slices.collect::<Vec<_>>().into_iter(), Tail::default())
    }

    fn alone() -> bool {
        false
    }

    #[tokio::test]
    async fn rows_keep_their_places_in_the_frame() {
        let chunk = chunk(&["{\"a\":1}", "{\"a\":2}"]);
        assert_eq!(chunk.rows().collect::<Vec<_>>(), [b"{\"a\":1}", b"{\"a\":2}"]);
        assert_eq!(chunk.joined(), "{\"a\":1},{\"a\":2}");
        assert_eq!((chunk.count(), chunk.cost()), (2, 15));
    }

    #[tokio::test]
    async fn the_last_row_may_overdraw_the_credit_and_nothing_more() {
        let (inbox, _events) = Inbox::new("j", Kind::Query, true);
        let row = format!("{{\"a\":\"{}\"}}", "x".repeat(3 * 1024 * 1024));
        inbox.take(chunk(&[&row]), alone).await.unwrap();
        assert!(inbox.take(chunk(&["{}"]), alone).await.unwrap_err().contains("credit"));
        inbox.grant(1);
        inbox.take(chunk(&["{}"]), alone).await.unwrap();
    }

    #[test]
    fn a_grant_beside_a_charge_is_not_lost() {
        const ROUNDS: u64 = 50_000;
        let (inbox, _events) = Inbox::new("j", Kind::Query, true);
        let row = chunk(&["{}"]);
        let granting = Arc::clone(&inbox);
        let grants = std::thread::spawn(move || (0..ROUNDS).for_each(|_| granting.grant(2)));
        for _ in 0..ROUNDS {
            inbox.charge(inbox.credit.as_ref().unwrap(), row.cost(), row.weight()).unwrap();
        }
        grants.join().unwrap();
        assert_eq!(inbox.credit.as_ref().unwrap().load(Ordering::Acquire), JOB_WINDOW);
    }

    #[tokio::test]
    async fn frames_that_are_mostly_padding_do_not_fill_the_memory() {
        let (inbox, mut events) = Inbox::new("j", Kind::Query, true);
        let mut taken = 0;
        while inbox.take(padded(&["{}"], 1024 * 1024), alone).await.is_ok() {
            taken += 1;
            assert!(taken < 100, "nothing stops them");
        }
        assert!(taken > 8, "{taken}");
        let Some(Event::Chunk(first)) = events.recv().await else { panic!("no chunk") };
        inbox.taken(first.weight());
        inbox.take(padded(&["{}"], 1024 * 1024), alone).await.unwrap();
    }

    #[tokio::test]
    async fn empty_chunks_take_nothing() {
        let (inbox, mut events) = Inbox::new("j", Kind::Query, true);
        for _ in 0..10 {
            inbox.take(padded(&[], 1024), alone).await.unwrap();
        }
        assert_eq!(inbox.waiting(), 0);
        assert!(events.try_recv().is_err());
    }

    async fn filled() -> (Arc<Inbox>, mpsc::UnboundedReceiver<Event>) {
        let (inbox, events) = Inbox::new("j", Kind::Query, false);
        while inbox.waiting() <= UNMETERED_WINDOW {
            inbox.take(padded(&["{}"], 1024 * 1024), alone).await.unwrap();
        }
        (inbox, events)
    }

    #[tokio::test(start_paused = true)]
    async fn without_flow_control_a_slow_job_fails_beside_others() {
        let (inbox, _events) = filled().await;
        let started = tokio::time::Instant::now();
        let refused = inbox.take(chunk(&["{}"]), || true).await.unwrap_err();
        assert!(refused.contains("slowly"), "{refused}");
        assert!(started.elapsed() < UNMETERED_PATIENCE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_flow_control_a_job_that_is_alone_is_waited_for() {
        let (inbox, mut events) = filled().await;
        let waiting = Arc::clone(&inbox);
        let taken = async {
            tokio::time::sleep(UNMETERED_PATIENCE * 20).await;
            let Some(Event::Chunk(first)) = events.recv().await else { panic!("no chunk") };
            inbox.taken(first.weight());
        };
        let (took, ()) = tokio::join!(waiting.take(chunk(&["{}"]), alone), taken);
        took.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_whose_caller_has_gone_holds_nothing_back() {
        let (inbox, events) = filled().await;
        drop(events);
        inbox.take(chunk(&["{}"]), || true).await.unwrap();
    }

    fn piece(seq: u64, data: &str) -> ExecChunk {
        ExecChunk {
            job_id: "j".to_owned(),
            stream: protocol::Stream::Stdout,
            data: data.to_owned(),
            lossy: false,
            omitted_bytes: 0,
            seq,
        }
    }

    #[test]
    fn output_comes_in_order_and_within_its_credit() {
        let (inbox, _events) = Inbox::new("j", Kind::Shell, true);
        let window = "x".repeat(usize::try_from(JOB_WINDOW).unwrap());
        inbox.take_output(piece(0, &window)).unwrap();
        assert!(inbox.take_output(piece(1, "x")).unwrap_err().contains("credit"));
        let (inbox, _events) = Inbox::new("j", Kind::Shell, true);
        inbox.take_output(piece(0, "a")).unwrap();
        assert!(inbox.take_output(piece(2, "c")).unwrap_err().contains("left out"));
    }

    #[test]
    fn output_of_a_runner_without_flow_control_is_bounded() {
        let (inbox, _events) = Inbox::new("j", Kind::Shell, false);
        let megabyte = "x".repeat(1024 * 1024);
        let taken = (0..20).take_while(|seq| inbox.take_output(piece(*seq, &megabyte)).is_ok()).count();
        assert_eq!(taken, UNMETERED_WINDOW / megabyte.len() - 1);
    }
}
