//! Docker engines: the shared one, a newer one beside it, and one of a test's own that it may hurt.
//!
//! A test gives its containers a label of its own and asks at its end what is left with it. Engines that
//! `cargo xtask services` has made cannot be reached by network, and neither can what runs in them; their file system is
//! the machine's.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::folder::Folder;
use crate::http::{Answer, Request};
use crate::process::bare;
use crate::services::{self, EngineFacts, Server};
use crate::wait::{secs, until};

/// A shell and the usual tools, in every engine.
pub const BUSYBOX: &str = "semilayer-test/busybox";
/// Python 3 and a shell; not in an engine of a test's own.
pub const PYTHON: &str = "semilayer-test/python";
/// Node and a shell; not in an engine of a test's own.
pub const NODE: &str = "semilayer-test/node";

/// The smallest engine that there is.
const BARE: &str = "docker-bare";
const ANSWER_LIMIT: Duration = secs(60);

/// An engine that runs.
#[derive(Debug, Clone)]
pub struct Engine {
    facts: EngineFacts,
    client: PathBuf,
}

impl Engine {
    /// The one that tests share.
    pub fn shared() -> Self {
        Self::of(&Server::shared("docker"))
    }

    /// One of a later release, where there is one.
    pub fn newer() -> Option<Self> {
        Server::running("docker-new").as_ref().map(Self::of)
    }

    /// Both.
    pub fn all() -> Vec<Self> {
        [Self::shared()].into_iter().chain(Self::newer()).collect()
    }

    /// A new one that nobody else uses, with [`BUSYBOX`] in it.
    pub async fn own() -> OwnEngine {
        OwnEngine::start_new().await
    }

    fn of(server: &Server) -> Self {
        let facts = server.engine.clone().expect("an engine says what it is");
        Self { facts, client: server.client("docker") }
    }

    /// As in `DOCKER_HOST`.
    pub fn host(&self) -> &str {
        &self.facts.docker_host
    }

    /// The newest interface that it speaks: `1.41`.
    pub fn api(&self) -> &str {
        &self.facts.api
    }

    /// Whether containers run in this runtime, e.g. `runsc`.
    pub fn has_runtime(&self, name: &str) -> bool {
        self.facts.runtimes.iter().any(|runtime| runtime == name)
    }

    /// Its command line client, as a program.
    pub fn client_program(&self) -> &Path {
        &self.client
    }

    /// Its command line client.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = bare(&self.client);
        command.args(["--host", self.host()]).args(arguments);
        command
    }

    /// Asks it something that it must answer well.
    pub async fn ask(&self, request: Request) -> Value {
        let answer = self.try_ask(request).await.expect("the engine does not answer");
        answer.check();
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// The same where it may not run.
    pub async fn try_ask(&self, request: Request) -> Option<Answer> {
        let answer = async {
            let stream = UnixStream::connect(self.socket()).await.ok()?;
            Some(request.open_over(stream, "docker").await?.whole().await)
        };
        tokio::time::timeout(ANSWER_LIMIT, answer).await.ok()?
    }

    /// Names of the containers with this label (`key` or `key=value`), in whatever state.
    pub async fn containers(&self, label: &str) -> Vec<String> {
        self.listed("/containers/json?all=1&", label).await
    }

    /// The same of those that run.
    pub async fn running(&self, label: &str) -> Vec<String> {
        self.listed("/containers/json?", label).await
    }

    async fn listed(&self, path: &str, label: &str) -> Vec<String> {
        let list = self.ask(Request::get(filtered(path, label))).await;
        let name =
            |one: &Value| one["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
        list.as_array().unwrap().iter().map(name).collect()
    }

    /// Names of the volumes with this label.
    pub async fn volumes(&self, label: &str) -> Vec<String> {
        let answer = self.ask(Request::get(filtered("/volumes?", label))).await;
        names(&answer["Volumes"])
    }

    /// Names of the networks with this label.
    pub async fn networks(&self, label: &str) -> Vec<String> {
        names(&self.ask(Request::get(filtered("/networks?", label))).await)
    }

    /// Everything but images with this label, for a test that says that there is nothing.
    pub async fn left(&self, label: &str) -> Vec<String> {
        [self.containers(label).await, self.volumes(label).await, self.networks(label).await].concat()
    }

    /// Starts a container of a test's own that ends when it wants to; answers its id.
    pub async fn start_container(&self, label: &str, image: &str, command: &[&str]) -> String {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        let container = json!({"Image": image, "Cmd": command, "Labels": {key: value}});
        let made = self.ask(Request::post("/containers/create", &container)).await;
        let id = made["Id"].as_str().unwrap().to_owned();
        self.ask(Request::new("POST", format!("/containers/{id}/start"))).await;
        id
    }

    /// Removes a container, whatever it does.
    pub async fn remove_container(&self, id: &str) {
        self.ask(Request::new("DELETE", format!("/containers/{id}?force=1&v=1"))).await;
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        Path::new(self.host().strip_prefix("unix://").expect("an engine for tests has a socket"))
    }
}

/// An engine that a test may stop, kill, and start again; it keeps what is in it. Gone when the test is.
#[derive(Debug)]
pub struct OwnEngine {
    engine: Engine,
    folder: Folder,
}

impl OwnEngine {
    async fn start_new() -> Self {
        let folder = Folder::new();
        services(folder.path(), &["up", "--native", "--only", BARE]).await;
        let (server, _) = services::in_folder(folder.path());
        Self { engine: Engine::of(&server), folder }
    }

    /// Starts it again, after it was killed or stopped, and returns when it answers.
    pub async fn start(&self) {
        services(self.folder.path(), &["restart", BARE]).await;
    }

    /// Ends it as the machine's service manager does: its containers are stopped first.
    pub async fn stop(&self) {
        self.end(Signal::TERM).await;
    }

    /// Ends it as a loss of power does: with everything that runs in it.
    pub async fn kill(&self) {
        self.end(Signal::KILL).await;
    }

    async fn end(&self, signal: Signal) {
        let (_, pid) = services::in_folder(self.folder.path());
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, signal).expect("the engine does not run");
        until("the engine has ended", secs(30), async || {
            test_kill_process(pid).is_err() && UnixStream::connect(self.socket()).await.is_err()
        })
        .await;
    }
}

impl Deref for OwnEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        let output = services::own(self.folder.path(), &["down"]);
        if !output.status.success() {
            eprintln!("an engine is left: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

async fn services(folder: &Path, verb: &[&str]) {
    let (folder, verb) = (folder.to_owned(), verb.iter().map(ToString::to_string).collect::<Vec<_>>());
    let task = tokio::task::spawn_blocking(move || {
        let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
        services::own(&folder, &verb)
    });
    let output = task.await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
}

fn filtered(path: &str, label: &str) -> String {
    let filters = json!({"label": [label]}).to_string();
    format!("{path}filters={}", utf8_percent_encode(&filters, NON_ALPHANUMERIC))
}

fn names(list: &Value) -> Vec<String> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|one| one["Name"].as_str()).map(str::to_owned).collect()
}
