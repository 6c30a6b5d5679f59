//! The folder of run states: one file a run, written whole or not at all.
//!
//! What must survive the machine is on the disk before a call returns. An attached run that has not ended is not that: it
//! ends with the machine, and is then as good as unknown.
//!
//! Threads and processes share the folder. A change is read, applied and written under a lock of the run's; there are a
//! few locks for all runs, so that none has to be removed with its run. What else lies in the folder (the usage of cached
//! images, files of other programs) is nobody's state and is passed over.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{RunId, RunState, RunStatus};
use crate::{SandboxError, SandboxErrorCode};

/// More than a state with the longest command and every extract entry has; a bigger file is none of ours.
const LARGEST: u64 = 8 << 20;
/// A file that was begun so long ago has no writer any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// All states of a folder. Clones are the same folder.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Makes the folder (0700) where there is none.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn open(folder: &Path) -> Result<Self, SandboxError> {
        let store = Self { folder: folder.to_owned() };
        private_folder(&store.locks()).map_err(|error| failed("use the folder of states", error))?;
        Ok(store)
    }

    /// Writes a state, in place of the one of the same run.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn put(&self, state: &RunState) -> Result<(), SandboxError> {
        self.locked(&state.id, || self.write(state))
            .map_err(|error| failed(&format!("write the state of {}", state.id), error))
    }

    /// Applies `change` to a state while nobody else does, and answers the new one; none where the run is not known.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn update(
        &self,
        id: &RunId,
        change: impl FnOnce(&mut RunState),
    ) -> Result<Option<RunState>, SandboxError> {
        let apply = || {
            let Some(mut state) = self.read(id)? else { return Ok(None) };
            change(&mut state);
            self.write(&state).map(|()| Some(state))
        };
        self.locked(id, apply).map_err(|error| failed(&format!("change the state of {id}"), error))
    }

    /// The state of one run; none where it is not known or its file is damaged.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn get(&self, id: &RunId) -> Result<Option<RunState>, SandboxError> {
        self.read(id).map_err(|error| failed(&format!("read the state of {id}"), error))
    }

    /// All states, oldest first.
    ///
    /// # Errors
    /// `STATE_FAILED` where the folder cannot be listed.
    pub(crate) fn list(&self) -> Result<Vec<RunState>, SandboxError> {
        let mut states: Vec<RunState> = self.sized()?.into_iter().map(|(state, _size)| state).collect();
        states.sort_by(|a, b| (&a.started_at, &a.id).cmp(&(&b.started_at, &b.id)));
        Ok(states)
    }

    /// Forgets a run; false where it was not known.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn delete(&self, id: &RunId) -> Result<bool, SandboxError> {
        let remove = || match fs::remove_file(self.path(id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        self.locked(id, remove).map_err(|error| failed(&format!("remove the state of {id}"), error))
    }

    /// Forgets ended runs, those first that ended first, until all states have at most `budget` bytes. Answers how many.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn evict(&self, budget: u64) -> Result<u64, SandboxError> {
        self.remove_abandoned();
        let states = self.sized()?;
        let mut total: u64 = states.iter().map(|(_state, size)| size).sum();
        let mut ended: Vec<_> =
            states.into_iter().filter(|(state, _size)| state.status != RunStatus::Running).collect();
        ended.sort_by(|(a, _), (b, _)| end(a).cmp(&end(b)));
        let mut evicted = 0;
        for (state, size) in ended {
            if total <= budget {
                break;
            }
            evicted += u64::from(self.delete(&state.id)?);
            total = total.saturating_sub(size);
        }
        Ok(evicted)
    }

    fn sized(&self) -> Result<Vec<(RunState, u64)>, SandboxError> {
        let list = || {
            let mut states = Vec::new();
            for entry in fs::read_dir(&self.folder)? {
                let Some(id) = entry?.file_name().to_str().and_then(run_of_file) else { continue };
                match self.read_sized(&id) {
                    Ok(found) => states.extend(found),
                    Err(error) => tracing::warn!(run = %id, %error, "cannot read the state of a run"),
                }
            }
            Ok(states)
        };
        list().map_err(|error| failed("list the states of runs", error))
    }

    fn read(&self, id: &RunId) -> io::Result<Option<RunState>> {
        Ok(self.read_sized(id)?.map(|(state, _size)| state))
    }

    fn read_sized(&self, id: &RunId) -> io::Result<Option<(RunState, u64)>> {
        let file = match File::open(self.path(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        let size = file.take(LARGEST).read_to_end(&mut text)?;
        Ok(parse(&text, id).map(|state| (state, size.try_into().unwrap_or(LARGEST))))
    }

    fn write(&self, state: &RunState) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(state)?;
        text.push(b'\n');
        if u64::try_from(text.len()).is_ok_and(|size| size >= LARGEST) {
            return Err(io::Error::other(format!("it would have {} bytes", text.len())));
        }
        let lasting = state.detached || state.status != RunStatus::Running;
        replace(&self.path(&state.id), &text, lasting)
    }

    fn locked<T>(&self, id: &RunId, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let stripe = id.as_str().chars().next_back().unwrap_or('0');
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.locks().join(format!("{stripe}.lock")))?;
        lock.lock()?;
        work()
    }

    fn remove_abandoned(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let begun = entry.file_name().to_str().is_some_and(|name| name.ends_with(UNFINISHED));
            if begun
                && is_older(&entry, ABANDONED)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(%error, "cannot remove a state that was not written to its end");
            }
        }
    }

    fn path(&self, id: &RunId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn locks(&self) -> PathBuf {
        self.folder.join("locks")
    }
}

const UNFINISHED: &str = ".unfinished";

/// Puts `content` in place of the file, so that a reader, and the next start after a crash, has the old or the new one.
/// What is `lasting` is there after a crash of the machine too.
pub(crate) fn replace(path: &Path, content: &[u8], lasting: bool) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}{UNFINISHED}", Uuid::new_v4().simple()));
    let unfinished = PathBuf::from(name);
    let written = write_new(&unfinished, content, lasting).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // It is the write that is reported; a leftover is swept later.
        drop(fs::remove_file(&unfinished));
    }
    written
}

fn write_new(path: &Path, content: &[u8], lasting: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    if lasting { file.sync_data() } else { Ok(()) }
}

/// Makes a folder for this account alone, and those above it that are missing.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn parse(text: &[u8], id: &RunId) -> Option<RunState> {
    match serde_json::from_slice::<RunState>(text) {
        Ok(state) if state.id == *id => Some(state),
        Ok(state) => {
            tracing::warn!(run = %id, named = %state.id, "a state file has the id of another run");
            None
        }
        Err(error) => {
            tracing::warn!(run = %id, %error, "the state file of a run is damaged");
            None
        }
    }
}

fn run_of_file(name: &str) -> Option<RunId> {
    name.strip_suffix(".json")?.parse().ok()
}

fn end(state: &RunState) -> (&str, &str) {
    (state.finished_at.as_ref().unwrap_or(&state.started_at), state.id.as_str())
}

fn is_older(entry: &fs::DirEntry, age: Duration) -> bool {
    let written = entry.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| SystemTime::now().duration_since(written).is_ok_and(|since| since > age))
}

fn failed(what: &str, error: io::Error) -> SandboxError {
    SandboxError::new(SandboxErrorCode::StateFailed, format!("cannot {what}: {error}")).because(error)
}

#[cfg(test)]
mod tests;
