//! Removes a tree that may be hostile: nested deeper than a stack or the number of open files, with folders that nobody
//! may enter, changed meanwhile.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use uuid::Uuid;

use super::walk::{has_changed, kind, open_folder};

/// How often a folder is looked through until it is empty: deeper than any file system's path by far. Somebody who fills
/// it again meanwhile is not waited for.
const PASSES: u32 = 100_000;

/// Removes the file or tree `name` of `parent`. One that is not there is no error.
pub(super) fn remove_tree(parent: impl AsFd + Copy, name: &OsStr) -> io::Result<()> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if kind(&stat) == FileType::Directory => {}
        Ok(_) => return gone_is_done(unlinkat(parent, name, AtFlags::empty())),
        Err(error) => return gone_is_done(Err(error)),
    }
    if let Some(folder) = enter(parent, name)? {
        Removal::new(&folder).empty()?;
    }
    gone_is_done(unlinkat(parent, name, AtFlags::REMOVEDIR))
}

/// Empties one folder. A folder in it is emptied one level deep, and what is nested deeper is moved up to the root: so the
/// depth is no matter, and two folders at most are open besides the root.
struct Removal<'a> {
    root: &'a OwnedFd,
    prefix: String,
    moved: u64,
}

impl<'a> Removal<'a> {
    fn new(root: &'a OwnedFd) -> Self {
        Self { root, prefix: format!(".{}-", Uuid::new_v4().simple()), moved: 0 }
    }

    fn empty(&mut self) -> io::Result<()> {
        for _ in 0..PASSES {
            if !self.pass()? {
                return Ok(());
            }
        }
        Err(io::Error::other("the folder does not become empty"))
    }

    /// Removes what a listing of the root shows; true where it showed anything.
    fn pass(&mut self) -> io::Result<bool> {
        let mut found = false;
        for entry in Dir::read_from(self.root)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if is_entry(name) {
                found = true;
                self.remove(name)?;
            }
        }
        Ok(found)
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        if self.removed_at_once(self.root, name)? {
            return Ok(());
        }
        let Some(folder) = enter(self.root, name)? else { return Ok(()) };
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let inner = OsStr::from_bytes(entry.file_name().to_bytes());
            if is_entry(inner) && !self.removed_at_once(&folder, inner)? {
                self.move_up(&folder, inner)?;
            }
        }
        // What its listing has not shown is found by the next pass.
        match unlinkat(self.root, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            done => gone_is_done(done),
        }
    }

    /// Files and empty folders.
    fn removed_at_once(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) => return Ok(true),
            // Folders answer one or the other, by the system.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) if has_changed(error) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) if has_changed(error) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn move_up(&mut self, from: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.moved = self.moved.saturating_add(1);
        let up = format!("{}{}", self.prefix, self.moved);
        if let Err(Errno::ACCESS) = renameat(from, name, self.root, up.as_str()) {
            // A folder that is moved is written to: its parent changes.
            drop(enter(from, name)?);
            return gone_is_done(renameat(from, name, self.root, up.as_str()));
        }
        Ok(())
    }
}

/// Opens a folder, and makes it ours to empty where it was closed to us.
fn enter(parent: impl AsFd + Copy, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = match openat(parent, name, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(error) if has_changed(error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Through the handle, so that no link that has come in its place is changed.
    let through = format!("/proc/self/fd/{}", handle.as_raw_fd());
    // Where it fails for an owner that is not ours, what follows says what cannot be removed.
    drop(std::fs::set_permissions(through, Permissions::from_mode(0o700)));
    open_folder(parent, name)
}

fn is_entry(name: &OsStr) -> bool {
    name != "." && name != ".."
}

fn gone_is_done(done: Result<(), Errno>) -> io::Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}
