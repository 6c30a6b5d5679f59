//! What can go wrong, and whose turn it is then.

use std::io;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`{given}` is no task\n\n{usage}", usage = crate::arguments::USAGE)]
    Usage { given: String },
    #[error("{name} is not set, and without it there is no cache folder")]
    NoHome { name: &'static str },
    #[error("{program} is not here; {advice}")]
    Missing { program: &'static str, advice: &'static str },
    #[error("cannot start {what}")]
    Start { what: String, source: io::Error },
    #[error("{what} failed ({status}){output}")]
    Failed { what: String, status: ExitStatus, output: Output },
    #[error("{what} did not end within {} s", .limit.as_secs())]
    Deadline { what: String, limit: Duration },
    #[error("cannot {what} {}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a state file of this xtask; remove it", .path.display())]
    State { path: PathBuf, source: serde_json::Error },
    #[error("the output of {what} is not what was expected: {found}")]
    Unexpected { what: String, found: String },
    #[error("{service} ended while it started; its log ends with:\n{log}")]
    Ended { service: &'static str, log: String },
    #[error("{service} did not answer within {} s; its log ends with:\n{log}", .limit.as_secs())]
    Silent { service: &'static str, limit: Duration, log: String },
    #[error("process {pid} cannot be stopped")]
    Unstoppable { pid: u32 },
    #[error("{} is too long for a unix socket; set XDG_CACHE_HOME to a shorter folder", .path.display())]
    LongSocket { path: PathBuf },
    #[error("another xtask holds {} for more than {} s", .path.display(), .limit.as_secs())]
    Locked { path: PathBuf, limit: Duration },
    #[error("tests of another xtask use these servers; wait for them to end")]
    InUse,
    #[error("no services run; start them with `cargo xtask services up`")]
    NothingRuns,
    #[error("no service is called `{name}`; there are {known}")]
    NoService { name: String, known: String },
    #[error(
        "cannot fetch {what}; its registry must be reachable, or a Docker engine must be able to pull \
         (`--only` starts the others)"
    )]
    NotFetched { what: String, source: Box<Error> },
    #[error("not started: {}; the reasons are above", .names.join(", "))]
    NotStarted { names: Vec<String> },
    #[error("no Docker engine that can run docker-compose.test.yml: {reason}")]
    NoDocker { reason: String },
    #[error("no Docker engine can run here: {missing}")]
    NoEngine { missing: String },
    #[error("not passed: {}", .names.join(", "))]
    NotPassed { names: Vec<String> },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { what, path, source }
    }

    /// The message and those of its causes, on one line.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// 2 for a mistake on the command line, 1 otherwise.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if matches!(self, Error::Usage { .. }) { ExitCode::from(2) } else { ExitCode::FAILURE }
    }
}

/// The end of what a failed program said; nothing where it said nothing.
#[derive(Debug)]
pub(crate) struct Output(pub(crate) String);

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match last_lines(&self.0, 20) {
            "" => Ok(()),
            text => write!(f, ":\n{text}"),
        }
    }
}

/// At most the last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> &str {
    let text = text.trim_end();
    match text.rmatch_indices('\n').nth(count.saturating_sub(1)) {
        Some((at, newline)) => text.get(at + newline.len()..).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\nb", 2), "a\nb");
        assert_eq!(last_lines("", 2), "");
    }
}
