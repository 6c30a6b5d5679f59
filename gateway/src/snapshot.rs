//! The control plane in memory: an immutable picture that requests read, and the news of its changes.
//!
//! A mutation is a transaction of the store, then a new [`Snapshot`], then a [`Change`] for every subscriber. The new
//! snapshot is worked out before the transaction, from the old one and the mutation: once a revocation is in the store,
//! nothing that fails can keep it out of the snapshot. Whoever authenticates, resolves a lens or places a job reads one snapshot and never the store. A session that registers
//! itself subscribes first and looks at a snapshot afterwards: then a revocation is either in that snapshot or arrives
//! as a change.

mod after;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use protocol::{AssignedSource, SourceConfig};
use tokio::sync::broadcast;

use crate::crypto::Vault;
use crate::error::CryptoError;
use crate::lens::Lens;
use crate::model::{Credentials, Key, KeyId, Records, Runner, RunnerId, Source, SourceId};
use crate::token::TokenHash;

/// Changes that a slow subscriber may be behind before it has to look at everything again.
const CHANGES_KEPT: usize = 256;

/// The present snapshot, and the changes to come.
#[derive(Debug)]
pub struct Snapshots {
    current: ArcSwap<Snapshot>,
    changes: broadcast::Sender<Change>,
}

/// What became different. A subscriber that lagged behind must treat every runner as if it had been named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A runner was revoked or deleted: its sockets are closed at once.
    RunnerRevoked(RunnerId),
    /// A runner has a new token: sockets opened with the old one are closed at once.
    RunnerRotated(RunnerId),
    /// These runners have other sources than before, or the same with other credentials.
    Assignments(Vec<RunnerId>),
    /// A key was revoked: what was asked with it ends at once.
    KeyRevoked(KeyId),
    /// A runner may do other things than before: what it may not do any more ends at once.
    Capabilities(RunnerId),
    /// There are other lenses or sources, or more keys.
    Catalog,
}

impl Snapshots {
    /// Starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { current: ArcSwap::from_pointee(snapshot), changes: broadcast::channel(CHANGES_KEPT).0 }
    }

    /// The present snapshot. Take it once for each request, so that all of a request sees the same.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Puts `snapshot` in place, then tells of `changes`.
    pub fn publish(&self, snapshot: Snapshot, changes: impl IntoIterator<Item = Change>) {
        self.current.store(Arc::new(snapshot));
        for change in changes {
            // Without a subscriber there is nobody to tell.
            drop(self.changes.send(change));
        }
    }
}

/// Everything that a request needs to know, as of one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    vault: Arc<Vault>,
    runners: HashMap<RunnerId, Arc<Runner>>,
    runner_names: HashMap<String, RunnerId>,
    runner_tokens: HashMap<TokenHash, RunnerId>,
    sources: HashMap<SourceId, Arc<Source>>,
    source_names: HashMap<String, SourceId>,
    runners_of: HashMap<SourceId, Vec<RunnerId>>,
    sources_of: HashMap<RunnerId, Vec<SourceId>>,
    lenses: HashMap<String, Arc<Lens>>,
    keys: HashMap<KeyId, Arc<Key>>,
    key_tokens: HashMap<TokenHash, KeyId>,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal<T> {
    /// Nobody has this token, or no longer.
    Unknown,
    /// Whoever had it was revoked.
    Revoked(Arc<T>),
}

impl Snapshot {
    /// The picture of `records`. What points nowhere is left out: the store's foreign keys do not let it exist.
    pub fn new(records: Records, vault: Arc<Vault>) -> Self {
        let mut snapshot = Self {
            vault,
            runners: HashMap::new(),
            runner_names: HashMap::new(),
            runner_tokens: HashMap::new(),
            sources: HashMap::new(),
            source_names: HashMap::new(),
            runners_of: HashMap::new(),
            sources_of: HashMap::new(),
            lenses: HashMap::new(),
            keys: HashMap::new(),
            key_tokens: HashMap::new(),
        };
        for (runner, token) in records.runners {
            snapshot.runner_names.insert(runner.name.clone(), runner.id);
            snapshot.runner_tokens.insert(token, runner.id);
            snapshot.runners.insert(runner.id, Arc::new(runner));
        }
        for source in records.sources {
            snapshot.source_names.insert(source.name.clone(), source.id);
            snapshot.sources.insert(source.id, Arc::new(source));
        }
        for (runner, source) in records.assignments {
            snapshot.runners_of.entry(source).or_default().push(runner);
            snapshot.sources_of.entry(runner).or_default().push(source);
        }
        for lens in records.lenses {
            snapshot.lenses.insert(lens.name.clone(), Arc::new(lens));
        }
        for (key, token) in records.keys {
            snapshot.key_tokens.insert(token, key.id);
            snapshot.keys.insert(key.id, Arc::new(key));
        }
        snapshot
    }

    /// The runner whose token this is.
    pub fn authenticate_runner(&self, token: &str) -> Result<&Arc<Runner>, Refusal<Runner>> {
        self.runner_with(&TokenHash::of(token))
    }

    /// The runner whose token has this hash.
    pub fn runner_with(&self, token: &TokenHash) -> Result<&Arc<Runner>, Refusal<Runner>> {
        let id = self.runner_tokens.get(token).ok_or(Refusal::Unknown)?;
        let runner = self.runners.get(id).ok_or(Refusal::Unknown)?;
        if runner.is_revoked() { Err(Refusal::Revoked(Arc::clone(runner))) } else { Ok(runner) }
    }

    /// The key whose token this is.
    pub fn authenticate_key(&self, token: &str) -> Result<&Arc<Key>, Refusal<Key>> {
        let id = self.key_tokens.get(&TokenHash::of(token)).ok_or(Refusal::Unknown)?;
        let key = self.keys.get(id).ok_or(Refusal::Unknown)?;
        if key.revoked_at.is_some() { Err(Refusal::Revoked(Arc::clone(key))) } else { Ok(key) }
    }

    /// The runner of this id, revoked or not.
    pub fn runner(&self, id: RunnerId) -> Option<&Arc<Runner>> {
        self.runners.get(&id)
    }

    /// The runner of this name, revoked or not.
    pub fn runner_named(&self, name: &str) -> Option<&Arc<Runner>> {
        self.runner_names.get(name).and_then(|id| self.runners.get(id))
    }

    /// The runner of this id or name, revoked or not.
    pub fn find_runner(&self, id_or_name: &str) -> Option<&Arc<Runner>> {
        id_or_name.parse().ok().and_then(|id| self.runner(id)).or_else(|| self.runner_named(id_or_name))
    }

    /// Every runner, in no order.
    pub fn runners(&self) -> impl Iterator<Item = &Arc<Runner>> {
        self.runners.values()
    }

    /// The source of this id.
    pub fn source(&self, id: SourceId) -> Option<&Arc<Source>> {
        self.sources.get(&id)
    }

    /// The source of this name.
    pub fn source_named(&self, name: &str) -> Option<&Arc<Source>> {
        self.source_names.get(name).and_then(|id| self.sources.get(id))
    }

    /// The source of this id or name.
    pub fn find_source(&self, id_or_name: &str) -> Option<&Arc<Source>> {
        id_or_name.parse().ok().and_then(|id| self.source(id)).or_else(|| self.source_named(id_or_name))
    }

    /// Every source, in no order.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.values()
    }

    /// The runners that have `source`, revoked ones too; empty when it is assigned to nobody.
    pub fn runners_of(&self, source: SourceId) -> &[RunnerId] {
        self.runners_of.get(&source).map(Vec::as_slice).unwrap_or_default()
    }

    /// The sources that `runner` has.
    pub fn sources_of(&self, runner: RunnerId) -> &[SourceId] {
        self.sources_of.get(&runner).map(Vec::as_slice).unwrap_or_default()
    }

    /// The lens of this name.
    pub fn lens(&self, name: &str) -> Option<&Arc<Lens>> {
        self.lenses.get(name)
    }

    /// Every lens, in no order.
    pub fn lenses(&self) -> impl Iterator<Item = &Arc<Lens>> {
        self.lenses.values()
    }

    /// The key of this id, revoked or not.
    pub fn key(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&id)
    }

    /// Every key, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.values()
    }

    /// What opens managed configs and signs cursors.
    pub const fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// The sources of `runner` as its socket is told of them, by name. Only here are managed configs decrypted; one that
    /// does not open is left out and logged, so that a damaged source does not take the others with it.
    pub fn assigned_sources(&self, runner: RunnerId) -> Vec<AssignedSource> {
        let mut assigned: Vec<AssignedSource> = self
            .sources_of(runner)
            .iter()
            .filter_map(|id| self.sources.get(id))
            .filter_map(|source| {
                self.assigned(source)
                    .inspect_err(|error| tracing::error!(source = source.name, %error, "source left out"))
                    .ok()
            })
            .collect();
        assigned.sort_by(|a, b| a.name.cmp(&b.name));
        assigned
    }

    /// The decrypted config of a managed source; nothing for a runner-local one.
    pub fn managed_config(&self, source: &Source) -> Result<Option<SourceConfig>, CryptoError> {
        match &source.credentials {
            Credentials::Managed(sealed) => self.vault.open(source.id, sealed).map(Some),
            Credentials::RunnerLocal => Ok(None),
        }
    }

    fn assigned(&self, source: &Source) -> Result<AssignedSource, CryptoError> {
        Ok(AssignedSource {
            id: source.id.to_string(),
            name: source.name.clone(),
            bridge: source.bridge.clone(),
            credentials_location: source.credentials.location(),
            config: self.managed_config(source)?,
        })
    }
}
