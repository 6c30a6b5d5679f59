//! Shell jobs: whether what the settings grant can be had here.

use protocol::ExecMode;
use runtime::Drain;
use sandbox::Sandbox;

use super::Check;
use crate::config::ExecSettings;
use crate::exec::{HostFiles, find_programs, sandbox_options};

const NAME: &str = "exec";

/// Looks at each granted mode.
pub(super) async fn check(settings: &ExecSettings) -> Vec<Check> {
    let mut checks = vec![Check::passed(NAME, format!("shell jobs: {}", settings.shown()))];
    if settings.grants(ExecMode::Readonly) {
        checks.push(programs(settings));
    }
    if settings.grants(ExecMode::Sandbox) {
        checks.push(engine(settings).await);
    }
    checks
}

fn programs(settings: &ExecSettings) -> Check {
    let (found, refused) = find_programs(settings, &HostFiles);
    let name = "exec readonly";
    if found.is_empty() {
        let advice = "programs must be files of root that nobody else can change, in folders that nobody else can change";
        return Check::failed(name, format!("no program can be used: {}", refused.join("; ")), advice);
    }
    let detail = format!("{} programs", found.len());
    if refused.is_empty() {
        return Check::passed(name, detail);
    }
    Check::warning(name, format!("{detail}; not to be used: {}", refused.join("; ")))
}

async fn engine(settings: &ExecSettings) -> Check {
    let name = "exec sandbox";
    let Some(state) = settings.sandbox.state_dir.clone() else {
        return Check::failed(name, "there is no state directory", "set SEMILAYER_STATE_DIR");
    };
    let place = settings.docker_host.as_deref().unwrap_or("unix:///var/run/docker.sock");
    match Sandbox::open(sandbox_options(settings, state), &Drain::new()) {
        Ok(sandbox) if sandbox.is_available().await => {
            Check::passed(name, format!("a Docker engine answers at {place}"))
        }
        Ok(_) => Check::failed(
            name,
            format!("no Docker engine answers at {place}"),
            "start the engine, let this runner's user use its socket, or set exec.docker_host (DOCKER_HOST)",
        ),
        Err(error) => Check::failed(name, error.to_string(), "correct the settings below [exec.sandbox]"),
    }
}
