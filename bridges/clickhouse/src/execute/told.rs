//! What becomes of a server's words, from the body of its answer to JSON: the way of every row, without a pool. For tests
//! and fuzzing.

#[cfg(test)]
mod tests;

use bridge_core::{BridgeError, RowWriter};
use bridge_sql::{Select, Shape, Sql};

use super::sink::{Progress, Sink};
use super::{HEADER_LIMIT, header};
use crate::connect::Received;
use crate::error::while_running;
use crate::values::{Encoding, Input, Stop, Type};

/// The answer to one statement.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows as JSON objects, joined with commas.
    pub rows: String,
    /// How many.
    pub count: u64,
    /// The values of the row that was at hand last, as far as it goes: as measures, which are JSON, and as cursors carry
    /// them.
    pub measures: Vec<String>,
    pub keys: Vec<String>,
    /// Types of values of which other bytes are passed over than are read.
    pub misread: Vec<String>,
    /// Why there are no more rows, where they did not just end: the error's own form.
    pub failure: Option<String>,
}

/// Whether a type's name is one whose values can be read; it prints itself.
pub fn read_type(name: &str) -> Option<String> {
    Type::parse(name).map(|kind| format!("{kind:?}"))
}

/// Reads the body of an answer that comes in `pieces` and writes its rows, of which one has at most `row_limit` bytes as
/// JSON. `tag` marks an error in the middle of them.
pub fn tell(pieces: &[Vec<u8>], tag: Option<&[u8]>, row_limit: usize) -> Told {
    let mut told = Told::default();
    let mut answer =
        Answer { received: Received::new(tag), pieces: pieces.iter(), over: false, ended: false };
    let mut writer = RowWriter::new(row_limit);
    let read = rows(&mut answer, row_limit, &mut told, &mut writer);
    told.failure = read.err().map(|failure| format!("{failure:?}"));
    let batch = writer.take().unwrap_or_default();
    (told.rows, told.count) = (batch.rows, batch.count);
    told
}

/// An answer whose bytes are here already.
struct Answer<'p> {
    received: Received,
    pieces: std::slice::Iter<'p, Vec<u8>>,
    over: bool,
    ended: bool,
}

impl Answer<'_> {
    /// Waits for nothing; otherwise the same as the real one's.
    fn more(&mut self) -> Result<(), BridgeError> {
        let before = self.received.ready().len();
        while !self.ended {
            self.received.go_on();
            if self.received.ready().len() > before || self.received.is_held() {
                return Ok(());
            }
            if self.over {
                self.ended = true;
                let exception = self.received.end();
                return exception.map_or(Ok(()), |exception| Err(while_running(exception.into())));
            }
            match self.pieces.next() {
                Some(piece) => self.received.append(piece).map_err(while_running)?,
                None => self.over = true,
            }
        }
        Ok(())
    }
}

fn rows(
    answer: &mut Answer<'_>,
    row_limit: usize,
    told: &mut Told,
    writer: &mut RowWriter,
) -> Result<(), BridgeError> {
    let encodings = encodings(answer, told)?;
    let outputs = told.columns.clone();
    let select = Select {
        sql: Sql { text: String::new(), params: Vec::new() },
        outputs,
        hidden: 0,
        key: Vec::new(),
        page: None,
        level: None,
        ..Select::default()
    };
    let mut sink = Sink::new(Shape::Row(select), encodings.clone(), row_limit);
    loop {
        read_again(answer.received.ready(), &encodings, told);
        let (read, progress) = sink.take(answer.received.ready(), writer, usize::MAX);
        answer.received.consume(read);
        let wanted = match progress {
            Progress::Full => continue,
            Progress::Failed(error) => {
                writer.abandon_row();
                return Err(error);
            }
            Progress::Wants(wanted) => wanted,
        };
        if answer.ended {
            return match answer.received.ready().is_empty() {
                true => Ok(()),
                false => Err(while_running(answer.received.torn())),
            };
        }
        answer.received.needs(wanted);
        while answer.received.ready().len() < wanted && !answer.ended {
            answer.more()?;
            if answer.received.is_held() {
                break;
            }
        }
    }
}

/// The columns, of which none may be of a type that cannot be read.
fn encodings(answer: &mut Answer<'_>, told: &mut Told) -> Result<Vec<Encoding>, BridgeError> {
    loop {
        match header(answer.received.ready()) {
            Ok((columns, length)) => {
                answer.received.consume(length);
                told.columns = columns.iter().map(|column| column.name.clone()).collect();
                let encoding = |column: &super::Column| {
                    let kind = Type::parse(&column.native);
                    let kind = kind.ok_or_else(|| BridgeError::query(column.native.clone()))?;
                    // By the name, so that there are columns for every way of writing a value.
                    Ok(match column.name.as_bytes() {
                        [b'j', ..] => Encoding::Json(kind),
                        [b'b', ..] => Encoding::As(kind.into_bytes()),
                        _ => Encoding::As(kind),
                    })
                };
                return columns.iter().map(encoding).collect();
            }
            Err(Stop::More(_)) if !answer.ended && answer.received.ready().len() < HEADER_LIMIT => {
                answer.received.needs(answer.received.ready().len() + 1);
                answer.more()?;
            }
            Err(stop) => return Err(BridgeError::query(format!("{stop:?}"))),
        }
    }
}

/// The other ways in which the values of the first row that is at hand are read.
fn read_again(bytes: &[u8], encodings: &[Encoding], told: &mut Told) {
    let (mut measures, mut keys) = (Vec::new(), Vec::new());
    let mut input = Input::new(bytes);
    for encoding in encodings {
        let (mut measure, mut read) = (RowWriter::new(usize::MAX), input);
        let is_read = encoding.kind().write_number(&mut read, &mut measure).is_ok();
        keys.extend(encoding.key_text(&mut input.clone()).ok().flatten());
        // This may do nothing but refuse.
        let _number = encoding.kind().double(&mut input.clone());
        let is_passed = encoding.kind().skip(&mut input).is_ok();
        if is_read {
            measures.push(measure.into_text());
            if !is_passed || read.left() != input.left() {
                told.misread.push(format!("{encoding:?}"));
            }
        }
        if !is_passed {
            break;
        }
    }
    (told.measures, told.keys) = (measures, keys);
}
