//! The face of the crate: starts runs, finds them again, and clears away what nobody owns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::Drain;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::cache::{self, Cache};
use crate::create::Spec;
use crate::engine::{self, Engine};
use crate::execution::{Execution, Live, Stage, Verdict, lost};
use crate::networks::{self, Isolated, NetworkSpec, Removal};
use crate::owners::{Held, Owners};
use crate::run::{Bare, End, Run};
use crate::state::{RunId, RunState, RunStatus, Store};
use crate::warm::Pool;
use crate::{
    Options, Outcome, Output, Request, SandboxError, SandboxErrorCode, adopt, files, reap, telemetry, warm,
};

/// How long [`Sandbox::is_available`] waits.
const AVAILABLE: Duration = Duration::from_secs(2);

/// Runs containers at one engine with one folder of states. Clones are the same sandbox.
#[derive(Debug, Clone)]
pub struct Sandbox {
    core: Arc<Core>,
}

/// What [`Sandbox::maintain`] has cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// States of runs whose container is gone, now `failed`.
    pub reconciled: u64,
    /// States of ended runs beyond the budget.
    pub states_evicted: u64,
    /// Containers that no living process owns.
    pub containers: u64,
    /// Volumes of no container.
    pub volumes: u64,
    /// Images of `run` that were not used for long.
    pub cache_images: u64,
    /// Networks with the given prefix and without a member.
    pub networks: u64,
    /// Layers of failed builds.
    pub dangling_images: u64,
}

/// What all runs of a sandbox share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) owners: Owners,
    pub(crate) owner: Held,
    pub(crate) isolated: Isolated,
    making_network: tokio::sync::Mutex<()>,
    pub(crate) cache: Cache,
    pub(crate) pool: Pool,
    pub(crate) bare: Bare,
    pub(crate) drain: Drain,
    live: Mutex<HashMap<RunId, Arc<Live>>>,
}

impl Sandbox {
    /// A sandbox with these settings. Opens the folder of states; the engine is asked for the first time by a run, or for
    /// the containers that are to wait for one, which needs a runtime of tokio.
    /// Every task is spawned in `drain`: when that refuses work, new runs are refused; when it stops, runs are cancelled,
    /// detached ones excepted.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for a wrong option, `STATE_FAILED` where the folder cannot be used.
    pub fn open(options: Options, drain: &Drain) -> Result<Self, SandboxError> {
        // A request that asks for nothing is refused only for an option's sake.
        drop(Spec::of(&Request::new("any"), &options)?);
        let owners = Owners::open(&options.state_dir)?;
        let core = Core {
            engine: Engine::new(&options)?,
            store: Store::open(&options.state_dir)?,
            owner: owners.enter()?,
            owners,
            isolated: Isolated::default(),
            making_network: tokio::sync::Mutex::default(),
            cache: Cache::new(&options.state_dir),
            pool: Pool::default(),
            bare: Bare::default(),
            drain: drain.clone(),
            live: Mutex::default(),
            options,
        };
        let core = Arc::new(core);
        for (image, count) in core.options.warm.clone() {
            drop(
                core.drain.spawn_companion("waiting containers", warm::keep(Arc::clone(&core), image, count)),
            );
        }
        Ok(Self { core })
    }

    /// Whether the engine answers within 2 seconds.
    pub async fn is_available(&self) -> bool {
        self.core.engine.ping(AVAILABLE).await.is_ok()
    }

    /// Whether the engine has this image: a run of another one begins with a pull.
    ///
    /// # Errors
    /// `DOCKER_UNREACHABLE`, `ENGINE_FAILED`.
    pub async fn has_image(&self, image: &str) -> Result<bool, SandboxError> {
        match self.core.engine.ready().await?.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(error) if engine::status(&error) == Some(404) => Ok(false),
            Err(error) => Err(engine::failed(SandboxErrorCode::EngineFailed, "inspectImage", error)),
        }
    }

    /// Checks a request and starts it: the answer has the run's id before anything is made at the engine.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, `INVALID_RUN_STEP`, `STATE_FAILED`, `BUSY`. What fails later is in [`Execution::outcome`].
    pub fn start(&self, request: Request) -> Result<Execution, SandboxError> {
        let core = &self.core;
        if core.drain.refusing().is_cancelled() {
            return Err(SandboxError::new(
                SandboxErrorCode::Busy,
                "no new runs: the program is about to stop",
            ));
        }
        let spec = Spec::of(&request, &core.options)?;
        cache::validate(&request.run)?;
        request.seed.as_ref().map_or(Ok(()), files::check)?;
        let stopping = core.drain.stopping();
        let kill = if spec.detached { CancellationToken::new() } else { stopping.child_token() };
        let enter =
            |id: &RunId| core.enter(id, || Live::new(id.clone(), core.engine.clone(), kill.clone())).0;
        let (ready, live) = match core.pool.take(&spec, &request, core, enter) {
            Some((ready, live)) => (Some(ready), live),
            None => (None, enter(&RunId::new())),
        };
        let span = telemetry::run_span(&live.id, &spec, &request);
        if let Err(error) = core.store.put(&RunState::begun(&live.id, &spec, &request, core.owner.name())) {
            core.lock().remove(&live.id);
            if let Some(ready) = ready {
                warm::bury(core, ready);
            }
            return Err(error);
        }
        let is_detached = spec.detached;
        let run = Run::new(core, Arc::clone(&live), spec, request, ready);
        let seen_through = see_through(run).instrument(span);
        if is_detached {
            // It outlives the program, which waits for it only until its process runs: before, nothing could go on.
            drop(core.drain.spawn_companion("detached run", seen_through));
            let begun = Arc::clone(&live);
            drop(core.drain.spawn("set-up of a detached run", async move { begun.begun().await }));
        } else {
            drop(core.drain.spawn("run", seen_through));
        }
        Ok(Execution::new(live))
    }

    /// Finds a run that this or another process has started. None for an unknown id; a run that has ended answers at once.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub async fn attach(&self, id: &RunId) -> Result<Option<Execution>, SandboxError> {
        self.attach_with(id, None).await
    }

    /// The same. The output of a detached run that this process takes over from a dead one is sent to `output`, from its
    /// beginning on as far as the engine has kept it.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub async fn attach_with(
        &self,
        id: &RunId,
        output: Option<mpsc::Sender<Output>>,
    ) -> Result<Option<Execution>, SandboxError> {
        if let Some(live) = self.core.live(id) {
            return Ok(Some(Execution::new(live)));
        }
        let Some(state) = self.core.store.get(id)? else { return Ok(None) };
        if let Some(outcome) = state.outcome() {
            let ended = Live::ended(id.clone(), self.core.engine.clone(), Ok(outcome));
            return Ok(Some(Execution::new(ended)));
        }
        Ok(Some(Execution::new(adopt::attach(&self.core, id, output))))
    }

    /// The states of all runs that are known, oldest first.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub fn list(&self) -> Result<Vec<RunState>, SandboxError> {
        self.core.store.list()
    }

    /// The state of one.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub fn state(&self, id: &RunId) -> Result<Option<RunState>, SandboxError> {
        self.core.store.get(id)
    }

    /// Forgets an ended run. False where there is none of that id.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub fn forget(&self, id: &RunId) -> Result<bool, SandboxError> {
        match self.core.store.get(id)? {
            Some(state) if state.status != RunStatus::Running => self.core.store.delete(id),
            Some(_) | None => Ok(false),
        }
    }

    /// Makes a network; true where it is there afterwards.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, `ENGINE_FAILED`.
    pub async fn create_network(&self, spec: &NetworkSpec) -> Result<bool, SandboxError> {
        networks::create(&self.core.engine.ready().await?, spec, &self.core.making_network).await
    }

    /// Whether a network of that name exists.
    ///
    /// # Errors
    /// `ENGINE_FAILED`.
    pub async fn network_exists(&self, name: &str) -> Result<bool, SandboxError> {
        networks::exists(&self.core.engine.ready().await?, name).await
    }

    /// The id of the network of that name, if it was made by [`create_network`](Self::create_network).
    ///
    /// # Errors
    /// `DOCKER_UNREACHABLE`, `INVALID_REQUEST`, `ENGINE_FAILED`.
    pub async fn own_network(&self, name: &str) -> Result<Option<String>, SandboxError> {
        networks::own(&self.core.engine.ready().await?, name).await
    }

    /// Removes a network.
    ///
    /// # Errors
    /// `ENGINE_FAILED`.
    pub async fn remove_network(&self, name: &str) -> Result<Removal, SandboxError> {
        networks::remove(&self.core.engine.ready().await?, name).await
    }

    /// Removes networks whose name begins with `prefix`, that have no member and are older than `age`.
    ///
    /// # Errors
    /// `ENGINE_FAILED`.
    pub async fn cleanup_networks(&self, prefix: &str, age: Duration) -> Result<u64, SandboxError> {
        networks::cleanup(&self.core.engine.ready().await?, prefix, age).await
    }

    /// One sweep: reconciles states with containers, removes what nobody owns and what is beyond its budget, and takes over
    /// the detached runs of processes that are dead. Each step goes on whatever became of the others.
    pub async fn maintain(&self) -> Maintenance {
        reap::maintain(&self.core).await
    }
}

impl Core {
    /// The record of a run that this process answers for or follows.
    pub(crate) fn live(&self, id: &RunId) -> Option<Arc<Live>> {
        self.lock().get(id).cloned()
    }

    /// The record of a run, made where there is none; the second is whether it was made.
    pub(crate) fn enter(&self, id: &RunId, make: impl FnOnce() -> Arc<Live>) -> (Arc<Live>, bool) {
        let mut live = self.lock();
        let known = live.contains_key(id);
        (Arc::clone(live.entry(id.clone()).or_insert_with(make)), !known)
    }

    /// Writes down how the process of a detached run ended, before its container is removed: whoever goes on with the run
    /// where this process dies meanwhile finds nothing else.
    pub(crate) async fn note(&self, live: &Live, outcome: &Outcome) {
        let (store, id, outcome) = (self.store.clone(), live.id.clone(), outcome.clone());
        let write = move || store.update(&id, |state| state.note(outcome)).err();
        if let Ok(Some(error)) = self.drain.spawn_blocking("state of a run", write).await {
            tracing::warn!(run = %live.id, %error, "the end of a process was not written down");
        }
    }

    /// Writes down how a run ended, then tells its handles.
    pub(crate) async fn conclude(self: &Arc<Self>, live: &Live, mut verdict: Verdict) {
        let (core, id) = (Arc::clone(self), live.id.clone());
        let write = move || {
            let written = core.store.update(&id, |state| {
                if let Ok(outcome) = &mut verdict {
                    // Another process may have asked for its end.
                    outcome.cancelled |= state.cancelled == Some(true);
                }
                state.conclude(&verdict);
            });
            if let Err(error) = written {
                tracing::error!(run = %id, %error, "the end of a run was not written down");
            }
            verdict
        };
        let verdict = self.drain.spawn_blocking("state of a run", write).await;
        self.tell(live, verdict.unwrap_or_else(|_| Err(Arc::new(lost()))));
    }

    /// Tells the handles how a run ended.
    pub(crate) fn tell(&self, live: &Live, verdict: Verdict) {
        telemetry::note(&Span::current(), &verdict);
        self.lock().remove(&live.id);
        live.finish(verdict);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the last word if a run's task cannot: its handles must not wait for ever.
pub(crate) struct LastWord {
    pub(crate) core: Arc<Core>,
    pub(crate) live: Arc<Live>,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if !self.live.has_verdict() {
            self.core.lock().remove(&self.live.id);
            self.live.finish(Err(Arc::new(lost())));
        }
    }
}

async fn see_through(run: Run) {
    let _last = LastWord { core: Arc::clone(&run.core), live: Arc::clone(&run.live) };
    let stopping = run.core.drain.stopping();
    let left_alone =
        async || if run.spec.detached { stopping.cancelled().await } else { std::future::pending().await };
    let mut end = Box::pin(run.to_its_end());
    let ended = tokio::select! {
        biased;
        ended = &mut end => Some(ended),
        () = left_alone() => None,
    };
    let is_cut_short = ended.is_none();
    let (end, belongings) = match ended {
        Some(ended) => ended,
        None if run.live.stage() < Stage::Running => {
            run.live.abandon();
            end.await
        }
        None => return run.core.tell(&run.live, Err(Arc::new(goes_on()))),
    };
    let verdict = match end {
        End::OutOfSight(error) => return run.core.tell(&run.live, Err(Arc::new(error))),
        // Whoever cancelled it meanwhile has what was asked for.
        End::Over(Ok(_)) if is_cut_short && !run.live.was_asked_to_end() => Err(never_began()),
        End::Over(verdict) => verdict,
    };
    if let (true, Ok(outcome)) = (run.spec.detached, &verdict) {
        run.core.note(&run.live, outcome).await;
    }
    tokio::select! {
        biased;
        () = run.clear(belongings) => {}
        // Its results are there: nobody must take them out again.
        () = left_alone(), if !is_cut_short && run.live.stage() >= Stage::Running => {}
    }
    run.core.conclude(&run.live, verdict.map_err(Arc::new)).await;
}

/// The program ends before a detached run's process could begin.
fn never_began() -> SandboxError {
    let text = "the program has stopped before the detached run's process was started";
    SandboxError::new(SandboxErrorCode::Busy, text)
}

/// The program ends, the container does not.
pub(crate) fn goes_on() -> SandboxError {
    SandboxError::new(
        SandboxErrorCode::Busy,
        "the program stops; the detached run goes on and can be attached to",
    )
}
