//! Lends connections to jobs: no more than the source allows, waiting no longer than the job's deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use bridge_core::{BridgeError, Call};
use protocol::PoolUse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Control, Session};
use crate::config::Settings;

/// How long `close` waits for threads. Statements end at once; only a file system that hangs takes longer.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

type Task = Box<dyn FnOnce(&mut Session) + Send>;

/// The connections of one source.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<Settings>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Worker>>,
    /// Of every thread that was started, also of those that have ended.
    controls: Mutex<Vec<Weak<Control>>>,
    closed: AtomicBool,
    threads: watch::Sender<usize>,
}

/// A thread with its connection.
struct Worker {
    tasks: Sender<Task>,
    control: Arc<Control>,
}

/// A worker that is at work. Dropping it, in the worker's own thread, gives it back.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    worker: Option<Worker>,
    _permit: OwnedSemaphorePermit,
}

/// A job that was handed to a worker. Dropping it cancels the job, if it still runs.
pub(crate) struct Ticket {
    control: Arc<Control>,
    job: u64,
}

impl Pool {
    /// An empty pool; connections are made as jobs come.
    pub(crate) fn new(settings: Settings) -> Self {
        let permits = Arc::new(Semaphore::new(usize::try_from(settings.pool_max).unwrap_or(1)));
        let shared = Shared {
            settings: Arc::new(settings),
            permits,
            idle: Mutex::default(),
            controls: Mutex::default(),
            closed: AtomicBool::new(false),
            threads: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Hands `work` to a connection's thread. The work drops its lease when it needs the connection no more.
    pub(crate) async fn submit(
        &self,
        call: &Call,
        work: impl FnOnce(&mut Session, Lease) + Send + 'static,
    ) -> Result<Ticket, BridgeError> {
        let permit =
            timeout_at(Instant::from_std(call.deadline), self.shared.permits.clone().acquire_owned())
                .await
                .map_err(|_late| BridgeError::Timeout)?
                .map_err(|_closed| closed())?;
        let worker = self.shared.worker()?;
        let (tasks, control) = (worker.tasks.clone(), worker.control.clone());
        let ticket = Ticket { job: control.begin(call.deadline), control };
        let lease = Lease { shared: self.shared.clone(), worker: Some(worker), _permit: permit };
        tasks.send(Box::new(move |session| work(session, lease))).map_err(|_ended| thread_ended())?;
        Ok(ticket)
    }

    /// Runs `work` on a connection's thread and waits for its answer. The connection is free again before the answer is
    /// there.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&mut Session) -> Result<T, BridgeError> + Send + 'static,
    ) -> Result<T, BridgeError> {
        let (answer, answered) = oneshot::channel();
        let ticket = self
            .submit(call, move |session, lease| {
                let result = work(session);
                drop(lease);
                // Nobody waits any more when the send fails.
                drop(answer.send(result));
            })
            .await?;
        // A thread that hangs in the file system cannot be stopped, but nobody has to wait for it.
        let answered = timeout_at(Instant::from_std(call.deadline), answered).await;
        drop(ticket);
        answered.map_err(|_late| BridgeError::Timeout)?.unwrap_or_else(|_ended| Err(thread_ended()))
    }

    /// Connections now.
    pub(crate) fn usage(&self) -> PoolUse {
        let max = self.shared.settings.pool_max;
        let free = u32::try_from(self.shared.permits.available_permits()).unwrap_or(max);
        let idle = u32::try_from(self.shared.idle().len()).unwrap_or(max);
        PoolUse { in_use: max.saturating_sub(free), idle, max }
    }

    /// Ends every job and waits until every thread has closed its connection.
    pub(crate) async fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.permits.close();
        self.shared.idle().clear();
        for control in self.shared.controls().iter().filter_map(Weak::upgrade) {
            control.cancel_any();
        }
        let mut threads = self.shared.threads.subscribe();
        // A thread that still hangs after this ends whenever its file system lets it.
        drop(timeout(CLOSE_LIMIT, threads.wait_for(|count| *count == 0)).await);
    }
}

/// The answer to a job whose thread broke off.
pub(crate) fn thread_ended() -> BridgeError {
    BridgeError::Internal("a connection's thread ended in the middle of a job".to_owned())
}

fn closed() -> BridgeError {
    BridgeError::unreachable("the source has been closed")
}

impl Shared {
    fn worker(self: &Arc<Self>) -> Result<Worker, BridgeError> {
        let idle = self.idle().pop();
        idle.map_or_else(|| self.start(), Ok)
    }

    fn start(&self) -> Result<Worker, BridgeError> {
        let (tasks, inbox) = channel();
        let control = Arc::new(Control::new());
        let mut session = Session::new(self.settings.clone(), control.clone());
        let counted = Counted::new(self.threads.clone());
        let body = move || {
            serve(&inbox, &mut session);
            drop(session);
            drop(counted);
        };
        thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(body)
            .map_err(|error| BridgeError::Internal(format!("no thread for a connection: {error}")))?;
        let mut controls = self.controls();
        controls.retain(|control| control.strong_count() > 0);
        controls.push(Arc::downgrade(&control));
        Ok(Worker { tasks, control })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn controls(&self) -> MutexGuard<'_, Vec<Weak<Control>>> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(inbox: &Receiver<Task>, session: &mut Session) {
    while let Ok(task) = inbox.recv() {
        task(session);
    }
}

/// One more thread, until it is dropped.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(threads: watch::Sender<usize>) -> Self {
        threads.send_modify(|count| *count += 1);
        Self(threads)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else { return };
        worker.control.finish();
        let mut idle = self.shared.idle();
        // Looked at under the lock: `close` sets it before it clears the list.
        if !thread::panicking() && !self.shared.closed.load(Ordering::SeqCst) {
            idle.push(worker);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.control.cancel(self.job);
    }
}
