//! Connections, and the pool that lends them.
//!
//! Redis answers commands in their order and has no way to take one back, so a lease that is dropped with replies still
//! owed closes its connection: that is how a job ends at the server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::{BridgeError, Call};
use bridge_net::attempt_end;
use protocol::PoolUse;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::error::{while_connecting, while_running};
use crate::wire::{ConnectOptions, Connection, Dialer, Reply, WireError, log_in};

/// How old a connection may become: a name may lead elsewhere meanwhile.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long a connection waits to be lent again.
const IDLE_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The connections of one source.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    options: ConnectOptions,
    dialer: OnceCell<Dialer>,
    slots: Arc<Semaphore>,
    max: usize,
    idle: Mutex<Vec<Idle>>,
    closed: CancellationToken,
}

/// A connection that waits to be lent again.
struct Idle {
    connection: Connection,
    opened: Instant,
    since: Instant,
}

/// A connection that is lent.
pub(crate) struct Lease {
    /// There until the lease is dropped.
    connection: Option<Connection>,
    opened: Instant,
    pool: Arc<Inner>,
    reused: bool,
    deadline: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(Arc::new(Inner {
            options: settings.connect.clone(),
            dialer: OnceCell::new(),
            slots: Arc::new(Semaphore::new(settings.pool_max)),
            max: settings.pool_max,
            idle: Mutex::default(),
            closed: CancellationToken::new(),
        }))
    }

    /// A connection, within the call's deadline.
    pub(crate) async fn lease(&self, call: &Call) -> Result<Lease, BridgeError> {
        let deadline = Instant::from_std(call.deadline);
        let slot = timeout_at(deadline, Arc::clone(&self.0.slots).acquire_owned()).await;
        let permit = slot.map_err(|_| BridgeError::Timeout)?.map_err(|_| closed())?;
        let (connection, opened, reused) = match self.0.take_idle() {
            Some(idle) => (idle.connection, idle.opened, true),
            None => (self.0.connect(deadline).await?, Instant::now(), false),
        };
        let pool = Arc::clone(&self.0);
        Ok(Lease { connection: Some(connection), opened, pool, reused, deadline, _permit: permit })
    }

    /// Connections now.
    pub(crate) fn usage(&self) -> PoolUse {
        let idle = self.0.lock_idle().len();
        let in_use = self.0.max.saturating_sub(self.0.slots.available_permits());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        PoolUse { in_use: count(in_use), idle: count(idle), max: count(self.0.max) }
    }

    /// Ends what runs, and every connection.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
        self.0.slots.close();
        self.0.lock_idle().clear();
    }
}

impl Inner {
    fn take_idle(&self) -> Option<Idle> {
        let mut all = self.lock_idle();
        all.retain(|idle| idle.since.elapsed() < IDLE_LIMIT && idle.opened.elapsed() < LIFETIME);
        while let Some(mut idle) = all.pop() {
            if idle.connection.check_alive() {
                return Some(idle);
            }
        }
        None
    }

    /// Keeps a connection for the next lease. Closing has set its flag before it takes the lock, so none is left behind.
    fn give_back(&self, mut connection: Connection, opened: Instant) {
        connection.shrink();
        let mut idle = self.lock_idle();
        if !self.closed.is_cancelled() && opened.elapsed() < LIFETIME {
            idle.push(Idle { connection, opened, since: Instant::now() });
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, BridgeError> {
        let end = attempt_end(self.options.connect_timeout, deadline);
        match timeout_at(end, self.dial()).await {
            Ok(connected) => connected.map_err(while_connecting),
            Err(_) if Instant::now() >= deadline => Err(BridgeError::Timeout),
            Err(_) => Err(while_connecting(WireError::Timeout)),
        }
    }

    async fn dial(&self) -> Result<Connection, WireError> {
        let dialer = self.dialer.get_or_try_init(|| Dialer::load(&self.options)).await?;
        let mut connection = dialer.open().await?;
        log_in(&mut connection, &self.options).await?;
        Ok(connection)
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Whether a failure may be that of an old connection alone.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(crate) fn connection(&mut self) -> Result<&mut Connection, BridgeError> {
        self.connection.as_mut().ok_or_else(closed)
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self) -> Result<(), BridgeError> {
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        bounded(&self.pool, self.deadline, connection.flush()).await?.map_err(while_running)
    }

    /// Sends what waits, then waits for more to read.
    pub(crate) async fn fill(&mut self) -> Result<(), BridgeError> {
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        bounded(&self.pool, self.deadline, connection.fill()).await?.map_err(while_running)
    }

    /// Asks one thing; the answer may be an error reply.
    pub(crate) async fn ask(&mut self, parts: &[&[u8]]) -> Result<Reply, BridgeError> {
        self.try_ask(parts).await?.map_err(while_running)
    }

    /// The same, with failures of the connection for the caller to judge.
    pub(crate) async fn try_ask(&mut self, parts: &[&[u8]]) -> Result<Result<Reply, WireError>, BridgeError> {
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        bounded(&self.pool, self.deadline, connection.ask(parts)).await
    }

    /// The next reply to something that was queued.
    pub(crate) async fn reply(&mut self, limit: usize) -> Result<Reply, BridgeError> {
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        bounded(&self.pool, self.deadline, connection.reply(limit)).await?.map_err(while_running)
    }
}

/// Waits for `work` until the deadline, or until the source is closed. Work that never has to wait is late, too.
async fn bounded<T>(
    pool: &Inner,
    deadline: Instant,
    work: impl Future<Output = T>,
) -> Result<T, BridgeError> {
    if Instant::now() >= deadline {
        return Err(BridgeError::Timeout);
    }
    tokio::select! {
        biased;
        () = pool.closed.cancelled() => Err(closed()),
        done = timeout_at(deadline, work) => done.map_err(|_| BridgeError::Timeout),
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(Connection::is_idle) {
            self.pool.give_back(connection, self.opened);
        }
    }
}

fn closed() -> BridgeError {
    BridgeError::unreachable("the source was closed")
}
