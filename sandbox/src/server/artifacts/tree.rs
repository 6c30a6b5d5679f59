//! The files below one run's folder.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};

use super::{Artifact, Kind};

/// Deeper trees are listed to this depth.
const MAX_DEPTH: usize = 128;

/// What was opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A file.
    File(File),
    /// A folder, by the names in it.
    Folder(Vec<(String, Kind)>),
}

/// All files and folders below `root`, each folder before what is in it. None where there is no such folder. Whatever is
/// neither is left out.
pub(super) fn list(root: &Path) -> io::Result<Vec<Artifact>> {
    let mut found = Vec::new();
    match list_into(root, "", MAX_DEPTH, &mut found) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && found.is_empty() => Ok(found),
        Err(error) => Err(error),
        Ok(()) => {
            found.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        }
    }
}

fn list_into(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<Artifact>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_file() {
            found.push(Artifact { path, bytes: entry.metadata()?.len(), kind: Kind::File });
        } else if kind.is_dir() {
            let within = format!("{path}/");
            found.push(Artifact { path, bytes: 0, kind: Kind::Directory });
            if depth > 0 {
                list_into(&entry.path(), &within, depth - 1, found)?;
            }
        }
    }
    Ok(())
}

/// Opens what lies at `parts` below `root`, one part after the other, so that no link on the way is followed.
pub(super) fn open(root: &Path, parts: &[&str]) -> io::Result<Opened> {
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A pipe in place of a file must not hold up the one who opens it.
    let anything = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, root, folder, Mode::empty())?;
    let mut left = parts.iter().peekable();
    while let Some(part) = left.next() {
        if !is_name(part) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = if left.peek().is_some() { folder } else { anything };
        at = openat(&at, *part, flags, Mode::empty())?;
    }
    match FileType::from_raw_mode(fstat(&at)?.st_mode) {
        FileType::RegularFile => Ok(Opened::File(File::from(at))),
        FileType::Directory => entries(at).map(Opened::Folder),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn entries(folder: OwnedFd) -> io::Result<Vec<(String, Kind)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        match entry.file_type() {
            FileType::RegularFile => found.push((name, Kind::File)),
            FileType::Directory if is_name(&name) => found.push((name, Kind::Directory)),
            _ => {}
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn is_name(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['/', '\0'])
}
