//! A command in a container of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use protocol::{ExecRequest, ExtractStatus, Extracted, ExtractedFile, FileContent, Invocation, Stream};
use sandbox::{
    Command, Execution, Extract, ExtractLimits, Options, Output, OutputStream, Overrides, Request, Sandbox,
    SandboxError, Seed,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::plan::Container;
use super::process::{Ended, Limits, Piece};
use crate::config::ExecSettings;
use crate::error::Failure;

/// Files and folders of one extracted path.
const EXTRACT_ENTRIES: u64 = 4_096;
/// How long the engine may take beside the grace to stop a container.
const STOPPING: Duration = Duration::from_secs(2);
/// Pieces of output between the engine and the job.
const PIECES: usize = 4;

/// What came of a container.
pub(crate) struct Contained {
    pub(crate) ended: Ended,
    pub(crate) extracted: Option<Vec<Extracted>>,
}

/// The settings of the sandbox.
pub(crate) fn options(settings: &ExecSettings, state_dir: PathBuf) -> Options {
    let granted = &settings.sandbox;
    Options {
        docker_host: settings.docker_host.clone(),
        docker_certs: settings.docker_certs.clone(),
        memory: granted.memory,
        cpus: granted.cpus,
        pids: granted.pids,
        disk: granted.disk,
        runtime: granted.runtime,
        extract: ExtractLimits { bytes: granted.extract, entries: EXTRACT_ENTRIES },
        ..Options::new(state_dir)
    }
}

/// Runs a command to its end. The container is gone when this answers, in whatever way.
pub(crate) async fn run(
    sandbox: &Sandbox,
    container: &Container,
    request: &ExecRequest,
    settings: &ExecSettings,
    limits: &Limits,
    pieces: mpsc::Sender<Piece>,
) -> Result<Contained, Failure> {
    let place = Place::of(request, settings).map_err(Failure::Start)?;
    let (output, mut outputs) = mpsc::channel(PIECES);
    let wanted = Request { output: Some(output), ..wanted(container, request, limits, &place) };
    let execution = sandbox.start(wanted).map_err(of_sandbox)?;
    let forwarding = async {
        while let Some(Output { stream, bytes }) = outputs.recv().await {
            let stream = match stream {
                OutputStream::Stdout => Stream::Stdout,
                OutputStream::Stderr => Stream::Stderr,
            };
            // Nobody wants it, but the container must not be stopped by that.
            let _unwanted = pieces.send(Piece { stream, bytes: bytes.to_vec() }).await.err();
        }
    };
    let (ended, ()) = tokio::join!(until_its_end(&execution, limits), forwarding);
    // Nobody asks a runner for the state of a run; one that was not ended keeps it for the next sweep.
    if let Err(error) = sandbox.forget(execution.id()) {
        tracing::warn!(%error, "the state of a run was not removed");
    }
    let (why, outcome) = ended?;
    let exit_code = i32::try_from(outcome.exit_code).unwrap_or(-1);
    let ended = match why {
        Some(why) => why,
        None if outcome.timed_out => Ended::TimedOut,
        None => Ended::Exited(exit_code),
    };
    let of_bytes = settings.sandbox.extract;
    let found = outcome.extracted.unwrap_or_default();
    let extracted = tokio::task::spawn_blocking(move || place.collect(&found, of_bytes)).await;
    let extracted = extracted.map_err(|_| Failure::Panicked)?;
    Ok(Contained { ended, extracted: extracted.filter(|_| ended == Ended::Exited(0)) })
}

/// Waits for the end, and brings it about where it is cancelled or late.
async fn until_its_end(
    execution: &Execution,
    limits: &Limits,
) -> Result<(Option<Ended>, sandbox::Outcome), Failure> {
    let why = tokio::select! {
        biased;
        outcome = execution.outcome() => return Ok((None, outcome.map_err(of_shared)?)),
        () = limits.cancel.cancelled() => Ended::Cancelled,
        () = sleep_until(limits.deadline) => Ended::TimedOut,
    };
    let stopping = timeout(limits.grace + STOPPING, execution.stop("SIGTERM", limits.grace));
    if !matches!(stopping.await, Ok(Ok(()))) {
        // It had not begun, was over, or the engine takes its time; killing it is no harm then.
        execution.cancel();
    }
    let outcome = execution.outcome().await;
    match outcome {
        Ok(outcome) => Ok((Some(why), outcome)),
        // What keeps a run from ending by itself does not matter when it was ended.
        Err(error) => {
            tracing::debug!(%error, "a container that was ended");
            Err(match why {
                Ended::Cancelled | Ended::Exited(_) => Failure::Cancelled,
                Ended::TimedOut => Failure::TimedOut,
            })
        }
    }
}

fn wanted(container: &Container, request: &ExecRequest, limits: &Limits, place: &Place) -> Request {
    let command = match &request.invocation {
        Invocation::Command(line) => Command::Shell(line.clone()),
        Invocation::Argv(argv) => Command::Argv(argv.clone()),
    };
    let files = request.sandbox.iter().flat_map(|sandbox| &sandbox.files);
    let files: std::collections::BTreeMap<_, _> =
        files.map(|(path, content)| (path.clone(), Bytes::from(content.0.clone()))).collect();
    Request {
        command,
        seed: (!files.is_empty()).then_some(Seed::Files(files)),
        // A little more than the job has, whose own end comes first and is the one that is told.
        timeout: Some(limits.deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(1)),
        networks: vec![container.network.clone()],
        env: request.env.expose().clone(),
        extract: place.wanted(),
        limits: Overrides { memory: container.memory, cpus: container.cpus, pids: None },
        ..Request::new(container.image.clone())
    }
}

fn of_sandbox(error: SandboxError) -> Failure {
    Failure::Sandbox(std::sync::Arc::new(error))
}

fn of_shared(error: std::sync::Arc<SandboxError>) -> Failure {
    Failure::Sandbox(error)
}

const EXTRACTS: &str = "extract-";

/// Names this process, so that another one knows whose a folder is.
fn own_prefix() -> String {
    format!("{EXTRACTS}{}-", std::process::id())
}

/// Removes what a runner that was killed had taken out of containers. One that lives keeps its own.
pub(crate) fn remove_leftovers(state: &Path) {
    let Ok(entries) = std::fs::read_dir(state) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(EXTRACTS)?.split('-').next()?.parse::<u32>().ok());
        let is_left = owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists());
        if is_left && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, "files of an earlier command were not removed");
        }
    }
}

/// Where the files that a command gives back are put until they leave.
struct Place {
    folder: Option<tempfile::TempDir>,
    paths: Vec<String>,
}

impl Place {
    fn of(request: &ExecRequest, settings: &ExecSettings) -> io::Result<Self> {
        let paths = request.sandbox.as_ref().map(|sandbox| sandbox.extract.clone()).unwrap_or_default();
        let folder = match (&settings.sandbox.state_dir, paths.is_empty()) {
            (_, true) => None,
            (Some(state), false) => Some(tempfile::Builder::new().prefix(&own_prefix()).tempdir_in(state)?),
            (None, false) => Some(tempfile::tempdir()?),
        };
        Ok(Self { folder, paths })
    }

    /// Each path into a folder of its own, so that none overwrites another's.
    fn wanted(&self) -> Vec<Extract> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let to = |index: usize| folder.path().join(index.to_string());
        self.paths
            .iter()
            .enumerate()
            .map(|(index, from)| Extract { from: from.clone(), to: to(index) })
            .collect()
    }

    /// Reads what was extracted, as far as `limit` bytes go.
    fn collect(self, found: &[sandbox::Extracted], limit: u64) -> Option<Vec<Extracted>> {
        self.folder.as_ref()?;
        let mut left = limit;
        Some(found.iter().map(|found| collect(found, &mut left)).collect())
    }
}

fn collect(found: &sandbox::Extracted, left: &mut u64) -> Extracted {
    let said =
        |status, error: Option<String>, files| Extracted { from: found.from.clone(), status, error, files };
    match found.status {
        sandbox::ExtractStatus::Missing => said(ExtractStatus::Missing, None, Vec::new()),
        sandbox::ExtractStatus::Error => said(ExtractStatus::Error, found.error.clone(), Vec::new()),
        sandbox::ExtractStatus::Ok => {
            let mut files = Vec::new();
            match read_folder(&found.to, &found.to, left, &mut files) {
                Ok(()) => said(ExtractStatus::Ok, None, files),
                Err(error) => said(ExtractStatus::Error, Some(error.to_string()), Vec::new()),
            }
        }
    }
}

fn read_folder(root: &Path, folder: &Path, left: &mut u64, files: &mut Vec<ExtractedFile>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            read_folder(root, &path, left, files)?;
        } else if kind.is_file() {
            let size = entry.metadata()?.len();
            *left = left.checked_sub(size).ok_or_else(|| io::Error::other("more than may be given back"))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_str();
            let name = name.ok_or_else(|| io::Error::other("a name that is not UTF-8"))?.to_owned();
            files.push(ExtractedFile { path: name, content: FileContent(fs::read(&path)?) });
        }
    }
    Ok(())
}
