//! What is done for a request: this host's own settings are the upper bound of whatever a gateway asks.

use std::ffi::OsString;
use std::path::PathBuf;

use protocol::{ExecMode, ExecRequest, ExecSandbox, Invocation};

use super::facts::Files;
use super::policy::Policy;
use super::process::HostCommand;
use super::reading::Readable;
use super::rule::{Denied, Rule, shown};
use crate::config::{ExecSettings, ImagePattern, SandboxSettings};

/// How a request is done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan {
    /// A process of this host.
    Host(ExecMode, HostCommand),
    /// A container.
    Sandbox(Container),
}

/// A container within what the settings grant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Container {
    pub(crate) image: String,
    pub(crate) network: String,
    pub(crate) memory: Option<u64>,
    pub(crate) cpus: Option<f64>,
}

/// What a container without a network is said to have.
const NO_NETWORK: &str = "none";

impl Plan {
    /// Decides, without doing anything but look at files.
    pub(crate) fn of(
        request: &ExecRequest,
        settings: &ExecSettings,
        files: &dyn Files,
    ) -> Result<Self, Denied> {
        let mode = mode(request, settings)?;
        match mode {
            ExecMode::Readonly => readonly(request, settings, files),
            ExecMode::Full => Ok(Self::Host(mode, full(request))),
            ExecMode::Sandbox => {
                let asked = request.sandbox.clone().unwrap_or_default();
                container(&asked, &settings.sandbox).map(Self::Sandbox)
            }
        }
    }

    /// Which mode it is, for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Host(ExecMode::Readonly, _) => "exec_readonly",
            Self::Host(ExecMode::Full | ExecMode::Sandbox, _) => "exec_full",
            Self::Sandbox(_) => "exec_sandbox",
        }
    }
}

/// The mode that was asked for, or the strongest that is granted.
fn mode(request: &ExecRequest, settings: &ExecSettings) -> Result<ExecMode, Denied> {
    if !settings.is_on() {
        return Err(Denied::new(Rule::Off, "this runner takes no shell jobs"));
    }
    let wanted = match (request.mode, &request.sandbox) {
        (None | Some(ExecMode::Sandbox), Some(_)) => ExecMode::Sandbox,
        (Some(mode), Some(_)) => {
            let message = format!("a container was asked for, and {mode} is the mode");
            return Err(Denied::new(Rule::Mode, message));
        }
        (Some(mode), None) => mode,
        (None, None) => {
            let host = [ExecMode::Full, ExecMode::Readonly];
            host.into_iter().find(|mode| settings.grants(*mode)).unwrap_or(ExecMode::Sandbox)
        }
    };
    if !settings.grants(wanted) {
        let message = format!("{wanted} is not granted on this runner; {} is", settings.shown());
        return Err(Denied::new(Rule::Mode, message));
    }
    Ok(wanted)
}

/// The programs that `readonly` has on this host, and why some of them cannot be used.
pub(crate) fn find_programs(settings: &ExecSettings, files: &dyn Files) -> (Vec<&'static str>, Vec<String>) {
    policy(settings, true).programs(files)
}

fn policy(settings: &ExecSettings, docker: bool) -> Policy {
    Policy {
        folders: settings.folders.clone(),
        readable: Readable { also: settings.paths.clone(), own: settings.own.clone() },
        docker: settings.docker && docker,
    }
}

fn readonly(request: &ExecRequest, settings: &ExecSettings, files: &dyn Files) -> Result<Plan, Denied> {
    if let Some(name) = request.env.names().next() {
        let message = format!("a read-only command takes no variables, not {}", shown(name));
        return Err(Denied::new(Rule::Env, message));
    }
    let approved = policy(settings, request.docker).approve(&request.invocation, files)?;
    let mut command = HostCommand {
        program: approved.program,
        name: Some(OsString::from(approved.name)),
        arguments: approved.arguments,
        env: [("SYSTEMD_COLORS".to_owned(), "0".to_owned())].into(),
    };
    if approved.name == "docker" {
        // The client reads settings of its own below the home folder, which could name other programs.
        command.env.insert("DOCKER_CONFIG".to_owned(), "/nonexistent".to_owned());
        command.env.extend(settings.docker_host.iter().map(|host| ("DOCKER_HOST".to_owned(), host.clone())));
        if let Some(certs) = settings.docker_certs.as_deref().and_then(std::path::Path::to_str) {
            command.env.insert("DOCKER_CERT_PATH".to_owned(), certs.to_owned());
            command.env.insert("DOCKER_TLS_VERIFY".to_owned(), "1".to_owned());
        }
    }
    Ok(Plan::Host(ExecMode::Readonly, command))
}

fn full(request: &ExecRequest) -> HostCommand {
    let (program, arguments) = match &request.invocation {
        Invocation::Command(line) => ("/bin/sh", vec![OsString::from("-c"), OsString::from(line)]),
        Invocation::Argv(argv) => {
            let (program, arguments) =
                argv.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
            (program, arguments.iter().map(OsString::from).collect())
        }
    };
    HostCommand { program: PathBuf::from(program), name: None, arguments, env: request.env.expose().clone() }
}

fn container(asked: &ExecSandbox, granted: &SandboxSettings) -> Result<Container, Denied> {
    let image = asked.image.as_ref().unwrap_or(&granted.image);
    let default = ImagePattern::parse(&granted.image);
    if !granted.images.iter().chain(&default).any(|pattern| pattern.matches(image)) {
        let message = format!(
            "image {} is not granted on this runner; those that are: {} (exec.sandbox.images)",
            shown(image),
            listed(default.iter().chain(&granted.images).map(ToString::to_string).collect())
        );
        return Err(Denied::new(Rule::Image, message));
    }
    let network = asked.network.as_deref().unwrap_or(NO_NETWORK);
    if network != NO_NETWORK && !granted.networks.iter().any(|name| name == network) {
        let message = format!("network {} is not granted on this runner", shown(network));
        return Err(Denied::new(Rule::Network, message));
    }
    if let Some(memory) = asked.memory.filter(|memory| *memory > granted.memory) {
        let message = format!("{memory} bytes of memory are more than the granted {}", granted.memory);
        return Err(Denied::new(Rule::Memory, message));
    }
    if let Some(cpus) = asked.cpus.filter(|cpus| *cpus > granted.cpus) {
        return Err(Denied::new(
            Rule::Cpus,
            format!("{cpus} processors are more than the granted {}", granted.cpus),
        ));
    }
    Ok(Container {
        image: image.clone(),
        network: network.to_owned(),
        memory: asked.memory,
        cpus: asked.cpus,
    })
}

/// The beginning of a list, for messages.
fn listed(names: Vec<String>) -> String {
    const LENGTH: usize = 300;
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 && text.len() + name.len() > LENGTH {
            return format!("{text} and {} more", names.len() - index);
        }
        let separator = if index == 0 { "" } else { ", " };
        text = format!("{text}{separator}{name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::ExecEnv;

    use super::super::facts::fixtures::FakeFiles;
    use super::*;

    fn settings(modes: &[ExecMode]) -> ExecSettings {
        ExecSettings { modes: modes.iter().copied().collect(), ..ExecSettings::default() }
    }

    fn request(command: &str) -> ExecRequest {
        ExecRequest::new("1", Invocation::Command(command.to_owned()))
    }

    fn sandboxed(sandbox: ExecSandbox) -> ExecRequest {
        ExecRequest { sandbox: Some(sandbox), ..request("true") }
    }

    fn plan(request: &ExecRequest, settings: &ExecSettings) -> Result<Plan, Rule> {
        let files = FakeFiles::default().file("/usr/bin/true", 0o755).file("/usr/bin/docker", 0o755);
        Plan::of(request, settings, &files).map_err(|denied| denied.rule)
    }

    fn kind(request: &ExecRequest, settings: &ExecSettings) -> Result<&'static str, Rule> {
        plan(request, settings).map(|plan| plan.kind())
    }

    const ALL: &[ExecMode] = &ExecMode::ALL;

    #[test]
    fn the_mode_is_what_was_asked_for_or_the_strongest_on_the_host() {
        let plain = request("true");
        let boxed = sandboxed(ExecSandbox::default());
        assert_eq!(kind(&plain, &settings(ALL)), Ok("exec_full"));
        assert_eq!(kind(&plain, &settings(&[ExecMode::Readonly, ExecMode::Sandbox])), Ok("exec_readonly"));
        assert_eq!(kind(&plain, &settings(&[ExecMode::Sandbox])), Ok("exec_sandbox"));
        assert_eq!(kind(&boxed, &settings(ALL)), Ok("exec_sandbox"));
        for mode in ExecMode::ALL {
            let asked = ExecRequest { mode: Some(mode), ..plain.clone() };
            assert_eq!(
                kind(&asked, &settings(ALL)),
                Ok(["exec_readonly", "exec_sandbox", "exec_full"][mode as usize])
            );
        }
    }

    #[test]
    fn what_this_host_does_not_grant_is_refused_whatever_is_asked() {
        let full = ExecRequest { mode: Some(ExecMode::Full), ..request("true") };
        let boxed = sandboxed(ExecSandbox::default());
        let contradiction = ExecRequest { mode: Some(ExecMode::Full), ..boxed.clone() };
        assert_eq!(plan(&full, &settings(&[])), Err(Rule::Off));
        assert_eq!(plan(&full, &settings(&[ExecMode::Readonly, ExecMode::Sandbox])), Err(Rule::Mode));
        assert_eq!(plan(&boxed, &settings(&[ExecMode::Full, ExecMode::Readonly])), Err(Rule::Mode));
        assert_eq!(plan(&contradiction, &settings(ALL)), Err(Rule::Mode));
    }

    #[test]
    fn a_read_only_command_takes_no_variables_and_docker_by_three_grants_alone() {
        let readonly = settings(&[ExecMode::Readonly]);
        let env = ExecEnv::new(BTreeMap::from([("LD_PRELOAD".to_owned(), "/tmp/x.so".to_owned())]));
        assert_eq!(plan(&ExecRequest { env, ..request("true") }, &readonly), Err(Rule::Env));
        assert_eq!(plan(&request("docker ps"), &readonly), Err(Rule::Docker));
        let docker =
            ExecSettings { docker: true, docker_host: Some("unix:///d.sock".to_owned()), ..readonly };
        let Ok(Plan::Host(_, command)) = plan(&request("docker ps"), &docker) else { panic!("refused") };
        assert_eq!(command.env["DOCKER_HOST"], "unix:///d.sock");
        let without = ExecRequest { docker: false, ..request("docker ps") };
        assert_eq!(plan(&without, &docker), Err(Rule::Docker));
    }

    #[test]
    fn full_is_a_shell_or_the_program_itself() {
        let Ok(Plan::Host(ExecMode::Full, command)) = plan(&request("a | b"), &settings(ALL)) else {
            panic!("refused")
        };
        assert_eq!(
            (command.program, command.arguments),
            ("/bin/sh".into(), vec!["-c".into(), "a | b".into()])
        );
        let argv = ExecRequest::new("1", Invocation::Argv(vec!["a".to_owned(), "b c".to_owned()]));
        let Ok(Plan::Host(_, command)) = plan(&argv, &settings(ALL)) else { panic!("refused") };
        assert_eq!((command.program, command.arguments), ("a".into(), vec!["b c".into()]));
    }

    #[test]
    fn a_container_is_within_what_is_granted() {
        let mut granted = settings(&[ExecMode::Sandbox]);
        granted.sandbox.images = vec![ImagePattern::parse("python:*").unwrap()];
        granted.sandbox.networks = vec!["build".to_owned()];
        let asked = |sandbox: ExecSandbox| plan(&sandboxed(sandbox), &granted);
        let image = |image: &str| ExecSandbox { image: Some(image.to_owned()), ..ExecSandbox::default() };
        let network =
            |network: &str| ExecSandbox { network: Some(network.to_owned()), ..ExecSandbox::default() };
        let Ok(Plan::Sandbox(container)) = asked(ExecSandbox::default()) else { panic!("refused") };
        assert_eq!((container.image.as_str(), container.network.as_str()), ("alpine:3.19", "none"));
        assert!(asked(image("python:3.12-slim")).is_ok());
        assert!(asked(network("build")).is_ok());
        assert!(asked(network("none")).is_ok());
        assert_eq!(asked(image("evil/python:1")), Err(Rule::Image));
        assert_eq!(asked(image("alpine")), Err(Rule::Image));
        for name in ["host", "bridge", "container:x"] {
            assert_eq!(asked(network(name)), Err(Rule::Network), "{name}");
        }
        let memory = ExecSandbox { memory: Some(granted.sandbox.memory + 1), ..ExecSandbox::default() };
        assert_eq!(asked(memory), Err(Rule::Memory));
        let cpus = ExecSandbox { cpus: Some(1.5), ..ExecSandbox::default() };
        assert_eq!(asked(cpus), Err(Rule::Cpus));
    }

    #[test]
    fn a_refused_image_is_told_with_the_granted_ones_as_far_as_there_is_room() {
        let granted = SandboxSettings {
            images: vec![ImagePattern::parse("python:*").unwrap()],
            ..SandboxSettings::default()
        };
        let asked = ExecSandbox { image: Some("node:22".to_owned()), ..ExecSandbox::default() };
        assert_eq!(
            container(&asked, &granted).unwrap_err().to_string(),
            "image \"node:22\" is not granted on this runner; those that are: alpine:3.19, python:* \
             (exec.sandbox.images) (sandbox.image)"
        );
        let many = (0..1_000).map(|index| ImagePattern::parse(&format!("acme/image-{index}:*")).unwrap());
        let granted = SandboxSettings { images: many.collect(), ..granted };
        let denied = container(&asked, &granted).unwrap_err().message;
        assert!(denied.len() < 450 && denied.contains(" more (exec.sandbox.images)"), "{denied}");
    }
}
