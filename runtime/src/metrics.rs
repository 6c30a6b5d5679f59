//! Metrics in the OpenMetrics text format, which Prometheus reads.
//!
//! [`Metrics`] is filled while the daemon is built and shared afterwards, so that a scrape takes no lock of ours.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one daemon.
#[derive(Debug)]
pub struct Metrics {
    own: Registry,
    process: Registry,
}

impl Metrics {
    /// Starts with `<prefix>_build_info{version=".."} 1` and, on Linux, `process_resident_memory_bytes`.
    ///
    /// `prefix` is the daemon's name, as in `semilayer_runner`.
    pub fn new(prefix: &str, version: &str) -> Self {
        let mut own = Registry::with_prefix(prefix);
        // The encoder appends `_info`.
        own.register("build", "Version of the running program", Info::new([("version", version.to_owned())]));
        let mut process = Registry::default();
        process.register_collector(Box::new(ResidentMemory));
        Self { own, process }
    }

    /// Where the daemon registers its own metrics; their names get the prefix.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.own
    }

    /// All metrics as text. Empty if a metric cannot be written, which only a broken collector can cause.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(4096);
        let written = text::encode_registry(&mut text, &self.own)
            .and_then(|()| text::encode_registry(&mut text, &self.process))
            .and_then(|()| text::encode_eof(&mut text));
        if written.is_err() {
            tracing::warn!("cannot encode the metrics");
            text.clear();
        }
        text
    }
}

/// Resident memory of this process in bytes. `None` where the system does not tell.
///
/// Read from `VmRSS` of `/proc/self/status`, which counts in kilobytes; `statm` counts in pages, whose size cannot be
/// asked without a C library.
pub fn resident_memory_bytes() -> Option<u64> {
    resident_bytes_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_bytes_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[derive(Debug)]
struct ResidentMemory;

impl Collector for ResidentMemory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(bytes) = resident_memory_bytes() else { return Ok(()) };
        let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        let metric = encoder.encode_descriptor(
            "process_resident_memory",
            "Resident memory size in bytes",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        gauge.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_scrape_shows_build_memory_and_registered_metrics() {
        let mut metrics = Metrics::new("semilayer_runner", "1.2.3");
        let jobs: Counter = Counter::default();
        metrics.registry().register("jobs", "Jobs done", jobs.clone());
        jobs.inc();

        let text = metrics.encode();
        assert!(text.contains("semilayer_runner_build_info{version=\"1.2.3\"} 1\n"), "{text}");
        assert!(text.contains("semilayer_runner_jobs_total 1\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        if cfg!(target_os = "linux") {
            let memory = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
            assert!(memory.unwrap().parse::<u64>().unwrap() > 100_000, "{text}");
        }
    }

    #[test]
    fn resident_memory_is_read_from_kilobytes() {
        assert_eq!(resident_bytes_of("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes_of("Name:\tx\n"), None);
        assert_eq!(resident_bytes_of("VmRSS:\t18446744073709551615 kB\n"), None);
    }
}
