//! Connections, and the pool that lends them.
//!
//! A connection carries one statement at a time and is polled by whoever waits for its answer, so it needs no task of its
//! own. A lease that is dropped with its statement unfinished closes its connection and has the statement killed over
//! another one; until that is done it counts as in use, so that a burst of cancelled queries cannot open more
//! connections than the pool has.

mod answer;
mod link;
mod request;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::{BridgeError, Call};
use protocol::PoolUse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(crate) use self::answer::Answer;
pub(crate) use self::request::{Extra, Question, StatementId};

use self::link::{Connector, Link};
use crate::config::Settings;
use crate::error::{RequestError, while_connecting};

/// How long killing a statement may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How often a statement is looked for that is not running yet, and how long it may take to begin.
const KILL_TRIES: u32 = 4;
const KILL_PERIOD: Duration = Duration::from_millis(150);
/// How long closing waits for that.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may lie idle; servers close theirs after ten seconds.
const IDLE_LIMIT: Duration = Duration::from_secs(9);

/// The connections of one source.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    connector: Connector,
    slots: Arc<Semaphore>,
    max: usize,
    idle: Mutex<Vec<Idle>>,
    menders: TaskTracker,
    closed: CancellationToken,
}

/// Why waiting ended before what was waited for.
pub(crate) enum Interrupted {
    Late,
    Closed,
}

impl From<Interrupted> for BridgeError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Late => Self::Timeout,
            Interrupted::Closed => closed(),
        }
    }
}

/// A connection that waits to be lent again.
struct Idle {
    link: Link,
    since: Instant,
}

/// A connection that is lent.
pub(crate) struct Lease {
    link: Option<Link>,
    pool: Arc<Inner>,
    /// Whether it was used before, so that the server may have closed it meanwhile.
    reused: bool,
    /// What has been asked and is not answered yet.
    running: Option<StatementId>,
    permit: Option<OwnedSemaphorePermit>,
    /// Closing the pool waits for it: a statement that runs then is killed at the server, not merely deserted.
    _lent: TaskTrackerToken,
}

impl Pool {
    /// Reads the files that the settings name; opens nothing.
    pub(crate) async fn new(settings: &Settings) -> Result<Self, BridgeError> {
        let connector = Connector::load(settings).await.map_err(|error| while_connecting(error.into()))?;
        Ok(Self(Arc::new(Inner {
            connector,
            slots: Arc::new(Semaphore::new(settings.pool_max)),
            max: settings.pool_max,
            idle: Mutex::default(),
            menders: TaskTracker::new(),
            closed: CancellationToken::new(),
        })))
    }

    /// A connection, within the call's deadline.
    pub(crate) async fn lease(&self, call: &Call) -> Result<Lease, BridgeError> {
        let deadline = Instant::from_std(call.deadline);
        let slot = timeout_at(deadline, Arc::clone(&self.0.slots).acquire_owned()).await;
        let permit = slot.map_err(|_| BridgeError::Timeout)?.map_err(|_| closed())?;
        let (link, reused) = match self.0.take_idle() {
            Some(link) => (link, true),
            None => {
                (self.bounded(deadline, self.0.connector.connect()).await?.map_err(while_connecting)?, false)
            }
        };
        let (pool, _lent) = (Arc::clone(&self.0), self.0.menders.token());
        Ok(Lease { link: Some(link), pool, reused, running: None, permit: Some(permit), _lent })
    }

    /// The server's version, asked without a word that an old one may not know.
    pub(crate) async fn version(&self, call: &Call) -> Result<String, BridgeError> {
        let mut lease = self.lease(call).await?;
        let Some(link) = lease.link.as_mut() else {
            return Err(BridgeError::Internal("a lease without a connection".to_owned()));
        };
        lease.running = Some(StatementId::new());
        let asked = link.text(&self.0.connector, "SELECT version()");
        let answer = self.bounded(Instant::from_std(call.deadline), asked).await?;
        if answer.is_ok() {
            lease.finish();
        }
        answer.map(|version| version.trim().to_owned()).map_err(while_connecting)
    }

    /// Waits for `work` until `end`, or until the source is closed.
    pub(crate) async fn bounded<T>(
        &self,
        end: Instant,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            done = timeout_at(end, work) => done.map_err(|_| Interrupted::Late),
            () = self.0.closed.cancelled() => Err(Interrupted::Closed),
        }
    }

    /// Connections now.
    pub(crate) fn usage(&self) -> PoolUse {
        let idle = self.0.lock_idle().len();
        let in_use = self.0.max.saturating_sub(self.0.slots.available_permits());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        PoolUse { in_use: count(in_use), idle: count(idle), max: count(self.0.max) }
    }

    /// Ends what runs and waits, not for long, until it is killed at the server.
    pub(crate) async fn close(&self) {
        self.0.closed.cancel();
        self.0.slots.close();
        self.0.menders.close();
        self.0.lock_idle().clear();
        // What is still lent after that, because its reader is not reading, dies with its connection.
        let _late = timeout(CLOSE_LIMIT, self.0.menders.wait()).await;
    }
}

impl Inner {
    fn take_idle(&self) -> Option<Link> {
        let mut all = self.lock_idle();
        all.retain_mut(|idle| idle.since.elapsed() < IDLE_LIMIT && idle.link.is_alive());
        all.pop().map(|idle| idle.link)
    }

    /// Keeps a connection for the next lease. Closing has set its flag before it takes the lock, so none is left behind.
    fn give_back(&self, link: Link) {
        let mut idle = self.lock_idle();
        if !self.closed.is_cancelled() {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a statement at the server. One that has been sent a moment ago may not have begun, so it is looked for more
    /// than once.
    async fn kill(&self, id: StatementId) -> Result<(), RequestError> {
        let mut link = self.connector.connect().await?;
        for _ in 0..KILL_TRIES {
            if !link.text(&self.connector, &id.kill()).await?.trim().is_empty() {
                break;
            }
            tokio::time::sleep(KILL_PERIOD).await;
        }
        Ok(())
    }
}

impl Lease {
    /// Whether a failure may be that of an old connection alone.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Asks. The answer has its first byte, or is a refusal, when this returns.
    pub(crate) async fn ask(mut self, question: &Question<'_>) -> Result<Answer, RequestError> {
        let pool = Arc::clone(&self.pool);
        let Some(link) = &mut self.link else {
            return Err(RequestError::Nonsense("a lease without a connection"));
        };
        self.running = Some(question.id);
        let response = link.send(pool.connector.request(question)).await?;
        Answer::begin(self, response).await
    }

    /// The connection, and that its statement has ended.
    fn finish(&mut self) {
        self.running = None;
    }

    fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// Nobody may use the connection again.
    fn discard(&mut self) {
        self.link = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let link = self.link.take();
        let Some(id) = self.running.take() else {
            if let Some(link) = link {
                self.pool.give_back(link);
            }
            return;
        };
        // The server of a connection that closes ends its statement by itself, when it comes to notice.
        drop(link);
        let (pool, permit) = (Arc::clone(&self.pool), self.permit.take());
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let menders = pool.menders.clone();
        menders.spawn(async move {
            // A role that may not kill has its statement ended by the closed connection, or by its timeout.
            let _refused = timeout(KILL_LIMIT, pool.kill(id)).await;
            drop(permit);
        });
    }
}

fn closed() -> BridgeError {
    BridgeError::unreachable("the source was closed")
}
