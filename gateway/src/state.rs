//! What every request and every socket of the gateway shares.

use std::sync::Arc;

use protocol::{AssignedSource, Extensions, Hello};
use runtime::Drain;
use tokio::sync::broadcast::error::RecvError;

use crate::audit::Audit;
use crate::jobs::{Ending, Jobs, LiveJob, Work};
use crate::link::{CloseReason, Link};
use crate::metrics::Metrics;
use crate::model::{Runner, RunnerId};
use crate::presence::Presence;
use crate::registry::Registry;
use crate::session::{Caller, close};
use crate::snapshot::{Change, Refusal, Snapshots};
use crate::strangers::Strangers;
use crate::token::TokenHash;

/// The data plane: who is connected, what runs, who may.
pub struct Gateway {
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) registry: Registry,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) metrics: Metrics,
    pub(crate) presence: Presence,
    pub(crate) audit: Audit,
    pub(crate) drain: Drain,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) limits: Limits,
    /// What this gateway agrees to; tests take some away.
    pub(crate) extensions: Extensions,
    pub(crate) version: &'static str,
}

/// What applications may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request's body at the most.
    pub body: usize,
    /// Rows of a query with a public key at the most.
    pub public_rows: u64,
    /// Shell jobs that one connected process of a runner has at a time.
    pub shell_jobs: usize,
}

impl Gateway {
    /// A gateway that nobody is connected to yet.
    pub fn new(
        snapshots: Arc<Snapshots>,
        presence: Presence,
        audit: Audit,
        drain: Drain,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            snapshots,
            registry: Registry::default(),
            jobs: Arc::default(),
            metrics: Metrics::new(env!("CARGO_PKG_VERSION"), audit.merged()),
            presence,
            audit,
            drain,
            strangers: Arc::default(),
            limits,
            extensions: Extensions::all(),
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// The runner that says `hello`: the token's on the upgrade, or that of the secret in the frame. A name or id in the
    /// frame must be that runner's; whose it is instead is not told.
    pub(crate) fn identify(&self, caller: &Caller, hello: &Hello) -> Option<(Arc<Runner>, TokenHash)> {
        let token = match caller {
            Caller::Known { token } => *token,
            Caller::Anonymous(_) => TokenHash::of(hello.secret.as_ref()?.expose()),
        };
        let runner = self.runner_of(&token).ok()?;
        let id = runner.id.to_string();
        let own = |said: &String| *said == id || *said == runner.name;
        let said = [&hello.runner_id, &hello.runner_name];
        said.into_iter().flatten().all(own).then_some((runner, token))
    }

    /// The runner whose token this is.
    pub(crate) fn runner_of(&self, token: &TokenHash) -> Result<Arc<Runner>, Refusal<Runner>> {
        self.snapshots.load().runner_with(token).cloned()
    }

    /// Whether the token that opened the connection is good, as of now.
    pub(crate) fn may_connect(&self, link: &Link) -> bool {
        self.snapshots.load().runner_with(&link.token).is_ok_and(|runner| runner.id == link.runner)
    }

    pub(crate) fn assigned_sources(&self, runner: RunnerId) -> Vec<AssignedSource> {
        self.snapshots.load().assigned_sources(runner)
    }

    /// Follows the control plane: closes and ends what was revoked, pushes what was assigned. Ends with the process.
    pub(crate) async fn follow_changes(self: Arc<Self>) {
        let mut changes = self.snapshots.subscribe();
        let stopping = self.drain.stopping();
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = stopping.cancelled() => return,
            };
            match change {
                Ok(change) => self.apply(&change),
                Err(RecvError::Lagged(_)) => self.apply_everything(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn apply(&self, change: &Change) {
        match change {
            Change::RunnerRevoked(runner) => self.close_refused(*runner, "revoked"),
            Change::RunnerRotated(runner) => self.close_refused(*runner, "the token was rotated"),
            Change::Assignments(runners) => runners.iter().for_each(|runner| self.push_assignments(*runner)),
            Change::KeyRevoked(_) | Change::Capabilities(_) => self.end_forbidden(),
            Change::Catalog => {}
        }
    }

    /// Closes what was opened with a token that is not good any more; a new token may have dialed in already.
    fn close_refused(&self, runner: RunnerId, text: &'static str) {
        for link in self.registry.of(runner).iter().filter(|link| !self.may_connect(link)) {
            link.close(CloseReason { code: close::REVOKED, text });
        }
    }

    /// Some changes were missed: every connection and every job is looked at again.
    fn apply_everything(&self) {
        for link in self.registry.all() {
            if self.may_connect(&link) {
                link.push(|| self.assigned_sources(link.runner));
            } else {
                link.close(CloseReason { code: close::REVOKED, text: "revoked" });
            }
        }
        self.end_forbidden();
    }

    /// Ends the jobs that would not be let through any more.
    fn end_forbidden(&self) {
        for job in self.jobs.list() {
            if let Some(why) = self.forbids(&job) {
                tracing::info!(job = %job.id, kind = job.work.kind(), rule = why.rule(), "a job is ended");
                job.end(why);
            }
        }
    }

    /// Why a job that is on the list may not go on, as of now. The sockets of a runner that was revoked are closed, and
    /// its jobs are lost with them.
    pub(crate) fn forbids(&self, job: &LiveJob) -> Option<Ending> {
        let snapshot = self.snapshots.load();
        let is_good = |key| snapshot.key(key).is_some_and(|key| key.revoked_at.is_none());
        if job.key.is_some_and(|key| !is_good(key)) {
            return Some(Ending::KeyRevoked);
        }
        let Work::Shell { runner, .. } = &job.work else { return None };
        let allowed = snapshot.runner(*runner)?.capabilities.closed();
        job.needs().iter().find(|needed| !allowed.has(*needed)).map(Ending::Forbidden)
    }

    fn push_assignments(&self, runner: RunnerId) {
        for link in self.registry.of(runner) {
            link.push(|| self.assigned_sources(runner));
        }
    }

    /// Takes claims back that were not dispatched in time. Ends with the process.
    pub(crate) async fn sweep_claims(self: Arc<Self>) {
        let stopping = self.drain.stopping();
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            tokio::select! {
                _ = tick.tick() => self.metrics.reaped(self.jobs.sweep()),
                () = stopping.cancelled() => return,
            }
        }
    }
}
