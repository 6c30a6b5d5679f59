//! `doctor`: looks at everything that must work, and says what to do.

use std::io::Write;
use std::sync::Arc;

use runtime::Exit;
use runtime::settings::Source;
use serde_json::json;

use super::print;
use crate::cli::Flags;
use crate::config::Config;
use crate::doctor::{Check, CheckStatus, examine, misconfigured};
use crate::registry::Registry;

pub(super) async fn run(
    flags: &Flags,
    environment: Arc<dyn Source>,
    registry: &Registry,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Exit {
    let (checks, failure) = match Config::load(flags, environment.as_ref()) {
        Ok(loaded) => (examine(loaded, registry, environment).await, Exit::Failed),
        Err(mistakes) => (misconfigured(&mistakes), Exit::Configuration),
    };
    report(&checks, failure, json, out)
}

/// Prints the checks; answers `failure` if one of them failed.
pub(super) fn report(checks: &[Check], failure: Exit, json: bool, out: &mut (dyn Write + Send)) -> Exit {
    let healthy = checks.iter().all(|check| check.status != CheckStatus::Failed);
    let text = if json {
        json!({"ok": healthy, "checks": checks}).to_string()
    } else {
        checks.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    match print(out, &text) {
        Exit::Clean if !healthy => failure,
        printed => printed,
    }
}

fn line(check: &Check) -> String {
    let status = match check.status {
        CheckStatus::Passed => "ok",
        CheckStatus::Warning => "warn",
        CheckStatus::Failed => "FAIL",
        CheckStatus::Skipped => "skip",
    };
    let line = format!("{status:<5} {:<20} {}", check.name, check.detail);
    match &check.advice {
        Some(advice) => format!("{line}\n{:<26} -> {advice}", ""),
        None => line,
    }
}
