//! Brings one entry of `extract` to its folder: all of it, or nothing. Only where a process dies amid the moving, and who goes
//! on meets a collision further on, stays what the dead one had moved.
//!
//! The tree is first written beside its place, under a name that nobody can guess and that begins with the run's, so that
//! what a killed process has left is known. Then it is moved in, folder by folder, and never over something that is there:
//! what two entries write twice, and what was there before, is a collision. All that is not in its place yet is in that
//! tree, and the tree goes last: so another process can move what is left of it, and none of it is taken out twice.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, mkdirat, openat, renameat_with, statat};
use rustix::io::Errno;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::folder::Folder;
use super::remove::remove_tree;
use super::sink::at;
use super::walk::{open_beneath, open_folder};
use crate::state::Landed;
use crate::{Extract, ExtractLimits};

/// A place that is being prepared. Dropping it leaves nothing.
pub(super) struct Landing {
    to: PathBuf,
    folder: OwnedFd,
    made: bool,
    name: OsString,
    stage: Dir,
    landed: bool,
}

impl Landing {
    /// Makes the folder `to` where there is none, for an entry of `run`. A link of that name is not followed.
    pub(super) fn at(to: &Path, run: &str) -> io::Result<Self> {
        // Without a slash at its end, which would follow a link.
        let to: PathBuf = to.components().collect();
        let made = !to.try_exists()?;
        std::fs::create_dir_all(&to)?;
        let folder = open_place(&to)?;
        let name = OsString::from(format!("{}{}", beginning(run), Uuid::new_v4().simple()));
        mkdirat(&folder, &name, Mode::RWXU)?;
        let stage = open_folder(&folder, name.as_os_str())?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { to, folder, made, name, stage: Dir::from(stage), landed: false })
    }

    /// The place that a process which is dead now has prepared under this name, to be landed as it is. None where nothing
    /// was left to move.
    pub(super) fn of_the_dead(to: &Path, name: &str) -> io::Result<Option<Self>> {
        let to: PathBuf = to.components().collect();
        let folder = match open_place(&to) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(stage) = open_folder(&folder, name)? else { return Ok(None) };
        Ok(Some(Self { to, folder, made: false, name: name.into(), stage: Dir::from(stage), landed: false }))
    }

    /// Where to write the tree.
    pub(super) fn stage(&self, limits: ExtractLimits, stop: &CancellationToken) -> Folder<'_> {
        Folder::for_results(&self.stage, limits, stop)
    }

    /// Of the tree while it is not in its place.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Moves the tree to its place.
    ///
    /// # Errors
    /// Where something of one of the names is there already; nothing has been moved then.
    pub(super) fn land(&mut self) -> io::Result<()> {
        let mut moved = Vec::new();
        let (stage, folder) = (self.stage.as_fd(), self.folder.as_fd());
        let merged = merge(stage, folder, &Path::new("").into(), &mut moved);
        if merged.is_err() {
            take_back(folder, stage, &moved);
        } else {
            self.retire();
        }
        self.landed = merged.is_ok();
        merged
    }

    /// Gives what is left of the tree another name, so that it goes at once: folders of it that are half removed are
    /// nothing that is to be moved.
    fn retire(&mut self) {
        let mut retired = self.name.clone();
        retired.push("-moved");
        if rustix::fs::renameat(&self.folder, &self.name, &self.folder, &retired).is_ok() {
            self.name = retired;
        }
    }
}

/// Removes what a killed process has left of `run` in the places of its entries, but for what is only to be moved.
pub(crate) async fn clear_stages(run: &str, entries: &[Extract], landed: &[Landed]) {
    let places: BTreeSet<PathBuf> = entries.iter().map(|entry| entry.to.components().collect()).collect();
    let beginning = beginning(run);
    let kept: BTreeSet<OsString> = landed.iter().map(|landed| OsString::from(&landed.stage)).collect();
    let clear = move || {
        for place in places {
            if let Err(error) = clear_stage(&place, &beginning, &kept) {
                tracing::warn!(place = %place.display(), %error, "cannot look for what an extraction has left");
            }
        }
    };
    if !entries.is_empty() && spawn_blocking(clear).await.is_err() {
        tracing::warn!(run, "what an extraction has left was not removed");
    }
}

fn clear_stage(place: &Path, beginning: &str, kept: &BTreeSet<OsString>) -> io::Result<()> {
    let folder = match open_place(place) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names(&folder)? {
        if name.as_bytes().starts_with(beginning.as_bytes()) && !kept.contains(&name) {
            remove_tree(&folder, &name)?;
        }
    }
    Ok(())
}

/// Of the names under which entries of a run are prepared.
fn beginning(run: &str) -> String {
    format!(".{run}-")
}

fn open_place(to: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, to, flags, Mode::empty())?)
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.folder, &self.name) {
            tracing::warn!(%error, "cannot remove what an extraction has left");
        }
        if self.made && !self.landed {
            // Others may use the folder by now; then it stays.
            drop(std::fs::remove_dir(&self.to));
        }
    }
}

/// What was moved to its place. Many names may be in one deep folder, whose path is kept once.
struct Moved {
    folder: Rc<Path>,
    name: OsString,
}

/// Trees written by us are not deeper than the names that were checked, which bounds the recursion.
fn merge(
    from: impl AsFd + Copy,
    to: impl AsFd + Copy,
    path: &Rc<Path>,
    moved: &mut Vec<Moved>,
) -> io::Result<()> {
    for name in names(from)? {
        match move_new(from, to, &name) {
            Ok(()) => moved.push(Moved { folder: Rc::clone(path), name }),
            Err(error) if error == Errno::EXIST => match both_folders(from, to, &name)? {
                Some((from, to)) => merge(from.as_fd(), to.as_fd(), &path.join(&name).into(), moved)?,
                None => return Err(at(&path.join(&name), collision())),
            },
            Err(error) => return Err(at(&path.join(&name), error.into())),
        }
    }
    Ok(())
}

fn names(folder: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn move_new(from: impl AsFd, to: impl AsFd + Copy, name: &OsStr) -> Result<(), Errno> {
    match renameat_with(&from, name, to, name, RenameFlags::NOREPLACE) {
        // A file system that has no such rename: the moment between looking and moving is then ours to risk.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, name),
            Err(error) => Err(error),
        },
        done => done,
    }
}

fn both_folders(from: impl AsFd, to: impl AsFd, name: &OsStr) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    Ok(open_folder(from, name)?.zip(open_folder(to, name)?))
}

/// Moves back what was moved before a collision was met.
fn take_back(from: impl AsFd + Copy, to: impl AsFd + Copy, moved: &[Moved]) {
    for Moved { folder, name } in moved {
        let back = || {
            let folders = open_beneath(from, folder)?.zip(open_beneath(to, folder)?);
            let (from, to) = folders.ok_or(io::ErrorKind::NotFound)?;
            Ok::<_, io::Error>(rustix::fs::renameat(from, name, to, name)?)
        };
        if let Err(error) = back() {
            tracing::warn!(%error, "cannot take back a part of an extraction");
        }
    }
}

fn collision() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "something of this name is there already")
}
