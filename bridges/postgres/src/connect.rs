//! How connections are opened and mended; a [`bridge_net::Pool`] lends them.
//!
//! A connection whose statement was given up has that cancelled at the server, and what is under way skipped.

use bridge_core::BridgeError;
use bridge_net::{Condition, Origin};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config::Settings;
use crate::error::{while_connecting, while_running};
use crate::wire::{ConnectOptions, Connection, Connector, Holder, WireError};

/// `protocol_violation`: what a pooler answers to a startup parameter that it does not know.
const UNKNOWN_PARAMETER: &str = "08P01";

/// The connections of one source.
pub(crate) type Pool = bridge_net::Pool<Server>;

/// A connection that is lent.
pub(crate) type Lease = bridge_net::Lease<Server>;

/// The server of one source.
pub(crate) struct Server {
    /// The database's name for people.
    title: &'static str,
    options: ConnectOptions,
    connector: OnceCell<Connector>,
    /// Tells the session its settings after the login; made when a pooler has refused them before it.
    bare: OnceCell<Connector>,
}

impl Server {
    pub(crate) fn new(title: &'static str, settings: &Settings) -> Self {
        let options = settings.connect.clone();
        Self { title, options, connector: OnceCell::new(), bare: OnceCell::new() }
    }

    /// A failure of a statement over one of the connections.
    pub(crate) fn failure(&self, error: WireError) -> BridgeError {
        while_running(self.title, error)
    }

    async fn open(&self, deadline: Instant) -> Result<Connection, WireError> {
        if let Some(bare) = self.bare.get() {
            return bare.connect(deadline).await;
        }
        let connector = self.connector.get_or_try_init(|| Connector::load(self.options.clone()));
        match connector.await?.connect(deadline).await {
            Err(WireError::Server(error)) if error.code == UNKNOWN_PARAMETER => {
                let options = ConnectOptions { parameters_at_start: false, ..self.options.clone() };
                self.bare.get_or_try_init(|| Connector::load(options)).await?.connect(deadline).await
            }
            decided => decided,
        }
    }
}

impl Origin for Server {
    type Connection = Connection;

    async fn connect(&self, deadline: Instant) -> Result<Connection, BridgeError> {
        self.open(deadline).await.map_err(|error| match error {
            // The call's own deadline is the caller's; a shorter timeout is the server's fault.
            WireError::Timeout if Instant::now() >= deadline => BridgeError::Timeout,
            error => while_connecting(self.title, error),
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

impl Holder for Lease {
    fn connection(&mut self) -> Result<&mut Connection, WireError> {
        bridge_net::Lease::connection(self).ok_or(WireError::Closed)
    }
}
