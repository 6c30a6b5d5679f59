//! What the link tells the health port. The link alone writes it; readers take a short lock and no await.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::time::Instant;

/// What the link is doing, for `/ready` and `/status`. Written by the link alone.
#[derive(Debug, Default)]
pub(crate) struct Status(Mutex<Link>);

#[derive(Debug, Default)]
struct Link {
    session: Option<Session>,
    /// Why there is none, in words for people; holds no credential.
    reason: Option<String>,
    refused: bool,
}

/// An acknowledged session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) since: Instant,
    pub(crate) server_version: String,
    pub(crate) extensions: Vec<String>,
}

impl Status {
    pub(crate) fn connected(&self, session: Session) {
        *self.lock() = Link { session: Some(session), ..Link::default() };
    }

    /// No session; `refused` says that trying again soon is of no use.
    pub(crate) fn disconnected(&self, reason: String, refused: bool) {
        *self.lock() = Link { session: None, reason: Some(reason), refused };
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.lock().session.is_some()
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.lock().refused
    }

    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    pub(crate) fn describe(&self) -> Value {
        let link = self.lock();
        match &link.session {
            Some(session) => json!({
                "connected": true,
                "connectedForMs": u64::try_from(session.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                "serverVersion": session.server_version,
                "extensions": session.extensions,
            }),
            None => json!({"connected": false, "refused": link.refused, "reason": link.reason}),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
