//! `test-source`: runs the `test` job of runner-local sources, without a job.

use std::io::Write;

use protocol::{AssignedSource, CredentialsLocation};
use runtime::Exit;
use runtime::settings::Source;

use super::doctor::report;
use super::{complain, refuse};
use crate::cli::Flags;
use crate::config::{Config, Loaded};
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
    let Loaded { config, .. } = match Config::load(flags, environment) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes),
    };
    let assigned = match (bridge, &name) {
        (Some(bridge), Some(name)) => vec![local(name, bridge)],
        (Some(_), None) => {
            complain("--bridge needs the name of the source that it is for");
            return Exit::Configuration;
        }
        (None, _) => {
            let Gateway { checks, assigned } = introduce(&config, registry).await;
            match assigned {
                Some(assigned) => assigned,
                None => return report(&checks, Exit::Failed, false, out),
            }
        }
    };
    // All take part in the sharing of variables, though only one may be asked for.
    let mut subjects = subjects(&assigned, registry, &config.sources, environment);
    if let Some(name) = &name {
        subjects.retain(|subject| subject.name == *name);
        if subjects.is_empty() {
            complain(&format!("{name} is not a runner-local source of this runner"));
            return Exit::Failed;
        }
    }
    report(&check_sources(subjects, &config.sources).await, Exit::Failed, false, out)
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
