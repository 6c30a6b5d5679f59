//! What a runner is asked to do with a command: decided from what operators say of the runner, what the runner says of
//! itself, and what the caller wants. The runner decides again by its own settings; this only ever takes away.

use protocol::{ExecMode, ExecOffer, ExecRequest, Invocation};

use super::failure::Failure;
use crate::capability::{Capability, CapabilitySet};

/// How a command may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) mode: ExecMode,
    /// Whether the Docker client is among the programs that only look.
    pub(crate) docker: bool,
    /// What the command needs of this. Without it the command must not go on.
    pub(crate) needs: CapabilitySet,
}

/// What a runner says that it does, in our words.
pub(crate) fn reported(offer: &ExecOffer) -> CapabilitySet {
    let mode = |mode: &ExecMode| match mode {
        ExecMode::Readonly => Capability::ExecReadonly,
        ExecMode::Full => Capability::ExecFull,
        ExecMode::Sandbox => Capability::Sandbox,
    };
    offer.modes.iter().map(mode).chain(offer.docker.then_some(Capability::Docker)).collect()
}

/// How `request` may be run by the runner `name`, of which operators say `entry` and which says `said`, if it does.
pub(crate) fn grant(
    name: &str,
    entry: CapabilitySet,
    said: Option<CapabilitySet>,
    request: &ExecRequest,
) -> Result<Grant, Failure> {
    let effective = said.map_or(entry, |said| entry.and(said));
    let mode = match request.mode {
        Some(mode) => mode,
        None if request.sandbox.is_some() => ExecMode::Sandbox,
        None => strongest(effective),
    };
    let needed = match mode {
        ExecMode::Readonly => Capability::ExecReadonly,
        ExecMode::Full => Capability::ExecFull,
        ExecMode::Sandbox => Capability::Sandbox,
    };
    let docker = effective.has(Capability::Docker);
    let with_docker = mode == ExecMode::Readonly && asks_for_docker(&request.invocation);
    let needs: CapabilitySet =
        std::iter::once(needed).chain(with_docker.then_some(Capability::Docker)).collect();
    match needs.iter().find(|needed| !effective.has(*needed)) {
        None => Ok(Grant { mode, docker, needs }),
        Some(missing) => Err(denied(name, missing, entry)),
    }
}

/// Of a command that may run anywhere.
fn strongest(effective: CapabilitySet) -> ExecMode {
    if effective.has(Capability::ExecFull) {
        ExecMode::Full
    } else if effective.has(Capability::Sandbox) && !effective.has(Capability::ExecReadonly) {
        ExecMode::Sandbox
    } else {
        ExecMode::Readonly
    }
}

/// Whether the first word is the Docker client, wherever it is. Only for an early answer: the runner has the rules.
fn asks_for_docker(invocation: &Invocation) -> bool {
    let program = match invocation {
        Invocation::Command(command) => command.split_whitespace().next(),
        Invocation::Argv(argv) => argv.first().map(String::as_str),
    };
    program.and_then(|program| program.rsplit('/').next()) == Some("docker")
}

fn denied(name: &str, missing: Capability, entry: CapabilitySet) -> Failure {
    let (by, message) = if entry.closed().has(missing) {
        let setting = setting(missing);
        let message = format!(
            "the runner {name:?} does not take such commands: its own settings do not allow {missing}; to add it there: {setting}"
        );
        ("runner", message)
    } else {
        // An update puts its list in place of all: the others go with it.
        let all = entry.or(std::iter::once(missing).collect());
        let flags: String = all.iter().map(|capability| format!(" --capability {capability}")).collect();
        let message = format!(
            "the runner {name:?} may not do this: its capabilities here do not contain {missing}; to add it: \
             semilayer-gateway runners update {name}{flags}"
        );
        ("gateway", message)
    };
    Failure::denied(format!("capability.{missing}"), message).with("denied_by", by)
}

/// Where a runner's own settings allow something.
const fn setting(capability: Capability) -> &'static str {
    match capability {
        Capability::ExecReadonly => "readonly among the modes of SEMILAYER_EXEC",
        Capability::ExecFull => "full among the modes of SEMILAYER_EXEC",
        Capability::Sandbox => "sandbox among the modes of SEMILAYER_EXEC",
        Capability::Docker => "SEMILAYER_EXEC_READONLY_DOCKER=true",
    }
}

#[cfg(test)]
mod tests {
    use protocol::ExecSandbox;

    use super::*;

    fn set(words: &[&str]) -> CapabilitySet {
        CapabilitySet::parse(words).unwrap()
    }

    fn line(command: &str) -> ExecRequest {
        ExecRequest::new("j", Invocation::Command(command.to_owned()))
    }

    fn boxed() -> ExecRequest {
        ExecRequest { sandbox: Some(ExecSandbox::default()), ..line("ls") }
    }

    fn mode(entry: &[&str], said: &[&str], request: &ExecRequest) -> Result<ExecMode, (String, String)> {
        grant("edge", set(entry), Some(set(said)), request).map(|grant| grant.mode).map_err(|failure| {
            let by = failure.envelope()["denied_by"].as_str().unwrap().to_owned();
            (failure.rule().unwrap().to_owned(), by)
        })
    }

    #[test]
    fn a_command_gets_the_strongest_mode_that_both_sides_allow_and_never_more() {
        let all = ["exec.readonly", "exec.full", "sandbox", "docker"];
        assert_eq!(mode(&all, &all, &line("ls")), Ok(ExecMode::Full));
        assert_eq!(mode(&["exec.readonly"], &all, &line("ls")), Ok(ExecMode::Readonly));
        assert_eq!(mode(&["exec.readonly"], &["exec.full"], &line("ls")), Ok(ExecMode::Readonly));
        assert_eq!(mode(&all, &["exec.readonly"], &line("ls")), Ok(ExecMode::Readonly));
        assert_eq!(mode(&["sandbox"], &all, &line("ls")), Ok(ExecMode::Sandbox));
        assert_eq!(mode(&all, &all, &boxed()), Ok(ExecMode::Sandbox));
        let asked = ExecRequest { mode: Some(ExecMode::Readonly), ..line("ls") };
        assert_eq!(mode(&all, &all, &asked), Ok(ExecMode::Readonly));
    }

    #[test]
    fn what_is_missing_is_named_and_on_which_side() {
        let refused = |rule: &str, by: &str| Err((format!("capability.{rule}"), by.to_owned()));
        let all = ["exec.readonly", "exec.full", "sandbox", "docker"];
        assert_eq!(mode(&["exec.full"], &all, &boxed()), refused("sandbox", "gateway"));
        assert_eq!(mode(&all, &["exec.full"], &boxed()), refused("sandbox", "runner"));
        assert_eq!(mode(&[], &all, &line("ls")), refused("exec.readonly", "gateway"));
        assert_eq!(mode(&all, &[], &line("ls")), refused("exec.readonly", "runner"));
        let full = ExecRequest { mode: Some(ExecMode::Full), ..line("ls") };
        assert_eq!(mode(&["exec.readonly"], &all, &full), refused("exec.full", "gateway"));
        for command in ["docker ps", "/usr/bin/docker ps", "  docker\tps"] {
            assert_eq!(mode(&["exec.readonly"], &all, &line(command)), refused("docker", "gateway"));
        }
        let argv = ExecRequest::new("j", Invocation::Argv(vec!["docker".to_owned(), "ps".to_owned()]));
        assert_eq!(mode(&["exec.readonly"], &all, &argv), refused("docker", "gateway"));
        assert_eq!(mode(&["exec.readonly", "docker"], &all, &argv), Ok(ExecMode::Readonly));
        assert_eq!(mode(&["exec.full"], &all, &argv), Ok(ExecMode::Full));
    }

    #[test]
    fn a_refusal_ends_with_how_to_add_what_is_missing() {
        let message = |entry: &[&str], said: &[&str], request: &ExecRequest| {
            grant("edge", set(entry), Some(set(said)), request).unwrap_err().message().to_owned()
        };
        let all = ["exec.readonly", "exec.full", "sandbox", "docker"];
        let here = message(&["exec.readonly"], &all, &boxed());
        let update = "semilayer-gateway runners update edge --capability exec.readonly --capability sandbox";
        assert!(here.ends_with(update), "{here}");
        let there = message(&all, &["exec.readonly"], &boxed());
        assert!(there.ends_with("to add it there: sandbox among the modes of SEMILAYER_EXEC"), "{there}");
        let docker = message(&["exec.readonly", "docker"], &["exec.readonly"], &line("docker ps"));
        assert!(docker.ends_with("to add it there: SEMILAYER_EXEC_READONLY_DOCKER=true"), "{docker}");
    }

    #[test]
    fn a_runner_that_says_nothing_is_asked_for_what_operators_allow() {
        let granted = grant("edge", set(&["exec.readonly", "docker"]), None, &line("docker ps")).unwrap();
        let needs = set(&["exec.readonly", "docker"]);
        assert_eq!(granted, Grant { mode: ExecMode::Readonly, docker: true, needs });
        let granted = grant("edge", set(&["exec.full", "docker"]), None, &line("uptime")).unwrap();
        assert_eq!(granted, Grant { mode: ExecMode::Full, docker: true, needs: set(&["exec.full"]) });
    }

    #[test]
    fn an_offer_is_told_in_our_words() {
        let offer = ExecOffer {
            modes: [ExecMode::Full, ExecMode::Sandbox].into_iter().collect(),
            docker: true,
            ..ExecOffer::default()
        };
        assert_eq!(reported(&offer).words(), ["exec.full", "docker", "sandbox"]);
        assert!(reported(&ExecOffer::default()).is_empty());
    }
}
