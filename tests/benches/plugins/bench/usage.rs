//! What this process has used, as Linux counts it.

use std::fs;

/// CPU time of all threads so far, in seconds. In nanoseconds in `/proc`, where the times of whole processes are in
/// hundredths of a second.
pub(crate) fn cpu_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    // A thread may end meanwhile; those that work do not.
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    let nanoseconds = stats.map(|stat| stat.split_whitespace().next().unwrap().parse::<u64>().unwrap());
    nanoseconds.sum::<u64>() as f64 / 1e9
}

/// Memory of this process now, in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Everything that is resident, pages that are shared counted wherever they are.
    pub(crate) resident: f64,
    /// The same with each shared page counted once.
    pub(crate) own: f64,
}

impl Memory {
    pub(crate) fn now() -> Self {
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
        };
        Self { resident: field("Rss:"), own: field("Pss:") }
    }
}
