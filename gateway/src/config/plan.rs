//! What a config changes: compared with a snapshot, it becomes mutations and a diff.

use protocol::{CredentialsLocation, SourceConfig};
use runtime::spelling::closest;

use super::diff::differences;
use super::{ChangeKind, Config, DeclaredLens, DeclaredSource, Diff, DiffEntry, Node};
use crate::error::{ConfigMistake, ConfigMistakes, ControlError, CryptoError};
use crate::model::{self, Credentials, DEFAULT_TIMEOUT_MS, Origin, RunnerId, Source, SourceId};
use crate::snapshot::Snapshot;
use crate::store::{Mutation, StoredLens};

/// What to do, and what to say about it.
#[derive(Debug, Default)]
pub struct Plan {
    /// The changes, in an order in which each finds what it refers to.
    pub mutations: Vec<Mutation>,
    /// The same for people.
    pub diff: Diff,
    /// Runners that have other sources afterwards.
    pub runners: Vec<RunnerId>,
}

/// Compares `config` with `snapshot`. Mistakes are those that only show in the comparison: a lens on a source that is not
/// there, settings for a source whose settings are on its runners.
pub fn plan(config: &Config, snapshot: &Snapshot) -> Result<Plan, ControlError> {
    let mut planner = Planner { snapshot, plan: Plan::default(), sources: Vec::new(), mistakes: Vec::new() };
    if let Some(sources) = &config.sources {
        planner.sources(sources)?;
    }
    if let Some(lenses) = &config.lenses {
        planner.lenses(lenses);
    }
    if config.sources.is_some() {
        planner.remove_sources(config);
    }
    if !planner.mistakes.is_empty() {
        return Err(ConfigMistakes(planner.mistakes).into());
    }
    planner.plan.runners.sort_unstable();
    planner.plan.runners.dedup();
    Ok(planner.plan)
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    plan: Plan,
    /// The sources of the config with their ids.
    sources: Vec<(String, SourceId)>,
    mistakes: Vec<ConfigMistake>,
}

impl Planner<'_> {
    fn sources(&mut self, sources: &[DeclaredSource]) -> Result<(), CryptoError> {
        for declared in sources {
            let id = match self.snapshot.source_named(&declared.name) {
                Some(existing) => {
                    self.change_source(existing, declared)?;
                    existing.id
                }
                None => self.add_source(declared)?,
            };
            self.sources.push((declared.name.clone(), id));
        }
        Ok(())
    }

    fn add_source(&mut self, declared: &DeclaredSource) -> Result<SourceId, CryptoError> {
        let id = SourceId::new();
        let now = model::now();
        let credentials = match declared.location.unwrap_or(CredentialsLocation::Managed) {
            CredentialsLocation::RunnerLocal => Credentials::RunnerLocal,
            CredentialsLocation::Managed => {
                let config = declared.config.clone().unwrap_or_default();
                Credentials::Managed(self.snapshot.vault().seal(id, &config)?)
            }
        };
        self.plan.diff.sources.push(DiffEntry::new(&declared.name, ChangeKind::Added, Vec::new()));
        self.plan.mutations.push(Mutation::CreateSource(Source {
            id,
            name: declared.name.clone(),
            bridge: declared.bridge.clone(),
            credentials,
            timeout_ms: declared.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS),
            origin: Origin::Config,
            created_at: now,
            updated_at: now,
        }));
        Ok(id)
    }

    fn change_source(&mut self, existing: &Source, declared: &DeclaredSource) -> Result<(), CryptoError> {
        let mut details = Vec::new();
        let credentials = self.credentials(existing, declared, &mut details)?;
        let timeout_ms = declared.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
        let updated = Source {
            bridge: declared.bridge.clone(),
            credentials,
            timeout_ms,
            updated_at: model::now(),
            ..existing.clone()
        };
        details.extend(source_differences(existing, &updated));
        if details.is_empty() {
            return Ok(());
        }
        self.plan.diff.sources.push(DiffEntry::new(&existing.name, ChangeKind::Changed, details));
        self.plan.runners.extend(self.snapshot.runners_of(existing.id));
        self.plan.mutations.push(Mutation::UpdateSource(updated));
        Ok(())
    }

    fn credentials(
        &mut self,
        existing: &Source,
        declared: &DeclaredSource,
        details: &mut Vec<String>,
    ) -> Result<Credentials, CryptoError> {
        let before = existing.credentials.location();
        let after = declared.location.unwrap_or(before);
        match (after, &declared.config) {
            (CredentialsLocation::RunnerLocal, None) => Ok(Credentials::RunnerLocal),
            (CredentialsLocation::RunnerLocal, Some(_)) => {
                // A config that says runner-local was refused before; this one says nothing.
                self.mistake(
                    format!("sources.{}", existing.name),
                    "its settings are on its runners; say credentialsLocation: managed to keep them here",
                );
                Ok(Credentials::RunnerLocal)
            }
            (CredentialsLocation::Managed, None) => match &existing.credentials {
                kept @ Credentials::Managed(_) => Ok(kept.clone()),
                Credentials::RunnerLocal => self.seal(existing.id, &SourceConfig::default()),
            },
            (CredentialsLocation::Managed, Some(config)) => {
                let kept = self.snapshot.managed_config(existing)?.unwrap_or_default();
                if kept == *config && before == after {
                    return Ok(existing.credentials.clone());
                }
                details.extend(changed_settings(&kept, config));
                self.seal(existing.id, config)
            }
        }
    }

    fn seal(&self, id: SourceId, config: &SourceConfig) -> Result<Credentials, CryptoError> {
        self.snapshot.vault().seal(id, config).map(Credentials::Managed)
    }

    fn lenses(&mut self, lenses: &[DeclaredLens]) {
        for declared in lenses {
            let Some(source) = self.source_of(declared) else {
                let known: Vec<&str> = self.sources.iter().map(|(name, _)| name.as_str()).collect();
                let message = no_source(&declared.source, known, self.snapshot);
                self.mistake(format!("lenses.{}.source", declared.name), &message);
                continue;
            };
            self.put_lens(declared, source);
        }
        let removed = self.snapshot.lenses().filter(|lens| !lenses.iter().any(|kept| kept.name == lens.name));
        let mut removed: Vec<String> = removed.map(|lens| lens.name.clone()).collect();
        removed.sort_unstable();
        for name in removed {
            self.plan.diff.lenses.push(DiffEntry::new(&name, ChangeKind::Removed, Vec::new()));
            self.plan.mutations.push(Mutation::DeleteLens(name));
        }
    }

    fn put_lens(&mut self, declared: &DeclaredLens, source: SourceId) {
        match self.snapshot.lens(&declared.name) {
            None => {
                self.plan.diff.lenses.push(DiffEntry::new(&declared.name, ChangeKind::Added, Vec::new()));
            }
            Some(existing) if existing.declared == declared.declared && existing.source == source => return,
            Some(existing) => {
                let details = differences(&existing.declared, &declared.declared);
                self.plan.diff.lenses.push(DiffEntry::new(&declared.name, ChangeKind::Changed, details));
            }
        }
        self.plan.mutations.push(Mutation::PutLens(StoredLens {
            name: declared.name.clone(),
            source,
            declared: declared.declared.clone(),
            updated_at: model::now(),
        }));
    }

    fn source_of(&self, lens: &DeclaredLens) -> Option<SourceId> {
        let declared = self.sources.iter().find(|(name, _)| *name == lens.source).map(|(_, id)| *id);
        declared.or_else(|| self.snapshot.source_named(&lens.source).map(|source| source.id))
    }

    /// Sources that a push has made and that this one does not name. A lens that stays must not lose its source.
    fn remove_sources(&mut self, config: &Config) {
        let mut removed: Vec<&Source> = self
            .snapshot
            .sources()
            .map(AsRef::as_ref)
            .filter(|source| source.origin == Origin::Config)
            .filter(|source| !self.sources.iter().any(|(name, _)| *name == source.name))
            .collect();
        removed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for source in removed {
            let needed = self.lens_that_needs(source, config);
            if let Some(lens) = needed {
                let message =
                    format!("source {} is not in the config's sources and would be removed", source.name);
                self.mistake(format!("lenses.{lens}.source"), &message);
                continue;
            }
            self.plan.diff.sources.push(DiffEntry::new(&source.name, ChangeKind::Removed, Vec::new()));
            self.plan.runners.extend(self.snapshot.runners_of(source.id));
            self.plan.mutations.push(Mutation::DeleteSource(source.id));
        }
    }

    fn lens_that_needs(&self, source: &Source, config: &Config) -> Option<String> {
        match &config.lenses {
            Some(lenses) => {
                lenses.iter().find(|lens| lens.source == source.name).map(|lens| lens.name.clone())
            }
            None => {
                self.snapshot.lenses().find(|lens| lens.source == source.id).map(|lens| lens.name.clone())
            }
        }
    }

    fn mistake(&mut self, path: String, message: &str) {
        self.mistakes.push(ConfigMistake { path, message: message.to_owned() });
    }
}

/// The sources that lenses of a document name and that are nowhere. A document with other mistakes is never compared, and
/// these are to be told together with those.
pub fn unknown_sources(document: &Node, snapshot: &Snapshot) -> Vec<ConfigMistake> {
    let entries = |key| document.get(key).and_then(Node::entries).unwrap_or_default();
    let declared: Vec<&str> = entries("sources").iter().map(|(name, _)| name.as_str()).collect();
    let unknown = |(lens, node): &(String, Node)| {
        let source = node.get("source")?.text()?;
        let known = declared.contains(&source) || snapshot.source_named(source).is_some();
        let message = || no_source(source, declared.clone(), snapshot);
        (!known).then(|| ConfigMistake { path: format!("lenses.{lens}.source"), message: message() })
    };
    entries("lenses").iter().filter_map(unknown).collect()
}

fn no_source(name: &str, declared: Vec<&str>, snapshot: &Snapshot) -> String {
    let mut known = declared;
    known.extend(snapshot.sources().map(|source| source.name.as_str()));
    let hint = closest(name, &known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    format!("there is no source of that name, neither in the config nor in place{hint}")
}

/// How a source differs apart from its settings.
pub(crate) fn source_differences(before: &Source, after: &Source) -> Vec<String> {
    let mut details = Vec::new();
    let (old, new) = (before.credentials.location(), after.credentials.location());
    if old != new {
        details.push(format!("credentialsLocation: {} → {}", word(old), word(new)));
    }
    if before.bridge != after.bridge {
        details.push(format!("bridge: {} → {}", before.bridge, after.bridge));
    }
    if before.timeout_ms != after.timeout_ms {
        details.push(format!("timeout: {} → {}", before.timeout_ms, after.timeout_ms));
    }
    details
}

/// Which settings differ, by name alone.
pub(crate) fn changed_settings(before: &SourceConfig, after: &SourceConfig) -> Vec<String> {
    let (before, after) = (before.expose(), after.expose());
    let mut details: Vec<String> = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .map(|(key, _)| {
            format!("config.{key}: {}", if before.contains_key(key) { "changed" } else { "added" })
        })
        .collect();
    details.extend(
        before.keys().filter(|key| !after.contains_key(*key)).map(|key| format!("config.{key}: removed")),
    );
    details
}

const fn word(location: CredentialsLocation) -> &'static str {
    match location {
        CredentialsLocation::Managed => "managed",
        CredentialsLocation::RunnerLocal => "runner-local",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Format, check, parse};
    use crate::crypto::{MasterKey, Vault};
    use crate::model::Records;

    /// What is in place after the pushes so far.
    struct InPlace(Records, Arc<Vault>);

    impl InPlace {
        fn nothing() -> Self {
            Self(Records::default(), Arc::new(Vault::new(&MasterKey::generate().unwrap()).unwrap()))
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot::new(self.0.clone(), Arc::clone(&self.1))
        }

        fn plan(&self, json: &str) -> Result<Plan, ControlError> {
            plan(&check(&parse(json, Format::Json).unwrap()).unwrap(), &self.snapshot())
        }

        fn push(&mut self, json: &str) -> String {
            let plan = self.plan(json).unwrap();
            for mutation in plan.mutations {
                self.apply(mutation);
            }
            plan.diff.to_string()
        }

        fn apply(&mut self, mutation: Mutation) {
            match mutation {
                Mutation::CreateSource(source) => self.0.sources.push(source),
                Mutation::UpdateSource(source) => {
                    self.0.sources.retain(|other| other.id != source.id);
                    self.0.sources.push(source);
                }
                Mutation::DeleteSource(id) => self.0.sources.retain(|source| source.id != id),
                Mutation::PutLens(lens) => {
                    self.0.lenses.retain(|other| other.name != lens.name);
                    let lens = crate::config::stored_lens(&lens.name, lens.source, lens.declared).unwrap();
                    self.0.lenses.push(lens);
                }
                Mutation::DeleteLens(name) => self.0.lenses.retain(|lens| lens.name != name),
                other => panic!("a push does not do this: {other:?}"),
            }
        }
    }

    fn config(timeout: u64, password: &str, lens: &str) -> String {
        format!(
            r#"{{"sources":{{"main":{{"bridge":"postgres","timeout":{timeout},"password":"{password}"}}}},
                "lenses":{{"{lens}":{{"source":"main","table":"t","fields":{{"id":{{"type":"number"}}}}}}}}}}"#
        )
    }

    #[test]
    fn the_same_config_again_changes_nothing() {
        let mut place = InPlace::nothing();
        assert_eq!(place.push(&config(5, "hunter2", "l")), "+ source main\n+ lens l\n");
        assert_eq!(place.push(&config(5, "hunter2", "l")), "nothing to change\n");
    }

    #[test]
    fn a_changed_password_is_named_and_not_shown() {
        let mut place = InPlace::nothing();
        place.push(&config(5, "hunter2", "l"));
        let diff = place.push(&config(6, "hunter3", "other"));
        assert_eq!(
            diff,
            "~ source main\n    config.password: changed\n    timeout: 5 → 6\n+ lens other\n- lens l\n"
        );
        let snapshot = place.snapshot();
        let source = snapshot.source_named("main").unwrap();
        let kept = snapshot.managed_config(source).unwrap().unwrap();
        assert_eq!(kept.expose()["password"], "hunter3");
    }

    #[test]
    fn a_push_without_settings_keeps_those_that_are_here() {
        let mut place = InPlace::nothing();
        place.push(&config(5, "hunter2", "l"));
        let diff = place.push(r#"{"sources":{"main":{"bridge":"postgres","timeout":5}}}"#);
        assert_eq!(diff, "nothing to change\n");
    }

    #[test]
    fn a_switch_to_runner_local_wipes_the_settings() {
        let mut place = InPlace::nothing();
        place.push(&config(5, "hunter2", "l"));
        place.push(
            r#"{"sources":{"main":{"bridge":"postgres","timeout":5,"credentialsLocation":"runner-local"}}}"#,
        );
        assert_eq!(place.0.sources[0].credentials, Credentials::RunnerLocal);
        let refused = place.plan(&config(5, "hunter2", "l")).unwrap_err();
        assert!(format!("{refused:?}").contains("its settings are on its runners"), "{refused:?}");
    }

    #[test]
    fn a_push_removes_the_sources_that_pushes_made_and_no_others() {
        let mut place = InPlace::nothing();
        place.push(&config(5, "x", "l"));
        let made_by_hand = Source {
            id: SourceId::new(),
            name: "by-hand".to_owned(),
            origin: Origin::Api,
            ..place.0.sources[0].clone()
        };
        place.0.sources.push(made_by_hand);
        assert_eq!(place.push(r#"{"sources":{},"lenses":{}}"#), "- source main\n- lens l\n");
        assert_eq!(place.0.sources.len(), 1);
        let lens = r#"{"lenses":{"l":{"source":"by-hand","table":"t","fields":{"id":{"type":"number"}}}}}"#;
        assert_eq!(place.push(lens), "+ lens l\n");
    }

    #[test]
    fn a_source_that_a_lens_needs_is_not_removed() {
        let mut place = InPlace::nothing();
        place.push(&config(5, "x", "l"));
        for json in [
            r#"{"sources":{}}"#,
            r#"{"sources":{},"lenses":{"l":{"source":"main","table":"t","fields":{"id":{"type":"number"}}}}}"#,
        ] {
            let refused = place.plan(json).unwrap_err();
            assert!(format!("{refused:?}").contains("lenses.l.source"), "{refused:?}");
        }
    }

    #[test]
    fn a_lens_on_a_source_that_is_nowhere_is_refused() {
        let json = r#"{"lenses":{"l":{"source":"nope","table":"t","fields":{"id":{"type":"number"}}}}}"#;
        let refused = InPlace::nothing().plan(json).unwrap_err();
        assert!(format!("{refused:?}").contains("lenses.l.source"), "{refused:?}");
    }

    #[test]
    fn unknown_sources_are_found_in_a_document_with_other_mistakes() {
        let mut place = InPlace::nothing();
        place.push(r#"{"sources":{"warehouse":{"bridge":"sqlite"}}}"#);
        let document = r#"{"sources":{"shop":{"bridge":7}},"lenses":{"a":{"source":"shopp"},"b":{"source":"shop"},
            "c":{"source":"warehouse"},"d":{"source":"nowhere"},"e":{"source":7}}}"#;
        let found = unknown_sources(&parse(document, Format::Json).unwrap(), &place.snapshot());
        let found: Vec<_> = found.iter().map(|found| (found.path.as_str(), found.message.as_str())).collect();
        let nowhere = "there is no source of that name, neither in the config nor in place";
        assert_eq!(
            found,
            [
                ("lenses.a.source", format!("{nowhere}; did you mean shop?").as_str()),
                ("lenses.d.source", nowhere)
            ]
        );
    }
}
