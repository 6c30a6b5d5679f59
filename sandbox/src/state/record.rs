//! From a run to its state and back.

use std::time::Duration;

use jiff::Timestamp;

use super::{RunId, RunState, RunStatus};
use crate::create::Spec;
use crate::execution::Verdict;
use crate::{Command, Outcome, Request};

impl RunState {
    /// The state of a run that is about to be.
    pub(crate) fn begun(id: &RunId, spec: &Spec, request: &Request, owner: &str) -> Self {
        Self {
            id: id.clone(),
            container: id.to_string(),
            volume: String::new(),
            image: spec.image.clone(),
            workdir: spec.workdir.clone(),
            entrypoint: line(&spec.command),
            timeout: Some(spec.timeout.map_or(0, milliseconds)),
            extract: request.extract.clone(),
            detached: spec.detached,
            owner: Some(owner.to_owned()),
            engine: None,
            started_at: now(),
            finished_at: None,
            status: RunStatus::Running,
            exit_code: None,
            duration_ms: None,
            cancelled: None,
            timed_out: None,
            oom_killed: None,
            disk_exceeded: None,
            extracted: None,
            landed: Vec::new(),
            error: None,
            error_code: None,
        }
    }

    /// Whether the run is at this engine, as far as is known.
    pub(crate) fn is_at(&self, engine: Option<&str>) -> bool {
        match (self.engine.as_deref(), engine) {
            (Some(noted), Some(here)) => noted == here,
            _ => true,
        }
    }

    /// Writes down how it ended.
    pub(crate) fn conclude(&mut self, verdict: &Verdict) {
        self.finished_at = Some(now());
        self.landed.clear();
        match verdict {
            Ok(outcome) => self.conclude_outcome(outcome),
            Err(error) => {
                self.status = RunStatus::Failed;
                self.error = Some(error.message().to_owned());
                self.error_code = Some(error.code().to_string());
            }
        }
    }

    /// Writes down how its process ended, before it is over: its container has told the same, and goes first.
    pub(crate) fn note(&mut self, mut outcome: Outcome) {
        outcome.cancelled |= self.cancelled == Some(true);
        self.conclude_outcome(&outcome);
        self.status = RunStatus::Running;
    }

    fn conclude_outcome(&mut self, outcome: &Outcome) {
        self.status = if outcome.cancelled { RunStatus::Cancelled } else { RunStatus::Exited };
        self.exit_code = Some(outcome.exit_code);
        self.duration_ms = Some(milliseconds(outcome.duration));
        self.cancelled = Some(outcome.cancelled);
        self.timed_out = Some(outcome.timed_out);
        self.oom_killed = Some(outcome.oom_killed);
        self.disk_exceeded = Some(outcome.disk_exceeded);
        self.extracted.clone_from(&outcome.extracted);
    }

    /// How it ended; none while it runs. A run that failed before its process ended has exit code -1.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        (self.status != RunStatus::Running).then(|| self.told())
    }

    /// How its process ended, of a run that runs only because nobody has seen its container go.
    pub(crate) fn noted(&self) -> Option<Outcome> {
        self.exit_code.map(|_| self.told())
    }

    fn told(&self) -> Outcome {
        Outcome {
            exit_code: self.exit_code.unwrap_or(-1),
            duration: Duration::from_millis(self.duration_ms.unwrap_or(0)),
            cancelled: self.status == RunStatus::Cancelled || self.cancelled == Some(true),
            timed_out: self.timed_out == Some(true),
            oom_killed: self.oom_killed == Some(true),
            disk_exceeded: self.disk_exceeded == Some(true),
            extracted: self.extracted.clone(),
        }
    }
}

/// RFC 3339, UTC, milliseconds.
pub(crate) fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

fn line(command: &Command) -> Option<String> {
    match command {
        Command::Image => None,
        Command::Shell(line) => Some(line.clone()),
        Command::Argv(words) => Some(words.join(" ")),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_milliseconds() {
        let now = now();
        assert!(now.ends_with('Z') && now.len() == "2026-01-01T00:00:00.000Z".len(), "{now}");
        assert!(now.parse::<Timestamp>().is_ok());
    }
}
