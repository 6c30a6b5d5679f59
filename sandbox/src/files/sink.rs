//! Where a tree of files goes: into an archive or into a folder. What reads trees does not know which.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What is kept of a file or folder besides its name and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Permissions, with whatever else the source has in its mode.
    pub(crate) mode: u32,
    /// Bytes; 0 of a folder.
    pub(crate) size: u64,
    /// When it was changed, in seconds since 1970.
    pub(crate) modified: i64,
}

/// The bytes of a file.
pub(crate) enum Content<'a> {
    /// An open file, from its beginning; the kernel can copy it without us.
    File(&'a File),
    /// Anything else.
    Read(&'a mut dyn Read),
}

/// Takes files and folders, each after the folder that it is in. Paths are relative and checked.
pub(crate) trait Sink {
    /// A folder.
    fn folder(&mut self, path: &Path, meta: Meta) -> io::Result<()>;

    /// A file of exactly `meta.size` bytes.
    fn file(&mut self, path: &Path, meta: Meta, content: Content<'_>) -> io::Result<()>;

    /// A further name of a file that came before. No link is made: it is passed over or copied.
    fn again(&mut self, path: &Path, first: &Path) -> io::Result<()>;
}

/// An error that says at which file of the tree it arose.
pub(super) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
