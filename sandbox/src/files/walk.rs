//! Reads a tree that may be hostile and may change meanwhile, without following a link.
//!
//! Every name is opened relative to the open folder that it was read from, so that a folder that is replaced by a link on
//! the way leads nowhere. Memory and open files are bounded by [`DEPTH`], not by the size of the tree.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::names::DEPTH;
use super::sink::{Content, Meta, Sink, at};

/// A position in a tree.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    levels: Vec<Dir>,
    path: PathBuf,
    below: bool,
    ignored: &'a BTreeSet<OsString>,
}

/// What the walk has come to.
#[derive(Debug)]
pub(super) enum Found {
    /// A folder, which the walk enters next.
    Folder(Box<Stat>),
    /// A regular file.
    File(Box<Stat>, CString),
    /// A link, a device, a pipe or a socket.
    Other,
}

impl<'a> Walk<'a> {
    /// All that is in `root`, without the names that are ignored.
    pub(super) fn new(root: impl AsFd, ignored: &'a BTreeSet<OsString>) -> io::Result<Self> {
        Ok(Self { levels: vec![Dir::read_from(root)?], path: PathBuf::new(), below: false, ignored })
    }

    /// Where the last entry is, relative to the root.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next entry. What has gone or has become something else since its name was read is passed over.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.below {
            self.path.pop();
            self.below = false;
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(entry) = level.read() else {
                self.levels.pop();
                self.path.pop();
                continue;
            };
            let name = entry?.file_name().to_owned();
            if self.passes_over(&name) {
                continue;
            }
            if let Some(found) = self.visit(name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Opens the file that the walk has come to. None where it is no regular file any more.
    pub(super) fn open(&self, name: &CString) -> io::Result<Option<(File, Meta)>> {
        let Some(folder) = self.levels.last() else { return Ok(None) };
        // A pipe that has taken the file's place would otherwise be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(folder.fd()?, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(error) if has_changed(error) => return Ok(None),
            Err(error) => return Err(at(&self.path, error.into())),
        };
        let stat = fstat(&file)?;
        Ok((kind(&stat) == FileType::RegularFile).then(|| (File::from(file), meta(&stat))))
    }

    /// Whether the walk stopped at a folder that is nested too deeply.
    pub(super) fn is_too_deep(&self) -> bool {
        self.levels.len() >= DEPTH
    }

    fn visit(&mut self, name: CString) -> io::Result<Option<Found>> {
        let Some(level) = self.levels.last() else { return Ok(None) };
        let stat = match statat(level.fd()?, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) if has_changed(error) => return Ok(None),
            Err(error) => return Err(at(&self.path.join(OsStr::from_bytes(name.to_bytes())), error.into())),
        };
        let found = match kind(&stat) {
            FileType::Directory => {
                let Some(folder) = open_folder(level.fd()?, &name)? else { return Ok(None) };
                return self.enter(&name, folder).map(|()| Some(Found::Folder(Box::new(stat))));
            }
            FileType::RegularFile => Found::File(Box::new(stat), name.clone()),
            _ => Found::Other,
        };
        self.path.push(OsStr::from_bytes(name.to_bytes()));
        self.below = true;
        Ok(Some(found))
    }

    fn enter(&mut self, name: &CString, folder: OwnedFd) -> io::Result<()> {
        self.path.push(OsStr::from_bytes(name.to_bytes()));
        if self.levels.len() >= DEPTH {
            return Err(io::Error::other(format!("folders are nested deeper than {DEPTH}")));
        }
        self.levels.push(Dir::new(folder)?);
        Ok(())
    }

    fn passes_over(&self, name: &CString) -> bool {
        matches!(name.to_bytes(), b"." | b"..") || self.ignored.contains(OsStr::from_bytes(name.to_bytes()))
    }
}

/// Gives all regular files and folders of `root` to `sink`.
pub(super) fn pour(root: impl AsFd, ignored: &BTreeSet<OsString>, sink: &mut dyn Sink) -> io::Result<()> {
    let mut walk = Walk::new(root, ignored)?;
    while let Some(found) = walk.next()? {
        match found {
            Found::Folder(stat) => sink.folder(walk.path(), Meta { size: 0, ..meta(&stat) })?,
            Found::File(_stat, name) => {
                if let Some((file, meta)) = walk.open(&name)? {
                    sink.file(walk.path(), meta, Content::File(&file))?;
                }
            }
            Found::Other => {}
        }
    }
    Ok(())
}

/// Opens a folder by one name. None where there is none of that name, or something else.
pub(super) fn open_folder(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if has_changed(error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder by a path, every folder on the way by its name alone. None as for one name.
pub(super) fn open_beneath(root: impl AsFd, path: &Path) -> io::Result<Option<OwnedFd>> {
    let mut folder = root.as_fd().try_clone_to_owned()?;
    for name in path {
        match open_folder(&folder, name)? {
            Some(next) => folder = next,
            None => return Ok(None),
        }
    }
    Ok(Some(folder))
}

/// Whether a failure means that the name is not, or no more, what it was taken for.
pub(super) fn has_changed(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::STALE)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn meta(stat: &Stat) -> Meta {
    Meta { mode: stat.st_mode, size: u64::try_from(stat.st_size).unwrap_or(0), modified: stat.st_mtime }
}
