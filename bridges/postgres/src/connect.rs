//! Connections, and the pool that lends them.
//!
//! A lease that is dropped with its statement unfinished is mended in the background: what runs is cancelled at the
//! server, what is under way is skipped, and only then is the connection lent again. Until that is done it counts as in
//! use, so that a burst of cancelled queries cannot open more connections than the pool has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::{BridgeError, Call};
use protocol::PoolUse;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::{SESSION_STATEMENTS, Settings};
use crate::error::while_connecting;
use crate::wire::{ConnectOptions, Connection, Connector, Holder, WireError};

/// How long a connection may take to come to rest after its statement was given up.
const RECOVER_LIMIT: Duration = Duration::from_secs(10);
/// How long closing waits for that.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// `protocol_violation`: what a pooler answers to a startup parameter that it does not know.
const UNKNOWN_PARAMETER: &str = "08P01";

/// The connections of one source.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    options: ConnectOptions,
    connector: OnceCell<Connector>,
    /// Without startup parameters, for poolers; made when one has refused them.
    bare: OnceCell<Connector>,
    slots: Arc<Semaphore>,
    max: usize,
    idle: Mutex<Vec<Connection>>,
    menders: TaskTracker,
    closed: AtomicBool,
}

/// A connection that is lent.
pub(crate) struct Lease {
    connection: Option<Connection>,
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
            bare: OnceCell::new(),
            slots: Arc::new(Semaphore::new(settings.pool_max)),
            max: settings.pool_max,
            idle: Mutex::default(),
            menders: TaskTracker::new(),
            closed: AtomicBool::new(false),
        }))
    }

    /// A connection with its statement timeout set, within the call's deadline.
    pub(crate) async fn lease(&self, call: &Call) -> Result<Lease, BridgeError> {
        let deadline = Instant::from_std(call.deadline);
        let slot = timeout_at(deadline, Arc::clone(&self.0.slots).acquire_owned()).await;
        let permit = slot.map_err(|_| BridgeError::Timeout)?.map_err(|_| closed())?;
        let reused = self.0.take_idle();
        let (mut connection, reused) = match reused {
            Some(connection) => (connection, true),
            None => (self.0.connect(deadline).await?, false),
        };
        connection.set_statement_timeout(timeout_ms(call));
        let (pool, _lent) = (Arc::clone(&self.0), self.0.menders.token());
        Ok(Lease { connection: Some(connection), pool, reused, permit: Some(permit), _lent })
    }

    pub(crate) fn usage(&self) -> PoolUse {
        let idle = self.0.lock_idle().len();
        let in_use = self.0.max.saturating_sub(self.0.slots.available_permits());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        PoolUse { in_use: count(in_use), idle: count(idle), max: count(self.0.max) }
    }

    pub(crate) async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.slots.close();
        self.0.menders.close();
        let idle = std::mem::take(&mut *self.0.lock_idle());
        for connection in idle {
            connection.close().await;
        }
        // What is still lent or being mended after that dies with its connection.
        let _late = timeout(CLOSE_LIMIT, self.0.menders.wait()).await;
    }
}

impl Inner {
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.lock_idle();
        while let Some(mut connection) = idle.pop() {
            if connection.check_alive() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, connection: Connection) {
        if !self.closed.load(Ordering::Acquire) {
            self.lock_idle().push(connection);
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, BridgeError> {
        if let Some(bare) = self.bare.get() {
            return self.connect_bare(bare, deadline).await.map_err(|error| failed(error, deadline));
        }
        let connector = self.connector.get_or_try_init(|| Connector::load(self.options.clone()));
        let connector = connector.await.map_err(while_connecting)?;
        match connector.connect(deadline).await {
            Err(WireError::Server(error)) if error.code == UNKNOWN_PARAMETER => {
                let options = ConnectOptions { parameters: Vec::new(), ..self.options.clone() };
                let bare =
                    self.bare.get_or_try_init(|| Connector::load(options)).await.map_err(while_connecting)?;
                self.connect_bare(bare, deadline).await
            }
            decided => decided,
        }
        .map_err(|error| failed(error, deadline))
    }

    async fn connect_bare(&self, connector: &Connector, deadline: Instant) -> Result<Connection, WireError> {
        let mut connection = connector.connect(deadline).await?;
        let set = timeout_at(deadline, connection.simple(SESSION_STATEMENTS));
        set.await.map_err(|_| WireError::Timeout)??;
        Ok(connection)
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
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
}

impl Holder for Lease {
    fn connection(&mut self) -> Result<&mut Connection, WireError> {
        self.connection.as_mut().ok_or(WireError::Closed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if connection.is_idle() {
            return self.pool.give_back(connection);
        }
        let (pool, permit) = (Arc::clone(&self.pool), self.permit.take());
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let menders = pool.menders.clone();
        menders.spawn(async move {
            if connection.recover(Instant::now() + RECOVER_LIMIT).await.is_ok() {
                pool.give_back(connection);
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
