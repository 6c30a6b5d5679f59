//! Everything that runs was spawned here, so that nothing is forgotten at the end.
//!
//! Shutdown is a drain with a deadline: first no new work is taken ([`Drain::refusing`]), then running work may end by
//! itself for the grace period, then it is told to stop ([`Drain::stopping`]), and what still runs after
//! [`STOP_LIMIT`] is abandoned. Which of these it was is the result. Companions (a health server, the socket that
//! carries the last rows away) are not waited for in the grace period: they last as long as the work does and are
//! stopped after it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::panics;

/// How long work may take to end once it was told to stop.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The owner of all tasks of a daemon. Clones share the same tasks.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    work: TaskTracker,
    companions: TaskTracker,
    refuse: CancellationToken,
    stop: CancellationToken,
    panics: Arc<AtomicU64>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All work ended by itself.
    Clean,
    /// Some work had to be told to stop, and did.
    Stopped,
    /// Some work did not stop within [`STOP_LIMIT`] and dies with the process.
    Abandoned,
}

/// What a [`JoinHandle`] of a panicked task holds in place of the panic's own payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task} panicked")]
pub struct Panicked {
    /// The name that the task was spawned with.
    pub task: &'static str,
}

impl Drain {
    /// A drain without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a task that [`run`](Drain::run) waits for.
    ///
    /// A panic is logged with the task's name and place, without its text, and counted; the handle then answers a
    /// panic whose payload is [`Panicked`].
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.work.spawn(self.guard(name, future))
    }

    /// Runs `future` beside the work: it is told to stop by [`stopping`](Drain::stopping) when all work has ended, and
    /// is not waited for before that.
    pub fn spawn_companion<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.companions.spawn(self.guard(name, future))
    }

    /// Runs `work` on a thread that may block; [`run`](Drain::run) waits for it. Panics as with
    /// [`spawn`](Drain::spawn).
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let count = Arc::clone(&self.panics);
        self.work.spawn_blocking(move || {
            std::panic::catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|payload| replace_panic(name, &count, payload))
        })
    }

    /// Cancelled when no new work may be taken.
    pub fn refusing(&self) -> CancellationToken {
        self.refuse.clone()
    }

    /// Cancelled when running work must end.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Tasks that panicked so far.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Tasks that run now, companions not counted.
    pub fn running(&self) -> usize {
        self.work.len()
    }

    /// Drains: refuses new work, waits up to `grace` for running work (less when `again` completes, a second signal),
    /// then tells it to stop and waits up to [`STOP_LIMIT`].
    pub async fn run(self, grace: Duration, again: impl Future<Output = ()>) -> Drained {
        self.refuse.cancel();
        self.work.close();
        self.companions.close();
        let clean = tokio::select! {
            biased;
            () = self.work.wait() => true,
            () = again => false,
            () = tokio::time::sleep(grace) => false,
        };
        self.stop.cancel();
        let ended = async {
            self.work.wait().await;
            self.companions.wait().await;
        };
        match tokio::time::timeout(STOP_LIMIT, ended).await {
            Ok(()) if clean => Drained::Clean,
            Ok(()) => Drained::Stopped,
            Err(_) => Drained::Abandoned,
        }
    }

    fn guard<F: Future>(&self, name: &'static str, future: F) -> impl Future<Output = F::Output> + use<F> {
        let count = Arc::clone(&self.panics);
        async move {
            AssertUnwindSafe(future)
                .catch_unwind()
                .await
                .unwrap_or_else(|payload| replace_panic(name, &count, payload))
        }
    }
}

/// Goes on panicking, with a payload that is safe to print.
fn replace_panic(task: &'static str, count: &AtomicU64, payload: Box<dyn Any + Send>) -> ! {
    drop(payload);
    count.fetch_add(1, Ordering::Relaxed);
    let location = panics::take_location();
    tracing::error!(task, location, "task panicked");
    std::panic::resume_unwind(Box::new(Panicked { task }))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicBool;

    use tokio::time::{Instant, sleep};

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_the_grace_period_is_clean() {
        let drain = Drain::new();
        drain.spawn("work", sleep(GRACE / 2));
        assert_eq!(drain.running(), 1);
        assert_eq!(drain.run(GRACE, pending()).await, Drained::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_the_grace_period_is_told_to_stop() {
        let drain = Drain::new();
        let stopping = drain.stopping();
        drain.spawn("work", async move { stopping.cancelled().await });
        let started = Instant::now();
        assert_eq!(drain.run(GRACE, pending()).await, Drained::Stopped);
        assert_eq!(started.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_skips_the_grace_period() {
        let drain = Drain::new();
        let stopping = drain.stopping();
        drain.spawn("work", async move { stopping.cancelled().await });
        let started = Instant::now();
        assert_eq!(drain.run(GRACE, sleep(Duration::from_secs(1))).await, Drained::Stopped);
        assert_eq!(started.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ignores_both_requests_is_abandoned() {
        let drain = Drain::new();
        drain.spawn("stubborn", pending::<()>());
        let started = Instant::now();
        assert_eq!(drain.run(GRACE, pending()).await, Drained::Abandoned);
        assert_eq!(started.elapsed(), GRACE + STOP_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn new_work_is_refused_from_the_first_moment() {
        let drain = Drain::new();
        let refusing = drain.refusing();
        let stopping = drain.stopping();
        let seen = drain.spawn("watcher", async move {
            refusing.cancelled().await;
            stopping.is_cancelled()
        });
        assert_eq!(drain.run(GRACE, pending()).await, Drained::Clean);
        assert!(!seen.await.unwrap(), "stopping came before the grace period");
    }

    #[tokio::test(start_paused = true)]
    async fn a_companion_lasts_as_long_as_the_work_and_no_longer() {
        let drain = Drain::new();
        let companion_is_up = Arc::new(AtomicBool::new(true));
        let (stopping, up) = (drain.stopping(), Arc::clone(&companion_is_up));
        drain.spawn_companion("health", async move {
            stopping.cancelled().await;
            up.store(false, Ordering::SeqCst);
        });
        let up = Arc::clone(&companion_is_up);
        let work = drain.spawn("work", async move {
            sleep(GRACE / 2).await;
            up.load(Ordering::SeqCst)
        });
        assert_eq!(drain.run(GRACE, pending()).await, Drained::Clean);
        assert!(work.await.unwrap());
        assert!(!companion_is_up.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_its_text_is_not_in_the_join_error() {
        let drain = Drain::new();
        let failed = drain.spawn("job", async { panic!("password is hunter2") }).await.unwrap_err();
        assert!(!format!("{failed} {failed:?}").contains("hunter2"));
        let payload = failed.into_panic();
        assert_eq!(payload.downcast_ref::<Panicked>(), Some(&Panicked { task: "job" }));
        assert_eq!(drain.panics(), 1);
    }

    #[tokio::test]
    async fn a_panic_on_a_blocking_thread_is_treated_alike() {
        let drain = Drain::new();
        let failed = drain.spawn_blocking("file", || panic!("password is hunter2")).await.unwrap_err();
        assert!(!format!("{failed} {failed:?}").contains("hunter2"));
        assert_eq!(drain.panics(), 1);
        assert_eq!(drain.run(GRACE, pending()).await, Drained::Clean);
    }
}
