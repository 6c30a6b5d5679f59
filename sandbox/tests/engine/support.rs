//! A sandbox of a test's own at the shared engine, and the engine's own word on what is left of its runs.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use runtime::Drain;
use sandbox::{
    Command, Execution, Extract, Options, Outcome, Output, OutputStream, Request, RunId, Sandbox, Transfer,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A shell and the usual tools, and nothing else.
pub(crate) const IMAGE: &str = "semilayer-test/busybox";
const SERVICES: &str = "SEMILAYER_TEST_SERVICES";
pub(crate) const HOST: &str = "SEMILAYER_TEST_DOCKER_HOST";

/// A sandbox with a folder of states that goes with the test.
pub(crate) struct House {
    pub(crate) sandbox: Sandbox,
    pub(crate) drain: Drain,
    pub(crate) docker: Docker,
    folder: TempDir,
}

/// What a run wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Told {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn errors(&self) -> &str {
        std::str::from_utf8(&self.stderr).unwrap()
    }
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut options = Options::new(folder.path().join("state"));
        options.docker_host = Some(docker_host());
        change(&mut options);
        let docker = options.docker_host.as_deref().map(Docker::connect_with_host).unwrap().unwrap();
        let drain = Drain::new();
        let sandbox = Sandbox::open(options, &drain).unwrap();
        Self { sandbox, drain, docker, folder }
    }

    /// The same with each way of moving files.
    pub(crate) fn each_transfer() -> [Self; 2] {
        Self::each_transfer_with(|_| {})
    }

    pub(crate) fn each_transfer_with(change: impl Fn(&mut Options)) -> [Self; 2] {
        [Transfer::Shared, Transfer::Archive].map(|transfer| {
            Self::with(|options| {
                options.transfer = transfer;
                change(options);
            })
        })
    }

    /// A folder that goes with the test.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) async fn run(&self, request: Request) -> Told {
        let (sender, receiver) = mpsc::channel(16);
        let execution = self.sandbox.start(Request { output: Some(sender), ..request }).unwrap();
        let (outcome, (stdout, stderr)) = tokio::join!(execution.outcome(), gathered(receiver));
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", error.code()));
        self.assert_nothing_left(execution.id()).await;
        Told { outcome, stdout, stderr }
    }

    /// Runs a line of shell without a network.
    pub(crate) async fn shell(&self, line: &str) -> Told {
        self.run(shell(line)).await
    }

    pub(crate) fn start(&self, request: Request) -> Execution {
        self.sandbox.start(request).unwrap()
    }

    /// The engine's word.
    pub(crate) async fn container_status(&self, id: &RunId) -> Option<String> {
        let container = self.docker.inspect_container(id.as_str(), None).await.ok()?;
        Some(container.state?.status?.to_string())
    }

    pub(crate) async fn until_running(&self, id: &RunId) {
        self.until_it_is("running", id, secs(20)).await;
    }

    pub(crate) async fn until_exited(&self, id: &RunId) {
        self.until_it_is("exited", id, secs(60)).await;
    }

    async fn until_it_is(&self, status: &str, id: &RunId, limit: Duration) {
        until(status, limit, async || self.container_status(id).await.as_deref() == Some(status)).await;
    }

    /// Ends what waits for a run, which would outlive the test.
    pub(crate) async fn close(self) {
        self.drain.run(secs(0), std::future::pending()).await;
    }

    /// No container, no folder.
    pub(crate) async fn assert_nothing_left(&self, id: &RunId) {
        let label = format!("light-runner.run-id={id}");
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let left = self.docker.list_containers(Some(options)).await.unwrap();
        assert!(left.is_empty(), "containers of {id} are left: {left:?}");
        let work = self.state_dir().join("work").join(id.as_str());
        assert!(!work.exists(), "{} is left", work.display());
    }
}

/// A request for a line of shell without a network.
pub(crate) fn shell(line: &str) -> Request {
    Request {
        command: Command::Shell(line.to_owned()),
        networks: vec!["none".to_owned()],
        ..Request::new(IMAGE)
    }
}

pub(crate) fn extract(from: &str, to: &Path) -> Extract {
    Extract { from: from.to_owned(), to: to.to_owned() }
}

pub(crate) async fn gathered(mut receiver: mpsc::Receiver<Output>) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(piece) = receiver.recv().await {
        match piece.stream {
            OutputStream::Stdout => stdout.extend_from_slice(&piece.bytes),
            OutputStream::Stderr => stderr.extend_from_slice(&piece.bytes),
        }
    }
    (stdout, stderr)
}

pub(crate) async fn until(what: &str, limit: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Bytes of memory of this process.
pub(crate) fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Runs something and tells by how many bytes this process has grown meanwhile, at most.
pub(crate) async fn growth_of<T>(work: impl Future<Output = T>) -> (T, u64) {
    let (before, mut most) = (resident(), 0);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return (done, most.max(resident()).saturating_sub(before)),
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(resident()),
        }
    }
}

/// Runs a whole test, which must end in time.
pub(crate) async fn within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, test).await.unwrap_or_else(|_| panic!("not within {limit:?}"))
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The engine that `cargo xtask test` has started.
pub(crate) fn docker_host() -> String {
    if let Ok(host) = std::env::var(HOST) {
        return host;
    }
    let path = std::env::var_os(SERVICES)
        .expect("SEMILAYER_TEST_SERVICES names no servers: run the tests with `cargo xtask test`");
    engine_of(Path::new(&path)).expect("no container engine among the servers")
}

fn engine_of(path: &Path) -> Option<String> {
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let servers = state["servers"].as_array()?;
    let docker = servers.iter().find(|server| server["service"] == "docker")?;
    Some(docker["engine"]["dockerHost"].as_str()?.to_owned())
}
