//! What `doctor` and `test-source` find out, as values.
//!
//! Every check does the real thing: it resolves, dials, shakes hands, says hello with the real token and leaves, opens
//! each runner-local source and asks it. What a check could not try because an earlier one failed is skipped, not passed.

mod exec;
mod gateway;
mod sources;

use std::sync::Arc;

use runtime::settings::{Mistakes, Source as Environment, Warning};
use serde::Serialize;

pub(crate) use gateway::{Gateway, introduce};
pub(crate) use sources::{check_sources, subjects};

use crate::config::{Config, Loaded};
use crate::plugins::Plugins;
use crate::registry::Registry;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) status: CheckStatus,
    /// What was found. Holds no secret.
    pub(crate) detail: String,
    /// What a person should do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckStatus {
    Passed,
    Warning,
    Failed,
    Skipped,
}

impl Check {
    pub(crate) fn passed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: CheckStatus::Passed, detail: detail.into(), advice: None }
    }

    pub(crate) fn warning(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status: CheckStatus::Warning, ..Self::passed(name, detail) }
    }

    pub(crate) fn skipped(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status: CheckStatus::Skipped, ..Self::passed(name, detail) }
    }

    pub(crate) fn failed(
        name: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { status: CheckStatus::Failed, advice, ..Self::passed(name, detail) }
    }
}

/// All checks of a runner with these settings.
pub(crate) async fn examine(
    loaded: Loaded,
    registry: &Registry,
    environment: Arc<dyn Environment>,
) -> Vec<Check> {
    let Loaded { config, warnings, .. } = loaded;
    let mut checks = vec![configuration(&config)];
    checks.extend(warnings.iter().map(of_warning));
    checks.extend(plugins(&config, registry).await);
    checks.extend(exec::check(&config.exec, environment.as_ref()).await);
    let Gateway { checks: on_the_way, assigned } = introduce(&config, registry).await;
    checks.extend(on_the_way);
    match assigned {
        Some(assigned) => {
            let subjects = subjects(&assigned, registry, &config.sources, environment.as_ref());
            let stranger = |name| format!("{name} belongs to no source that is assigned to this runner");
            checks.extend(subjects.strangers.iter().map(|name| Check::warning("sources", stranger(name))));
            checks.extend(check_sources(subjects, &config.sources).await);
        }
        None => {
            let reason =
                "the gateway says which sources there are; test-source NAME --bridge BRIDGE needs no gateway";
            checks.push(Check::skipped("sources", reason));
        }
    }
    checks
}

/// Loads the plugins, and keeps those that load for the sources.
async fn plugins(config: &Config, registry: &Registry) -> Vec<Check> {
    let plugins = match Plugins::load(&config.plugins, registry.clone()).await {
        Ok(plugins) => plugins,
        Err(error) => {
            return vec![Check::failed("plugins", error.to_string(), "take plugin_dir out of the settings")];
        }
    };
    let loaded = registry.drivers().iter().filter(|driver| !driver.is_native()).count();
    let advice = "semilayer-runner plugin inspect FILE says more; what was loaded before goes on";
    let failed = |(file, reason)| Check::failed("plugins", format!("{file}: {reason}"), advice);
    let mut checks: Vec<_> = plugins.problems().into_iter().map(failed).collect();
    if loaded > 0 {
        checks.push(Check::passed("plugins", format!("{loaded} loaded")));
    }
    checks
}

/// The checks when the settings are wrong: each mistake is one.
pub(crate) fn misconfigured(mistakes: &Mistakes) -> Vec<Check> {
    let check = |mistake: &runtime::settings::Mistake| {
        Check::failed("configuration", mistake.to_string(), "correct this setting")
    };
    mistakes.iter().map(check).collect()
}

fn configuration(config: &Config) -> Check {
    let gateway = crate::link::shown(&config.gateway);
    Check::passed("configuration", format!("runner {}, gateway {gateway}", config.runner_id))
}

fn of_warning(warning: &Warning) -> Check {
    Check::warning("configuration", warning.to_string())
}
