//! The job that is under way: how long it may take, and whether anybody still waits for it.

use std::time::{Duration, Instant};

use crate::Error;

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::semilayer::bridge::host as runner;

/// A pause is cut into pieces of this length, so that a cancelled job ends soon.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether the caller has gone. Return [`Error::cancelled`] then, soon: after a grace of two seconds the instance is
/// killed. Cheap enough for every thousand rows; everything in [`http`](crate::http) and [`net`](crate::net) ends by
/// itself.
pub fn is_cancelled() -> bool {
    runner::is_cancelled()
}

/// What is left of the job's time; nothing when it has no deadline.
pub fn remaining() -> Option<Duration> {
    runner::call().remaining_ms.map(Duration::from_millis)
}

/// When the job must have ended, if it must.
pub fn deadline() -> Option<Instant> {
    Instant::now().checked_add(remaining()?)
}

/// The largest row that is taken, in bytes of JSON.
pub fn row_limit() -> u64 {
    runner::call().row_limit
}

/// Waits.
///
/// # Errors
/// `cancelled` as soon as the job is, `timeout` at once when the wait is longer than what is left of the job's time.
pub fn pause(duration: Duration) -> Result<(), Error> {
    if remaining().is_some_and(|left| left <= duration) {
        return Err(Error::timeout());
    }
    let started = Instant::now();
    loop {
        if is_cancelled() {
            return Err(Error::cancelled());
        }
        match duration.saturating_sub(started.elapsed()) {
            Duration::ZERO => return Ok(()),
            left => std::thread::sleep(left.min(PAUSE)),
        }
    }
}

/// What stands for the runner in a plugin's native tests: a job without deadline, nobody who cancels it, and no log.
#[cfg(not(target_family = "wasm"))]
pub(crate) mod runner {
    pub(crate) use crate::bindings::semilayer::bridge::host::{CallInfo, Level};

    pub(crate) fn is_cancelled() -> bool {
        false
    }

    pub(crate) fn call() -> CallInfo {
        CallInfo { remaining_ms: None, cancelled: false, row_limit: 16 * 1024 * 1024 }
    }

    pub(crate) fn log_enabled(_level: Level) -> bool {
        false
    }

    pub(crate) fn log(_level: Level, _message: &str) {}
}
