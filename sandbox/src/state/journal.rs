//! What was taken out of a detached run so far, noted in its state: whoever goes on with the run when its process is dead
//! goes on from there, and does not take what that process has brought to its place for somebody else's.

use serde::{Deserialize, Serialize};

use super::{RunId, RunState, Store};

/// An entry of `extract` whose files are all outside the container, and in their place or on the way there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Landed {
    /// Which, by its position.
    pub(crate) entry: usize,
    /// The folder below the entry's `to` that has what is not in its place yet. It is gone when nothing is left in it.
    pub(crate) stage: String,
    /// Of its files.
    pub(crate) bytes: u64,
    /// Files and folders.
    pub(crate) entries: u64,
}

/// The notes of one run. They are a help: where they cannot be written, results are taken out all the same.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    store: Store,
    id: RunId,
}

impl Journal {
    /// None for a run that ends with its process.
    pub(crate) fn of_detached(store: &Store, id: &RunId) -> Option<Self> {
        let state = store.get(id).ok()??;
        state.detached.then(|| Self { store: store.clone(), id: id.clone() })
    }

    /// What was noted of an entry.
    pub(crate) fn noted(&self, entry: usize) -> Option<Landed> {
        let state = self.store.get(&self.id).ok()??;
        state.landed.into_iter().find(|landed| landed.entry == entry)
    }

    /// Notes an entry, in place of what was noted of it before.
    pub(crate) fn note(&self, landed: Landed) {
        self.change(|state| {
            state.landed.retain(|known| known.entry != landed.entry);
            state.landed.push(landed);
        });
    }

    /// Notes nothing of an entry any more.
    pub(crate) fn withdraw(&self, entry: usize) {
        self.change(|state| state.landed.retain(|known| known.entry != entry));
    }

    fn change(&self, change: impl FnOnce(&mut RunState)) {
        if let Err(error) = self.store.update(&self.id, change) {
            tracing::warn!(run = %self.id, %error, "what was taken out of a run is not noted");
        }
    }
}
