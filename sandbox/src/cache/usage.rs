//! When each cached image was last used, in `cache-usage.json` beside the states: milliseconds since 1970 by tag.
//!
//! It is a help, not a truth: where it cannot be read or written, an image's age is that of its making.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{is_older, now};
use crate::state::{private_folder, replace};

/// Some ten thousand images.
const LARGEST: u64 = 2 << 20;

type Times = BTreeMap<String, u64>;

/// The times of one folder.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    folder: PathBuf,
}

impl Usage {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Notes that an image is used now.
    pub(super) async fn touch(&self, tag: &str) {
        let tag = tag.to_owned();
        let note = move |times: &mut Times| {
            times.insert(tag, now());
        };
        self.change(note).await;
    }

    /// All times.
    pub(super) async fn all(&self) -> Times {
        let usage = self.clone();
        spawn_blocking(move || usage.read()).await.unwrap_or_default()
    }

    /// Forgets the images that are gone. One that is not among the kept but was used since may be under way.
    pub(super) async fn keep(&self, kept: Vec<String>, age: Duration) {
        self.change(move |times| times.retain(|tag, last| kept.contains(tag) || !is_older(*last, age))).await;
    }

    async fn change(&self, change: impl FnOnce(&mut Times) + Send + 'static) {
        let usage = self.clone();
        let changed = spawn_blocking(move || usage.change_now(change)).await;
        if let Err(error) = changed.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!(%error, "cannot note the use of a cached image");
        }
    }

    fn change_now(&self, change: impl FnOnce(&mut Times)) -> io::Result<()> {
        private_folder(&self.folder)?;
        let lock = self.folder.join("cache-usage.lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(lock)?;
        lock.lock()?;
        let mut times = self.read();
        change(&mut times);
        replace(&self.path(), &serde_json::to_vec(&times)?, false)
    }

    fn read(&self) -> Times {
        let mut text = Vec::new();
        let read = File::open(self.path()).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
        match read {
            Ok(_) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => Times::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("cache-usage.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn uses_by_many_at_once_are_all_noted() {
        let folder = tempfile::tempdir().unwrap();
        let usage = Usage::new(folder.path());
        let before = now();
        let tags: Vec<String> = (0..20).map(|n| format!("light-runner-cache:{n}")).collect();
        futures::future::join_all(tags.iter().map(|tag| usage.touch(tag))).await;
        let times = usage.all().await;
        assert_eq!(times.len(), 20);
        assert!(times.values().all(|time| *time >= before));
    }

    #[tokio::test]
    async fn images_that_are_gone_are_forgotten_unless_they_were_just_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let usage = Usage::new(folder.path());
        std::fs::write(usage.path(), r#"{"gone":1,"kept":2}"#).unwrap();
        usage.touch("new").await;
        usage.keep(vec!["kept".to_owned()], Duration::from_secs(60)).await;
        assert_eq!(usage.all().await.into_keys().collect::<Vec<_>>(), ["kept", "new"]);
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let usage = Usage::new(folder.path());
        for damaged in ["", "{", "[]", r#"{"a":-1}"#] {
            std::fs::write(usage.path(), damaged).unwrap();
            assert!(usage.all().await.is_empty(), "{damaged}");
        }
        usage.touch("new").await;
        assert_eq!(usage.all().await.len(), 1);
    }
}
