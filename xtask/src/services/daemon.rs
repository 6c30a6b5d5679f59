//! Servers as processes: started, recognised later, stopped.
//!
//! A pid alone may have been given to somebody else since, so a process is its pid and the moment it
//! started, as Linux counts it. What was started is written down before anything else happens: a start that
//! is interrupted leaves a record by which the next one cleans up.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{Run, eventually};
use crate::error::{Error, last_lines};
use crate::services::account::clean;
use crate::services::folder::{Folder, remove_file};
use crate::services::state::replace_private;

/// How a server is asked to end, and how long each request may take to work. The first is for PostgreSQL,
/// which would wait for its clients at the second; MySQL does not hear the first.
pub(crate) const STOP: &[(&str, Duration)] = &[
    ("INT", Duration::from_secs(1)),
    ("TERM", Duration::from_secs(10)),
    ("QUIT", Duration::from_secs(5)),
    ("KILL", Duration::from_secs(5)),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks between the machine's start and the process's, as in `/proc/<pid>/stat`.
    started: u64,
}

/// A server that was started, with the folder that is its alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) process: Process,
    folder: PathBuf,
    /// The program and its arguments: enough to start it again.
    #[serde(default)]
    command: Vec<String>,
    /// What it writes to its terminal.
    #[serde(default)]
    log: PathBuf,
    /// Where the record itself is kept.
    #[serde(skip)]
    path: PathBuf,
}

/// Process 1 collects orphans at once on most machines, every second on some.
const COLLECT_LIMIT: Duration = Duration::from_secs(10);
const ENDING: &str = ".daemon.json";

impl Process {
    /// None when no such process runs.
    fn find(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may itself contain anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        // Field 22 by the manual's count; the iterator stands before field 4.
        let started = fields.nth(18)?.parse().ok()?;
        // A zombie has ended; only its parent has not asked yet.
        (state != "Z").then_some(Process { pid, started })
    }

    pub(crate) fn is_alive(self) -> bool {
        Process::find(self.pid) == Some(self)
    }

    /// Asks, asks harder, kills. Nothing happens to a process that only has the same pid.
    fn stop(self) -> Result<(), Error> {
        for (signal, limit) in STOP {
            if !self.is_alive() {
                return Ok(());
            }
            self.signal(signal);
            if eventually(*limit, || Ok(!self.is_alive()))? {
                return Ok(());
            }
        }
        Err(Error::Unstoppable { pid: self.pid })
    }

    /// A server takes the lock of one that has ended but was not collected yet for the lock of one that runs.
    /// Somebody who never collects is not waited for.
    fn wait_until_collected(self) -> Result<(), Error> {
        let proc = PathBuf::from(format!("/proc/{}", self.pid));
        eventually(COLLECT_LIMIT, || Ok(!proc.exists() || Process::find(self.pid).is_some())).map(drop)
    }

    fn signal(self, name: &str) {
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s \"$0\" \"$1\"", name, &self.pid.to_string()]);
        // A process that ends by itself in this moment is no error; one that lives on is seen by the caller.
        Run::new(kill, "kill", Duration::from_secs(5)).capture().ok();
    }
}

impl Record {
    /// Starts `command` apart from this terminal, writing to `log`, and writes it down as `name`.
    pub(crate) fn start(
        folder: &Folder,
        name: &str,
        own: &Path,
        command: Command,
        log: &Path,
    ) -> Result<Record, Error> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned()).collect();
        File::create(log).map_err(Error::io("create", log))?;
        let record = Record {
            process: spawn(name, command, log)?,
            folder: own.to_owned(),
            command: words,
            log: log.to_owned(),
            path: folder.path().join(format!("{name}{ENDING}")),
        };
        record.save()?;
        Ok(record)
    }

    /// Stops the process, where it runs, and starts it as before, with the data it had.
    pub(crate) fn restart(self) -> Result<Record, Error> {
        self.process.stop()?;
        self.process.wait_until_collected()?;
        let mut words = self.command.iter();
        let program = words.next().ok_or(Error::NothingRuns)?;
        let mut command = Command::new(program);
        command.args(words);
        clean(&mut command);
        let record = Record { process: spawn(self.name(), command, &self.log)?, ..self };
        record.save()?;
        Ok(record)
    }

    /// What it was started as.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()?.strip_suffix(ENDING)).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Every server that was started and not stopped since. A record that cannot be read leads nowhere and is
    /// removed.
    pub(crate) fn all(folder: &Folder) -> Result<Vec<Record>, Error> {
        let entries = fs::read_dir(folder.path()).map_err(Error::io("read", folder.path()))?;
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("read", folder.path()))?.path();
            if path.to_string_lossy().ends_with(ENDING) {
                match Record::load(&path) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        println!("removed: {}", error.with_causes());
                        remove_file(&path)?;
                    }
                }
            }
        }
        Ok(records)
    }

    /// Ends the process and keeps what is its own.
    pub(crate) fn end(&self) -> Result<(), Error> {
        self.process.stop()
    }

    /// Ends the process and removes what was its own. Right for a process that is already gone, too.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.process.stop()?;
        remove_folder(&self.folder)?;
        remove_file(&self.path)
    }

    fn load(path: &Path) -> Result<Record, Error> {
        let text = fs::read(path).map_err(Error::io("read", path))?;
        let record: Record =
            serde_json::from_slice(&text).map_err(|source| Error::State { path: path.to_owned(), source })?;
        Ok(Record { path: path.to_owned(), ..record })
    }

    fn save(&self) -> Result<(), Error> {
        let text =
            serde_json::to_vec(self).map_err(|source| Error::State { path: self.path.clone(), source })?;
        replace_private(&self.path, &text)
    }
}

/// Starts a process apart from this terminal; what it says is added to `log`.
fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Process, Error> {
    let output = File::options().append(true).open(log).map_err(Error::io("open", log))?;
    let errors = output.try_clone().map_err(Error::io("open", log))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Start { what: name.to_owned(), source })?;
    Ok(Process::find(child.id()).unwrap_or(Process { pid: child.id(), started: 0 }))
}

/// Removes a folder and all in it; it may already be gone.
pub(crate) fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Ends these side by side and removes what was theirs. The first error is the one to report.
pub(crate) fn stop_all(records: &[Record]) -> Result<(), Error> {
    thread::scope(|scope| {
        let stopping: Vec<_> = records.iter().map(|record| scope.spawn(|| record.stop())).collect();
        // All are joined before the first error is looked at.
        let stopped: Vec<_> = stopping.into_iter().filter_map(|thread| thread.join().ok()).collect();
        stopped.into_iter().collect()
    })
}

/// The end of a log, for a message.
pub(crate) fn log_tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&text), 15).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_another_process_and_is_left_alone() {
        let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
        let found = Process::find(bystander.id()).unwrap();
        let earlier = Process { started: found.started - 1, ..found };
        assert!(!earlier.is_alive());
        earlier.stop().unwrap();
        assert!(found.is_alive(), "the bystander was hurt");

        found.stop().unwrap();
        assert!(!found.is_alive());
        bystander.wait().unwrap();
    }

    #[test]
    fn a_process_that_ended_but_was_not_collected_is_not_alive() {
        let mut child = Command::new("true").spawn().unwrap();
        assert!(eventually(Duration::from_secs(10), || Ok(Process::find(child.id()).is_none())).unwrap());
        child.wait().unwrap();
    }
}
