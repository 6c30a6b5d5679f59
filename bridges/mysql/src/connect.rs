//! Connections, and the pool that lends them.
//!
//! A lease that is dropped with its statement unfinished is mended in the background: what runs is killed at the server,
//! what is under way is skipped, and only then is the connection lent again. Until that is done it counts as in use, so
//! that a burst of cancelled queries cannot open more connections than the pool has (and, while it lasts, one more for
//! each kill). A session that a statement has changed is never lent again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::{BridgeError, Call};
use protocol::PoolUse;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::Settings;
use crate::error::while_connecting;
use crate::wire::{ConnectOptions, Connection, Connector, WireError};

/// How long a connection may take to come to rest after its statement was given up.
const RECOVER_LIMIT: Duration = Duration::from_secs(10);
/// How long closing waits for that.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How old a connection may become: sessions of a server grow with what they have seen.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// The connections of one source.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    options: ConnectOptions,
    connector: OnceCell<Connector>,
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
    connection: Connection,
    opened: Instant,
}

/// A connection that is lent.
pub(crate) struct Lease {
    connection: Option<Connection>,
    opened: Instant,
    pool: Arc<Inner>,
    /// Whether it was used before, so that the server may have closed it meanwhile.
    reused: bool,
    permit: Option<OwnedSemaphorePermit>,
    /// Closing the pool waits for it: a statement that runs then is cancelled at the server, not merely deserted.
    _lent: TaskTrackerToken,
}

impl Pool {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(Arc::new(Inner {
            options: settings.connect.clone(),
            connector: OnceCell::new(),
            slots: Arc::new(Semaphore::new(settings.pool_max)),
            max: settings.pool_max,
            idle: Mutex::default(),
            menders: TaskTracker::new(),
            closed: CancellationToken::new(),
        }))
    }

    /// A connection with its statement timeout set, within the call's deadline.
    pub(crate) async fn lease(&self, call: &Call) -> Result<Lease, BridgeError> {
        let deadline = Instant::from_std(call.deadline);
        let slot = timeout_at(deadline, Arc::clone(&self.0.slots).acquire_owned()).await;
        let permit = slot.map_err(|_| BridgeError::Timeout)?.map_err(|_| closed())?;
        let (Idle { mut connection, opened }, reused) = match self.0.take_idle() {
            Some(idle) => (idle, true),
            None => {
                let connection = self.0.connect(deadline).await?;
                (Idle { connection, opened: Instant::now() }, false)
            }
        };
        connection.set_statement_timeout(timeout_ms(call));
        let (pool, _lent) = (Arc::clone(&self.0), self.0.menders.token());
        Ok(Lease { connection: Some(connection), opened, pool, reused, permit: Some(permit), _lent })
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

    /// Ends what runs and waits, not for long, until it is cancelled at the server.
    pub(crate) async fn close(&self) {
        self.0.closed.cancel();
        self.0.slots.close();
        self.0.menders.close();
        let idle = std::mem::take(&mut *self.0.lock_idle());
        for Idle { connection, .. } in idle {
            connection.close().await;
        }
        // What is still lent or being mended after that, because its reader is not reading, dies with its connection.
        let _late = timeout(CLOSE_LIMIT, self.0.menders.wait()).await;
    }
}

impl Inner {
    fn take_idle(&self) -> Option<Idle> {
        let mut all = self.lock_idle();
        while let Some(mut idle) = all.pop() {
            if idle.connection.check_alive() {
                return Some(idle);
            }
        }
        None
    }

    /// Keeps a connection for the next lease. Closing has set its flag before it takes the lock, so none is left behind.
    fn give_back(&self, connection: Connection, opened: Instant) {
        let mut idle = self.lock_idle();
        if !self.closed.is_cancelled() && opened.elapsed() < LIFETIME {
            idle.push(Idle { connection, opened });
            return;
        }
        drop(idle);
        if tokio::runtime::Handle::try_current().is_ok() {
            self.menders.spawn(connection.close());
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, BridgeError> {
        let connector = self.connector.get_or_try_init(|| Connector::load(self.options.clone()));
        let connector = connector.await.map_err(while_connecting)?;
        connector.connect(deadline).await.map_err(|error| failed(error, deadline))
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A timeout that is the call's own deadline is the caller's; a shorter one is the server's fault.
fn failed(error: WireError, deadline: Instant) -> BridgeError {
    match error {
        WireError::Timeout if Instant::now() >= deadline => BridgeError::Timeout,
        error => while_connecting(error),
    }
}

fn closed() -> BridgeError {
    BridgeError::unreachable("the source was closed")
}

/// What is left of the call in milliseconds, rounded up so that equal deadlines give equal values, which cost no
/// message: to tenths of a second below one, to seconds above. The exact deadline is kept on this side.
fn timeout_ms(call: &Call) -> u32 {
    let left = u32::try_from(call.remaining().as_millis()).unwrap_or(u32::MAX).max(1);
    let step = if left <= 1_000 { 100 } else { 1_000 };
    left.div_ceil(step).saturating_mul(step)
}

impl Lease {
    /// Whether a failure may be that of an old connection alone.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// The connection, as long as it is lent.
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, WireError> {
        self.connection.as_mut().ok_or(WireError::Closed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if connection.is_idle() {
            return self.pool.give_back(connection, self.opened);
        }
        let (pool, permit, opened) = (Arc::clone(&self.pool), self.permit.take(), self.opened);
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let menders = pool.menders.clone();
        menders.spawn(async move {
            if connection.recover(Instant::now() + RECOVER_LIMIT).await.is_ok() {
                pool.give_back(connection, opened);
            }
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_deadlines_give_equal_timeouts() {
        let timeout = |ms| timeout_ms(&Call::within(Duration::from_millis(ms)));
        assert_eq!(timeout(29_990), 30_000);
        assert_eq!(timeout(30_000), 30_000);
        assert_eq!(timeout(950), 1_000);
        assert_eq!(timeout(0), 100);
    }
}
