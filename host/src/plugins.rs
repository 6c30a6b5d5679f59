//! The plugin folder: which files it has, which of them are loaded, and what is wrong with the others.
//!
//! The folder is looked at every two seconds and whenever settings are read again. A file that changed is loaded beside the
//! old one once it has rested for one look, so that a copy under way is not taken for a plugin; jobs that run finish on
//! the old one. A file that does not load is told everywhere a person may look, and what was loaded from it before stays.

mod settings;

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bridge_core::Driver;
use plugins_host::{Engine, Grants, LoadError, Plugin, SignatureError, TrustedKeys};
use serde_json::{Value, json};
use thiserror::Error;

pub use self::settings::PluginSettings;
use crate::error::StartError;
use crate::metrics::PluginUse;
use crate::registry::Registry;

/// Between two looks at the folder.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Larger files are no plugins: a Python component has 20 MiB.
pub(crate) const FILE_LIMIT: u64 = 256 * 1024 * 1024;
/// A signature as base64 has 88 bytes.
pub(crate) const SIGNATURE_LIMIT: u64 = 1024;
/// Files of one folder that are looked at.
const MOST_FILES: usize = 1_000;

/// The plugins of a runner.
pub(crate) struct Plugins {
    engine: Engine,
    registry: Registry,
    /// By path. Written by [`look`](Plugins::look) alone.
    files: Mutex<BTreeMap<PathBuf, File>>,
    /// One look at a time.
    looking: tokio::sync::Mutex<()>,
}

/// One file of the folder.
#[derive(Clone)]
struct File {
    /// What the file system said when it was last tried.
    tried: Option<Stamp>,
    /// What it said at the last look.
    seen: Stamp,
    /// Whose signature it needed then.
    keys: Option<TrustedKeys>,
    loaded: Option<Loaded>,
    /// Why it could not be loaded as it is now.
    problem: Option<String>,
    /// Which other file has the name of what was loaded from it.
    shadowed: Option<String>,
}

#[derive(Clone)]
struct Loaded {
    plugin: Arc<Plugin>,
    grants: Grants,
}

/// Tells whether a file, or its signature, has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    component: Mark,
    signature: Option<Mark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    length: u64,
    modified: Option<SystemTime>,
    /// When the file's entry changed, in seconds and nanoseconds: whoever sets the time of a modification back cannot set
    /// this.
    changed: (i64, i64),
    inode: u64,
}

/// Why a file of the folder is not a bridge of this runner.
#[derive(Debug, Error)]
enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("is larger than {} MiB", FILE_LIMIT / (1024 * 1024))]
    TooLarge,
    #[error("has no signature: only signed plugins are loaded, and there is no {0}")]
    Unsigned(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("calls itself {0}, as a bridge that is compiled in does")]
    NativeName(String),
}

impl Plugins {
    /// Gets the engine ready and loads everything, without waiting for files to rest.
    pub(crate) async fn load(settings: &PluginSettings, registry: Registry) -> Result<Self, StartError> {
        let engine = settings.engine()?;
        let plugins =
            Self { engine, registry, files: Mutex::default(), looking: tokio::sync::Mutex::default() };
        plugins.look(settings, false).await;
        Ok(plugins)
    }

    /// Waits a little and looks at the folder. Answers whether bridges came or went. Cancel safe: what was not loaded is
    /// loaded at the next look.
    pub(crate) async fn changed(&self, settings: &PluginSettings) -> bool {
        tokio::time::sleep(LOOK_EVERY).await;
        self.look(settings, true).await
    }

    /// Looks at the folder and loads what is new. Answers whether other bridges are there than before.
    async fn look(&self, settings: &PluginSettings, resting: bool) -> bool {
        let _one_at_a_time = self.looking.lock().await;
        let found = match &settings.dir {
            Some(dir) => list(dir).await,
            None => Ok(Vec::new()),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                // The folder may be mounted anew at this moment: what is loaded stays.
                tracing::warn!(dir = ?settings.dir, %error, "the plugin folder cannot be read");
                return false;
            }
        };
        let old = self.lock().clone();
        let mut new = BTreeMap::new();
        for (path, seen) in found {
            let before = old.get(&path);
            let file = self.refresh(&path, seen, before, settings, resting).await;
            new.insert(path, file);
        }
        shadow_same_names(&mut new);
        let (before, now) = (serving(&old), serving(&new));
        tell(&old, &new);
        *self.lock() = new;
        let same =
            before.len() == now.len() && before.iter().zip(&now).all(|(one, two)| Arc::ptr_eq(one, two));
        if !same {
            self.registry.bring(now.into_iter().map(|plugin| plugin as Arc<dyn Driver>).collect());
        }
        !same
    }

    /// The file as it is now: as before where nothing changed, or loaded anew.
    async fn refresh(
        &self,
        path: &Path,
        seen: Stamp,
        before: Option<&File>,
        settings: &PluginSettings,
        resting: bool,
    ) -> File {
        let mut file = before.cloned().unwrap_or_else(|| File::new(seen.clone()));
        let loaded = file.loaded.as_ref();
        let rests = !resting || before.is_some_and(|before| before.seen == seen);
        let granted = loaded.is_none_or(|loaded| loaded.grants == settings.grants(loaded.plugin.name()));
        let trusted = file.keys == settings.trusted_keys;
        file.seen = seen.clone();
        if !trusted {
            // What was loaded under other keys is not trusted any more, however long its file takes to rest.
            file.loaded = None;
        }
        if !rests || (file.tried.as_ref() == Some(&seen) && granted && trusted) {
            return file;
        }
        file.tried = Some(seen);
        file.keys.clone_from(&settings.trusted_keys);
        match self.load_file(path, settings).await {
            Ok(new) => {
                let same = |old: &Loaded| old.plugin.hash() == new.plugin.hash() && old.grants == new.grants;
                if !file.loaded.as_ref().is_some_and(same) {
                    file.loaded = Some(new);
                }
                file.problem = None;
            }
            Err(problem) => {
                file.problem = Some(problem.to_string());
                // What was loaded goes on, but not with rights that it has no more.
                if !granted {
                    file.loaded = None;
                }
            }
        }
        file
    }

    async fn load_file(&self, path: &Path, settings: &PluginSettings) -> Result<Loaded, Problem> {
        // Read once: what is checked is what is loaded.
        let component = read(path, FILE_LIMIT).await?;
        if let Some(keys) = &settings.trusted_keys {
            let signature = signature_path(path);
            if !tokio::fs::metadata(&signature).await.is_ok_and(|metadata| metadata.is_file()) {
                return Err(Problem::Unsigned(file_name(&signature)));
            }
            keys.verify(&component, &read(&signature, SIGNATURE_LIMIT).await?)?;
        }
        let plugin = self.engine.load(component, |name| settings.grants(name)).await?;
        if self.registry.is_native(plugin.name()) {
            return Err(Problem::NativeName(plugin.name().to_owned()));
        }
        let grants = settings.grants(plugin.name());
        Ok(Loaded { plugin, grants })
    }

    /// Each file that has a problem, and what it is.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let files = self.lock();
        let problems = files.iter().filter_map(|(path, file)| Some((file_name(path), file.trouble()?)));
        problems.collect()
    }

    /// Figures of the plugins that serve.
    pub(crate) fn uses(&self) -> Vec<PluginUse> {
        serving(&self.lock()).iter().map(|plugin| figures(plugin)).collect()
    }

    /// What `/status` says.
    pub(crate) fn status(&self) -> Value {
        let files = self.lock();
        files.iter().map(|(path, file)| file.status(path)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn new(seen: Stamp) -> Self {
        Self { tried: None, seen, keys: None, loaded: None, problem: None, shadowed: None }
    }

    fn plugin(&self) -> Option<&Arc<Plugin>> {
        self.loaded.as_ref().map(|loaded| &loaded.plugin)
    }

    /// What is wrong with it, in words for people.
    fn trouble(&self) -> Option<String> {
        let kept = |problem: &String| match self.plugin() {
            Some(plugin) => format!("{problem}; version {} goes on", plugin.version()),
            None => problem.clone(),
        };
        let shadowed = |other: &String| format!("has the name of a plugin in {other}, which stands first");
        self.problem.as_ref().map(kept).or_else(|| self.shadowed.as_ref().map(shadowed))
    }

    fn status(&self, path: &Path) -> Value {
        let plugin = self.plugin();
        let state = match (plugin, &self.problem, &self.shadowed) {
            (None, None, _) => "waiting",
            (None, Some(_), _) => "failed",
            (Some(_), _, Some(_)) => "shadowed",
            (Some(_), Some(_), None) => "outdated",
            (Some(_), None, None) => "loaded",
        };
        json!({
            "file": file_name(path),
            "state": state,
            "problem": self.trouble(),
            "name": plugin.map(|plugin| plugin.name().to_owned()),
            "version": plugin.map(|plugin| plugin.version().to_owned()),
            "hash": plugin.map(|plugin| plugin.hash().to_owned()),
            "instances": plugin.map(|plugin| plugin.stats().instances),
        })
    }
}

impl Stamp {
    fn of(component: &Metadata, signature: Option<&Metadata>) -> Self {
        Self { component: Mark::of(component), signature: signature.map(Mark::of) }
    }
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let (inode, changed) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.ino(), (metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (inode, changed) = (0, (0, 0));
        Self { length: metadata.len(), modified: metadata.modified().ok(), changed, inode }
    }
}

fn serving(files: &BTreeMap<PathBuf, File>) -> Vec<Arc<Plugin>> {
    let serves = files.values().filter(|file| file.shadowed.is_none());
    serves.filter_map(|file| file.plugin().cloned()).collect()
}

fn figures(plugin: &Plugin) -> PluginUse {
    let figure = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let stats = plugin.stats();
    PluginUse {
        name: plugin.name().to_owned(),
        instances: figure(stats.instances),
        failures: figure(stats.failures),
        refused_connections: figure(stats.refused_connections),
    }
}

/// Of several files with a plugin of one name the first by file name serves.
fn shadow_same_names(files: &mut BTreeMap<PathBuf, File>) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for (path, file) in files {
        file.shadowed = None;
        let Some(name) = file.plugin().map(|plugin| plugin.name().to_owned()) else { continue };
        match first.get(&name) {
            Some(other) => file.shadowed = Some(other.clone()),
            None => drop(first.insert(name, file_name(path))),
        }
    }
}

/// Logs what is other than before.
fn tell(old: &BTreeMap<PathBuf, File>, new: &BTreeMap<PathBuf, File>) {
    for (path, file) in new {
        let before = old.get(path);
        let name = file_name(path);
        match file.trouble() {
            Some(reason) if before.and_then(File::trouble).as_ref() != Some(&reason) => {
                tracing::error!(file = name, reason, "a plugin is not loaded");
            }
            Some(_) => {}
            None => {
                let same = match (before.and_then(File::plugin), file.plugin()) {
                    (Some(one), Some(two)) => Arc::ptr_eq(one, two),
                    (_, None) => true,
                    (None, Some(_)) => false,
                };
                if let (false, Some(plugin)) = (same, file.plugin()) {
                    tracing::info!(
                        file = name,
                        plugin = plugin.name(),
                        version = plugin.version(),
                        "plugin loaded"
                    );
                }
            }
        }
    }
    for (path, file) in old.iter().filter(|(path, _)| !new.contains_key(*path)) {
        let plugin = file.plugin().map(|plugin| plugin.name());
        tracing::info!(file = file_name(path), plugin, "plugin removed");
    }
}

/// The components of a folder, in the order of their names.
async fn list(dir: &Path) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let mut entries = tokio::fs::read_dir(dir).await?;
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // Follows links: an operator may well keep versions elsewhere and link to one of them.
        let Ok(component) = tokio::fs::metadata(&path).await else { continue };
        if !component.is_file() {
            continue;
        }
        let signature = tokio::fs::metadata(signature_path(&path)).await.ok();
        // Reading a pipe would wait for somebody to write.
        let signature = signature.filter(Metadata::is_file);
        found.push((path, Stamp::of(&component, signature.as_ref())));
        if found.len() > MOST_FILES {
            tracing::warn!(dir = %dir.display(), "the plugin folder has more than {MOST_FILES} files");
            break;
        }
    }
    found.sort_by(|one, two| one.0.cmp(&two.0));
    Ok(found)
}

async fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    use tokio::io::AsyncReadExt as _;
    let file = tokio::fs::File::open(path).await.map_err(Problem::Unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).await.map_err(Problem::Unreadable)?;
    if bytes.len() as u64 > limit { Err(Problem::TooLarge) } else { Ok(bytes) }
}

/// Where the signature of a component is.
pub(crate) fn signature_path(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// A file as messages name it.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_that_hides_its_change_has_changed_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.wasm");
        let mark = || Mark::of(&fs::metadata(&path).unwrap());
        fs::write(&path, "one").unwrap();
        let before = mark();
        assert_eq!(mark(), before);
        // The clock of file systems has steps of some milliseconds.
        for _ in 0..1_000 {
            fs::write(&path, "two").unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(before.modified.unwrap()).unwrap();
            let after = mark();
            assert_eq!(
                (after.length, after.modified, after.inode),
                (before.length, before.modified, before.inode)
            );
            if after != before {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("it looks the same");
    }
}
