//! One run, from the making of its container until nothing is left of it.
//!
//! A cancelled run is noticed before each step and in every wait. Calls that make something at the engine are never
//! abandoned half-way: what was made has a name and is given back at the end, in whatever way the end came.

mod set_up;

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::container::AttachContainerResults;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::AttachContainerOptionsBuilder;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, info_span};

use crate::create::{Network, Spec};
use crate::engine;
use crate::execution::{Live, Stage};
use crate::files::{Results, Staged};
use crate::networks;
use crate::sandbox::Core;
use crate::state::{Journal, RunId};
use crate::streams::{Log, Streams};
use crate::supervise::{self, Bounds, Disk, Ended, Told};
use crate::warm::{self, Ready};
use crate::{Extract, Extracted, Outcome, Output, Request, SandboxError, SandboxErrorCode, Seed};

pub(crate) use set_up::{Bare, is_empty};

/// How often doubles of the isolated network are removed before a start: others may make one again meanwhile.
const SETTLES: u32 = 5;

/// A run that was checked and has its id.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) core: Arc<Core>,
    pub(crate) live: Arc<Live>,
    pub(crate) spec: Spec,
    /// Without its seed, its input and its output.
    request: Request,
    /// Until its files are in place: they may be many.
    seed: Mutex<Option<Seed>>,
    /// Until it is on its way to the process.
    input: Mutex<Option<Bytes>>,
    /// Until its process is about to begin.
    output: Mutex<Option<mpsc::Sender<Output>>>,
    /// The container that waited for it.
    ready: Mutex<Option<Ready>>,
}

/// Why a run does not go on.
#[derive(Debug)]
enum Halt {
    Cancelled,
    Failed(SandboxError),
}

impl From<SandboxError> for Halt {
    fn from(error: SandboxError) -> Self {
        Self::Failed(error)
    }
}

/// How a run went, as far as this process can tell.
#[derive(Debug)]
pub(crate) enum End {
    /// Its engine has gone away before its process's end and its results were known. It may be well, so that nothing of it
    /// is given back: whoever asks later finds out.
    OutOfSight(SandboxError),
    /// It is over, and what is left of it can go. Whether that can be removed changes nothing: it is a sweep's otherwise.
    Over(Result<Outcome, SandboxError>),
}

impl End {
    /// `may_go_on`: nobody wants it to end, and it needs nobody of this process.
    pub(crate) fn of(outcome: Result<Outcome, SandboxError>, may_go_on: bool) -> Self {
        match outcome {
            Err(error) if may_go_on && error.code() == SandboxErrorCode::DockerUnreachable => {
                Self::OutOfSight(error)
            }
            outcome => Self::Over(outcome),
        }
    }
}

/// What a run has and must give back.
#[derive(Debug, Default)]
pub(crate) struct Belongings {
    container: Option<Docker>,
    staged: Option<Staged>,
}

impl Belongings {
    pub(crate) const fn of(container: Docker, staged: Option<Staged>) -> Self {
        Self { container: Some(container), staged }
    }

    /// Gives it back, as far as the engine can be had.
    pub(crate) async fn clear(self, id: &RunId) {
        if let Err(error) = self.give_back(id).await {
            tracing::warn!(run = %id, %error, "what is left of a run is left to a sweep");
        }
    }

    /// The folder of a container that could not be removed, which may write to it still, is left to a sweep.
    async fn give_back(self, id: &RunId) -> Result<(), SandboxError> {
        if let Some(docker) = self.container {
            supervise::remove(&docker, id.as_str()).await?;
        }
        give_back_folder(self.staged).await;
        Ok(())
    }
}

/// A process that has ended, and how long it ran.
#[derive(Debug)]
struct Finished {
    ended: Ended,
    duration: Duration,
}

impl Run {
    pub(crate) fn new(
        core: &Arc<Core>,
        live: Arc<Live>,
        spec: Spec,
        mut request: Request,
        ready: Option<Ready>,
    ) -> Self {
        let (seed, input) = (Mutex::new(request.seed.take()), Mutex::new(request.input.take()));
        let (output, ready) = (Mutex::new(request.output.take()), Mutex::new(ready));
        Self { core: Arc::clone(core), live, spec, request, seed, input, output, ready }
    }

    /// Runs it. What it has is [cleared](Self::clear) afterwards if it is over.
    pub(crate) async fn to_its_end(&self) -> (End, Belongings) {
        let mut belongings = Belongings::default();
        let outcome = match Box::pin(self.process(&mut belongings)).await {
            Ok(finished) => Box::pin(self.collect(&belongings, finished)).await,
            Err(Halt::Cancelled) => Ok(never_ran()),
            Err(Halt::Failed(error)) => Err(error),
        };
        let runs_alone = self.spec.detached && self.live.stage() == Stage::Running;
        (End::of(outcome, runs_alone && !self.live.was_asked_to_end()), belongings)
    }

    /// Gives back what a run that is over has, as far as the engine can be had.
    pub(crate) async fn clear(&self, belongings: Belongings) {
        Box::pin(belongings.clear(&self.live.id)).await;
    }

    /// Makes a container that waits for a run, and starts it. Nothing is left of one that could not be made.
    ///
    /// # Errors
    /// As of any run.
    pub(crate) async fn prepare(&self) -> Result<(Option<Staged>, AttachContainerResults), SandboxError> {
        let mut belongings = Belongings::default();
        match self.begin_waiting(&mut belongings).await {
            Ok(attached) => Ok((belongings.staged, attached)),
            Err(halt) => {
                belongings.give_back(&self.live.id).await?;
                Err(match halt {
                    Halt::Failed(error) => error,
                    Halt::Cancelled => {
                        SandboxError::new(SandboxErrorCode::Busy, "the program is about to stop")
                    }
                })
            }
        }
    }

    /// Removes a container that nobody has taken.
    pub(crate) async fn discard(core: &Core, id: RunId, staged: Option<Staged>) {
        let given_back = async {
            let docker = core.engine.docker().await?;
            Belongings::of(docker, staged).give_back(&id).await
        };
        if let Err(error) = given_back.await {
            tracing::warn!(container = %id, %error, "a waiting container was not removed");
        }
    }

    async fn begin_waiting(&self, belongings: &mut Belongings) -> Result<AttachContainerResults, Halt> {
        let docker = Box::pin(self.set_up(belongings)).await?;
        let attached = self.attach(&docker).await?;
        self.start(&docker).await?;
        Ok(attached)
    }

    async fn process(&self, belongings: &mut Belongings) -> Result<Finished, Halt> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        let setup = info_span!("container.setup");
        let (docker, attached) = match ready {
            Some(ready) => Box::pin(self.take_over(ready, belongings)).instrument(setup).await?,
            None => (Box::pin(self.set_up(belongings)).instrument(setup).await?, None),
        };
        drop(self.seed.lock().unwrap_or_else(PoisonError::into_inner).take());
        let span = info_span!(
            "container.exec",
            container.id = %self.live.id,
            container.exit_code = tracing::field::Empty
        );
        let disk = disk(&self.core, belongings.staged.as_ref(), &self.spec.workdir);
        Box::pin(self.exec(&docker, attached, disk)).instrument(span).await
    }

    /// Fills the folder of a container that waited.
    async fn take_over(
        &self,
        ready: Ready,
        belongings: &mut Belongings,
    ) -> Result<(Docker, Option<AttachContainerResults>), Halt> {
        belongings.staged = ready.staged;
        let docker = self.core.engine.docker().await?;
        belongings.container = Some(docker.clone());
        self.fill(belongings).await?;
        Ok((docker, Some(ready.attached)))
    }

    /// Starts the process, or tells a waiting one what to become, and sees it through.
    async fn exec(
        &self,
        docker: &Docker,
        waiting: Option<AttachContainerResults>,
        disk: Disk,
    ) -> Result<Finished, Halt> {
        self.check_cancelled()?;
        let streams = match waiting {
            Some(attached) => self.stream(attached, warm::line(&self.spec)),
            None => self.begin(docker).await?,
        };
        let started = Instant::now();
        self.live.enter(Stage::Running);
        let bounds = Bounds {
            deadline: self.spec.timeout.and_then(|timeout| started.checked_add(timeout)),
            disk,
            killed: streams.killed(),
        };
        let ended = Box::pin(supervise::to_the_end(docker, &self.live, bounds)).await?;
        let duration = started.elapsed();
        streams.finished().await;
        Span::current().record("container.exit_code", ended.exit_code);
        Ok(Finished { ended, duration })
    }

    async fn begin(&self, docker: &Docker) -> Result<Streams, Halt> {
        if self.spec.detached {
            self.start(docker).await?;
            return Ok(follow_log(&self.core, docker, &self.live, self.output()));
        }
        let streams = self.stream(self.attach(docker).await?, None);
        self.start(docker).await?;
        Ok(streams)
    }

    async fn start(&self, docker: &Docker) -> Result<(), Halt> {
        self.check_cancelled()?;
        self.live.enter(Stage::Starting);
        let mut left = SETTLES;
        loop {
            match supervise::start(docker, self.live.id.as_str()).await {
                Err(error) if left > 0 && self.may_settle(&error) => {
                    self.core.isolated.settle(docker).await?
                }
                started => return started.map_err(|error| self.not_started("start", error).into()),
            }
            left -= 1;
        }
    }

    fn may_settle(&self, error: &EngineError) -> bool {
        self.spec.network == Network::Isolated && networks::is_ambiguous(error)
    }

    async fn attach(&self, docker: &Docker) -> Result<AttachContainerResults, Halt> {
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .stdin(self.spec.stdin)
            .build();
        let attached = docker.attach_container(self.live.id.as_str(), Some(options)).await;
        attached.map_err(|error| self.not_started("attach", error).into())
    }

    /// Carries output and input; `line` goes before the input.
    fn stream(&self, attached: AttachContainerResults, line: Option<Bytes>) -> Streams {
        let drain = &self.core.drain;
        let streams = Streams::reading(drain, attached.output, self.output());
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        match line.map(|line| warm::told(&line, input.as_ref())).or(input) {
            Some(input) => streams.writing(drain, input, attached.input),
            None => streams,
        }
    }

    async fn collect(&self, belongings: &Belongings, finished: Finished) -> Result<Outcome, SandboxError> {
        let Finished { ended, duration } = finished;
        let mut outcome = outcome(&self.live, ended, duration);
        let wanted = &self.request.extract;
        if outcome.success() && !wanted.is_empty() {
            outcome.extracted =
                extract(&self.core, &self.live, belongings.staged.as_ref(), wanted, &self.spec.workdir)
                    .await?;
            outcome.cancelled = self.live.is_cancelled();
        }
        Ok(outcome)
    }

    /// Where its output goes: once, so that the receiver is told its end.
    fn output(&self) -> Option<mpsc::Sender<Output>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The files that it begins with.
    fn files(&self) -> Option<Seed> {
        self.seed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn not_started(&self, operation: &'static str, error: EngineError) -> SandboxError {
        not_started(&self.live, operation, error)
    }

    fn check_cancelled(&self) -> Result<(), Halt> {
        if self.live.is_killed() { Err(Halt::Cancelled) } else { Ok(()) }
    }

    /// For steps that can be left at any point.
    ///
    /// Boxed: calls of the engine are tens of kilobytes, and each level that holds one by value doubles it.
    fn unless_cancelled<'a, T: 'a>(
        &'a self,
        step: impl Future<Output = Result<T, SandboxError>> + Send + 'a,
    ) -> Pin<Box<dyn Future<Output = Result<T, Halt>> + Send + 'a>> {
        let step = Box::pin(step);
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.live.killed() => Err(Halt::Cancelled),
                done = step => done.map_err(Halt::Failed),
            }
        })
    }
}

/// What the handles of a run are told of how it ended.
pub(crate) fn outcome(live: &Live, ended: Ended, duration: Duration) -> Outcome {
    Outcome {
        exit_code: ended.exit_code,
        duration,
        cancelled: live.is_cancelled(),
        timed_out: ended.told == Some(Told::TimedOut),
        oom_killed: ended.oom_killed,
        disk_exceeded: ended.told == Some(Told::DiskExceeded),
        extracted: None,
    }
}

/// What a run may write, and the folders that it shares with us.
pub(crate) fn disk(core: &Core, staged: Option<&Staged>, workdir: &str) -> Disk {
    let shared = staged.into_iter().flat_map(|staged| [Some(staged.workdir()), staged.tmp()]);
    Disk {
        shared: shared.flatten().map(Path::to_owned).collect(),
        workdir: workdir.to_owned(),
        limit: core.options.disk,
    }
}

/// Takes files out of an exited container; none when it is cancelled meanwhile. Nothing is written to a result's place
/// any more when this answers, and as little as can be when it is dropped.
///
/// # Errors
/// As [`Results::take`].
pub(crate) async fn extract(
    core: &Core,
    live: &Live,
    staged: Option<&Staged>,
    wanted: &[Extract],
    workdir: &str,
) -> Result<Option<Vec<Extracted>>, SandboxError> {
    let span = info_span!("container.extract", lightrunner.extract.count = wanted.len());
    let docker = core.engine.docker().await?;
    let limits = core.options.extract;
    let stop = live.kill_child();
    let _dropped = stop.clone().drop_guard();
    let journal = Journal::of_detached(&core.store, &live.id);
    let container = live.id.as_str();
    let results = Results { docker: &docker, container, staged, workdir, limits, stop, journal };
    results.take(wanted).instrument(span).await
}

/// Follows the log of a detached run from its beginning on, where somebody wants it.
pub(crate) fn follow_log(
    core: &Core,
    docker: &Docker,
    live: &Live,
    output: Option<mpsc::Sender<Output>>,
) -> Streams {
    let Some(output) = output else { return Streams::default() };
    Streams::following(&core.drain, Log::of(&core.engine, docker, live.id.as_str()), output)
}

async fn give_back_folder(staged: Option<Staged>) {
    if let Some(staged) = staged
        && let Err(error) = staged.remove().await
    {
        tracing::warn!(%error, "the folder of a run was not removed");
    }
}

fn never_ran() -> Outcome {
    Outcome {
        exit_code: -1,
        duration: Duration::ZERO,
        cancelled: true,
        timed_out: false,
        oom_killed: false,
        disk_exceeded: false,
        extracted: None,
    }
}

fn not_started(live: &Live, operation: &'static str, error: EngineError) -> SandboxError {
    let said = engine::message(&error);
    let is_network = said.contains("network") && said.contains("not found");
    let code = if is_network {
        SandboxErrorCode::NetworkConnectFailed
    } else {
        SandboxErrorCode::ContainerStartFailed
    };
    engine::failed(code, operation, error).of_container(live.id.as_str())
}
