//! The snapshot that a mutation leads to: what the store's statements do, done to the picture in memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::Snapshot;
use crate::config;
use crate::error::StoreError;
use crate::model::{Runner, RunnerId, SourceId};
use crate::store::{Mutation, StoredLens};
use crate::token::TokenHash;

impl Snapshot {
    /// This snapshot after `mutations`. What they name and is not here is passed over; the store refuses it.
    pub fn after(&self, mutations: &[Mutation]) -> Result<Self, StoreError> {
        let mut next = self.clone();
        for mutation in mutations {
            next.apply(mutation)?;
        }
        Ok(next)
    }

    fn apply(&mut self, mutation: &Mutation) -> Result<(), StoreError> {
        match mutation {
            Mutation::CreateRunner(runner, token) => self.create_runner(runner, *token),
            Mutation::RevokeRunner(id, at) => self.edit_runner(*id, |runner| {
                runner.revoked_at.get_or_insert(*at);
            }),
            Mutation::UpdateRunner(changed) => self.edit_runner(changed.id, |runner| {
                runner.labels.clone_from(&changed.labels);
                runner.capabilities = changed.capabilities;
            }),
            Mutation::RotateRunner(id, token, last4) => self.rotate_runner(*id, *token, last4),
            Mutation::DeleteRunner(id) => self.delete_runner(*id),
            Mutation::Assign(runner, source) => {
                self.unassign(*runner, *source);
                self.runners_of.entry(*source).or_default().push(*runner);
                self.sources_of.entry(*runner).or_default().push(*source);
            }
            Mutation::Unassign(runner, source) => self.unassign(*runner, *source),
            Mutation::CreateSource(source) | Mutation::UpdateSource(source) => {
                self.source_names.insert(source.name.clone(), source.id);
                self.sources.insert(source.id, Arc::new(source.clone()));
            }
            Mutation::DeleteSource(id) => self.delete_source(*id),
            Mutation::PutLens(lens) => return self.put_lens(lens),
            Mutation::DeleteLens(name) => drop(self.lenses.remove(name)),
            Mutation::CreateKey(key, token) => {
                self.key_tokens.insert(*token, key.id);
                self.keys.insert(key.id, Arc::new(key.clone()));
            }
            Mutation::RevokeKey(id, at) => {
                if let Some(key) = self.keys.get_mut(id) {
                    Arc::make_mut(key).revoked_at.get_or_insert(*at);
                }
            }
        }
        Ok(())
    }

    fn create_runner(&mut self, runner: &Runner, token: TokenHash) {
        self.runner_tokens.insert(token, runner.id);
        self.runner_names.insert(runner.name.clone(), runner.id);
        self.runners.insert(runner.id, Arc::new(runner.clone()));
    }

    fn edit_runner(&mut self, id: RunnerId, edit: impl FnOnce(&mut Runner)) {
        if let Some(runner) = self.runners.get_mut(&id) {
            edit(Arc::make_mut(runner));
        }
    }

    fn rotate_runner(&mut self, id: RunnerId, token: TokenHash, last4: &str) {
        if self.runners.get(&id).is_none_or(|runner| runner.is_revoked()) {
            return;
        }
        self.runner_tokens.retain(|_, runner| *runner != id);
        self.runner_tokens.insert(token, id);
        self.edit_runner(id, |runner| last4.clone_into(&mut runner.token_hint.last4));
    }

    fn delete_runner(&mut self, id: RunnerId) {
        self.runner_tokens.retain(|_, runner| *runner != id);
        self.runner_names.retain(|_, runner| *runner != id);
        self.runners.remove(&id);
        for source in self.sources_of.remove(&id).unwrap_or_default() {
            remove_from(&mut self.runners_of, source, id);
        }
    }

    fn unassign(&mut self, runner: RunnerId, source: SourceId) {
        remove_from(&mut self.runners_of, source, runner);
        remove_from(&mut self.sources_of, runner, source);
    }

    fn delete_source(&mut self, id: SourceId) {
        self.source_names.retain(|_, source| *source != id);
        self.sources.remove(&id);
        for runner in self.runners_of.remove(&id).unwrap_or_default() {
            remove_from(&mut self.sources_of, runner, id);
        }
    }

    fn put_lens(&mut self, lens: &StoredLens) -> Result<(), StoreError> {
        let read = config::stored_lens(&lens.name, lens.source, lens.declared.clone());
        let read = read.ok_or(StoreError::Unreadable { what: "lens" })?;
        self.lenses.insert(lens.name.clone(), Arc::new(read));
        Ok(())
    }
}

fn remove_from<K: Hash + Eq, V: PartialEq>(lists: &mut HashMap<K, Vec<V>>, key: K, value: V) {
    if let Some(list) = lists.get_mut(&key) {
        list.retain(|other| *other != value);
        if list.is_empty() {
            lists.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;

    use super::*;
    use crate::audit::{Actor, AuditRow};
    use crate::capability::{Capability, CapabilitySet, Scope};
    use crate::config::Node;
    use crate::crypto::{MasterKey, Vault};
    use crate::model::{self, Credentials, Key, KeyId, KeyKind, Origin, Records, Source};
    use crate::store::Store;
    use crate::store::sqlite::SqliteStore;
    use crate::token::{TokenKind, hint};

    fn runner(name: &str) -> (Runner, TokenHash) {
        let runner = Runner {
            id: RunnerId::new(),
            name: name.to_owned(),
            labels: std::iter::once(("zone".to_owned(), name.to_owned())).collect(),
            capabilities: CapabilitySet::default(),
            token_hint: hint(TokenKind::Runner, name),
            created_at: model::now(),
            revoked_at: None,
            last_seen_at: None,
        };
        (runner, TokenHash::of(name))
    }

    fn source(name: &str) -> Source {
        Source {
            id: SourceId::new(),
            name: name.to_owned(),
            bridge: "@semilayer/bridge-sqlite".to_owned(),
            credentials: Credentials::RunnerLocal,
            timeout_ms: 1_000,
            origin: Origin::Api,
            created_at: model::now(),
            updated_at: model::now(),
        }
    }

    fn lens(name: &str, source: SourceId, table: &str) -> Mutation {
        let text = format!(r#"{{"source":"s","table":"{table}","fields":{{"id":{{"type":"number"}}}}}}"#);
        let declared: Node = serde_json::from_str(&text).unwrap();
        Mutation::PutLens(StoredLens { name: name.to_owned(), source, declared, updated_at: model::now() })
    }

    /// Every list in an order of its own, so that two pictures can be compared.
    fn sorted(snapshot: &Snapshot) -> String {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(snapshot.runners.values().map(|runner| format!("{runner:?}")));
        parts.extend(snapshot.runner_names.iter().map(|pair| format!("runner name {pair:?}")));
        parts.extend(snapshot.runner_tokens.iter().map(|pair| format!("runner token {pair:?}")));
        parts.extend(snapshot.sources.values().map(|source| format!("{source:?}")));
        parts.extend(snapshot.source_names.iter().map(|pair| format!("source name {pair:?}")));
        parts.extend(snapshot.lenses.values().map(|lens| format!("{lens:?}")));
        parts.extend(snapshot.keys.values().map(|key| format!("{key:?}")));
        parts.extend(snapshot.key_tokens.iter().map(|pair| format!("key token {pair:?}")));
        for (source, runners) in &snapshot.runners_of {
            parts.extend(runners.iter().map(|runner| format!("of source {source} {runner}")));
        }
        for (runner, sources) in &snapshot.sources_of {
            parts.extend(sources.iter().map(|source| format!("of runner {runner} {source}")));
        }
        parts.sort_unstable();
        parts.join("\n")
    }

    #[tokio::test]
    async fn every_mutation_leads_to_what_the_store_then_holds() {
        let folder = std::env::temp_dir().join(format!("semilayer-after-{}", uuid::Uuid::now_v7()));
        let store = SqliteStore::open(&folder.join("gateway.db")).await.unwrap();
        let vault = Arc::new(Vault::new(&MasterKey::generate().unwrap()).unwrap());
        let mut snapshot = Snapshot::new(Records::default(), Arc::clone(&vault));

        let (one, one_token) = runner("one");
        let (two, two_token) = runner("two");
        let (main, stock) = (source("main"), source("stock"));
        let key = Key {
            id: KeyId::new(),
            kind: KeyKind::Public,
            scopes: vec![Scope::Exec],
            name: "k".to_owned(),
            token_hint: hint(TokenKind::PublicKey, "pk_abcd"),
            created_at: model::now(),
            revoked_at: None,
        };
        let later = |seconds: i64| Timestamp::from_micros(model::now().micros() + seconds * 1_000_000);
        let managed = Credentials::Managed(
            vault.seal(main.id, &serde_json::from_str(r#"{"password":"x"}"#).unwrap()).unwrap(),
        );
        let changed = Source { credentials: managed, timeout_ms: 5, updated_at: later(5), ..main.clone() };
        let wider = Runner {
            capabilities: [Capability::Docker, Capability::ExecFull].into_iter().collect(),
            labels: std::iter::once(("zone".to_owned(), "else".to_owned())).collect(),
            ..one.clone()
        };
        let (one_id, two_id, main_id, stock_id, key_id) = (one.id, two.id, main.id, stock.id, key.id);
        for mutations in [
            vec![Mutation::CreateRunner(one, one_token), Mutation::CreateSource(main)],
            vec![Mutation::CreateRunner(two, two_token), Mutation::CreateSource(stock)],
            vec![Mutation::Assign(one_id, main_id), Mutation::Assign(one_id, stock_id)],
            vec![Mutation::Assign(two_id, main_id), Mutation::Assign(one_id, main_id)],
            vec![lens("l", main_id, "a"), lens("m", main_id, "b")],
            vec![lens("l", stock_id, "c"), Mutation::DeleteLens("m".to_owned())],
            vec![Mutation::UpdateSource(changed)],
            vec![Mutation::CreateKey(key, TokenHash::of("pk_abcd"))],
            vec![Mutation::UpdateRunner(wider)],
            vec![Mutation::RotateRunner(one_id, TokenHash::of("new"), "wxyz".to_owned())],
            vec![Mutation::Unassign(one_id, stock_id), Mutation::Unassign(one_id, stock_id)],
            vec![Mutation::RevokeKey(key_id, later(1)), Mutation::RevokeKey(key_id, later(2))],
            vec![Mutation::RevokeRunner(two_id, later(3)), Mutation::RevokeRunner(two_id, later(4))],
            vec![Mutation::DeleteSource(main_id)],
            vec![Mutation::DeleteRunner(one_id)],
        ] {
            let next = snapshot.after(&mutations).unwrap();
            let audit = AuditRow::new(Actor::Admin, "test", "ok", "r");
            store.apply(&mutations, &audit).await.unwrap();
            let reread = Snapshot::new(Store::records(&store).await.unwrap(), Arc::clone(&vault));
            assert_eq!(sorted(&next), sorted(&reread), "{mutations:?}");
            snapshot = next;
        }
        assert!(snapshot.runner_with(&one_token).is_err() && snapshot.authenticate_key("pk_abcd").is_err());
    }
}
