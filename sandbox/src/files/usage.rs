//! How much a folder holds, asked again and again while a run writes to it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
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

/// Waits until a folder holds more than `limit` bytes, or is nested too deeply to tell. Never ends otherwise, nor where
/// the folder cannot be read any more.
pub(crate) async fn watch(folder: PathBuf, limit: u64) {
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let folder = folder.clone();
        let begun = Instant::now();
        let look = tokio::task::spawn_blocking(move || is_beyond(&folder, limit));
        match look.await {
            Ok(Ok(true)) => return,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot see how much a run has written"),
            Err(error) => tracing::warn!(%error, "the look at what a run has written ended early"),
        }
        pause = PAUSE.max(begun.elapsed() * SHARE);
    }
}

fn is_beyond(folder: &Path, limit: u64) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, folder, flags, Mode::empty())?;
    exceeds(folder, limit)
}

fn exceeds(folder: impl AsFd, limit: u64) -> io::Result<bool> {
    let nothing = BTreeSet::new();
    let mut walk = Walk::new(folder, &nothing)?;
    let mut used = 0_u64;
    while used <= limit {
        match walk.next() {
            Ok(Some(Found::Folder(stat) | Found::File(stat, _))) => used = used.saturating_add(cost(&stat)),
            Ok(Some(Found::Other)) => used = used.saturating_add(ENTRY),
            Ok(None) => return Ok(false),
            Err(error) if walk.is_too_deep() => {
                tracing::debug!(%error, "a run hides what it writes");
                return Ok(true);
            }
            // A folder that is closed to us hides what it holds, and must not hide the rest.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                used = used.saturating_add(ENTRY)
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// A file with several names is counted once over all of them.
fn cost(stat: &Stat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
    let names = if kind(stat) == FileType::Directory { 1 } else { stat.st_nlink.max(1) };
    ENTRY.saturating_add(blocks / names)
}

#[cfg(test)]
mod tests;
