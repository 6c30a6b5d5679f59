//! What is known of a run after its process is gone: one JSON file each.

mod journal;
mod record;
mod store;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Extract, Extracted};

pub(crate) use journal::{Journal, Landed};
pub(crate) use store::{Store, private_folder, replace};

/// Names a run, its container and its files: `light-runner-` and twelve characters of `[0-9a-f-]`. Nothing else parses, so
/// that an id can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// What every name of ours begins with.
    pub const PREFIX: &'static str = "light-runner-";
    const RANDOM: usize = 12;

    /// A new one.
    #[expect(clippy::new_without_default, reason = "a default id would be a different one each time")]
    pub fn new() -> Self {
        let random: String = uuid::Uuid::new_v4().to_string().chars().take(Self::RANDOM).collect();
        Self(format!("{}{random}", Self::PREFIX))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no id of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a run")]
pub struct NotARunId;

impl FromStr for RunId {
    type Err = NotARunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let random = text.strip_prefix(Self::PREFIX).ok_or(NotARunId)?;
        let fits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        if random.len() == Self::RANDOM && random.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotARunId)
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = NotARunId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// A run as its file has it. Times are RFC 3339 UTC with milliseconds, durations milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// Which.
    pub id: RunId,
    /// The container's name.
    pub container: String,
    /// The volume's name or staging folder's; empty where there is none.
    #[serde(default)]
    pub volume: String,
    /// As in the request.
    pub image: String,
    /// As in the request.
    pub workdir: String,
    /// The command, where one was given: a shell's line, or the arguments with spaces between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// Milliseconds; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// What is to be taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extract: Vec<Extract>,
    /// Whether it outlives its caller.
    #[serde(default)]
    pub detached: bool,
    /// Which process answers for it: the name of its lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Which engine has a detached one: what that calls itself, and its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// When it was asked for.
    pub started_at: String,
    /// When it had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Where it is.
    pub status: RunStatus,
    /// Of an ended one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Of an ended one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Somebody cancelled or stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<bool>,
    /// It took too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<bool>,
    /// The kernel killed a process of it for want of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_killed: Option<bool>,
    /// It wrote more than it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_exceeded: Option<bool>,
    /// What was taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extracted: Option<Vec<Extracted>>,
    /// What is being taken out, of a detached one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) landed: Vec<Landed>,
    /// Why it failed, where that was not the process's doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The code of that failure, e.g. `CONTAINER_START_FAILED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Not ended.
    Running,
    /// Its process has ended, with whatever exit code.
    Exited,
    /// Cancelled or stopped.
    Cancelled,
    /// It could not be run to its end.
    Failed,
}
