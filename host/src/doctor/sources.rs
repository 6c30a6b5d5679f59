//! Runner-local sources: opened and asked for real.

use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Call};
use futures::StreamExt;
use protocol::{AssignedSource, CredentialsLocation, SourceConfig};
use runtime::settings::Source as Environment;

use super::Check;
use crate::config::SourceSettings;
use crate::credentials;
use crate::error::{Failure, SourceProblem};
use crate::outcome::Outcome;
use crate::registry::{DriverRef, Registry};

/// Sources that are opened at the same time.
const AT_ONCE: usize = 4;

/// A runner-local source with its settings, or why it has none.
pub(crate) struct Subject {
    pub(crate) name: String,
    settings: Result<(DriverRef, SourceConfig), SourceProblem>,
    /// What its variables begin with, and the first of them.
    prefix: String,
    variable: String,
}

/// The runner-local sources, and what is to be said of names of variables.
pub(crate) struct Subjects {
    pub(crate) sources: Vec<Subject>,
    /// What works but should be changed.
    pub(crate) warnings: Vec<String>,
    /// Variables that belong to none of the assigned sources.
    pub(crate) strangers: Vec<String>,
}

/// The runner-local ones of `assigned`.
pub(crate) fn subjects(
    assigned: &[AssignedSource],
    registry: &Registry,
    settings: &SourceSettings,
    environment: &dyn Environment,
) -> Subjects {
    let mut resolved = credentials::resolve(assigned, registry, settings, environment);
    let local =
        assigned.iter().filter(|source| source.credentials_location == CredentialsLocation::RunnerLocal);
    let mut subjects = Vec::new();
    for source in local {
        let (Some(config), driver) = (resolved.sources.remove(&source.name), registry.find(&source.bridge))
        else {
            continue;
        };
        let prefix = credentials::prefix(&source.name, settings);
        let variable =
            driver.as_ref().map(|driver| credentials::hint(&source.name, settings, driver.manifest()));
        let found = match (config, driver) {
            (Ok(config), Some(driver)) => Ok((driver, config)),
            (Err(problem), _) => Err(problem),
            (Ok(_), None) => continue,
        };
        let variable = variable.unwrap_or_else(|| prefix.clone());
        subjects.push(Subject { name: source.name.clone(), settings: found, prefix, variable });
    }
    Subjects { sources: subjects, warnings: resolved.warnings, strangers: resolved.strangers }
}

/// Opens each source, asks it and closes it.
pub(crate) async fn check_sources(subjects: Subjects, settings: &SourceSettings) -> Vec<Check> {
    let mut checks: Vec<_> =
        subjects.warnings.iter().map(|warning| Check::warning("sources", warning)).collect();
    if subjects.sources.is_empty() {
        checks.push(Check::passed("sources", "no source keeps its settings on this runner"));
    }
    let limit = settings.connect_timeout;
    let found = futures::stream::iter(subjects.sources.into_iter().map(|subject| check(subject, limit)));
    checks.extend(found.buffered(AT_ONCE).collect::<Vec<_>>().await);
    checks
}

async fn check(subject: Subject, limit: Duration) -> Check {
    let name = format!("source {}", subject.name);
    let Subject { prefix, variable, .. } = &subject;
    match &subject.settings {
        Err(problem) => Check::failed(name, problem.to_string(), configure(problem, prefix)),
        Ok((driver, config)) => match ask(driver, config, limit).await {
            Ok(time) => Check::passed(name, format!("{} answered in {} ms", driver.name(), time.as_millis())),
            Err(failure) => {
                let scrubber = credentials::scrubber(config, driver.manifest());
                let outcome = Outcome::of(&failure, &scrubber);
                let detail = format!("{}: {}", outcome.code, outcome.message);
                Check::failed(name, detail, advice(&failure, driver, prefix, variable))
            }
        },
    }
}

/// The `test` job, without a gateway.
async fn ask(driver: &DriverRef, config: &SourceConfig, limit: Duration) -> Result<Duration, Failure> {
    let began = Instant::now();
    driver.check(config).map_err(BridgeError::from)?;
    let call = Call::within(limit);
    let opened = tokio::time::timeout(limit, driver.connect(config, &call)).await;
    let bridge = opened
        .unwrap_or(Err(BridgeError::Timeout))
        .map_err(|error| Failure::Connect(std::sync::Arc::new(error)))?;
    let answered = tokio::time::timeout(limit, bridge.test(&call)).await;
    bridge.close().await;
    answered.unwrap_or(Err(BridgeError::Timeout))?;
    Ok(began.elapsed())
}

/// What to do about a source without settings.
fn configure(problem: &SourceProblem, prefix: &str) -> String {
    match problem {
        SourceProblem::NotConfigured { .. } => format!(
            "set the variables {prefix}… in this runner's environment, or {prefix}…_FILE for a secret in a file; \
             `semilayer-runner bridges` lists them"
        ),
        // It may have been named at the gateway or on the command line.
        SourceProblem::UnknownBridge { .. } => {
            "correct the bridge's name, name the folder of its plugin with --plugin-dir (SEMILAYER_PLUGIN_DIR), or give the \
             source to a runner that has its bridge; `semilayer-runner bridges` lists those of this one"
                .to_owned()
        }
    }
}

fn advice(failure: &Failure, driver: &DriverRef, prefix: &str, variable: &str) -> String {
    let has_host = driver.manifest().field("host").is_some();
    match failure {
        Failure::Bridge(BridgeError::Config(_)) => {
            format!(
                "correct the variables {prefix}…; `semilayer-runner bridges` lists what {} takes",
                driver.name()
            )
        }
        _ if has_host => format!(
            "check host, port, user, password and TLS settings of this source ({prefix}…), and that this host may reach it"
        ),
        _ => format!("check {variable}, and that the user who runs this runner may read what it names"),
    }
}
