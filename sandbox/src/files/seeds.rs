//! What a run begins with: checked before anything is made, then written wherever it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::Stream;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::names;
use super::owner::Owner;
use super::pack::Pack;
use super::pipe::produced;
use super::sink::{Content, Meta, Sink};
use super::walk;
use crate::{SandboxError, Seed};

const FILE: u32 = 0o644;
const FOLDER: u32 = 0o755;

/// Names that are not copied, at any depth, of files and folders.
pub(super) struct Ignored(BTreeSet<OsString>);

impl Ignored {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self(names.into_iter().map(OsString::from).collect())
    }
}

/// Whether a seed can be used: its folder is there, or its files have names that stay below the workdir.
///
/// # Errors
/// `INVALID_REQUEST`.
pub(crate) fn check(seed: &Seed) -> Result<(), SandboxError> {
    match seed {
        Seed::Dir(path) => match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(SandboxError::invalid("seed", "a folder; this is not a directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SandboxError::invalid("seed", "a folder; dir path not found"))
            }
            Err(error) => Err(SandboxError::invalid("seed", format!("a folder: {error}")).because(error)),
        },
        Seed::Files(files) => names::files(files).map(drop).map_err(|(name, bad)| {
            SandboxError::invalid("seed", format!("files by relative paths; {name:?}: {bad}"))
        }),
    }
}

/// The archive that fills a workdir, in pieces. It begins with the folder itself, so that owner and mode are the run's.
pub(crate) fn archive_of(
    seed: Option<Seed>,
    ignore: Vec<String>,
    owner: Owner,
    workdir: &Path,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let name = base_name(workdir);
    produced(move |to| {
        let mut pack = Pack::new(to, owner);
        pack.plain_root(&name, now())?;
        if let Some(seed) = seed {
            pour(&seed, &Ignored::new(ignore), &mut pack)?;
        }
        pack.finish().map(drop)
    })
}

/// The same without the folder itself, for an engine that does not follow the way over the parent.
pub(crate) fn archive_within(
    seed: Seed,
    ignore: Vec<String>,
    owner: Owner,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    produced(move |to| {
        let mut pack = Pack::new(to, owner);
        pour(&seed, &Ignored::new(ignore), &mut pack)?;
        pack.finish().map(drop)
    })
}

/// The archive with the folder alone, to be unpacked into the folder above it.
pub(crate) fn archive_of_folder(path: &Path, owner: Owner) -> io::Result<Bytes> {
    let mut pack = Pack::new(Vec::new(), owner);
    let mode = if path == Path::new("/tmp") { 0o1777 } else { owner.folder_mode(FOLDER) };
    pack.folder_at(&base_name(path), mode, now())?;
    pack.finish().map(Bytes::from)
}

/// The archive that makes a folder one for everybody, as `/tmp` is.
pub(crate) fn archive_of_tmp(path: &Path) -> io::Result<Bytes> {
    let mut pack = Pack::new(Vec::new(), Owner::Anyone);
    pack.root(&base_name(path), 0o1777, now())?;
    pack.finish().map(Bytes::from)
}

/// Gives all files of a seed to `sink`.
pub(super) fn pour(seed: &Seed, ignored: &Ignored, sink: &mut dyn Sink) -> io::Result<()> {
    match seed {
        Seed::Dir(path) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            walk::pour(openat(CWD, path, flags, Mode::empty())?, &ignored.0, sink)
        }
        Seed::Files(files) => pour_files(files, sink),
    }
}

fn pour_files(files: &BTreeMap<String, Bytes>, sink: &mut dyn Sink) -> io::Result<()> {
    let files = names::files(files).map_err(|(name, bad)| io::Error::other(format!("{name:?}: {bad}")))?;
    let modified = now();
    let mut made = BTreeSet::new();
    for (path, content) in &files {
        for folder in folders_of(path) {
            if made.insert(folder.to_owned()) {
                sink.folder(folder, Meta { mode: FOLDER, size: 0, modified })?;
            }
        }
        let size = u64::try_from(content.len()).map_err(io::Error::other)?;
        sink.file(path, Meta { mode: FILE, size, modified }, Content::Read(&mut content.as_ref()))?;
    }
    Ok(())
}

/// The folders that a file is in, outermost first.
fn folders_of(path: &Path) -> Vec<&Path> {
    let mut folders: Vec<_> = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    folders.reverse();
    folders
}

fn base_name(path: &Path) -> Vec<u8> {
    path.file_name().unwrap_or_default().as_encoded_bytes().to_vec()
}

/// Not 1970: tools that read such times refuse some of them.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
