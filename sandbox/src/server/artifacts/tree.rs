//! The files below one run's folder.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};

use super::{Artifact, Kind, Listing};

/// Deeper trees are listed to this depth.
const MAX_DEPTH: usize = 128;
/// What a run's paths may come to together, in bytes, and what each of them counts for besides: names are up to whoever
/// wrote the files, and all of them stand in one answer.
const PATHS: usize = 4 * 1024 * 1024;
const EACH: usize = 32;

/// What was opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A file.
    File(File),
    /// A folder, by the names in it.
    Folder(Vec<(String, Kind)>),
}

/// All files and folders below `root`, each folder before what is in it, as far as their paths are not too many. None
/// where there is no such folder. Whatever is neither is left out.
pub(super) fn list(root: &Path) -> io::Result<Listing> {
    let mut found = Found { listing: Listing::default(), left: PATHS };
    match list_into(root, "", MAX_DEPTH, &mut found) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && found.left == PATHS => Ok(found.listing),
        Err(error) => Err(error),
        Ok(()) => {
            found.listing.artifacts.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(found.listing)
        }
    }
}

struct Found {
    listing: Listing,
    left: usize,
}

impl Found {
    fn add(&mut self, artifact: Artifact) {
        let listing = &mut self.listing;
        listing.weight = listing.weight.saturating_add(artifact.bytes.max(1));
        match self.left.checked_sub(artifact.path.len().saturating_add(EACH)) {
            Some(left) => {
                self.left = left;
                listing.artifacts.push(artifact);
            }
            None => listing.omitted = listing.omitted.saturating_add(1),
        }
    }
}

fn list_into(folder: &Path, prefix: &str, depth: usize, found: &mut Found) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_file() {
            found.add(Artifact { path, bytes: entry.metadata()?.len(), kind: Kind::File });
        } else if kind.is_dir() {
            let within = format!("{path}/");
            found.add(Artifact { path, bytes: 0, kind: Kind::Directory });
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
