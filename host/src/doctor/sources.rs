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
    warnings: Vec<String>,
}

/// The runner-local ones of `assigned`.
pub(crate) fn subjects(
    assigned: &[AssignedSource],
    registry: &Registry,
    settings: &SourceSettings,
    environment: &dyn Environment,
) -> Vec<Subject> {
    let mut resolved = credentials::resolve(assigned, registry, settings, environment);
    let local =
        assigned.iter().filter(|source| source.credentials_location == CredentialsLocation::RunnerLocal);
    let mut subjects = Vec::new();
    for source in local {
        let (Some(config), driver) = (resolved.sources.remove(&source.name), registry.find(&source.bridge))
        else {
            continue;
        };
        let settings = match (config, driver) {
            (Ok(config), Some(driver)) => Ok((driver.clone(), config)),
            (Err(problem), _) => Err(problem),
            (Ok(_), None) => continue,
        };
        subjects.push(Subject { name: source.name.clone(), settings, warnings: Vec::new() });
    }
    // Warnings are about names, so they are told once and not with each source.
    if let Some(first) = subjects.first_mut() {
        first.warnings = resolved.warnings;
    }
    subjects
}

/// Opens each source, asks it and closes it.
pub(crate) async fn check_sources(subjects: Vec<Subject>, settings: &SourceSettings) -> Vec<Check> {
    if subjects.is_empty() {
        return vec![Check::passed("sources", "no source keeps its settings on this runner")];
    }
    let limit = settings.connect_timeout;
    let checks = futures::stream::iter(subjects.into_iter().map(|subject| check(subject, limit)));
    checks.buffered(AT_ONCE).collect::<Vec<_>>().await.concat()
}

async fn check(subject: Subject, limit: Duration) -> Vec<Check> {
    let name = format!("source {}", subject.name);
    let mut checks: Vec<_> =
        subject.warnings.iter().map(|warning| Check::warning("sources", warning)).collect();
    checks.push(match subject.settings {
        Err(problem) => Check::failed(name, problem.to_string(), "set the variables of this source"),
        Ok((driver, config)) => match ask(&driver, &config, limit).await {
            Ok(time) => Check::passed(name, format!("{} answered in {} ms", driver.name(), time.as_millis())),
            Err(failure) => {
                let scrubber = credentials::scrubber(&config, driver.manifest());
                let outcome = Outcome::of(&failure, &scrubber);
                let detail = format!("{}: {}", outcome.code, outcome.message);
                Check::failed(name, detail, advice(&failure))
            }
        },
    });
    checks
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

fn advice(failure: &Failure) -> &'static str {
    match failure {
        Failure::Bridge(BridgeError::Config(_)) => "correct the variables of this source",
        _ => {
            "check host, port, user, password and TLS settings of this source, and that this host may reach it"
        }
    }
}
