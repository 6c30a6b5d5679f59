//! Other programs, each with a deadline.
//!
//! A program that hangs must not hang its caller: every run here ends by itself, by its deadline, or with
//! the terminal's Ctrl-C, which reaches the child because it stays in our process group.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Output};

/// Kept of each output stream; the rest is read and dropped.
const OUTPUT_LIMIT: u64 = 1 << 20;
/// How long a program's output may outlive the program, should it have left children behind.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// One run of a program.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    what: String,
    limit: Duration,
    input: String,
    errors: Errors,
}

/// What becomes of a captured program's standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// Part of the message, should the program fail.
    Kept,
    /// On this terminal as it comes.
    Shown,
}

impl Run {
    /// `what` names the run in messages; `limit` is how long it may take.
    pub(crate) fn new(command: Command, what: impl Into<String>, limit: Duration) -> Self {
        Run { command, what: what.into(), limit, input: String::new(), errors: Errors::Kept }
    }

    /// Text for the program's standard input; without it the input is empty.
    pub(crate) fn input(mut self, text: String) -> Self {
        self.input = text;
        self
    }

    /// Lets the terminal have what [`Run::capture`] would keep of the standard error.
    pub(crate) fn show_errors(mut self) -> Self {
        self.errors = Errors::Shown;
        self
    }

    /// Runs it with this terminal's output.
    pub(crate) fn show(mut self) -> Result<(), Error> {
        self.command.stdin(Stdio::null());
        let mut child = self.spawn()?;
        let status = self.wait(&mut child)?;
        self.judge(status, String::new)
    }

    /// Runs it in silence and returns what it wrote to its standard output, trimmed at the end. A failure
    /// carries both of its streams.
    pub(crate) fn capture(mut self) -> Result<String, Error> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if self.errors == Errors::Kept {
            self.command.stderr(Stdio::piped());
        }
        let mut child = self.spawn()?;
        let input = std::mem::take(&mut self.input);
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read all of its input says so by its exit code.
            thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
        }
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        let status = self.wait(&mut child)?;
        let stdout = collected(stdout);
        self.judge(status, || format!("{stdout}{}", collected(stderr)))?;
        Ok(stdout.trim_end().to_owned())
    }

    fn spawn(&mut self) -> Result<Child, Error> {
        self.command.spawn().map_err(|source| Error::Start { what: self.what.clone(), source })
    }

    fn judge(&self, status: ExitStatus, output: impl FnOnce() -> String) -> Result<(), Error> {
        if status.success() {
            return Ok(());
        }
        Err(Error::Failed { what: self.what.clone(), status, output: Output(output()) })
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, Error> {
        let failed = |source| Error::Start { what: self.what.clone(), source };
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status);
            }
            if started.elapsed() > self.limit {
                child.kill().map_err(failed)?;
                child.wait().map_err(failed)?;
                return Err(Error::Deadline { what: self.what.clone(), limit: self.limit });
            }
            thread::sleep(POLL);
        }
    }
}

/// Asks `ready` again and again until it says yes; false when `limit` has passed.
pub(crate) fn eventually(
    limit: Duration,
    mut ready: impl FnMut() -> Result<bool, Error>,
) -> Result<bool, Error> {
    let started = Instant::now();
    loop {
        if ready()? {
            return Ok(true);
        }
        if started.elapsed() > limit {
            return Ok(false);
        }
        thread::sleep(POLL);
    }
}

fn collect(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(read_bounded(stream)).ok());
    receiver
}

fn collected(stream: Option<Receiver<String>>) -> String {
    stream.and_then(|receiver| receiver.recv_timeout(OUTPUT_GRACE).ok()).unwrap_or_default()
}

fn read_bounded(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    let read = stream.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut bytes);
    // The pipe is emptied to its end, or the program would wait for us.
    if read.and_then(|_| io::copy(&mut stream, &mut io::sink())).is_err() {
        bytes.extend_from_slice(b"\n(its output could not be read to the end)");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Run {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Run::new(command, "the script", limit)
    }

    #[test]
    fn a_program_that_hangs_is_ended_at_its_deadline() {
        let started = Instant::now();
        let error = shell("exec sleep 600", Duration::from_millis(50)).capture().unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = shell("echo out; echo err >&2; exit 3", Duration::from_secs(60)).capture().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("out") && text.contains("err") && text.contains('3'), "{text}");
    }

    #[test]
    fn input_larger_than_a_pipe_passes_through() {
        let text = "x".repeat(300_000);
        let output = shell("cat", Duration::from_secs(60)).input(text.clone()).capture().unwrap();
        assert_eq!(output, text);
    }

    #[test]
    fn a_child_left_behind_does_not_hold_the_caller() {
        let started = Instant::now();
        let output = shell("sleep 30 & echo $!", Duration::from_secs(60)).capture();
        assert!(started.elapsed() < Duration::from_secs(20), "{output:?}");
    }
}
