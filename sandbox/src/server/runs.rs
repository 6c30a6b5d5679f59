//! Runs from their start to the moment when everything about them is put away.
//!
//! A run is live until its artifacts, its record and its lines are where the next process finds them; only then do those
//! who ask see its end, and its place goes to the next in line. A detached run that another process has started is taken
//! over as if this one had.

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::Drain;
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use super::artifacts::{Artifacts, Opened};
use super::book::{Book, LINE_LIMIT};
use super::callbacks::Callbacks;
use super::disk;
use super::metrics::{Metrics, Now};
use super::order::Order;
use super::records::{Recipient, Record, Records};
use super::refusal::Refusal;
use super::room::{Held, Room};
use super::slots::{Slot, Slots};
use super::view::RunView;
use crate::{
    Execution, Extract, Lines, Outcome, Output, OutputStream, RunId, RunState, RunStatus, Sandbox,
    SandboxError, SandboxErrorCode,
};

/// Pieces of output that wait to become lines.
const PIECES: usize = 16;
/// How long the last pieces of output may take after the run has ended.
const LAST_PIECES: Duration = Duration::from_secs(5);
/// Seconds after which there may be room in the queue.
const RETRY_AFTER: u32 = 5;

/// All runs of this server. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Runs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sandbox: Sandbox,
    artifacts: Artifacts,
    records: Arc<Records>,
    callbacks: Callbacks,
    metrics: Arc<Metrics>,
    slots: Slots,
    room: Room,
    drain: Drain,
    live: Mutex<HashMap<RunId, Live>>,
    /// Something is left to [`adopt`](Runs::adopt).
    unfinished: Notify,
    /// Tells records of this process from those of earlier ones.
    server: Uuid,
}

/// What a server's runs are made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) sandbox: Sandbox,
    pub(crate) artifacts: Artifacts,
    pub(crate) records: Arc<Records>,
    pub(crate) callbacks: Callbacks,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) slots: Slots,
    pub(crate) room: Room,
    pub(crate) drain: Drain,
}

/// A run that has not been put away yet.
#[derive(Debug, Clone)]
struct Live {
    execution: Execution,
    book: Arc<Book>,
    /// Closed when it has been.
    over: watch::Receiver<()>,
}

/// A run's place among those that are live.
struct Entered {
    book: Arc<Book>,
    ended: watch::Sender<()>,
    over: watch::Receiver<()>,
}

/// A run that was just started.
#[derive(Debug)]
pub(crate) struct Started {
    execution: Execution,
    over: watch::Receiver<()>,
}

impl Started {
    /// Which.
    pub(crate) fn id(&self) -> &RunId {
        self.execution.id()
    }

    /// Waits until it has been put away. A caller who goes away before cancels it.
    pub(crate) async fn over(mut self) -> RunId {
        struct Abandon<'e>(Option<&'e Execution>);
        impl Drop for Abandon<'_> {
            fn drop(&mut self) {
                if let Some(execution) = self.0 {
                    tracing::info!(run = %execution.id(), "the caller is gone, the run is cancelled");
                    execution.cancel();
                }
            }
        }
        let mut abandon = Abandon(Some(&self.execution));
        // An error is the end: nobody ever sends.
        drop(self.over.changed().await);
        abandon.0 = None;
        drop(abandon);
        self.execution.id().clone()
    }
}

impl Runs {
    /// Runs of these parts.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { sandbox, artifacts, records, callbacks, metrics, slots, room, drain } = parts;
        let live = Mutex::default();
        let server = Uuid::new_v4();
        let unfinished = Notify::new();
        Self(Arc::new(Shared {
            sandbox,
            artifacts,
            records,
            callbacks,
            metrics,
            slots,
            room,
            drain,
            live,
            unfinished,
            server,
        }))
    }

    /// The containers' side.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }

    /// What a new order takes, which is nothing yet.
    pub(crate) fn room(&self) -> Held {
        self.0.room.nothing()
    }

    /// Refuses an order for which there is no room.
    pub(crate) fn full(&self) -> Refusal {
        self.0.metrics.refused();
        Refusal::Busy("queue_full", RETRY_AFTER)
    }

    /// Starts a run as soon as there is a place for it. Until then it holds what it takes.
    pub(crate) async fn start(&self, order: Order, held: Held) -> Result<Started, Refusal> {
        let refusing = self.0.drain.refusing();
        // Who waits when the server begins to stop is told at once, and may go elsewhere.
        let taken = refusing.run_until_cancelled(self.0.slots.take()).await;
        let slot = taken.ok_or_else(Refusal::draining)?.ok_or_else(|| self.full())?;
        if refusing.is_cancelled() {
            return Err(Refusal::draining());
        }
        let started = self.begin(order, slot);
        drop(held);
        started
    }

    fn begin(&self, order: Order, slot: Slot) -> Result<Started, Refusal> {
        let Order { mut request, extract, callback } = order;
        let detached = request.detached;
        let pending = (!extract.is_empty()).then(|| self.0.artifacts.pending());
        if let Some((_, to)) = &pending {
            request.extract = extract.into_iter().map(|from| Extract { from, to: to.clone() }).collect();
        }
        let (output, pieces) = mpsc::channel(PIECES);
        request.output = Some(output);
        let execution = self.0.sandbox.start(request)?;
        let mut record = Record::new(execution.id().clone(), self.0.server);
        record.detached = detached;
        record.pending = pending.map(|(name, _)| name);
        record.callback = callback.map(|callback| Recipient {
            url: callback.url.to_string(),
            secret: callback.secret,
            told: None,
        });
        // Before its record is there: a record whose run is not live is one to go on with.
        let entered = self.enter(&execution);
        if let Err(error) = self.0.records.put(&record) {
            self.0.live().remove(execution.id());
            execution.cancel();
            return Err(Refusal::internal(&error));
        }
        let over = self.follow(execution.clone(), record, pieces, slot, entered);
        Ok(Started { execution, over })
    }

    /// Makes a run live.
    fn enter(&self, execution: &Execution) -> Entered {
        let (ended, over) = watch::channel(());
        let book = Arc::new(Book::default());
        let live = Live { execution: execution.clone(), book: Arc::clone(&book), over: over.clone() };
        self.0.live().insert(execution.id().clone(), live);
        Entered { book, ended, over }
    }

    /// Sees a run through in a task of its own.
    fn follow(
        &self,
        execution: Execution,
        record: Record,
        pieces: mpsc::Receiver<Output>,
        slot: Slot,
        entered: Entered,
    ) -> watch::Receiver<()> {
        let Entered { book, ended, over } = entered;
        let (runs, detached) = (self.clone(), record.detached);
        let work = async move {
            runs.see_through(execution, record, pieces, &book).await;
            drop((slot, ended));
        };
        if detached {
            // It outlives this process: the next one takes it over.
            let stopping = self.0.drain.stopping();
            self.0.drain.spawn_companion("detached run", async move {
                stopping.run_until_cancelled(work).await;
            });
        } else {
            self.0.drain.spawn("followed run", work);
        }
        over
    }

    async fn see_through(
        &self,
        execution: Execution,
        mut record: Record,
        mut pieces: mpsc::Receiver<Output>,
        book: &Arc<Book>,
    ) {
        let outcome = self.written(&execution, &mut pieces, book).await;
        match outcome {
            Ok(outcome) => record.disk_exceeded = outcome.disk_exceeded,
            Err(error) if record.detached && self.goes_on(execution.id()).await => {
                tracing::warn!(run = %execution.id(), %error, "a detached run is out of sight, it is looked for again");
                book.end();
                self.0.live().remove(execution.id());
                self.0.unfinished.notify_one();
                return;
            }
            Err(error) => record.fail(error.code(), error.message()),
        }
        book.end();
        let (runs, book) = (self.clone(), Arc::clone(book));
        let settled = disk::blocking(move || runs.settle(record, Some(&book))).await.flatten();
        if let Err(error) = settled {
            tracing::error!(run = %execution.id(), %error, "cannot put away a run");
            self.0.unfinished.notify_one();
        }
        self.0.live().remove(execution.id());
        self.evict(execution.id()).await;
    }

    /// Makes lines of what a run writes until it is over, and keeps them as soon as there can be no more: the run's end is
    /// told, and its container's log gone, soon after that, also without us.
    async fn written(
        &self,
        execution: &Execution,
        pieces: &mut mpsc::Receiver<Output>,
        book: &Arc<Book>,
    ) -> Result<Outcome, Arc<SandboxError>> {
        let mut writer = Writer::new(book);
        let mut over = pin!(execution.outcome());
        let outcome = loop {
            tokio::select! {
                outcome = &mut over => {
                    let rest = async {
                        while let Some(piece) = pieces.recv().await {
                            writer.write(&piece);
                        }
                    };
                    let _late = tokio::time::timeout(LAST_PIECES, rest).await;
                    break Some(outcome);
                }
                piece = pieces.recv() => match piece {
                    Some(piece) => writer.write(&piece),
                    None => break None,
                },
            }
        };
        writer.finish();
        self.keep_lines(execution.id(), book).await;
        match outcome {
            Some(outcome) => outcome,
            None => over.await,
        }
    }

    /// One who goes on with a run whose container is gone has no lines; those that were kept before stay.
    async fn keep_lines(&self, id: &RunId, book: &Arc<Book>) {
        if book.is_empty() {
            return;
        }
        let (shared, of, book) = (Arc::clone(&self.0), id.clone(), Arc::clone(book));
        let kept = disk::blocking(move || shared.records.put_lines(&of, &book)).await.flatten();
        if let Err(error) = kept {
            tracing::error!(run = %id, %error, "cannot keep the lines of a run");
        }
    }

    /// Whether a run that was lost sight of has not ended, as far as anybody knows.
    async fn goes_on(&self, id: &RunId) -> bool {
        let (shared, id) = (Arc::clone(&self.0), id.clone());
        match disk::blocking(move || shared.state(&id)).await.flatten() {
            Ok(state) => state.is_some_and(|state| state.status == RunStatus::Running),
            Err(_) => true,
        }
    }

    /// Puts away a run that has ended.
    fn settle(&self, mut record: Record, book: Option<&Book>) -> io::Result<()> {
        let shared = &self.0;
        let id = record.id.clone();
        if let Some(pending) = record.pending.take() {
            record.leave(shared.artifacts.keep(&id, &pending)?);
        }
        record.settle();
        shared.records.put(&record)?;
        let Some(view) = shared.view(&id, false)? else { return Ok(()) };
        let duration = Duration::from_millis(view.duration_ms.unwrap_or_default());
        shared.metrics.ended(view.status, duration);
        tracing::info!(run = %id, status = view.status.as_str(), duration_ms = view.duration_ms, "run ended");
        self.tell(&record, view, book.filter(|book| !book.is_empty()))
    }

    /// Sends the callback of a run that has ended, if it has one that is not over.
    fn tell(&self, record: &Record, view: RunView, book: Option<&Book>) -> io::Result<()> {
        if !record.is_untold() {
            return Ok(());
        }
        self.0.callbacks.send(&record.id, || {
            let view = match book {
                Some(book) => view.with_lines(book),
                None => view.with_lines(&self.0.records.lines(&record.id)?),
            };
            Ok(serde_json::to_string(&view)?)
        })
    }

    /// Removes the oldest runs while there are more artifacts than there may be, and never the one that has just ended.
    async fn evict(&self, newest: &RunId) {
        let live: HashSet<RunId> = self.0.live().keys().cloned().collect();
        for id in self.0.artifacts.excess(|id| id == newest || live.contains(id)) {
            match self.forget(id.clone()).await {
                Ok(()) => {
                    self.0.metrics.evicted();
                    tracing::info!(run = %id, "run removed to make room for newer artifacts");
                }
                Err(error) => tracing::warn!(run = %id, %error, "cannot remove an old run"),
            }
        }
    }

    /// Completes when a run was left that [`adopt`](Self::adopt) may go on with.
    pub(crate) async fn unfinished(&self) {
        self.0.unfinished.notified().await;
    }

    /// Takes over detached runs that nobody here follows, puts away what has ended unseen or could not be put away, and
    /// forgets what belongs to no run any more. What this process follows is left alone. Not to be called twice at a time.
    pub(crate) async fn adopt(&self) -> io::Result<()> {
        let runs = self.clone();
        let (records, states) = disk::blocking(move || runs.known()).await??;
        let states: HashMap<RunId, RunState> =
            states.into_iter().map(|state| (state.id.clone(), state)).collect();
        for record in records {
            let has_ended = states.get(&record.id).is_some_and(|state| state.status != RunStatus::Running);
            if has_ended && record.settled.is_some() && !record.is_untold() {
                continue;
            }
            if let Err(error) = self.go_on(record.id.clone()).await {
                tracing::warn!(run = %record.id, %error, "cannot go on with a run");
                self.0.unfinished.notify_one();
            }
        }
        Ok(())
    }

    /// Goes on with a run that has a record, unless somebody does.
    async fn go_on(&self, id: RunId) -> io::Result<()> {
        if self.live_of(&id).is_some() {
            return Ok(());
        }
        // Read when nobody writes them any more: it may have been live until now.
        let (shared, of) = (Arc::clone(&self.0), id.clone());
        let known = disk::blocking(move || io::Result::Ok((shared.records.get(&of)?, shared.state(&of)?)));
        let (Some(record), state) = known.await.flatten()? else { return Ok(()) };
        match state.map(|state| (state.status, state.detached)) {
            None => self.forget_gone(id).await,
            Some((RunStatus::Running, true)) => self.take_over(record).await,
            // It ends with the process that waits for it, or is found dead by the next sweep.
            Some((RunStatus::Running, false)) => Ok(()),
            Some(_) => self.put_away(record).await,
        }
    }

    /// The records, and then the states: a run has its state before its record.
    fn known(&self) -> io::Result<(Vec<Record>, Vec<RunState>)> {
        let records = self.0.records.all()?;
        let states = self.0.sandbox.list().map_err(io::Error::other)?;
        Ok((records, states))
    }

    async fn take_over(&self, mut record: Record) -> io::Result<()> {
        let (output, pieces) = mpsc::channel(PIECES);
        let attached =
            self.0.sandbox.attach_with(&record.id, Some(output)).await.map_err(io::Error::other)?;
        let Some(execution) = attached else { return Ok(()) };
        tracing::info!(run = %record.id, "detached run found again");
        record.server = self.0.server;
        // What went wrong when it was last lost sight of.
        (record.error, record.error_code) = (None, None);
        self.0.records.put(&record)?;
        let entered = self.enter(&execution);
        drop(self.follow(execution, record, pieces, self.0.slots.take_anyway(), entered));
        Ok(())
    }

    /// Puts away a run that ended unseen. Where that was done, a callback may be left that was never begun.
    async fn put_away(&self, record: Record) -> io::Result<()> {
        let runs = self.clone();
        let work = move || {
            if record.settled.is_none() {
                return runs.settle(record, None);
            }
            match runs.0.view(&record.id, false)? {
                Some(view) => runs.tell(&record, view, None),
                None => Ok(()),
            }
        };
        disk::blocking(work).await.flatten()
    }

    /// Forgets a run that was not among the states: one that began since is there now.
    async fn forget_gone(&self, id: RunId) -> io::Result<()> {
        if self.live_of(&id).is_some() || self.0.state(&id)?.is_some() {
            return Ok(());
        }
        self.forget(id).await
    }

    async fn forget(&self, id: RunId) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        disk::blocking(move || shared.remove(&id)).await.flatten()
    }

    /// A run with what it has written.
    pub(crate) async fn view(&self, id: &RunId) -> Result<RunView, Refusal> {
        let live = self.live_of(id);
        let (shared, id) = (Arc::clone(&self.0), id.clone());
        read(move || {
            let Some(view) = shared.view(&id, live.is_some())? else { return Ok(None) };
            Ok(Some(match live {
                Some(live) => view.with_lines(&live.book),
                None => view.with_lines(&shared.records.lines(&id)?),
            }))
        })
        .await
    }

    /// A run without its lines.
    pub(crate) async fn brief(&self, id: &RunId) -> Result<RunView, Refusal> {
        let live = self.live_of(id).is_some();
        let (shared, id) = (Arc::clone(&self.0), id.clone());
        read(move || shared.view(&id, live)).await
    }

    /// All runs without their lines, oldest first.
    pub(crate) async fn list(&self) -> Result<Vec<RunView>, Refusal> {
        let runs = self.clone();
        read(move || {
            // Before the states: a run that ends in between must not look as if it had never been followed.
            let live: HashSet<RunId> = runs.0.live().keys().cloned().collect();
            let states = runs.0.sandbox.list().map_err(io::Error::other)?;
            let root = runs.0.root();
            let view = |state: RunState| {
                let record = runs.0.record(&state.id).ok();
                let live = live.contains(&state.id);
                RunView::new(state, record, live, &root).in_list()
            };
            Ok(Some(states.into_iter().map(view).collect()))
        })
        .await
    }

    /// The lines of a run that is there.
    pub(crate) async fn book(&self, id: &RunId) -> Result<Arc<Book>, Refusal> {
        if let Some(live) = self.live_of(id) {
            return Ok(live.book);
        }
        let (shared, id) = (Arc::clone(&self.0), id.clone());
        read(move || match shared.state(&id)? {
            None => Ok(None),
            Some(_) => shared.records.lines(&id).map(Arc::new).map(Some),
        })
        .await
    }

    /// The handle of a run that has not ended.
    pub(crate) async fn execution(&self, id: &RunId) -> Result<Execution, Refusal> {
        if let Some(live) = self.live_of(id) {
            return Ok(live.execution);
        }
        let done = || Refusal::not_found("not_found_or_done");
        let state = self.0.sandbox.state(id)?.filter(|state| state.status == RunStatus::Running);
        state.ok_or_else(done)?;
        self.0.sandbox.attach(id).await?.ok_or_else(done)
    }

    /// Waits until a run that is live has been put away, at most for `limit`.
    pub(crate) async fn put_away_of(&self, id: &RunId, limit: Duration) {
        if let Some(mut live) = self.live_of(id) {
            let _late = tokio::time::timeout(limit, live.over.changed()).await;
        }
    }

    /// Forgets a run that has ended, with everything that it has left.
    pub(crate) async fn remove(&self, id: &RunId) -> Result<(), Refusal> {
        let refused = || Refusal::not_found("not_found_or_running");
        if self.live_of(id).is_some() {
            return Err(refused());
        }
        let (shared, id) = (Arc::clone(&self.0), id.clone());
        read(move || {
            let ended = shared.state(&id)?.is_some_and(|state| state.status != RunStatus::Running);
            if !ended {
                return Ok(None);
            }
            shared.callbacks.forget(&id)?;
            shared.remove(&id).map(Some)
        })
        .await
        .map_err(|refusal| if refusal == Refusal::not_found("not_found") { refused() } else { refusal })
    }

    /// Opens what a run has left at a path.
    pub(crate) async fn open(&self, id: &RunId, parts: Vec<String>) -> Result<Opened, Refusal> {
        if self.0.sandbox.state(id)?.is_none() {
            return Err(Refusal::not_found("not_found"));
        }
        let (shared, id) = (Arc::clone(&self.0), id.clone());
        let opened = disk::blocking(move || {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            shared.artifacts.open_at(&id, &parts)
        });
        // Whatever keeps it from being opened: links, pipes, names that no file can have.
        opened.await.flatten().map_err(|_| Refusal::not_found("artifact_not_found"))
    }

    /// The metrics as text.
    pub(crate) fn metrics(&self) -> String {
        self.0.metrics.encode(Now {
            running: self.0.slots.taken(),
            queued: self.0.slots.waiting(),
            held_bytes: self.0.room.held(),
            artifact_bytes: self.0.artifacts.bytes(),
        })
    }

    fn live_of(&self, id: &RunId) -> Option<Live> {
        self.0.live().get(id).cloned()
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, HashMap<RunId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, id: &RunId) -> io::Result<Option<RunState>> {
        self.sandbox.state(id).map_err(io::Error::other)
    }

    fn view(&self, id: &RunId, live: bool) -> io::Result<Option<RunView>> {
        let Some(state) = self.state(id)? else { return Ok(None) };
        let record = self.record(id)?;
        Ok(Some(RunView::new(state, Some(record), live, &self.root())))
    }

    /// The record of a run, or what can still be known without.
    fn record(&self, id: &RunId) -> io::Result<Record> {
        if let Some(record) = self.records.get(id)? {
            return Ok(record);
        }
        let mut record = Record::new(id.clone(), Uuid::nil());
        record.leave(self.artifacts.list(id)?);
        Ok(record)
    }

    fn remove(&self, id: &RunId) -> io::Result<()> {
        match self.sandbox.forget(id) {
            Ok(_) => {}
            Err(error) if error.code() == SandboxErrorCode::RunNotFound => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        self.artifacts.remove(id)?;
        if let Some(pending) = self.records.get(id)?.and_then(|record| record.pending) {
            self.artifacts.discard(&pending)?;
        }
        self.records.remove(id)
    }

    fn root(&self) -> String {
        self.artifacts.root().display().to_string()
    }
}

/// Makes lines of both streams.
struct Writer<'b> {
    book: &'b Book,
    stdout: Lines,
    stderr: Lines,
}

impl<'b> Writer<'b> {
    fn new(book: &'b Book) -> Self {
        Self { book, stdout: Lines::new(LINE_LIMIT), stderr: Lines::new(LINE_LIMIT) }
    }

    fn write(&mut self, piece: &Output) {
        let lines = match piece.stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        self.book.write(piece.stream, |each| lines.push(&piece.bytes, each));
    }

    fn finish(self) {
        self.book.write(OutputStream::Stdout, |each| self.stdout.finish(each));
        self.book.write(OutputStream::Stderr, |each| self.stderr.finish(each));
    }
}

/// Reads from the disk; what is not there is `not_found`.
async fn read<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<Option<T>> + Send + 'static,
) -> Result<T, Refusal> {
    match disk::blocking(work).await.flatten() {
        Ok(found) => found.ok_or_else(|| Refusal::not_found("not_found")),
        Err(error) => Err(match error.downcast::<SandboxError>() {
            Ok(error) => error.into(),
            Err(error) => Refusal::internal(&error),
        }),
    }
}
