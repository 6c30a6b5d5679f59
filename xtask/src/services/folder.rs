//! The folder that holds everything about the servers, and the two locks that keep xtasks apart.
//!
//! `lock` is held by whoever starts or stops servers. `in-use` is shared by all test runs and held alone
//! by whoever is about to stop a server, so that nobody's tests lose theirs.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::arguments::Place;
use crate::command::eventually;
use crate::error::Error;
use crate::workspace;

/// Long enough for another xtask that installs packages or pulls images.
const LOCK_LIMIT: Duration = Duration::from_mins(15);
/// Test runs take minutes; waiting for them is better done by a person.
const USE_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// Held while tests use the servers; given back when dropped.
pub(crate) struct InUse {
    _file: File,
}

/// Held while servers start or stop; given back when dropped.
pub(crate) struct Alone {
    _file: File,
}

impl Folder {
    /// Makes it where it is not there.
    pub(crate) fn open(place: &Place) -> Result<Self, Error> {
        let path = match place {
            Place::Cache => workspace::cache_folder()?.join("services"),
            Place::Folder(folder) => std::path::absolute(folder).map_err(Error::io("find", folder))?,
        };
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        Ok(Folder { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.path.join("state.json")
    }

    pub(crate) fn forget_state(&self) -> Result<(), Error> {
        remove_file(&self.state_file())
    }

    /// Waits until no other xtask starts or stops servers.
    pub(crate) fn lock(&self) -> Result<Alone, Error> {
        lock(self.path.join("lock"), "the services")
    }

    /// Keeps the servers from being stopped by others. Call it with the lock held.
    pub(crate) fn use_servers(&self) -> Result<InUse, Error> {
        let path = self.path.join("in-use");
        let file = open(&path)?;
        let held = eventually(USE_LIMIT, || taken(file.try_lock_shared(), &path))?;
        if held { Ok(InUse { _file: file }) } else { Err(Error::Locked { path, limit: USE_LIMIT }) }
    }

    /// Makes sure that no tests use the servers and none begin to.
    pub(crate) fn no_users(&self) -> Result<Alone, Error> {
        let path = self.path.join("in-use");
        let file = open(&path)?;
        if exclusively(&file, &path, USE_LIMIT)? { Ok(Alone { _file: file }) } else { Err(Error::InUse) }
    }
}

/// Holds the file at `path`, which is about `what`; waits for another xtask that holds it.
pub(crate) fn lock(path: PathBuf, what: &str) -> Result<Alone, Error> {
    let file = open(&path)?;
    if !exclusively(&file, &path, Duration::ZERO)? {
        println!("waiting for another xtask to finish with {what}");
        if !exclusively(&file, &path, LOCK_LIMIT)? {
            return Err(Error::Locked { path, limit: LOCK_LIMIT });
        }
    }
    Ok(Alone { _file: file })
}

/// Removes a file that may already be gone.
pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::options().create(true).truncate(false).write(true).open(path).map_err(Error::io("open", path))
}

fn exclusively(file: &File, path: &Path, limit: Duration) -> Result<bool, Error> {
    eventually(limit, || taken(file.try_lock(), path))
}

fn taken(attempt: Result<(), TryLockError>, path: &Path) -> Result<bool, Error> {
    match attempt {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}
