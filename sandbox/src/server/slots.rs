//! How many runs there are at a time, and who waits for one of them to end: first come, first served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for runs. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    places: Arc<Semaphore>,
    all: usize,
    waiting: Arc<AtomicUsize>,
    queue: usize,
}

/// A run's place; the next in line gets it when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _place: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// `all` places, and a queue for `queue` who wait.
    pub(crate) fn new(all: usize, queue: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(all)), all, waiting: Arc::default(), queue }
    }

    /// A place, after as long a wait as it takes. None when the queue is full.
    pub(crate) async fn take(&self) -> Option<Slot> {
        // A place that becomes free goes to who waits, so that nobody can jump the queue here.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(Slot { _place: Some(place) });
        }
        let _waiting = Waiting::join(&self.waiting, self.queue)?;
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Slot { _place: Some(place) })
    }

    /// A place for a run that goes on already, above the limit where there is none.
    pub(crate) fn take_anyway(&self) -> Slot {
        Slot { _place: Arc::clone(&self.places).try_acquire_owned().ok() }
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.all.saturating_sub(self.places.available_permits())
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place in the queue, given up when who waited goes away.
struct Waiting<'s>(&'s AtomicUsize);

impl<'s> Waiting<'s> {
    fn join(waiting: &'s AtomicUsize, most: usize) -> Option<Self> {
        let room = |count: usize| (count < most).then(|| count.saturating_add(1));
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_waits_gets_a_place_in_turn_and_who_leaves_makes_room() {
        let slots = Slots::new(1, 2);
        let running = slots.take().await.unwrap();
        let mut first = Box::pin(slots.take());
        let mut second = Box::pin(slots.take());
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert_eq!((slots.taken(), slots.waiting()), (1, 2));
        assert!(slots.take().await.is_none(), "the queue is full");
        drop(running);
        assert!(second.as_mut().now_or_never().is_none(), "the second one was served first");
        let _first = first.await.unwrap();
        drop(second);
        assert_eq!(slots.waiting(), 0);
        assert!(slots.take().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_run_that_goes_on_already_is_not_turned_away() {
        let slots = Slots::new(1, 0);
        let (_one, two) = (slots.take_anyway(), slots.take_anyway());
        assert!(slots.take().await.is_none());
        drop(two);
        assert!(slots.take().await.is_none(), "a place above the limit became one of the limit");
    }
}
