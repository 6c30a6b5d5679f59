//! The task that owns an instance and its connection.
//!
//! One message after the other, because a guest does one thing at a time. A call whose job is over goes on until the guest
//! has unwound, so that its connection lives; a guest that does not unwind in time is dropped as it stands. Nobody waits
//! for either: an answer that nobody wants any more is thrown away.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use protocol::Secret;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::ask::{Answer, Ask, Failed};
use crate::call::CallState;
use crate::error::PluginFailure;
use crate::guest::{Blueprint, Guest, Said};
use crate::lease::{Handle, Message};
use crate::limits::IDLE;
use crate::network::Endpoint;
use crate::pool::{Pool, Seat};

/// What an instance of a source is made from.
pub(crate) struct Birth {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// What its log does not show.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) closing: CancellationToken,
}

/// An instance before its task runs.
pub(crate) struct Instance {
    id: usize,
    birth: Birth,
    /// Where it goes when a job is over.
    home: Weak<Pool>,
    /// What it takes up of the plugin's instances.
    seat: Seat,
    messages: mpsc::Receiver<Box<Message>>,
}

impl Instance {
    pub(crate) fn new(id: usize, birth: Birth, home: Weak<Pool>, seat: Seat) -> (Self, Handle) {
        let (handle, messages) = Handle::new(id);
        (Self { id, birth, home, seat, messages }, handle)
    }

    /// The instance's life, from its start to the end of its last connection. `call` is the job that it is started for.
    pub(crate) async fn live(self, call: CallState) {
        let Self { id, birth, home, seat, mut messages } = self;
        let Birth { blueprint, endpoints, secrets, closing } = birth;
        let grace = blueprint.limits.grace;
        // Somebody is there to be told when it does not start.
        let Some(first) = messages.recv().await else { return };
        let started = Guest::start(Arc::clone(&blueprint), endpoints, secrets, call.clone());
        let guest = match Box::pin(within(&call, grace, started)).await {
            Ok(guest) => guest,
            Err(failure) => {
                count(&blueprint, &failure);
                messages.close();
                let mut asked = Some(first);
                while let Some(message) = asked {
                    if let Message::Ask(_, ask) = *message {
                        ask.fail(failure.clone());
                    }
                    asked = messages.recv().await;
                }
                return;
            }
        };
        let first = Some(first);
        Alive { id, guest, blueprint, home, first, messages, closing, lost: false, released: None, seat }
            .serve()
            .await;
    }
}

/// An instance that has been started.
struct Alive {
    id: usize,
    guest: Guest,
    blueprint: Arc<Blueprint>,
    home: Weak<Pool>,
    /// What it was started for.
    first: Option<Box<Message>>,
    messages: mpsc::Receiver<Box<Message>>,
    /// The source is closed.
    closing: CancellationToken,
    /// Its connection is of no more use: it ends with its job.
    lost: bool,
    /// What its last job gave back, until its pool has it.
    released: Option<(Handle, OwnedSemaphorePermit)>,
    seat: Seat,
}

/// The instance cannot be called any more.
struct Broken;

impl Alive {
    async fn serve(mut self) {
        match self.serve_until_broken().await {
            // The guest is dropped as it stands.
            Err(Broken) => {}
            Ok(()) => {
                // Whether it could say goodbye does not matter to anybody.
                let _either_way = Box::pin(self.tidy(Farewell::Connection)).await;
            }
        }
        let Self { guest, mut messages, released, seat, .. } = self;
        messages.close();
        // Before its place in the pool is free: the next job's instance comes after this one, not beside it.
        drop(guest);
        drop(seat);
        drop(released);
        // A release that is on its way at this moment has a handle with it: left in the channel it would keep that open, and
        // its place in the pool taken, for ever.
        while messages.recv().await.is_some() {}
    }

    async fn serve_until_broken(&mut self) -> Result<(), Broken> {
        while let Some(message) = self.next().await {
            // Calls are boxed, too, so that an idle instance does not keep room for one.
            match *message {
                Message::Ask(call, ask) => Box::pin(self.answer(&call, ask)).await?,
                Message::Release(handle, place) => {
                    self.released = Some((handle, place));
                    Box::pin(self.tidy(Farewell::Cursor)).await?;
                    let Some(home) = self.home.upgrade() else { break };
                    if self.lost || !self.guest.is_connected() {
                        break;
                    }
                    if let Some((handle, place)) = self.released.take() {
                        home.take_back(handle, place);
                    }
                }
            }
        }
        Ok(())
    }

    /// The next message; nothing when nobody can ask any more, the source is closed, or the instance has been idle for
    /// long.
    async fn next(&mut self) -> Option<Box<Message>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let patient = tokio::time::timeout(IDLE, self.messages.recv());
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return None,
                message = patient => if let Ok(message) = message { return message },
            }
            // A job that takes its time with the rows that it has keeps its instance.
            if self.home.upgrade().is_some_and(|home| home.forget(self.id)) {
                return None;
            }
        }
    }

    async fn answer(&mut self, call: &CallState, ask: Ask) -> Result<(), Broken> {
        self.guest.works_for(call);
        let grace = self.blueprint.limits.grace;
        let guest = &mut self.guest;
        match ask {
            Ask::Connect { config, answer } => {
                let outcome = within(call, grace, connect(guest, config.expose())).await;
                // A connection that does not work is not for the next job either.
                self.lost |= !matches!(outcome, Ok(Ok(())));
                self.send(answer, outcome)
            }
            Ask::Test { answer } => {
                let outcome = within(call, grace, guest.test()).await;
                self.reply(answer, outcome)
            }
            Ask::ListTargets { answer } => {
                let outcome = within(call, grace, guest.list_targets()).await;
                self.reply(answer, outcome)
            }
            Ask::Introspect { target, answer } => {
                let outcome = within(call, grace, guest.introspect(&target)).await;
                self.reply(answer, outcome)
            }
            Ask::Count { target, filter, answer } => {
                let outcome = within(call, grace, guest.count(&target, filter.as_deref())).await;
                self.reply(answer, outcome)
            }
            Ask::Open { opening, target, options, answer } => {
                let outcome = within(call, grace, guest.open(opening, &target, &options)).await;
                self.reply(answer, outcome)
            }
            Ask::Next { rows, bytes, answer } => {
                let outcome = within(call, grace, guest.next(rows, bytes)).await;
                self.reply(answer, outcome)
            }
            Ask::Tail { answer } => {
                let outcome = within(call, grace, guest.tail()).await;
                self.reply(answer, outcome.map(Ok))
            }
        }
    }

    fn reply<T>(&mut self, answer: Answer<T>, outcome: Result<Said<T>, PluginFailure>) -> Result<(), Broken> {
        self.send(answer, outcome.map(|said| said.map_err(Failed::Said)))
    }

    fn send<T>(
        &mut self,
        answer: Answer<T>,
        outcome: Result<Result<T, Failed>, PluginFailure>,
    ) -> Result<(), Broken> {
        let (result, broken) = match outcome {
            Ok(result) => (result, Ok(())),
            Err(failure) => {
                count(&self.blueprint, &failure);
                (Err(Failed::Broke(failure)), Err(Broken))
            }
        };
        if let Err(Failed::Said(error)) = &result {
            self.lost |= error.connection_lost;
        }
        // Nobody waits for it when the job is over.
        let _unwanted = answer.send(result);
        broken
    }

    /// Lets the guest drop what it holds, with a time of its own.
    async fn tidy(&mut self, farewell: Farewell) -> Result<(), Broken> {
        let call = CallState::within(self.blueprint.limits.grace);
        self.guest.works_for(&call);
        let done = match farewell {
            Farewell::Cursor => within(&call, Duration::ZERO, self.guest.close_cursor()).await,
            Farewell::Connection => within(&call, Duration::ZERO, self.guest.disconnect()).await,
        };
        done.map_err(|failure| {
            count(&self.blueprint, &failure);
            Broken
        })
    }
}

/// What is dropped.
enum Farewell {
    Cursor,
    Connection,
}

/// Opens the connection and proves that it works.
async fn connect(guest: &mut Guest, config: &str) -> Result<Result<(), Failed>, PluginFailure> {
    let mistakes = guest.check_config(config).await?;
    if !mistakes.is_empty() {
        return Ok(Err(Failed::Mistaken(mistakes)));
    }
    let connected = match guest.connect(config).await? {
        Ok(()) => guest.test().await?,
        Err(error) => Err(error),
    };
    Ok(connected.map_err(Failed::Said))
}

/// Runs a call into a guest until it comes back, or until `grace` after its job is over.
pub(crate) async fn within<T>(
    call: &CallState,
    grace: Duration,
    work: impl Future<Output = Result<T, PluginFailure>>,
) -> Result<T, PluginFailure> {
    let killed = async {
        call.ended().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        done = work => done,
        () = killed => Err(PluginFailure::Unresponsive { grace }),
    }
}

fn count(blueprint: &Blueprint, failure: &PluginFailure) {
    blueprint.stats.failures.one();
    if matches!(failure, PluginFailure::Unresponsive { .. }) {
        blueprint.stats.killed.one();
    }
}
