//! Runs plans: the server's rows become batches of JSON text, as fast as they are pulled.

mod session;
mod sink;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod told;

use bridge_core::{BoxFuture, BridgeError, Call, RowBatch, RowWriter, Rows as RowsOut};
use bridge_net::Interrupted;
use bridge_sql::{Sql, Statement};
use protocol::{ROW_LIMIT_BYTES, Tail};
use tokio::time::Instant;

pub(crate) use self::session::Session;

use self::sink::{Progress, Sink};
use crate::config::BinaryColumns;
use crate::connect::{Answer, Ask, Lease, Pool, Question, StatementId};
use crate::error::{RequestError, while_running};
use crate::translate::{Dialects, params};
use crate::values::{Encoding, Input, Stop, Type};

/// Rows one after the other, behind the names and types of their columns.
pub(crate) const FORMAT: &str = "RowBinaryWithNamesAndTypes";
/// Names and types of columns are not longer, and no table has more of them.
const HEADER_LIMIT: usize = 16 * 1024 * 1024;
const MOST_COLUMNS: usize = 65_536;
/// What is taken whole is not longer: the catalog's answers, and a vector.
const TEXTS_LIMIT: usize = 64 * 1024 * 1024;
/// What a row of it takes besides its text.
const ROW_BYTES: usize = 64;
/// A row of which so much has come, and more is missing, is read again when as much has come once more, or nothing comes.
const LARGE: usize = 64 * 1024;

/// One call's way to the server.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) call: &'a Call,
    pub(crate) session: &'a Session,
    pub(crate) database: &'a str,
    pub(crate) dialects: &'a Dialects,
    pub(crate) binary: &'a BinaryColumns,
}

/// A statement under way, its columns known.
pub(crate) struct Running {
    answer: Answer,
    pub(crate) columns: Vec<Column>,
}

/// A column of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) native: String,
}

impl Access<'_> {
    /// Starts a statement.
    pub(crate) async fn start(self, sql: &Sql) -> Result<Running, BridgeError> {
        let lease = self.pool.lease(self.call).await?;
        self.start_on(lease, sql).await
    }

    /// The same over a connection that is at hand.
    pub(crate) async fn start_on(self, mut lease: Lease, sql: &Sql) -> Result<Running, BridgeError> {
        let params = params(sql);
        let answer = loop {
            let settings = self.session.settings(self.call);
            let question = Question {
                id: StatementId::new(),
                sql: &sql.text,
                params: &params,
                settings: &settings,
                format: FORMAT,
                marked: true,
            };
            let reused = lease.is_reused();
            match self.pool.bounded(self.deadline(), lease.ask(&question)).await? {
                Ok(answer) => break answer,
                // Every other idle connection may be as old; each that fails is gone, so this ends.
                Err(RequestError::Lost(_)) if reused => {}
                // Each time there is a setting less, so this ends, too.
                Err(RequestError::Server(refusal)) if self.session.give_in(&refusal, &settings) => {}
                Err(error) => return Err(while_running(error)),
            }
            lease = self.pool.lease(self.call).await?;
        };
        let begun = self.pool.bounded(self.deadline(), begin(answer)).await?;
        begun.map_err(while_running)
    }

    /// Runs a statement and takes all of its rows, which are few, as texts.
    pub(crate) async fn texts(self, sql: &Sql) -> Result<Vec<Vec<Option<String>>>, BridgeError> {
        let Running { answer, columns } = self.start(sql).await?;
        self.texts_of(answer, &columns).await.map(|(rows, _)| rows)
    }

    /// Runs a statement that answers one whole number.
    pub(crate) async fn number(self, sql: &Sql) -> Result<u64, BridgeError> {
        let lease = self.pool.lease(self.call).await?;
        self.number_on(lease, sql).await
    }

    async fn number_on(self, lease: Lease, sql: &Sql) -> Result<u64, BridgeError> {
        let Running { answer, columns } = self.start_on(lease, sql).await?;
        let (rows, _lease) = self.texts_of(answer, &columns).await?;
        let number = rows.into_iter().flatten().flatten().next().and_then(|text| text.parse().ok());
        number.ok_or_else(|| BridgeError::Internal("a count that is no number".to_owned()))
    }

    async fn texts_of(
        self,
        mut answer: Answer,
        columns: &[Column],
    ) -> Result<(Vec<Vec<Option<String>>>, Lease), BridgeError> {
        let kinds: Option<Vec<Type>> = columns.iter().map(|column| Type::parse(&column.native)).collect();
        let kinds = kinds.ok_or_else(|| unreadable(Stop::Bad("a catalog of other types")))?;
        let mut rows = Vec::new();
        let mut taken = 0_usize;
        loop {
            let mut input = Input::new(answer.ready());
            let mut read = 0;
            while input.left() > 0 {
                let row: Result<Vec<_>, Stop> = kinds.iter().map(|kind| kind.key_text(&mut input)).collect();
                match row {
                    Ok(_) if answer.ready().len() - input.left() == read => {
                        return Err(unreadable(Stop::Bad("rows of no bytes")));
                    }
                    Ok(row) => rows.push(row),
                    Err(Stop::More(_)) => break,
                    Err(stop) => return Err(unreadable(stop)),
                }
                read = answer.ready().len() - input.left();
                taken = taken.saturating_add(ROW_BYTES);
            }
            taken = taken.saturating_add(read);
            answer.consume(read);
            answer.needs(answer.ready().len() + 1);
            if taken.saturating_add(answer.ready().len()) > TEXTS_LIMIT {
                return Err(unreadable(Stop::Bad("more than was asked for")));
            }
            let more = self.pool.bounded(self.deadline(), answer.more()).await?.map_err(while_running)?;
            if !more && answer.ready().is_empty() {
                return Ok((rows, answer.into_lease()));
            }
            if !more && read == 0 {
                return Err(while_running(answer.torn()));
            }
        }
    }

    fn deadline(self) -> Instant {
        Instant::from_std(self.call.deadline)
    }
}

impl Running {
    /// Whether the answer has the columns of its statement. One of nothing at all has none.
    pub(crate) fn has_columns(&self, wanted: usize) -> Result<(), BridgeError> {
        if self.columns.len() == wanted || (self.columns.is_empty() && self.answer.is_ended()) {
            return Ok(());
        }
        Err(while_running(RequestError::Nonsense("rows of other columns than were asked for")))
    }
}

/// Reads the names and types of the columns. An answer of nothing at all has none.
async fn begin(mut answer: Answer) -> Result<Running, RequestError> {
    loop {
        match header(answer.ready()) {
            Ok((columns, length)) => {
                answer.consume(length);
                return Ok(Running { answer, columns });
            }
            Err(Stop::More(_)) if answer.ready().len() < HEADER_LIMIT => {}
            Err(_) => return Err(RequestError::Nonsense("rows without names")),
        }
        answer.needs(answer.ready().len() + 1);
        if !answer.more().await? {
            return match answer.ready().is_empty() {
                true => Ok(Running { answer, columns: Vec::new() }),
                // What was held back may complete it.
                false => match header(answer.ready()) {
                    Ok((columns, length)) => {
                        answer.consume(length);
                        Ok(Running { answer, columns })
                    }
                    Err(_) => Err(answer.torn()),
                },
            };
        }
    }
}

/// Columns, and how many bytes told them.
fn header(bytes: &[u8]) -> Result<(Vec<Column>, usize), Stop> {
    let mut input = Input::new(bytes);
    let count = input.count()?;
    if count > MOST_COLUMNS {
        return Err(Stop::Bad("a table of too many columns"));
    }
    // It is looked through before anything is made of it, because it may come in many pieces.
    let mut ahead = input;
    for _ in 0..2 * count {
        ahead.string()?;
    }
    let mut texts = || input.string().map(|text| String::from_utf8_lossy(text).into_owned());
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(texts()?);
    }
    let mut columns = Vec::new();
    for name in names {
        columns.push(Column { name, native: texts()? });
    }
    Ok((columns, bytes.len() - input.left()))
}

/// A row stream.
pub(crate) struct ChRows {
    answer: Option<Answer>,
    source: Source,
    sink: Sink,
    writer: RowWriter,
    /// Counts all rows once the last one is read.
    total: Option<Sql>,
    tail: Tail,
}

/// What a stream keeps of the source that it came from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) pool: Pool,
    pub(crate) session: std::sync::Arc<Session>,
    pub(crate) dialects: Dialects,
    pub(crate) call: Call,
}

impl ChRows {
    /// `encodings` has one for each column.
    pub(crate) fn new(
        source: Source,
        running: Running,
        statement: Statement,
        encodings: Vec<Encoding>,
    ) -> Self {
        let Statement { shape, total, method } = statement;
        Self {
            answer: Some(running.answer),
            writer: RowWriter::new(source.call.row_limit),
            sink: Sink::new(shape, encodings, source.call.row_limit),
            source,
            total,
            tail: Tail { method, ..Tail::default() },
        }
    }

    async fn fill(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        let deadline = Instant::from_std(self.source.call.deadline);
        let mut until = deadline;
        while let Some(answer) = &mut self.answer {
            let (read, progress) = self.sink.take(answer.ready(), &mut self.writer, room);
            answer.consume(read);
            let wanted = match progress {
                Progress::Full => return Ok(self.writer.take()),
                Progress::Failed(error) => return Err(error),
                Progress::Wants(wanted) => wanted,
            };
            if answer.is_ended() {
                if !answer.ready().is_empty() {
                    return Err(while_running(answer.torn()));
                }
                self.end().await?;
                break;
            }
            if !self.writer.is_empty() && until == deadline {
                until = deadline.min(Instant::now() + Call::LINGER);
            }
            answer.needs(wanted);
            let there = answer.ready().len();
            while answer.ready().len() < wanted && !answer.is_ended() {
                match self.source.pool.bounded(until, answer.more()).await {
                    Ok(more) => {
                        more.map_err(while_running)?;
                    }
                    // What waits for more rows leaves without them; what has none is late.
                    Err(Interrupted::Late) if !self.writer.is_empty() => return Ok(self.writer.take()),
                    Err(interrupted) => return Err(interrupted.into()),
                }
                if answer.is_held() {
                    break;
                }
            }
            let ample = if there > LARGE { self.sink.at_most(there * 2) } else { 0 };
            while answer.ready().len() < ample && !answer.is_ended() && !answer.is_held() {
                let pause = deadline.min(Instant::now() + Call::LINGER);
                match self.source.pool.bounded(pause, answer.more()).await {
                    Ok(more) => {
                        more.map_err(while_running)?;
                    }
                    Err(Interrupted::Late) => break,
                    Err(closed @ Interrupted::Closed) => return Err(closed.into()),
                }
            }
        }
        Ok(self.writer.take())
    }

    /// Counts, if that was asked, and lets go of the connection.
    async fn end(&mut self) -> Result<(), BridgeError> {
        let Some(answer) = self.answer.take() else { return Ok(()) };
        self.tail.next_cursor = self.sink.next_cursor();
        if let Some(sql) = self.total.take() {
            let source = &self.source;
            let access = Access {
                pool: &source.pool,
                call: &source.call,
                session: &source.session,
                database: "",
                dialects: &source.dialects,
                binary: &BinaryColumns::default(),
            };
            self.tail.total = Some(access.number_on(answer.into_lease(), &sql).await?);
        }
        Ok(())
    }
}

impl RowsOut for ChRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(async move {
            let filled = self.fill(room).await;
            if filled.is_err() {
                // Whoever keeps a stream that has failed keeps no connection.
                self.answer = None;
            }
            filled
        })
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

/// What cannot be read, for the caller.
fn unreadable(stop: Stop) -> BridgeError {
    match stop {
        Stop::Bad(what) => BridgeError::query(format!("ClickHouse sent {what}")),
        Stop::NotText => BridgeError::query(
            "a column by which pages go holds bytes that are no text; name it in the source's binaryColumns",
        ),
        Stop::TooLarge => BridgeError::RowTooLarge { limit: ROW_LIMIT_BYTES },
        Stop::More(_) => BridgeError::Internal("a row that was cut".to_owned()),
    }
}
