//! Runners: made, given sources, given new tokens, revoked, forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::Secret;

use super::{By, Control, Staged, check_name, not_found, taken};
use crate::audit::action;
use crate::capability::CapabilitySet;
use crate::error::ControlError;
use crate::model::{self, Runner, RunnerId, Source};
use crate::snapshot::{Change, Snapshot};
use crate::store::Mutation;
use crate::token::{self, TokenKind};

const MAX_LABELS: usize = 64;
const MAX_LABEL: usize = 256;

/// A runner to be made.
#[derive(Debug, Clone, Default)]
pub struct NewRunner {
    /// Its name.
    pub name: String,
    /// What operators tell runners apart by.
    pub labels: BTreeMap<String, String>,
    /// What it may do beside queries.
    pub capabilities: CapabilitySet,
    /// Ids or names of the sources that it has from the start.
    pub sources: Vec<String>,
}

/// What is to be different about a runner. What is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct RunnerChange {
    /// What operators tell runners apart by; all of it.
    pub labels: Option<BTreeMap<String, String>>,
    /// What it may do beside queries; all of it.
    pub capabilities: Option<CapabilitySet>,
}

impl Control {
    /// Makes a runner. Its token is in the answer and nowhere else.
    pub async fn create_runner(
        &self,
        by: &By,
        new: NewRunner,
    ) -> Result<(Arc<Runner>, Secret), ControlError> {
        check_name(&new.name)?;
        check_labels(&new.labels)?;
        let (turn, snapshot) = self.begin().await;
        let minted = token::mint(TokenKind::Runner)?;
        let runner = Runner {
            id: RunnerId::new(),
            name: new.name,
            labels: new.labels,
            capabilities: new.capabilities,
            token_hint: minted.hint,
            created_at: model::now(),
            revoked_at: None,
            last_seen_at: None,
        };
        let (id, name) = (runner.id, runner.name.clone());
        let mut mutations = vec![Mutation::CreateRunner(runner, minted.hash)];
        for source in &new.sources {
            let source = snapshot.find_source(source).ok_or_else(|| not_found("source", source))?;
            mutations.push(Mutation::Assign(id, source.id));
        }
        let target = name.clone();
        let change = Staged { action: action::RUNNER_CREATE, target, mutations, news: vec![Change::Catalog] };
        let snapshot = self.commit(&turn, by, change).await.map_err(taken("runner", &name))?;
        Ok((find(&snapshot, &id.to_string())?, minted.token))
    }

    /// Changes labels and capabilities of a runner. Commands that it may not run any more are ended.
    pub async fn update_runner(
        &self,
        by: &By,
        runner: &str,
        change: RunnerChange,
    ) -> Result<Arc<Runner>, ControlError> {
        let (turn, snapshot) = self.begin().await;
        let existing = find(&snapshot, runner)?;
        let changed = Runner {
            labels: change.labels.unwrap_or_else(|| existing.labels.clone()),
            capabilities: change.capabilities.unwrap_or(existing.capabilities),
            ..existing.as_ref().clone()
        };
        check_labels(&changed.labels)?;
        let change = Staged {
            action: action::RUNNER_UPDATE,
            target: format!("{} {}", changed.name, changed.capabilities.words().join(","))
                .trim_end()
                .to_owned(),
            mutations: vec![Mutation::UpdateRunner(changed)],
            news: vec![Change::Capabilities(existing.id)],
        };
        let snapshot = self.commit(&turn, by, change).await?;
        find(&snapshot, &existing.id.to_string())
    }

    /// Ends a runner's token for good and closes its sockets. Revoking twice is no mistake; the first time counts.
    pub async fn revoke_runner(&self, by: &By, runner: &str) -> Result<Arc<Runner>, ControlError> {
        let (turn, snapshot) = self.begin().await;
        let id = find(&snapshot, runner)?.id;
        let change = Staged {
            action: action::RUNNER_REVOKE,
            target: runner.to_owned(),
            mutations: vec![Mutation::RevokeRunner(id, model::now())],
            news: vec![Change::RunnerRevoked(id)],
        };
        let snapshot = self.commit(&turn, by, change).await?;
        find(&snapshot, &id.to_string())
    }

    /// Gives a runner another token and closes its sockets; the old token is of no use at once.
    pub async fn rotate_runner(&self, by: &By, runner: &str) -> Result<(Arc<Runner>, Secret), ControlError> {
        let (turn, snapshot) = self.begin().await;
        let existing = find(&snapshot, runner)?;
        if existing.is_revoked() {
            let message =
                format!("the runner {:?} was revoked; a revoked runner gets no new token", existing.name);
            return Err(ControlError::Conflict(message));
        }
        let minted = token::mint(TokenKind::Runner)?;
        let change = Staged {
            action: action::RUNNER_ROTATE,
            target: runner.to_owned(),
            mutations: vec![Mutation::RotateRunner(existing.id, minted.hash, minted.hint.last4)],
            news: vec![Change::RunnerRotated(existing.id)],
        };
        let snapshot = self.commit(&turn, by, change).await?;
        Ok((find(&snapshot, &existing.id.to_string())?, minted.token))
    }

    /// Forgets a runner that is not connected. Its audit rows stay.
    pub async fn delete_runner(
        &self,
        by: &By,
        runner: &str,
        is_connected: impl FnOnce(RunnerId) -> bool,
    ) -> Result<(), ControlError> {
        let (turn, snapshot) = self.begin().await;
        let existing = find(&snapshot, runner)?;
        if is_connected(existing.id) {
            let message = format!(
                "the runner {:?} is connected; stop or revoke it before it is deleted",
                existing.name
            );
            return Err(ControlError::Conflict(message));
        }
        let change = Staged {
            action: action::RUNNER_DELETE,
            target: runner.to_owned(),
            mutations: vec![Mutation::DeleteRunner(existing.id)],
            // One that connects just now is closed.
            news: vec![Change::RunnerRevoked(existing.id)],
        };
        self.commit(&turn, by, change).await?;
        Ok(())
    }

    /// Gives a runner a source. Giving it again is no mistake.
    pub async fn assign(&self, by: &By, runner: &str, source: &str) -> Result<Arc<Runner>, ControlError> {
        let (turn, snapshot) = self.begin().await;
        let (runner, source) = find_both(&snapshot, runner, source)?;
        if runner.is_revoked() {
            let message = format!("the runner {:?} was revoked and gets no sources", runner.name);
            return Err(ControlError::Conflict(message));
        }
        let mutation = Mutation::Assign(runner.id, source.id);
        self.change_assignment(&turn, by, (action::RUNNER_ASSIGN, mutation), &runner, &source).await
    }

    /// Takes a source from a runner. Taking what it does not have is no mistake.
    pub async fn unassign(&self, by: &By, runner: &str, source: &str) -> Result<Arc<Runner>, ControlError> {
        let (turn, snapshot) = self.begin().await;
        let (runner, source) = find_both(&snapshot, runner, source)?;
        let mutation = Mutation::Unassign(runner.id, source.id);
        self.change_assignment(&turn, by, (action::RUNNER_UNASSIGN, mutation), &runner, &source).await
    }

    async fn change_assignment(
        &self,
        turn: &tokio::sync::MutexGuard<'_, ()>,
        by: &By,
        (action, mutation): (&'static str, Mutation),
        runner: &Runner,
        source: &Source,
    ) -> Result<Arc<Runner>, ControlError> {
        let change = Staged {
            action,
            target: format!("{} {}", runner.name, source.name),
            mutations: vec![mutation],
            news: vec![Change::Assignments(vec![runner.id])],
        };
        let snapshot = self.commit(turn, by, change).await?;
        find(&snapshot, &runner.id.to_string())
    }
}

fn find(snapshot: &Snapshot, runner: &str) -> Result<Arc<Runner>, ControlError> {
    snapshot.find_runner(runner).cloned().ok_or_else(|| not_found("runner", runner))
}

fn find_both(
    snapshot: &Snapshot,
    runner: &str,
    source: &str,
) -> Result<(Arc<Runner>, Arc<Source>), ControlError> {
    let found = snapshot.find_source(source).cloned().ok_or_else(|| not_found("source", source));
    Ok((find(snapshot, runner)?, found?))
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ControlError> {
    let fits = |text: &str| text.len() <= MAX_LABEL && !text.chars().any(char::is_control);
    let good = labels.iter().all(|(key, value)| !key.is_empty() && fits(key) && fits(value));
    if good && labels.len() <= MAX_LABELS {
        return Ok(());
    }
    let expected =
        format!("at most {MAX_LABELS} labels of at most {MAX_LABEL} bytes without control characters");
    Err(ControlError::invalid("labels", expected))
}
