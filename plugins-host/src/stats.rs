//! What a plugin has done so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A plugin in numbers, since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PluginStats {
    /// Instances now.
    pub instances: u64,
    /// Those of them that no job uses.
    pub idle: u64,
    /// Linear memory of all instances, in bytes, as of their last calls.
    pub memory_bytes: u64,
    /// Calls into the plugin.
    pub calls: u64,
    /// Instances that failed: they trapped, went beyond a limit or answered what is no answer.
    pub failures: u64,
    /// Instances that did not come to an end in time after their job was cancelled or late.
    pub killed: u64,
    /// Connections and requests to hosts that are not allowed.
    pub refused_connections: u64,
    /// Lines of the log that were left out.
    pub log_lines_left_out: u64,
}

/// The same while it changes. One for each plugin, shared by all its instances.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) instances: Gauge,
    pub(crate) idle: Gauge,
    pub(crate) memory_bytes: Gauge,
    pub(crate) calls: Counter,
    pub(crate) failures: Counter,
    pub(crate) killed: Counter,
    pub(crate) refused_connections: Counter,
    pub(crate) log_lines_left_out: Counter,
}

impl Stats {
    pub(crate) fn now(&self) -> PluginStats {
        PluginStats {
            instances: self.instances.get(),
            idle: self.idle.get(),
            memory_bytes: self.memory_bytes.get(),
            calls: self.calls.get(),
            failures: self.failures.get(),
            killed: self.killed.get(),
            refused_connections: self.refused_connections.get(),
            log_lines_left_out: self.log_lines_left_out.get(),
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn up(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    pub(crate) fn down(&self, by: u64) {
        self.0.fetch_sub(by, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
