//! The engine, sandboxes with one folder of states each, and the reference: its command line.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use harness::docker::{BUSYBOX, Engine};
use harness::folder::Folder;
use harness::http::Request as HttpRequest;
use runtime::Drain;
use sandbox::{Command, Options, Outcome, Request, Sandbox, Transfer};
use serde_json::Value;

/// One engine and what asks it.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    client: PathBuf,
    drain: Drain,
    folder: Folder,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let engine = Engine::shared();
        let client = machine_client().unwrap_or_else(|| engine.client_program().to_owned());
        Self { engine, client, drain: Drain::new(), folder: Folder::new() }
    }

    /// Which programs were met.
    pub(crate) async fn about(&self) -> String {
        let version = self.engine.ask(HttpRequest::get("/version")).await;
        let mut client = self.docker(&["version", "--format", "{{.Client.Version}}"].map(str::to_owned));
        let client = client.stdout(Stdio::piped()).output().await.unwrap().stdout;
        let client = String::from_utf8_lossy(&client).trim().to_owned();
        format!("Docker {}, its client {client}", version["Version"].as_str().unwrap())
    }

    /// A sandbox with default settings, but for these.
    pub(crate) fn sandbox(&self, name: &str, transfer: Transfer, warm: usize) -> Sandbox {
        let options = Options {
            docker_host: Some(self.engine.host().to_owned()),
            transfer,
            warm: (warm > 0).then(|| (BUSYBOX.to_owned(), warm)).into_iter().collect(),
            ..Options::new(self.folder.file(name))
        };
        Sandbox::open(options, &self.drain).unwrap()
    }

    /// A folder for files of a candidate.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.file(name)
    }

    /// The engine's command line with these words, in silence.
    pub(crate) fn docker(&self, words: &[String]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.client);
        command.args(["--host", self.engine.host()]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        command
    }

    /// Milliseconds of one `docker run`.
    pub(crate) async fn time_docker(&self, network: &str, program: &[&str]) -> f64 {
        let mut command = self.docker(&docker_run::arguments(BUSYBOX, network, program));
        let started = Instant::now();
        let status = command.status().await.unwrap();
        let elapsed = started.elapsed();
        assert!(status.success(), "docker run: {status}");
        elapsed.as_secs_f64() * 1e3
    }

    /// The reference's container, as the engine is asked for it.
    pub(crate) async fn container(&self) -> Value {
        let mut words = docker_run::arguments(BUSYBOX, "none", &["true"]);
        words.retain(|word| word != "--rm");
        "create".clone_into(&mut words[0]);
        let id = self.docker(&words).stdout(Stdio::piped()).output().await.unwrap().stdout;
        let path = format!("/containers/{}", String::from_utf8(id).unwrap().trim());
        let mut known = self.engine.ask(HttpRequest::get(format!("{path}/json"))).await;
        self.engine.ask(HttpRequest::new("DELETE", format!("{path}?v=1"))).await;
        let mut container = known["Config"].take();
        container["HostConfig"] = known["HostConfig"].take();
        container
    }

    /// One run by the calls that it cannot be without: create, start, wait and remove.
    pub(crate) async fn run_by_calls(&self, container: &Value) {
        let made = self.engine.ask(HttpRequest::post("/containers/create", container)).await;
        let path = format!("/containers/{}", made["Id"].as_str().unwrap());
        self.engine.ask(HttpRequest::new("POST", format!("{path}/start"))).await;
        let ended = self.engine.ask(HttpRequest::new("POST", format!("{path}/wait"))).await;
        assert_eq!(ended["StatusCode"], 0);
        self.engine.ask(HttpRequest::new("DELETE", format!("{path}?v=1"))).await;
    }

    /// Waits for what the sandboxes still do.
    pub(crate) async fn end(self) {
        let never = std::future::pending::<()>();
        self.drain.run(std::time::Duration::from_secs(30), never).await;
    }
}

/// A run of a program that does nothing, without a network.
pub(crate) fn trivial() -> Request {
    Request {
        command: Command::Argv(vec!["true".to_owned()]),
        networks: vec!["none".to_owned()],
        ..Request::new(BUSYBOX)
    }
}

/// Milliseconds of one run, which must end well.
pub(crate) async fn time(sandbox: &Sandbox, request: Request) -> (f64, Outcome) {
    let started = Instant::now();
    let outcome = sandbox.start(request).unwrap().outcome().await.unwrap();
    let elapsed = started.elapsed();
    assert!(outcome.success(), "{outcome:?}");
    (elapsed.as_secs_f64() * 1e3, outcome)
}

/// The machine's own client starts faster than one that is unpacked beside it, and the reference gets the faster one.
fn machine_client() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join("docker")).find(|file| file.is_file())
}
