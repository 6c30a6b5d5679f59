//! Watches a container that runs until it does not, and ends it when it must.
//!
//! The engine may go away meanwhile and come back: a run outlives that for [`PATIENCE`]. The last word on how a process
//! ended is the container's own record, so that a run of this process and one that another began are told alike.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::execution::Live;
use crate::{SandboxError, SandboxErrorCode, engine, files};

/// How long an engine that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first pause between two questions, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The exit code of a process that was killed.
pub(crate) const KILLED: i64 = 137;
/// How long the reason of a kill that was not ours may be on its way.
const SECOND_LOOK: Duration = Duration::from_millis(200);
/// How long a killed process may take to be gone until it is killed again.
const KILL_AGAIN: Duration = Duration::from_secs(5);
/// How long after the first kill it is given up.
const UNKILLABLE: Duration = Duration::from_secs(60);
/// How often a container that the engine does not answer about is started.
const STARTS: u32 = 3;
/// How long a container may take to be removed.
const REMOVAL: Duration = Duration::from_secs(30);
/// How long a process runs before it is asked where it writes to: most have ended by then.
const FIRST_QUESTION: Duration = Duration::from_millis(100);

/// Bounds of a run beside those that the engine holds it to.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// When it is killed.
    pub(crate) deadline: Option<Instant>,
    /// What it may write.
    pub(crate) disk: Disk,
    /// Cancelled before it is killed.
    pub(crate) killed: CancellationToken,
}

/// How much a run may write, in all places together that can be seen from here.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// Folders that it shares with us: its workdir, and `/tmp` where that is kept. Empty where it shares none.
    pub(crate) shared: Vec<PathBuf>,
    /// Where the first of them is in the container.
    pub(crate) workdir: String,
    /// Bytes.
    pub(crate) limit: u64,
}

/// Why a process was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Cancelled,
    TimedOut,
    DiskExceeded,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// -1 where the container is gone, or never ran.
    pub(crate) exit_code: i64,
    pub(crate) oom_killed: bool,
    pub(crate) told: Option<Told>,
}

/// Waits for the end of a started container; kills it when the run is cancelled or a bound is broken.
///
/// # Errors
/// `DOCKER_UNREACHABLE` when the engine stays away.
pub(crate) async fn to_the_end(docker: &Docker, live: &Live, bounds: Bounds) -> Result<Ended, SandboxError> {
    let name = live.id.as_str();
    let killed = bounds.killed.clone();
    let mut end = std::pin::pin!(ended(docker, name));
    let told = tokio::select! {
        biased;
        ended = &mut end => return Ok(explained(docker, name, ended?).await),
        told = broken(docker, live, bounds) => told,
    };
    killed.cancel();
    let ended = Box::pin(end_of_killed(docker, name, end)).await?;
    Ok(Ended { told: Some(told), ..ended })
}

/// Kills until it has ended. An engine that does not answer is heard of by the kill alone: who waits for an end from it
/// hears nothing.
async fn end_of_killed(
    docker: &Docker,
    name: &str,
    mut end: Pin<&mut (impl Future<Output = Result<Ended, SandboxError>> + Send)>,
) -> Result<Ended, SandboxError> {
    let give_up = Instant::now() + UNKILLABLE;
    loop {
        let kill = async {
            kill(docker, name).await;
            sleep(KILL_AGAIN).await;
        };
        let answered = tokio::select! {
            biased;
            ended = &mut end => return ended,
            answered = timeout(KILL_AGAIN * 2, kill) => answered,
        };
        if Instant::now() < give_up {
            continue;
        }
        let (code, text) = match answered {
            Ok(()) => (SandboxErrorCode::EngineFailed, "its process was killed and does not end"),
            Err(_) => (SandboxErrorCode::DockerUnreachable, "the engine does not answer who wants it killed"),
        };
        return Err(SandboxError::new(code, text).during("kill").of_container(name));
    }
}

/// The engine hears of want of memory and of the end by separate ways, and the end may be told first.
async fn explained(docker: &Docker, name: &str, ended: Ended) -> Ended {
    if ended.exit_code != KILLED || ended.oom_killed {
        return ended;
    }
    sleep(SECOND_LOOK).await;
    let container = docker.inspect_container(name, None).await.ok();
    container.as_ref().and_then(record).unwrap_or(ended)
}

/// Starts the container, also when the engine's answer gets lost on its way. One that has run is not started again.
pub(crate) async fn start(docker: &Docker, name: &str) -> Result<(), EngineError> {
    let mut starts = 1;
    loop {
        match docker.start_container(name, None).await {
            Err(error) if engine::is_unreachable(&error) && starts < STARTS => {
                if has_run(docker, name).await.ok_or(error)? {
                    return Ok(());
                }
            }
            started => return started,
        }
        starts += 1;
    }
}

/// Whether the container runs or has ended; nothing when the engine stays away.
async fn has_run(docker: &Docker, name: &str) -> Option<bool> {
    let mut retry = Retry::default();
    loop {
        retry.pause().await;
        match docker.inspect_container(name, None).await {
            Ok(container) => return Some(!never_ran(container.state.as_ref())),
            Err(error) => retry.failed(error).ok()?,
        }
    }
}

/// Completes when the container does not run any more, however often the engine's wait breaks off.
///
/// # Errors
/// `DOCKER_UNREACHABLE` when the engine stays away.
pub(crate) async fn ended(docker: &Docker, name: &str) -> Result<Ended, SandboxError> {
    let mut retry = Retry::default();
    loop {
        let condition = WaitContainerOptionsBuilder::default().condition("not-running").build();
        // What it answers is in the container's record too, with more.
        let answer = docker.wait_container(name, Some(condition)).next().await;
        match docker.inspect_container(name, None).await {
            Ok(container) => match record(&container) {
                Some(ended) => return Ok(ended),
                None => retry.answered(),
            },
            Err(error) if engine::status(&error) == Some(404) => return Ok(vanished(answer)),
            Err(error) => retry.failed(error)?,
        }
        retry.pause().await;
    }
}

/// Kills the process. Refusals are no news: whether it has ended is asked elsewhere.
pub(crate) async fn kill(docker: &Docker, name: &str) {
    let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    if let Err(error) = docker.kill_container(name, Some(options)).await {
        tracing::debug!(container = name, %error, "the container was not killed");
    }
}

/// Removes the container with its volumes, whatever it does; returns when it is gone.
///
/// # Errors
/// `DOCKER_UNREACHABLE`, `ENGINE_FAILED` when it could not be removed in half a minute.
pub(crate) async fn remove(docker: &Docker, name: &str) -> Result<(), SandboxError> {
    let mut retry = Retry::default();
    let give_up = Instant::now() + REMOVAL;
    let docker = docker.clone().with_timeout(REMOVAL);
    loop {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match docker.remove_container(name, Some(options)).await {
            Ok(()) => return Ok(()),
            Err(error) if engine::status(&error) == Some(404) => return Ok(()),
            Err(error) if engine::is_unreachable(&error) => retry.failed(error)?,
            // Another removal is under way, or a mount is busy still.
            Err(error) if Instant::now() > give_up => {
                let failed = engine::failed(SandboxErrorCode::EngineFailed, "removeContainer", error);
                return Err(failed.of_container(name));
            }
            Err(_) => {}
        }
        retry.pause().await;
    }
}

/// What the record says of the end; none while there is none.
pub(crate) fn record(container: &ContainerInspectResponse) -> Option<Ended> {
    let state = container.state.as_ref()?;
    matches!(state.status, Some(Status::EXITED | Status::DEAD)).then(|| Ended {
        exit_code: state.exit_code.unwrap_or(-1),
        oom_killed: state.oom_killed.unwrap_or(false),
        told: None,
    })
}

/// Whether the container was made and never started.
pub(crate) fn never_ran(state: Option<&ContainerState>) -> bool {
    state.is_some_and(|state| matches!(state.status, Some(Status::CREATED)))
}

/// Somebody has removed it; the wait may have seen the code.
fn vanished(answer: Option<Result<bollard::models::ContainerWaitResponse, EngineError>>) -> Ended {
    let exit_code = match answer {
        Some(Ok(answer)) => answer.status_code,
        Some(Err(EngineError::DockerContainerWaitError { code, .. })) => code,
        Some(Err(_)) | None => -1,
    };
    Ended { exit_code, oom_killed: false, told: None }
}

async fn broken(docker: &Docker, live: &Live, bounds: Bounds) -> Told {
    let late = async {
        match bounds.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let full = Box::pin(bounds.disk.filled(docker, live.id.as_str()));
    tokio::select! {
        biased;
        () = live.killed() => Told::Cancelled,
        () = late => Told::TimedOut,
        () = full => Told::DiskExceeded,
    }
}

impl Disk {
    /// Completes when a run has written too much.
    async fn filled(self, docker: &Docker, name: &str) {
        let container = loop {
            sleep(FIRST_QUESTION).await;
            match docker.inspect_container(name, None).await {
                Ok(container) => break container,
                Err(_) => sleep(PAUSES.1).await,
            }
        };
        let limit = self.limit;
        files::watch(self.folders(&container), limit).await;
    }

    /// What the run shares with us, its volumes with those that its image declares, and the layer of a root that can be
    /// written. Those of an engine whose files cannot be seen from here are left out.
    fn folders(self, container: &ContainerInspectResponse) -> Vec<PathBuf> {
        let shares = !self.shared.is_empty();
        let volumes = container.mounts.iter().flatten().filter(|mount| {
            let is_volume = mount.typ.as_deref() == Some("volume") && mount.rw == Some(true);
            // It leads to the shared folder, where the engine has brought the image's files into that.
            let is_shared = shares && mount.destination.as_ref() == Some(&self.workdir);
            is_volume && !is_shared
        });
        let has_root = container.host_config.as_ref().is_some_and(|host| host.readonly_rootfs != Some(true));
        let layer = container.graph_driver.as_ref().filter(|_| has_root);
        let layer = layer.and_then(|driver| driver.data.get("UpperDir"));
        let others = volumes.filter_map(|mount| mount.source.as_ref()).chain(layer).map(PathBuf::from);
        self.shared.into_iter().chain(others).filter(|folder| folder.is_dir()).collect()
    }
}

/// Pauses between questions to an engine, and the moment when it has been silent for too long.
#[derive(Debug)]
struct Retry {
    next: Duration,
    silent_since: Option<Instant>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: PAUSES.0, silent_since: None }
    }
}

impl Retry {
    fn answered(&mut self) {
        self.silent_since = None;
    }

    fn failed(&mut self, error: EngineError) -> Result<(), SandboxError> {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE {
            return Ok(());
        }
        Err(engine::failed(SandboxErrorCode::EngineFailed, "inspect", error))
    }

    async fn pause(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSES.1);
    }
}
