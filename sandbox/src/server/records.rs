//! What this server knows of a run beside its state: the artifacts, the callback, the lines that it has written.
//!
//! One JSON file a run, and one for its lines. A run's record is made before its caller hears of the run, so that a
//! server that is killed leaves nothing that the next one does not know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use runtime::Secret;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::artifacts::{Artifact, Listing};
use super::book::Book;
use super::disk;
use crate::{RunId, SandboxErrorCode};

/// Bytes of all lines that are kept of ended runs. Beyond, the oldest are removed to three quarters of it.
const LINES_BUDGET: u64 = 256 * 1024 * 1024;

/// The records of all runs.
#[derive(Debug)]
pub(crate) struct Records {
    folder: PathBuf,
    /// Bytes of lines, and the one who changes a record.
    lines_bytes: Mutex<u64>,
}

/// What is known of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Which.
    pub(crate) id: RunId,
    /// The process that follows it, or did so last.
    pub(crate) server: Uuid,
    /// It outlives its caller.
    #[serde(default)]
    pub(crate) detached: bool,
    /// Folder that its results are put into before they are artifacts, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<String>,
    /// Whom to tell of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) callback: Option<Recipient>,
    /// When all below was known, in milliseconds since 1970. A run without is under way, or its server was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<u64>,
    /// What it has left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) artifacts: Vec<Artifact>,
    /// How many more of them there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifacts_omitted: Option<u64>,
    /// What all of them count for, where that is not the sum of those above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifacts_weight: Option<u64>,
    /// Why it failed, where that was not the process's doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_code: Option<String>,
    /// It wrote more than it may.
    #[serde(default)]
    pub(crate) disk_exceeded: bool,
}

/// Whom to tell, and how that went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recipient {
    /// Where.
    pub(crate) url: String,
    /// What the message is signed with. The file that this stands in is for this user alone.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "kept")]
    pub(crate) secret: Option<Secret>,
    /// How it went; none while it is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told: Option<Told>,
}

/// The end of a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    /// Whether the other side has taken it.
    pub(crate) delivered: bool,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// What the last failure was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Record {
    /// Of a run that this process has just begun to follow.
    pub(crate) fn new(id: RunId, server: Uuid) -> Self {
        Self {
            id,
            server,
            detached: false,
            pending: None,
            callback: None,
            settled: None,
            artifacts: Vec::new(),
            artifacts_omitted: None,
            artifacts_weight: None,
            error: None,
            error_code: None,
            disk_exceeded: false,
        }
    }

    /// Whether it must survive a loss of power. Somebody who waits for a run has lost it then, and pays for no such care.
    fn lasts(&self) -> bool {
        self.detached || self.callback.is_some()
    }

    /// Everything is known of it now.
    pub(crate) fn settle(&mut self) {
        self.settled = Some(now());
        self.pending = None;
    }

    /// With what it has left.
    pub(crate) fn leave(&mut self, found: Listing) {
        let is_whole = found.omitted == 0;
        self.artifacts = found.artifacts;
        self.artifacts_omitted = (!is_whole).then_some(found.omitted);
        self.artifacts_weight = (!is_whole).then_some(found.weight);
    }

    /// What it has left counts for so much.
    pub(crate) fn weight(&self) -> u64 {
        let sum = || self.artifacts.iter().fold(0_u64, |sum, each| sum.saturating_add(each.bytes.max(1)));
        self.artifacts_weight.unwrap_or_else(sum)
    }

    /// Whether somebody is still to be told of its end.
    pub(crate) fn is_untold(&self) -> bool {
        self.callback.as_ref().is_some_and(|callback| callback.told.is_none())
    }

    /// With a failure that is not the process's.
    pub(crate) fn fail(&mut self, code: SandboxErrorCode, message: &str) {
        self.error = Some(message.to_owned());
        self.error_code = Some(code.as_str().to_owned());
    }
}

impl Records {
    /// The records in a folder, which is made.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        disk::make_folder(&folder)?;
        let bytes = lines_files(&folder)?.iter().map(|(_, _, bytes)| bytes).sum();
        Ok(Self { folder, lines_bytes: Mutex::new(bytes) })
    }

    /// All of them. What cannot be read is passed over.
    pub(crate) fn all(&self) -> io::Result<Vec<Record>> {
        let names =
            std::fs::read_dir(&self.folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids = names.filter_map(|name| name.strip_suffix(".json")?.parse::<RunId>().ok());
        Ok(ids.filter_map(|id| self.get(&id).ok().flatten()).collect())
    }

    /// That of one run. None also for a file that a loss of power has left in pieces.
    pub(crate) fn get(&self, id: &RunId) -> io::Result<Option<Record>> {
        let bytes = disk::read(&self.path(id))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Writes one.
    pub(crate) fn put(&self, record: &Record) -> io::Result<()> {
        disk::replace(&self.path(&record.id), &serde_json::to_vec(record)?, record.lasts())
    }

    /// Changes one that is there.
    pub(crate) fn update(&self, id: &RunId, change: impl FnOnce(&mut Record)) -> io::Result<()> {
        let _alone = self.lines_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut record) = self.get(id)? else { return Ok(()) };
        change(&mut record);
        self.put(&record)
    }

    /// Keeps the lines of a run that has ended.
    pub(crate) fn put_lines(&self, id: &RunId, book: &Book) -> io::Result<()> {
        let Some(bytes) = book.save() else { return Ok(()) };
        let path = self.lines_path(id);
        let before = path.symlink_metadata().map_or(0, |found| found.len());
        disk::replace(&path, &bytes, false)?;
        let mut all = self.lines_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *all = all.saturating_sub(before).saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if *all > LINES_BUDGET {
            *all = shrink(&self.folder, LINES_BUDGET / 4 * 3)?;
        }
        Ok(())
    }

    /// The lines of a run that has ended, as far as they are kept.
    pub(crate) fn lines(&self, id: &RunId) -> io::Result<Book> {
        let bytes = disk::read(&self.lines_path(id))?;
        Ok(bytes.and_then(|bytes| Book::load(&bytes)).unwrap_or_else(|| {
            let none = Book::default();
            none.end();
            none
        }))
    }

    /// Forgets a run. What is not there is no error.
    pub(crate) fn remove(&self, id: &RunId) -> io::Result<()> {
        let lines = self.lines_path(id);
        let bytes = lines.symlink_metadata().map_or(0, |found| found.len());
        disk::remove(&lines)?;
        let mut all = self.lines_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *all = all.saturating_sub(bytes);
        disk::remove(&self.path(id))
    }

    fn path(&self, id: &RunId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn lines_path(&self, id: &RunId) -> PathBuf {
        self.folder.join(format!("{id}.lines"))
    }
}

/// A secret as its file has it.
fn kept<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    milliseconds(SystemTime::now())
}

/// A time in milliseconds since 1970.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Removes the oldest files of lines until there are no more than `budget` bytes, and answers how many there are.
fn shrink(folder: &Path, budget: u64) -> io::Result<u64> {
    let mut files = lines_files(folder)?;
    files.sort();
    let mut all: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, path, bytes) in files {
        if all <= budget {
            break;
        }
        disk::remove(&path)?;
        all = all.saturating_sub(bytes);
    }
    Ok(all)
}

/// When each file of lines was written, where it is, and how many bytes it has.
fn lines_files(folder: &Path) -> io::Result<Vec<(SystemTime, PathBuf, u64)>> {
    let file = |entry: io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let found =
            path.symlink_metadata().ok().filter(|_| path.extension().is_some_and(|kind| kind == "lines"))?;
        Some((found.modified().ok()?, path, found.len()))
    };
    Ok(std::fs::read_dir(folder)?.filter_map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OutputStream;

    #[test]
    fn a_record_is_written_changed_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().join("deep/records")).unwrap();
        let record = Record::new(RunId::new(), Uuid::new_v4());
        records.put(&record).unwrap();
        records.update(&record.id, |record| record.fail(SandboxErrorCode::BuildFailed, "step 1")).unwrap();
        let found = records.get(&record.id).unwrap().unwrap();
        assert_eq!(found.error_code.as_deref(), Some("BUILD_FAILED"));
        std::fs::write(folder.path().join("deep/records/light-runner-00000000-000.json"), "{").unwrap();
        assert_eq!(records.all().unwrap(), [found]);
        records.update(&RunId::new(), |_| panic!("there is none")).unwrap();
        records.remove(&record.id).unwrap();
        records.remove(&record.id).unwrap();
        assert_eq!(records.get(&record.id).unwrap(), None);
    }

    #[test]
    fn lines_outlive_the_server_within_their_budget() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().to_owned()).unwrap();
        let (first, second) = (RunId::new(), RunId::new());
        for id in [&first, &second] {
            let book = Book::default();
            book.write(OutputStream::Stdout, |each| each(&"x".repeat(1000)));
            records.put_lines(id, &book).unwrap();
        }
        // A file system may tell times apart by hundredths of a second only.
        let older = SystemTime::now() - std::time::Duration::from_secs(60);
        std::fs::File::options()
            .write(true)
            .open(records.lines_path(&first))
            .unwrap()
            .set_modified(older)
            .unwrap();
        drop(records);
        let records = Records::open(folder.path().to_owned()).unwrap();
        assert!(*records.lines_bytes.lock().unwrap() > 2000);
        assert!(shrink(folder.path(), 1500).unwrap() < 1500);
        assert_eq!(records.lines(&first).unwrap().lines().0.len(), 0);
        assert_eq!(records.lines(&second).unwrap().lines().0.len(), 1);
    }
}
