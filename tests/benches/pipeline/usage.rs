//! What a process has used, as Linux counts it.

use std::fs;

/// Clock ticks a second in `/proc`; Linux fixes this for all its user-visible times.
const TICKS: f64 = 100.0;
const KIB_PER_MIB: f64 = 1024.0;

/// CPU time of a process so far, in seconds, its threads together.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may hold spaces, so fields count from behind its closing bracket: the first of them is field 3.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) / TICKS
}

/// Resident memory now, in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// The most memory that was resident since [`forget_peak`], in MiB.
pub(crate) fn peak_mib(pid: u32) -> f64 {
    status(pid, "VmHWM:")
}

/// Lets the peak begin anew from what is resident now.
pub(crate) fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

fn status(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / KIB_PER_MIB
}
