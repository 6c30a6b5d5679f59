//! Shell jobs: whether what the settings grant can be had here.

use protocol::ExecMode;
use runtime::Drain;
use runtime::settings::Source as Environment;
use sandbox::Sandbox;

use super::Check;
use crate::config::ExecSettings;
use crate::exec::{HostFiles, find_programs, sandbox_options};

const NAME: &str = "exec";
const SANDBOX: &str = "exec sandbox";

/// Looks at each granted mode, and where there is none at variables that only a granted one would need.
pub(super) async fn check(settings: &ExecSettings, environment: &dyn Environment) -> Vec<Check> {
    let mut checks = vec![Check::passed(NAME, format!("shell jobs: {}", settings.shown()))];
    if !settings.is_on() {
        let idle = |name| Check::warning(NAME, format!("{name} has no effect while SEMILAYER_EXEC is off"));
        checks.extend(ExecSettings::variables(environment).into_iter().map(idle));
    }
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
    let Some(state) = settings.sandbox.state_dir.clone() else {
        return Check::failed(SANDBOX, "there is no state directory", "set SEMILAYER_STATE_DIR");
    };
    let place = settings.docker_host.as_deref().unwrap_or("unix:///var/run/docker.sock");
    match Sandbox::open(sandbox_options(settings, state), &Drain::new()) {
        Ok(sandbox) if sandbox.is_available().await => {
            image(&sandbox, &settings.sandbox.image, format!("a Docker engine answers at {place}")).await
        }
        Ok(_) => Check::failed(
            SANDBOX,
            format!("no Docker engine answers at {place}"),
            "start the engine, let this runner's user use its socket, or set exec.docker_host (DOCKER_HOST)",
        ),
        Err(error) => Check::failed(SANDBOX, error.to_string(), "correct the settings below [exec.sandbox]"),
    }
}

/// A job that names no image, at an engine that answers.
async fn image(sandbox: &Sandbox, image: &str, answers: String) -> Check {
    match sandbox.has_image(image).await {
        Ok(true) => Check::passed(SANDBOX, answers),
        Ok(false) => {
            let advice = "the first job pulls it; where that cannot be, load it, or name one that is there as \
                          exec.sandbox.image";
            let warning = Check::warning(SANDBOX, format!("{answers}, without the image {image}"));
            Check { advice: Some(advice.to_owned()), ..warning }
        }
        Err(error) => Check::warning(SANDBOX, format!("{answers}, but not about the image {image}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use runtime::settings::Mapping;

    use super::super::CheckStatus;
    use super::*;

    #[tokio::test]
    async fn variables_for_shell_jobs_that_are_off_are_told_to_have_no_effect() {
        let environment: Mapping = [
            ("SEMILAYER_EXEC_SANDBOX_IMAGES", "python:*"),
            ("SEMILAYER_EXEC_SANDBOX_MEMORY", ""),
            ("SEMILAYER_EXEC_COLOUR", "no setting"),
        ]
        .into_iter()
        .collect();
        let told = check(&ExecSettings::default(), &environment).await;
        let [off, idle] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((off.status, off.detail.as_str()), (CheckStatus::Passed, "shell jobs: off"));
        let expected = "SEMILAYER_EXEC_SANDBOX_IMAGES has no effect while SEMILAYER_EXEC is off";
        assert_eq!((idle.status, idle.detail.as_str()), (CheckStatus::Warning, expected));
    }
}
