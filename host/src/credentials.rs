//! From assigned sources to settings that a bridge can open (control plane, section 2.6).
//!
//! A managed source takes what the gateway sent and nothing else. A runner-local source takes the runner's own variables
//! and nothing else: whatever the gateway sends for it is ignored and reported, because otherwise the gateway could send
//! the queries of a local source, or its password, to a database of its own.

mod fields;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};

use protocol::{AssignedSource, CredentialsLocation, Manifest, SourceConfig};
use runtime::settings::Source;

pub(crate) use secrets::scrubber;

use crate::config::{MANAGED_BRIDGES, SourceSettings};
use crate::environment::{Named, Ownership};
use crate::error::SourceProblem;
use crate::registry::Registry;

/// The settings of all assigned sources.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// By source name.
    pub(crate) sources: BTreeMap<String, Result<SourceConfig, SourceProblem>>,
    /// What works but should be changed. Names variables, never values.
    pub(crate) warnings: Vec<String>,
    /// Runner-local sources for which the gateway sent settings.
    pub(crate) overruled: Vec<String>,
    /// Variables that belong to no assigned source, not even to a misspelt one.
    pub(crate) strangers: Vec<String>,
}

/// Finds the settings of `assigned`. Reads secret files, otherwise without IO.
pub(crate) fn resolve(
    assigned: &[AssignedSource],
    registry: &Registry,
    settings: &SourceSettings,
    environment: &dyn Source,
) -> Resolved {
    let limits: Vec<_> = assigned.iter().map(|source| settings.limits(&source.name)).collect();
    let names: Vec<_> = assigned
        .iter()
        .zip(&limits)
        .map(|(source, limits)| Named {
            name: &source.name,
            local: is_local(source),
            env_prefix: limits.env_prefix.as_deref(),
        })
        .collect();
    let mut ownership = Ownership::of(&names, environment);
    let strangers = ownership.strangers.iter().filter(|stranger| stranger.meant.is_none());
    let mut resolved = Resolved {
        warnings: warnings(&ownership),
        strangers: strangers.map(|stranger| stranger.name.clone()).collect(),
        ..Resolved::default()
    };
    let mut seen = BTreeSet::new();
    for source in assigned {
        if !seen.insert(source.name.as_str()) {
            // Which of them would be meant? With one of each kind, the gateway's settings could pass for the runner's own.
            let problem = not_configured(source, "several sources of this name were assigned");
            resolved.sources.insert(source.name.clone(), Err(problem));
            continue;
        }
        let outcome = match registry.find(&source.bridge) {
            None => Err(unknown_bridge(source, registry)),
            Some(driver) if is_local(source) => {
                local(source, driver.manifest(), settings, &mut ownership, environment, &mut resolved)
            }
            Some(driver) => managed(source, driver.name(), settings),
        };
        resolved.sources.insert(source.name.clone(), outcome);
    }
    resolved
}

fn is_local(source: &AssignedSource) -> bool {
    match source.credentials_location {
        CredentialsLocation::RunnerLocal => true,
        CredentialsLocation::Managed => false,
    }
}

fn managed(
    source: &AssignedSource,
    bridge: &str,
    settings: &SourceSettings,
) -> Result<SourceConfig, SourceProblem> {
    if !settings.managed.allows(bridge) {
        let reason = format!("this runner takes no settings for {bridge} from a gateway ({MANAGED_BRIDGES})");
        return Err(not_configured(source, reason));
    }
    let missing = || not_configured(source, "the gateway sent no settings for it");
    source.config.clone().ok_or_else(missing)
}

fn local(
    source: &AssignedSource,
    manifest: &Manifest,
    settings: &SourceSettings,
    ownership: &mut Ownership,
    environment: &dyn Source,
    resolved: &mut Resolved,
) -> Result<SourceConfig, SourceProblem> {
    if source.config.is_some() {
        resolved.overruled.push(source.name.clone());
    }
    let variables = match ownership.owned.remove(&source.name) {
        Some(Ok(variables)) => variables,
        Some(Err(problem)) => return Err(not_configured(source, problem.to_string())),
        // Each local name has its share, and is asked for once.
        None => Vec::new(),
    };
    let reading = fields::read(&variables, manifest, environment);
    resolved.warnings.extend(reading.warnings);
    if settings.strict && !reading.ignored.is_empty() {
        let reason = format!("no field takes {}", reading.ignored.join(", "));
        return Err(not_configured(source, reason));
    }
    let unused = |name: &String| format!("{name} is ignored: {} has no such setting", manifest.package_name);
    resolved.warnings.extend(reading.ignored.iter().map(unused));
    if !reading.mistakes.is_empty() {
        return Err(not_configured(source, reading.mistakes.join("; ")));
    }
    if reading.config.expose().is_empty() {
        return Err(not_configured(source, format!("set {}", hint(&source.name, settings, manifest))));
    }
    Ok(reading.config)
}

/// What the variables of a source begin with.
pub(crate) fn prefix(name: &str, settings: &SourceSettings) -> String {
    let own = settings.limits(name).env_prefix;
    let own = own.unwrap_or_else(|| name.to_ascii_uppercase().replace('-', "_"));
    format!("{}{own}_", crate::environment::PREFIX)
}

/// The variable that a person should set first.
pub(crate) fn hint(name: &str, settings: &SourceSettings, manifest: &Manifest) -> String {
    let key = if manifest.supports_url {
        "URL".to_owned()
    } else {
        manifest.fields.first().map_or_else(|| "URL".to_owned(), |field| fields::upper(&field.key))
    };
    format!("{}{key}", prefix(name, settings))
}

fn warnings(ownership: &Ownership) -> Vec<String> {
    let ignored = ownership.ignored.iter().map(|name| {
        format!("the variables of source {name} are ignored: its settings are managed by the gateway")
    });
    let respelled = ownership.respelled.iter().map(|(name, prefix)| {
        let prefix = format!("{}{prefix}_", crate::environment::PREFIX);
        let own = name.to_ascii_uppercase().replace('-', "_");
        format!(
            "source {name} was found under {prefix}; its proper prefix is {}{own}_",
            crate::environment::PREFIX
        )
    });
    let misspelt = ownership.strangers.iter().filter_map(|stranger| {
        let (source, variable) = stranger.meant.as_ref()?;
        let name = &stranger.name;
        Some(format!("{name} belongs to no assigned source; for source {source} it must be {variable}"))
    });
    ignored.chain(respelled).chain(misspelt).collect()
}

fn unknown_bridge(source: &AssignedSource, registry: &Registry) -> SourceProblem {
    SourceProblem::UnknownBridge {
        name: source.name.clone(),
        bridge: source.bridge.clone(),
        available: registry.names().join(", "),
    }
}

fn not_configured(source: &AssignedSource, reason: impl Into<String>) -> SourceProblem {
    SourceProblem::NotConfigured { name: source.name.clone(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
