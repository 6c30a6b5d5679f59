//! Which process answers for a run: locks that the kernel gives back when a process dies, however it dies.
//!
//! Each sandbox holds one lock for its own runs, and one more for every run that it took over from a dead one. A name whose
//! lock can be had has no living holder.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::state::RunId;
use crate::{SandboxError, SandboxErrorCode};

const EXTENSION: &str = "lock";

/// The folder of locks.
#[derive(Debug, Clone)]
pub(crate) struct Owners {
    folder: PathBuf,
}

/// A name that is held. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl Owners {
    /// Makes the folder (0700) where there is none.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, SandboxError> {
        let folder = state_dir.join("owners");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| failed("make the folder of locks", error))?;
        Ok(Self { folder })
    }

    /// A name of our own.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn enter(&self) -> Result<Held, SandboxError> {
        let name = Uuid::new_v4().to_string();
        let held = self.hold(&name).map_err(|error| failed("hold a lock", error))?;
        held.ok_or_else(|| SandboxError::new(SandboxErrorCode::StateFailed, "a new lock is held by another"))
    }

    /// Takes over a run. None where another process has.
    ///
    /// # Errors
    /// `STATE_FAILED`.
    pub(crate) fn take_over(&self, run: &RunId) -> Result<Option<Held>, SandboxError> {
        self.hold(run.as_str()).map_err(|error| failed("hold a lock", error))
    }

    /// Whether a living process answers for a run of this owner.
    pub(crate) fn answers(&self, owner: Option<&str>, run: &RunId) -> bool {
        owner.is_some_and(|owner| self.is_held(owner)) || self.is_held(run.as_str())
    }

    /// Whether a process that shares this folder ever had that name, so that its being dead means something.
    pub(crate) fn knows(&self, owner: &str) -> bool {
        self.path(owner).is_some_and(|path| path.exists())
    }

    /// Removes the locks of the dead, but for those of `wanted`.
    pub(crate) fn forget_dead(&self, wanted: &dyn Fn(&str) -> bool) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == EXTENSION) && !wanted(name) {
                drop(self.hold(name).map(|held| held.map(Held::remove)));
            }
        }
    }

    fn is_held(&self, name: &str) -> bool {
        let Some(path) = self.path(name) else { return false };
        match File::open(path).map(|file| file.try_lock()) {
            Ok(Err(TryLockError::WouldBlock)) => true,
            // Who cannot be asked is taken for living: nothing of it is touched.
            Ok(Err(TryLockError::Error(_))) => true,
            Ok(Ok(())) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn hold(&self, name: &str) -> io::Result<Option<Held>> {
        let path = self.path(name).ok_or(io::ErrorKind::InvalidInput)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match lock.try_lock() {
            // Somebody may have removed the file between the open and the lock, and another may have made a new one.
            Ok(()) if is_at(&lock, &path) => Ok(Some(Held { name: name.to_owned(), path, _lock: lock })),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// A label can be anybody's text.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let is_ours =
            Uuid::try_parse(name).is_ok_and(|uuid| uuid.to_string() == name) || name.parse::<RunId>().is_ok();
        is_ours.then(|| self.folder.join(format!("{name}.{EXTENSION}")))
    }
}

impl Held {
    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives it back and leaves nothing of it.
    pub(crate) fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(lock = %self.path.display(), %error, "a lock's file was not removed");
        }
    }
}

/// Whether a path leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(found)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (found.dev(), found.ino())
}

fn failed(what: &str, error: io::Error) -> SandboxError {
    SandboxError::new(SandboxErrorCode::StateFailed, format!("cannot {what}: {error}")).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_answers_for_its_runs_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::open(folder.path()).unwrap();
        let (owner, run) = (owners.enter().unwrap(), RunId::new());
        let name = owner.name().to_owned();
        assert!(owners.answers(Some(&name), &run));
        drop(owner);
        assert!(!owners.answers(Some(&name), &run));
        assert!(owners.knows(&name), "the lock's file stays to say that it was one of ours");
    }

    #[test]
    fn a_run_is_taken_over_by_one_process_only() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::open(folder.path()).unwrap();
        let run = RunId::new();
        let taken = owners.take_over(&run).unwrap();
        assert!(taken.is_some());
        assert!(owners.take_over(&run).unwrap().is_none());
        assert!(owners.answers(None, &run));
    }

    #[test]
    fn a_lock_whose_file_was_replaced_is_none_of_the_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let first = File::create(&path).unwrap();
        assert!(is_at(&first, &path));
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&first, &path));
        let _second = File::create(&path).unwrap();
        assert!(!is_at(&first, &path));
    }

    #[test]
    fn a_name_from_a_label_cannot_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("outside.lock"), "").unwrap();
        assert!(!owners.knows("../outside"));
        assert!(!owners.answers(Some("../outside"), &RunId::new()));
    }

    #[test]
    fn locks_of_the_dead_are_removed_and_those_of_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::open(folder.path()).unwrap();
        let (dead, living) = (owners.enter().unwrap(), owners.enter().unwrap());
        let dead_name = dead.name().to_owned();
        drop(dead);
        owners.forget_dead(&|_| false);
        assert!(!owners.knows(&dead_name));
        assert!(owners.answers(Some(living.name()), &RunId::new()));
    }
}
