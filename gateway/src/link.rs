//! One connected runner, as the rest of the gateway sees it: what it can do, how busy it is, and a way to give it jobs.
//!
//! Jobs report through their [`Inbox`]. The bytes that wait in an inbox are bounded: by the job's credit where the
//! runner speaks `flow/1`, otherwise by holding back the socket's reader for a short while and then failing that one job.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{DoneMeta, ErrorFrame, Extension, Extensions, GatewayFrame, JobFrame, Stats, Tail};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::model::RunnerId;

/// Bytes of rows that one job may have under way or waiting.
pub(crate) const JOB_WINDOW: u64 = 1024 * 1024;
/// Jobs that one socket carries at the most.
const MAX_JOBS: usize = 4096;
/// Frames that wait for the socket: a job, its cancel and two credits for each job fit.
const OUTGOING: usize = 4 * MAX_JOBS;
/// What a chunk costs beyond its rows, so that empty chunks are not free.
const CHUNK_OVERHEAD: usize = 64;
/// Bytes that wait for one job of a runner without `flow/1` before its socket is held back.
const UNMETERED_WINDOW: usize = 8 * 1024 * 1024;
/// How long one job may hold back such a socket.
const UNMETERED_PATIENCE: Duration = Duration::from_secs(5);

/// A connected runner.
#[derive(Debug)]
pub(crate) struct Link {
    /// Which connection, over the life of this process.
    pub(crate) id: u64,
    pub(crate) runner: RunnerId,
    pub(crate) runner_name: String,
    pub(crate) hello: Announced,
    pub(crate) connected_at: Instant,
    /// Cancelled when the connection must end; says why through [`Link::close`].
    pub(crate) closed: CancellationToken,
    why: Mutex<Option<CloseReason>>,
    outgoing: mpsc::Sender<Outgoing>,
    jobs: Mutex<HashMap<Box<str>, Arc<Inbox>>>,
    active: AtomicU32,
    max_jobs: AtomicU32,
    draining: AtomicBool,
    last_heard: AtomicU64,
    stats: Mutex<Option<Stats>>,
}

/// What a runner said of itself in `hello`, and what was agreed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Announced {
    pub(crate) extensions: Extensions,
    pub(crate) capabilities: Vec<String>,
    pub(crate) version: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) remote: Option<String>,
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
    /// The connection is gone.
    Lost,
    /// The runner broke the protocol, or its caller is too slow for a runner without flow control.
    Broken(&'static str),
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
        Self { frame: frame.clone(), rows: rows.map(place).collect(), tail }
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
            (Some((start, _)), Some((_, end))) if end <= &self.frame.len() && start <= end => self.frame.slice(*start..*end),
            _ => Bytes::new(),
        }
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
    events: mpsc::UnboundedSender<Event>,
    waiting: AtomicUsize,
    /// Bytes that the runner may still send; only with `flow/1`.
    credit: Option<AtomicU64>,
    taken: Notify,
    next_seq: AtomicU64,
}

impl Inbox {
    pub(crate) fn new(id: &str, metered: bool) -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let inbox = Self {
            id: id.into(),
            events,
            waiting: AtomicUsize::new(0),
            credit: metered.then(|| AtomicU64::new(JOB_WINDOW)),
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

    /// Takes a chunk in. A runner that sends more than its credit is refused; one without flow control is held back.
    pub(crate) async fn take(&self, chunk: ChunkData) {
        let cost = chunk.cost();
        if let Some(credit) = &self.credit {
            // The last chunk may overdraw what is left: the runner cannot split a row.
            let left = credit.load(Ordering::Acquire);
            let cost = u64::try_from(cost).unwrap_or(u64::MAX);
            let overdrawn = left == 0 && cost > 0;
            credit.store(left.saturating_sub(cost), Ordering::Release);
            if overdrawn {
                return self.send(Event::Broken("the runner sent more than its credit"));
            }
        } else if !self.room().await {
            return self.send(Event::Broken("the caller reads more slowly than a runner without flow control can wait"));
        }
        self.waiting.fetch_add(cost + CHUNK_OVERHEAD, Ordering::AcqRel);
        self.send(Event::Chunk(chunk));
    }

    /// Notes that the caller has taken a chunk out.
    pub(crate) fn taken(&self, chunk: &ChunkData) {
        self.waiting.fetch_sub(chunk.cost() + CHUNK_OVERHEAD, Ordering::AcqRel);
        self.taken.notify_one();
    }

    /// Gives the runner `bytes` more.
    pub(crate) fn grant(&self, bytes: u64) {
        if let Some(credit) = &self.credit {
            credit.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    async fn room(&self) -> bool {
        let deadline = tokio::time::Instant::now() + UNMETERED_PATIENCE;
        while self.waiting.load(Ordering::Acquire) > UNMETERED_WINDOW {
            if self.events.is_closed() {
                return true;
            }
            if tokio::time::timeout_at(deadline, self.taken.notified()).await.is_err() {
                return false;
            }
        }
        true
    }
}

impl Link {
    pub(crate) fn new(
        id: u64,
        runner: RunnerId,
        runner_name: String,
        hello: Announced,
        max_jobs: Option<u32>,
    ) -> (Arc<Self>, mpsc::Receiver<Outgoing>) {
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let link = Self {
            id,
            runner,
            runner_name,
            hello,
            connected_at: Instant::now(),
            closed: CancellationToken::new(),
            why: Mutex::default(),
            outgoing,
            jobs: Mutex::default(),
            active: AtomicU32::new(0),
            max_jobs: AtomicU32::new(max_jobs.unwrap_or(0)),
            draining: AtomicBool::new(false),
            last_heard: AtomicU64::new(0),
            stats: Mutex::default(),
        };
        (Arc::new(link), receiver)
    }

    pub(crate) fn has(&self, extension: Extension) -> bool {
        self.hello.extensions.has(extension)
    }

    /// Whether the runner takes new jobs.
    pub(crate) fn is_open(&self) -> bool {
        !self.draining.load(Ordering::Acquire) && !self.closed.is_cancelled()
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
        self.connected_at.elapsed().saturating_sub(Duration::from_millis(self.last_heard.load(Ordering::Relaxed)))
    }

    pub(crate) fn stats(&self) -> Option<Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a job on the way. Fails when the connection is closing or full.
    pub(crate) fn place(&self, frame: JobFrame, inbox: &Arc<Inbox>) -> Result<(), NotPlaced> {
        {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.is_open() || jobs.len() >= MAX_JOBS {
                return Err(NotPlaced);
            }
            jobs.insert(inbox.id.clone(), Arc::clone(inbox));
        }
        self.active.fetch_add(1, Ordering::Relaxed);
        let text = GatewayFrame::Job(Box::new(frame)).encode();
        self.outgoing.try_send(Outgoing::Job(text, Arc::clone(inbox))).map_err(|_| {
            self.forget(&inbox.id);
            NotPlaced
        })
    }

    /// Takes a job off the list. Whether it was still there.
    pub(crate) fn forget(&self, id: &str) -> bool {
        let known = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(id).is_some();
        if known {
            self.active.fetch_sub(1, Ordering::Relaxed);
        }
        known
    }

    /// Tells the runner to stop a job that has not ended.
    pub(crate) fn cancel(&self, id: &str) {
        if self.forget(id) {
            self.tell(GatewayFrame::Cancel { id: id.to_owned() });
        }
    }

    pub(crate) fn credit(&self, inbox: &Inbox, bytes: u64) {
        inbox.grant(bytes);
        self.tell(GatewayFrame::Credit { id: inbox.id.to_string(), bytes });
    }

    /// Queues a control frame. The queue holds everything that well-behaved jobs can need; when it is full the socket
    /// does not take anything any more.
    pub(crate) fn tell(&self, frame: GatewayFrame) {
        if self.outgoing.try_send(Outgoing::Frame(frame.encode())).is_err() {
            self.close(CloseReason { code: 1008, text: "the runner does not read" });
        }
    }

    pub(crate) fn inbox(&self, id: &str) -> Option<Arc<Inbox>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
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
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        self.active.store(0, Ordering::Relaxed);
        for inbox in jobs.into_values() {
            inbox.send(Event::Lost);
        }
    }
}

/// The runner could not take the job; another one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotPlaced;
