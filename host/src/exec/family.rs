//! The processes of one command: the group that it begins, and those that left the group.
//!
//! A process can leave its group and its session, and outlive its parent. It then still has the environment that it was
//! started with, where the command's mark stands, and is found by it. What also takes the mark out of its environment is not
//! found; only a container holds such a process.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable with a command's mark.
pub(crate) const MARK: &str = "SEMILAYER_JOB";
/// Rounds of looking for what has left: a process that makes others is faster than one look.
const ROUNDS: u32 = 100;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(10);

/// All processes of a command. Dropping it kills the group, as long as the group's number is its own.
#[derive(Debug)]
pub(crate) struct Family {
    group: Pid,
    mark: String,
    owned: bool,
}

impl Family {
    /// Of the command whose first process is `leader`, and leads its group.
    pub(crate) fn new(leader: Pid, mark: String) -> Self {
        Self { group: leader, mark, owned: true }
    }

    /// Sends a signal to the group. The leader is not reaped yet, so the number is still the group's.
    pub(crate) fn signal(&self, signal: Signal) {
        // Gone already is what was wanted.
        let _gone = kill_process_group(self.group, signal).err();
    }

    /// Kills all that is left, inside and outside of the group, and answers whether nothing is.
    pub(crate) async fn end(&self) -> bool {
        self.signal(Signal::KILL);
        for _ in 0..ROUNDS {
            let found = self.marked().await;
            if found.is_empty() {
                return true;
            }
            for pid in found {
                let _gone = kill_process(pid, Signal::KILL).err();
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }

    /// The leader is about to be reaped: after that its number may be somebody else's.
    pub(crate) fn release(mut self) {
        self.owned = false;
    }

    /// Who has the mark in its environment.
    async fn marked(&self) -> Vec<Pid> {
        let wanted = format!("{MARK}={}", self.mark);
        tokio::task::spawn_blocking(move || marked(wanted.as_bytes())).await.unwrap_or_default()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if self.owned {
            self.signal(Signal::KILL);
        }
    }
}

fn marked(wanted: &[u8]) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| has_mark(*pid, wanted)).filter_map(Pid::from_raw).collect()
}

/// The environment of a process of another user, or of one that has ended, is not to be read.
fn has_mark(pid: i32, wanted: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}
