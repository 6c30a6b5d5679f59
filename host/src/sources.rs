//! The sources that the gateway has assigned, each with its settings and its connections.
//!
//! The set is replaced as a whole when assignments or settings change; a source whose settings are the same keeps its
//! connections, one whose settings changed gets new ones while the jobs on the old ones finish. A source without usable
//! settings is in the set, too, and answers its jobs with the reason; it harms no other.

mod pool;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bridge_core::Bridge;
use protocol::{AssignedSource, Assignments, Capabilities, CredentialsLocation, PoolUse, SourceConfig};
use runtime::Drain;
use runtime::secrets::Scrubber;
use runtime::settings::Source as Environment;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub(crate) use pool::Lease;
use pool::Pool;

use crate::config::SourceSettings;
use crate::credentials;
use crate::error::{Failure, SourceProblem};
use crate::metrics::{Metrics, SecurityEvent};
use crate::registry::{DriverRef, Registry};

/// The assigned sources.
pub(crate) struct Sources {
    registry: Registry,
    environment: Arc<dyn Environment>,
    metrics: Arc<Metrics>,
    drain: Drain,
    set: RwLock<Arc<Set>>,
    /// One change at a time: the gateway assigns, settings are read again and plugins come and go in different tasks, and
    /// each makes a new set out of the one before.
    changing: Mutex<()>,
    /// Warnings that were logged; each is told once.
    told: Mutex<BTreeSet<String>>,
}

/// Entries of an assignment that are named in the log when they cannot be read; more are only counted.
const SKIPPED_LOGGED: usize = 20;

/// One generation of the assigned sources.
#[derive(Default)]
struct Set {
    assigned: Vec<AssignedSource>,
    /// In the gateway's order.
    sources: Vec<Arc<Source>>,
    /// By name and by id.
    by_name: HashMap<String, Arc<Source>>,
}

/// One assigned source.
pub(crate) struct Source {
    pub(crate) name: String,
    id: String,
    bridge: String,
    location: CredentialsLocation,
    usable: Result<Usable, SourceProblem>,
}

/// A source with settings.
pub(crate) struct Usable {
    driver: DriverRef,
    config: Arc<SourceConfig>,
    scrubber: Scrubber,
    max_jobs: Option<u32>,
    slots: Option<Arc<Semaphore>>,
    pool: Pool,
}

impl Sources {
    pub(crate) fn new(
        registry: Registry,
        environment: Arc<dyn Environment>,
        metrics: Arc<Metrics>,
        drain: Drain,
    ) -> Self {
        let (set, changing, told) = (RwLock::default(), Mutex::default(), Mutex::default());
        Self { registry, environment, metrics, drain, set, changing, told }
    }

    /// The source of that name or id.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Source>> {
        self.current().by_name.get(name).cloned()
    }

    /// Takes what the gateway says. Entries that cannot be read are named in the log, and the others are served.
    pub(crate) fn take(&self, assignments: Assignments, settings: &SourceSettings) {
        for invalid in assignments.skipped.iter().take(SKIPPED_LOGGED) {
            tracing::warn!(
                field = invalid.field,
                expected = invalid.expected,
                "an assigned source cannot be read and is left out"
            );
        }
        if let Some(more @ 1..) = assignments.skipped.len().checked_sub(SKIPPED_LOGGED) {
            tracing::warn!(more, "further assigned sources cannot be read");
        }
        self.assign(Some(assignments.sources), settings);
    }

    /// Takes a new full set of assignments, or the same once more.
    fn assign(&self, assigned: Option<Vec<AssignedSource>>, settings: &SourceSettings) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current();
        let assigned = assigned.unwrap_or_else(|| old.assigned.clone());
        let new = Arc::new(self.build(assigned, settings, &old));
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
        self.retire(&old, &new);
        tracing::info!(sources = new.sources.len(), unconfigured = new.unconfigured(), "sources assigned");
    }

    /// Reads the runner's own settings again for the same assignments.
    pub(crate) fn reload(&self, settings: &SourceSettings) {
        self.assign(None, settings);
    }

    /// How many sources there are, and how many of them cannot be used.
    pub(crate) fn count(&self) -> (usize, usize) {
        let set = self.current();
        (set.sources.len(), set.unconfigured())
    }

    /// Connections of the sources that are open.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (String, PoolUse)> {
        let sources = self.current().sources.clone();
        sources.into_iter().filter_map(|source| Some((source.name.clone(), source.pool_use()?)))
    }

    /// What `/status` says of the sources. No value of any setting.
    pub(crate) fn status(&self) -> Value {
        self.current().sources.iter().map(|source| source.status()).collect()
    }

    /// Closes the connections of sources that have not been used for their idle time.
    pub(crate) fn close_idle(&self, settings: &SourceSettings) {
        for source in &self.current().sources {
            if let Ok(usable) = &source.usable
                && usable.pool.close_if_idle(settings.idle_timeout(&source.name), &self.drain)
            {
                tracing::debug!(source = source.name, "closed the connections of an idle source");
            }
        }
    }

    /// Closes everything; jobs have been told to stop and are not waited for any longer than a moment.
    pub(crate) async fn close(&self) {
        for source in &self.current().sources {
            if let Ok(usable) = &source.usable {
                usable.pool.close().await;
            }
        }
    }

    fn current(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn build(&self, assigned: Vec<AssignedSource>, settings: &SourceSettings, old: &Set) -> Set {
        let mut resolved =
            credentials::resolve(&assigned, &self.registry, settings, self.environment.as_ref());
        self.tell(&resolved.warnings);
        for name in &resolved.overruled {
            self.metrics.security_event(SecurityEvent::ConfigForLocalSource);
            tracing::warn!(
                security = true,
                source = name,
                "the gateway sent settings for a source whose settings are this runner's own; they are ignored"
            );
        }
        let mut set = Set::default();
        for source in &assigned {
            let Some(config) = resolved.sources.remove(&source.name) else { continue };
            set.insert(self.source(source, config, settings, old));
        }
        Set { assigned, ..set }
    }

    /// The source as it was, if nothing about it has changed; otherwise a new one.
    fn source(
        &self,
        assigned: &AssignedSource,
        config: Result<SourceConfig, SourceProblem>,
        settings: &SourceSettings,
        old: &Set,
    ) -> Arc<Source> {
        let max_jobs = settings.limits(&assigned.name).max_jobs;
        let driver = self.registry.find(&assigned.bridge);
        let usable = match (config, driver) {
            (Ok(config), Some(driver)) => match driver.check(&config) {
                Ok(()) => Ok(Usable::new(driver, config, max_jobs)),
                Err(mistakes) => Err(SourceProblem::NotConfigured {
                    name: assigned.name.clone(),
                    reason: credentials::scrubber(&config, driver.manifest())
                        .scrub(&mistakes.to_string())
                        .into_owned(),
                }),
            },
            (Err(problem), _) => Err(problem),
            (Ok(_), None) => Err(SourceProblem::UnknownBridge {
                name: assigned.name.clone(),
                bridge: assigned.bridge.clone(),
                available: self.registry.names().join(", "),
            }),
        };
        let new = Source {
            name: assigned.name.clone(),
            id: assigned.id.clone(),
            bridge: assigned.bridge.clone(),
            location: assigned.credentials_location,
            usable,
        };
        if let Some(same) = old.sources.iter().find(|other| other.is_same(&new)) {
            return Arc::clone(same);
        }
        if let Err(problem) = &new.usable {
            tracing::warn!(source = new.name, reason = problem.to_string(), "source cannot be used");
        }
        Arc::new(new)
    }

    fn retire(&self, old: &Set, new: &Set) {
        for source in &old.sources {
            if !new.sources.iter().any(|other| Arc::ptr_eq(other, source)) {
                if let Ok(usable) = &source.usable {
                    usable.pool.retire(&self.drain);
                }
                if !new.by_name.contains_key(&source.name) {
                    self.metrics.forget_source(&source.name);
                }
            }
        }
    }

    fn tell(&self, warnings: &[String]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in warnings {
            if told.insert(warning.clone()) {
                tracing::warn!(reason = warning, "check the settings of sources");
            }
        }
    }
}

impl Set {
    fn insert(&mut self, source: Arc<Source>) {
        // A name stands above another source's id.
        self.by_name.insert(source.name.clone(), Arc::clone(&source));
        self.by_name.entry(source.id.clone()).or_insert_with(|| Arc::clone(&source));
        self.sources.push(source);
    }

    fn unconfigured(&self) -> usize {
        self.sources.iter().filter(|source| source.usable.is_err()).count()
    }
}

impl Source {
    /// The settings, or why there are none.
    pub(crate) fn usable(&self) -> Result<&Usable, Failure> {
        self.usable.as_ref().map_err(|problem| problem.clone().into())
    }

    /// Knows this source's secrets.
    pub(crate) fn scrub_with(&self) -> Scrubber {
        self.usable.as_ref().map(|usable| usable.scrubber.clone()).unwrap_or_default()
    }

    fn is_same(&self, other: &Self) -> bool {
        let named = (&self.name, &self.id, &self.bridge, self.location)
            == (&other.name, &other.id, &other.bridge, other.location);
        named
            && match (&self.usable, &other.usable) {
                (Ok(one), Ok(two)) => {
                    one.config == two.config
                        && one.max_jobs == two.max_jobs
                        && one.driver.is_same(&two.driver)
                }
                (Err(one), Err(two)) => one == two,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            }
    }

    fn pool_use(&self) -> Option<PoolUse> {
        self.usable.as_ref().ok()?.pool.pool_use()
    }

    fn status(&self) -> Value {
        let credentials = match self.location {
            CredentialsLocation::Managed => "managed",
            CredentialsLocation::RunnerLocal => "runner-local",
        };
        let (state, reason) = match &self.usable {
            Ok(usable) => (usable.pool.state(), None),
            Err(problem) => ("unconfigured", Some(problem.to_string())),
        };
        json!({
            "name": self.name,
            "bridge": self.bridge,
            "credentials": credentials,
            "state": state,
            "reason": reason,
            "pool": self.pool_use(),
        })
    }
}

impl Usable {
    fn new(driver: DriverRef, config: SourceConfig, max_jobs: Option<u32>) -> Self {
        let permits =
            |jobs| Arc::new(Semaphore::new(usize::try_from(jobs).unwrap_or(Semaphore::MAX_PERMITS)));
        Self {
            scrubber: credentials::scrubber(&config, driver.manifest()),
            config: Arc::new(config),
            driver,
            max_jobs,
            slots: max_jobs.map(permits),
            pool: Pool::default(),
        }
    }

    /// What its bridge declares.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.driver.capabilities()
    }

    /// This source's own slots, where it has a limit.
    pub(crate) fn slots(&self) -> Option<&Arc<Semaphore>> {
        self.slots.as_ref()
    }

    /// The opened source. Jobs that come while it is being opened wait for the same attempt.
    pub(crate) async fn open(&self, name: &str, opening: &Opening<'_>) -> Result<Lease, Failure> {
        self.pool.lease(self, name, opening).await
    }
}

/// What opening a source needs.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) drain: &'a Drain,
    /// How long it may take, whatever the deadline of the job that began it.
    pub(crate) limit: std::time::Duration,
}

impl Lease {
    /// The opened source.
    pub(crate) fn bridge(&self) -> &dyn Bridge {
        self.opened().bridge.as_ref()
    }
}
