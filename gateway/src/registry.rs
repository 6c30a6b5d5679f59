//! Who is connected. Presence is derived from this alone and never stored, so that it cannot be wrong after a restart.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::link::Link;
use crate::model::RunnerId;

/// The connected runners. One runner id may be connected several times; each connection is a runner of its own for
/// placement.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    links: RwLock<HashMap<RunnerId, Vec<Arc<Link>>>>,
    next_id: AtomicU64,
}

impl Registry {
    /// An id for a new connection.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add(&self, link: &Arc<Link>) {
        self.write().entry(link.runner).or_default().push(Arc::clone(link));
    }

    pub(crate) fn remove(&self, link: &Link) {
        let mut links = self.write();
        if let Some(of_runner) = links.get_mut(&link.runner) {
            of_runner.retain(|other| other.id != link.id);
            if of_runner.is_empty() {
                links.remove(&link.runner);
            }
        }
    }

    /// The connections of one runner.
    pub(crate) fn of(&self, runner: RunnerId) -> Vec<Arc<Link>> {
        self.read().get(&runner).cloned().unwrap_or_default()
    }

    /// Every connection.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        self.read().values().flatten().cloned().collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<RunnerId, Vec<Arc<Link>>>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<RunnerId, Vec<Arc<Link>>>> {
        self.links.write().unwrap_or_else(PoisonError::into_inner)
    }
}
