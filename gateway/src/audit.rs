//! The audit log: one row for every attempt, refused ones too, without any text of a query. Only of shell jobs the command is
//! kept: who may run commands has to answer for them.
//!
//! Rows are written behind the request, in batches of one transaction each. Nothing is dropped: work is accepted once there
//! is room for its row ([`Audit::reserve`]), so that requests wait when the store is behind. Refusals of strangers wait
//! for nothing and nobody: many of a kind become one row (module `refusals`). A change by an operator is different: its row is
//! written in the transaction of the change itself (see [`crate::control`]), so that neither exists without the other.

pub(crate) mod refusals;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use protocol::{ErrorCode, Timestamp};
use ring::digest;
use runtime::Drain;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::StoreError;
use crate::model::{self, AuditId, JobId, KeyId, KeyKind, RunnerId};
use crate::server::CONNECTION_LIMIT;
use crate::shell::record::{JobStatus, ShellRecord};
use crate::store::Store;
use refusals::Refusals;

/// Rows of one transaction at the most.
const BATCH_ROWS: usize = 500;
/// How long a row waits for others at the most.
const BATCH_WAIT: Duration = Duration::from_millis(100);
/// Rows that wait to be written or have their place reserved, before requests have to wait. Each connection may have one
/// request under way.
const QUEUE_ROWS: usize = CONNECTION_LIMIT + 16 * BATCH_ROWS;
/// How long who reads the log waits for what was recorded before, and how many may do so at a time before the others wait for them.
const SETTLE_WAIT: Duration = Duration::from_secs(1);
const READERS: usize = 64;
/// Pause after a batch could not be written.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// How often the queue is looked at while the last work ends.
const LAST_ROWS_WAIT: Duration = Duration::from_millis(20);
/// How often old rows are looked for, and rows beyond the number that is kept.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(86_400);

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its id, which sorts by time.
    pub id: AuditId,
    /// When it was decided or had ended.
    pub at: Timestamp,
    /// The id of the HTTP request.
    pub request_id: String,
    /// Who.
    pub actor: Actor,
    /// What, see [`action`].
    pub action: Cow<'static, str>,
    /// [`OK`], or the code of the refusal or failure.
    pub outcome: Cow<'static, str>,
    /// Through which lens.
    pub lens: Option<String>,
    /// From which source, by name.
    pub source: Option<String>,
    /// Which table; for an operator's action, the name or id of what it was done to.
    pub target: Option<String>,
    /// The runner that was last tried.
    pub runner_id: Option<RunnerId>,
    /// Which process of that runner.
    pub runner_instance: Option<String>,
    /// How often the job was placed.
    pub attempts: u32,
    /// SHA-256 of the request's body.
    pub params_hash: Option<[u8; 32]>,
    /// Rows that left.
    pub rows: u64,
    /// Bytes of rows that left.
    pub bytes: u64,
    /// From the request's arrival to its end.
    pub duration_ms: u64,
    /// How many attempts the row stands for; more than one only of refusals that came in numbers.
    pub occurrences: u64,
    /// The shell job that came of it, once a runner had it.
    pub job_id: Option<JobId>,
    /// The rule that refused it.
    pub rule: Option<String>,
    /// What more is kept of a shell job.
    pub shell: Option<Box<ShellRecord>>,
}

/// The outcome of what went well.
pub const OK: &str = "ok";
/// The outcome of a command that a runner had when the gateway ended without writing what became of it.
pub const GATEWAY_LOST: &str = "gateway_lost";
/// The outcome of an attempt whose caller took no more bytes of the answer.
pub const CALLER_STALLED: &str = "caller_stalled";
/// Commands that are settled at a time.
const LOST_ROWS: u32 = 500;

/// The actions that rows name.
pub mod action {
    /// `POST /v1/query/:lens`.
    pub const QUERY: &str = "query";
    /// `POST /v1/count/:lens`.
    pub const COUNT: &str = "count";
    /// `POST /api/exec`.
    pub const EXEC: &str = "exec";
    /// A runner is about to get a command of `POST /api/exec`. How it ended is in a row of [`EXEC`] with the same job and request.
    pub const EXEC_BEGIN: &str = "exec.begin";
    /// A runner's socket was accepted or refused.
    pub const CONNECT: &str = "connect";
    /// A request to the operators' API that does not change anything; written only when refused.
    pub const ADMIN_READ: &str = "admin.read";
    /// A new runner.
    pub const RUNNER_CREATE: &str = "runner.create";
    /// Labels or capabilities of a runner change.
    pub const RUNNER_UPDATE: &str = "runner.update";
    /// A runner's token ends for good.
    pub const RUNNER_REVOKE: &str = "runner.revoke";
    /// A runner gets a new token.
    pub const RUNNER_ROTATE: &str = "runner.rotate";
    /// A runner is forgotten.
    pub const RUNNER_DELETE: &str = "runner.delete";
    /// A runner gets a source.
    pub const RUNNER_ASSIGN: &str = "runner.assign";
    /// A runner loses a source.
    pub const RUNNER_UNASSIGN: &str = "runner.unassign";
    /// A new source.
    pub const SOURCE_CREATE: &str = "source.create";
    /// A source changes.
    pub const SOURCE_UPDATE: &str = "source.update";
    /// A source is forgotten.
    pub const SOURCE_DELETE: &str = "source.delete";
    /// A source is tried.
    pub const SOURCE_TEST: &str = "source.test";
    /// A new key.
    pub const KEY_CREATE: &str = "key.create";
    /// A key ends for good.
    pub const KEY_REVOKE: &str = "key.revoke";
    /// A running job is ended by an operator.
    pub const JOB_CANCEL: &str = "job.cancel";
    /// A config is put in place.
    pub const CONFIG_PUSH: &str = "config.push";
    /// A config is compared with what is in place.
    pub const CONFIG_DIFF: &str = "config.diff";

    /// Every action.
    pub const ALL: [&str; 22] = [
        QUERY,
        COUNT,
        EXEC,
        EXEC_BEGIN,
        CONNECT,
        ADMIN_READ,
        RUNNER_CREATE,
        RUNNER_UPDATE,
        RUNNER_REVOKE,
        RUNNER_ROTATE,
        RUNNER_DELETE,
        RUNNER_ASSIGN,
        RUNNER_UNASSIGN,
        SOURCE_CREATE,
        SOURCE_UPDATE,
        SOURCE_DELETE,
        SOURCE_TEST,
        KEY_CREATE,
        KEY_REVOKE,
        JOB_CANCEL,
        CONFIG_PUSH,
        CONFIG_DIFF,
    ];
}

/// The outcomes beside the protocol's codes: our own words, and the codes of the HTTP interface that rows may have.
const OTHER_OUTCOMES: [&str; 14] = [
    OK,
    CALLER_STALLED,
    GATEWAY_LOST,
    "unauthorized",
    "forbidden",
    "revoked",
    "RUNNER_REVOKED",
    "not_found",
    "conflict",
    "body_too_large",
    "unsupported_media_type",
    "timeout",
    "draining",
    "too_many_connections",
];

/// Every outcome that we write.
pub fn outcomes() -> Vec<&'static str> {
    OTHER_OUTCOMES.into_iter().chain(ErrorCode::ALL.map(ErrorCode::as_str)).collect()
}

/// Who has tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Nobody that we know.
    Anonymous,
    /// The operator.
    Admin,
    /// An application.
    Key {
        /// Its key.
        id: KeyId,
        /// What that key may do.
        kind: KeyKind,
    },
    /// A runner.
    Runner(RunnerId),
}

impl Actor {
    /// The word of every kind.
    pub const KINDS: [&str; 5] = ["anonymous", "admin", "secret-key", "public-key", "runner"];

    /// The word in the store and in the API.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Admin => "admin",
            Self::Key { kind: KeyKind::Secret, .. } => "secret-key",
            Self::Key { kind: KeyKind::Public, .. } => "public-key",
            Self::Runner(_) => "runner",
        }
    }

    /// The id of a key or runner.
    pub const fn id(&self) -> Option<Uuid> {
        match self {
            Self::Anonymous | Self::Admin => None,
            Self::Key { id, .. } => Some(id.uuid()),
            Self::Runner(id) => Some(id.uuid()),
        }
    }

    /// The actor that [`kind`](Self::kind) and [`id`](Self::id) stand for; `None` if they do not fit.
    pub fn from_parts(kind: &str, id: Option<Uuid>) -> Option<Self> {
        match (kind, id) {
            ("anonymous", None) => Some(Self::Anonymous),
            ("admin", None) => Some(Self::Admin),
            ("secret-key", Some(id)) => Some(Self::Key { id: KeyId::from_uuid(id), kind: KeyKind::Secret }),
            ("public-key", Some(id)) => Some(Self::Key { id: KeyId::from_uuid(id), kind: KeyKind::Public }),
            ("runner", Some(id)) => Some(Self::Runner(RunnerId::from_uuid(id))),
            _ => None,
        }
    }
}

impl AuditRow {
    /// A row about now with nothing in it but who, what and with which outcome.
    pub fn new(
        actor: Actor,
        action: impl Into<Cow<'static, str>>,
        outcome: impl Into<Cow<'static, str>>,
        request_id: impl Into<String>,
    ) -> Self {
        Self {
            id: AuditId::new(),
            at: model::now(),
            request_id: request_id.into(),
            actor,
            action: action.into(),
            outcome: outcome.into(),
            lens: None,
            source: None,
            target: None,
            runner_id: None,
            runner_instance: None,
            attempts: 0,
            params_hash: None,
            rows: 0,
            bytes: 0,
            duration_ms: 0,
            occurrences: 1,
            job_id: None,
            rule: None,
            shell: None,
        }
    }

    /// The same about `target`.
    #[must_use]
    pub fn on(self, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..self }
    }
}

/// The hash by which a row tells equal requests apart without holding them.
pub fn params_hash(body: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, body).as_ref()) {
        *to = *from;
    }
    hash
}

/// What an operator looks for in the log. Everything that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Exactly this action.
    pub action: Option<String>,
    /// Exactly this outcome.
    pub outcome: Option<String>,
    /// This kind of actor.
    pub actor_kind: Option<String>,
    /// This key or runner as the actor.
    pub actor_id: Option<Uuid>,
    /// This lens.
    pub lens: Option<String>,
    /// This source.
    pub source: Option<String>,
    /// This runner as the place.
    pub runner_id: Option<RunnerId>,
    /// This request.
    pub request_id: Option<String>,
    /// Refused by this rule.
    pub rule: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Older than this row: the next page.
    pub before: Option<AuditId>,
    /// Rows at the most.
    pub limit: u32,
}

/// Which ended shell jobs an operator looks for. Everything that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// On this runner.
    pub runner_id: Option<RunnerId>,
    /// Ended like this.
    pub status: Option<JobStatus>,
    /// Begun before this one: the next page.
    pub before: Option<JobId>,
    /// Rows at the most.
    pub limit: u32,
}

/// How long rows are kept. 0 is for ever.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retention {
    /// Days.
    pub days: u32,
    /// Rows; the oldest go first.
    pub rows: u64,
}

/// Gives each command that was begun and has no end in the log its row: an earlier gateway has died with it, and its runner has
/// ended it when it noticed that.
pub async fn settle_lost(store: &dyn Store) -> Result<(), StoreError> {
    loop {
        let begun = store.unended_shell_jobs(LOST_ROWS).await?;
        if begun.is_empty() {
            return Ok(());
        }
        tracing::warn!(commands = begun.len(), "the gateway had ended while commands ran");
        let lost: Vec<AuditRow> = begun.into_iter().map(lost).collect();
        store.append_audit(&lost).await?;
    }
}

fn lost(begun: AuditRow) -> AuditRow {
    let mut row = AuditRow {
        id: AuditId::new(),
        at: model::now(),
        action: action::EXEC.into(),
        outcome: GATEWAY_LOST.into(),
        ..begun
    };
    if let Some(shell) = &mut row.shell {
        shell.failed("the gateway ended while the command ran; nobody knows how far it came");
    }
    row
}

/// Where rows go.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Arc<dyn Store>,
    queue: mpsc::Sender<AuditRow>,
    readers: mpsc::Sender<Reader>,
    refusals: Arc<Refusals>,
}

/// Who waits until everything is written that was recorded before. Letting go of it is the answer.
type Reader = oneshot::Sender<()>;

/// A place in the queue for the row of work that was accepted.
#[derive(Debug)]
pub struct Slot(Option<mpsc::OwnedPermit<AuditRow>>);

impl Slot {
    /// Queues the row. Waits for nothing.
    pub fn record(self, row: AuditRow) {
        match self.0 {
            Some(permit) => drop(permit.send(row)),
            None => tracing::error!(
                action = &*row.action,
                outcome = &*row.outcome,
                request_id = row.request_id,
                "audit row not written: the writer has ended"
            ),
        }
    }
}

impl Audit {
    /// Starts the writer, and the sweeper of what is not kept. Both end with the drain, the writer only after the last
    /// row.
    pub fn start(store: Arc<dyn Store>, retention: Retention, drain: &Drain) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_ROWS);
        let (readers, arriving) = mpsc::channel(READERS);
        let refusals = Arc::new(Refusals::default());
        let keeper = Arc::clone(&store);
        let writer = Writer {
            store: Arc::clone(&store),
            queue,
            readers: arriving,
            refusals: Arc::clone(&refusals),
            drain: drain.clone(),
        };
        drain.spawn_companion("audit writer", writer.run());
        if retention.days > 0 || retention.rows > 0 {
            drain.spawn_companion("audit sweeper", sweep(store, retention, drain.stopping()));
        }
        Self { store: keeper, queue: sender, readers, refusals }
    }

    /// Waits until there is room for one more row: while the store is slower than the requests, they must be as slow as
    /// it.
    pub async fn reserve(&self) -> Slot {
        Slot(self.queue.clone().reserve_owned().await.ok())
    }

    /// Queues a row, once there is room for it.
    pub async fn record(&self, row: AuditRow) {
        self.reserve().await.record(row);
    }

    /// Waits until every row that was recorded before is written, so that who has had an answer finds it in the log. Gives up on
    /// a store that is behind: what is there is better than nothing.
    pub(crate) async fn settle(&self) {
        let (reader, written) = oneshot::channel();
        let settled = async {
            if self.readers.send(reader).await.is_ok() {
                let _let_go = written.await;
            }
        };
        let _in_time = timeout(SETTLE_WAIT, settled).await;
    }

    /// Writes a row that must be there before something happens. Not behind others, and in no batch.
    pub(crate) async fn write(&self, row: AuditRow) -> Result<(), StoreError> {
        self.store.append_audit(&[row]).await
    }

    /// Notes that a stranger was refused. Waits for nothing; of many refusals of a kind, from one address, most have one
    /// row together, which is written within the minute.
    pub fn refuse(&self, row: AuditRow, address: Option<IpAddr>) {
        if let Some(row) = self.refusals.take(row, address)
            && let Err(full) = self.queue.try_send(row)
        {
            self.refusals.merge(full.into_inner(), address);
        }
    }

    /// Counts the refusals that have no row of their own.
    pub(crate) fn merged(&self) -> Counter {
        self.refusals.merged.clone()
    }
}

struct Writer {
    store: Arc<dyn Store>,
    queue: mpsc::Receiver<AuditRow>,
    readers: mpsc::Receiver<Reader>,
    refusals: Arc<Refusals>,
    drain: Drain,
}

impl Writer {
    async fn run(mut self) {
        let stopping = self.drain.stopping();
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let mut waiting = Vec::new();
        let mut due = Instant::now() + refusals::WINDOW;
        loop {
            tokio::select! {
                () = sleep_until(due) => {
                    due = Instant::now() + refusals::WINDOW;
                    batch.extend(self.refusals.flush());
                    if batch.is_empty() {
                        continue;
                    }
                }
                received = self.queue.recv_many(&mut batch, BATCH_ROWS) => {
                    if received == 0 {
                        return self.flush(&mut batch, &stopping).await;
                    }
                }
                Some(reader) = self.readers.recv() => waiting.push(reader),
                () = stopping.cancelled() => break,
            }
            if waiting.is_empty() {
                self.fill(&mut batch, &mut waiting).await;
            }
            if !waiting.is_empty() {
                self.catch_up(&mut batch, &stopping).await;
            }
            if !batch.is_empty() {
                self.write(&mut batch, &stopping).await;
            }
            waiting.clear();
        }
        self.finish(batch, &stopping).await;
    }

    /// Waits for more rows until the batch is full, its first row has waited long enough, or somebody wants to read.
    async fn fill(&mut self, batch: &mut Vec<AuditRow>, waiting: &mut Vec<Reader>) {
        let until = Instant::now() + BATCH_WAIT;
        while batch.len() < BATCH_ROWS {
            let room = BATCH_ROWS - batch.len();
            tokio::select! {
                received = self.queue.recv_many(batch, room) => if received == 0 {
                    return;
                },
                Some(reader) = self.readers.recv() => return waiting.push(reader),
                () = sleep_until(until) => return,
            }
        }
    }

    /// Takes what is in the queue by now. At the most a batch of it is left to be written.
    async fn catch_up(&mut self, batch: &mut Vec<AuditRow>, stopping: &CancellationToken) {
        for _ in 0..self.queue.len() {
            if batch.len() >= BATCH_ROWS {
                self.write(batch, stopping).await;
            }
            batch.extend(self.queue.try_recv());
        }
    }

    /// Writes the batch, again and again until it is written; only a gateway that stops gives up.
    async fn write(&self, batch: &mut Vec<AuditRow>, stopping: &CancellationToken) {
        while let Err(error) = self.store.append_audit(batch).await {
            tracing::error!(%error, rows = batch.len(), "cannot write the audit log");
            if stopping.is_cancelled() {
                break;
            }
            tokio::time::sleep(RETRY_WAIT).await;
        }
        batch.clear();
    }

    /// Writes what was counted and has no row yet.
    async fn flush(&self, batch: &mut Vec<AuditRow>, stopping: &CancellationToken) {
        batch.extend(self.refusals.flush());
        if !batch.is_empty() {
            self.write(batch, stopping).await;
        }
    }

    /// Work that was told to stop still ends its requests, each with a row: the writer outlasts it.
    async fn finish(mut self, mut batch: Vec<AuditRow>, stopping: &CancellationToken) {
        self.readers.close();
        loop {
            let worked = self.drain.running() > 0;
            while let Ok(row) = self.queue.try_recv() {
                batch.push(row);
                if batch.len() >= BATCH_ROWS {
                    self.write(&mut batch, stopping).await;
                }
            }
            if !batch.is_empty() {
                self.write(&mut batch, stopping).await;
            }
            if !worked {
                return self.flush(&mut batch, stopping).await;
            }
            tokio::time::sleep(LAST_ROWS_WAIT).await;
        }
    }
}

/// Deletes what is not kept, now and now and then.
async fn sweep(store: Arc<dyn Store>, retention: Retention, stopping: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopping.cancelled() => return,
        }
        match sweep_once(store.as_ref(), retention).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old audit rows deleted"),
            Err(error) => tracing::warn!(%error, "cannot delete old audit rows"),
        }
    }
}

async fn sweep_once(store: &dyn Store, retention: Retention) -> Result<u64, StoreError> {
    let mut deleted = 0;
    if retention.days > 0 {
        let kept = i64::try_from((DAY * retention.days).as_micros()).unwrap_or(i64::MAX);
        let limit = Timestamp::from_micros(model::now().micros().saturating_sub(kept));
        deleted += store.delete_audit_before(limit).await?;
    }
    if retention.rows > 0 {
        deleted += store.delete_audit_beyond(retention.rows).await?;
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests;
