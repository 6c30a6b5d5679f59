//! Where rows go: into a batch, with the cursor of a page that is full.

use bridge_core::{BridgeError, Columns, Position, RowWriter};
use bridge_sql::{Decode, Level, Select, Shape};

use super::unreadable;
use crate::values::{Encoding, Input, Stop};

/// What rows take on the wire beyond what they take as JSON: numbers of eight bytes that are one digit.
const WIRE_FACTOR: usize = 4;
const WIRE_SLACK: usize = 64 * 1024;

/// Writes rows.
pub(super) struct Sink {
    shape: Shape,
    encodings: Vec<Encoding>,
    columns: Columns,
    /// A row of more bytes is not even received.
    row_bytes: usize,
    row_limit: usize,
    written: u64,
    page: Option<Page>,
}

/// Why rows are not taken any more.
pub(super) enum Progress {
    /// The batch is full.
    Full,
    /// So many bytes must be there for the next row.
    Wants(usize),
    Failed(BridgeError),
}

/// A page by key, as far as it has come.
struct Page {
    rows: u64,
    key: Vec<usize>,
    level: Option<Level>,
    /// Where each value of the row at hand begins and ends.
    spans: Vec<(usize, usize)>,
    /// The key of the last row, and of the row at hand, as bytes that are equal for equal keys.
    last: Vec<u8>,
    now: Vec<u8>,
    /// How many rows at the end of the page have that key.
    run: u64,
    position: Option<Position>,
    next_cursor: Option<String>,
}

impl Sink {
    /// `encodings` has one for each column of the answer.
    pub(super) fn new(shape: Shape, encodings: Vec<Encoding>, row_limit: usize) -> Self {
        let (columns, page) = match &shape {
            Shape::Row(select) => (Columns::new(select.outputs.iter().map(String::as_str)), Page::of(select)),
            Shape::Bucket(_) => (Columns::default(), None),
        };
        let row_bytes = row_limit.saturating_mul(WIRE_FACTOR).saturating_add(WIRE_SLACK);
        Self { shape, encodings, columns, row_bytes, row_limit, written: 0, page }
    }

    /// Writes rows until the batch has no room, or the bytes no row. Says how many bytes that took.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut RowWriter, room: usize) -> (usize, Progress) {
        let mut input = Input::new(bytes);
        loop {
            let read = bytes.len() - input.left();
            if !out.is_empty() && out.len() >= room {
                return (read, Progress::Full);
            }
            if input.left() == 0 {
                return (read, Progress::Wants(1));
            }
            // Every value takes bytes; of rows without values there would be no end.
            if self.encodings.is_empty() {
                return (read, Progress::Failed(unreadable(Stop::Bad("rows without columns"))));
            }
            let stop = match self.one(&mut input, out) {
                Ok(()) => continue,
                Err(stop) => stop,
            };
            return (read, self.stopped(stop, input.left(), out));
        }
    }

    /// How much of `bytes` may be received for one row.
    pub(super) fn at_most(&self, bytes: usize) -> usize {
        bytes.min(self.row_bytes)
    }

    /// The cursor of the next page, once all rows have been taken.
    pub(super) fn next_cursor(&mut self) -> Option<String> {
        self.page.as_mut()?.next_cursor.take()
    }

    fn stopped(&self, stop: RowStop, there: usize, out: &mut RowWriter) -> Progress {
        match stop {
            RowStop::Value(Stop::More(missing)) => {
                out.abandon_row();
                let wanted = there.saturating_add(missing);
                match wanted > self.row_bytes {
                    true => Progress::Failed(BridgeError::RowTooLarge { limit: self.row_limit }),
                    false => Progress::Wants(wanted),
                }
            }
            RowStop::Value(Stop::TooLarge) => {
                Progress::Failed(BridgeError::RowTooLarge { limit: self.row_limit })
            }
            RowStop::Value(stop) => Progress::Failed(unreadable(stop)),
            RowStop::Row(error) => Progress::Failed(error),
        }
    }

    #[inline]
    fn one(&mut self, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), RowStop> {
        // On a copy: a row that is not wholly there is begun again.
        let mut ahead = *input;
        match &self.shape {
            Shape::Bucket(plan) => plan.write_bucket(out, &self.encodings, |out, decode, encoding| {
                write_decoded(decode, encoding, &mut ahead, out).map_err(RowStop::from)
            })?,
            Shape::Row(_) if self.page.is_none() => self.row(&mut ahead, out)?,
            Shape::Row(_) => self.paged(&mut ahead, out)?,
        }
        *input = ahead;
        self.written += 1;
        Ok(())
    }

    #[inline]
    fn row(&self, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), RowStop> {
        out.begin_row();
        for (index, encoding) in self.encodings.iter().enumerate() {
            if index < self.columns.len() {
                out.key(&self.columns, index);
                encoding.write(input, out)?;
            } else {
                encoding.kind().skip(input)?;
            }
        }
        out.end_row()?;
        Ok(())
    }

    /// A row of a page, or the one behind it, which only says that there is a next page.
    fn paged(&mut self, input: &mut Input<'_>, out: &mut RowWriter) -> Result<(), RowStop> {
        let Some(page) = &mut self.page else { return Ok(()) };
        let row = *input;
        page.spans.clear();
        out.begin_row();
        for (index, encoding) in self.encodings.iter().enumerate() {
            let begin = row.left() - input.left();
            if index < self.columns.len() {
                out.key(&self.columns, index);
                encoding.write(input, out)?;
            } else {
                encoding.kind().skip(input)?;
            }
            page.spans.push((begin, row.left() - input.left()));
        }
        let row = row.read_to(input);
        page.look_at(row, &self.encodings)?;
        if self.written >= page.rows {
            out.abandon_row();
            page.end(self.written);
        } else {
            out.end_row()?;
            page.go_on(row, self.written + 1, &self.encodings)?;
        }
        Ok(())
    }
}

/// Why a row is not written.
enum RowStop {
    Value(Stop),
    Row(BridgeError),
}

impl From<Stop> for RowStop {
    fn from(stop: Stop) -> Self {
        Self::Value(stop)
    }
}

impl From<BridgeError> for RowStop {
    fn from(error: BridgeError) -> Self {
        Self::Row(error)
    }
}

impl Page {
    fn of(select: &Select) -> Option<Self> {
        Some(Self {
            rows: select.page?,
            key: select.key.clone(),
            level: select.level.clone(),
            spans: Vec::new(),
            last: Vec::new(),
            now: Vec::new(),
            run: 0,
            position: None,
            next_cursor: None,
        })
    }

    fn value<'r>(&self, row: &'r [u8], column: usize) -> &'r [u8] {
        self.spans.get(column).and_then(|(begin, end)| row.get(*begin..*end)).unwrap_or_default()
    }

    /// Notes the key of a row.
    fn look_at(&mut self, row: &[u8], encodings: &[Encoding]) -> Result<(), Stop> {
        let mut now = std::mem::take(&mut self.now);
        now.clear();
        for column in &self.key {
            let value = self.value(row, *column);
            match encodings.get(*column) {
                Some(encoding) if encoding.kind().is_float() => {
                    // Zeros are equal, and so is everything that pages take for nothing.
                    let number = encoding.kind().double(&mut Input::new(value))?;
                    let number = number.filter(|number| number.is_finite());
                    let bits = number.map_or(u64::MAX, |number| (number + 0.0).to_bits());
                    now.extend(bits.to_le_bytes());
                }
                // A value says itself where it ends.
                _ => now.extend(value),
            }
        }
        self.now = now;
        Ok(())
    }

    /// Counts a row of the page in, and keeps the position of the last one.
    fn go_on(&mut self, row: &[u8], written: u64, encodings: &[Encoding]) -> Result<(), Stop> {
        self.run = if self.run > 0 && self.now == self.last { self.run + 1 } else { 1 };
        std::mem::swap(&mut self.last, &mut self.now);
        if written == self.rows {
            let entry = |column: &usize| match encodings.get(*column) {
                Some(encoding) => encoding.key_text(&mut Input::new(self.value(row, *column))),
                None => Ok(None),
            };
            self.position = Some(Position(self.key.iter().map(entry).collect::<Result<_, _>>()?));
        }
        Ok(())
    }

    /// Makes the cursor, now that there is a row behind the page.
    fn end(&mut self, written: u64) {
        let Some(position) = self.position.take() else { return };
        self.next_cursor = Some(match &self.level {
            Some(level) => level.cursor(position, self.run, self.run == written, self.now == self.last),
            None => position.encode(),
        });
    }
}

fn write_decoded(
    decode: &Decode,
    encoding: &Encoding,
    input: &mut Input<'_>,
    out: &mut RowWriter,
) -> Result<(), Stop> {
    match decode {
        Decode::Native(_) | Decode::Text => encoding.write(input, out),
        Decode::Number => encoding.kind().write_number(input, out),
        Decode::Json => {
            match encoding.kind().key_text(input)? {
                Some(list) if !list.is_empty() => out.json_or_text(&list),
                _ => decode.write_null(out),
            }
            Ok(())
        }
        Decode::Step(_) | Decode::Breaks(_) => {
            match encoding.kind().double(input)? {
                Some(index) => decode.write_label(out, index),
                None => decode.write_null(out),
            }
            Ok(())
        }
    }
}
