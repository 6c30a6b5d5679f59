//! Takes results out of a run that has ended: from the folder that we share with its engine, or through the engine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use bytes::Bytes;
use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt as _};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::folder::stopped;
use super::landing::Landing;
use super::names::locate;
use super::pipe::pipe;
use super::sink::{Content, Sink};
use super::staged::Staged;
use super::unpack::unpack;
use super::walk::{self, has_changed, kind, open_folder};
use crate::engine::{failed, status};
use crate::state::{Journal, Landed};
use crate::{Extract, ExtractLimits, ExtractStatus, Extracted, SandboxError, SandboxErrorCode};

/// How long the engine may take for the next piece of an archive.
const SILENCE: Duration = Duration::from_secs(120);

/// A run that has ended, and what may be taken out of it.
pub(crate) struct Results<'a> {
    /// The engine that has the container.
    pub(crate) docker: &'a Docker,
    /// The container.
    pub(crate) container: &'a str,
    /// Its shared folders, where it has them.
    pub(crate) staged: Option<&'a Staged>,
    /// Its workdir: an absolute path.
    pub(crate) workdir: &'a str,
    /// Of all entries together.
    pub(crate) limits: ExtractLimits,
    /// Cancelled when nothing more is to be taken out.
    pub(crate) stop: CancellationToken,
    /// Where it is noted what was taken out, of a run that others may go on with.
    pub(crate) journal: Option<Journal>,
}

/// What became of one entry, unless it was refused.
enum Taken {
    /// So much.
    All(ExtractLimits),
    Missing,
}

/// Where an entry comes to lie, and how much of it may.
#[derive(Debug, Clone)]
struct Place {
    run: String,
    to: PathBuf,
    limits: ExtractLimits,
    stop: CancellationToken,
    journal: Option<Journal>,
    entry: usize,
}

impl Results<'_> {
    /// Takes out all entries, one after another. An entry that fails leaves nothing and does not keep the others back.
    /// With a journal, what was taken out before is not taken out again.
    /// None when it was stopped: the entry that was under way has left nothing then, and nothing is written any more.
    ///
    /// # Errors
    /// `EXTRACT_FAILED` where the engine fails; `DOCKER_UNREACHABLE` where it has gone away and the same may be asked again:
    /// with a journal, or while nothing has been taken out.
    pub(crate) async fn take(&self, entries: &[Extract]) -> Result<Option<Vec<Extracted>>, SandboxError> {
        let mut extracted: Vec<Extracted> = Vec::with_capacity(entries.len());
        let mut limits = self.limits;
        for (index, entry) in entries.iter().enumerate() {
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            let may_ask_again =
                self.journal.is_some() || extracted.iter().all(|entry| entry.status != ExtractStatus::Ok);
            let taken = self.take_one(index, entry, limits).await;
            let taken = taken.map_err(|error| if may_ask_again { error } else { self.half_taken(error) })?;
            if let Ok(Taken::All(used)) = &taken {
                limits.bytes = limits.bytes.saturating_sub(used.bytes);
                limits.entries = limits.entries.saturating_sub(used.entries);
            }
            if taken.is_err() && self.stop.is_cancelled() {
                return Ok(None);
            }
            extracted.push(told(entry, taken));
        }
        Ok(Some(extracted))
    }

    async fn take_one(
        &self,
        index: usize,
        entry: &Extract,
        limits: ExtractLimits,
    ) -> Result<io::Result<Taken>, SandboxError> {
        let from = match located(entry, self.workdir) {
            Ok(from) => from,
            Err(refused) => return Ok(Err(refused)),
        };
        let (run, to) = (self.container.to_owned(), entry.to.clone());
        let (stop, journal) = (self.stop.clone(), self.journal.clone());
        let place = Place { run, to, limits, stop, journal, entry: index };
        if let Some(taken) = place.clone().noted().await {
            return Ok(taken);
        }
        match self.shared(&from) {
            Some((root, below)) => Ok(blocking(move || take_shared(&root, &below, &place)).await),
            None => self.take_archive(&from, place).await,
        }
    }

    /// The folder on this machine that has a path of the container, and the rest of the path below it.
    fn shared(&self, from: &Path) -> Option<(PathBuf, PathBuf)> {
        let staged = self.staged?;
        let below = |root: &str, folder: &Path| {
            from.strip_prefix(root).ok().map(|below| (folder.to_owned(), below.to_owned()))
        };
        below(self.workdir, staged.workdir()).or_else(|| below("/tmp", staged.tmp()?))
    }

    async fn take_archive(&self, from: &Path, place: Place) -> Result<io::Result<Taken>, SandboxError> {
        let Some(path) = from.to_str() else { return Ok(Ok(Taken::Missing)) };
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let archive = self.docker.download_from_container(self.container, Some(options));
        let mut archive = in_time(archive.boxed()).boxed();
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(Err(stopped())),
            first = archive.next() => first,
        };
        let first = match first {
            Some(Ok(first)) => first,
            Some(Err(error)) if status(&error) == Some(404) => return Ok(Ok(Taken::Missing)),
            Some(Err(error)) => return Err(self.broken(error)),
            None => Bytes::new(),
        };
        let landed = land_archive(first, archive, place).await;
        landed.map_err(|error| self.broken(error))
    }

    /// What has been taken out would be in the way of another attempt.
    fn half_taken(&self, error: SandboxError) -> SandboxError {
        let text = format!("not all results could be taken out: {error}");
        let failed = SandboxError::new(SandboxErrorCode::ExtractFailed, text).during("extract");
        failed.of_container(self.container).because(error)
    }

    fn broken(&self, error: EngineError) -> SandboxError {
        failed(SandboxErrorCode::ExtractFailed, "extract", error).of_container(self.container)
    }
}

/// Fails when the engine is silent in the midst of it.
fn in_time(
    archive: BoxStream<'_, Result<Bytes, EngineError>>,
) -> impl Stream<Item = Result<Bytes, EngineError>> {
    unfold(Some(archive), async |archive| {
        let mut archive = archive?;
        match timeout(SILENCE, archive.next()).await {
            Ok(piece) => Some((piece?, Some(archive))),
            Err(_) => Some((Err(EngineError::RequestTimeoutError), None)),
        }
    })
}

/// Lands what an archive holds while it arrives. The outer error is the stream's.
async fn land_archive<E>(
    first: Bytes,
    mut rest: impl Stream<Item = Result<Bytes, E>> + Unpin,
    place: Place,
) -> Result<io::Result<Taken>, E> {
    let (feeder, mut reader) = pipe();
    let stop = place.stop.clone();
    let landing = spawn_blocking(move || take_tree(&place, |sink| unpack(&mut reader, sink)));
    let mut piece = first;
    while feeder.feed(piece).await {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => {
                drop(feeder);
                break;
            }
            next = rest.next() => next,
        };
        match next {
            Some(Ok(next)) => piece = next,
            Some(Err(error)) => {
                drop(feeder);
                // It has failed for want of the rest; what it has left must be gone before anybody is told.
                drop(landing.await);
                return Err(error);
            }
            None => {
                feeder.end().await;
                break;
            }
        }
    }
    Ok(landing.await.unwrap_or_else(|error| Err(error.into())))
}

fn take_shared(root: &Path, below: &Path, place: &Place) -> io::Result<Taken> {
    let Some(source) = Source::open(root, below)? else { return Ok(Taken::Missing) };
    take_tree(place, |sink| source.pour(sink))
}

fn take_tree(place: &Place, pour: impl FnOnce(&mut dyn Sink) -> io::Result<()>) -> io::Result<Taken> {
    let landing = Landing::at(&place.to, &place.run);
    let landing = landing.map_err(|error| io::Error::new(error.kind(), format!("to: {error}")))?;
    let mut stage = landing.stage(place.limits, &place.stop);
    pour(&mut stage)?;
    let used = stage.used();
    if place.stop.is_cancelled() {
        return Err(stopped());
    }
    place.land(landing, used)
}

impl Place {
    /// What another process has taken out, all of which has come to its place after this; none where that was not noted.
    async fn noted(self) -> Option<io::Result<Taken>> {
        let journal = self.journal.clone()?;
        let finish = move || {
            let Some(Landed { stage, bytes, entries, .. }) = journal.noted(self.entry) else {
                return Ok(None);
            };
            let used = ExtractLimits { bytes, entries };
            match Landing::of_the_dead(&self.to, &stage)? {
                Some(landing) => self.land(landing, used).map(Some),
                None => Ok(Some(Taken::All(used))),
            }
        };
        blocking(finish).await.transpose()
    }

    /// Moves what was prepared to its place. That is noted before; the prepared goes after, so that whoever finds the note
    /// alone has nothing left to do. What cannot be moved goes without a note.
    fn land(&self, mut landing: Landing, used: ExtractLimits) -> io::Result<Taken> {
        if let Some(journal) = &self.journal {
            let stage = landing.name().to_string_lossy().into_owned();
            journal.note(Landed { entry: self.entry, stage, bytes: used.bytes, entries: used.entries });
        }
        let landed = landing.land();
        if let (Err(_), Some(journal)) = (&landed, &self.journal) {
            journal.withdraw(self.entry);
        }
        landed.map(|()| Taken::All(used))
    }
}

/// What an entry names in a shared folder.
enum Source {
    Folder(OwnedFd),
    File(PathBuf, File),
}

impl Source {
    /// Opens it, every folder on the way by its name alone.
    fn open(root: &Path, below: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = openat(CWD, root, flags, Mode::empty())?;
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Ok(Some(Self::Folder(folder)));
        };
        for name in parent {
            folder = match kind_of(&folder, name)? {
                Some(FileType::Symlink) => return Err(is_link()),
                Some(FileType::Directory) => match open_folder(&folder, name)? {
                    Some(folder) => folder,
                    None => return Ok(None),
                },
                Some(_) | None => return Ok(None),
            };
        }
        Self::open_last(&folder, name)
    }

    fn open_last(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Self>> {
        match kind_of(folder, name)? {
            Some(FileType::Directory) => Ok(open_folder(folder, name)?.map(Self::Folder)),
            Some(FileType::RegularFile) => {
                // A pipe that has taken the file's place would otherwise be waited for.
                let flags =
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                let file = openat(folder, name, flags, Mode::empty())?;
                Ok(Some(Self::File(name.into(), File::from(file))))
            }
            Some(FileType::Symlink) => Err(is_link()),
            Some(_) => Err(io::Error::other("it is neither a file nor a folder")),
            None => Ok(None),
        }
    }

    fn pour(self, sink: &mut dyn Sink) -> io::Result<()> {
        match self {
            Self::Folder(folder) => walk::pour(folder, &BTreeSet::new(), sink),
            Self::File(name, file) => {
                let stat = rustix::fs::fstat(&file)?;
                if kind(&stat) != FileType::RegularFile {
                    return Err(io::Error::other("it is neither a file nor a folder"));
                }
                sink.file(&name, walk::meta(&stat), Content::File(&file))
            }
        }
    }
}

fn kind_of(folder: impl AsFd, name: &OsStr) -> io::Result<Option<FileType>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(kind(&stat))),
        Err(error) if has_changed(error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn located(entry: &Extract, workdir: &str) -> io::Result<PathBuf> {
    if entry.to.as_os_str().is_empty() {
        return Err(io::Error::other("to: it names no folder"));
    }
    locate(&entry.from, workdir).map_err(|bad| io::Error::other(format!("from: {bad}")))
}

fn told(entry: &Extract, taken: io::Result<Taken>) -> Extracted {
    let (status, error, bytes) = match taken {
        Ok(Taken::All(used)) => (ExtractStatus::Ok, None, Some(used.bytes)),
        Ok(Taken::Missing) => (ExtractStatus::Missing, None, None),
        Err(error) => (ExtractStatus::Error, Some(error.to_string()), None),
    };
    Extracted { from: entry.from.clone(), to: entry.to.clone(), status, error, bytes }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await?
}

fn is_link() -> io::Error {
    io::Error::other("it is a symbolic link, or behind one")
}

#[cfg(test)]
mod tests;
