//! The runner daemon as a user starts it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::folder::Folder;
use crate::gateway::Credentials;
use crate::http::{Answer, Request};
use crate::process::{Finished, Process, bare, free_port, program, run};
use crate::wait::{secs, until};

/// The program's name.
pub const RUNNER: &str = "semilayer-runner";

/// How a runner is to be started.
#[derive(Debug, Clone)]
pub struct Settings {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    /// A program and its arguments, which start the runner.
    through: Vec<String>,
}

impl Settings {
    /// A runner with these credentials for the gateway at this URL.
    pub fn new(credentials: &Credentials, gateway: &str) -> Self {
        let settings = Self { variables: Vec::new(), arguments: Vec::new(), through: Vec::new() };
        settings
            .with("SEMILAYER_RUNNER_ID", &credentials.id)
            .with("SEMILAYER_RUNNER_TOKEN", &credentials.token)
            .with("SEMILAYER_GATEWAY_URL", gateway)
            .with("SEMILAYER_LOG_LEVEL", "debug")
            .with("SEMILAYER_LOG_FORMAT", "text")
    }

    /// With an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without one.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self
    }

    /// With an argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Started by another program, which gets these arguments and then the runner's command.
    #[must_use]
    pub fn through(mut self, command: &[&str]) -> Self {
        self.through = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts the daemon.
    pub fn start(&self) -> Runner {
        let folder = Folder::new();
        let health = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = self.command(&folder);
        command.env("SEMILAYER_HEALTH_PORT", health.port().to_string());
        command.arg("start").args(&self.arguments);
        Runner { process: Process::start("runner", command), health, _folder: folder }
    }

    /// Starts the daemon and waits until it is connected.
    pub async fn connect(&self) -> Runner {
        let mut runner = self.start();
        runner.connected().await;
        runner
    }

    /// Runs another command of the program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        let folder = Folder::new();
        let mut command = self.command(&folder);
        command.args(arguments).args(&self.arguments);
        run(RUNNER, command, secs(60)).await
    }

    fn command(&self, folder: &Folder) -> Command {
        let mut command = program(RUNNER);
        if let Some((starter, arguments)) = self.through.split_first() {
            let own = command.as_std().get_program().to_owned();
            command = bare(starter);
            command.args(arguments).arg(own);
        }
        command.env("HOME", folder.path()).current_dir(folder.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Runner {
    /// The process.
    pub process: Process,
    health: SocketAddr,
    _folder: Folder,
}

impl Runner {
    /// The health port.
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    /// An answer of the health port, where it is there already.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        Request::get(path).try_send(self.health).await
    }

    /// An answer of the health port.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|| panic!("no answer to GET {path} of the runner"))
    }

    /// `/ready`, status and body.
    pub async fn ready(&self) -> (u16, Value) {
        let answer = self.get("/ready").await;
        (answer.status, answer.json())
    }

    /// Waits until it is connected.
    pub async fn connected(&mut self) {
        self.connected_within(secs(30)).await;
    }

    /// The same with a limit.
    pub async fn connected_within(&mut self, limit: Duration) {
        let Self { process, health, .. } = self;
        until("the runner is connected", limit, async || {
            assert!(process.is_running(), "the runner has ended");
            let Some(answer) = Request::get("/ready").try_send(*health).await else { return false };
            answer.json()["connected"] == true
        })
        .await;
    }

    /// Waits until it knows that it is not connected.
    pub async fn disconnected_within(&mut self, limit: Duration) {
        until("the runner has noticed", limit, async || self.ready().await.1["connected"] == false).await;
    }

    /// The value of a metric's line, e.g. `runner_connected`, or nothing.
    pub async fn metric(&self, line: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text();
        let value = |text: &str| text.strip_prefix(line)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }
}
