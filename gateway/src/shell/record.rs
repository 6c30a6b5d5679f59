//! What the audit log keeps of a shell job: the command, a copy of what its runner said of itself, and what came of it.
//!
//! Everything is cut to a length of its own: the log is no place for the files of a job, and who writes a megabyte to the
//! standard output does not fill it.

use protocol::{ExecRequest, Invocation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit;

/// Bytes of a command and of an argument list that are kept.
const MAX_COMMAND: usize = 4 * 1024;
/// Bytes of each stream that are kept, half of them of its beginning and half of its end.
pub(crate) const MAX_OUTPUT: usize = 16 * 1024;
/// Characters of a message, and of what a runner says of itself, that are kept.
const MAX_MESSAGE: usize = 1_000;
const MAX_SAID: usize = 200;
/// Variables whose names are kept.
const MAX_VARIABLES: usize = 64;

/// A shell job as its row keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ShellRecord {
    /// Name of the runner, as it was then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// What the runner's process said of itself.
    pub said: RunnerSnapshot,
    /// The command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Or the arguments, the program first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Whether command or arguments were longer than what is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// The container's image, of a job in a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Names of the variables that came with it. Their values are not kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// The limit that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// How the program ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Milliseconds that it ran, as the runner says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<u64>,
    /// Why there is no exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the program wrote. Apart in the store.
    #[serde(skip)]
    pub output: Option<KeptOutput>,
}

/// A copy of what a runner's process said of itself in `hello`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunnerSnapshot {
    /// Name of its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What its own settings let it do.
    pub capabilities: Vec<String>,
}

/// The beginning and the end of what a program wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptOutput {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Bytes of the standard output that are left out between beginning and end.
    pub stdout_left_out: u64,
    /// The same of the standard error.
    pub stderr_left_out: u64,
}

/// How a shell job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// The program ended by itself, with whatever exit code.
    Succeeded,
    /// Its time was over.
    Timeout,
    /// Its caller or an operator ended it.
    Cancelled,
    /// The runner's own rules refused it.
    Denied,
    /// Anything else.
    Failed,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Timeout, Self::Cancelled, Self::Denied, Self::Failed];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    /// The outcomes that it stands for; of [`Failed`](Self::Failed), those that it does not.
    pub const fn outcomes(self) -> &'static [&'static str] {
        match self {
            Self::Succeeded => &[audit::OK],
            Self::Timeout => &["QUERY_TIMEOUT"],
            Self::Cancelled => &["CANCELLED", audit::CALLER_STALLED],
            Self::Denied => &["POLICY_DENIED"],
            Self::Failed => {
                &[audit::OK, "QUERY_TIMEOUT", "CANCELLED", audit::CALLER_STALLED, "POLICY_DENIED"]
            }
        }
    }

    /// Whether it is everything that no other status stands for.
    pub const fn is_rest(self) -> bool {
        matches!(self, Self::Failed)
    }

    /// The status of a job with this outcome.
    pub fn of(outcome: &str) -> Self {
        let named = Self::ALL.into_iter().filter(|status| !status.is_rest());
        named.into_iter().find(|status| status.outcomes().contains(&outcome)).unwrap_or(Self::Failed)
    }
}

impl ShellRecord {
    /// Notes what is asked.
    pub(crate) fn of(request: &ExecRequest) -> Self {
        let (command, argv, is_cut) = match &request.invocation {
            Invocation::Command(text) => {
                let kept = cut(text, MAX_COMMAND);
                let is_cut = kept.len() < text.len();
                (Some(kept), None, is_cut)
            }
            Invocation::Argv(list) => {
                let kept = cut_list(list, MAX_COMMAND);
                let is_cut = kept != *list;
                (None, Some(kept), is_cut)
            }
        };
        Self {
            command,
            argv,
            is_cut,
            image: request.sandbox.as_ref().and_then(|sandbox| sandbox.image.clone()),
            variables: request.env.names().take(MAX_VARIABLES).map(str::to_owned).collect(),
            timeout_secs: Some(u64::from(request.timeout_secs)),
            ..Self::default()
        }
    }

    /// Whether it is known what is asked. Of a stranger it is not.
    pub(crate) const fn has_question(&self) -> bool {
        self.command.is_some() || self.argv.is_some()
    }

    /// Notes why there is no exit code.
    pub(crate) fn failed(&mut self, message: &str) {
        self.error = Some(message.chars().take(MAX_MESSAGE).collect());
    }
}

/// What a runner says of itself, as far as it is kept.
pub(crate) fn said(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

fn cut(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default().to_owned()
}

/// As many of the arguments as fit, the last of them cut.
fn cut_list(list: &[String], most: usize) -> Vec<String> {
    let mut left = most;
    let mut kept = Vec::new();
    for item in list {
        kept.push(cut(item, left));
        // Each counts for a little more than its text, so that a thousand empty ones are bounded, too.
        left = left.saturating_sub(item.len() + 1);
        if left == 0 {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use protocol::RawObject;

    use super::*;

    fn record(body: &str) -> ShellRecord {
        ShellRecord::of(&ExecRequest::parse("j", &RawObject::from_text(body).unwrap()).unwrap())
    }

    #[test]
    fn a_long_command_is_cut_and_says_so() {
        let long = record(&format!(r#"{{"command":"{}"}}"#, "ä".repeat(4_000)));
        assert_eq!((long.command.unwrap().len(), long.is_cut), (MAX_COMMAND, true));
        let argv: Vec<String> = vec!["x".repeat(1_000); 10];
        let long = record(&serde_json::json!({"argv": argv}).to_string());
        let kept = long.argv.unwrap();
        assert!(long.is_cut && kept.concat().len() <= MAX_COMMAND && kept.len() == 5, "{}", kept.len());
        let short = record(r#"{"argv":["ls","","-l"]}"#);
        assert_eq!((short.argv.unwrap().len(), short.is_cut), (3, false));
    }

    #[test]
    fn the_values_of_variables_are_not_kept() {
        let record = record(r#"{"command":"ls","env":{"TOKEN":"hunter2"},"sandbox":{"image":"busybox"}}"#);
        let kept = serde_json::to_string(&record).unwrap();
        assert!(kept.contains("TOKEN") && kept.contains("busybox") && !kept.contains("hunter2"), "{kept}");
        assert_eq!(serde_json::from_str::<ShellRecord>(&kept).unwrap(), record);
    }

    #[test]
    fn every_outcome_has_one_status() {
        for (outcome, status) in [
            ("ok", JobStatus::Succeeded),
            ("QUERY_TIMEOUT", JobStatus::Timeout),
            ("CANCELLED", JobStatus::Cancelled),
            ("caller_stalled", JobStatus::Cancelled),
            ("POLICY_DENIED", JobStatus::Denied),
            ("runner_failed", JobStatus::Failed),
            ("RUNNER_BUSY", JobStatus::Failed),
        ] {
            assert_eq!(JobStatus::of(outcome), status, "{outcome}");
        }
    }
}
