//! Lends connections: no more than a source may have, waited for no longer than a call lasts, and each looked at before it
//! is lent again.
//!
//! A lease that is dropped in the middle of its work is mended in the background: what runs is ended at the server, as the
//! [`Origin`] knows how, and only then is the connection lent again, or given up. Until that is done it counts as in use,
//! so that a burst of cancelled queries cannot open more connections than the pool has.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_core::{BridgeError, Call};
use protocol::PoolUse;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How old a connection may become: sessions of a server grow with what they have seen, and a name may lead elsewhere
/// meanwhile.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long a connection may take to come to rest after its work was given up.
const MEND_LIMIT: Duration = Duration::from_secs(10);
/// How long closing waits for that, and for goodbyes.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Where the connections of a pool come from, and how one is told from a good one.
pub trait Origin: Send + Sync + 'static {
    /// What is lent.
    type Connection: Send + 'static;

    /// How long a connection may wait to be lent again: less than servers let it.
    const IDLE_LIMIT: Duration = LIFETIME;

    /// Opens a connection, ready for work. `deadline` is the caller's; a timeout that is not that one is the server's
    /// fault.
    fn connect(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Connection, BridgeError>> + Send;

    /// How a connection comes back; one that is idle may be put in order. Does not wait.
    fn settle(&self, connection: &mut Self::Connection) -> Condition;

    /// Whether a connection that has waited is still good; looks without waiting.
    fn is_alive(&self, connection: &mut Self::Connection) -> bool;

    /// Ends what is under way over a busy connection, at the server too, until `deadline`. Nothing: the connection is of
    /// no use any more.
    fn mend(
        &self,
        connection: Self::Connection,
        _deadline: Instant,
    ) -> impl Future<Output = Option<Self::Connection>> + Send {
        drop(connection);
        std::future::ready(None)
    }

    /// Says goodbye over a connection that has nothing under way.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send {
        drop(connection);
        std::future::ready(())
    }
}

/// How a connection comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Ready for the next work.
    Idle,
    /// Something is under way, which has to be ended first.
    Busy,
    /// Of no use any more.
    Spent,
}

/// The connections of one source. A clone is the same pool.
pub struct Pool<O: Origin>(Arc<Inner<O>>);

struct Inner<O: Origin> {
    origin: O,
    max: usize,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle<O::Connection>>>,
    /// What closing waits for: leases, and what becomes of connections after them.
    tasks: TaskTracker,
    closed: CancellationToken,
}

/// A connection that waits to be lent again.
struct Idle<C> {
    connection: C,
    opened: Instant,
    since: Instant,
}

/// A connection that is lent. Dropping it gives it back.
pub struct Lease<O: Origin> {
    /// There until the lease is dropped.
    connection: Option<O::Connection>,
    opened: Instant,
    reused: bool,
    pool: Pool<O>,
    permit: Option<OwnedSemaphorePermit>,
    /// Closing the pool waits for it: work that runs then is ended at the server, not merely deserted.
    _lent: TaskTrackerToken,
}

/// Why waiting ended before what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// It took too long.
    Late,
    /// The source was closed.
    Closed,
}

impl From<Interrupted> for BridgeError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Late => Self::Timeout,
            Interrupted::Closed => Self::unreachable("the source was closed"),
        }
    }
}

impl<O: Origin> Pool<O> {
    /// A pool of at most `max` connections, none of them open yet.
    pub fn new(origin: O, max: usize) -> Self {
        Self(Arc::new(Inner {
            origin,
            max,
            slots: Arc::new(Semaphore::new(max)),
            idle: Mutex::default(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
        }))
    }

    /// Where the connections come from.
    pub fn origin(&self) -> &O {
        &self.0.origin
    }

    /// A connection, within the call's deadline.
    ///
    /// # Errors
    /// [`BridgeError::Timeout`] when none was free or could be opened until then; that the source was closed; why none
    /// can be opened.
    pub async fn lease(&self, call: &Call) -> Result<Lease<O>, BridgeError> {
        let deadline = Instant::from_std(call.deadline);
        let slot = timeout_at(deadline, Arc::clone(&self.0.slots).acquire_owned()).await;
        let permit = slot.map_err(|_| Interrupted::Late)?.map_err(|_| Interrupted::Closed)?;
        let (connection, opened, reused) = match self.0.take_idle() {
            Found::Good(idle) => (idle.connection, idle.opened, true),
            Found::None(expired) => {
                // The one whose place the new one takes is closed first.
                if let Some(expired) = expired {
                    let end = deadline.min(Instant::now() + CLOSE_LIMIT);
                    let _late = self.bounded(end, self.0.origin.close(expired)).await;
                }
                let connection = self.bounded(deadline, self.0.origin.connect(deadline)).await??;
                (connection, Instant::now(), false)
            }
        };
        let (pool, _lent) = (self.clone(), self.0.tasks.token());
        Ok(Lease { connection: Some(connection), opened, reused, pool, permit: Some(permit), _lent })
    }

    /// Waits for `work` until `end`, or until the source is closed.
    ///
    /// # Errors
    /// Which of the two came first.
    pub async fn bounded<T>(&self, end: Instant, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            done = timeout_at(end, work) => done.map_err(|_| Interrupted::Late),
            () = self.0.closed.cancelled() => Err(Interrupted::Closed),
        }
    }

    /// Whether the source was closed: for work that never has to wait.
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Connections now.
    pub fn usage(&self) -> PoolUse {
        let idle = self.0.lock_idle().len();
        let in_use = self.0.max.saturating_sub(self.0.slots.available_permits());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        PoolUse { in_use: count(in_use), idle: count(idle), max: count(self.0.max) }
    }

    /// Ends what runs and waits, not for long, until it is ended at the server and every connection closed.
    pub async fn close(&self) {
        self.0.closed.cancel();
        self.0.slots.close();
        let idle = std::mem::take(&mut *self.0.lock_idle());
        idle.into_iter().for_each(|idle| self.0.retire(idle.connection, None));
        self.0.tasks.close();
        // What is still lent or being mended after that, because its reader is not reading, dies with its connection.
        let _late = timeout(CLOSE_LIMIT, self.0.tasks.wait()).await;
    }
}

impl<O: Origin> Clone for Pool<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: Origin> Lease<O> {
    /// The connection. There is always one: what is lent comes back only with the lease itself.
    pub fn connection(&mut self) -> Option<&mut O::Connection> {
        self.connection.as_mut()
    }

    /// Whether it was used before, so that the server may have closed it meanwhile and a failure may be its alone.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// The pool that has lent it, and the connection.
    pub fn parts(&mut self) -> Option<(&Pool<O>, &mut O::Connection)> {
        Some((&self.pool, self.connection.as_mut()?))
    }
}

impl<O: Origin> Drop for Lease<O> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (pool, opened, permit) = (Arc::clone(&self.pool.0), self.opened, self.permit.take());
        match pool.origin.settle(&mut connection) {
            Condition::Idle => return pool.give_back(connection, opened, permit),
            // Without a runtime nothing can be mended; the connection is closed by being dropped.
            Condition::Busy if Handle::try_current().is_ok() => {}
            // Its place is free when it is closed, not before.
            Condition::Busy | Condition::Spent => return drop((connection, permit)),
        }
        let tasks = pool.tasks.clone();
        tasks.spawn(async move {
            let deadline = Instant::now() + MEND_LIMIT;
            let mended = timeout_at(deadline, pool.origin.mend(connection, deadline)).await;
            if let Ok(Some(connection)) = mended {
                pool.give_back(connection, opened, permit);
            }
        });
    }
}

impl<O: Origin> Inner<O> {
    /// The connection that was used last and is still good. Expired ones are closed in the background, each in a place of
    /// its own, so that there are never more than there may be: where others have taken the places meanwhile, at once.
    fn take_idle(self: &Arc<Self>) -> Found<O::Connection> {
        let mut all = self.lock_idle();
        let expired: Vec<_> = all.extract_if(.., |idle| idle.is_expired::<O>()).collect();
        let mut good = None;
        while let (None, Some(mut idle)) = (&good, all.pop()) {
            good = self.origin.is_alive(&mut idle.connection).then_some(idle);
        }
        let mut without_place = None;
        for idle in expired {
            match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(permit) => self.retire(idle.connection, Some(permit)),
                Err(_) => drop(without_place.replace(idle.connection)),
            }
        }
        match good {
            Some(good) => Found::Good(good),
            None => Found::None(without_place),
        }
    }

    /// Keeps a connection for the next lease. Closing has set its flag before it takes the lock, so none is left behind.
    fn give_back(
        self: &Arc<Self>,
        connection: O::Connection,
        opened: Instant,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let mut idle = self.lock_idle();
        if !self.closed.is_cancelled() && opened.elapsed() < LIFETIME {
            idle.push(Idle { connection, opened, since: Instant::now() });
            // Only now: whoever waits for the place shall find the connection.
            drop(idle);
            return drop(permit);
        }
        drop(idle);
        self.retire(connection, permit);
    }

    /// Closes a connection in the background. Its place is free when that is done.
    fn retire(self: &Arc<Self>, connection: O::Connection, permit: Option<OwnedSemaphorePermit>) {
        if Handle::try_current().is_ok() {
            let pool = Arc::clone(self);
            self.tasks.spawn(async move {
                let _late = timeout(CLOSE_LIMIT, pool.origin.close(connection)).await;
                drop(permit);
            });
        }
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<Idle<O::Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is for a lease.
enum Found<C> {
    Good(Idle<C>),
    /// None; an expired one may be in the place of the lease still.
    None(Option<C>),
}

impl<C> Idle<C> {
    fn is_expired<O: Origin>(&self) -> bool {
        self.since.elapsed() >= O::IDLE_LIMIT || self.opened.elapsed() >= LIFETIME
    }
}
