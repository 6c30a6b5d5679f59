//! Compiled plugins on disk.
//!
//! What is in the cache is machine code that is run as it is, so nobody but this process's user may be able to write it:
//! the folder is ours and 0700, each file is ours and 0600, and both are looked at before a file is used. A file is named
//! after the component's BLAKE3, which takes a quarter of the time of SHA-256, and whatever the engine's code depends on.
//! Beside it lies what was found out about the component when it was first loaded ([`About`]). Of several who miss the same
//! component one compiles and the others wait, since that takes both cores and, for an interpreter, a minute.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::Component;

use crate::about::About;
use crate::engine::compile;
use crate::error::{EngineError, LoadError};

/// Compiled plugins that are kept, the ones used last.
const KEPT: usize = 64;
const EXTENSION: &str = "cwasm";
const ABOUT: &str = "json";
/// More than a description can have.
const ABOUT_BYTES: u64 = 1 << 20;
const DRAFT: &str = "draft";
const LOCK: &str = "lock";
/// Uses that lie no further apart count as one.
const SAME_TIME: Duration = Duration::from_secs(3_600);
/// Writing never takes so long.
const DRAFT_AGE: Duration = Duration::from_secs(3_600);
/// How long one waits for another who compiles the same component: longer than a large one takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A folder of compiled plugins.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    owner: u32,
    /// Changes with the engine's version and settings, and with ours.
    engine: u64,
}

/// Where a component has its files.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Cache {
    /// Makes the folder, or makes sure that it is ours alone.
    pub(crate) fn open(folder: PathBuf, engine: &wasmtime::Engine) -> Result<Self, EngineError> {
        let failed = |folder: &Path| {
            let folder = folder.to_owned();
            move |source| EngineError::Cache { folder, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
        // Nobody can put another folder into its place later by way of a link.
        let folder = folder.canonicalize().map_err(failed(&folder))?;
        let owner = rustix::process::geteuid().as_raw();
        let found = fs::symlink_metadata(&folder).map_err(failed(&folder))?;
        let problem = if !found.is_dir() {
            Some("it is no folder")
        } else if found.uid() != owner {
            Some("it belongs to another user")
        } else if found.mode() & 0o077 != 0 {
            Some("others may enter it; its mode must be 0700")
        } else {
            None
        };
        match problem {
            Some(problem) => Err(EngineError::UnsafeCache { folder, problem }),
            None => {
                let mut hasher = DefaultHasher::new();
                engine.precompile_compatibility_hash().hash(&mut hasher);
                env!("CARGO_PKG_VERSION").hash(&mut hasher);
                Ok(Self { folder, owner, engine: hasher.finish() })
            }
        }
    }

    /// Where a component of these bytes has its place.
    pub(crate) fn place(&self, component: &[u8]) -> Place {
        let hash = blake3::hash(component).to_hex();
        Place(self.folder.join(format!("{hash}-{:016x}.{EXTENSION}", self.engine)))
    }

    /// The component compiled: as it is kept, or now. A cache that cannot be read or written costs time and nothing else.
    pub(crate) fn component(
        &self,
        engine: &wasmtime::Engine,
        component: &[u8],
        Place(file): &Place,
    ) -> Result<Component, LoadError> {
        if let Some(kept) = self.kept(engine, file) {
            return Ok(kept);
        }
        let locked = Lock::take(file);
        // Whoever had it before may have compiled the same.
        if let Some(kept) = locked.as_ref().and_then(|_| self.kept(engine, file)) {
            return Ok(kept);
        }
        let compiled = compile(engine, component)?;
        if let Err(error) = self.keep(&compiled, file) {
            tracing::warn!(file = %file.display(), error = %error, "a compiled plugin cannot be kept");
        }
        Ok(compiled)
    }

    fn kept(&self, engine: &wasmtime::Engine, file: &Path) -> Option<Component> {
        let found = fs::symlink_metadata(file).ok()?;
        if !self.is_ours(&found) {
            tracing::warn!(file = %file.display(), "a compiled plugin is not used: its file is not ours alone");
            return None;
        }
        #[expect(unsafe_code, reason = "the file is ours, in a folder that only we can write to")]
        // SAFETY: the bytes were written by `keep` from `Component::serialize`, whole, before they got this name.
        let loaded = unsafe { Component::deserialize_file(engine, file) };
        match loaded {
            Ok(component) => {
                touch(file, &found);
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), error = %error, "a compiled plugin is not used");
                None
            }
        }
    }

    /// What is known about the component, if that was kept and is ours.
    pub(crate) fn about(&self, Place(file): &Place) -> Option<About> {
        let kept = File::open(file.with_extension(ABOUT)).ok()?;
        if !self.is_ours(&kept.metadata().ok()?) {
            return None;
        }
        let mut text = Vec::new();
        kept.take(ABOUT_BYTES).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps what was found out about a component.
    pub(crate) fn remember(&self, Place(file): &Place, about: &About) {
        let text = serde_json::to_vec(about).map_err(io::Error::other);
        if let Err(error) = text.and_then(|text| replace(&file.with_extension(ABOUT), &text)) {
            tracing::warn!(file = %file.display(), error = %error, "what is known about a plugin cannot be kept");
        }
    }

    fn is_ours(&self, found: &Metadata) -> bool {
        found.is_file() && found.uid() == self.owner && found.mode() & 0o077 == 0
    }

    fn keep(&self, compiled: &Component, file: &Path) -> io::Result<()> {
        let bytes = compiled.serialize().map_err(io::Error::other)?;
        replace(file, &bytes)?;
        self.forget_old()
    }

    /// Throws away what has not been used for longest, and what a process has left behind that ended while it wrote.
    fn forget_old(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (file, modified) = (entry.path(), entry.metadata()?.modified()?);
            let is = |extension: &str| file.extension().is_some_and(|found| found == extension);
            if (is(DRAFT) || is(LOCK)) && modified.elapsed().is_ok_and(|age| age > DRAFT_AGE) {
                fs::remove_file(&file)?;
            } else if is(EXTENSION) {
                files.push((modified, file));
            }
        }
        files.sort_by(|one, other| other.cmp(one));
        files.iter().skip(KEPT).try_for_each(|(_, file)| {
            let _made_anew = fs::remove_file(file.with_extension(ABOUT));
            fs::remove_file(file)
        })
    }
}

/// Keeps everybody else from compiling the same component at the same time, this process or another.
struct Lock {
    _held: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for it, and compiles unlocked where there is none to be had.
    fn take(file: &Path) -> Option<Self> {
        let path = file.with_extension(LOCK);
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).ok()?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Some(Self { _held: lock, path }),
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => thread::sleep(LOOK_EVERY),
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Those who wait have it open. Who comes later makes another, and finds what was compiled.
        let _best_effort = fs::remove_file(&self.path);
    }
}

/// Says that a file was used today. Only the order in which files are thrown away depends on it.
fn touch(file: &Path, found: &Metadata) {
    let recently = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age < SAME_TIME);
    if !found.modified().is_ok_and(recently) {
        let _best_effort = File::open(file).and_then(|file| file.set_modified(SystemTime::now()));
    }
}

/// Puts a file into the place of another, as a whole.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // A name that nobody else writes to at this moment; should somebody do, nothing is kept.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let draft = file.with_extension(format!("{}-{now}.{DRAFT}", std::process::id()));
    let written = write_whole(&draft, bytes).and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        let _best_effort = fs::remove_file(&draft);
    }
    written
}

/// A file that others cannot read, on the disk as a whole.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    out.write_all(bytes)?;
    out.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc;

    use super::*;
    use crate::bindings::types::FieldType;
    use crate::describe::tests::{description, field};

    /// A component without anything in it.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn cache(folder: &Path) -> (Cache, wasmtime::Engine) {
        let engine = wasmtime::Engine::new(&crate::engine::config()).unwrap();
        (Cache::open(folder.join("cache"), &engine).unwrap(), engine)
    }

    #[test]
    fn whoever_misses_what_another_compiles_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine) = cache(folder.path());
        // What nobody could compile.
        let place = cache.place(b"nothing");
        let compiling = Lock::take(&place.0).unwrap();
        let (tell, told) = mpsc::channel();
        thread::scope(|threads| {
            for _ in 0..3 {
                let (cache, engine, place, tell) = (&cache, &engine, &place, tell.clone());
                threads.spawn(move || tell.send(cache.component(engine, b"nothing", place).is_ok()));
            }
            drop(tell);
            assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "they wait");
            cache.keep(&compile(&engine, EMPTY).unwrap(), &place.0).unwrap();
            drop(compiling);
            assert_eq!(told.iter().collect::<Vec<_>>(), [true; 3]);
        });
        let left: Vec<_> = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [place.0], "no lock is left behind");
    }

    #[test]
    fn whoever_waited_for_one_that_failed_compiles_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine) = cache(folder.path());
        let place = cache.place(EMPTY);
        let failing = Lock::take(&place.0).unwrap();
        thread::scope(|threads| {
            let waits = threads.spawn(|| cache.component(&engine, EMPTY, &place).is_ok());
            drop(failing);
            assert!(waits.join().unwrap());
        });
        assert!(place.0.exists());
    }

    #[test]
    fn what_is_known_about_a_component_is_believed_only_from_a_file_that_is_ours_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, _) = cache(folder.path());
        let (place, other) = (cache.place(EMPTY), cache.place(b"other"));
        let about = About::new("hash".to_owned(), &description(vec![field("host", FieldType::Password)]));
        cache.remember(&place, &about);
        assert_eq!(cache.about(&place), Some(about.clone()));
        assert_eq!(cache.about(&other), None, "of other bytes nothing is known");
        let beside = place.0.with_extension(ABOUT);
        let mode = |file: &Path| fs::metadata(file).unwrap().mode() & 0o777;
        assert_eq!(mode(&beside), 0o600);
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(cache.about(&place), None, "others may read it, so they may know of it");
        cache.remember(&place, &about);
        assert_eq!((mode(&beside), cache.about(&place)), (0o600, Some(about)));
        let whole = fs::read(&beside).unwrap();
        fs::write(&beside, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(cache.about(&place), None);
    }
}
