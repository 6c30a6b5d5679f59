//! How connections are opened, and how they are used; a [`bridge_net::Pool`] lends them.
//!
//! Redis answers commands in their order and has no way to take one back, so a lease that is dropped with replies still
//! owed closes its connection: that is how a job ends at the server.

use std::time::Duration;

use bridge_core::{BridgeError, Call};
use bridge_net::{Condition, Interrupted, Origin, attempt_end};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::config::Settings;
use crate::error::{while_connecting, while_running};
use crate::wire::{ConnectOptions, Connection, Dialer, Reply, WireError, log_in};

/// The connections of one source.
pub(crate) type Pool = bridge_net::Pool<Server>;

/// The server of one source.
pub(crate) struct Server {
    options: ConnectOptions,
    dialer: OnceCell<Dialer>,
}

/// A connection that is lent to one call.
pub(crate) struct Lease {
    lent: bridge_net::Lease<Server>,
    deadline: Instant,
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { options: settings.connect.clone(), dialer: OnceCell::new() }
    }

    async fn dial(&self) -> Result<Connection, WireError> {
        let dialer = self.dialer.get_or_try_init(|| Dialer::load(&self.options)).await?;
        let mut connection = dialer.open().await?;
        log_in(&mut connection, &self.options).await?;
        Ok(connection)
    }
}

impl Origin for Server {
    type Connection = Connection;

    const IDLE_LIMIT: Duration = Duration::from_secs(5 * 60);

    async fn connect(&self, deadline: Instant) -> Result<Connection, BridgeError> {
        let end = attempt_end(self.options.connect_timeout, deadline);
        match timeout_at(end, self.dial()).await {
            Ok(connected) => connected.map_err(while_connecting),
            Err(_) if Instant::now() >= deadline => Err(BridgeError::Timeout),
            Err(_) => Err(while_connecting(WireError::Timeout)),
        }
    }

    fn settle(&self, connection: &mut Connection) -> Condition {
        if !connection.is_idle() {
            return Condition::Spent;
        }
        connection.shrink();
        Condition::Idle
    }

    fn is_alive(&self, connection: &mut Connection) -> bool {
        connection.check_alive()
    }
}

impl Lease {
    /// A connection, within the call's deadline.
    pub(crate) async fn take(pool: &Pool, call: &Call) -> Result<Self, BridgeError> {
        Ok(Self { lent: pool.lease(call).await?, deadline: Instant::from_std(call.deadline) })
    }

    /// Whether a failure may be that of an old connection alone.
    pub(crate) fn is_reused(&self) -> bool {
        self.lent.is_reused()
    }

    pub(crate) fn connection(&mut self) -> Result<&mut Connection, BridgeError> {
        Ok(self.lent.connection().ok_or(Interrupted::Closed)?)
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self) -> Result<(), BridgeError> {
        let (pool, connection) = self.lent.parts().ok_or(Interrupted::Closed)?;
        bounded(pool, self.deadline, connection.flush()).await?.map_err(while_running)
    }

    /// Sends what waits, then waits for more to read.
    pub(crate) async fn fill(&mut self) -> Result<(), BridgeError> {
        let (pool, connection) = self.lent.parts().ok_or(Interrupted::Closed)?;
        bounded(pool, self.deadline, connection.fill()).await?.map_err(while_running)
    }

    /// Asks one thing; the answer may be an error reply.
    pub(crate) async fn ask(&mut self, parts: &[&[u8]]) -> Result<Reply, BridgeError> {
        self.try_ask(parts).await?.map_err(while_running)
    }

    /// The same, with failures of the connection for the caller to judge.
    pub(crate) async fn try_ask(&mut self, parts: &[&[u8]]) -> Result<Result<Reply, WireError>, BridgeError> {
        let (pool, connection) = self.lent.parts().ok_or(Interrupted::Closed)?;
        bounded(pool, self.deadline, connection.ask(parts)).await
    }

    /// The next reply to something that was queued.
    pub(crate) async fn reply(&mut self, limit: usize) -> Result<Reply, BridgeError> {
        let (pool, connection) = self.lent.parts().ok_or(Interrupted::Closed)?;
        bounded(pool, self.deadline, connection.reply(limit)).await?.map_err(while_running)
    }
}

/// Waits for `work` until the deadline, or until the source is closed. Work that never has to wait heeds both, too.
async fn bounded<T>(pool: &Pool, deadline: Instant, work: impl Future<Output = T>) -> Result<T, BridgeError> {
    if Instant::now() >= deadline {
        return Err(BridgeError::Timeout);
    }
    if pool.is_closed() {
        return Err(Interrupted::Closed.into());
    }
    Ok(pool.bounded(deadline, work).await?)
}
