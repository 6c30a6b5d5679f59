//! What runs have left: one folder a run, counted, listed once, and removed oldest first when there is too much of it.
//!
//! Results are put into a pending folder that is renamed when the run has ended; a folder without anything is not kept.
//! How much each run has is known from its record, so no tree is walked twice. A folder that no record names counts, and
//! goes only for want of room: it may be all that is left of another server's runs.

pub(crate) mod download;
mod tree;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::disk;
use super::records::{Record, milliseconds, now};
use crate::RunId;

pub(crate) use tree::Opened;

const PENDING: &str = ".pending-";

/// One file or folder that a run has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Artifact {
    /// Its path below the run's folder, with slashes.
    pub(crate) path: String,
    /// Of a file; 0 for a folder.
    pub(crate) bytes: u64,
    /// `file` or `directory`.
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
}

/// Everything that a run has left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Files and folders by their paths, as many as may be told.
    pub(crate) artifacts: Vec<Artifact>,
    /// How many more there are.
    pub(crate) omitted: u64,
    /// What all of them count for: the bytes of files, and 1 for what has none, or any number of empty files would be
    /// kept for ever.
    pub(crate) weight: u64,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Bytes.
    File,
    /// Other artifacts.
    Directory,
}

/// The artifacts of all runs.
#[derive(Debug)]
pub(crate) struct Artifacts {
    root: PathBuf,
    budget: u64,
    usage: Mutex<Usage>,
}

/// How much each run has, and in which order they ended.
#[derive(Debug, Default)]
struct Usage {
    of_run: HashMap<RunId, (u64, u64)>,
    by_age: BTreeSet<(u64, RunId)>,
    bytes: u64,
}

impl Artifacts {
    /// The artifacts in a folder, which is made. `records` say how much there is of which run; a run's folder without a
    /// record is counted now.
    pub(crate) fn open(root: PathBuf, budget: u64, records: &[Record]) -> io::Result<Self> {
        disk::make_folder(&root)?;
        let mut usage = Usage::default();
        for record in records.iter().filter(|record| !record.artifacts.is_empty()) {
            usage.add(record.id.clone(), record.weight(), record.settled.unwrap_or_default());
        }
        let mut pending = 0_u64;
        for entry in std::fs::read_dir(&root)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let is_known = || records.iter().any(|record| record.pending.as_deref() == Some(name));
            pending = pending.saturating_add(u64::from(name.starts_with(PENDING) && !is_known()));
            let id = name.parse::<RunId>().ok();
            let Some(id) = id.filter(|id| !usage.of_run.contains_key(id)) else { continue };
            let age = entry.metadata().and_then(|found| found.modified()).map_or(0, milliseconds);
            usage.add(id, tree::list(&entry.path())?.weight, age);
        }
        if pending > 0 {
            tracing::warn!(folder = %root.display(), pending, "folders of unfinished runs that no record names");
        }
        Ok(Self { root, budget, usage: Mutex::new(usage) })
    }

    /// A name for the folder that a run's results go to first, and where that is.
    pub(crate) fn pending(&self) -> (String, PathBuf) {
        let name = format!("{PENDING}{}", uuid::Uuid::new_v4().simple());
        let path = self.root.join(&name);
        (name, path)
    }

    /// Makes artifacts of what is in the pending folder of that name. None and no folder where there is nothing.
    pub(crate) fn keep(&self, id: &RunId, pending: &str) -> io::Result<Listing> {
        let (from, to) = (self.pending_path(pending)?, self.root.join(id.as_str()));
        let mut found = tree::list(&from)?;
        if found.is_empty() {
            disk::remove(&from)?;
            // A process that was killed may have come as far as the other name.
            found = tree::list(&to)?;
        } else {
            disk::remove(&to)?;
            std::fs::rename(&from, &to)?;
        }
        if !found.is_empty() {
            self.usage().add(id.clone(), found.weight, now());
        }
        Ok(found)
    }

    /// Removes a pending folder of which nothing is wanted.
    pub(crate) fn discard(&self, pending: &str) -> io::Result<()> {
        disk::remove(&self.pending_path(pending)?)
    }

    /// What a run has left, looked up anew: its record is lost, or was never made.
    pub(crate) fn list(&self, id: &RunId) -> io::Result<Listing> {
        if self.usage().of_run.contains_key(id) {
            tree::list(&self.root.join(id.as_str()))
        } else {
            Ok(Listing::default())
        }
    }

    /// Removes what a run has left.
    pub(crate) fn remove(&self, id: &RunId) -> io::Result<()> {
        self.usage().take(id);
        disk::remove(&self.root.join(id.as_str()))
    }

    /// The runs to be removed so that the rest is within the budget: the oldest ones, and never one that is `spared`.
    pub(crate) fn excess(&self, spared: impl Fn(&RunId) -> bool) -> Vec<RunId> {
        let usage = self.usage();
        let mut left = usage.bytes;
        let mut excess = Vec::new();
        for (_, id) in usage.by_age.iter().filter(|(_, id)| !spared(id)) {
            if left <= self.budget {
                break;
            }
            left = left.saturating_sub(usage.of_run.get(id).map_or(0, |(bytes, _)| *bytes));
            excess.push(id.clone());
        }
        excess
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> u64 {
        self.usage().bytes
    }

    /// Opens a file or folder of a run by the parts of its path. No link is followed.
    pub(crate) fn open_at(&self, id: &RunId, parts: &[&str]) -> io::Result<Opened> {
        tree::open(&self.root.join(id.as_str()), parts)
    }

    /// Where results are put first, for messages that are not to name it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn pending_path(&self, name: &str) -> io::Result<PathBuf> {
        let random = name.strip_prefix(PENDING).unwrap_or_default();
        if random.is_empty() || !random.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a pending folder"));
        }
        Ok(self.root.join(name))
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn add(&mut self, id: RunId, bytes: u64, age: u64) {
        self.take(&id);
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_age.insert((age, id.clone()));
        self.of_run.insert(id, (bytes, age));
    }

    fn take(&mut self, id: &RunId) {
        if let Some((bytes, age)) = self.of_run.remove(id) {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.by_age.remove(&(age, id.clone()));
        }
    }
}

impl Listing {
    fn is_empty(&self) -> bool {
        self.artifacts.is_empty() && self.omitted == 0
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Rig {
        folder: tempfile::TempDir,
        artifacts: Artifacts,
    }

    fn rig(budget: u64) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path().join("artifacts"), budget, &[]).unwrap();
        Rig { folder, artifacts }
    }

    fn leave(artifacts: &Artifacts, files: &[(&str, usize)]) -> (RunId, Vec<Artifact>) {
        let (name, path) = artifacts.pending();
        for (file, size) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, vec![b'x'; *size]).unwrap();
        }
        let id = RunId::new();
        let kept = artifacts.keep(&id, &name).unwrap().artifacts;
        assert!(!path.exists());
        // Their ages are told apart by the file system's times, which may be hundredths of a second.
        std::thread::sleep(std::time::Duration::from_millis(25));
        (id, kept)
    }

    #[test]
    fn results_become_artifacts_and_are_listed_with_their_folders() {
        let rig = rig(1 << 20);
        let (id, kept) = leave(&rig.artifacts, &[("b/c.txt", 3), ("a.txt", 0), ("a..b.txt", 1)]);
        let told: Vec<(&str, u64, Kind)> = kept.iter().map(|a| (a.path.as_str(), a.bytes, a.kind)).collect();
        let expected = [
            ("a..b.txt", 1, Kind::File),
            ("a.txt", 0, Kind::File),
            ("b", 0, Kind::Directory),
            ("b/c.txt", 3, Kind::File),
        ];
        assert_eq!(told, expected);
        assert!(matches!(rig.artifacts.open_at(&id, &["b", "c.txt"]), Ok(Opened::File(..))));
        let Ok(Opened::Folder(entries)) = rig.artifacts.open_at(&id, &["b"]) else { panic!() };
        assert_eq!(entries, [("c.txt".to_owned(), Kind::File)]);
        let (empty, _) = rig.artifacts.pending();
        assert_eq!(rig.artifacts.keep(&id, &empty).unwrap().artifacts, kept, "a second try has lost them");
    }

    #[test]
    fn nothing_is_kept_of_a_run_without_results() {
        let rig = rig(1 << 20);
        let (id, kept) = leave(&rig.artifacts, &[]);
        assert_eq!((kept, rig.artifacts.bytes()), (Vec::new(), 0));
        let (name, path) = rig.artifacts.pending();
        fs::create_dir(&path).unwrap();
        assert_eq!(rig.artifacts.keep(&id, &name).unwrap(), Listing::default());
        assert_eq!(fs::read_dir(rig.artifacts.root()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_neither_listed_nor_followed() {
        let rig = rig(1 << 20);
        let (name, path) = rig.artifacts.pending();
        fs::create_dir_all(path.join("sub")).unwrap();
        fs::write(rig.folder.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(rig.folder.path().join("secret"), path.join("file")).unwrap();
        std::os::unix::fs::symlink(rig.folder.path(), path.join("folder")).unwrap();
        let id = RunId::new();
        let kept = rig.artifacts.keep(&id, &name).unwrap().artifacts;
        assert_eq!(kept.iter().map(|a| a.path.as_str()).collect::<Vec<_>>(), ["sub"]);
        for parts in [&["file"][..], &["folder", "secret"], &["folder"], &["sub", "..", "sub"], &["."], &[""]]
        {
            assert!(rig.artifacts.open_at(&id, parts).is_err(), "{parts:?}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_who_is_spared_stays() {
        let rig = rig(200);
        let runs: Vec<RunId> = (0..3).map(|_| leave(&rig.artifacts, &[("x", 100)]).0).collect();
        assert_eq!(rig.artifacts.excess(|_| false), runs[..1]);
        assert_eq!(rig.artifacts.excess(|id| *id == runs[0]), runs[1..2]);
        rig.artifacts.remove(&runs[0]).unwrap();
        assert_eq!((rig.artifacts.bytes(), rig.artifacts.excess(|_| false)), (200, Vec::new()));
        assert!(rig.artifacts.open_at(&runs[0], &["x"]).is_err());
    }

    #[test]
    fn a_flood_of_names_is_listed_in_part_and_counted_whole() {
        let rig = rig(1 << 30);
        let (name, path) = rig.artifacts.pending();
        let deep = path.join("d".repeat(250)).join("e".repeat(250));
        fs::create_dir_all(&deep).unwrap();
        for number in 0..6000 {
            fs::write(deep.join(format!("{number:0250}")), "xy").unwrap();
        }
        let kept = rig.artifacts.keep(&RunId::new(), &name).unwrap();
        let paths: usize = kept.artifacts.iter().map(|artifact| artifact.path.len()).sum();
        assert!(paths <= 4 << 20 && paths > 3 << 20, "{paths}");
        assert_eq!(kept.artifacts.len() + usize::try_from(kept.omitted).unwrap(), 6002);
        assert_eq!((kept.weight, rig.artifacts.bytes()), (12_002, 12_002));
    }

    #[test]
    fn empty_files_do_not_stay_for_ever() {
        let rig = rig(1);
        let (first, _) = leave(&rig.artifacts, &[("a", 0)]);
        leave(&rig.artifacts, &[("b", 0)]);
        assert_eq!(rig.artifacts.excess(|_| false), [first]);
    }

    #[test]
    fn the_next_server_knows_what_there_is_and_keeps_what_it_does_not_know() {
        let rig = rig(1 << 20);
        let (with_record, kept) = leave(&rig.artifacts, &[("x", 10)]);
        let (without_record, _) = leave(&rig.artifacts, &[("y", 5)]);
        let (_, pending) = rig.artifacts.pending();
        fs::create_dir(&pending).unwrap();
        let mut record = Record::new(with_record.clone(), uuid::Uuid::new_v4());
        record.artifacts = kept;
        record.settle();
        let again = Artifacts::open(rig.artifacts.root().to_owned(), 0, &[record]).unwrap();
        assert_eq!(again.bytes(), 15);
        assert_eq!(again.excess(|_| false).len(), 2);
        assert!(again.excess(|_| false).contains(&without_record));
        assert!(pending.exists());
        assert!(again.keep(&with_record, "../x").is_err() && again.discard(".pending-../x").is_err());
    }
}
