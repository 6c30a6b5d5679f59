//! The folders of one run that engine and caller both see: its workdir, and its `/tmp` where results are taken from there.
//!
//! They lie below a folder of ours that nobody else may enter, and have names of 128 random bits. So an engine that finds
//! such a folder has the same file system as we have: one that does not refuses the mount.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::folder::Folder;
use super::owner::Owner;
use super::remove::remove_tree;
use super::seeds::{self, Ignored};
use crate::Seed;
use crate::state::{RunId, private_folder};

const WORK: &str = "work";
const APP: &str = "app-";
const TMP: &str = "tmp-";

/// The folders of one run.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    root: PathBuf,
    workdir: PathBuf,
    tmp: Option<PathBuf>,
}

impl Staged {
    /// Makes the folders of a run, empty.
    ///
    /// # Errors
    /// `PermissionDenied` where we may not give files to `owner`, which only root can unless it is ourselves.
    pub(crate) fn create(state_dir: &Path, run: &RunId, owner: Owner, with_tmp: bool) -> io::Result<Self> {
        let root = state_dir.join(WORK).join(run.as_str());
        private_folder(&root)?;
        let staged =
            Self { workdir: root.join(random(APP)), tmp: with_tmp.then(|| root.join(random(TMP))), root };
        match staged.make(owner) {
            Ok(()) => Ok(staged),
            Err(error) => {
                // The reason is the caller's; what is left is removed with the run's other leftovers.
                drop(staged.remove_now());
                Err(error)
            }
        }
    }

    /// The folders of a run that another process, or this one, has made.
    pub(crate) fn find(state_dir: &Path, run: &RunId) -> io::Result<Option<Self>> {
        let root = state_dir.join(WORK).join(run.as_str());
        let entries = match std::fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut workdir, mut tmp) = (None, None);
        for entry in entries {
            let path = entry?.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some(name) if name.starts_with(APP) => workdir = Some(path),
                Some(name) if name.starts_with(TMP) => tmp = Some(path),
                Some(_) | None => {}
            }
        }
        Ok(workdir.map(|workdir| Self { root, workdir, tmp }))
    }

    /// The workdir on this machine.
    pub(crate) fn workdir(&self) -> &Path {
        &self.workdir
    }

    /// `/tmp` on this machine.
    pub(crate) fn tmp(&self) -> Option<&Path> {
        self.tmp.as_deref()
    }

    /// Writes a seed into the workdir. Fails soon after `stop` is cancelled; nothing is written any more when it answers, and
    /// as little as can be when it is dropped.
    pub(crate) async fn fill(
        &self,
        seed: Seed,
        ignore: Vec<String>,
        owner: Owner,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let workdir = self.workdir.clone();
        let _dropped = stop.clone().drop_guard();
        let fill = move || {
            let root = Dir::open_ambient_dir(workdir, ambient_authority())?;
            seeds::pour(&seed, &Ignored::new(ignore), &mut Folder::of_run(&root, owner, &stop))
        };
        spawn_blocking(fill).await?
    }

    /// Gives the workdir itself to the run again: an engine that brings the image's files into it takes it for root.
    pub(crate) fn own(&self, owner: Owner) -> io::Result<()> {
        let folder = File::open(&self.workdir)?;
        owner.give(&folder)?;
        folder.set_permissions(Permissions::from_mode(owner.folder_mode(0o755)))
    }

    /// Removes all of it, whatever the run has made of it. The container must be gone.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        let staged = self.clone();
        spawn_blocking(move || staged.remove_now()).await?
    }

    fn make(&self, owner: Owner) -> io::Result<()> {
        make_folder(&self.workdir, owner, owner.folder_mode(0o755))?;
        match &self.tmp {
            Some(tmp) => make_folder(tmp, Owner::Anyone, 0o1777),
            None => Ok(()),
        }
    }

    fn remove_now(&self) -> io::Result<()> {
        let (Some(parent), Some(name)) = (self.root.parent(), self.root.file_name()) else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        remove_tree(&openat(CWD, parent, flags, Mode::empty())?, name)
    }
}

/// Runs that have folders here, and when those were made.
pub(crate) fn leftovers(state_dir: &Path) -> io::Result<Vec<(RunId, SystemTime)>> {
    let entries = match std::fs::read_dir(state_dir.join(WORK)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry?;
        let run = entry.file_name().to_str().and_then(|name| name.parse().ok());
        runs.extend(run.zip(entry.metadata().and_then(|metadata| metadata.modified()).ok()));
    }
    Ok(runs)
}

/// Removes the folders of a run of which nothing else is left.
pub(crate) async fn remove_leftover(state_dir: &Path, run: &RunId) -> io::Result<()> {
    let root = state_dir.join(WORK).join(run.as_str());
    Staged { workdir: root.clone(), tmp: None, root }.remove().await
}

fn make_folder(path: &Path, owner: Owner, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    let folder = File::open(path)?;
    owner.give(&folder)?;
    folder.set_permissions(Permissions::from_mode(mode))
}

fn random(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests;
