//! A command on this host: started clean, read to its end, stopped with all that it has started.
//!
//! It leads a process group of its own, has no input, an environment that holds nothing of the runner's, and the root folder
//! to stand in. Its answer is awaited until both outputs are closed, so nothing that it said is lost; processes that it
//! leaves behind, and that keep its outputs open, have a moment and are then killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};

use protocol::Stream;
use rustix::io::Errno;
use rustix::process::{Pid, Signal as UnixSignal, WaitId, WaitIdOptions, waitid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::family::{Family, MARK};
use super::stop::{Signal, Stop};

/// Bytes of one read.
const PIECE: usize = 16 * 1024;
/// How long those that a command has left behind may keep its outputs open.
const LINGER: Duration = Duration::from_millis(500);
/// How long the outputs may take to close when everybody is dead.
const CLOSING: Duration = Duration::from_secs(1);

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostCommand {
    pub(crate) program: PathBuf,
    /// What the program sees as its own name; the path where it is not said.
    pub(crate) name: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
    /// Variables beside [`BASE`].
    pub(crate) env: BTreeMap<String, String>,
}

/// What every command has in its environment.
const BASE: [(&str, &str); 6] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/"),
    ("LANG", "C.UTF-8"),
    ("PAGER", "cat"),
    ("SYSTEMD_PAGER", "cat"),
    ("TERM", "dumb"),
];

/// When a command must have ended.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) deadline: Instant,
    /// Between asking and killing.
    pub(crate) grace: Duration,
    pub(crate) cancel: CancellationToken,
}

/// A piece of output as it was read.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) stream: Stream,
    pub(crate) bytes: Vec<u8>,
}

/// How a command came to its end. It is gone, with all that was found of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this exit code; 128 + n after signal n.
    Exited(i32),
    /// Because it was cancelled.
    Cancelled,
    /// Because its time was up.
    TimedOut,
}

/// Runs a command to its end. Its output goes to `pieces`; a receiver that does not keep up holds the command back.
pub(crate) async fn run(
    command: &HostCommand,
    limits: &Limits,
    pieces: mpsc::Sender<Piece>,
) -> io::Result<Ended> {
    let mark = uuid::Uuid::now_v7().to_string();
    let mut child = started(command, &mark)?;
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
    let family = Family::new(pid, mark);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut reading = pin!(async {
        tokio::join!(read(stdout, Stream::Stdout, &pieces), read(stderr, Stream::Stderr, &pieces));
    });
    let mut stop = Stop::new(limits.grace);
    let mut why: Option<Ended> = None;
    let mut read_all = false;
    let mut exit = pin!(exited(pid));
    loop {
        let look_again = stop.until();
        tokio::select! {
            exited = &mut exit => break exited?,
            () = &mut reading, if !read_all => read_all = true,
            () = limits.cancel.cancelled(), if why.is_none() => {
                why = Some(Ended::Cancelled);
                send(&family, stop.ask(Instant::now()));
            }
            () = sleep_until(limits.deadline), if why.is_none() => {
                why = Some(Ended::TimedOut);
                send(&family, stop.ask(Instant::now()));
            }
            () = sleep_until(look_again.unwrap_or(limits.deadline)), if look_again.is_some() => {
                send(&family, stop.look(Instant::now()));
            }
        }
    }
    // A shell that was asked to end does so at once; what it had started has the rest of the grace.
    let patience = match (stop.until(), why) {
        (Some(until), _) => until,
        (None, Some(_)) => Instant::now(),
        (None, None) => Instant::now() + LINGER,
    };
    if !read_all {
        read_all = closes(&mut reading, patience, &pieces, limits).await;
    }
    if !family.end().await {
        tracing::warn!("a command makes processes faster than they can be ended");
    }
    if !read_all && !closes(&mut reading, Instant::now() + CLOSING, &pieces, limits).await {
        tracing::warn!("the output of a command that has ended is still open");
    }
    family.release();
    let status = child.wait().await?;
    Ok(why.unwrap_or_else(|| Ended::Exited(exit_code(status))))
}

/// Whether the outputs close until then. As long as it is the reader who holds them back they have all the time of the
/// command: what was written is not thrown away because a socket is slow.
async fn closes(
    reading: &mut (impl Future<Output = ()> + Unpin),
    mut until: Instant,
    pieces: &mpsc::Sender<Piece>,
    limits: &Limits,
) -> bool {
    while timeout_at(until, &mut *reading).await.is_err() {
        let is_held_back =
            pieces.capacity() == 0 && !limits.cancel.is_cancelled() && Instant::now() < limits.deadline;
        if !is_held_back {
            return false;
        }
        until = Instant::now() + CLOSING;
    }
    true
}

fn started(command: &HostCommand, mark: &str) -> io::Result<Child> {
    let mut process = Command::new(&command.program);
    if let Some(name) = &command.name {
        process.arg0(name);
    }
    process
        .args(&command.arguments)
        .env_clear()
        .envs(BASE)
        .envs(&command.env)
        .env(MARK, mark)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Waits until the process has ended, without reaping it: until then its number, which is its group's, belongs to nobody
/// else. A thread waits, of which there are as many as commands may run.
async fn exited(pid: Pid) -> io::Result<()> {
    let wait = move || loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => {}
            waited => return waited.map(drop).map_err(io::Error::from),
        }
    };
    tokio::task::spawn_blocking(wait).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn send(family: &Family, signal: Option<Signal>) {
    match signal {
        Some(Signal::Terminate) => {
            family.signal(UnixSignal::TERM);
            // A process that is stopped would hear of it only when it goes on.
            family.signal(UnixSignal::CONT);
        }
        Some(Signal::Kill) => family.signal(UnixSignal::KILL),
        None => {}
    }
}

async fn read(output: Option<impl AsyncRead + Unpin>, stream: Stream, pieces: &mpsc::Sender<Piece>) {
    let Some(mut output) = output else { return };
    let mut buffer = vec![0; PIECE];
    // A pipe that breaks has ended.
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if pieces.send(Piece { stream, bytes }).await.is_err() {
            // Nobody wants it, but the command must not be stopped by that.
            continue;
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    const BY_SIGNAL: i32 = 128;
    status.code().or_else(|| status.signal().map(|signal| BY_SIGNAL + signal)).unwrap_or(-1)
}

#[cfg(test)]
mod tests;
