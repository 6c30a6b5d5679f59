//! Rows as packed columns: the fastest way to the runner, which writes the JSON.
//!
//! Numbers lie side by side, texts in one piece with their ends, nulls as bits; a batch crosses with one copy a column.

mod cell;
mod pieces;

use protocol::Timestamp;

use crate::bindings::semilayer::bridge::types as wit;
use crate::cursor::Batch;
use crate::{Column, Error, Kind};

pub use cell::Cell;
use pieces::Pieces;

/// Bytes of JSON that a number takes on average, with room to spare.
const NUMBER_BYTES: usize = 10;

/// Rows that are pushed value by value, in the order of the columns.
///
/// What is pushed must fit its column; what does not is kept back and named by [`end_row`](Self::end_row), so that the
/// pushes themselves need no `?`.
///
/// ```
/// use semilayer_plugin::{Column, Error, Kind, Table};
///
/// let mut table = Table::new(&[Column::new("id", Kind::Int64).key(), Column::new("name", Kind::Text)]);
/// table.push(1).push("Ada").end_row()?;
/// table.push(2).null().end_row()?;
/// assert_eq!(table.take()?.unwrap().rows(), 2);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Table {
    columns: Vec<Packed>,
    /// Whole rows.
    rows: u32,
    /// The column that the next value is for.
    at: usize,
    /// Bytes of JSON, roughly.
    bytes: usize,
    /// What each row takes beside its texts.
    row_bytes: usize,
    /// The first value that did not fit.
    fault: Option<Error>,
}

/// One column.
#[derive(Debug)]
struct Packed {
    name: String,
    kind: Kind,
    /// One bit a row, up to the last null; empty when there is none.
    validity: Vec<u8>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Bools(Vec<u8>),
    Ints(Vec<i64>),
    Uints(Vec<u64>),
    Floats(Vec<f64>),
    Texts(Pieces),
    Binaries(Pieces),
    Jsons(Pieces),
}

impl Table {
    /// No rows yet.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Self {
        let columns: Vec<Packed> = columns.into_iter().map(Packed::new).collect();
        // A key with quotes, colon and comma, and a value; braces and comma of the row.
        let row_bytes = columns.iter().map(|column| column.name.len() + 4 + NUMBER_BYTES).sum::<usize>() + 3;
        Self { columns, rows: 0, at: 0, bytes: 0, row_bytes, fault: None }
    }

    /// The next value: an integer, a float, a boolean, text, bytes, a [`Timestamp`], raw JSON, a
    /// [`Value`](crate::Value), or an `Option` of them.
    ///
    /// An integer goes into columns of integers, of floats and of days; text into those of text, decimals, times and UUIDs;
    /// a timestamp into those of timestamps and dates.
    #[inline]
    pub fn push(&mut self, value: impl Cell) -> &mut Self {
        value.put(self);
        self
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) -> &mut Self {
        let row = self.rows;
        if let Some(column) = self.next() {
            column.push_null(row);
        }
        self
    }

    /// Text that stands as bytes, for a column that takes text. The runner looks whether it is UTF-8, as it does with all
    /// text, and a job with text that is not fails: what has just come from a database need not be looked at twice.
    #[inline(always)]
    pub fn utf8(&mut self, text: &[u8]) -> &mut Self {
        self.put_with(|data| match data {
            Data::Texts(pieces) => pieces.push(text),
            _ => false,
        });
        self.bytes += text.len();
        self
    }

    /// A document for a column of JSON, as text. What is none reaches the caller as a string.
    #[inline]
    pub fn json(&mut self, document: &str) -> &mut Self {
        self.put_with(|data| data.json(document));
        self.bytes += document.len();
        self
    }

    /// Ends a row.
    ///
    /// # Errors
    /// `internal` when a value did not fit its column, or when there were more or fewer values than columns.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), Error> {
        if self.at != self.columns.len() || self.fault.is_some() {
            return Err(self.row_fault());
        }
        self.at = 0;
        self.rows += 1;
        self.bytes += self.row_bytes;
        Ok(())
    }

    /// Whole rows so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes of JSON that the rows will take, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows, ready for the runner; nothing when there are none.
    ///
    /// # Errors
    /// `internal` when a row was begun and not ended.
    pub fn take(&mut self) -> Result<Option<Batch>, Error> {
        if self.at != 0 || self.fault.is_some() {
            return Err(self.row_fault());
        }
        if self.rows == 0 {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.rows);
        let columns = self.columns.iter_mut().map(|column| column.take(rows)).collect();
        let batch = wit::ColumnBatch { rows, columns };
        self.bytes = 0;
        Ok(Some(Batch(wit::Batch::Columns(batch))))
    }

    /// The column for the next value.
    #[inline]
    fn next(&mut self) -> Option<&mut Packed> {
        let column = self.columns.get_mut(self.at);
        // Beyond the last column, too: `end_row` sees that there were too many.
        self.at += 1;
        column
    }

    #[inline(always)]
    fn put_with(&mut self, put: impl FnOnce(&mut Data) -> bool) {
        let Some(column) = self.next() else { return };
        if !put(&mut column.data) {
            self.note_misfit();
        }
    }

    #[cold]
    fn note_misfit(&mut self) {
        let column = self.columns.get(self.at.saturating_sub(1));
        let (name, kind) =
            column.map_or(("", "value"), |column| (&column.name, crate::column::name_of(column.kind)));
        let message = format!("row {}: the value for column \"{name}\" is no {kind}", self.rows);
        self.fault.get_or_insert_with(|| Error::internal(message));
    }

    #[cold]
    fn row_fault(&self) -> Error {
        self.fault.clone().unwrap_or_else(|| {
            let (row, columns, values) = (self.rows, self.columns.len(), self.at);
            Error::internal(format!("row {row} has {values} values for {columns} columns"))
        })
    }

    #[inline]
    fn put_int(&mut self, value: i64) {
        self.put_with(|data| data.int(value));
    }

    #[inline]
    fn put_uint(&mut self, value: u64) {
        self.put_with(|data| data.uint(value));
    }

    #[inline]
    fn put_float(&mut self, value: f64) {
        self.put_with(|data| match data {
            Data::Floats(values) => {
                values.push(value);
                true
            }
            _ => false,
        });
    }

    #[inline]
    fn put_bool(&mut self, value: bool) {
        self.put_with(|data| match data {
            Data::Bools(values) => {
                values.push(value.into());
                true
            }
            _ => false,
        });
    }

    #[inline(always)]
    fn put_text(&mut self, value: &str) {
        self.utf8(value.as_bytes());
    }

    #[inline]
    fn put_bytes(&mut self, value: &[u8]) {
        self.put_with(|data| match data {
            Data::Binaries(pieces) => pieces.push(value),
            _ => false,
        });
        self.bytes += value.len() / 3 * 4;
    }

    #[inline]
    fn put_timestamp(&mut self, value: Timestamp) {
        let Some(column) = self.next() else { return };
        let fits = match column.kind {
            Kind::Timestamp => column.data.int(value.micros()),
            Kind::Date => column.data.int(value.days()),
            _ => false,
        };
        if !fits {
            self.note_misfit();
        }
    }
}

impl Packed {
    fn new(column: &Column) -> Self {
        let data = match column.kind {
            Kind::Boolean => Data::Bools(Vec::new()),
            Kind::Int64 | Kind::Date | Kind::Timestamp => Data::Ints(Vec::new()),
            Kind::Uint64 => Data::Uints(Vec::new()),
            Kind::Float64 => Data::Floats(Vec::new()),
            Kind::Decimal | Kind::Text | Kind::Time | Kind::Uuid => Data::Texts(Pieces::new(0, 0)),
            Kind::Binary => Data::Binaries(Pieces::new(0, 0)),
            Kind::Json => Data::Jsons(Pieces::new(0, 0)),
        };
        Self { name: column.name.clone(), kind: column.kind, validity: Vec::new(), data }
    }

    /// Bits are kept up to the last null: a value that is there costs nothing.
    fn push_null(&mut self, row: u32) {
        self.set_bits(row / 8 + 1);
        if let Some(last) = self.validity.last_mut() {
            *last &= !(1 << (row % 8));
        }
        self.data.filler();
    }

    /// So many bytes of bits, those that are new all set.
    fn set_bits(&mut self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if self.validity.len() < bytes {
            self.validity.resize(bytes, u8::MAX);
        }
    }

    fn take(&mut self, rows: u32) -> wit::Column {
        if !self.validity.is_empty() {
            self.set_bits(rows.div_ceil(8));
        }
        wit::Column { validity: std::mem::take(&mut self.validity), data: self.data.take() }
    }
}

impl Data {
    #[inline]
    fn int(&mut self, value: i64) -> bool {
        match self {
            Self::Ints(values) => values.push(value),
            Self::Uints(values) => match u64::try_from(value) {
                Ok(value) => values.push(value),
                Err(_) => return false,
            },
            #[expect(clippy::cast_precision_loss, reason = "a column of floats holds the nearest one")]
            Self::Floats(values) => values.push(value as f64),
            Self::Bools(_) | Self::Texts(_) | Self::Binaries(_) | Self::Jsons(_) => return false,
        }
        true
    }

    #[inline]
    fn uint(&mut self, value: u64) -> bool {
        match (self, i64::try_from(value)) {
            (Self::Uints(values), _) => values.push(value),
            (Self::Ints(values), Ok(value)) => values.push(value),
            #[expect(clippy::cast_precision_loss, reason = "a column of floats holds the nearest one")]
            (Self::Floats(values), _) => values.push(value as f64),
            (Self::Ints(_) | Self::Bools(_) | Self::Texts(_) | Self::Binaries(_) | Self::Jsons(_), _) => {
                return false;
            }
        }
        true
    }

    #[inline]
    fn json(&mut self, document: &str) -> bool {
        match self {
            Self::Jsons(pieces) => pieces.push(document.as_bytes()),
            _ => false,
        }
    }

    /// What stands where there is no value.
    fn filler(&mut self) {
        match self {
            Self::Bools(values) => values.push(0),
            Self::Ints(values) => values.push(0),
            Self::Uints(values) => values.push(0),
            Self::Floats(values) => values.push(0.0),
            Self::Texts(pieces) | Self::Binaries(pieces) | Self::Jsons(pieces) => {
                pieces.push(&[]);
            }
        }
    }

    /// The values; the next batch will be about as large as this one.
    fn take(&mut self) -> wit::ColumnData {
        match self {
            Self::Bools(values) => wit::ColumnData::Bools(take_all(values)),
            Self::Ints(values) => wit::ColumnData::Ints(take_all(values)),
            Self::Uints(values) => wit::ColumnData::Uints(take_all(values)),
            Self::Floats(values) => wit::ColumnData::Floats(take_all(values)),
            Self::Texts(pieces) => wit::ColumnData::Texts(pieces.take()),
            Self::Binaries(pieces) => wit::ColumnData::Binaries(pieces.take()),
            Self::Jsons(pieces) => wit::ColumnData::Jsons(pieces.take()),
        }
    }
}

fn take_all<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(table: &mut Table) -> Vec<wit::Column> {
        match table.take().unwrap().unwrap().0 {
            wit::Batch::Columns(batch) => batch.columns,
            wit::Batch::Json(_) => panic!("JSON"),
        }
    }

    fn numbers(range: std::ops::Range<i64>, nulls: &[i64]) -> wit::Column {
        let mut table = Table::new(&[Column::new("n", Kind::Int64)]);
        for n in range {
            table.push((!nulls.contains(&n)).then_some(n)).end_row().unwrap();
        }
        columns(&mut table).remove(0)
    }

    #[test]
    fn nulls_are_bits_from_the_first_one_on() {
        assert!(numbers(0..20, &[]).validity.is_empty());
        assert_eq!(numbers(0..20, &[9, 17]).validity, [0b1111_1111, 0b1111_1101, 0b1111_1101]);
        assert_eq!(numbers(0..9, &[0]).validity, [0b1111_1110, 0b1111_1111]);
        assert_eq!(numbers(0..9, &[8]).validity, [0b1111_1111, 0b1111_1110]);
        assert_eq!(numbers(0..17, &[8, 16]).validity, [0b1111_1111, 0b1111_1110, 0b1111_1110]);
    }

    #[test]
    fn texts_stand_in_one_piece_and_nulls_take_no_room() {
        let mut table = Table::new(&[Column::new("a", Kind::Text), Column::new("b", Kind::Binary)]);
        table.push("one").push(&[1_u8, 2][..]).end_row().unwrap();
        table.null().push(&[][..]).end_row().unwrap();
        table.push("two").push(&[3_u8][..]).end_row().unwrap();
        let [texts, binaries] = columns(&mut table).try_into().unwrap();
        let (wit::ColumnData::Texts(texts), wit::ColumnData::Binaries(binaries)) =
            (texts.data, binaries.data)
        else {
            panic!("not packed")
        };
        assert_eq!((texts.offsets, texts.bytes), (vec![0, 3, 3, 6], b"onetwo".to_vec()));
        assert_eq!((binaries.offsets, binaries.bytes), (vec![0, 2, 2, 3], vec![1, 2, 3]));
        assert!(table.take().unwrap().is_none());
    }

    #[test]
    fn a_value_goes_into_every_column_that_holds_it() {
        let kinds =
            [Kind::Int64, Kind::Uint64, Kind::Float64, Kind::Date, Kind::Decimal, Kind::Uuid, Kind::Json];
        let mut table = Table::new(&kinds.map(|kind| Column::new("x", kind)));
        let day = Timestamp::from_days(2).unwrap();
        table.push(1_u64).push(1).push(1).push(day).push("1.50").push("u").json("{}").end_row().unwrap();
        let data: Vec<_> = columns(&mut table).into_iter().map(|column| column.data).collect();
        assert!(matches!(&data[0], wit::ColumnData::Ints(values) if values == &[1]));
        assert!(matches!(&data[1], wit::ColumnData::Uints(values) if values == &[1]));
        assert!(matches!(&data[2], wit::ColumnData::Floats(values) if values == &[1.0]));
        assert!(matches!(&data[3], wit::ColumnData::Ints(values) if values == &[2]));
        assert!(matches!(&data[6], wit::ColumnData::Jsons(pieces) if pieces.bytes == b"{}"));
    }

    #[test]
    fn a_value_that_does_not_fit_fails_its_row_by_name() {
        let misfit = |kind: Kind, push: fn(&mut Table)| {
            let mut table = Table::new(&[Column::new("first", Kind::Int64), Column::new("second", kind)]);
            table.push(1);
            push(&mut table);
            table.end_row().unwrap_err().message().to_owned()
        };
        let words = |kind: &str| format!("row 0: the value for column \"second\" is no {kind}");
        assert_eq!(misfit(Kind::Int64, |table| _ = table.push("x")), words("int64"));
        assert_eq!(misfit(Kind::Int64, |table| _ = table.push(u64::MAX)), words("int64"));
        assert_eq!(misfit(Kind::Uint64, |table| _ = table.push(-1)), words("uint64"));
        assert_eq!(misfit(Kind::Text, |table| _ = table.push(true)), words("text"));
        assert_eq!(misfit(Kind::Time, |table| _ = table.push(Timestamp::from_micros(0))), words("time"));
    }

    #[test]
    fn a_row_has_as_many_values_as_columns() {
        let mut table = Table::new(&[Column::new("a", Kind::Int64), Column::new("b", Kind::Int64)]);
        assert!(table.push(1).take().is_err());
        assert_eq!(table.end_row().unwrap_err().message(), "row 0 has 1 values for 2 columns");
        assert_eq!(
            table.push(2).push(3).end_row().unwrap_err().message(),
            "row 0 has 3 values for 2 columns"
        );
    }
}
