//! What the runner counts. No label ever holds query text, a user or a job id.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use protocol::ErrorCode;

/// Distinct unknown frame types that are told apart; what comes after is one.
const UNKNOWN_TYPES: usize = 32;
const DONE: &str = "done";

/// The runner's metrics. Clones share them.
#[derive(Debug)]
pub(crate) struct Metrics {
    text: runtime::metrics::Metrics,
    pub(crate) connected: Gauge,
    connect_attempts: Family<ResultLabel, Counter>,
    session_seconds: Histogram,
    heartbeat_rtt: Histogram,
    jobs_active: Family<KindLabel, Gauge>,
    jobs: Family<OutcomeLabels, Counter>,
    job_duration: Family<KindLabel, Histogram>,
    rows_sent: Counter,
    bytes_sent: Counter,
    credit_stall: Counter<f64, std::sync::atomic::AtomicU64>,
    pool_in_use: Family<SourceLabel, Gauge>,
    source_errors: Family<SourceErrorLabels, Counter>,
    unknown_frames: Family<TypeLabel, Counter>,
    security_events: Family<EventLabel, Counter>,
    exec_denied: Family<RuleLabel, Counter>,
    exec_docker: Gauge,
    plugin_failed: Family<FileLabel, Gauge>,
    plugin_instances: Family<PluginLabel, Gauge>,
    plugin_failures: Family<PluginLabel, Gauge>,
    plugin_refused_connections: Family<PluginLabel, Gauge>,
    seen_types: Mutex<HashSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabel {
    file: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceErrorLabels {
    source: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

/// How an attempt to connect went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Connected,
    Unreachable,
    Refused,
    Failed,
}

impl Attempt {
    const fn label(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Something that a person responsible for security should see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecurityEvent {
    /// The gateway sent settings for a source whose settings are the runner's own.
    ConfigForLocalSource,
}

impl SecurityEvent {
    const fn label(self) -> &'static str {
        match self {
            Self::ConfigForLocalSource => "config_for_local_source",
        }
    }
}

/// Figures of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginUse {
    pub(crate) name: String,
    pub(crate) instances: i64,
    pub(crate) failures: i64,
    pub(crate) refused_connections: i64,
}

impl Metrics {
    pub(crate) fn new(version: &str) -> Self {
        let mut text = runtime::metrics::Metrics::new("runner", version);
        let to = text.registry();
        Self {
            connected: register(to, "connected", "1 while a session is acknowledged", Gauge::default()),
            connect_attempts: register(
                to,
                "connect_attempts",
                "Attempts to connect, by result",
                Family::default(),
            ),
            session_seconds: register(
                to,
                "session_seconds",
                "How long sessions lasted",
                Histogram::new([1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0]),
            ),
            heartbeat_rtt: register(
                to,
                "heartbeat_rtt_seconds",
                "Round trips to the gateway",
                Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]),
            ),
            jobs_active: register(to, "jobs_active", "Jobs that run now", Family::default()),
            jobs: register(to, "jobs", "Jobs that ended, by outcome", Family::default()),
            job_duration: register(
                to,
                "job_duration_seconds",
                "How long jobs took",
                Family::new_with_constructor(duration_histogram as fn() -> Histogram),
            ),
            rows_sent: register(to, "rows_sent", "Rows and buckets sent", Counter::default()),
            bytes_sent: register(to, "bytes_sent", "Bytes of row payload sent", Counter::default()),
            credit_stall: register(
                to,
                "credit_stall_seconds",
                "Time that jobs waited for credit",
                Counter::default(),
            ),
            pool_in_use: register(
                to,
                "source_pool_in_use",
                "Connections of a source at work",
                Family::default(),
            ),
            source_errors: register(
                to,
                "source_errors",
                "Jobs that failed at their source",
                Family::default(),
            ),
            unknown_frames: register(
                to,
                "unknown_frames",
                "Frames of unknown types, ignored",
                Family::default(),
            ),
            security_events: register(
                to,
                "security_events",
                "What should not happen between friends",
                Family::default(),
            ),
            exec_denied: register(
                to,
                "exec_denied",
                "Shell jobs that this host's policy refused, by rule",
                Family::default(),
            ),
            exec_docker: register(
                to,
                "exec_docker_reachable",
                "1 while a Docker engine answers that shell jobs may use",
                Gauge::default(),
            ),
            plugin_failed: register(
                to,
                "plugin_load_failed",
                "1 for each file of the plugin folder that does not load",
                Family::default(),
            ),
            plugin_instances: register(
                to,
                "plugin_instances",
                "Instances of a plugin that live now",
                Family::default(),
            ),
            plugin_failures: register(
                to,
                "plugin_failures",
                "Jobs that failed because of their plugin since it was loaded",
                Family::default(),
            ),
            plugin_refused_connections: register(
                to,
                "plugin_refused_connections",
                "Connections that a plugin wanted and was not allowed since it was loaded",
                Family::default(),
            ),
            seen_types: Mutex::default(),
            text,
        }
    }

    pub(crate) fn encode(&self) -> String {
        self.text.encode()
    }

    pub(crate) fn attempted(&self, result: Attempt) {
        self.connect_attempts.get_or_create(&ResultLabel { result: result.label() }).inc();
    }

    pub(crate) fn session_lasted(&self, time: Duration) {
        self.session_seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn round_trip(&self, time: Duration) {
        self.heartbeat_rtt.observe(time.as_secs_f64());
    }

    pub(crate) fn job_started(&self, kind: &'static str) {
        self.jobs_active.get_or_create(&KindLabel { kind }).inc();
    }

    /// `code` is nothing when the job is done.
    pub(crate) fn job_ended(&self, kind: &'static str, code: Option<ErrorCode>, time: Duration) {
        self.jobs_active.get_or_create(&KindLabel { kind }).dec();
        self.job_refused(kind, code);
        self.job_duration.get_or_create(&KindLabel { kind }).observe(time.as_secs_f64());
    }

    /// A job that never started.
    pub(crate) fn job_refused(&self, kind: &'static str, code: Option<ErrorCode>) {
        let outcome = code.map_or(DONE, ErrorCode::as_str);
        self.jobs.get_or_create(&OutcomeLabels { kind, outcome }).inc();
    }

    pub(crate) fn sent(&self, rows: u64, bytes: usize) {
        self.rows_sent.inc_by(rows);
        self.bytes_sent.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn stalled(&self, time: Duration) {
        self.credit_stall.inc_by(time.as_secs_f64());
    }

    pub(crate) fn pool(&self, source: &str, in_use: u32) {
        self.pool_in_use.get_or_create(&SourceLabel { source: source.to_owned() }).set(i64::from(in_use));
    }

    pub(crate) fn exec_denied(&self, rule: &'static str) {
        self.exec_denied.get_or_create(&RuleLabel { rule }).inc();
    }

    pub(crate) fn docker(&self, reachable: bool) {
        self.exec_docker.set(i64::from(reachable));
    }

    /// What the plugins are like now; those that are not named are forgotten.
    pub(crate) fn plugins(&self, files: &[(String, String)], uses: &[PluginUse]) {
        self.plugin_failed.clear();
        for (file, _) in files {
            self.plugin_failed.get_or_create(&FileLabel { file: file.clone() }).set(1);
        }
        for family in [&self.plugin_instances, &self.plugin_failures, &self.plugin_refused_connections] {
            family.clear();
        }
        for plugin in uses {
            let label = PluginLabel { plugin: plugin.name.clone() };
            self.plugin_instances.get_or_create(&label).set(plugin.instances);
            self.plugin_failures.get_or_create(&label).set(plugin.failures);
            self.plugin_refused_connections.get_or_create(&label).set(plugin.refused_connections);
        }
    }

    /// Forgets a source that is no longer assigned.
    pub(crate) fn forget_source(&self, source: &str) {
        self.pool_in_use.remove(&SourceLabel { source: source.to_owned() });
        for code in ErrorCode::ALL {
            let labels = SourceErrorLabels { source: source.to_owned(), code: code.as_str() };
            self.source_errors.remove(&labels);
        }
    }

    pub(crate) fn source_failed(&self, source: &str, code: ErrorCode) {
        let labels = SourceErrorLabels { source: source.to_owned(), code: code.as_str() };
        self.source_errors.get_or_create(&labels).inc();
    }

    pub(crate) fn security_event(&self, event: SecurityEvent) {
        self.security_events.get_or_create(&EventLabel { event: event.label() }).inc();
    }

    /// Counts a frame of an unknown type, and answers whether it is the first of its type. The name comes from
    /// outside, so only a bounded number of harmless ones become labels.
    pub(crate) fn unknown_frame(&self, kind: &str) -> bool {
        let harmless = kind.len() <= 40 && kind.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        let mut seen = self.seen_types.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.contains(kind);
        let told_apart = harmless && (known || seen.len() < UNKNOWN_TYPES);
        let label = if told_apart { kind } else { "other" };
        self.unknown_frames.get_or_create(&TypeLabel { r#type: label.to_owned() }).inc();
        seen.insert(label.to_owned())
    }
}

fn register<M: prometheus_client::registry::Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn duration_histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 120.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_has_the_published_names() {
        let metrics = Metrics::new("1.2.3");
        metrics.attempted(Attempt::Connected);
        metrics.job_started("query");
        metrics.job_ended("query", None, Duration::from_millis(3));
        metrics.job_refused("query", Some(ErrorCode::RunnerBusy));
        metrics.sent(5, 100);
        metrics.stalled(Duration::from_millis(1500));
        metrics.pool("main", 2);
        metrics.source_failed("main", ErrorCode::SourceUnreachable);
        metrics.security_event(SecurityEvent::ConfigForLocalSource);
        metrics.exec_denied("program.unknown");
        metrics.docker(true);
        let text = metrics.encode();
        for line in [
            "runner_build_info{version=\"1.2.3\"} 1",
            "runner_connected 0",
            "runner_connect_attempts_total{result=\"connected\"} 1",
            "runner_session_seconds_count 0",
            "runner_heartbeat_rtt_seconds_count 0",
            "runner_jobs_active{kind=\"query\"} 0",
            "runner_jobs_total{kind=\"query\",outcome=\"done\"} 1",
            "runner_jobs_total{kind=\"query\",outcome=\"RUNNER_BUSY\"} 1",
            "runner_job_duration_seconds_count{kind=\"query\"} 1",
            "runner_rows_sent_total 5",
            "runner_bytes_sent_total 100",
            "runner_credit_stall_seconds_total 1.5",
            "runner_source_pool_in_use{source=\"main\"} 2",
            "runner_source_errors_total{source=\"main\",code=\"SOURCE_UNREACHABLE\"} 1",
            "runner_exec_denied_total{rule=\"program.unknown\"} 1",
            "runner_exec_docker_reachable 1",
            "runner_security_events_total{event=\"config_for_local_source\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn unknown_types_are_told_once_and_cannot_grow_without_bound() {
        let metrics = Metrics::new("1");
        assert!(metrics.unknown_frame("warp"));
        assert!(!metrics.unknown_frame("warp"));
        for index in 0..1_000 {
            metrics.unknown_frame(&format!("t{index}"));
        }
        metrics.unknown_frame(&"x".repeat(5_000));
        let labels =
            metrics.encode().lines().filter(|line| line.starts_with("runner_unknown_frames_total")).count();
        assert_eq!(labels, UNKNOWN_TYPES + 1);
    }
}
