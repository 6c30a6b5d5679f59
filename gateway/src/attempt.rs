//! One line of the audit log for each attempt of an application, whatever becomes of it.
//!
//! An attempt of somebody who is known has a place in the log before it is worked on. Those of strangers are refusals.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderMap;

use crate::address;
use crate::api::error::ApiError;
use crate::api::request::Peer;
use crate::audit::{self, Actor, AuditRow, Slot, action, params_hash};
use crate::dispatch::Job;
use crate::error::StoreError;
use crate::model::{self, AuditId};
use crate::shell::record::ShellRecord;
use crate::state::Gateway;

/// The outcome of an attempt whose caller went away.
const CANCELLED: &str = "CANCELLED";
/// Characters of a lens's name that a row keeps.
const MAX_LENS: usize = 200;

/// An attempt under way. One that is dropped unfinished was cancelled by its caller.
pub(crate) struct Attempt {
    gateway: Arc<Gateway>,
    operation: &'static str,
    started: Instant,
    peer: Option<Peer>,
    address: Option<IpAddr>,
    slot: Option<Slot>,
    row: Option<AuditRow>,
}

impl Attempt {
    /// Begins with what is known before anything is checked.
    pub(crate) fn begin(gateway: &Arc<Gateway>, operation: &'static str, request_id: String) -> Self {
        let row = AuditRow::new(Actor::Anonymous, operation, CANCELLED, request_id);
        Self {
            gateway: Arc::clone(gateway),
            operation,
            started: Instant::now(),
            peer: None,
            address: None,
            slot: None,
            row: Some(row),
        }
    }

    /// Through which lens.
    pub(crate) fn through(mut self, lens: &str) -> Self {
        self.edit(|row| row.lens = Some(lens.chars().take(MAX_LENS).collect()));
        self
    }

    /// From where it comes.
    pub(crate) fn from(&mut self, peer: Option<&Peer>, headers: &HeaderMap) {
        self.address = peer.map(|peer| address::remote(peer, headers));
        self.peer = peer.cloned();
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Who asks. Waits until the log has room for this attempt.
    pub(crate) async fn by(&mut self, actor: Actor) {
        self.edit(|row| row.actor = actor);
        self.slot = Some(self.gateway.audit.reserve().await);
    }

    /// With which body.
    pub(crate) fn with(&mut self, body: &[u8]) {
        self.edit(|row| row.params_hash = Some(params_hash(body)));
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

    /// Ends the attempt with the code of `error`, and its rule if it has one.
    pub(crate) fn fail(&mut self, error: &ApiError) {
        let rule = error.rule().map(str::to_owned);
        self.edit(|row| row.rule = rule);
        self.finish(error.code());
    }

    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut AuditRow)) {
        if let Some(row) = &mut self.row {
            edit(row);
        }
    }

    /// Writes what is known by now into a row of its own, beside the one at the end. It is in the store when this has come back.
    pub(crate) async fn note(&self, action: &'static str, record: ShellRecord) -> Result<(), StoreError> {
        let Some(row) = &self.row else { return Ok(()) };
        let row = AuditRow {
            id: AuditId::new(),
            at: model::now(),
            action: action.into(),
            outcome: audit::OK.into(),
            duration_ms: self.elapsed_ms(),
            shell: Some(Box::new(record)),
            ..row.clone()
        };
        self.gateway.audit.write(row).await
    }

    pub(crate) fn finish(&mut self, outcome: &'static str) {
        let Some(mut row) = self.row.take() else { return };
        let duration = self.started.elapsed();
        row.outcome = outcome.into();
        row.at = model::now();
        row.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match self.operation {
            action::EXEC => self.gateway.metrics.shell_job(outcome, duration),
            operation => self.gateway.metrics.request(operation, outcome, duration, row.rows),
        }
        match self.slot.take() {
            Some(slot) => slot.record(row),
            None => self.gateway.audit.refuse(row, self.address),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let stalled = self.peer.as_ref().is_some_and(|peer| peer.watch.has_stalled());
        self.finish(if stalled { audit::CALLER_STALLED } else { CANCELLED });
    }
}
