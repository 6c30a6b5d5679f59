//! One line of the audit log for each attempt of an application, whatever becomes of it.

use std::sync::Arc;
use std::time::Instant;

use crate::api::error::ApiError;
use crate::audit::{self, Actor, AuditRow, params_hash};
use crate::dispatch::Job;
use crate::model::{self, Key};
use crate::state::Gateway;

/// The outcome of an attempt whose caller went away.
const CANCELLED: &str = "CANCELLED";

/// An attempt under way. One that is dropped unfinished was cancelled by its caller.
pub(crate) struct Attempt {
    gateway: Arc<Gateway>,
    operation: &'static str,
    started: Instant,
    row: Option<AuditRow>,
}

impl Attempt {
    /// Begins with what is known before anything is checked.
    pub(crate) fn begin(
        gateway: &Arc<Gateway>,
        operation: &'static str,
        lens: &str,
        body: &[u8],
        request_id: String,
    ) -> Self {
        let row = AuditRow {
            lens: Some(lens.chars().take(200).collect()),
            params_hash: Some(params_hash(body)),
            ..AuditRow::new(Actor::Anonymous, operation, CANCELLED, request_id)
        };
        Self { gateway: Arc::clone(gateway), operation, started: Instant::now(), row: Some(row) }
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Who asks.
    pub(crate) fn by(&mut self, key: &Key) {
        let actor = Actor::Key { id: key.id, kind: key.kind };
        self.edit(|row| row.actor = actor);
    }

    /// What is asked.
    pub(crate) fn of(&mut self, source: &str, target: &str) {
        self.edit(|row| {
            row.source = Some(source.to_owned());
            row.target = Some(target.to_owned());
        });
    }

    /// Who answers.
    pub(crate) fn on(&mut self, job: &Job) {
        let (runner, attempts) = (job.runner(), job.attempts());
        self.edit(|row| {
            row.attempts = attempts;
            if let Some((runner, instance)) = runner {
                row.runner_id = Some(runner);
                row.runner_instance = instance;
            }
        });
    }

    /// So many rows have left up to now, in so many more bytes.
    pub(crate) fn sent(&mut self, rows: u64, bytes: usize) {
        self.edit(|row| {
            row.rows = rows;
            row.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        });
    }

    pub(crate) fn succeed(&mut self) {
        self.finish(audit::OK);
    }

    /// Ends the attempt with the code of `error`.
    pub(crate) fn fail(&mut self, error: &ApiError) {
        self.finish(error.code());
    }

    fn edit(&mut self, edit: impl FnOnce(&mut AuditRow)) {
        if let Some(row) = &mut self.row {
            edit(row);
        }
    }

    fn finish(&mut self, outcome: &'static str) {
        let Some(mut row) = self.row.take() else { return };
        let duration = self.started.elapsed();
        row.outcome = outcome.into();
        row.at = model::now();
        row.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.gateway.metrics.request(self.operation, outcome, duration, row.rows);
        self.gateway.record(row);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.finish(CANCELLED);
    }
}
