//! What the gateway counts. Labels are of bounded cardinality: never an id, a lens, or text from a request.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// How many unknown frame types are logged by name before they are only counted.
const UNKNOWN_TYPES_LOGGED: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The gateway's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    encoded: runtime::metrics::Metrics,
    figures: Figures,
    unknown_types: Mutex<HashSet<String>>,
}

#[derive(Debug)]
struct Figures {
    runners: Gauge,
    pending: Gauge,
    buffered: Gauge,
    claims: Family<ResultLabel, Counter>,
    reaped: Counter,
    requests: Family<OutcomeLabels, Counter>,
    duration: Histogram,
    dispatch_latency: Histogram,
    auth_failures: Family<ReasonLabel, Counter>,
    rows: Counter,
    bytes: Counter,
    stray_frames: Counter,
    unknown_frames: Counter,
    shell_jobs: Family<OutcomeLabel, Counter>,
    shell_duration: Histogram,
    output: Counter,
}

impl Metrics {
    /// `merged` counts the refusals that the audit log tells of in numbers.
    pub(crate) fn new(version: &str, merged: Counter) -> Self {
        let mut encoded = runtime::metrics::Metrics::new("gateway", version);
        let latency = || Histogram::new(exponential_buckets(0.000_25, 2.0, 18));
        let this = Figures {
            runners: Gauge::default(),
            pending: Gauge::default(),
            buffered: Gauge::default(),
            claims: Family::default(),
            reaped: Counter::default(),
            requests: Family::default(),
            duration: latency(),
            dispatch_latency: latency(),
            auth_failures: Family::default(),
            rows: Counter::default(),
            bytes: Counter::default(),
            stray_frames: Counter::default(),
            unknown_frames: Counter::default(),
            shell_jobs: Family::default(),
            shell_duration: Histogram::new(exponential_buckets(0.005, 2.0, 20)),
            output: Counter::default(),
        };
        let registry = encoded.registry();
        registry.register("runners_connected", "Connected runners", this.runners.clone());
        registry.register("jobs_pending", "Jobs that no runner has yet", this.pending.clone());
        registry.register("buffer_bytes", "Bytes of rows that wait for their callers", this.buffered.clone());
        registry.register("claims", "Placements of jobs", this.claims.clone());
        registry.register("claims_reaped", "Claims taken back by the sweeper", this.reaped.clone());
        registry.register("requests", "Requests of applications", this.requests.clone());
        registry.register(
            "request_duration_seconds",
            "Time from a request to its last byte",
            this.duration.clone(),
        );
        let latency = this.dispatch_latency.clone();
        registry.register(
            "dispatch_latency_seconds",
            "Time from a request to its job's frame on the wire",
            latency,
        );
        registry.register("auth_failures", "Refused credentials", this.auth_failures.clone());
        registry.register("audit_refusals_merged", "Refusals without an audit row of their own", merged);
        registry.register("rows_sent", "Rows sent to applications", this.rows.clone());
        registry.register("runner_bytes_received", "Bytes of chunks from runners", this.bytes.clone());
        registry.register("stray_frames", "Frames of runners that fit no job", this.stray_frames.clone());
        registry.register(
            "unknown_frames",
            "Frames of types that are not known",
            this.unknown_frames.clone(),
        );
        registry.register("shell_jobs", "Attempts of shell jobs", this.shell_jobs.clone());
        let duration = this.shell_duration.clone();
        registry.register("shell_job_duration_seconds", "Time from a command's request to its end", duration);
        registry.register("shell_output_bytes_received", "Bytes of output from runners", this.output.clone());
        Self { encoded, figures: this, unknown_types: Mutex::default() }
    }

    /// All metrics as text; pending jobs and bytes that wait are read now.
    pub(crate) fn encode(&self, pending: usize, waiting: usize) -> String {
        let level = |level| i64::try_from(level).unwrap_or(i64::MAX);
        self.figures.pending.set(level(pending));
        self.figures.buffered.set(level(waiting));
        self.encoded.encode()
    }

    pub(crate) fn runner_joined(&self) {
        self.figures.runners.inc();
    }

    pub(crate) fn runner_left(&self) {
        self.figures.runners.dec();
    }

    pub(crate) fn claimed(&self) {
        self.figures.claims.get_or_create(&ResultLabel { result: "claimed" }).inc();
    }

    pub(crate) fn unplaced(&self) {
        self.figures.claims.get_or_create(&ResultLabel { result: "no_runner" }).inc();
    }

    pub(crate) fn reaped(&self, count: usize) {
        self.figures.reaped.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(crate) fn dispatched(&self, after: Duration) {
        self.figures.dispatch_latency.observe(after.as_secs_f64());
    }

    /// A request has ended. `outcome` is `ok` or one of the published codes.
    pub(crate) fn request(
        &self,
        operation: &'static str,
        outcome: &'static str,
        duration: Duration,
        rows: u64,
    ) {
        self.figures.requests.get_or_create(&OutcomeLabels { operation, outcome }).inc();
        self.figures.duration.observe(duration.as_secs_f64());
        self.figures.rows.inc_by(rows);
    }

    /// A shell job has ended, or was refused. `outcome` is `ok` or one of the published codes.
    pub(crate) fn shell_job(&self, outcome: &'static str, duration: Duration) {
        self.figures.shell_jobs.get_or_create(&OutcomeLabel { outcome }).inc();
        self.figures.shell_duration.observe(duration.as_secs_f64());
    }

    pub(crate) fn output_received(&self, bytes: usize) {
        self.figures.output.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn auth_failed(&self, reason: &'static str) {
        self.figures.auth_failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn bytes_received(&self, bytes: usize) {
        self.figures.bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn stray_frame(&self) {
        self.figures.stray_frames.inc();
    }

    /// Counts a frame of an unknown type; each type is logged once.
    pub(crate) fn unknown_frame(&self, kind: &str) {
        self.figures.unknown_frames.inc();
        let mut seen = self.unknown_types.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < UNKNOWN_TYPES_LOGGED && seen.insert(kind.to_owned()) {
            let shown: String = kind.chars().take(60).collect();
            tracing::info!(kind = ?shown, "ignoring frames of an unknown type");
        }
    }
}
