//! How much folders hold, asked again and again while a run writes to them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, openat};

use super::walk::{Found, Walk, kind};

/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// One part of the time at most is spent on looking.
const SHARE: u32 = 20;
/// What an entry costs besides its content: its place in a folder and what the file system keeps of it. It bounds how
/// many empty files there may be.
const ENTRY: u64 = 1 << 10;
const BLOCK: u64 = 512;

/// Waits until folders together hold more than `limit` bytes, or one is nested too deeply to tell. Never ends otherwise,
/// nor where they cannot be read any more.
pub(crate) async fn watch(folders: Vec<PathBuf>, limit: u64) {
    if folders.is_empty() {
        std::future::pending::<()>().await;
    }
    let folders: Arc<[PathBuf]> = folders.into();
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let folders = Arc::clone(&folders);
        let begun = Instant::now();
        let look = tokio::task::spawn_blocking(move || are_beyond(&folders, limit));
        match look.await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the look at what a run has written ended early"),
        }
        pause = PAUSE.max(begun.elapsed() * SHARE);
    }
}

/// What cannot be read must not hide what the others hold.
fn are_beyond(folders: &[PathBuf], limit: u64) -> bool {
    let mut left = limit;
    for folder in folders {
        match used(folder, left) {
            Ok(Some(used)) => left = left.saturating_sub(used),
            Ok(None) => return true,
            Err(error) => tracing::debug!(%error, "cannot see how much a run has written"),
        }
    }
    false
}

/// Bytes that a folder holds; none where they are more than `limit`.
fn used(folder: &Path, limit: u64) -> io::Result<Option<u64>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let nothing = BTreeSet::new();
    let mut walk = Walk::new(openat(CWD, folder, flags, Mode::empty())?, &nothing)?;
    let mut used = 0_u64;
    while used <= limit {
        match walk.next() {
            Ok(Some(Found::Folder(stat) | Found::File(stat, _))) => used = used.saturating_add(cost(&stat)),
            Ok(Some(Found::Other)) => used = used.saturating_add(ENTRY),
            Ok(None) => return Ok(Some(used)),
            Err(error) if walk.is_too_deep() => {
                tracing::debug!(%error, "a run hides what it writes");
                return Ok(None);
            }
            // A folder that is closed to us hides what it holds, and must not hide the rest.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                used = used.saturating_add(ENTRY)
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A file with several names is counted once over all of them.
fn cost(stat: &Stat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
    let names = if kind(stat) == FileType::Directory { 1 } else { stat.st_nlink.max(1) };
    ENTRY.saturating_add(blocks / names)
}

#[cfg(test)]
mod tests;
