//! Programs as processes: started, read, signalled, and gone when the test is.

use std::env;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use rustix::process::Signal;

use crate::wait::secs;

/// Where the test runner put the programs; beside the tests without.
const BIN_DIR: &str = "SEMILAYER_TEST_BIN_DIR";
/// Lines of a log that a failing test shows.
const SHOWN: usize = 60;

/// A command for one of our programs, with nothing of this process's environment but the path.
pub fn program(name: &str) -> Command {
    let path = programs().join(name);
    assert!(
        path.is_file(),
        "there is no {}: run `cargo xtask test`, or `cargo build -p {name}` first",
        path.display()
    );
    bare(path)
}

/// A command without this process's environment.
pub fn bare(path: impl Into<PathBuf>) -> Command {
    let mut command = Command::new(path.into());
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.env("LC_ALL", "C.UTF-8").env("RUST_BACKTRACE", "1");
    command
}

fn programs() -> PathBuf {
    if let Some(folder) = env::var_os(BIN_DIR) {
        return folder.into();
    }
    // target/debug/deps/e2e-0123456789abcdef
    let test = env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().to_owned()
}

/// What a process has written so far. Clones share it.
#[derive(Clone)]
pub struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    changed: watch::Receiver<usize>,
}

impl Log {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> (Self, JoinHandle<()>) {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (grew, changed) = watch::channel(0);
        let reader = tokio::spawn(read_all(pipe, Arc::clone(&bytes), grew));
        (Self { bytes, changed }, reader)
    }

    /// Everything.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Everything, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits for a line of which `find` makes something.
    pub async fn find<T>(&self, what: impl Display, limit: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        let mut changed = self.changed.clone();
        let search = async {
            loop {
                if let Some(found) = whole_lines(&self.text()).find_map(&find) {
                    return Some(found);
                }
                if changed.changed().await.is_err() {
                    return self.text().lines().find_map(&find);
                }
            }
        };
        match tokio::time::timeout(limit, search).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("the process ended without {what}; it wrote\n{}", self.text()),
            Err(_) => panic!("not within {limit:?}: {what}; the process wrote\n{}", self.text()),
        }
    }

    /// Waits for a line that has `needle` in it.
    pub async fn line_with(&self, needle: &str) -> String {
        self.find(format!("{needle:?} in the log"), secs(30), |line| {
            line.contains(needle).then(|| line.to_owned())
        })
        .await
    }

    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tail())
    }
}

/// A line counts when its end has been read.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text[..text.rfind('\n').map_or(0, |end| end + 1)].lines()
}

async fn read_all(mut pipe: impl AsyncRead + Unpin, bytes: Arc<Mutex<Vec<u8>>>, grew: watch::Sender<usize>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
        grew.send_modify(|size| *size += count);
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: u32,
    /// Standard output.
    pub stdout: Log,
    /// Standard error.
    pub stderr: Log,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a program under a name for messages.
    pub fn start(name: impl Into<String>, mut command: Command) -> Self {
        let name = name.into();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let pid = child.id().unwrap();
        let (stdout, out) = Log::of(child.stdout.take().unwrap());
        let (stderr, err) = Log::of(child.stderr.take().unwrap());
        Self { name, child, pid, stdout, stderr, readers: vec![out, err] }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Waits for its end and for the last of its output.
    pub async fn wait(&mut self, limit: Duration) -> ExitStatus {
        let Ok(status) = tokio::time::timeout(limit, self.child.wait()).await else {
            panic!("{} did not end within {limit:?}; its log:\n{:?}", self.name, self.stderr);
        };
        for reader in self.readers.drain(..) {
            // A grandchild may hold the pipe open; what has been read by then is enough.
            drop(tokio::time::timeout(secs(2), reader).await);
        }
        status.unwrap()
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.start_kill().unwrap();
        self.wait(secs(10)).await;
    }

    /// Asks it to end and answers its exit code.
    pub async fn terminate(&mut self, limit: Duration) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait(limit).await.code()
    }

    /// Resident memory now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- {} (pid {}), stderr:\n{:?}", self.name, self.pid, self.stderr);
            eprintln!("---- {}, stdout:\n{:?}", self.name, self.stdout);
        }
    }
}

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

impl Finished {
    /// The output of a program that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The same, read as one JSON value.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
    }

    /// Both outputs together.
    pub fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a program to its end.
pub async fn run(name: &str, command: Command, limit: Duration) -> Finished {
    let mut process = Process::start(name, command);
    let status = process.wait(limit).await;
    Finished { code: status.code(), stdout: process.stdout.text(), stderr: process.stderr.text() }
}

/// Runs a program that reads `input`.
pub async fn feed(name: &str, mut command: Command, input: &str, limit: Duration) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = tokio::spawn(async move { pipe.write_all(input.as_bytes()).await });
    let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
        panic!("{name} did not end within {limit:?}");
    };
    let output = output.unwrap();
    drop(writer.await);
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A port that nobody listens on now. Outside the range from which outgoing connections take theirs, so that none of
/// them gets it before the program that it is meant for.
pub fn free_port() -> u16 {
    let seed = uuid::Uuid::new_v4().as_u128();
    (0..2_000)
        .map(|step| 12_000 + u16::try_from((seed + step) % 18_000).unwrap())
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("no free port")
}
