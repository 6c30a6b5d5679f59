//! How connections are opened and mended; a [`bridge_net::Pool`] lends them.
//!
//! A connection whose statement was given up has that killed at the server, over one more connection while it lasts, and
//! what is under way skipped. A session that a statement has changed is never lent again.

use bridge_core::BridgeError;
use bridge_net::{Condition, Origin};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config::Settings;
use crate::error::while_connecting;
use crate::wire::{ConnectOptions, Connection, Connector, WireError};

/// The connections of one source.
pub(crate) type Pool = bridge_net::Pool<Server>;

/// A connection that is lent.
pub(crate) type Lease = bridge_net::Lease<Server>;

/// The server of one source.
pub(crate) struct Server {
    options: ConnectOptions,
    connector: OnceCell<Connector>,
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { options: settings.connect.clone(), connector: OnceCell::new() }
    }

    async fn open(&self, deadline: Instant) -> Result<Connection, WireError> {
        let connector = self.connector.get_or_try_init(|| Connector::load(self.options.clone()));
        connector.await?.connect(deadline).await
    }
}

impl Origin for Server {
    type Connection = Connection;

    async fn connect(&self, deadline: Instant) -> Result<Connection, BridgeError> {
        self.open(deadline).await.map_err(|error| match error {
            // The call's own deadline is the caller's; a shorter timeout is the server's fault.
            WireError::Timeout if Instant::now() >= deadline => BridgeError::Timeout,
            error => while_connecting(error),
        })
    }

    fn settle(&self, connection: &mut Connection) -> Condition {
        if connection.is_idle() { Condition::Idle } else { Condition::Busy }
    }

    fn is_alive(&self, connection: &mut Connection) -> bool {
        connection.check_alive()
    }

    async fn mend(&self, mut connection: Connection, deadline: Instant) -> Option<Connection> {
        connection.recover(deadline).await.is_ok().then_some(connection)
    }

    async fn close(&self, connection: Connection) {
        connection.close().await;
    }
}
