//! The instances of one source, and the seats that all sources of a plugin share.
//!
//! Who finds no seat waits in one queue, whatever its source. An instance that comes back goes on to the first of those who
//! wait when that is a job of the same source, and ends when it is not, so that its seat is free: no source keeps another
//! from its turn, and no instance is made anew for nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bridge_core::Call;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
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
    /// One for each instance.
    tasks: TaskTracker,
    /// Those that do nothing.
    nothings: TaskTracker,
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
            nothings: TaskTracker::new(),
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
        let ended = if self.closing.is_cancelled() { Some(handle) } else { self.crowd.pass_on(self, handle) };
        drop(ended);
        // Only now: whoever waits for it shall find the instance.
        drop(place);
    }

    fn keep(&self, handle: Handle) {
        let mut idle = lock(&self.idle);
        // Closing has said so before it takes the lock.
        if !self.closing.is_cancelled() {
            self.stats().idle.up(1);
            idle.push(handle);
        }
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

    /// See [`Lease::let_others_run_it`].
    pub(crate) fn wake_somebody_else(&self) {
        self.nothings.spawn(std::future::ready(()));
    }

    async fn start(self: &Arc<Self>, call: CallState, place: OwnedSemaphorePermit) -> Result<Lease, Failed> {
        let seat = match self.crowd.seat(self, &call).await.map_err(Failed::Over)? {
            Found::Seat(seat) => seat,
            Found::Instance(handle) => return Ok(Lease::new(call, Arc::downgrade(self), handle, place)),
        };
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

    /// The instance that was used last.
    fn idle_one(&self) -> Option<Handle> {
        self.take_idle(Vec::pop)
    }

    /// The instance that has been idle for longest.
    fn oldest_idle(&self) -> Option<Handle> {
        self.take_idle(|idle| (!idle.is_empty()).then(|| idle.remove(0)))
    }

    fn take_idle(&self, take: impl Fn(&mut Vec<Handle>) -> Option<Handle>) -> Option<Handle> {
        let mut idle = lock(&self.idle);
        while let Some(handle) = take(&mut idle) {
            self.stats().idle.down(1);
            if !handle.is_gone() {
                return Some(handle);
            }
        }
        None
    }

    /// Drops the idle instances, which ends them.
    fn clear(&self) {
        while let Some(handle) = self.oldest_idle() {
            drop(handle);
        }
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
    queue: Mutex<Queue>,
    pools: Mutex<Vec<Weak<Pool>>>,
    stats: Arc<Stats>,
}

/// Those who wait for a seat.
#[derive(Default)]
struct Queue {
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
    /// How many of them, from the first on, get the seats of instances that are ending.
    served: usize,
    next_ticket: usize,
}

struct Waiting {
    ticket: usize,
    pool: Weak<Pool>,
    /// Takes an instance of its own source in place of a seat.
    offer: oneshot::Sender<Handle>,
}

/// What an instance takes up of its plugin's limit.
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    stats: Arc<Stats>,
}

/// What a job that waits for a seat gets.
enum Found {
    Seat(Seat),
    /// An instance of its source.
    Instance(Handle),
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
            queue: Mutex::default(),
            pools: Mutex::default(),
            stats,
        })
    }

    fn joined(&self, pool: &Arc<Pool>) {
        let mut pools = lock(&self.pools);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// An instance that a job is done with goes to whoever waits next, or to its pool. It comes back when it has to end.
    fn pass_on(&self, pool: &Pool, handle: Handle) -> Option<Handle> {
        if handle.is_gone() {
            return Some(handle);
        }
        let mut queue = lock(&self.queue);
        let mut handle = handle;
        while let Some(next) = queue.first_unserved() {
            if !std::ptr::eq(next.pool.as_ptr(), pool) {
                queue.served = queue.served.saturating_add(1);
                return Some(handle);
            }
            let served = queue.served;
            let Some(next) = queue.waiting.remove(served) else { break };
            match next.offer.send(handle) {
                Ok(()) => return None,
                // It has just given up.
                Err(returned) => handle = returned,
            }
        }
        pool.keep(handle);
        None
    }

    /// A seat. When all are taken, an idle instance of another source gives up its own; else this waits, for a seat or for
    /// an instance of this source.
    async fn seat(&self, pool: &Arc<Pool>, call: &CallState) -> Result<Found, Ended> {
        match Arc::clone(&self.seats).try_acquire_owned() {
            Ok(permit) => Ok(Found::Seat(self.taken(permit))),
            Err(_) => self.wait(pool, call).await,
        }
    }

    fn taken(&self, permit: OwnedSemaphorePermit) -> Seat {
        self.stats.instances.up(1);
        Seat { _permit: permit, stats: Arc::clone(&self.stats) }
    }

    async fn wait(&self, pool: &Arc<Pool>, call: &CallState) -> Result<Found, Ended> {
        let mut place = match self.queue_up(pool) {
            Queued::Instance(handle) => return Ok(Found::Instance(handle)),
            Queued::Place(place) => place,
        };
        let seats = Arc::clone(&self.seats);
        let found = tokio::select! {
            biased;
            // The sender is dropped with the place alone.
            Ok(handle) = &mut place.offered => return Ok(Found::Instance(handle)),
            permit = call.bounded(seats.acquire_owned()) => permit?,
        };
        // The semaphore is never closed.
        let seat = self.taken(found.map_err(|_| Ended::Cancelled)?);
        // An instance that was offered at the same moment is for the next.
        if let Some(handle) = place.leave() {
            drop(self.pass_on(pool, handle));
        }
        Ok(Found::Seat(seat))
    }

    /// Takes a place in the queue, unless there is an instance of this source after all.
    fn queue_up<'a>(&'a self, pool: &Arc<Pool>) -> Queued<'a> {
        let pools: Vec<_> = lock(&self.pools).iter().filter_map(Weak::upgrade).collect();
        let mut queue = lock(&self.queue);
        if let Some(handle) = pool.idle_one() {
            return Queued::Instance(handle);
        }
        let (offer, offered) = oneshot::channel();
        let ticket = queue.next_ticket;
        queue.next_ticket = ticket.wrapping_add(1);
        queue.waiting.push_back(Waiting { ticket, pool: Arc::downgrade(pool), offer });
        let ended = pools.iter().find_map(|pool| pool.oldest_idle());
        if ended.is_some() {
            queue.served = queue.served.saturating_add(1);
        }
        drop(queue);
        drop(ended);
        Queued::Place(Place { crowd: self, ticket, offered })
    }
}

impl Queue {
    fn first_unserved(&self) -> Option<&Waiting> {
        self.waiting.get(self.served)
    }

    fn remove(&mut self, ticket: usize) -> bool {
        let found = self.waiting.iter().position(|waiting| waiting.ticket == ticket);
        found.and_then(|at| self.waiting.remove(at)).is_some()
    }
}

enum Queued<'a> {
    Instance(Handle),
    Place(Place<'a>),
}

/// A place in the queue, as long as it is kept.
struct Place<'a> {
    crowd: &'a Crowd,
    ticket: usize,
    offered: oneshot::Receiver<Handle>,
}

impl Place<'_> {
    /// Leaves the queue with a seat. Answers the instance that was offered meanwhile.
    fn leave(mut self) -> Option<Handle> {
        let mut queue = lock(&self.crowd.queue);
        queue.remove(self.ticket);
        // A seat that has come is one of those that were on their way, or there is one more than was thought.
        queue.served = queue.served.saturating_sub(1);
        drop(queue);
        self.offered.try_recv().ok()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.crowd.queue);
        queue.remove(self.ticket);
        queue.served = queue.served.min(queue.waiting.len());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
