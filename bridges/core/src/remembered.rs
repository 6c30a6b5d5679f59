//! What a source has said of its targets, kept for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::BridgeError;

/// How long a target is believed to be what it was. A failure that a change explains forgets it at once.
const BELIEVED: Duration = Duration::from_secs(60);
/// Targets that are kept; more than a request can make us keep.
const MOST: usize = 1_024;

/// Targets as they were when last looked at.
#[derive(Debug)]
pub struct Remembered<T> {
    /// What the database answers to a statement about a target that is not that any more: its own codes.
    stale: &'static [&'static str],
    targets: Mutex<HashMap<String, (Instant, Arc<T>)>>,
}

impl<T> Remembered<T> {
    /// Nothing yet. `stale` are the codes of the database ([`BridgeError::Query::native`]) that a change of a target
    /// explains.
    pub fn new(stale: &'static [&'static str]) -> Self {
        Self { stale, targets: Mutex::default() }
    }

    /// The target, when it was looked at not long ago.
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        let targets = self.lock();
        let (seen, target) = targets.get(name)?;
        (seen.elapsed() < BELIEVED).then(|| Arc::clone(target))
    }

    /// Keeps a target that was just looked at.
    pub fn keep(&self, name: &str, target: T) -> Arc<T> {
        let target = Arc::new(target);
        let mut targets = self.lock();
        if targets.len() >= MOST {
            targets.clear();
        }
        targets.insert(name.to_owned(), (Instant::now(), Arc::clone(&target)));
        target
    }

    /// Forgets a target that may have changed.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Runs `attempt`, a job over these targets. A failure that a change of one explains is tried once more, with the
    /// targets as they are now.
    pub async fn with_current<R, F>(&self, names: &[&str], attempt: impl Fn() -> F) -> Result<R, BridgeError>
    where
        F: Future<Output = Result<R, BridgeError>>,
    {
        let remembered = names.iter().any(|name| self.get(name).is_some());
        match attempt().await {
            Err(error) if remembered && self.may_be_stale(&error) => {
                names.iter().for_each(|name| self.forget(name));
                attempt().await
            }
            decided => decided,
        }
    }

    /// Whether looking again may help: the database, or whoever has planned for it, has missed something in a target.
    fn may_be_stale(&self, error: &BridgeError) -> bool {
        let is_told = |code: &String| self.stale.contains(&code.as_str());
        matches!(error, BridgeError::Invalid(_))
            || matches!(error, BridgeError::Query { native: Some(code), .. } if is_told(code))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Arc<T>)>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Runs what never has to wait.
    fn now<R>(work: impl Future<Output = R>) -> R {
        match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("nothing here waits"),
        }
    }

    fn refused(code: &str) -> BridgeError {
        BridgeError::Query {
            message: "no such table".to_owned(),
            native: Some(code.to_owned()),
            source: None,
        }
    }

    /// How often a job over `t` is tried that fails like this.
    fn attempts(remembered: &Remembered<u8>, fail: impl Fn() -> BridgeError) -> u32 {
        let attempts = Cell::new(0);
        let attempt = || {
            attempts.set(attempts.get() + 1);
            std::future::ready(Err::<(), _>(fail()))
        };
        now(remembered.with_current(&["other", "t"], attempt)).unwrap_err();
        attempts.get()
    }

    #[test]
    fn a_failure_that_a_change_explains_is_tried_again_with_the_target_as_it_is_now() {
        let remembered = Remembered::new(&["42P01"]);
        for (fail, expected) in [
            ((|| refused("42P01")) as fn() -> BridgeError, 2),
            (|| protocol::Invalid::new("where.a", "a column").into(), 2),
            (|| refused("22012"), 1),
            (|| BridgeError::Timeout, 1),
        ] {
            remembered.keep("t", 1);
            assert_eq!(attempts(&remembered, fail), expected, "{}", fail());
            assert_eq!(remembered.get("t").is_none(), expected == 2, "{}", fail());
        }
    }

    #[test]
    fn what_was_looked_at_just_now_is_not_looked_at_again() {
        assert_eq!(attempts(&Remembered::new(&["42P01"]), || refused("42P01")), 1);
    }

    #[test]
    fn a_target_is_not_believed_for_ever() {
        let remembered = Remembered::new(&[]);
        remembered.keep("t", 1);
        assert_eq!(remembered.get("t").as_deref(), Some(&1));
        let long_ago = Instant::now().checked_sub(BELIEVED).unwrap();
        remembered.lock().get_mut("t").unwrap().0 = long_ago;
        assert_eq!(remembered.get("t"), None);
    }

    #[test]
    fn a_caller_who_names_ever_more_targets_fills_no_memory() {
        let remembered = Remembered::new(&[]);
        for name in 0..3 * MOST {
            remembered.keep(&name.to_string(), name);
            assert!(remembered.lock().len() <= MOST);
        }
        assert!(remembered.get(&(3 * MOST - 1).to_string()).is_some());
    }
}
