//! What a sandbox grants to every run: the upper bounds, the engine, and the folder of states.

use std::path::PathBuf;
use std::time::Duration;

use crate::engine;

const MIB: u64 = 1024 * 1024;
/// What builds and tools leave behind and nobody means to send.
const SEED_IGNORE: [&str; 8] =
    [".git", "node_modules", "dist", "build", ".next", ".cache", ".turbo", "coverage"];

/// Settings of one [`Sandbox`](crate::Sandbox). The defaults are the published ones where there are any.
#[derive(Debug, Clone)]
pub struct Options {
    /// `unix://…`, `tcp://…` (TLS by `docker_certs`); the engine's own socket when not said.
    pub docker_host: Option<String>,
    /// Folder with `ca.pem`, `cert.pem` and `key.pem` for an engine behind TLS.
    pub docker_certs: Option<PathBuf>,
    /// How long the engine may take to answer before a run, 5 s.
    pub ping_timeout: Duration,
    /// Where states of runs, the staging of files and locks are kept (0700).
    pub state_dir: PathBuf,
    /// Bytes of memory, swap included: 512 MiB.
    pub memory: u64,
    /// Cores: 1.
    pub cpus: f64,
    /// Processes and threads: 100.
    pub pids: u32,
    /// Bytes that a run may write to its workdir and, where it can be written, its root: 1 GiB.
    pub disk: u64,
    /// Bytes of `/tmp` (and of `/dev/shm`), which count as memory: 64 MiB.
    pub tmp: u64,
    /// Which runtime of the engine.
    pub runtime: ContainerRuntime,
    /// Graphics processors, as `--gpus` of `docker run` takes them; none when not said.
    pub gpus: Option<String>,
    /// When nothing is said in the request: 20 minutes.
    pub timeout: Duration,
    /// How long a pull may take: 10 minutes.
    pub pull_timeout: Duration,
    /// Names that are not copied from a seed folder, at any depth.
    pub seed_ignore: Vec<String>,
    /// Bounds of what is taken out.
    pub extract: ExtractLimits,
    /// How files go in and out.
    pub transfer: Transfer,
    /// How old a leftover that no living process owns must be before it is removed: 5 minutes.
    pub reap_age: Duration,
    /// Bytes of ended runs' states: 50 MiB.
    pub state_budget: u64,
    /// Containers that wait for a run, by image.
    pub warm: Vec<(String, usize)>,
}

impl Options {
    /// What the address of an engine looks like.
    pub const DOCKER_HOST: &str = "unix:///path/of/the/socket or tcp://host:port";

    /// Whether a text is one, as far as that can be said without asking there.
    pub fn is_docker_host(text: &str) -> bool {
        engine::is_address(text)
    }

    /// Every default, with this folder of states.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            docker_host: None,
            docker_certs: None,
            ping_timeout: Duration::from_secs(5),
            state_dir: state_dir.into(),
            memory: 512 * MIB,
            cpus: 1.0,
            pids: 100,
            disk: 1024 * MIB,
            tmp: 64 * MIB,
            runtime: ContainerRuntime::default(),
            gpus: None,
            timeout: Duration::from_secs(20 * 60),
            pull_timeout: Duration::from_secs(10 * 60),
            seed_ignore: SEED_IGNORE.map(str::to_owned).to_vec(),
            extract: ExtractLimits { bytes: 1024 * MIB, entries: 100_000 },
            transfer: Transfer::default(),
            reap_age: Duration::from_secs(5 * 60),
            state_budget: 50 * MIB,
            warm: Vec::new(),
        }
    }
}

/// A runtime that the engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContainerRuntime {
    /// The engine's own.
    #[default]
    Runc,
    /// gVisor.
    Runsc,
    /// Kata Containers.
    Kata,
}

/// How files go in and out of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// By a folder that both see where engine and caller share a file system, by archives otherwise.
    #[default]
    Auto,
    /// Always by the engine's archive endpoints.
    Archive,
    /// Always by a shared folder; runs fail where there is none.
    Shared,
}

/// Bounds of `extract`, for all entries of a run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractLimits {
    /// Bytes of files: 1 GiB.
    pub bytes: u64,
    /// Files and folders: 100 000.
    pub entries: u64,
}
