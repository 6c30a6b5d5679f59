//! The audit row of a shell job: who, where, which command, which rule, and what came of it. One for every attempt.

use std::sync::Arc;

use protocol::{ExecChunk, ExecDone, ExecRequest};

use super::failure::Failure;
use super::job::ShellJob;
use super::output::Collected;
use super::record::{KeptOutput, ShellRecord, said};
use crate::api::error::ApiError;
use crate::attempt::Attempt;
use crate::audit::{OK, action};
use crate::model::{AuditId, Runner};
use crate::state::Gateway;

/// An attempt under way. One that is dropped unfinished was cancelled by its caller; its row says how far it came.
pub(crate) struct ShellAttempt {
    pub(crate) attempt: Attempt,
    record: ShellRecord,
    pub(crate) output: Collected,
    /// Bytes of output that have come.
    bytes: u64,
    is_settled: bool,
}

impl ShellAttempt {
    /// Begins with what is known before anything is checked.
    pub(crate) fn begin(gateway: &Arc<Gateway>, request_id: String) -> Self {
        Self {
            attempt: Attempt::begin(gateway, action::EXEC, request_id),
            record: ShellRecord::default(),
            output: Collected::default(),
            bytes: 0,
            is_settled: false,
        }
    }

    /// What is asked, and of whom in the caller's words.
    pub(crate) fn asks(&mut self, target: &str, request: &ExecRequest) {
        self.record = ShellRecord::of(request);
        self.attempt.edit(|row| row.target = Some(said(target)));
    }

    /// The runner that is meant.
    pub(crate) fn of(&mut self, runner: &Runner) {
        self.record.runner = Some(runner.name.clone());
        self.attempt.edit(|row| {
            row.target = Some(runner.name.clone());
            row.runner_id = Some(runner.id);
        });
    }

    /// What a connected process of that runner says of itself, before it is known which one gets the job.
    pub(crate) fn seen(&mut self, gateway: &Gateway, runner: &Runner) {
        if let Some(link) = gateway.registry.of(runner.id).first() {
            self.record.said = link.hello.said.clone();
        }
    }

    /// The process that has it.
    pub(crate) fn on(&mut self, job: &ShellJob) {
        let link = job.link();
        if let Some(link) = link {
            self.record.said = link.hello.said.clone();
        }
        let instance = link.and_then(|link| link.hello.instance.clone());
        self.attempt.edit(|row| {
            row.job_id = Some(job.id());
            row.attempts = job.attempts();
            row.runner_instance = instance.or(row.runner_instance.take());
        });
    }

    /// A runner is about to get it, which is in the store when this has come back: a command may end this very process, and
    /// nothing else would tell of it then.
    pub(crate) async fn begins(&mut self, job: &ShellJob) -> Result<(), Failure> {
        self.on(job);
        let written = self.attempt.note(action::EXEC_BEGIN, self.record.clone()).await;
        written.map_err(|error| Failure::execution(ApiError::internal(&error)))
    }

    /// Output has come.
    pub(crate) fn wrote(&mut self, chunk: &ExecChunk) {
        self.bytes = self.bytes.saturating_add(u64::try_from(chunk.data.len()).unwrap_or(u64::MAX));
        self.output.add(chunk);
    }

    /// The program has ended.
    pub(crate) fn succeed(&mut self, job: &ShellJob, done: &ExecDone) {
        self.record.exit_code = Some(i64::from(done.exit_code));
        self.settle(Some(job));
        self.attempt.finish(OK);
    }

    /// Refused or failed; `job` where there was one.
    pub(crate) fn fail(&mut self, job: Option<&ShellJob>, failure: &Failure) {
        self.record.failed(failure.message());
        let rule = failure.rule().map(str::to_owned);
        self.attempt.edit(|row| row.rule = rule);
        self.settle(job);
        self.attempt.finish(failure.code());
    }

    /// Puts what is known into the row.
    fn settle(&mut self, job: Option<&ShellJob>) {
        if let Some(job) = job {
            self.on(job);
            self.record.ran_ms = job.ran_ms;
            self.output.report(job.left_out);
        }
        self.is_settled = true;
        let mut record = std::mem::take(&mut self.record);
        record.output = job.map(|_| self.output.kept()).or_else(|| self.unfinished());
        let bytes = self.bytes;
        self.attempt.edit(|row| {
            // An id tells when its row was written, within a minute; a command may take an hour.
            row.id = AuditId::new();
            row.bytes = bytes;
            row.shell = record.has_question().then(|| Box::new(record));
        });
    }

    /// The output of a job whose caller has gone.
    fn unfinished(&self) -> Option<KeptOutput> {
        (!self.output.is_empty()).then(|| self.output.kept())
    }
}

impl Drop for ShellAttempt {
    fn drop(&mut self) {
        if !self.is_settled {
            self.settle(None);
        }
    }
}
