//! Sources that operators make and change by hand.

use std::sync::Arc;

use protocol::{CredentialsLocation, SourceConfig};
use serde_json::{Map, Value};

use super::{By, Control, Staged, check_name, not_found, taken};
use crate::audit::action;
use crate::config;
use crate::error::{ControlError, StoreError};
use crate::model::{self, Credentials, DEFAULT_TIMEOUT_MS, Origin, Source, SourceId};
use crate::names;
use crate::snapshot::{Change, Snapshot};
use crate::store::Mutation;

/// A day.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// A source to be made.
#[derive(Debug, Clone)]
pub struct NewSource {
    /// Its name.
    pub name: String,
    /// The bridge, by package name or short form.
    pub bridge: String,
    /// Where its credentials are; managed when not said.
    pub location: Option<CredentialsLocation>,
    /// The bridge's settings; not for runner-local sources.
    pub config: Option<SourceConfig>,
    /// How long a job may take, in milliseconds; 30 seconds when not said.
    pub timeout_ms: Option<u64>,
}

/// What becomes different about a source; what is not said stays.
#[derive(Debug, Clone, Default)]
pub struct SourceChange {
    /// The bridge.
    pub bridge: Option<String>,
    /// Where its credentials are. A switch to runner-local wipes those that are here.
    pub location: Option<CredentialsLocation>,
    /// The bridge's settings, in place of all that are here.
    pub config: Option<SourceConfig>,
    /// Settings that join those that are here (RFC 7396): a null takes one away.
    pub patch: Option<SourceConfig>,
    /// How long a job may take, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// A source after a change.
#[derive(Debug, Clone)]
pub struct ChangedSource {
    /// As it is now.
    pub source: Arc<Source>,
    /// What is different now, settings by name alone. Empty when all was so before.
    pub changes: Vec<String>,
}

impl Control {
    /// Makes a source.
    pub async fn create_source(&self, by: &By, new: NewSource) -> Result<Arc<Source>, ControlError> {
        check_name(&new.name)?;
        check_settings("config", new.config.as_ref())?;
        let bridge = package(&new.bridge)?;
        let timeout_ms = timeout(new.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS))?;
        let (turn, _) = self.begin().await;
        let id = SourceId::new();
        let location = new.location.unwrap_or(CredentialsLocation::Managed);
        let now = model::now();
        let source = Source {
            id,
            name: new.name,
            bridge,
            credentials: self.credentials(id, location, new.config, None)?,
            timeout_ms,
            origin: Origin::Api,
            created_at: now,
            updated_at: now,
        };
        let name = source.name.clone();
        let change = Staged {
            action: action::SOURCE_CREATE,
            target: name.clone(),
            mutations: vec![Mutation::CreateSource(source)],
            news: vec![Change::Catalog],
        };
        let snapshot = self.commit(&turn, by, change).await.map_err(taken("source", &name))?;
        find(&snapshot, &id.to_string())
    }

    /// Changes a source; its runners are told.
    pub async fn update_source(
        &self,
        by: &By,
        source: &str,
        change: SourceChange,
    ) -> Result<ChangedSource, ControlError> {
        check_settings("config", change.config.as_ref())?;
        check_settings("configPatch", change.patch.as_ref())?;
        let bridge = change.bridge.as_deref().map(package).transpose()?;
        let timeout_ms = change.timeout_ms.map(timeout).transpose()?;
        let (turn, snapshot) = self.begin().await;
        let existing = find(&snapshot, source)?;
        let location = change.location.unwrap_or_else(|| existing.credentials.location());
        let config = match (change.config, change.patch) {
            (Some(_), Some(_)) => return Err(ControlError::invalid("configPatch", "nothing beside config")),
            (None, Some(patch)) if location == CredentialsLocation::Managed => {
                Some(merged(snapshot.managed_config(&existing)?.unwrap_or_default(), patch))
            }
            (config, patch) => config.or(patch),
        };
        let updated = Source {
            bridge: bridge.unwrap_or_else(|| existing.bridge.clone()),
            credentials: self.credentials(existing.id, location, config, Some(&existing.credentials))?,
            timeout_ms: timeout_ms.unwrap_or(existing.timeout_ms),
            updated_at: model::now(),
            ..Source::clone(&existing)
        };
        let changes = differences(&snapshot, &existing, &updated)?;
        let change = Staged {
            action: action::SOURCE_UPDATE,
            target: existing.name.clone(),
            mutations: vec![Mutation::UpdateSource(updated)],
            news: vec![Change::Catalog, Change::Assignments(snapshot.runners_of(existing.id).to_vec())],
        };
        let snapshot = self.commit(&turn, by, change).await?;
        Ok(ChangedSource { source: find(&snapshot, &existing.id.to_string())?, changes })
    }

    /// Forgets a source that no lens reads.
    pub async fn delete_source(&self, by: &By, source: &str) -> Result<(), ControlError> {
        let (turn, snapshot) = self.begin().await;
        let existing = find(&snapshot, source)?;
        let in_use = ControlError::Conflict(format!(
            "the source {:?} is read by a lens; push a config without that lens first",
            existing.name
        ));
        let change = Staged {
            action: action::SOURCE_DELETE,
            target: existing.name.clone(),
            mutations: vec![Mutation::DeleteSource(existing.id)],
            news: vec![Change::Catalog, Change::Assignments(snapshot.runners_of(existing.id).to_vec())],
        };
        match self.commit(&turn, by, change).await {
            Err(ControlError::Store(StoreError::InUse { .. })) => Err(in_use),
            done => done.map(drop),
        }
    }

    /// The credentials that a source has afterwards.
    fn credentials(
        &self,
        id: SourceId,
        location: CredentialsLocation,
        config: Option<SourceConfig>,
        kept: Option<&Credentials>,
    ) -> Result<Credentials, ControlError> {
        let config =
            config.filter(|config| location == CredentialsLocation::Managed || !config.expose().is_empty());
        match (location, config, kept) {
            (CredentialsLocation::RunnerLocal, Some(_), _) => {
                let expected =
                    "no settings for a runner-local source: they are in the environment of its runners";
                Err(ControlError::invalid("config", expected))
            }
            (CredentialsLocation::RunnerLocal, None, _) => Ok(Credentials::RunnerLocal),
            (CredentialsLocation::Managed, None, Some(kept @ Credentials::Managed(_))) => Ok(kept.clone()),
            (CredentialsLocation::Managed, config, _) => {
                Ok(Credentials::Managed(self.vault.seal(id, &config.unwrap_or_default())?))
            }
        }
    }
}

/// What differs, settings by name alone.
fn differences(snapshot: &Snapshot, before: &Source, after: &Source) -> Result<Vec<String>, ControlError> {
    let mut changes = config::source_differences(before, after);
    let settings = |source| Ok::<_, ControlError>(snapshot.managed_config(source)?.unwrap_or_default());
    changes.extend(config::changed_settings(&settings(before)?, &settings(after)?));
    Ok(changes)
}

/// `patch` over `kept`: objects join, a null takes away, anything else takes the place of what was there.
fn merged(kept: SourceConfig, patch: SourceConfig) -> SourceConfig {
    let mut fields = kept.expose().clone();
    merge(&mut fields, patch.expose());
    SourceConfig::new(fields)
}

fn merge(fields: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(fields.remove(name)),
            Value::Object(inner) => {
                let field = fields.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !field.is_object() {
                    *field = Value::Object(Map::new());
                }
                if let Value::Object(field) = field {
                    merge(field, inner);
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Which settings a bridge has is not known here; what can be none of any bridge is refused.
fn check_settings(field: &str, config: Option<&SourceConfig>) -> Result<(), ControlError> {
    match config.into_iter().flat_map(SourceConfig::names).find(|name| !names::is_setting(name)) {
        Some(name) => {
            let shown: String = name.chars().take(100).collect();
            Err(ControlError::invalid(format!("{field}.{shown:?}"), names::SETTING))
        }
        None => Ok(()),
    }
}

fn find(snapshot: &Snapshot, source: &str) -> Result<Arc<Source>, ControlError> {
    snapshot.find_source(source).cloned().ok_or_else(|| not_found("source", source))
}

fn package(bridge: &str) -> Result<String, ControlError> {
    names::package(bridge).ok_or_else(|| ControlError::invalid("bridge", names::PACKAGE))
}

fn timeout(millis: u64) -> Result<u64, ControlError> {
    if (1..=MAX_TIMEOUT_MS).contains(&millis) {
        return Ok(millis);
    }
    Err(ControlError::invalid("timeoutMs", format!("milliseconds from 1 to {MAX_TIMEOUT_MS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_joins_what_is_there_and_a_null_takes_away() {
        let config = |json: &str| serde_json::from_str::<SourceConfig>(json).unwrap();
        let kept = config(r#"{"host":"db","password":"x","pool":{"max":3,"idle":1},"ssl":true}"#);
        let patch = config(
            r#"{"port":5432,"password":null,"pool":{"max":5,"idle":null},"ssl":{"ca":"c"},"gone":null}"#,
        );
        let expected = config(r#"{"host":"db","port":5432,"pool":{"max":5},"ssl":{"ca":"c"}}"#);
        assert_eq!(merged(kept, patch), expected);
    }
}
