//! `test-source`: runs the `test` job of runner-local sources, without a job.

use std::io::Write;

use protocol::{AssignedSource, CredentialsLocation};
use runtime::Exit;
use runtime::settings::Source;
use runtime::spelling::closest;

use super::doctor::report;
use super::{bring_plugins, complain, refuse};
use crate::cli::Flags;
use crate::config::{Config, Loaded, load_sources};
use crate::doctor::{Gateway, check_sources, introduce, subjects};
use crate::registry::Registry;

/// `name` is the source to test, all of them without. With `bridge` no gateway is asked.
pub(super) async fn run(
    flags: &Flags,
    environment: &dyn Source,
    registry: &Registry,
    name: Option<String>,
    bridge: Option<String>,
    out: &mut (dyn Write + Send),
) -> Exit {
    let settings = match bridge {
        Some(_) => load_sources(flags, environment).map(|(plugins, sources)| (plugins, sources, None)),
        None => Config::load(flags, environment)
            .map(|Loaded { config, .. }| (config.plugins.clone(), config.sources.clone(), Some(config))),
    };
    let (plugins, sources, config) = match settings {
        Ok(settings) => settings,
        Err(mistakes) => return refuse(&mistakes),
    };
    let plugins = match bring_plugins(&plugins, registry).await {
        Ok(plugins) => plugins,
        Err(exit) => return exit,
    };
    for (file, reason) in plugins.problems() {
        complain(&format!("plugin {file}: {reason}"));
    }
    let assigned = match (bridge, &name, config) {
        (Some(bridge), Some(name), _) => vec![local(name, bridge)],
        (Some(_), None, _) | (None, _, None) => {
            complain(&"--bridge needs the name of the source that it is for");
            return Exit::Configuration;
        }
        (None, _, Some(config)) => {
            let Gateway { checks, assigned } = introduce(&config, registry).await;
            match assigned {
                Some(assigned) => assigned,
                None => return report(&checks, Exit::Failed, false, out),
            }
        }
    };
    // All take part in the sharing of variables, though only one may be asked for.
    let mut subjects = subjects(&assigned, registry, &sources, environment);
    if let Some(name) = &name {
        if !subjects.sources.iter().any(|subject| subject.name == *name) {
            complain(&not_here(name, &assigned));
            return Exit::Failed;
        }
        subjects.sources.retain(|subject| subject.name == *name);
    }
    report(&check_sources(subjects, &sources).await, Exit::Failed, false, out)
}

/// Why a source cannot be tested on this runner.
fn not_here(name: &str, assigned: &[AssignedSource]) -> String {
    if assigned.iter().any(|source| source.name == name) {
        return format!(
            "the settings of source {name} are the gateway's and not this runner's; test it there: \
             semilayer-gateway sources test {name}"
        );
    }
    let names: Vec<&str> = assigned.iter().map(|source| source.name.as_str()).collect();
    match (names.as_slice(), closest(name, &names)) {
        ([], _) => format!("no source is assigned to this runner, and so {name} is not"),
        (_, Some(meant)) => format!("no source {name} is assigned to this runner; did you mean {meant}?"),
        (names, None) => format!("no source {name} is assigned to this runner; it has {}", names.join(", ")),
    }
}

fn local(name: &str, bridge: String) -> AssignedSource {
    AssignedSource {
        id: name.to_owned(),
        name: name.to_owned(),
        bridge,
        credentials_location: CredentialsLocation::RunnerLocal,
        config: None,
    }
}
