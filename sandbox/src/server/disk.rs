//! Small files that are there whole or not at all.

use std::fs;
use std::io;
use std::path::Path;

pub(super) use crate::state::{private_folder as make_folder, replace};

/// A file's content; none where there is no file.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    absent_is_none(fs::read(path))
}

/// Removes a file or folder that may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let is_folder = match absent_is_none(path.symlink_metadata())? {
        None => return Ok(()),
        Some(found) => found.is_dir(),
    };
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    absent_is_none(removed).map(drop)
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does what may take the disk's time on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
