//! The operators' changes: each is a transaction of the store with its audit row, then a new snapshot, then the news.
//!
//! Changes are made one after the other. A change that was begun is finished even when its caller hangs up
//! ([`Control::finish`]): a revocation that is in the store and not in the snapshot would be none.

mod keys;
mod push;
mod runners;
mod sources;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::Timestamp;
use runtime::Drain;
use tokio::sync::{MutexGuard, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::audit::{self, Actor, AuditRow};
use crate::crypto::Vault;
use crate::error::{ControlError, StoreError};
use crate::model::{self, Runner, RunnerId};
use crate::snapshot::{Change, Snapshot, Snapshots};
use crate::store::{Mutation, Store};

pub use keys::NewKey;
pub use push::Pushed;
pub use runners::{NewRunner, RunnerChange};
pub use sources::{ChangedSource, NewSource, SourceChange};

/// How often signs of life are written down.
const SEEN_EVERY: Duration = Duration::from_secs(20);

/// Makes changes.
#[derive(Debug)]
pub struct Control {
    store: Arc<dyn Store>,
    snapshots: Arc<Snapshots>,
    vault: Arc<Vault>,
    drain: Drain,
    /// Held from the look at what is in place to the news of the change.
    one_at_a_time: tokio::sync::Mutex<()>,
    last_seen: Mutex<HashMap<RunnerId, Timestamp>>,
}

/// Who makes a change, and in which request.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// The id of the request.
    pub request_id: String,
    /// When the request arrived.
    pub since: Instant,
    recorded: Arc<AtomicBool>,
}

impl By {
    /// Nothing is recorded yet.
    pub fn new(actor: Actor, request_id: impl Into<String>) -> Self {
        Self { actor, request_id: request_id.into(), since: Instant::now(), recorded: Arc::default() }
    }

    /// Whether the audit row of the change is in the store.
    pub fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Acquire)
    }

    /// The audit row of an attempt.
    pub fn row(&self, action: &'static str, outcome: impl Into<std::borrow::Cow<'static, str>>) -> AuditRow {
        let duration = self.since.elapsed().as_millis();
        AuditRow {
            duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
            ..AuditRow::new(self.actor, action, outcome, self.request_id.clone())
        }
    }
}

impl Control {
    /// Over a store whose picture is in `snapshots`.
    pub fn new(store: Arc<dyn Store>, snapshots: Arc<Snapshots>, drain: Drain) -> Self {
        let vault = Arc::clone(snapshots.load().vault());
        let one_at_a_time = tokio::sync::Mutex::default();
        Self { store, snapshots, vault, drain, one_at_a_time, last_seen: Mutex::default() }
    }

    /// The present snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.load()
    }

    /// The store, for what is only read.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Runs a change as a task of its own, so that it comes to its end whatever becomes of the caller. `None` when it
    /// panicked.
    pub async fn finish<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.drain.spawn("operator's change", change).await.ok()
    }

    /// When the runner was last alive.
    pub fn last_seen(&self, runner: &Runner) -> Option<Timestamp> {
        let heard = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner).get(&runner.id).copied();
        heard.max(runner.last_seen_at)
    }

    /// Takes signs of life and writes them down now and then. Ends with the process, after the last of them.
    pub async fn follow_presence(self: Arc<Self>, mut seen: mpsc::Receiver<RunnerId>) {
        let stopping = self.drain.stopping();
        let mut waiting = HashMap::new();
        let mut due = Instant::now() + SEEN_EVERY;
        loop {
            tokio::select! {
                runner = seen.recv() => match runner {
                    Some(runner) => self.heard(runner, &mut waiting),
                    None => break,
                },
                () = sleep_until(due) => {
                    self.write_seen(&mut waiting).await;
                    due = Instant::now() + SEEN_EVERY;
                }
                () = stopping.cancelled() => break,
            }
        }
        while let Ok(runner) = seen.try_recv() {
            self.heard(runner, &mut waiting);
        }
        self.write_seen(&mut waiting).await;
    }

    fn heard(&self, runner: RunnerId, waiting: &mut HashMap<RunnerId, Timestamp>) {
        let now = model::now();
        waiting.insert(runner, now);
        self.last_seen.lock().unwrap_or_else(PoisonError::into_inner).insert(runner, now);
    }

    async fn write_seen(&self, waiting: &mut HashMap<RunnerId, Timestamp>) {
        if waiting.is_empty() {
            return;
        }
        let seen: Vec<_> = waiting.drain().collect();
        if let Err(error) = self.store.seen(&seen).await {
            // The next sign of life comes soon.
            tracing::warn!(%error, runners = seen.len(), "cannot write down when runners were last seen");
        }
    }

    async fn begin(&self) -> (MutexGuard<'_, ()>, Arc<Snapshot>) {
        let turn = self.one_at_a_time.lock().await;
        (turn, self.snapshots.load())
    }

    /// Writes the change and its audit row, then shows it to everyone.
    async fn commit(
        &self,
        _turn: &MutexGuard<'_, ()>,
        by: &By,
        change: Staged,
    ) -> Result<Arc<Snapshot>, ControlError> {
        let row = AuditRow { target: Some(change.target), ..by.row(change.action, audit::OK) };
        // Worked out first: what is in the store is then shown without anything that could fail.
        let next = self.snapshots.load().after(&change.mutations)?;
        self.store.apply(&change.mutations, &row).await?;
        by.recorded.store(true, Ordering::Release);
        self.snapshots.publish(next, change.news);
        // Not `target`: a JSON line has that already.
        tracing::info!(action = change.action, subject = row.target, request_id = by.request_id, "changed");
        Ok(self.snapshots.load())
    }
}

/// A change that is worked out and not made.
#[derive(Debug)]
struct Staged {
    action: &'static str,
    /// What it is done to, for the audit row.
    target: String,
    mutations: Vec<Mutation>,
    news: Vec<Change>,
}

fn not_found(what: &'static str, name: &str) -> ControlError {
    // The name is a stranger's text: it is cut before it is repeated.
    ControlError::NotFound { what, name: name.chars().take(200).collect() }
}

/// A taken name as the conflict that the caller sees.
fn taken(what: &'static str, name: &str) -> impl FnOnce(ControlError) -> ControlError {
    let message = format!("there is a {what} called {name:?} already");
    move |error| match error {
        ControlError::Store(StoreError::Taken { .. }) => ControlError::Conflict(message),
        other => other,
    }
}

fn check_name(name: &str) -> Result<(), ControlError> {
    if crate::names::is_name(name) { Ok(()) } else { Err(ControlError::invalid("name", crate::names::NAME)) }
}
