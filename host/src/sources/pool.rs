//! One source's opened bridge: made by the first job that needs it, shared by the others, closed when unused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use protocol::PoolUse;
use runtime::Drain;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Opening, Usable};
use crate::error::Failure;

/// How long jobs that were told to stop may still use a bridge that is about to be closed.
const LAST_JOBS_LIMIT: Duration = Duration::from_secs(1);
/// How long a bridge may take to say goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The opened bridge of one source, or none.
#[derive(Default)]
pub(super) struct Pool(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Opening(Attempt),
    Open(Arc<Opened>),
}

/// One attempt to open, that many jobs may wait for. A result holds the bridge in use, so that it cannot be closed as
/// idle between the attempt's end and the job's first call.
type Attempt = Shared<BoxFuture<'static, Result<Lease, Gone>>>;

/// Why an attempt has no bridge.
#[derive(Clone)]
enum Gone {
    Failed(Arc<BridgeError>),
    Abandoned,
}

/// An opened bridge and who uses it.
pub(crate) struct Opened {
    pub(super) bridge: Box<dyn Bridge>,
    users: TaskTracker,
    born: Instant,
    /// Milliseconds from `born` to the last use.
    last_used: AtomicU64,
}

/// The right to use an opened bridge. The bridge is not closed while there is one.
#[derive(Clone)]
pub(crate) struct Lease {
    opened: Arc<Opened>,
    _user: TaskTrackerToken,
}

impl Pool {
    pub(super) async fn lease(
        &self,
        usable: &Usable,
        name: &str,
        opening: &Opening<'_>,
    ) -> Result<Lease, Failure> {
        let attempt = {
            let mut state = self.lock();
            match &*state {
                State::Open(opened) => return Ok(Lease::of(opened)),
                State::Opening(attempt) => attempt.clone(),
                State::Closed => {
                    let attempt = self.attempt(usable, name, opening);
                    *state = State::Opening(attempt.clone());
                    attempt
                }
            }
        };
        attempt.await.map_err(|gone| match gone {
            Gone::Failed(error) => Failure::Connect(error),
            Gone::Abandoned => Failure::ConnectAbandoned,
        })
    }

    /// Opens in a task of its own: the job that began it may be cancelled while others wait.
    fn attempt(&self, usable: &Usable, name: &str, opening: &Opening<'_>) -> Attempt {
        let (driver, config) = (usable.driver.clone(), Arc::clone(&usable.config));
        let (pool, limit) = (Self(Arc::clone(&self.0)), opening.limit);
        let (scrubber, name) = (usable.scrubber.clone(), name.to_owned());
        let stopping = opening.drain.stopping();
        let task = opening.drain.spawn_companion("open source", async move {
            let call = Call::within(limit);
            let connecting = tokio::time::timeout(limit, driver.connect(&config, &call));
            // A runner that stops does not wait for a database that does not answer.
            let Some(connected) = stopping.run_until_cancelled(connecting).await else {
                *pool.lock() = State::Closed;
                return Err(Gone::Abandoned);
            };
            let connected = connected.unwrap_or(Err(BridgeError::Timeout));
            if let Err(error) = &connected {
                let reason = runtime::error::with_sources(error);
                tracing::warn!(
                    source = name,
                    reason = scrubber.scrub(&reason).as_ref(),
                    "cannot open source"
                );
            }
            pool.settle(connected)
        });
        // A task that was dropped or panicked must not leave the source opening for ever.
        let pool = Self(Arc::clone(&self.0));
        let watched = async move {
            task.await.unwrap_or_else(|_| {
                *pool.lock() = State::Closed;
                Err(Gone::Abandoned)
            })
        };
        watched.boxed().shared()
    }

    fn settle(&self, connected: Result<Box<dyn Bridge>, BridgeError>) -> Result<Lease, Gone> {
        let mut state = self.lock();
        match connected {
            Ok(bridge) => {
                let opened = Arc::new(Opened::new(bridge));
                let lease = Lease::of(&opened);
                *state = State::Open(opened);
                Ok(lease)
            }
            Err(error) => {
                *state = State::Closed;
                Err(Gone::Failed(Arc::new(error)))
            }
        }
    }

    /// Closes once the jobs that use it are done. An attempt that is under way is left to its jobs: when the last of
    /// them is gone, so is the bridge.
    pub(super) fn retire(&self, drain: &Drain) {
        if let Some(opened) = self.take_open(|_| true) {
            drain.spawn_companion("close source", async move { opened.close_when_unused().await });
        }
    }

    /// Closes what nobody has used for `limit`, and answers whether it did.
    pub(super) fn close_if_idle(&self, limit: Duration, drain: &Drain) -> bool {
        let idle = self.take_open(|opened| opened.users.is_empty() && opened.unused_for() >= limit);
        let found = idle.is_some();
        if let Some(opened) = idle {
            drain.spawn_companion("close source", async move { opened.close_when_unused().await });
        }
        found
    }

    /// Closes, after a moment in which jobs that were cancelled just now may end as such: a bridge that is closed under
    /// them would make them failures of their source.
    pub(super) async fn close(&self) {
        if let Some(opened) = self.take_open(|_| true) {
            opened.users.close();
            if tokio::time::timeout(LAST_JOBS_LIMIT, opened.users.wait()).await.is_err() {
                tracing::debug!("a source is closed while jobs use it");
            }
            opened.close().await;
        }
    }

    pub(super) fn pool_use(&self) -> Option<PoolUse> {
        match &*self.lock() {
            State::Open(opened) => Some(opened.bridge.pool_use()),
            State::Closed | State::Opening(_) => None,
        }
    }

    pub(super) fn state(&self) -> &'static str {
        match &*self.lock() {
            State::Open(_) => "open",
            State::Opening(_) => "opening",
            State::Closed => "closed",
        }
    }

    fn take_open(&self, condition: impl FnOnce(&Opened) -> bool) -> Option<Arc<Opened>> {
        let mut state = self.lock();
        let opened = match &*state {
            State::Open(opened) if condition(opened) => Arc::clone(opened),
            State::Open(_) | State::Closed | State::Opening(_) => return None,
        };
        *state = State::Closed;
        Some(opened)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn new(bridge: Box<dyn Bridge>) -> Self {
        Self { bridge, users: TaskTracker::new(), born: Instant::now(), last_used: AtomicU64::new(0) }
    }

    fn unused_for(&self) -> Duration {
        let last_used = Duration::from_millis(self.last_used.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last_used)
    }

    fn touch(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(now, Ordering::Relaxed);
    }

    async fn close_when_unused(&self) {
        self.users.close();
        self.users.wait().await;
        self.close().await;
    }

    async fn close(&self) {
        if tokio::time::timeout(CLOSE_LIMIT, self.bridge.close()).await.is_err() {
            tracing::debug!("a source did not close its connections in time");
        }
    }
}

impl Lease {
    fn of(opened: &Arc<Opened>) -> Self {
        Self { opened: Arc::clone(opened), _user: opened.users.token() }
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.opened.touch();
    }
}
