//! Stops a running statement from outside of its connection.

use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::WireError;
use super::dial::{self, Dialed, Route};

/// The right to cancel what runs on one connection. Cheap to clone; outlives the connection harmlessly.
#[derive(Clone)]
pub(crate) struct CancelToken {
    route: Arc<Route>,
    key: Option<BackendKey>,
}

/// What a server gives a session to cancel it with.
#[derive(Clone, Copy)]
pub(super) struct BackendKey {
    pub(super) process: i32,
    pub(super) secret: i32,
}

impl CancelToken {
    pub(super) fn new(route: Route, key: Option<BackendKey>) -> Self {
        Self { route: Arc::new(route), key }
    }

    /// Asks the server, over a connection of its own with the same encryption, to cancel the running statement.
    ///
    /// Returns when the server has done so: it closes that connection after it has signalled the session, so that a
    /// statement sent later cannot be hit. Nothing says whether a statement was running.
    pub(crate) async fn cancel(&self, deadline: Instant) -> Result<(), WireError> {
        let key = self.key.ok_or(WireError::Protocol("the server gave no key to cancel with"))?;
        timeout_at(deadline, send(&self.route, key)).await.map_err(|_| WireError::Timeout)?
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = self.key.map(|key| key.process);
        f.debug_struct("CancelToken")
            .field("address", &self.route.address)
            .field("process", &process)
            .finish()
    }
}

async fn send(route: &Route, key: BackendKey) -> Result<(), WireError> {
    let Dialed { mut socket, .. } = dial::open(route).await?;
    let mut request = BytesMut::new();
    frontend::cancel_request(key.process, key.secret, &mut request);
    socket.write_all(&request).await.map_err(WireError::from_io)?;
    socket.flush().await.map_err(WireError::from_io)?;
    match socket.read(&mut [0; 64]).await.map_err(WireError::from_io) {
        // Servers do not say goodbye here in TLS terms.
        Ok(0) | Err(WireError::Closed) => Ok(()),
        Ok(_) => Err(WireError::Protocol("an answer to a cancel request")),
        Err(error) => Err(error),
    }
}
