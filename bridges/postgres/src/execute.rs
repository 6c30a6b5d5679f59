//! Runs plans: the server's rows become batches of JSON text, as fast as they are pulled.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod told;

use std::ops::ControlFlow;

use bridge_core::{BoxFuture, BridgeError, Call, Columns, Position, RowBatch, RowWriter, Rows as RowsOut};
use bridge_net::Interrupted;
use bridge_sql::{AggregatePlan, Decode, Select, Shape, Sql, Statement};
use protocol::Tail;
use tokio::time::Instant;

use crate::connect::{Lease, Pool};
use crate::error::is_stale_connection;
use crate::translate::Bound;
use crate::values::{self, Encoding, Types};
use crate::wire::{Column, Format, Param, Query, ResultFormats, RowView, Rows, Step};

/// A statement under way.
pub(crate) type Running = Rows<Lease>;

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

    /// Starts a statement whose values come in the forms that [`Encoding`] reads.
    pub(crate) async fn start(self, lease: Lease, sql: &Sql) -> Result<Running, BridgeError> {
        let formats = ResultFormats::ByColumn(|column: &Column| {
            Encoding::of(column.type_oid, &Types::default()).format()
        });
        self.start_as(lease, sql, formats).await
    }

    /// Runs a statement that answers one whole number, and gives the connection back.
    pub(crate) async fn number(self, lease: Lease, sql: &Sql) -> Result<(u64, Lease), BridgeError> {
        let mut number: Option<u64> = None;
        let lease = self
            .each_row(lease, sql, |row| number = text(row, 0).and_then(|number| number.parse().ok()))
            .await?;
        let number = number.ok_or_else(|| BridgeError::Internal("a count that is no number".to_owned()))?;
        Ok((number, lease))
    }

    /// Runs a statement, hands each of its rows as texts to `each`, and gives the connection back.
    pub(crate) async fn each_row(
        self,
        lease: Lease,
        sql: &Sql,
        mut each: impl FnMut(RowView<'_>),
    ) -> Result<Lease, BridgeError> {
        let mut rows = self.start_as(lease, sql, ResultFormats::Uniform(Format::Text)).await?;
        loop {
            let step = rows.next_rows(|row| {
                each(row);
                ControlFlow::<()>::Continue(())
            });
            let step = self.pool.bounded(self.deadline(), step).await?;
            if matches!(step.map_err(|error| self.pool.origin().failure(error))?, Step::Done) {
                return Ok(rows.into_connection());
            }
        }
    }

    /// A connection that the server has closed since it was last used is replaced.
    async fn start_as(
        self,
        mut lease: Lease,
        sql: &Sql,
        formats: ResultFormats,
    ) -> Result<Running, BridgeError> {
        let bound = Bound::of(sql);
        let params: Vec<_> = bound
            .values
            .iter()
            .map(|value| Param { format: Format::Text, value: Some(value.as_bytes()) })
            .collect();
        let query = Query { sql: &sql.text, param_types: &bound.types, params: &params, formats };
        loop {
            let reused = lease.is_reused();
            match self.pool.bounded(self.deadline(), Rows::start(lease, &query)).await? {
                Ok(rows) => return Ok(rows),
                // Every other idle connection may be as old; each that fails is gone, so this ends.
                Err(error) if reused && is_stale_connection(&error) => lease = self.lease().await?,
                Err(error) => return Err(self.pool.origin().failure(error)),
            }
        }
    }

    fn deadline(self) -> Instant {
        Instant::from_std(self.call.deadline)
    }
}

/// A value that came as text.
pub(crate) fn text(row: RowView<'_>, column: usize) -> Option<&str> {
    row.value(column).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

/// A row stream.
pub(crate) struct PgRows {
    rows: Option<Running>,
    pool: Pool,
    call: Call,
    encodings: Vec<Encoding>,
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

impl PgRows {
    /// `types` are those of columns whose ids are not well known.
    pub(crate) fn new(pool: Pool, rows: Running, statement: Statement, types: &Types, call: &Call) -> Self {
        let Statement { shape, total, method } = statement;
        let encoding = |column: &Column| Encoding::of(column.type_oid, types);
        let encodings: Vec<_> = rows.columns().iter().map(encoding).collect();
        let columns = match &shape {
            // Without known columns the statement's own names count.
            Shape::Row(select) if select.outputs.is_empty() => {
                Columns::new(rows.columns().iter().map(|column| &*column.name))
            }
            Shape::Row(select) => Columns::new(select.outputs.iter().map(String::as_str)),
            Shape::Bucket(_) => Columns::default(),
        };
        Self {
            writer: RowWriter::new(call.row_limit),
            rows: Some(rows),
            pool,
            call: *call,
            encodings,
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
                encodings: &self.encodings,
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
            match step.map_err(|error| self.pool.origin().failure(error))? {
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
        let lease = rows.into_connection();
        if let Some(sql) = self.total.take() {
            let access = Access { pool: &self.pool, call: &self.call };
            let (total, _lease) = access.number(lease, &sql).await?;
            self.tail.total = Some(total);
        }
        Ok(())
    }
}

impl RowsOut for PgRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(self.fill(room))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

/// Where a row goes.
struct Sink<'a> {
    encodings: &'a [Encoding],
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
        let values = row.values().zip(self.encodings).take(self.columns.len());
        for (index, (value, encoding)) in values.enumerate() {
            if self.writer.is_row_too_large() {
                break;
            }
            self.writer.key(self.columns, index);
            match value {
                Some(bytes) => encoding.write(bytes, self.writer).map_err(unreadable)?,
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
        let entry = |column: &usize| match (row.value(*column), self.encodings.get(*column)) {
            (Some(bytes), Some(encoding)) => values::key_text(*encoding, bytes).map(Some).map_err(unreadable),
            _ => Ok(None),
        };
        Ok(Position(key.iter().map(entry).collect::<Result<_, _>>()?))
    }

    fn bucket(&mut self, plan: &AggregatePlan, row: RowView<'_>) -> Result<(), BridgeError> {
        let cells = self.encodings.iter().zip(row.values());
        plan.write_bucket(self.writer, cells, |writer, decode, (encoding, value)| {
            write_decoded(writer, decode, *encoding, value).map_err(unreadable)
        })
    }
}

fn write_decoded(
    writer: &mut RowWriter,
    decode: &Decode,
    encoding: Encoding,
    value: Option<&[u8]>,
) -> Result<(), values::BadValue> {
    let Some(bytes) = value else {
        decode.write_null(writer);
        return Ok(());
    };
    match decode {
        Decode::Native(_) | Decode::Text => encoding.write(bytes, writer),
        Decode::Json => {
            writer.json_or_text(std::str::from_utf8(bytes).map_err(|_| values::BadValue("json"))?);
            Ok(())
        }
        Decode::Number => values::write_number(encoding, bytes, writer),
        Decode::Step(_) | Decode::Breaks(_) => {
            decode.write_label(writer, values::double_of(encoding, bytes)?);
            Ok(())
        }
    }
}

fn unreadable(error: values::BadValue) -> BridgeError {
    BridgeError::Query { message: error.to_string(), native: None, source: None }
}
