//! What one run is asked to do. Plain data: nothing here is checked before [`Sandbox::start`](crate::Sandbox::start).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// One run. `Request { command: .., ..Request::new("alpine:3.19") }` asks for everything else as it is by default.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image, as `docker run` takes it: 1 to 300 bytes. Pulled once where the engine does not have it.
    pub image: String,
    /// What to run in it.
    pub command: Command,
    /// Steps that are baked into a cached image on top of `image`, one `RUN` each, before the run.
    /// They are the operator's: the build has the engine's own limits, not the run's.
    pub run: Vec<String>,
    /// Files of the workdir; an empty one without.
    pub seed: Option<Seed>,
    /// Bytes for stdin, which is closed after them. Without, stdin is empty. Not with `detached`.
    pub input: Option<Bytes>,
    /// From the process's start until it is killed; 20 minutes when not said, none with zero.
    pub timeout: Option<Duration>,
    /// Existing networks, the first is the primary one; `["none"]` for no network. Without any: an isolated bridge that
    /// reaches the outside and no other container.
    pub networks: Vec<String>,
    /// Environment of the process.
    pub env: BTreeMap<String, String>,
    /// Where the files are and the process begins: an absolute path, `/app` when not said.
    pub workdir: Option<String>,
    /// What to take out after exit code 0.
    pub extract: Vec<Extract>,
    /// The run outlives this process: it can be found again by [`Sandbox::attach`](crate::Sandbox::attach).
    pub detached: bool,
    /// `user[:group]`, by name or number. Without: an account that owns nothing, never root.
    pub user: Option<String>,
    /// The image's root can be written. Without, only the workdir and `/tmp` can.
    pub writable_root: bool,
    /// Capabilities added back to none at all, of [`Request::CAPABILITIES`].
    pub capabilities: Vec<String>,
    /// Limits in place of the sandbox's own, where lower.
    pub limits: Overrides,
    /// Where output goes as it comes; it is read and thrown away without. A receiver that does not keep up holds the
    /// process back, one that is gone does not.
    pub output: Option<mpsc::Sender<Output>>,
}

impl Request {
    /// Capabilities that a package manager running as root shows to need, and the only ones that can be asked for.
    pub const CAPABILITIES: [&'static str; 6] =
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"];

    /// The image's own command with every default.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            command: Command::Image,
            run: Vec::new(),
            seed: None,
            input: None,
            timeout: None,
            networks: Vec::new(),
            env: BTreeMap::new(),
            workdir: None,
            extract: Vec::new(),
            detached: false,
            user: None,
            writable_root: false,
            capabilities: Vec::new(),
            limits: Overrides::default(),
            output: None,
        }
    }
}

/// What runs in the container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Command {
    /// The image's entrypoint and command.
    #[default]
    Image,
    /// A line for the image's `sh -c`.
    Shell(String),
    /// A program and its arguments, without a shell.
    Argv(Vec<String>),
}

/// Files for the workdir. Symbolic and hard links, devices and names that lead out of it are refused or passed over.
#[derive(Debug, Clone)]
pub enum Seed {
    /// The content of a folder of this machine, without the names that are ignored; links are passed over.
    Dir(PathBuf),
    /// Files by their path below the workdir.
    Files(BTreeMap<String, Bytes>),
}

/// One file or folder to take out of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    /// In the container: absolute, or below the workdir. A trailing slash makes no difference.
    pub from: String,
    /// A folder of this machine, made where it does not exist. A file is put into it under its name, of a folder the
    /// content.
    pub to: PathBuf,
}

/// Limits of one run; what is not said is the sandbox's own, and nothing here can be above it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Bytes.
    pub memory: Option<u64>,
    /// Cores.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// A piece of output as the engine gave it: not cut at lines, not always at characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Which of the two.
    pub stream: OutputStream,
    /// At most 64 KiB.
    pub bytes: Bytes,
}

/// One of a process's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
