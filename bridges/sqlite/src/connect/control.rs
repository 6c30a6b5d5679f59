//! Ends a statement that runs in another thread.
//!
//! Two ways at once, because each has a gap: SQLite's interrupt is seen within few steps but is forgotten between two
//! statements of one job; the progress handler asks every [`STEPS`] steps and forgets nothing, and it sees the deadline.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;

use crate::error::Failure;

/// Steps of SQLite's virtual machine between two looks at the clock: some 20 microseconds.
pub(crate) const STEPS: i32 = 2_000;

/// Why work has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody waits for it any more.
    Cancelled,
    /// Its time is over.
    Deadline,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Deadline => "the deadline passed",
        })
    }
}

/// What the thread of a connection and whoever waits for it share.
pub(crate) struct Control {
    /// Deadlines are counted from here, so that they fit an atomic.
    epoch: Instant,
    deadline: AtomicU64,
    cancelled: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts jobs, so that a late cancel does not hit the next one.
    job: u64,
    running: bool,
    interrupt: Option<InterruptHandle>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            deadline: AtomicU64::new(u64::MAX),
            cancelled: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Notes how the connection that was just opened is interrupted.
    pub(crate) fn watch(&self, interrupt: InterruptHandle) {
        self.lock().interrupt = Some(interrupt);
    }

    /// A job begins; the answer is its number.
    pub(crate) fn begin(&self, deadline: Instant) -> u64 {
        let mut state = self.lock();
        state.job += 1;
        state.running = true;
        let micros = deadline.saturating_duration_since(self.epoch).as_micros();
        self.deadline.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.cancelled.store(false, Ordering::Relaxed);
        state.job
    }

    /// The job has ended: from here on nothing stops the connection until the next begins.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.running = false;
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Ends job number `job`, if it still runs.
    pub(crate) fn cancel(&self, job: u64) {
        self.cancel_if(|state| state.job == job);
    }

    /// Ends whatever runs.
    pub(crate) fn cancel_any(&self) {
        self.cancel_if(|_| true);
    }

    /// Why the running job has to end; nothing while it may go on.
    pub(crate) fn stop(&self) -> Option<Stop> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Some(Stop::Cancelled);
        }
        (self.remaining() == Duration::ZERO).then_some(Stop::Deadline)
    }

    /// Sleeps, but no longer than the job may go on.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Failure> {
        let state = self.lock();
        if self.stop().is_none() {
            let time = time.min(self.remaining());
            drop(self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner));
        }
        self.stop().map_or(Ok(()), |stop| Err(Failure::Stopped(stop)))
    }

    /// What is left of the running job's time.
    pub(crate) fn remaining(&self) -> Duration {
        let deadline = Duration::from_micros(self.deadline.load(Ordering::Relaxed));
        deadline.saturating_sub(self.epoch.elapsed())
    }

    fn cancel_if(&self, is_meant: impl FnOnce(&State) -> bool) {
        let state = self.lock();
        if !state.running || !is_meant(&state) {
            return;
        }
        self.cancelled.store(true, Ordering::Relaxed);
        // Under the lock, so that the job cannot end and hand its connection on in between.
        if let Some(interrupt) = &state.interrupt {
            interrupt.interrupt();
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
