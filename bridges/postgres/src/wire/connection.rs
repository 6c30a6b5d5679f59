//! A session: prepares, runs and cleans up after statements, one at a time.
//!
//! Messages are batched up to a Sync, and the connection counts the `ReadyForQuery` messages that the server owes for
//! them. That count is all that is needed to find back to a clean state after a future was dropped at any point.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures::FutureExt;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use tokio::time::{Instant, timeout, timeout_at};

use super::link::Link;
use super::message::{Backend, TransactionStatus};
use super::session::Session;
use super::statement::StatementCache;
use super::{CancelToken, Column, ConnectOptions, Oid, ServerError, Statement, WireError};

/// A cancel may arrive before the statement that it is meant for, and is then repeated.
const CANCEL_INTERVAL: Duration = Duration::from_millis(500);
/// A goodbye that does not get through in this time is not worth more.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

/// The value of one parameter in the form that its type has on the wire; `None` is NULL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param<'a> {
    pub(crate) format: Format,
    pub(crate) value: Option<&'a [u8]>,
}

/// The formats in which a result is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResultFormats {
    /// All columns alike.
    Uniform(Format),
    /// Decided when the columns are known, which costs a new statement, and only a new one, a second round trip.
    ByColumn(fn(&Column) -> Format),
}

/// A statement with its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) sql: &'a str,
    /// Types of the parameters; 0, or leaving out the last ones, lets the server infer.
    pub(crate) param_types: &'a [Oid],
    pub(crate) params: &'a [Param<'a>],
    pub(crate) formats: ResultFormats,
}

/// A session with a server.
///
/// Everything here may be dropped while it waits; the connection is then busy until [`recover`](Self::recover).
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) link: Link,
    pub(super) max_row_bytes: usize,
    /// `ReadyForQuery` messages that the server still owes.
    due: u32,
    transaction: TransactionStatus,
    timeout: StatementTimeout,
    session: Session,
    statements: StatementCache,
    /// Names of statements to close with the next batch.
    closing: Vec<String>,
    /// The statement that is being prepared; at the server perhaps, in the cache not yet.
    preparing: Option<String>,
    prepared: u64,
    cancel: CancelToken,
}

impl Connection {
    pub(super) fn new(link: Link, cancel: CancelToken, session: Session, options: &ConnectOptions) -> Self {
        Self {
            link,
            max_row_bytes: options.max_row_bytes,
            due: 0,
            transaction: TransactionStatus::Idle,
            timeout: StatementTimeout::default(),
            session,
            statements: StatementCache::new(options.statement_cache),
            closing: Vec::new(),
            preparing: None,
            prepared: 0,
            cancel,
        }
    }

    /// Starts a statement; see [`super::Rows::start`].
    #[cfg(test)]
    pub(super) async fn query(&mut self, query: &Query<'_>) -> Result<super::Rows<&mut Self>, WireError> {
        super::Rows::start(self, query).await
    }

    /// Runs statements that give no rows of interest, such as `BEGIN`. Not for text with values in it, and not for
    /// `statement_timeout`, `DISCARD` or `DEALLOCATE`, which this connection keeps track of itself.
    pub(crate) async fn simple(&mut self, sql: &'static str) -> Result<(), WireError> {
        self.check_idle()?;
        self.send(|out| frontend::query(sql, out)).await?;
        self.await_end_of_batch().await
    }

    /// Sets `statement_timeout` for the statements from here on, in milliseconds, 0 for none.
    ///
    /// Nothing is sent unless the value changes, and then together with the next statement.
    pub(crate) fn set_statement_timeout(&mut self, milliseconds: u32) {
        self.timeout.wanted = Some(milliseconds.min(i32::MAX.cast_unsigned()));
    }

    /// The right to cancel what runs here.
    #[cfg(test)]
    pub(super) fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Whether a statement can be started: nothing is under way, no transaction is open, and the server is not lost.
    pub(crate) fn is_idle(&self) -> bool {
        !self.link.is_broken() && self.is_settled() && self.transaction == TransactionStatus::Idle
    }

    /// Looks, without waiting, whether an idle connection is still good: a server that has closed it, or said why it
    /// will, is noticed here.
    pub(crate) fn check_alive(&mut self) -> bool {
        self.is_idle() && self.read_asides().is_ok()
    }

    /// Makes a busy connection idle: cancels what runs, skips its answers, rolls back what is open.
    ///
    /// What has already arrived is skipped first, and a statement that has ended needs no cancel. After an error the
    /// connection is of no use.
    pub(crate) async fn recover(&mut self, deadline: Instant) -> Result<(), WireError> {
        timeout_at(deadline, self.come_to_rest(deadline)).await.map_err(|_| WireError::Timeout)?
    }

    /// Says goodbye and closes.
    pub(crate) async fn close(self) {
        if !matches!(timeout(CLOSE_LIMIT, self.link.close()).await, Ok(Ok(()))) {
            tracing::debug!("a connection was closed without a goodbye");
        }
    }

    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.link.buffer_bytes()
    }
}

/// Starting statements.
impl Connection {
    /// Starts `query`; afterwards its rows come.
    pub(super) async fn start(&mut self, query: &Query<'_>) -> Result<Arc<[Column]>, WireError> {
        self.check_idle()?;
        if let Some(known) = self.statements.get(query.sql, query.param_types) {
            match self.bind(&known, query).await {
                // No row has come, so nothing is run twice. In a transaction that has failed it would not help.
                Err(error) if error.is_stale_statement() && self.is_idle() => self.forget(&known),
                Err(error) => return Err(error),
                Ok(()) => return Ok(Arc::clone(&known.columns)),
            }
        }
        match query.formats {
            ResultFormats::Uniform(_) => self.prepare_and_bind(query).await,
            ResultFormats::ByColumn(_) => {
                let statement = self.prepare_new(query.sql, query.param_types).await?;
                self.bind(&statement, query).await?;
                Ok(Arc::clone(&statement.columns))
            }
        }
    }

    /// One round trip for a known statement.
    async fn bind(&mut self, statement: &Statement, query: &Query<'_>) -> Result<(), WireError> {
        self.send_batch(|out| write_bind(&statement.name, &statement.columns, query, out)).await?;
        self.await_description(Until::Bound).await?;
        Ok(())
    }

    async fn prepare_new(&mut self, sql: &str, param_types: &[Oid]) -> Result<Arc<Statement>, WireError> {
        let name = self.next_name();
        self.send_batch(|out| write_parse(&name, sql, param_types, out)).await?;
        let columns = self.await_description(Until::Ready).await?;
        Ok(self.keep(name, sql, param_types, columns))
    }

    /// One round trip for a new statement whose result formats need no columns.
    async fn prepare_and_bind(&mut self, query: &Query<'_>) -> Result<Arc<[Column]>, WireError> {
        let name = self.next_name();
        self.send_batch(|out| {
            write_parse(&name, query.sql, query.param_types, out)?;
            write_bind(&name, &[], query, out)
        })
        .await?;
        let columns = self.await_description(Until::Bound).await?;
        let statement = self.keep(name, query.sql, query.param_types, columns);
        Ok(Arc::clone(&statement.columns))
    }

    fn next_name(&mut self) -> String {
        self.closing.extend(self.preparing.take());
        self.prepared += 1;
        let name = format!("s{}", self.prepared);
        self.preparing = Some(name.clone());
        name
    }

    fn keep(
        &mut self,
        name: String,
        sql: &str,
        param_types: &[Oid],
        columns: Arc<[Column]>,
    ) -> Arc<Statement> {
        self.preparing = None;
        let statement = Arc::new(Statement::new(name, sql, param_types, columns));
        let evicted = self.statements.insert(Arc::clone(&statement));
        self.closing.extend(evicted.iter().map(|old| old.name.clone()));
        statement
    }

    fn forget(&mut self, statement: &Arc<Statement>) {
        self.statements.remove(statement);
        self.closing.push(statement.name.clone());
    }

    /// Sends messages of the extended protocol up to a Sync, among them the closing of statements that are not kept.
    async fn send_batch(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), WireError> {
        let closing = mem::take(&mut self.closing);
        let sent = self.send(|out| {
            for name in &closing {
                frontend::close(b'S', name, out)?;
            }
            write(out)?;
            frontend::sync(out);
            Ok(())
        });
        let sent = sent.await;
        if matches!(sent, Err(WireError::Encode(_))) {
            self.closing = closing;
        }
        sent
    }

    /// Sends what is answered with one `ReadyForQuery`, and in front of it what the session has to be told.
    async fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), WireError> {
        let preamble = self.preamble();
        self.link.encode(|out| {
            if let Some(sql) = &preamble {
                // In a batch of its own, or it would be rolled back with a statement that fails.
                frontend::query(sql, out)?;
            }
            write(out)
        })?;
        self.due += 1;
        if preamble.is_some() {
            self.due += 1;
            self.timeout.applied = None;
        }
        self.link.flush().await?;
        if preamble.is_some() {
            // Should it fail, what follows has been sent too and runs to its end; it can only fail in a lost transaction.
            self.await_end_of_batch().await?;
            // Inside of a transaction it may yet be rolled back, and is sent again.
            if self.transaction == TransactionStatus::Idle {
                self.timeout.applied = self.timeout.wanted;
                self.session.restored();
            }
        }
        Ok(())
    }

    fn preamble(&self) -> Option<String> {
        let restoring = self.session.restoring();
        // Who has changed a setting may have changed the timeout, which no server reports.
        let timeout = if restoring.is_some() { self.timeout.wanted } else { self.timeout.to_send() };
        let timeout = timeout.map(|ms| format!("SET statement_timeout = {ms}"));
        match (restoring, timeout) {
            (Some(restoring), Some(timeout)) => Some(format!("{restoring}; {timeout}")),
            (restoring, timeout) => restoring.or(timeout),
        }
    }

    /// The result's columns, where they are described.
    async fn await_description(&mut self, until: Until) -> Result<Arc<[Column]>, WireError> {
        let mut description: Arc<[Column]> = Arc::default();
        loop {
            match self.next().await? {
                Backend::ParseComplete
                | Backend::CloseComplete
                | Backend::ParameterDescription
                | Backend::NoData
                | Backend::Aside => {}
                Backend::RowDescription(columns) => description = columns,
                Backend::BindComplete if until == Until::Bound => return Ok(description),
                Backend::Ready(_) if until == Until::Ready => return Ok(description),
                Backend::Error(error) => return Err(self.fail(error).await),
                _ => {
                    return Err(self
                        .link
                        .violation("an unexpected answer to preparing or binding a statement"));
                }
            }
        }
    }
}

/// Finding the end of what was started.
impl Connection {
    /// The next message, with what it says about the session noted.
    pub(super) async fn next(&mut self) -> Result<Backend, WireError> {
        let message = self.link.next().await?;
        match &message {
            Backend::Report { name, value } => {
                self.session.reported(name, value);
                return Ok(Backend::Aside);
            }
            Backend::Ready(transaction) => {
                let Some(due) = self.due.checked_sub(1) else {
                    return Err(self.link.violation("ready for a statement that was never sent"));
                };
                self.due = due;
                self.transaction = *transaction;
                if due == 0 {
                    self.link.shrink();
                }
            }
            Backend::Error(error) if error.is_fatal() => {
                self.link.violation("the session has ended");
            }
            _ => {}
        }
        Ok(message)
    }

    /// Skips everything up to the end of all that was sent.
    pub(super) async fn settle(&mut self) -> Result<(), WireError> {
        self.link.flush().await?;
        while self.due > 0 {
            self.next().await?;
        }
        Ok(())
    }

    /// The error to return for `error`, after skipping what follows it.
    pub(super) async fn fail(&mut self, error: Box<ServerError>) -> WireError {
        if !error.is_fatal()
            && let Err(lost) = self.settle().await
        {
            tracing::debug!(%lost, "the connection was lost after an error");
        }
        WireError::Server(error)
    }

    /// Skips the answers to one batch; its first error is returned after everything that was sent has ended.
    async fn await_end_of_batch(&mut self) -> Result<(), WireError> {
        loop {
            match self.next().await? {
                Backend::Ready(_) => return Ok(()),
                Backend::Error(error) => return Err(self.fail(error).await),
                _ => {}
            }
        }
    }

    async fn come_to_rest(&mut self, deadline: Instant) -> Result<(), WireError> {
        if self.link.is_broken() {
            return Err(WireError::Closed);
        }
        if let Some(settled) = self.settle().now_or_never() {
            settled?;
        }
        while !self.is_settled() {
            if let Err(error) = self.cancel.cancel(deadline).await {
                tracing::debug!(%error, "a statement could not be cancelled");
            }
            if let Ok(settled) = timeout(CANCEL_INTERVAL, self.settle()).await {
                settled?;
            }
        }
        if self.transaction != TransactionStatus::Idle {
            self.simple("ROLLBACK").await?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.due == 0 && self.link.is_flushed()
    }

    /// Whether a statement may be sent now.
    ///
    /// What has arrived since the last one is read first: a session that has ended costs no statement, and an answer
    /// that nobody asked for is not taken for the answer to this one.
    fn check_idle(&mut self) -> Result<(), WireError> {
        match (self.link.is_broken(), self.is_settled()) {
            (true, _) => Err(WireError::Closed),
            (false, true) => self.read_asides(),
            (false, false) => Err(WireError::Busy),
        }
    }

    fn read_asides(&mut self) -> Result<(), WireError> {
        loop {
            match self.next().now_or_never() {
                None => return Ok(()),
                Some(Ok(Backend::Aside)) => {}
                Some(Ok(Backend::Error(error))) => return Err(WireError::Server(error)),
                Some(Ok(_)) => return Err(self.link.violation("an answer without a question")),
                Some(Err(error)) => return Err(error),
            }
        }
    }
}

/// The last answer that [`Connection::await_description`] waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Bound,
    Ready,
}

/// The wanted `statement_timeout` and the one that the server is known to have.
#[derive(Debug, Default)]
struct StatementTimeout {
    wanted: Option<u32>,
    applied: Option<u32>,
}

impl StatementTimeout {
    fn to_send(&self) -> Option<u32> {
        self.wanted.filter(|_| self.wanted != self.applied)
    }
}

impl Format {
    fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

fn write_parse(name: &str, sql: &str, param_types: &[Oid], out: &mut BytesMut) -> io::Result<()> {
    frontend::parse(name, sql, param_types.iter().copied(), out)?;
    frontend::describe(b'S', name, out)
}

/// Bind and Execute. `columns` are needed only where the formats depend on them.
fn write_bind(name: &str, columns: &[Column], query: &Query<'_>, out: &mut BytesMut) -> io::Result<()> {
    let formats = query.params.iter().map(|param| param.format.code());
    let (uniform, by_column) = match query.formats {
        ResultFormats::Uniform(format) => (Some(format.code()), None),
        ResultFormats::ByColumn(choose) => {
            (None, Some(columns.iter().map(move |column| choose(column).code())))
        }
    };
    let result_formats = uniform.into_iter().chain(by_column.into_iter().flatten());
    frontend::bind("", name, formats, query.params, write_value, result_formats, out).map_err(|error| {
        match error {
            frontend::BindError::Serialization(error) => error,
            frontend::BindError::Conversion(error) => io::Error::other(error),
        }
    })?;
    frontend::execute("", 0, out)
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn write_value(param: &Param<'_>, out: &mut BytesMut) -> Result<IsNull, AnyError> {
    match param.value {
        Some(value) => {
            out.put_slice(value);
            Ok(IsNull::No)
        }
        None => Ok(IsNull::Yes),
    }
}
