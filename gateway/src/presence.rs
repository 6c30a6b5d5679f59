//! When runners were last alive, written down now and then so that it outlives a restart.

use crate::model::RunnerId;
use tokio::sync::mpsc;

/// Runners that may wait to be written down. More are dropped: the next sign of life comes soon.
const WAITING: usize = 1_024;

/// Where signs of life go. The store's side reads them.
#[derive(Debug, Clone)]
pub struct Presence(mpsc::Sender<RunnerId>);

impl Presence {
    /// The two ends.
    pub fn channel() -> (Self, mpsc::Receiver<RunnerId>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Notes that `runner` is alive now.
    pub(crate) fn seen(&self, runner: RunnerId) {
        // A full queue means that the store is busy; this sign of life is not worth waiting for.
        let _busy = self.0.try_send(runner);
    }
}
