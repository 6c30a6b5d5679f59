//! What all parts of a running daemon share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use protocol::{Extension, Extensions, Hello, PROTOCOL_VERSION, RawValueEq, Stats};
use runtime::Drain;
use runtime::metrics::resident_memory_bytes;
use runtime::settings::Source as Environment;
use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore};

use crate::config::Config;
use crate::exec::Execs;
use crate::metrics::Metrics;
use crate::plugins::Plugins;
use crate::registry::Registry;
use crate::sources::Sources;
use crate::status::Status;

const MIB: u64 = 1024 * 1024;

/// The running daemon.
pub(crate) struct Runner {
    config: ArcSwap<Config>,
    pub(crate) registry: Registry,
    pub(crate) plugins: Plugins,
    pub(crate) sources: Sources,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) status: Status,
    pub(crate) execs: Arc<Execs>,
    pub(crate) drain: Drain,
    /// Names this process's life: another one after each start.
    pub(crate) instance: String,
    /// Replaced as a whole when the limit changes; jobs give their permit back to the one that they had it from.
    slots: ArcSwap<Semaphore>,
    active: AtomicU32,
    /// Bytes of the options of jobs that run or wait for a slot.
    held: AtomicUsize,
    /// Woken when the settings were read again.
    pub(crate) reloaded: Notify,
    /// Woken when bridges came or went.
    pub(crate) other_bridges: Notify,
}

impl Runner {
    pub(crate) fn new(
        config: Config,
        registry: Registry,
        plugins: Plugins,
        environment: Arc<dyn Environment>,
        drain: Drain,
    ) -> Self {
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        Self {
            sources: Sources::new(registry.clone(), environment, Arc::clone(&metrics), drain.clone()),
            slots: ArcSwap::from_pointee(semaphore(config.max_jobs)),
            execs: Arc::new(Execs::new(&config.exec, drain.clone())),
            config: ArcSwap::from_pointee(config),
            registry,
            plugins,
            metrics,
            status: Status::default(),
            drain,
            instance: uuid::Uuid::now_v7().to_string(),
            active: AtomicU32::new(0),
            held: AtomicUsize::new(0),
            reloaded: Notify::new(),
            other_bridges: Notify::new(),
        }
    }

    /// The settings now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Takes new settings without dropping the socket: limits, sources and secrets apply at once, the gateway, the token
    /// and the proxies with the next connection.
    pub(crate) fn reload(&self, config: Config) {
        if config.max_jobs != self.config().max_jobs {
            self.slots.store(Arc::new(semaphore(config.max_jobs)));
        }
        self.execs.reload(&self.config().exec, &config.exec);
        self.config.store(Arc::new(config));
        self.sources.reload(&self.config().sources);
        self.reloaded.notify_one();
    }

    /// Bridges came or went: sources are looked at again, and the gateway is told.
    pub(crate) fn has_other_bridges(&self) {
        self.sources.reload(&self.config().sources);
        self.other_bridges.notify_one();
    }

    /// What the runner says of itself. No job is listed as running: jobs die with their socket, so none is left when a new
    /// one is greeted, and the gateway places or fails them at once.
    pub(crate) fn hello(&self) -> Hello {
        let config = self.config();
        let exec = config.exec.is_on().then(|| self.execs.offer(&config.exec));
        let extensions = Extensions::all();
        Hello {
            version: PROTOCOL_VERSION,
            runner_id: Some(config.runner_id.clone()),
            capabilities: self.registry.names(),
            runtime_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            extensions: if exec.is_some() { extensions } else { extensions.without(Extension::Exec) },
            instance_id: Some(self.instance.clone()),
            max_jobs: Some(config.max_jobs),
            metadata: exec.as_ref().and_then(|_| host()),
            exec,
            ..Hello::default()
        }
    }

    /// Where a job gets its slot.
    pub(crate) fn slots(&self) -> Arc<Semaphore> {
        self.slots.load_full()
    }

    /// Jobs that run or wait for a slot.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Bytes that these jobs hold in options.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts one job with options of `bytes` until the result is dropped.
    pub(crate) fn count_job(self: &Arc<Self>, bytes: usize) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Active { runner: Arc::clone(self), bytes }
    }

    /// Whether no new job may start.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.refusing().is_cancelled()
    }

    /// What a heartbeat says; slots and pools only with `stats/1`.
    pub(crate) fn stats(&self, extensions: Extensions) -> Stats {
        let active_jobs = self.active();
        let plain = Stats {
            active_jobs,
            memory_mb: resident_memory_bytes().map(|bytes| bytes / MIB),
            ..Stats::default()
        };
        if !extensions.has(Extension::Stats) {
            return plain;
        }
        let max_jobs = self.config().max_jobs;
        Stats {
            max_jobs: Some(max_jobs),
            free_slots: Some(max_jobs.saturating_sub(active_jobs)),
            pools: self.sources.pools().collect(),
            ..plain
        }
    }
}

/// A job that counts as active.
pub(crate) struct Active {
    runner: Arc<Runner>,
    bytes: usize,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.runner.active.fetch_sub(1, Ordering::Relaxed);
        self.runner.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a gateway writes beside a shell job, so that a reader of its records knows which host it was.
fn host() -> Option<Box<RawValueEq>> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = serde_json::json!({
        "hostname": hostname.trim(),
        "platform": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
    });
    RawValue::from_string(text.to_string()).ok().map(|raw| Box::new(RawValueEq(raw)))
}

fn semaphore(jobs: u32) -> Semaphore {
    Semaphore::new(usize::try_from(jobs).unwrap_or(Semaphore::MAX_PERMITS))
}
