//! A run under way: the handle that callers have, and the record that its task shares with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engine::{self, Engine};
use crate::state::{RunId, Store};
use crate::stop::{self, Signal};
use crate::{Outcome, SandboxError, SandboxErrorCode};

/// How a run went, for all who ask.
pub(crate) type Verdict = Result<Outcome, Arc<SandboxError>>;

/// A handle on a run. Dropping it changes nothing: the run goes on to its end.
#[derive(Debug, Clone)]
pub struct Execution {
    live: Arc<Live>,
}

impl Execution {
    pub(crate) const fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    /// Its id, which is the container's name.
    pub fn id(&self) -> &RunId {
        &self.live.id
    }

    /// Waits until the run has ended and nothing of it is left at the engine, but for what that could not remove, which a
    /// [sweep](crate::Sandbox::maintain) does later. May be asked again: the answer is kept.
    ///
    /// # Errors
    /// The failures of [`SandboxError`] that keep a run from ending by itself.
    pub async fn outcome(&self) -> Result<Outcome, Arc<SandboxError>> {
        self.live.verdict().await
    }

    /// Whether it was cancelled or stopped.
    pub fn is_cancelled(&self) -> bool {
        self.live.is_cancelled()
    }

    /// Kills it, at whatever stage it is. Returns at once; [`outcome`](Self::outcome) tells when it is done.
    pub fn cancel(&self) {
        self.live.cancel();
    }

    /// Asks the process to end by `signal` (`SIGTERM`), and kills it when it has not after `grace` (10 s). Returns as
    /// soon as it has ended. Asked again, a shorter grace holds.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for an unknown signal, `RUN_ENDED`.
    pub async fn stop(&self, signal: &str, grace: Duration) -> Result<(), SandboxError> {
        stop::stop(&self.live, &Signal::parse(signal)?, grace).await
    }

    /// Freezes all its processes. Freezing what is frozen is no error.
    ///
    /// # Errors
    /// `RUN_ENDED` (`docker pause failed: …`), `ENGINE_FAILED`.
    pub async fn pause(&self) -> Result<(), SandboxError> {
        self.live.freeze("pause").await
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<(), SandboxError> {
        self.live.freeze("unpause").await
    }
}

/// Where a run is, as far as its handles care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its process does not run yet.
    Setup,
    /// The engine was asked to start it; whether it runs is not known yet.
    Starting,
    /// It runs.
    Running,
    /// It does not any more.
    Ended,
}

/// What a run's task and its handles share.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: RunId,
    pub(crate) engine: Engine,
    kill: CancellationToken,
    asked_to_end: AtomicBool,
    /// Where its owner looks for our wish, if that is another process.
    elsewhere: Option<Store>,
    stage: watch::Sender<Stage>,
    verdict: watch::Sender<Option<Verdict>>,
}

impl Live {
    /// A run that is killed when `kill` is cancelled.
    pub(crate) fn new(id: RunId, engine: Engine, kill: CancellationToken) -> Arc<Self> {
        Arc::new(Self::made(id, engine, kill, None))
    }

    /// One that another process has begun.
    pub(crate) fn following(id: RunId, engine: Engine, store: Store) -> Arc<Self> {
        Arc::new(Self::made(id, engine, CancellationToken::new(), Some(store)))
    }

    fn made(id: RunId, engine: Engine, kill: CancellationToken, elsewhere: Option<Store>) -> Self {
        let asked_to_end = AtomicBool::new(false);
        let (stage, verdict) = (watch::Sender::new(Stage::Setup), watch::Sender::new(None));
        Self { id, engine, kill, asked_to_end, elsewhere, stage, verdict }
    }

    /// One that has ended already.
    pub(crate) fn ended(id: RunId, engine: Engine, verdict: Verdict) -> Arc<Self> {
        let live = Self::new(id, engine, CancellationToken::new());
        live.asked_to_end.store(verdict.as_ref().is_ok_and(|outcome| outcome.cancelled), Ordering::Relaxed);
        live.finish(verdict);
        live
    }

    pub(crate) fn cancel(&self) {
        if !self.has_verdict() {
            self.note_stop();
            self.kill.cancel();
        }
    }

    /// Kills it, though nobody has asked for that.
    pub(crate) fn abandon(&self) {
        self.kill.cancel();
    }

    /// Whether somebody has asked for its end.
    pub(crate) fn was_asked_to_end(&self) -> bool {
        self.asked_to_end.load(Ordering::Relaxed)
    }

    /// Remembers that it did not end by itself.
    pub(crate) fn note_stop(&self) {
        let is_news = !self.asked_to_end.swap(true, Ordering::Relaxed);
        if let Some(store) = self.elsewhere.as_ref().filter(|_| is_news)
            && let Err(error) = store.update(&self.id, |state| state.cancelled = Some(true))
        {
            tracing::warn!(run = %self.id, %error, "the owner of a run is not told that it was cancelled");
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.asked_to_end.load(Ordering::Relaxed) || (self.kill.is_cancelled() && !self.has_verdict())
    }

    /// Whether it is to be killed; what ends gently is not.
    pub(crate) fn is_killed(&self) -> bool {
        self.kill.is_cancelled()
    }

    /// Completes when it is to be killed.
    pub(crate) async fn killed(&self) {
        self.kill.cancelled().await;
    }

    /// Cancelled when it is to be killed. Cancelling it changes nothing for the run.
    pub(crate) fn kill_child(&self) -> CancellationToken {
        self.kill.child_token()
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Completes when its process runs or has run, or when there will be none.
    pub(crate) async fn begun(&self) {
        // The sender lives in self, so that waiting cannot fail.
        drop(self.stage.subscribe().wait_for(|stage| *stage >= Stage::Running).await);
    }

    /// Completes when it is known whether its process runs: at once for a run of this process.
    pub(crate) async fn seen(&self) {
        if self.elsewhere.is_some() {
            self.begun().await;
        }
    }

    pub(crate) fn finish(&self, verdict: Verdict) {
        self.enter(Stage::Ended);
        self.verdict.send_if_modified(|known| {
            let is_new = known.is_none();
            known.get_or_insert(verdict);
            is_new
        });
    }

    pub(crate) fn has_verdict(&self) -> bool {
        self.verdict.borrow().is_some()
    }

    pub(crate) async fn verdict(&self) -> Verdict {
        let mut verdict = self.verdict.subscribe();
        let known = verdict.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        known.unwrap_or_else(|| Err(Arc::new(lost())))
    }

    async fn freeze(&self, operation: &'static str) -> Result<(), SandboxError> {
        self.begun().await;
        let docker = self.engine.docker().await?;
        let name = self.id.as_str();
        let answer = match operation {
            "pause" => docker.pause_container(name).await,
            _ => docker.unpause_container(name).await,
        };
        match answer {
            Ok(()) => Ok(()),
            Err(error) => self.judge_freeze(operation, error),
        }
    }

    /// The engine refuses what is so already, and what is over, with the same statuses.
    fn judge_freeze(
        &self,
        operation: &'static str,
        error: bollard::errors::Error,
    ) -> Result<(), SandboxError> {
        let said = engine::message(&error);
        if said.contains("already paused") || said.contains("is not paused") {
            return Ok(());
        }
        let is_over = self.stage() == Stage::Ended
            || engine::status(&error) == Some(404)
            || said.contains("is not running");
        let code = if is_over { SandboxErrorCode::RunEnded } else { SandboxErrorCode::EngineFailed };
        let text = format!("docker {operation} failed: {said}");
        Err(SandboxError::new(code, text).during(operation).of_container(self.id.as_str()).because(error))
    }
}

/// Its task is gone without a word: it panicked, or the program ends.
pub(crate) fn lost() -> SandboxError {
    SandboxError::new(SandboxErrorCode::EngineFailed, "the run's task has ended without an outcome")
}
