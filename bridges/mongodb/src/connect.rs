//! The driver's client, bounded by the source's settings, and the end of what it runs.
//!
//! Every operation runs in a session of its own. Whoever gives an operation up hands its session to a task that ends at
//! the server whatever still runs in it (`killSessions`, which every user may do to sessions of their own). There is one
//! connection more than jobs may use, so that this never waits for them.

mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bridge_core::{BridgeError, Call};
use mongodb::bson::doc;
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::ClientOptions;
use mongodb::{Client, ClientSession, Database};
use protocol::PoolUse;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::error::{closed, of_driver};
use tls::Files;

const APP_NAME: &str = "semilayer-runner";
/// How long a connection may be idle: load balancers drop them silently after some minutes.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);
/// How long ending an operation at the server may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long closing waits for that.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// An opened client.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    client: Client,
    database: Database,
    max: u32,
    connections: Arc<Connections>,
    /// As many as jobs may have connections.
    turns: Semaphore,
    tasks: TaskTracker,
    closed: CancellationToken,
    /// Certificates that the driver reads again for every connection.
    _files: Files,
}

/// Connections as the driver reports them.
#[derive(Default)]
struct Connections {
    open: AtomicU32,
    in_use: AtomicU32,
}

impl Pool {
    /// Makes a client. Names are resolved, but nothing is connected yet.
    pub(crate) async fn open(settings: &Settings, call: &Call) -> Result<Self, BridgeError> {
        let files = Files::write(&settings.tls)?;
        let connections = Arc::new(Connections::default());
        let mut options = within(call, ClientOptions::parse(settings.url.expose()).into_future())
            .await?
            .map_err(unusable)?;
        files.apply(&settings.tls, &mut options);
        options.app_name = Some(settings.app_name.clone().unwrap_or_else(|| APP_NAME.to_owned()));
        options.max_pool_size = Some(settings.pool_max.saturating_add(1));
        options.min_pool_size = settings.pool_min.map(|min| min.min(settings.pool_max));
        options.max_idle_time.get_or_insert(MAX_IDLE);
        options.connect_timeout = Some(settings.connect_timeout);
        options.server_selection_timeout.get_or_insert(settings.connect_timeout);
        options.cmap_event_handler = Some(connections.listener());
        let client = Client::with_options(options).map_err(unusable)?;
        Ok(Self(Arc::new(Inner {
            database: client.database(&settings.database),
            client,
            max: settings.pool_max,
            connections,
            turns: Semaphore::new(usize::try_from(settings.pool_max).unwrap_or(Semaphore::MAX_PERMITS)),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
            _files: files,
        })))
    }

    /// The source's database.
    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    /// A session of its own for one operation.
    pub(crate) async fn session(&self) -> Result<ClientSession, BridgeError> {
        self.0.client.start_session().await.map_err(of_driver)
    }

    /// Waits until a job may use a connection, in the order of those who wait. Held for one command and its answer.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, BridgeError> {
        self.0.turns.acquire().await.map_err(|_| closed())
    }

    /// Runs a task that closing the source waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    /// Ends when the source is closed.
    pub(crate) async fn closing(&self) {
        self.0.closed.cancelled().await;
    }

    /// Whether the source has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Ends at the server what runs in a session. The session is not used again before that is done, or the next
    /// operation in it would be ended instead.
    pub(crate) async fn kill(&self, session: ClientSession) {
        let command = doc! {"killSessions": [session.id().clone()]};
        let admin = self.0.client.database("admin");
        match timeout(KILL_LIMIT, admin.run_command(command)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an operation was not ended at the server"),
            Err(_) => tracing::debug!("an operation was not ended at the server in time"),
        }
    }

    /// Connections now, without the one more.
    pub(crate) fn usage(&self) -> PoolUse {
        let in_use = self.0.connections.in_use.load(Ordering::Relaxed).min(self.0.max);
        let open = self.0.connections.open.load(Ordering::Relaxed).min(self.0.max);
        PoolUse { in_use, idle: open.saturating_sub(in_use), max: self.0.max }
    }

    /// Ends what runs, waits a little until it has ended at the server, and closes every connection.
    pub(crate) async fn close(&self) {
        self.0.closed.cancel();
        self.0.tasks.close();
        let _late = timeout(CLOSE_LIMIT, self.0.tasks.wait()).await;
        self.0.client.clone().shutdown().immediate(true).await;
    }
}

impl Connections {
    fn listener(self: &Arc<Self>) -> EventHandler<CmapEvent> {
        let connections = Arc::clone(self);
        EventHandler::callback(move |event| connections.count(&event))
    }

    fn count(&self, event: &CmapEvent) {
        match event {
            CmapEvent::ConnectionCreated(_) => add(&self.open),
            CmapEvent::ConnectionClosed(_) => subtract(&self.open),
            CmapEvent::ConnectionCheckedOut(_) => add(&self.in_use),
            CmapEvent::ConnectionCheckedIn(_) => subtract(&self.in_use),
            // The driver may learn of more events.
            _ => {}
        }
    }
}

fn add(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn subtract(counter: &AtomicU32) {
    // A connection that is closed while it is checked out may be counted down twice.
    let _unchanged = counter.try_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
}

/// Waits no longer than the call's deadline.
pub(crate) async fn within<T>(call: &Call, work: impl Future<Output = T>) -> Result<T, BridgeError> {
    timeout_at(Instant::from_std(call.deadline), work).await.map_err(|_| BridgeError::Timeout)
}

/// The URL was checked before, so this is about DNS or files. The driver's words do not quote the URL then.
fn unusable(error: mongodb::error::Error) -> BridgeError {
    BridgeError::Unreachable {
        message: format!("cannot connect to MongoDB: {}", error.kind),
        source: Some(error.into()),
    }
}

/// The failure of something that the source's closing has cut off.
pub(crate) fn unless_closed(pool: &Pool, error: BridgeError) -> BridgeError {
    if pool.is_closed() { closed() } else { error }
}
