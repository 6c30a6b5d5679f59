//! Keys of applications.

use std::sync::Arc;

use protocol::Secret;

use super::{By, Control, Staged, check_name, not_found, taken};
use crate::audit::action;
use crate::capability::Scope;
use crate::error::ControlError;
use crate::model::{self, Key, KeyId, KeyKind};
use crate::snapshot::{Change, Snapshot};
use crate::store::Mutation;
use crate::token;

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub kind: KeyKind,
    /// What it may do beside queries; nothing with a public key.
    pub scopes: Vec<Scope>,
}

impl Control {
    /// Makes a key. Its token is in the answer and nowhere else.
    pub async fn create_key(&self, by: &By, new: NewKey) -> Result<(Arc<Key>, Secret), ControlError> {
        check_name(&new.name)?;
        if new.kind == KeyKind::Public && !new.scopes.is_empty() {
            return Err(ControlError::invalid(
                "scopes",
                "none with a public key: everybody who opens the page has it",
            ));
        }
        let (turn, _) = self.begin().await;
        let minted = token::mint(new.kind.token_kind())?;
        let id = KeyId::new();
        let key = Key {
            id,
            kind: new.kind,
            scopes: new.scopes,
            name: new.name.clone(),
            token_hint: minted.hint,
            created_at: model::now(),
            revoked_at: None,
        };
        let change = Staged {
            action: action::KEY_CREATE,
            target: new.name.clone(),
            mutations: vec![Mutation::CreateKey(key, minted.hash)],
            news: vec![Change::Catalog],
        };
        let snapshot = self.commit(&turn, by, change).await.map_err(taken("key", &new.name))?;
        let key = snapshot.key(id).cloned().ok_or_else(|| not_found("key", &new.name))?;
        Ok((key, minted.token))
    }

    /// Ends a key for good, and what was asked with it. Revoking twice is no mistake; the first time counts.
    pub async fn revoke_key(&self, by: &By, key: &str) -> Result<Arc<Key>, ControlError> {
        let (turn, snapshot) = self.begin().await;
        let existing = find(&snapshot, key)?;
        let change = Staged {
            action: action::KEY_REVOKE,
            target: existing.name.clone(),
            mutations: vec![Mutation::RevokeKey(existing.id, model::now())],
            news: vec![Change::KeyRevoked(existing.id)],
        };
        let snapshot = self.commit(&turn, by, change).await?;
        snapshot.key(existing.id).cloned().ok_or_else(|| not_found("key", key))
    }
}

/// By id, or the live key of that name.
fn find(snapshot: &Snapshot, key: &str) -> Result<Arc<Key>, ControlError> {
    let by_id = key.parse().ok().and_then(|id| snapshot.key(id));
    let named = || snapshot.keys().find(|other| other.name == key && other.revoked_at.is_none());
    by_id.or_else(named).cloned().ok_or_else(|| not_found("key", key))
}
