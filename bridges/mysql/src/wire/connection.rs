//! A session: prepares, runs and cleans up after statements, one at a time.
//!
//! [`Phase`] says what the server still owes. That is all that is needed to find back to a clean state after a future
//! was dropped at any point.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bridge_net::Address;
use futures::FutureExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::connector::Connector;
use super::link::{Link, Scan};
use super::login::Session;
use super::packet::{self, END, ERROR, Ended, Fields, LOCAL_INFILE, OK, Param, server_error};
use super::statement::{Statement, StatementCache};
use super::{Column, ConnectOptions, RowView, TimeLimit, WireError};

/// A kill may arrive before the statement that it is meant for, and is then repeated.
const KILL_INTERVAL: Duration = Duration::from_millis(500);
/// A goodbye that does not get through in this time is not worth more.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Columns of a result: what a select list may have.
const MAX_COLUMNS: u64 = 4_096;

const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0E;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_CLOSE: u8 = 0x19;

/// What a call of [`Connection::next_rows`] ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<B> {
    /// All rows that have arrived were handed out; there may be more.
    More,
    /// The closure broke off with this.
    Stopped(B),
    /// The statement has ended, and the connection is free.
    Done,
}

/// What the server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Nothing,
    /// The first packet of an answer to a statement.
    Head,
    /// So many descriptions of columns, and then rows.
    Columns(u64),
    /// The packet that ends the columns of an old server.
    ColumnsEnd,
    Rows,
    /// An answer that is not followed step by step; a connection that is left here is of no use any more.
    Other,
}

/// A session with a server.
///
/// Everything here may be dropped while it waits; the connection is then busy until [`recover`](Self::recover).
#[derive(Debug)]
pub(crate) struct Connection {
    link: Link,
    connector: Connector,
    address: Address,
    session: Session,
    max_row_bytes: usize,
    phase: Phase,
    /// Whether a statement has left a transaction open or changed a setting of the session.
    is_altered: bool,
    /// Milliseconds that the next statement may take, and the ones that the server knows of.
    timeout: Option<u32>,
    applied_timeout: Option<u32>,
    time_limit: TimeLimit,
    statements: StatementCache,
}

impl Connection {
    pub(super) fn new(
        connector: Connector,
        address: Address,
        link: Link,
        session: Session,
        options: &ConnectOptions,
    ) -> Self {
        Self {
            link,
            connector,
            address,
            session,
            max_row_bytes: options.max_row_bytes,
            phase: Phase::Nothing,
            is_altered: false,
            timeout: None,
            applied_timeout: None,
            time_limit: options.time_limit,
            statements: StatementCache::new(options.statement_cache),
        }
    }

    /// Runs a statement that gives no rows, such as `SET`. Not for text with values in it.
    pub(super) async fn simple(&mut self, sql: &str) -> Result<(), WireError> {
        self.send(Phase::Other, &[&[COM_QUERY], sql.as_bytes()].concat()).await?;
        let packet = self.link.packet().await?;
        self.end_of_command(&packet)?;
        Ok(())
    }

    /// How long statements from here on may run at the server.
    ///
    /// Nothing is sent unless the value changes, and then with the next statement.
    pub(crate) fn set_statement_timeout(&mut self, milliseconds: u32) {
        self.timeout = Some(milliseconds);
    }

    /// Whether a statement can be started: nothing is under way, and the session is as it was made.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Nothing
            && !self.is_altered
            && !self.link.is_broken()
            && self.link.is_flushed()
            && self.link.is_silent()
    }

    /// Looks, without waiting, whether an idle connection is still good. A server has nothing to say to one but goodbye.
    pub(crate) fn check_alive(&mut self) -> bool {
        self.is_idle() && self.link.fill().now_or_never().is_none()
    }

    /// Makes a busy connection idle: kills what runs and skips its answer. After an error the connection is of no use.
    pub(crate) async fn recover(&mut self, deadline: Instant) -> Result<(), WireError> {
        timeout_at(deadline, self.come_to_rest(deadline)).await.map_err(|_| WireError::Timeout)?
    }

    /// Says goodbye and closes.
    pub(crate) async fn close(self) {
        let idle = self.phase == Phase::Nothing;
        if !matches!(timeout(CLOSE_LIMIT, self.link.close(idle)).await, Ok(Ok(()))) {
            tracing::debug!("a connection was closed without a goodbye");
        }
    }
}

/// Statements.
impl Connection {
    /// Starts a statement; afterwards its rows come. Takes one round trip if the statement is known, else two.
    pub(crate) async fn start(&mut self, sql: &str, params: &[Param]) -> Result<Arc<[Column]>, WireError> {
        self.check_idle()?;
        let limited = self.limited(sql);
        let sql = limited.as_ref();
        self.apply_timeout().await?;
        if let Some(known) = self.statements.get(sql) {
            match self.execute(known, params).await {
                // No row has come, so nothing is run twice.
                Err(error) if error.is_stale_statement() && self.is_idle() => self.statements.remove(known),
                decided => return decided,
            }
        }
        let statement = self.prepare(sql).await?;
        self.execute(statement, params).await
    }

    /// Hands every row that has arrived to `each`, first waiting for one if there is none.
    ///
    /// Dropping the future loses nothing: the next call goes on where it was. A row above the connection's limit
    /// fails with [`WireError::RowTooLarge`] and is never buffered.
    pub(crate) async fn next_rows<B>(
        &mut self,
        columns: &[Column],
        mut each: impl FnMut(RowView<'_>) -> ControlFlow<B>,
    ) -> Result<Step<B>, WireError> {
        let mut any = false;
        while self.phase == Phase::Rows {
            let scan = self.link.scan(columns, self.max_row_bytes, |row| {
                any = true;
                each(row)
            })?;
            match scan {
                Scan::Stopped(value) => return Ok(Step::Stopped(value)),
                Scan::Starved if any => return Ok(Step::More),
                Scan::Starved => self.link.fill().await?,
                Scan::Other => self.advance().await?,
            }
        }
        Ok(Step::Done)
    }

    /// The statement with its time limit in it, where the session cannot hold one.
    fn limited<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        match (self.time_limit, self.timeout, sql.strip_prefix("SELECT ")) {
            (TimeLimit::Hint, Some(limit), Some(rest)) => {
                Cow::Owned(format!("SELECT /*+ MAX_EXECUTION_TIME({limit}) */ {rest}"))
            }
            _ => Cow::Borrowed(sql),
        }
    }

    async fn apply_timeout(&mut self) -> Result<(), WireError> {
        let due = self.time_limit == TimeLimit::Session && self.timeout != self.applied_timeout;
        let Some(wanted) = self.timeout.filter(|_| due) else { return Ok(()) };
        self.applied_timeout = None;
        if self.session.is_mariadb {
            self.simple(&format!("SET max_statement_time = {}.{:03}", wanted / 1_000, wanted % 1_000))
                .await?;
        } else {
            self.simple(&format!("SET max_execution_time = {wanted}")).await?;
        }
        self.applied_timeout = Some(wanted);
        Ok(())
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, WireError> {
        self.send(Phase::Other, &[&[COM_STMT_PREPARE], sql.as_bytes()].concat()).await?;
        let packet = self.link.packet().await?;
        let mut fields = Fields(&packet);
        if fields.u8()? != OK {
            self.end_of_command(&packet)?;
            return Err(self.link.violation("an unexpected answer to preparing a statement"));
        }
        let id = fields.u32()?;
        let (columns, params) = (fields.u16()?, fields.u16()?);
        for described in [params, columns] {
            let end = u32::from(described > 0 && self.session.has_old_ends());
            for _ in 0..u32::from(described) + end {
                self.link.packet().await?;
            }
        }
        self.phase = Phase::Nothing;
        let statement = Statement { id, params };
        for old in self.statements.insert(sql, statement) {
            // Nothing is answered to this; it leaves with the next command.
            self.link.command(&[&[COM_STMT_CLOSE][..], &old.to_le_bytes()].concat());
        }
        Ok(statement)
    }

    async fn execute(&mut self, statement: Statement, params: &[Param]) -> Result<Arc<[Column]>, WireError> {
        if params.len() != usize::from(statement.params) {
            return Err(WireError::Encode("it has another number of parameters"));
        }
        self.send(Phase::Head, &packet::execute(statement.id, params)).await?;
        self.advance().await?;
        let mut columns = Vec::new();
        while let Phase::Columns(left) = self.phase {
            let packet = self.link.packet().await?;
            let column = Column::read(&packet, self.session.has_extended_metadata());
            columns.push(self.link.judge(column)?);
            self.phase = self.after_column(left);
        }
        if self.phase == Phase::ColumnsEnd {
            self.advance().await?;
        }
        Ok(columns.into())
    }

    /// Sends a command, after which the server owes `phase`.
    async fn send(&mut self, phase: Phase, body: &[u8]) -> Result<(), WireError> {
        self.link.command(body);
        self.phase = phase;
        self.link.flush().await
    }
}

/// Finding the end of what was started.
impl Connection {
    /// Takes the next packet of an answer and notes what comes after it. Rows and columns are skipped.
    async fn advance(&mut self) -> Result<(), WireError> {
        match self.phase {
            Phase::Nothing => {}
            Phase::Head => {
                let packet = self.link.packet().await?;
                match packet.first() {
                    Some(&LOCAL_INFILE) => {
                        return Err(self.link.violation("the server asks for a file of this machine"));
                    }
                    Some(&(OK | ERROR)) => self.end_of_command(&packet)?,
                    _ => {
                        let columns = self.link.judge(Fields(&packet).length())?;
                        if columns > MAX_COLUMNS {
                            return Err(self.link.violation("more columns than a result can have"));
                        }
                        self.phase = if columns == 0 { Phase::Rows } else { Phase::Columns(columns) };
                    }
                }
            }
            Phase::Columns(left) => {
                self.link.packet().await?;
                self.phase = self.after_column(left);
            }
            Phase::ColumnsEnd => {
                self.link.packet().await?;
                self.phase = Phase::Rows;
            }
            Phase::Rows => {
                let head = self.link.head().await?;
                match head.kind {
                    OK => self.link.skip(head.length),
                    END | ERROR => {
                        let packet = self.link.packet().await?;
                        self.end_of_command(&packet)?;
                    }
                    _ => return Err(self.link.violation("expected a row or the end of the result")),
                }
            }
            Phase::Other => return Err(self.link.violation("an answer was left behind")),
        }
        Ok(())
    }

    fn after_column(&self, left: u64) -> Phase {
        match left {
            0 | 1 if self.session.has_old_ends() => Phase::ColumnsEnd,
            0 | 1 => Phase::Rows,
            left => Phase::Columns(left - 1),
        }
    }

    /// Reads the last packet of an answer: how the command ended.
    fn end_of_command(&mut self, packet: &[u8]) -> Result<(), WireError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Nothing);
        self.link.shrink();
        match packet.first() {
            Some(&(OK | END)) => {
                let old = phase == Phase::Rows && self.session.has_old_ends();
                let ended = self.link.judge(Ended::read(packet, old))?;
                // What we set ourselves is no surprise.
                self.is_altered |= phase != Phase::Other && !ended.is_clean();
                Ok(())
            }
            Some(&ERROR) => self.link.judge(Err(WireError::Server(server_error(packet)))),
            _ => Err(self.link.violation("an unexpected answer to a command")),
        }
    }

    async fn come_to_rest(&mut self, deadline: Instant) -> Result<(), WireError> {
        if self.link.is_broken() || self.is_altered {
            return Err(WireError::Closed);
        }
        if self.phase == Phase::Other {
            self.kill(false, deadline).await;
            return Err(WireError::Closed);
        }
        if let Some(settled) = self.settle().now_or_never() {
            settled?;
        }
        let mut killed = false;
        while self.phase != Phase::Nothing || !self.link.is_flushed() {
            self.kill(true, deadline).await;
            killed = true;
            if let Ok(settled) = timeout(KILL_INTERVAL, self.settle()).await {
                settled?;
            }
        }
        if killed {
            // A kill that came too late would hit the next statement; this one takes it.
            self.ping().await?;
        }
        if self.is_altered { Err(WireError::Closed) } else { Ok(()) }
    }

    /// Skips everything up to the end of what was sent. An error of the statement is an end like any other.
    async fn settle(&mut self) -> Result<(), WireError> {
        self.link.flush().await?;
        while self.phase != Phase::Nothing {
            match self.advance().await {
                Err(WireError::Server(error)) if !error.ends_session() => {}
                decided => decided?,
            }
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), WireError> {
        self.send(Phase::Other, &[COM_PING]).await?;
        let packet = self.link.packet().await?;
        match self.end_of_command(&packet) {
            Err(WireError::Server(error)) if !error.ends_session() => Ok(()),
            decided => decided,
        }
    }

    async fn kill(&self, only_statement: bool, deadline: Instant) {
        let killed = self.connector.kill(&self.address, self.session.id, only_statement, deadline);
        if let Err(error) = killed.await {
            tracing::debug!(%error, "a statement could not be killed");
        }
    }

    fn check_idle(&mut self) -> Result<(), WireError> {
        if self.link.is_broken() {
            return Err(WireError::Closed);
        }
        if self.is_idle() { Ok(()) } else { Err(WireError::Busy) }
    }
}
