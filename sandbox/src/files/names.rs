//! Paths that others name: of files to seed, of entries to take out, and of the members of an archive.
//!
//! Whatever leaves here is relative and has neither `.` nor `..`, or is absolute and has neither.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

/// Folders within folders. It bounds how many files are open while a tree is read.
pub(super) const DEPTH: usize = 128;
/// What Linux takes for a path, with its end.
const LONGEST: usize = 4095;
const LONGEST_NAME: usize = 255;

/// Why a path is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadName {
    /// It names nothing, or the root.
    #[error("it names no file or folder")]
    Empty,
    /// It is absolute.
    #[error("it is absolute")]
    Absolute,
    /// It has a segment `..`.
    #[error("path traversal: it has a segment ..")]
    Traversal,
    /// It has a NUL, or ends like a folder where a file is named.
    #[error("it is no name of a file")]
    Malformed,
    /// The path or one of its names is longer than Linux takes, or it is nested too deeply.
    #[error("it is too long or nested too deeply")]
    TooLong,
    /// Two files have one path, or one is a folder of the other's path.
    #[error("it is both a file and the folder of another, or named twice")]
    Conflict,
}

/// A relative path, without `.`; a slash at its end is no matter.
pub(super) fn relative(text: &[u8]) -> Result<PathBuf, BadName> {
    plain(text)?;
    if text.starts_with(b"/") {
        return Err(BadName::Absolute);
    }
    collapsed(text)
}

/// Where an entry of `extract` is in the container: absolute, without `.` and a slash at its end.
///
/// A relative one is below the workdir. One whose last name is `.`, and the root itself, name nothing, as they did in the
/// library that came before.
pub(super) fn locate(from: &str, workdir: &str) -> Result<PathBuf, BadName> {
    plain(from.as_bytes())?;
    let last = from.trim_end_matches('/').rsplit('/').next();
    if matches!(last, None | Some("" | ".")) {
        return Err(BadName::Empty);
    }
    let base: &str = if from.starts_with('/') { "/" } else { workdir };
    let path: PathBuf = Path::new(base).join(from).components().collect();
    if path.as_os_str().len() > LONGEST {
        return Err(BadName::TooLong);
    }
    Ok(path)
}

/// Files by their checked paths, in an order in which each stands behind the folders that it is in.
pub(super) fn files(files: &BTreeMap<String, Bytes>) -> Result<BTreeMap<PathBuf, Bytes>, (String, BadName)> {
    let mut checked = BTreeMap::new();
    for (name, content) in files {
        let path = file(name).map_err(|bad| (name.clone(), bad))?;
        if checked.insert(path, content.clone()).is_some() {
            return Err((name.clone(), BadName::Conflict));
        }
    }
    // Paths are ordered by their names, so that what is in a folder follows it at once.
    let inside = checked.keys().zip(checked.keys().skip(1)).find(|(path, next)| next.starts_with(path));
    match inside {
        Some((path, _next)) => Err((path.display().to_string(), BadName::Conflict)),
        None => Ok(checked),
    }
}

fn file(name: &str) -> Result<PathBuf, BadName> {
    let path = relative(name.as_bytes())?;
    let ends_as_folder = matches!(name.rsplit('/').next(), Some("" | "."));
    if ends_as_folder { Err(BadName::Malformed) } else { Ok(path) }
}

/// A backslash separates nothing here, but what has `..` beside one was meant to lead somewhere.
fn plain(text: &[u8]) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.contains(&0) {
        return Err(BadName::Malformed);
    }
    if text.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| segment == b"..") {
        return Err(BadName::Traversal);
    }
    Ok(())
}

fn collapsed(text: &[u8]) -> Result<PathBuf, BadName> {
    let names = Path::new(OsStr::from_bytes(text)).components().filter(|name| *name != Component::CurDir);
    let path: PathBuf = names.collect();
    let too_long = |name: &OsStr| name.len() > LONGEST_NAME;
    if path.as_os_str().is_empty() {
        Err(BadName::Empty)
    } else if path.as_os_str().len() > LONGEST || path.iter().count() > DEPTH || path.iter().any(too_long) {
        Err(BadName::TooLong)
    } else {
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seeded(names: &[&str]) -> Result<Vec<PathBuf>, BadName> {
        let named = names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
        files(&named).map(|files| files.into_keys().collect()).map_err(|(_name, bad)| bad)
    }

    #[test]
    fn names_of_seeded_files_stay_below_the_workdir() {
        assert_eq!(seeded(&["a/b", "./c", "d//e", "-f", "g h", "..i"]).unwrap().len(), 6);
        for (name, bad) in [
            ("", BadName::Empty),
            (".", BadName::Empty),
            ("/", BadName::Absolute),
            ("/etc/passwd", BadName::Absolute),
            ("..", BadName::Traversal),
            ("a/../../b", BadName::Traversal),
            ("a\\..\\b", BadName::Traversal),
            ("a\0b", BadName::Malformed),
            ("a/", BadName::Malformed),
            ("a/.", BadName::Malformed),
            (&"x".repeat(256), BadName::TooLong),
            ("x/".repeat(200).trim_end_matches('/'), BadName::TooLong),
        ] {
            assert_eq!(seeded(&[name]), Err(bad), "{name:?}");
        }
    }

    #[test]
    fn a_file_cannot_be_a_folder_or_stand_twice() {
        assert_eq!(seeded(&["a", "a/b"]), Err(BadName::Conflict));
        assert_eq!(seeded(&["a", "a.txt", "a/b/c"]), Err(BadName::Conflict));
        assert_eq!(seeded(&["a/b", "./a//b"]), Err(BadName::Conflict));
        assert_eq!(seeded(&["a.txt", "a/b", "a-b"]).unwrap().len(), 3);
    }

    #[test]
    fn entries_to_take_out_are_below_the_workdir_or_absolute() {
        let at = |from: &str| locate(from, "/app").map(|path| path.display().to_string());
        for (from, path) in [
            ("out", "/app/out"),
            ("out/", "/app/out"),
            ("./a//b/./c", "/app/a/b/c"),
            ("/tmp/x", "/tmp/x"),
            ("/app", "/app"),
            ("-dash", "/app/-dash"),
            ("..out", "/app/..out"),
        ] {
            assert_eq!(at(from).as_deref(), Ok(path), "{from}");
        }
        for (from, bad) in [
            ("", BadName::Empty),
            (".", BadName::Empty),
            ("a/.", BadName::Empty),
            ("/", BadName::Empty),
            ("//", BadName::Empty),
            ("../etc/passwd", BadName::Traversal),
            ("a/..", BadName::Traversal),
            ("a\\..\\b", BadName::Traversal),
            ("a\0", BadName::Malformed),
        ] {
            assert_eq!(at(from), Err(bad), "{from:?}");
        }
        assert!(BadName::Traversal.to_string().contains("traversal"));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_as_relative_stays_below(text in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), Just(b'\\'), any::<u8>()], 0..40)) {
            if let Ok(path) = relative(&text) {
                prop_assert!(path.components().all(|name| matches!(name, Component::Normal(_))));
                prop_assert!(path.components().next().is_some());
                prop_assert_eq!(relative(path.as_os_str().as_bytes()), Ok(path));
            }
        }
    }
}
