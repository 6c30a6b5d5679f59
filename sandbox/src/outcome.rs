//! What became of a run.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A run that has ended, in whatever way; the container is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The process's exit code; 128 plus the signal where a signal ended it, -1 where nobody can say.
    pub exit_code: i64,
    /// From the process's start to its end.
    pub duration: Duration,
    /// Somebody cancelled or stopped it.
    pub cancelled: bool,
    /// It took longer than its timeout, and was killed.
    pub timed_out: bool,
    /// The kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// It wrote more than it may, and was killed.
    pub disk_exceeded: bool,
    /// One for each entry of the request's `extract`; none unless the exit code is 0 and nobody cancelled.
    pub extracted: Option<Vec<Extracted>>,
}

impl Outcome {
    /// Whether the process ended by itself with exit code 0.
    pub const fn success(&self) -> bool {
        self.exit_code == 0 && !self.cancelled && !self.timed_out && !self.disk_exceeded
    }
}

/// What became of one entry of `extract`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// As in the request.
    pub from: String,
    /// As in the request.
    pub to: PathBuf,
    /// How it went.
    pub status: ExtractStatus,
    /// Why not, of [`ExtractStatus::Error`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Bytes of the files that were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// How the extraction of one entry went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtractStatus {
    /// All of it is there.
    Ok,
    /// The container does not have it.
    Missing,
    /// It was refused or failed; nothing of it is left at `to`.
    Error,
}
