//! The jobs under way, for operators and for the sweeper.
//!
//! A job is pending until a runner is chosen, claimed until its frame is on that runner's socket, and running until it
//! ends. Each step is one compare-and-set, so that two of them cannot both have a job.
//!
//! What a job was asked with is looked at again whenever keys or capabilities change: a job that would not be let through any
//! more is ended. A job is on the list before it is let through, so that none falls between the two.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::CLAIM_TIMEOUT_MS;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use uuid::Uuid;

use crate::capability::{Capability, CapabilitySet};
use crate::link::{Inbox, Link};
use crate::model::{KeyId, RunnerId};

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum JobState {
    /// No runner has it.
    Pending = 0,
    /// A runner was chosen; its frame is not on the wire yet.
    Claimed = 1,
    /// A runner has it.
    Running = 2,
}

/// What a job does.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Asks a source.
    Query {
        /// Its kind on the wire.
        kind: &'static str,
        /// Name of the source.
        source: String,
    },
    /// Runs a command.
    Shell {
        /// The only runner that may have it.
        runner: RunnerId,
        /// The command as one line, cut.
        command: String,
        /// The container's image, in a sandbox.
        image: Option<String>,
    },
}

impl Work {
    /// What shell jobs are called in lists.
    pub(crate) const SHELL: &'static str = "shell";

    /// The word in lists.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Query { kind, .. } => kind,
            Self::Shell { .. } => Self::SHELL,
        }
    }
}

/// Why a job is ended by somebody else than its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An operator has ended this one.
    Operator,
    /// The key that it was asked with was revoked.
    KeyRevoked,
    /// Operators have taken from the runner what the job needs.
    Forbidden(Capability),
}

impl Ending {
    /// The rule by which callers and the audit log tell them apart; an operator needs none.
    pub(crate) fn rule(self) -> Option<String> {
        match self {
            Self::Operator => None,
            Self::KeyRevoked => Some("key.revoked".to_owned()),
            Self::Forbidden(capability) => Some(format!("capability.{capability}")),
        }
    }

    /// What the caller is told. `what` is the job in the caller's word.
    pub(crate) fn message(self, what: &str) -> String {
        match self {
            Self::Operator => format!("an operator has ended the {what}"),
            Self::KeyRevoked => format!("the {what} was ended: its API key was revoked"),
            Self::Forbidden(capability) => {
                format!(
                    "the {what} was ended: the runner's capabilities here do not contain {capability} any more"
                )
            }
        }
    }
}

/// A job under way.
#[derive(Debug)]
pub(crate) struct LiveJob {
    pub(crate) id: Uuid,
    pub(crate) work: Work,
    /// The key that it was asked with; none where an operator asks.
    pub(crate) key: Option<KeyId>,
    /// What the runner must be allowed to do for it, once that is known.
    needs: Mutex<CapabilitySet>,
    pub(crate) started: Instant,
    pub(crate) started_ms: i64,
    state: AtomicU8,
    /// Milliseconds after `started` at which the claim was made.
    claimed_after: AtomicU64,
    runner: Mutex<Option<String>>,
    /// The connection that has its frame.
    holder: Mutex<Option<(Arc<Link>, Arc<Inbox>)>>,
    ending: Mutex<Option<Ending>>,
    cancelled: CancellationToken,
    /// Rung when the sweeper has taken a claim back.
    pub(crate) reverted: Notify,
}

impl LiveJob {
    pub(crate) fn state(&self) -> JobState {
        match self.state.load(Ordering::Acquire) {
            0 => JobState::Pending,
            1 => JobState::Claimed,
            _ => JobState::Running,
        }
    }

    /// Pending to claimed, by this runner. False when something else has the job.
    pub(crate) fn claim(&self, runner: &str) -> bool {
        // Noted first: the sweeper must not see a new claim with an old time.
        self.claimed_after.store(millis(self.started.elapsed()), Ordering::Release);
        let claimed = self.step(JobState::Pending, JobState::Claimed);
        if claimed {
            *self.runner.lock().unwrap_or_else(PoisonError::into_inner) = Some(runner.to_owned());
        }
        claimed
    }

    /// Claimed to running.
    pub(crate) fn dispatched(&self) -> bool {
        self.step(JobState::Claimed, JobState::Running)
    }

    /// Back to pending, because the runner did not take it or was lost before a row had left.
    pub(crate) fn give_back(&self) {
        self.state.store(JobState::Pending as u8, Ordering::Release);
        *self.runner.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes which connection has it, so that an operator can end it there.
    pub(crate) fn held_by(&self, link: &Arc<Link>, inbox: &Arc<Inbox>) {
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Arc::clone(link), Arc::clone(inbox)));
        // Cancelled before anybody had it: nobody has told the runner.
        if self.cancelled.is_cancelled() {
            link.stop(inbox);
        }
    }

    /// Ends the job: its runner is told at once, even when its caller takes nothing at the moment. The first reason counts,
    /// unless a later one shuts the caller out.
    pub(crate) fn end(&self, why: Ending) {
        let before = {
            let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
            let before = *ending;
            if before.is_none() || why == Ending::KeyRevoked {
                *ending = Some(why);
            }
            before
        };
        if before.is_some() {
            return;
        }
        self.cancelled.cancel();
        let holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((link, inbox)) = holder {
            link.stop(&inbox);
        }
    }

    /// Why the job is being ended, if it is.
    pub(crate) fn ending(&self) -> Option<Ending> {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the runner must be allowed to do from now on.
    pub(crate) fn require(&self, needs: CapabilitySet) {
        *self.needs.lock().unwrap_or_else(PoisonError::into_inner) = needs;
    }

    /// What the runner must be allowed to do for it.
    pub(crate) fn needs(&self) -> CapabilitySet {
        *self.needs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody else than its caller ends the job.
    pub(crate) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.cancelled.cancelled()
    }

    /// The runner that has it.
    pub(crate) fn runner(&self) -> Option<String> {
        self.runner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The id of that runner; of a shell job also before it has it.
    pub(crate) fn runner_id(&self) -> Option<RunnerId> {
        if let Work::Shell { runner, .. } = &self.work {
            return Some(*runner);
        }
        let holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        holder.as_ref().map(|(link, _)| link.runner)
    }

    fn step(&self, from: JobState, to: JobState) -> bool {
        self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes back a claim that was never dispatched.
    fn revert(&self, limit: Duration) -> bool {
        let age = millis(self.started.elapsed()).saturating_sub(self.claimed_after.load(Ordering::Acquire));
        if age < millis(limit) || !self.step(JobState::Claimed, JobState::Pending) {
            return false;
        }
        self.reverted.notify_one();
        true
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// All jobs under way.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    live: Mutex<HashMap<Uuid, Arc<LiveJob>>>,
}

impl Jobs {
    /// Notes a new job, asked with this key; it is on the list until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, work: Work, key: Option<KeyId>) -> JobGuard {
        let job = Arc::new(LiveJob {
            id: Uuid::now_v7(),
            work,
            key,
            needs: Mutex::new(CapabilitySet::NONE),
            started: Instant::now(),
            started_ms: jiff::Timestamp::now().as_millisecond(),
            state: AtomicU8::new(JobState::Pending as u8),
            claimed_after: AtomicU64::new(0),
            runner: Mutex::default(),
            holder: Mutex::default(),
            ending: Mutex::default(),
            cancelled: CancellationToken::new(),
            reverted: Notify::new(),
        });
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(job.id, Arc::clone(&job));
        JobGuard { jobs: Arc::clone(self), job }
    }

    /// Every job under way, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<LiveJob>> {
        let mut jobs: Vec<_> =
            self.live.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        jobs.sort_by_key(|job| job.id);
        jobs
    }

    /// The job of this id, while it is under way.
    pub(crate) fn find(&self, id: Uuid) -> Option<Arc<LiveJob>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// How many jobs no runner has yet.
    pub(crate) fn pending(&self) -> usize {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.values().filter(|job| job.state() != JobState::Running).count()
    }

    /// Takes back claims that were not dispatched in time. How many.
    pub(crate) fn sweep(&self) -> usize {
        let limit = Duration::from_millis(CLAIM_TIMEOUT_MS);
        self.list().into_iter().filter(|job| job.revert(limit)).count()
    }
}

/// Keeps a job on the list.
#[derive(Debug)]
pub(crate) struct JobGuard {
    jobs: Arc<Jobs>,
    job: Arc<LiveJob>,
}

impl std::ops::Deref for JobGuard {
    type Target = LiveJob;

    fn deref(&self) -> &LiveJob {
        &self.job
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        self.jobs.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> Work {
        Work::Query { kind: "query", source: "db".to_owned() }
    }

    #[test]
    fn only_one_of_two_claims_succeeds() {
        let jobs = Arc::new(Jobs::default());
        let job = jobs.begin(query(), None);
        assert!(job.claim("a"));
        assert!(!job.claim("b"));
        assert_eq!(job.runner().as_deref(), Some("a"));
        job.give_back();
        assert!(job.claim("b"));
    }

    #[test]
    fn a_claim_that_was_never_dispatched_goes_back() {
        let jobs = Arc::new(Jobs::default());
        let job = jobs.begin(query(), None);
        assert!(job.claim("a"));
        assert!(!job.revert(Duration::from_secs(30)));
        assert!(job.revert(Duration::ZERO));
        assert_eq!(job.state(), JobState::Pending);
    }

    #[test]
    fn a_dispatched_claim_does_not_go_back() {
        let jobs = Arc::new(Jobs::default());
        let job = jobs.begin(query(), None);
        assert!(job.claim("a") && job.dispatched());
        assert!(!job.revert(Duration::ZERO));
    }

    #[test]
    fn the_first_reason_counts_unless_a_later_one_shuts_the_caller_out() {
        let jobs = Arc::new(Jobs::default());
        let job = jobs.begin(query(), None);
        assert_eq!(job.ending(), None);
        for (why, then) in [
            (Ending::Forbidden(Capability::ExecFull), Ending::Forbidden(Capability::ExecFull)),
            (Ending::Operator, Ending::Forbidden(Capability::ExecFull)),
            (Ending::KeyRevoked, Ending::KeyRevoked),
            (Ending::Operator, Ending::KeyRevoked),
        ] {
            job.end(why);
            assert_eq!(job.ending(), Some(then));
        }
    }

    #[test]
    fn a_job_leaves_the_list_with_its_guard() {
        let jobs = Arc::new(Jobs::default());
        let job = jobs.begin(query(), None);
        assert_eq!((jobs.list().len(), jobs.pending()), (1, 1));
        drop(job);
        assert!(jobs.list().is_empty());
    }
}
