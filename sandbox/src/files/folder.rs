//! Writes a tree into a folder that it cannot leave.
//!
//! No link is ever made, no file is opened that was there before, and a path that would lead out of the folder through a
//! link that somebody has planted is refused by the kernel or by the library below us.

use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Gid, Uid};
use tokio_util::sync::CancellationToken;

use super::owner::Owner;
use super::sink::{Content, Meta, Sink, at};
use crate::ExtractLimits;

/// What is copied between two looks at whether it is still wanted.
const CHUNK: u64 = 16 << 20;

/// A folder to fill.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    root: &'a Dir,
    rule: Rule,
    left: ExtractLimits,
    limits: ExtractLimits,
    stop: CancellationToken,
}

/// Whose the files will be, and what may be done with them.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Those of a run; modes are exact.
    Run(Owner),
    /// Ours: what our own umask grants to others is theirs, and we can always read and remove it.
    Ours,
}

impl<'a> Folder<'a> {
    /// The workdir of a run. Fails soon after `stop` is cancelled.
    pub(super) fn of_run(root: &'a Dir, owner: Owner, stop: &CancellationToken) -> Self {
        let limits = ExtractLimits { bytes: u64::MAX, entries: u64::MAX };
        Self { root, rule: Rule::Run(owner), left: limits, limits, stop: stop.clone() }
    }

    /// A folder for what a run has made, which may be no more than `limits`. Fails soon after `stop` is cancelled.
    pub(super) fn for_results(root: &'a Dir, limits: ExtractLimits, stop: &CancellationToken) -> Self {
        Self { root, rule: Rule::Ours, left: limits, limits, stop: stop.clone() }
    }

    /// What was written so far.
    pub(super) const fn used(&self) -> ExtractLimits {
        ExtractLimits {
            bytes: self.limits.bytes.saturating_sub(self.left.bytes),
            entries: self.limits.entries.saturating_sub(self.left.entries),
        }
    }

    fn count(&mut self, size: u64) -> io::Result<()> {
        if self.stop.is_cancelled() {
            return Err(stopped());
        }
        let Some(entries) = self.left.entries.checked_sub(1) else {
            return Err(io::Error::other(format!("there are more than {} entries", self.limits.entries)));
        };
        let Some(bytes) = self.left.bytes.checked_sub(size) else {
            return Err(io::Error::other(format!("there are more than {} bytes", self.limits.bytes)));
        };
        self.left = ExtractLimits { bytes, entries };
        Ok(())
    }

    fn make_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(self.rule.folder_mode(mode));
        self.root.create_dir_with(path, &builder)?;
        if let Rule::Run(owner) = self.rule {
            let folder = self.root.open(path)?.into_std();
            owner.give(&folder)?;
            folder.set_permissions(Permissions::from_mode(owner.folder_mode(mode)))?;
        }
        Ok(())
    }

    fn make_file(&self, path: &Path, meta: Meta, content: Content<'_>) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(self.rule.file_mode(meta.mode));
        let mut file = self.root.open_with(path, &options)?.into_std();
        copy(content, meta.size, &mut file, &self.stop)?;
        if let Rule::Run(owner) = self.rule {
            owner.give(&file)?;
            file.set_permissions(Permissions::from_mode(owner.file_mode(meta.mode)))?;
        }
        set_modified(&file, meta.modified)
    }
}

impl Sink for Folder<'_> {
    fn folder(&mut self, path: &Path, meta: Meta) -> io::Result<()> {
        self.count(0)?;
        self.make_folder(path, meta.mode).map_err(|error| at(path, error))
    }

    fn file(&mut self, path: &Path, meta: Meta, content: Content<'_>) -> io::Result<()> {
        self.count(meta.size)?;
        self.make_file(path, meta, content).map_err(|error| at(path, error))
    }

    fn again(&mut self, path: &Path, first: &Path) -> io::Result<()> {
        let Ok(file) = self.root.open(first).map(cap_std::fs::File::into_std) else {
            return self.count(0);
        };
        let metadata = file.metadata()?;
        let mode = metadata.permissions().mode();
        let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = i64::try_from(modified.as_secs()).unwrap_or_default();
        self.file(path, Meta { mode, size: metadata.len(), modified }, Content::File(&file))
    }
}

impl Rule {
    fn folder_mode(self, mode: u32) -> u32 {
        match self {
            // Nobody else may look in before it has its owner.
            Self::Run(_) => 0o700,
            Self::Ours => mode & 0o777 | 0o700,
        }
    }

    fn file_mode(self, mode: u32) -> u32 {
        match self {
            Self::Run(_) => 0o600,
            Self::Ours => mode & 0o777 | 0o600,
        }
    }
}

impl Owner {
    pub(super) fn give(self, file: &File) -> io::Result<()> {
        let (uid, gid) = self.ids();
        let ours = (rustix::process::geteuid(), rustix::process::getegid());
        let theirs = (Uid::from_raw(uid), Gid::from_raw(gid));
        if ours == theirs || matches!(self, Self::Anyone) {
            return Ok(());
        }
        Ok(rustix::fs::fchown(file, Some(theirs.0), Some(theirs.1))?)
    }
}

/// Exactly `size` bytes: what a file has gained meanwhile stays out, one that has lost some is a failure.
fn copy(mut content: Content<'_>, size: u64, to: &mut File, stop: &CancellationToken) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        let chunk = left.min(CHUNK);
        let copied = match &mut content {
            Content::File(file) => io::copy(&mut file.take(chunk), to)?,
            Content::Read(read) => io::copy(&mut read.take(chunk), to)?,
        };
        if copied < chunk {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if stop.is_cancelled() {
            return Err(stopped());
        }
        left = left.saturating_sub(copied);
    }
    Ok(())
}

/// Nobody wants the files any more.
pub(super) fn stopped() -> io::Error {
    io::Error::other("the run was cancelled meanwhile")
}

/// A time that the file system cannot have is left out.
fn set_modified(file: &File, seconds: i64) -> io::Result<()> {
    let age = u64::try_from(seconds).ok().map(Duration::from_secs);
    let Some(modified) = age.and_then(|age| SystemTime::UNIX_EPOCH.checked_add(age)) else { return Ok(()) };
    match file.set_modified(modified) {
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
