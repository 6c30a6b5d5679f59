//! HTTP connections that wait for their next request.
//!
//! Each is driven by a task of its own, so that a server that closes one is noticed at once. They belong to one instance:
//! nothing of one source's sessions reaches another's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Outgoing;
use super::connect::Target;
use super::tls::Choice;

/// Idle connections to one server.
const IDLE: usize = 4;
/// How long one may be idle.
const KEPT: Duration = Duration::from_secs(30);

/// What connections have in common that can stand for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) target: Target,
    /// How it is encrypted, for `https`.
    pub(super) tls: Option<Choice>,
}

/// A connection that takes requests.
pub(super) struct Link {
    pub(super) origin: Origin,
    pub(super) sender: SendRequest<Outgoing>,
}

/// The connections of an instance.
pub(crate) struct Pool {
    shelf: Arc<Mutex<Shelf>>,
    /// What drives connections and closes old ones.
    tasks: TaskTracker,
    gone: CancellationToken,
}

#[derive(Default)]
struct Shelf {
    /// The oldest first.
    idle: Vec<(Instant, Link)>,
    /// Whether somebody looks for old ones.
    swept: bool,
}

impl Pool {
    /// Everything ends when `gone` is cancelled.
    pub(super) fn new(gone: CancellationToken) -> Self {
        Self { shelf: Arc::default(), tasks: TaskTracker::new(), gone }
    }

    /// Runs something for a connection until it ends or the instance goes.
    pub(super) fn drive(&self, work: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        self.tasks.spawn(async move { gone.run_until_cancelled_owned(work).await });
    }

    /// The connection to an origin that was used last.
    pub(super) fn take(&self, origin: &Origin) -> Option<Link> {
        let mut shelf = lock(&self.shelf);
        shelf.drop_closed();
        let index = shelf.idle.iter().rposition(|(_, link)| link.origin == *origin)?;
        Some(shelf.idle.remove(index).1)
    }

    /// Keeps a connection whose last answer has been read.
    pub(super) fn keep(&self, link: Link) {
        if self.gone.is_cancelled() {
            return;
        }
        let mut shelf = lock(&self.shelf);
        shelf.drop_closed();
        let mut same = shelf.idle.iter().enumerate().filter(|(_, (_, idle))| idle.origin == link.origin);
        let (oldest, count) = (same.next().map(|(index, _)| index), same.count() + 1);
        if let Some(oldest) = oldest.filter(|_| count >= IDLE) {
            shelf.idle.remove(oldest);
        }
        shelf.idle.push((Instant::now(), link));
        if !std::mem::replace(&mut shelf.swept, true) {
            self.drive(sweep(Arc::clone(&self.shelf)));
        }
    }

    /// Makes room. False: there is no idle connection.
    pub(super) fn close_oldest(&self) -> bool {
        let mut shelf = lock(&self.shelf);
        if shelf.idle.is_empty() {
            return false;
        }
        shelf.idle.remove(0);
        true
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        let mut shelf = lock(&self.shelf);
        shelf.drop_closed();
        shelf.idle.len()
    }

    /// Tasks that run: one for each connection, and one while any is idle.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

impl Shelf {
    fn drop_closed(&mut self) {
        self.idle.retain(|(_, link)| !link.sender.is_closed());
    }
}

/// Closes what has been idle for too long, until nothing is idle.
async fn sweep(shelf: Arc<Mutex<Shelf>>) {
    while let Some(next) = close_old(&shelf) {
        sleep_until(next).await;
    }
}

/// When to look again; nothing when there is nothing left to look after.
fn close_old(shelf: &Mutex<Shelf>) -> Option<Instant> {
    let mut shelf = lock(shelf);
    shelf.drop_closed();
    let now = Instant::now();
    shelf.idle.retain(|(since, _)| now.saturating_duration_since(*since) < KEPT);
    let next = shelf.idle.first().and_then(|(since, _)| since.checked_add(KEPT));
    shelf.swept = next.is_some();
    next
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
