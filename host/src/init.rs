//! The runner as the first process of a container.
//!
//! The kernel gives that process all orphans of the container, and one that does not wait for them collects the dead until no
//! process can be made any more. A daemon cannot do that beside its work: waiting for any child takes the ends of its own
//! commands from those that wait for them. So the first process does nothing else. It starts the runner as its child,
//! passes signals on, waits for whoever ends, and ends as the runner does.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// The number of the first process.
const FIRST: u32 = 1;
/// What shells make of a signal.
const BY_SIGNAL: i32 = 128;

/// Whether this is the first process.
pub fn is_first() -> bool {
    std::process::id() == FIRST
}

/// Starts this program again, with the same arguments, and waits for its end. Fails only before it has started.
pub fn run() -> io::Result<ExitCode> {
    let own = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    own.block_on(attend())
}

async fn attend() -> io::Result<ExitCode> {
    // Before there is a child whose end, or a signal that, could be missed.
    let mut signals = Received::listen()?;
    let child = start()?;
    // Commands of shell jobs may be of the same user, and the environment with the tokens is here, too.
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        crate::command::complain(&format!("other processes of this user may look into this one: {error}"));
    }
    loop {
        if let Some(ended) = reap(child)? {
            return Ok(exit_code(ended));
        }
        if let Some(signal) = signals.next().await {
            // It may have ended just now.
            let _gone = kill_process(child, signal).err();
        }
    }
}

/// In a group of its own: a terminal's Ctrl-C comes here alone and is passed on once. A second one would mean to abort.
fn start() -> io::Result<Pid> {
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = name {
        command.arg0(name);
    }
    let child = command.args(arguments).process_group(0).spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("a process without a number"))
}

/// Waits for all that have ended; answers how the runner has, if it is among them.
fn reap(runner: Pid) -> io::Result<Option<WaitStatus>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == runner => return Ok(Some(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn exit_code(ended: WaitStatus) -> ExitCode {
    let code = ended.exit_status().or_else(|| Some(BY_SIGNAL + ended.terminating_signal()?));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// What the first process hears.
struct Received {
    children: Signals,
    terminate: Signals,
    interrupt: Signals,
    hangup: Signals,
}

impl Received {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            children: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal that is for the runner; nothing when some child has ended.
    async fn next(&mut self) -> Option<Signal> {
        tokio::select! {
            _ = self.children.recv() => None,
            _ = self.terminate.recv() => Some(Signal::TERM),
            _ = self.interrupt.recv() => Some(Signal::INT),
            _ = self.hangup.recv() => Some(Signal::HUP),
        }
    }
}
