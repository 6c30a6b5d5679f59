//! Runs plans: the server's rows become batches of JSON text, as fast as they are pulled.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod told;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::{BoxFuture, BridgeError, Call, Columns, Position, RowBatch, RowWriter, Rows as RowsOut};
use bridge_net::Interrupted;
use bridge_sql::{AggregatePlan, Decode, Select, Shape, Sql, Statement, Table};
use protocol::Tail;
use tokio::time::Instant;

use crate::connect::{Lease, Pool};
use crate::error::{is_stale_connection, while_running};
use crate::translate::bound;
use crate::values::{self, BadValue, integer_of};
use crate::wire::{Column, ColumnType, RowView, Step, WireError};

/// A connection that was closed while it was idle fails a statement within this time. One that fails later has been ended
/// by somebody, and its statement is not run again.
const AT_ONCE: Duration = Duration::from_millis(250);
/// Bytes of an answer to a question of ours: more than a million names of tables.
const CATALOG_LIMIT: usize = 64 * 1024 * 1024;

/// A statement under way. Dropped before its end, it leaves the connection to be mended.
pub(crate) struct Running {
    lease: Lease,
    columns: Arc<[Column]>,
}

impl Running {
    /// The same, with its columns of vectors known as such: MariaDB describes them as bytes.
    pub(crate) fn with_vectors(mut self, table: &Table, select: &Select) -> Self {
        let is_vector = |column: &bridge_sql::Column| column.native == "vector";
        if !table.columns.iter().any(is_vector) {
            return self;
        }
        let mut columns = self.columns.to_vec();
        for (column, source) in columns.iter_mut().zip(&select.columns) {
            let source = source.as_deref().and_then(|name| table.column(name));
            if column.kind == ColumnType::Bytes && source.is_some_and(is_vector) {
                column.kind = ColumnType::Vector;
            }
        }
        self.columns = columns.into();
        self
    }

    async fn next_rows<B>(
        &mut self,
        each: impl FnMut(RowView<'_>) -> ControlFlow<B>,
    ) -> Result<Step<B>, WireError> {
        self.lease.connection().ok_or(WireError::Closed)?.next_rows(&self.columns, each).await
    }
}

/// One call's way to the server.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) call: &'a Call,
}

impl Access<'_> {
    /// A connection with its statement timeout set.
    pub(crate) async fn lease(self) -> Result<Lease, BridgeError> {
        let mut lease = self.pool.lease(self.call).await?;
        if let Some(connection) = lease.connection() {
            connection.set_statement_timeout(self.call.timeout_ms());
        }
        Ok(lease)
    }

    /// Runs a statement that answers one whole number, and gives the connection back.
    pub(crate) async fn number(self, lease: Lease, sql: &Sql) -> Result<(u64, Lease), BridgeError> {
        let mut number: Option<u64> = None;
        let lease = self.each_row(lease, sql, |row| number = whole(row, 0)).await?;
        let number = number.ok_or_else(|| BridgeError::Internal("a count that is no number".to_owned()))?;
        Ok((number, lease))
    }

    /// Runs a statement, hands each of its rows to `each`, and gives the connection back.
    pub(crate) async fn each_row(
        self,
        lease: Lease,
        sql: &Sql,
        mut each: impl FnMut(Row<'_>),
    ) -> Result<Lease, BridgeError> {
        let mut rows = self.start(lease, sql).await?;
        let columns = Arc::clone(&rows.columns);
        let mut room = CATALOG_LIMIT;
        loop {
            let step = rows.next_rows(|view| {
                if let Err(error) = admit(view, &mut room) {
                    return ControlFlow::Break(error);
                }
                each(Row { view, columns: &columns });
                ControlFlow::Continue(())
            });
            match self.pool.bounded(self.deadline(), step).await?.map_err(while_running)? {
                Step::More => {}
                Step::Stopped(error) => return Err(while_running(error)),
                Step::Done => return Ok(rows.lease),
            }
        }
    }

    /// Starts a statement. A connection that the server has closed since it was last used is replaced, and so is one whose
    /// session the last statement has changed.
    pub(crate) async fn start(self, mut lease: Lease, sql: &Sql) -> Result<Running, BridgeError> {
        let params = bound(sql);
        if !lease.connection().is_some_and(|connection| connection.is_idle()) {
            drop(lease);
            lease = self.lease().await?;
        }
        loop {
            let reused = lease.is_reused();
            let start = async {
                let connection = lease.connection().ok_or(WireError::Closed)?;
                connection.start(&sql.text, &params).await
            };
            let begun = Instant::now();
            match self.pool.bounded(self.deadline(), start).await? {
                Ok(columns) => return Ok(Running { lease, columns }),
                // Every other idle connection may be as old; each that fails is gone, so this ends.
                Err(error) if reused && begun.elapsed() < AT_ONCE && is_stale_connection(&error) => {
                    drop(lease);
                    lease = self.lease().await?;
                }
                Err(error) => return Err(while_running(error)),
            }
        }
    }

    fn deadline(self) -> Instant {
        Instant::from_std(self.call.deadline)
    }
}

/// Takes a row's size off `room`, and looks at its lengths: what reads only some of its values would miss that one lies.
fn admit(row: RowView<'_>, room: &mut usize) -> Result<(), WireError> {
    *room = room.checked_sub(row.size()).ok_or(WireError::Protocol("its catalog does not end"))?;
    row.values().try_for_each(|value| value.map(drop))
}

/// A row of an answer to a question of ours.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    view: RowView<'a>,
    columns: &'a [Column],
}

/// A value that is text.
pub(crate) fn text(row: Row<'_>, column: usize) -> Option<&str> {
    row.view.value(column).ok().flatten().and_then(|bytes| std::str::from_utf8(bytes).ok())
}

/// A value that is a whole number.
pub(crate) fn whole(row: Row<'_>, column: usize) -> Option<u64> {
    let bytes = row.view.value(column).ok().flatten()?;
    integer_of(row.columns.get(column)?, bytes).and_then(|value| u64::try_from(value).ok())
}

/// A row stream.
pub(crate) struct MyRows {
    rows: Option<Running>,
    pool: Pool,
    call: Call,
    sources: Arc<[Column]>,
    columns: Columns,
    shape: Shape,
    writer: RowWriter,
    written: u64,
    position: Option<Position>,
    /// Counts all rows once the last one is read.
    total: Option<Sql>,
    tail: Tail,
}

/// Why a batch is complete before the rows are.
enum Break {
    Full,
    Failed(BridgeError),
}

impl MyRows {
    pub(crate) fn new(pool: Pool, rows: Running, statement: Statement, call: &Call) -> Self {
        let Statement { shape, total, method } = statement;
        let sources = Arc::clone(&rows.columns);
        let columns = match &shape {
            // Without known columns the statement's own names count.
            Shape::Row(select) if select.outputs.is_empty() => {
                Columns::new(sources.iter().map(|column| &*column.name))
            }
            Shape::Row(select) => Columns::new(select.outputs.iter().map(String::as_str)),
            Shape::Bucket(_) => Columns::default(),
        };
        Self {
            writer: RowWriter::new(call.row_limit),
            rows: Some(rows),
            pool,
            call: *call,
            sources,
            columns,
            shape,
            written: 0,
            position: None,
            total,
            tail: Tail { method, ..Tail::default() },
        }
    }

    async fn fill(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        let deadline = Instant::from_std(self.call.deadline);
        let mut until = deadline;
        while let Some(rows) = &mut self.rows {
            let mut sink = Sink {
                sources: &self.sources,
                columns: &self.columns,
                shape: &self.shape,
                writer: &mut self.writer,
                written: &mut self.written,
                position: &mut self.position,
                next_cursor: &mut self.tail.next_cursor,
                room,
            };
            let step = match self.pool.bounded(until, rows.next_rows(|row| sink.take(row))).await {
                Ok(step) => step,
                // What waits for more rows leaves without them; what has none is late.
                Err(Interrupted::Late) if !self.writer.is_empty() => return Ok(self.writer.take()),
                Err(interrupted) => return Err(interrupted.into()),
            };
            match step.map_err(while_running)? {
                Step::More if !self.writer.is_empty() && until == deadline => {
                    until = deadline.min(Instant::now() + Call::LINGER);
                }
                Step::More => {}
                Step::Stopped(Break::Full) => return Ok(self.writer.take()),
                Step::Stopped(Break::Failed(error)) => return Err(error),
                Step::Done => self.end().await?,
            }
        }
        Ok(self.writer.take())
    }

    /// Counts, if that was asked, and lets go of the connection.
    async fn end(&mut self) -> Result<(), BridgeError> {
        let Some(rows) = self.rows.take() else { return Ok(()) };
        let lease = rows.lease;
        if let Some(sql) = self.total.take() {
            let access = Access { pool: &self.pool, call: &self.call };
            let (total, _lease) = access.number(lease, &sql).await?;
            self.tail.total = Some(total);
        }
        Ok(())
    }
}

impl RowsOut for MyRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(self.fill(room))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

/// Where a row goes.
struct Sink<'a> {
    sources: &'a [Column],
    columns: &'a Columns,
    shape: &'a Shape,
    writer: &'a mut RowWriter,
    written: &'a mut u64,
    position: &'a mut Option<Position>,
    next_cursor: &'a mut Option<String>,
    room: usize,
}

impl Sink<'_> {
    #[inline]
    fn take(&mut self, row: RowView<'_>) -> ControlFlow<Break> {
        let taken = match self.shape {
            Shape::Row(select) => self.row(select, row),
            Shape::Bucket(plan) => self.bucket(plan, row),
        };
        match taken {
            Err(error) => ControlFlow::Break(Break::Failed(error)),
            Ok(()) if self.writer.len() >= self.room => ControlFlow::Break(Break::Full),
            Ok(()) => ControlFlow::Continue(()),
        }
    }

    #[inline]
    fn row(&mut self, select: &Select, row: RowView<'_>) -> Result<(), BridgeError> {
        if select.page.is_some_and(|page| *self.written >= page) {
            *self.next_cursor = self.position.take().map(|position| position.encode());
            return Ok(());
        }
        self.writer.begin_row();
        let values = row.values().zip(self.sources).take(self.columns.len());
        for (index, (value, source)) in values.enumerate() {
            self.writer.key(self.columns, index);
            match value.map_err(while_running)? {
                Some(bytes) => values::write(source, bytes, self.writer).map_err(unreadable)?,
                None => self.writer.null(),
            }
        }
        self.writer.end_row()?;
        *self.written += 1;
        if !select.key.is_empty() && select.page == Some(*self.written) {
            *self.position = Some(self.position_of(row, &select.key)?);
        }
        Ok(())
    }

    fn position_of(&self, row: RowView<'_>, key: &[usize]) -> Result<Position, BridgeError> {
        let entry =
            |column: &usize| match (row.value(*column).map_err(while_running)?, self.sources.get(*column)) {
                (Some(bytes), Some(source)) => values::key_text(source, bytes).map(Some).map_err(unreadable),
                _ => Ok(None),
            };
        Ok(Position(key.iter().map(entry).collect::<Result<_, _>>()?))
    }

    fn bucket(&mut self, plan: &AggregatePlan, row: RowView<'_>) -> Result<(), BridgeError> {
        let cells = self.sources.iter().zip(row.values());
        plan.write_bucket(self.writer, cells, |writer, decode, (source, value)| {
            write_decoded(writer, decode, source, value.map_err(while_running)?).map_err(unreadable)
        })
    }
}

fn write_decoded(
    writer: &mut RowWriter,
    decode: &Decode,
    source: &Column,
    value: Option<&[u8]>,
) -> Result<(), BadValue> {
    let Some(bytes) = value else {
        decode.write_null(writer);
        return Ok(());
    };
    match decode {
        Decode::Native(_) => values::write(source, bytes, writer),
        Decode::Text => values::write_text(bytes, writer),
        Decode::Json => values::write_list(bytes, writer),
        Decode::Number => values::write_number(source, bytes, writer),
        Decode::Step(_) | Decode::Breaks(_) => {
            decode.write_label(writer, values::double_of(source, bytes)?);
            Ok(())
        }
    }
}

fn unreadable(error: BadValue) -> BridgeError {
    BridgeError::Query { message: error.to_string(), native: None, source: None }
}
