//! What Prometheus reads.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::view::Status;

/// Seconds. Starting a container takes some tenths of one.
const DURATIONS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];

/// The server's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    all: runtime::metrics::Metrics,
    runs: Family<Ended, Counter>,
    durations: Histogram,
    refused: Counter,
    callbacks: Family<CalledBack, Counter>,
    evicted: Counter,
    running: Gauge<i64>,
    queued: Gauge<i64>,
    held_bytes: Gauge<i64>,
    artifact_bytes: Gauge<u64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CalledBack {
    result: &'static str,
}

/// What is counted anew for each scrape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) running: usize,
    pub(crate) queued: usize,
    pub(crate) held_bytes: usize,
    pub(crate) artifact_bytes: u64,
}

impl Metrics {
    /// Metrics without a run.
    pub(crate) fn new() -> Self {
        let mut all = runtime::metrics::Metrics::new("semilayer_sandbox", env!("CARGO_PKG_VERSION"));
        let runs = Family::default();
        let durations = Histogram::new(DURATIONS);
        let refused = Counter::default();
        let callbacks = Family::default();
        let evicted = Counter::default();
        let running = Gauge::default();
        let queued = Gauge::default();
        let held_bytes = Gauge::default();
        let artifact_bytes = Gauge::default();
        let registry = all.registry();
        registry.register("runs", "Runs that have ended", runs.clone());
        registry.register("run_duration_seconds", "From a process's start to its end", durations.clone());
        registry.register(
            "queue_refusals",
            "Runs refused because the queue was full, by its length or its bytes",
            refused.clone(),
        );
        registry.register("callbacks", "Callbacks that are over", callbacks.clone());
        registry.register("evictions", "Runs removed to make room for newer artifacts", evicted.clone());
        registry.register("runs_running", "Runs under way", running.clone());
        registry.register("runs_queued", "Requests that wait for a run to end", queued.clone());
        registry.register("queue_bytes", "Bytes of requests that arrive or wait", held_bytes.clone());
        registry.register("artifact_bytes", "Bytes of all artifacts", artifact_bytes.clone());
        Self {
            all,
            runs,
            durations,
            refused,
            callbacks,
            evicted,
            running,
            queued,
            held_bytes,
            artifact_bytes,
        }
    }

    /// A run has ended.
    pub(crate) fn ended(&self, status: Status, duration: std::time::Duration) {
        self.runs.get_or_create(&Ended { status }).inc();
        self.durations.observe(duration.as_secs_f64());
    }

    /// A run was refused because the queue is full.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// A callback is over.
    pub(crate) fn called_back(&self, delivered: bool) {
        let result = if delivered { "delivered" } else { "given_up" };
        self.callbacks.get_or_create(&CalledBack { result }).inc();
    }

    /// A run was removed to make room.
    pub(crate) fn evicted(&self) {
        self.evicted.inc();
    }

    /// All of them as text.
    pub(crate) fn encode(&self, now: Now) -> String {
        self.running.set(i64::try_from(now.running).unwrap_or(i64::MAX));
        self.queued.set(i64::try_from(now.queued).unwrap_or(i64::MAX));
        self.held_bytes.set(i64::try_from(now.held_bytes).unwrap_or(i64::MAX));
        self.artifact_bytes.set(now.artifact_bytes);
        self.all.encode()
    }
}
