//! An instance in the hands of one job, from the pool and back.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::ask::{Answer, Ask, Failed};
use crate::call::{CallState, Ended};
use crate::error::PluginFailure;
use crate::pool::Pool;

/// At most the question under way, one after it and the release.
const QUEUE: usize = 4;

/// An instance that works for one job. Dropping it cancels what the job has under way and gives the instance back.
pub(crate) struct Lease {
    call: CallState,
    home: Weak<Pool>,
    /// Both until it is dropped.
    held: Option<(Handle, OwnedSemaphorePermit)>,
    /// Whether a query may be under way in the instance.
    has_cursor: AtomicBool,
    /// Whether the instance is connected and not at work.
    at_rest: AtomicBool,
}

impl Lease {
    /// An instance that has been idle.
    pub(crate) fn new(
        call: CallState,
        home: Weak<Pool>,
        handle: Handle,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let held = Some((handle, place));
        Self { call, home, held, has_cursor: AtomicBool::new(false), at_rest: AtomicBool::new(true) }
    }

    /// Asks, and waits for the answer until the job is over. The job is over, too, when this future is dropped.
    pub(crate) async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, Failed> {
        let asked = self.begin(ask)?;
        self.finish(asked).await
    }

    /// Asks and does not wait: the instance works meanwhile. One question at a time; when the lease is dropped, nobody
    /// wants the answer any more.
    pub(crate) fn begin<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<Underway<T>, Failed> {
        let (answer, answered) = oneshot::channel();
        let (handle, _) = self.held.as_ref().ok_or_else(gone)?;
        if self.call.is_cancelled() {
            return Err(Failed::Over(Ended::Cancelled));
        }
        let ask = ask(answer);
        let connects = matches!(ask, Ask::Connect { .. });
        let ends_the_cursor = matches!(ask, Ask::Tail { .. });
        self.has_cursor.fetch_or(matches!(ask, Ask::Open { .. }), SeqCst);
        self.at_rest.store(false, SeqCst);
        let message = Box::new(Message::Ask(self.call.clone(), ask));
        handle.messages.try_send(message).map_err(|_| gone())?;
        Ok(Underway { answered, connects, ends_the_cursor })
    }

    /// Waits for the answer as [`ask`](Self::ask) does.
    pub(crate) async fn finish<T>(&self, asked: Underway<T>) -> Result<T, Failed> {
        let Underway { answered, connects, ends_the_cursor } = asked;
        let abandoned = Abandoned(Some(&self.call));
        match self.call.bounded(answered).await {
            Ok(Ok(result)) => {
                abandoned.no();
                let at_rest = match &result {
                    Ok(_) => true,
                    Err(Failed::Said(error)) => !error.connection_lost && !connects,
                    Err(Failed::Mistaken(_) | Failed::Broke(_) | Failed::Over(_)) => false,
                };
                self.at_rest.store(at_rest, SeqCst);
                self.has_cursor.fetch_and(!(ends_the_cursor && result.is_ok()), SeqCst);
                result
            }
            Ok(Err(_)) => Err(gone()),
            Err(ended) => Err(Failed::Over(ended)),
        }
    }

    /// Lets another thread run the instance that was just asked, if one has nothing to do, while this one goes on with its
    /// job. Without that it would have to wait: who was woken last runs next on the thread that woke it, and no other
    /// thread takes it from there until somebody else is woken.
    pub(crate) fn let_others_run_it(&self) {
        if let Some(home) = self.home.upgrade() {
            home.wake_somebody_else();
        }
    }

    pub(crate) fn call(&self) -> &CallState {
        &self.call
    }
}

/// A question under way.
pub(crate) struct Underway<T> {
    answered: oneshot::Receiver<Result<T, Failed>>,
    connects: bool,
    ends_the_cursor: bool,
}

fn gone() -> Failed {
    Failed::Broke(PluginFailure::Ended)
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.call.cancel();
        let Some((handle, place)) = self.held.take() else { return };
        if self.at_rest.load(SeqCst) && !self.has_cursor.load(SeqCst) {
            if let Some(home) = self.home.upgrade() {
                home.take_back(handle, place);
            }
            return;
        }
        let messages = handle.messages.clone();
        // An instance that has ended takes nothing back; handle and place are dropped with the message.
        let _gone = messages.try_send(Box::new(Message::Release(handle, place)));
    }
}

/// What is sent to an instance.
pub(crate) enum Message {
    Ask(CallState, Ask),
    /// The job is over: the instance goes back to its pool.
    Release(Handle, OwnedSemaphorePermit),
}

/// How an instance is reached. When the last handle is gone, the instance says goodbye to its database and ends.
pub(crate) struct Handle {
    pub(crate) id: usize,
    /// Boxed, because a channel keeps room for dozens.
    messages: mpsc::Sender<Box<Message>>,
}

impl Handle {
    /// A handle of the instance that listens at the other end.
    pub(crate) fn new(id: usize) -> (Self, mpsc::Receiver<Box<Message>>) {
        let (messages, listener) = mpsc::channel(QUEUE);
        (Self { id, messages }, listener)
    }

    /// Whether the instance has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.messages.is_closed()
    }
}

/// Cancels a job whose caller does not wait for the answer.
struct Abandoned<'a>(Option<&'a CallState>);

impl Abandoned<'_> {
    fn no(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.0 {
            call.cancel();
        }
    }
}
