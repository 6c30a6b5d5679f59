//! The instances of one source, and the seats that all sources of a plugin share.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bridge_core::Call;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ask::{Ask, Failed};
use crate::call::{CallState, Ended};
use crate::guest::Blueprint;
use crate::instance::{Birth, Instance};
use crate::lease::{Handle, Lease};
use crate::settings::Settings;
use crate::stats::Stats;

/// The instances of a source. A job takes one and gives it back.
pub(crate) struct Pool {
    blueprint: Arc<Blueprint>,
    settings: Settings,
    crowd: Arc<Crowd>,
    most: usize,
    /// One place for each instance that a job has or waits for.
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Handle>>,
    next_id: AtomicUsize,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Pool {
    pub(crate) fn new(blueprint: Arc<Blueprint>, settings: Settings, crowd: Arc<Crowd>) -> Arc<Self> {
        let most = settings.pool_max.min(blueprint.limits.instances).max(1);
        let pool = Arc::new(Self {
            blueprint,
            settings,
            crowd,
            most,
            places: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
            next_id: AtomicUsize::new(0),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        pool.crowd.joined(&pool);
        pool
    }

    /// An instance for one job: an idle one, or a new one. Waits until there may be one more.
    pub(crate) async fn lease(self: &Arc<Self>, call: &Call) -> Result<Lease, Failed> {
        let call = CallState::below(call, &self.closing);
        let place = call.bounded(Arc::clone(&self.places).acquire_owned()).await.map_err(Failed::Over)?;
        let place = place.map_err(|_| Failed::Over(Ended::Cancelled))?;
        match self.idle_one() {
            Some(handle) => Ok(Lease::new(call, Arc::downgrade(self), handle, place)),
            None => self.start(call, place).await,
        }
    }

    /// Takes back what a job is done with, unless somebody else waits for its seat.
    pub(crate) fn take_back(&self, handle: Handle, place: OwnedSemaphorePermit) {
        let mut idle = lock(&self.idle);
        if !self.closing.is_cancelled() && !self.crowd.somebody_waits() {
            self.stats().idle.up(1);
            idle.push(handle);
        }
        drop(idle);
        // Only now: whoever waits for it shall find the instance.
        drop(place);
    }

    /// Lets go of an idle instance. False: it is not idle.
    pub(crate) fn forget(&self, id: usize) -> bool {
        let mut idle = lock(&self.idle);
        let found = idle.iter().position(|handle| handle.id == id);
        if let Some(at) = found {
            idle.remove(at);
            self.stats().idle.down(1);
        }
        found.is_some()
    }

    /// Instances that jobs have, idle ones, and how many there may be.
    pub(crate) fn in_use(&self) -> (usize, usize, usize) {
        let idle = lock(&self.idle).len();
        (self.tasks.len().saturating_sub(idle), idle, self.most)
    }

    /// Ends all jobs and all instances, and waits for it.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.clear();
        self.tasks.close();
        // A guest has its grace to unwind, and another to say goodbye.
        let grace = self.blueprint.limits.grace.saturating_mul(3);
        let _abandoned = tokio::time::timeout(grace, self.tasks.wait()).await;
    }

    async fn start(self: &Arc<Self>, call: CallState, place: OwnedSemaphorePermit) -> Result<Lease, Failed> {
        let seat = self.crowd.seat(&call).await.map_err(Failed::Over)?;
        let id = self.next_id.fetch_add(1, SeqCst);
        let home = Arc::downgrade(self);
        let birth = Birth {
            blueprint: Arc::clone(&self.blueprint),
            endpoints: self.settings.endpoints.clone(),
            secrets: self.settings.secrets.clone(),
            closing: self.closing.clone(),
        };
        let (instance, handle) = Instance::new(id, birth, Weak::clone(&home), seat);
        self.tasks.spawn(instance.live(call.clone()));
        let lease = Lease::new(call, home, handle, place);
        let config = self.settings.config().clone();
        lease.ask(|answer| Ask::Connect { config, answer }).await?;
        Ok(lease)
    }

    fn idle_one(&self) -> Option<Handle> {
        let mut idle = lock(&self.idle);
        while let Some(handle) = idle.pop() {
            self.stats().idle.down(1);
            if !handle.is_gone() {
                return Some(handle);
            }
        }
        None
    }

    /// Drops the idle instances, which ends them.
    fn clear(&self) {
        while self.drop_one_idle() {}
    }

    /// Drops the instance that has been idle for longest. False: there is none.
    fn drop_one_idle(&self) -> bool {
        let mut idle = lock(&self.idle);
        if idle.is_empty() {
            return false;
        }
        let oldest = idle.remove(0);
        drop(idle);
        self.stats().idle.down(1);
        drop(oldest);
        true
    }

    fn stats(&self) -> &Stats {
        &self.blueprint.stats
    }
}

/// Jobs that still run have their instances to the end.
impl Drop for Pool {
    fn drop(&mut self) {
        self.clear();
    }
}

/// All instances of a plugin, over all its sources.
pub(crate) struct Crowd {
    seats: Arc<Semaphore>,
    waiting: AtomicUsize,
    pools: Mutex<Vec<Weak<Pool>>>,
    stats: Arc<Stats>,
}

/// What an instance takes up of its plugin's limit.
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    stats: Arc<Stats>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stats.instances.down(1);
    }
}

impl Crowd {
    pub(crate) fn new(instances: usize, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self {
            seats: Arc::new(Semaphore::new(instances.max(1))),
            waiting: AtomicUsize::new(0),
            pools: Mutex::default(),
            stats,
        })
    }

    fn joined(&self, pool: &Arc<Pool>) {
        let mut pools = lock(&self.pools);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn somebody_waits(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// A seat. When all are taken, an idle instance of another source gives up its own; else this waits.
    async fn seat(&self, call: &CallState) -> Result<Seat, Ended> {
        let permit = match Arc::clone(&self.seats).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait(call).await?,
        };
        self.stats.instances.up(1);
        Ok(Seat { _permit: permit, stats: Arc::clone(&self.stats) })
    }

    async fn wait(&self, call: &CallState) -> Result<OwnedSemaphorePermit, Ended> {
        let _waiting = Waiting::new(&self.waiting);
        let pools: Vec<_> = lock(&self.pools).iter().filter_map(Weak::upgrade).collect();
        // One is enough: it is the only one that waits here, or the others have dropped theirs.
        let _dropped = pools.iter().any(|pool| pool.drop_one_idle());
        drop(pools);
        // The semaphore is never closed.
        call.bounded(Arc::clone(&self.seats).acquire_owned()).await?.map_err(|_| Ended::Cancelled)
    }
}

/// One who waits, as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
