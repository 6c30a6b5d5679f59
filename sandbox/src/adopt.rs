//! A run that this process did not start: watched while its owner lives, taken over when the owner is dead.
//!
//! Whoever answers for a run extracts, removes and writes its state; all others wait for that. The change of owner is
//! decided by a lock, so that two processes never do it both.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::execution::{Live, Stage};
use crate::files::{self, Staged};
use crate::run::{Belongings, End, disk, extract, follow_log, outcome};
use crate::sandbox::{Core, LastWord, goes_on};
use crate::state::{RunId, RunState};
use crate::streams::{Log, Streams};
use crate::supervise::{self, Bounds, KILLED, Told};
use crate::{Outcome, Output, SandboxError, SandboxErrorCode, engine, telemetry};

/// How often the state of somebody else's run is looked at.
const LOOK: Duration = Duration::from_millis(150);
/// How long a container may take to appear that was asked for before its owner died.
const APPEARANCE: Duration = Duration::from_secs(3);

/// The record of a run that has not ended, with a task behind it.
pub(crate) fn attach(core: &Arc<Core>, id: &RunId, output: Option<mpsc::Sender<Output>>) -> Arc<Live> {
    let make = || Live::following(id.clone(), core.engine.clone(), core.store.clone());
    let (live, is_new) = core.enter(id, make);
    if is_new {
        let (core, followed) = (Arc::clone(core), Arc::clone(&live));
        let span = telemetry::attach_span(id);
        let drain = core.drain.clone();
        drain.spawn_companion("attached run", follow(core, followed, output).instrument(span));
    }
    live
}

async fn follow(core: Arc<Core>, live: Arc<Live>, output: Option<mpsc::Sender<Output>>) {
    let last = LastWord { core: Arc::clone(&core), live: Arc::clone(&live) };
    let stopping: CancellationToken = core.drain.stopping();
    tokio::select! {
        biased;
        () = to_its_end(&core, &live, output) => {}
        () = stopping.cancelled() => core.tell(&live, Err(Arc::new(goes_on()))),
    }
    drop(last);
}

async fn to_its_end(core: &Arc<Core>, live: &Live, mut output: Option<mpsc::Sender<Output>>) {
    let mut killed = false;
    loop {
        let Some(state) = unended(core, live) else { return };
        // One of ours that is followed has no task any more, or its end could not be written down.
        let is_ours = state.owner.as_deref() == Some(core.owner.name());
        if is_ours || !core.owners.answers(state.owner.as_deref(), &live.id) {
            match core.owners.take_over(&live.id) {
                Ok(Some(claim)) => {
                    // What its owner wrote last, it may have written since.
                    if let Some(state) = unended(core, live) {
                        finish(core, live, &state, output.take()).await;
                    }
                    claim.remove();
                    return;
                }
                Ok(None) => {}
                Err(error) => return core.tell(live, Err(Arc::new(error))),
            }
        }
        killed = look_on(live, killed).await;
    }
}

/// The state of a run that has not ended. Of another one the handles are told.
fn unended(core: &Core, live: &Live) -> Option<RunState> {
    let verdict = match core.store.get(&live.id) {
        Ok(Some(state)) => match state.outcome() {
            Some(outcome) => Ok(outcome),
            None => return Some(state),
        },
        Ok(None) => Err(Arc::new(unknown())),
        Err(error) => Err(Arc::new(error)),
    };
    core.tell(live, verdict);
    None
}

/// Somebody else answers for it: this process only kills when it is asked to.
async fn look_on(live: &Live, killed: bool) -> bool {
    let Ok(docker) = live.engine.docker().await else {
        sleep(LOOK).await;
        return killed;
    };
    if live.stage() == Stage::Setup
        && let Ok(container) = docker.inspect_container(live.id.as_str(), None).await
        && !supervise::never_ran(container.state.as_ref())
    {
        live.enter(Stage::Running);
    }
    if live.is_killed() && !killed && live.stage() != Stage::Setup {
        supervise::kill(&docker, live.id.as_str()).await;
        return true;
    }
    tokio::select! {
        () = sleep(LOOK) => {}
        () = live.killed(), if !killed && live.stage() != Stage::Setup => {}
    }
    killed
}

/// This process answers for it now.
async fn finish(core: &Arc<Core>, live: &Live, state: &RunState, output: Option<mpsc::Sender<Output>>) {
    match take_over(core, live, state, output).await {
        End::OutOfSight(error) => core.tell(live, Err(Arc::new(error))),
        End::Over(verdict) => core.conclude(live, verdict.map_err(Arc::new)).await,
    }
}

async fn take_over(
    core: &Arc<Core>,
    live: &Live,
    state: &RunState,
    output: Option<mpsc::Sender<Output>>,
) -> End {
    let docker = match core.engine.ready().await {
        Ok(docker) => docker,
        Err(error) => return End::OutOfSight(error),
    };
    let staged = Staged::find(&core.options.state_dir, &live.id).unwrap_or_else(|error| {
        tracing::warn!(run = %live.id, %error, "the folder of a run cannot be looked for");
        None
    });
    files::clear_stages(live.id.as_str(), &state.extract, &state.landed).await;
    let outcome = match check_engine(core, state).await {
        Ok(()) => see_out(core, live, state, &docker, staged.as_ref(), output).await,
        Err(error) => Err(error),
    };
    let may_go_on = !live.was_asked_to_end() && state.cancelled != Some(true);
    let end = End::of(outcome, may_go_on);
    if let (true, End::Over(Ok(outcome))) = (state.detached, &end) {
        core.note(live, outcome).await;
    }
    if matches!(end, End::Over(_)) {
        // Of what was to be moved only, where nobody has moved it.
        files::clear_stages(live.id.as_str(), &state.extract, &[]).await;
        Belongings::of(docker, staged).clear(&live.id).await;
    }
    end
}

/// Fails as if the engine did not answer where this is not the one that has the run.
async fn check_engine(core: &Core, state: &RunState) -> Result<(), SandboxError> {
    let here = core.engine.id().await?;
    if state.is_at(here.as_deref()) {
        return Ok(());
    }
    let text = "the run is at another engine than the one that answers";
    Err(SandboxError::new(SandboxErrorCode::DockerUnreachable, text).of_container(state.id.as_str()))
}

async fn see_out(
    core: &Arc<Core>,
    live: &Live,
    state: &RunState,
    docker: &Docker,
    staged: Option<&Staged>,
    output: Option<mpsc::Sender<Output>>,
) -> Result<Outcome, SandboxError> {
    if let Some(outcome) = state.noted() {
        // Its results are where they belong. Nothing but the removal was under way, and may be over: the log goes with it.
        if let Some(output) = output
            && docker.inspect_container(live.id.as_str(), None).await.is_ok()
        {
            let log = Log::of(&core.engine, docker, live.id.as_str());
            Streams::reading_log(&core.drain, &log, output).finished().await;
        }
        return Ok(outcome);
    }
    let container = find(docker, live).await?;
    if supervise::never_ran(container.state.as_ref()) {
        let text = "its owner ended before its process was started";
        return Err(
            SandboxError::new(SandboxErrorCode::ContainerStartFailed, text).of_container(live.id.as_str())
        );
    }
    if !state.detached {
        // Nobody is there to whom its output went.
        live.cancel();
    }
    live.enter(Stage::Running);
    let streams = follow_log(core, docker, live, output);
    let bounds = Bounds {
        deadline: deadline(state, &container),
        disk: disk(core, staged, &state.workdir),
        killed: streams.killed(),
    };
    let mut ended = supervise::to_the_end(docker, live, bounds).await?;
    if was_killed_for_its_time(state, &container) {
        ended.told = Some(Told::TimedOut);
    }
    streams.finished().await;
    let record = docker.inspect_container(live.id.as_str(), None).await.unwrap_or(container);
    let mut outcome = outcome(live, ended, duration(&record));
    if outcome.success() && state.cancelled != Some(true) && !state.extract.is_empty() {
        outcome.extracted = extract(core, live, staged, &state.extract, &state.workdir).await?;
        outcome.cancelled = live.is_cancelled();
    }
    Ok(outcome)
}

/// A create call may have been on its way when the owner died.
async fn find(docker: &Docker, live: &Live) -> Result<ContainerInspectResponse, SandboxError> {
    let give_up = Instant::now() + APPEARANCE;
    loop {
        match docker.inspect_container(live.id.as_str(), None).await {
            Ok(container) => return Ok(container),
            Err(error) if engine::status(&error) == Some(404) && Instant::now() < give_up => {
                sleep(LOOK).await
            }
            Err(error) if engine::status(&error) == Some(404) => {
                let gone = SandboxError::new(SandboxErrorCode::RunNotFound, "the run's container is gone");
                return Err(gone.of_container(live.id.as_str()));
            }
            Err(error) => {
                let failed = engine::failed(SandboxErrorCode::EngineFailed, "inspect", error);
                return Err(failed.of_container(live.id.as_str()));
            }
        }
    }
}

/// Counted from the process's start, whoever started it. One that has ended cannot be late any more.
fn deadline(state: &RunState, container: &ContainerInspectResponse) -> Option<Instant> {
    let limit = limit(state).filter(|_| supervise::record(container).is_none())?;
    let started = time(container.state.as_ref()?.started_at.as_deref())?;
    let run = Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default();
    Instant::now().checked_add(limit.saturating_sub(run))
}

/// Whether who answered for it before has killed it when its time was over. One that has ended by itself has its results,
/// however late that was seen.
fn was_killed_for_its_time(state: &RunState, container: &ContainerInspectResponse) -> bool {
    let killed =
        supervise::record(container).is_some_and(|ended| ended.exit_code == KILLED && !ended.oom_killed);
    killed && limit(state).is_some_and(|limit| duration(container) >= limit)
}

fn limit(state: &RunState) -> Option<Duration> {
    state.timeout.filter(|limit| *limit > 0).map(Duration::from_millis)
}

fn duration(container: &ContainerInspectResponse) -> Duration {
    let ran = || {
        let state = container.state.as_ref()?;
        let (from, to) = (time(state.started_at.as_deref())?, time(state.finished_at.as_deref())?);
        Duration::try_from(to.duration_since(from)).ok()
    };
    ran().unwrap_or_default()
}

fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

fn unknown() -> SandboxError {
    SandboxError::new(SandboxErrorCode::RunNotFound, "the run is not known any more")
}
