//! A run as callers see it.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use serde::Serialize;
use utoipa::ToSchema;

use super::artifacts::Artifact;
use super::book::{Book, Omitted};
use super::records::{Record, Told};
use crate::{ExtractStatus, RunState, RunStatus};

/// A run. Times are RFC 3339 in UTC, durations milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunView {
    /// Which.
    pub(crate) id: String,
    /// Where it is.
    pub(crate) status: Status,
    /// As it was asked for.
    image: String,
    /// Whether it is not waited for.
    detached: bool,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    /// 128 and the signal's number where a signal ended it, -1 where nobody can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<u64>,
    /// What it has left; absent when that is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<Artifact>,
    /// Artifacts beside those, where there are too many to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts_omitted: Option<u64>,
    /// Why it failed, where that was not the process's doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The same for programs, such as `DOCKER_UNREACHABLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    /// It took longer than it may, and was killed.
    #[serde(skip_serializing_if = "is_false")]
    timed_out: bool,
    /// The kernel killed a process of it for want of memory.
    #[serde(skip_serializing_if = "is_false")]
    oom_killed: bool,
    /// It wrote more than it may, and was killed.
    #[serde(skip_serializing_if = "is_false")]
    disk_exceeded: bool,
    /// How each entry of `extract` went; absent when none was asked for, or the run did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    extracted: Option<Vec<ExtractedView>>,
    /// Its callback, once that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<Told>,
    /// What it has written, line by line, both streams in the order of their coming; not in lists of runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<Vec<String>>,
    /// Lines between the first and the last that are not in `logs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    logs_omitted: Option<Omitted>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Not ended.
    Running,
    /// Exit code 0.
    Succeeded,
    /// Another exit code, or a failure that was not the process's doing.
    Failed,
    /// Cancelled or stopped.
    Cancelled,
}

impl Status {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl EncodeLabelValue for Status {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// How an entry of `extract` went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ExtractedView {
    /// As it was asked for.
    from: String,
    /// `ok`, `missing` or `error`.
    #[schema(value_type = String)]
    status: ExtractStatus,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Bytes of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// A run that was started and is not waited for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StartedView {
    /// Which.
    pub(crate) id: String,
    /// `running`.
    pub(crate) status: Status,
    /// Where it can be asked for.
    pub(crate) url: String,
}

/// Artifacts of each run in a list of runs.
const IN_LISTS: usize = 100;

impl RunView {
    /// A run by its state and its record. One that is `live` has not ended yet for those who ask, whatever its state is:
    /// its artifacts and lines are being put away. `root` is a folder whose name callers have no use for.
    pub(crate) fn new(state: RunState, record: Option<Record>, live: bool, root: &str) -> Self {
        let record = record.unwrap_or_else(|| Record::new(state.id.clone(), uuid::Uuid::nil()));
        let status = if live { Status::Running } else { status_of(&state, &record) };
        let ended = status != Status::Running;
        let error_code = record.error_code.or(state.error_code).filter(|_| ended);
        let disk_exceeded = ended && (record.disk_exceeded || state.disk_exceeded.unwrap_or_default());
        let error = record.error.or(state.error).filter(|_| ended).map(|error| without(root, &error));
        let extracted = state.extracted.filter(|_| ended).map(|entries| {
            let view = |entry: crate::Extracted| ExtractedView {
                from: entry.from,
                status: entry.status,
                error: entry.error.map(|error| without(root, &error)),
                bytes: entry.bytes,
            };
            entries.into_iter().map(view).collect()
        });
        Self {
            id: state.id.to_string(),
            status,
            image: state.image,
            detached: state.detached,
            started_at: state.started_at,
            finished_at: state.finished_at.filter(|_| ended),
            exit_code: state.exit_code.filter(|_| ended),
            duration_ms: state.duration_ms.filter(|_| ended),
            artifacts: record.artifacts,
            artifacts_omitted: record.artifacts_omitted,
            error,
            error_code,
            timed_out: ended && state.timed_out.unwrap_or_default(),
            oom_killed: ended && state.oom_killed.unwrap_or_default(),
            disk_exceeded,
            extracted,
            callback: record.callback.and_then(|callback| callback.told),
            logs: None,
            logs_omitted: None,
        }
    }

    /// With what it has written.
    pub(crate) fn with_lines(mut self, book: &Book) -> Self {
        let (lines, omitted) = book.lines();
        self.logs = Some(lines);
        self.logs_omitted = omitted;
        self
    }

    /// As one of many: with no more than the first of its artifacts.
    pub(crate) fn in_list(mut self) -> Self {
        let more = self.artifacts.len().saturating_sub(IN_LISTS);
        if more > 0 {
            self.artifacts.truncate(IN_LISTS);
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            self.artifacts_omitted = Some(self.artifacts_omitted.unwrap_or_default().saturating_add(more));
        }
        self
    }

    /// What it has left.
    pub(crate) fn into_artifacts(self) -> Vec<Artifact> {
        self.artifacts
    }
}

fn status_of(state: &RunState, record: &Record) -> Status {
    match state.status {
        RunStatus::Running => Status::Running,
        RunStatus::Failed => Status::Failed,
        RunStatus::Cancelled => Status::Cancelled,
        RunStatus::Exited if state.cancelled.unwrap_or_default() => Status::Cancelled,
        RunStatus::Exited => {
            let full = record.disk_exceeded || state.disk_exceeded.unwrap_or_default();
            let killed = state.timed_out.unwrap_or_default() || full;
            if state.exit_code == Some(0) && !killed { Status::Succeeded } else { Status::Failed }
        }
    }
}

/// A message without the name of a folder that is nobody's business.
fn without(root: &str, message: &str) -> String {
    message.replace(root, "artifacts")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(truth: &bool) -> bool {
    !truth
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::RunId;

    fn state(change: &Value) -> RunState {
        let mut state = json!({"id": "light-runner-01234567-89a", "container": "c", "image": "busybox",
            "workdir": "/app", "startedAt": "2026-01-01T00:00:00.000Z", "status": "exited", "exitCode": 0});
        for (key, value) in change.as_object().unwrap() {
            state[key] = value.clone();
        }
        serde_json::from_value(state).unwrap()
    }

    #[test]
    fn only_exit_code_0_without_a_kill_is_a_success() {
        for (change, status) in [
            (json!({}), Status::Succeeded),
            (json!({"exitCode": 7}), Status::Failed),
            (json!({"timedOut": true}), Status::Failed),
            (json!({"cancelled": true}), Status::Cancelled),
            (json!({"status": "cancelled", "exitCode": 137}), Status::Cancelled),
            (json!({"status": "failed"}), Status::Failed),
            (json!({"status": "running"}), Status::Running),
        ] {
            assert_eq!(RunView::new(state(&change), None, false, "/x").status, status, "{change}");
        }
    }

    #[test]
    fn what_only_the_state_knows_of_a_failure_is_told() {
        let failed = json!({"status": "failed", "error": "no", "errorCode": "SEED_FAILED"});
        let view = json!(RunView::new(state(&failed), None, false, "/x"));
        assert_eq!((&view["error"], &view["errorCode"]), (&json!("no"), &json!("SEED_FAILED")));
        let full = json!(RunView::new(state(&json!({"diskExceeded": true})), None, false, "/x"));
        assert_eq!((&full["status"], &full["diskExceeded"]), (&json!("failed"), &json!(true)));
    }

    #[test]
    fn a_list_of_runs_has_the_first_artifacts_of_each() {
        let mut record = Record::new(RunId::new(), uuid::Uuid::nil());
        let of = |number| json!({"path": format!("{number:03}"), "bytes": 1, "type": "file"});
        record.artifacts = (0..150).map(|number| serde_json::from_value(of(number)).unwrap()).collect();
        let view = RunView::new(state(&json!({})), Some(record), false, "/x").in_list();
        assert_eq!((view.artifacts.len(), view.artifacts_omitted), (100, Some(50)));
    }

    #[test]
    fn a_run_whose_results_are_put_away_is_not_over_yet() {
        let view = RunView::new(state(&json!({"finishedAt": "x"})), None, true, "/x");
        assert_eq!(json!(view)["status"], "running");
        assert!(json!(view).get("exitCode").is_none() && json!(view).get("finishedAt").is_none());
    }

    #[test]
    fn no_folder_of_this_machine_is_told() {
        let extracted = json!([{"from": "a", "to": "/srv/x/.pending-1", "status": "error",
            "error": "cannot write /srv/x/.pending-1/a"}]);
        let mut record = Record::new(RunId::new(), uuid::Uuid::nil());
        record.error = Some("/srv/x/.pending-1 is full".to_owned());
        let view = RunView::new(state(&json!({"extracted": extracted})), Some(record), false, "/srv/x");
        assert!(!json!(view).to_string().contains("/srv"), "{}", json!(view));
    }
}
