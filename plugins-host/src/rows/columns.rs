//! Batches of columns: checked as a whole, then written row by row.
//!
//! What the interface promises about lengths, offsets and kinds is looked at before the first row, so that writing has
//! nothing to decide but whether a value is null.

use std::str::FromStr;

use bridge_core::{BridgeError, RowBatch, RowWriter};
use protocol::Timestamp;

use super::form::{Form, Shape};
use crate::bindings::types::{Column, ColumnBatch, ColumnData, Kind, Packed};

/// A batch that is what it should be, and how much of it has been written.
pub(super) struct Grid {
    columns: Vec<Cells>,
    rows: usize,
    at: usize,
}

/// A column.
struct Cells {
    /// A bit a row; empty when no row is null.
    validity: Vec<u8>,
    values: Values,
}

/// The values of a column by how they are written, one a row.
enum Values {
    Booleans(Vec<u8>),
    Integers(Vec<i64>),
    Unsigned(Vec<u64>),
    Doubles(Vec<f64>),
    /// Days since 1970.
    Dates(Vec<i64>),
    /// Microseconds since 1970.
    Instants(Vec<i64>),
    /// Nothing in them is written otherwise in JSON, so that each can be copied as it stands.
    Plain {
        ends: Vec<u32>,
        text: String,
    },
    Texts(Texts),
    Documents(Texts),
    Bytes {
        ends: Vec<u32>,
        bytes: Vec<u8>,
    },
}

enum Texts {
    Packed { ends: Vec<u32>, text: String },
    Listed(Vec<String>),
}

impl Texts {
    #[inline]
    fn get(&self, row: usize) -> &str {
        match self {
            Self::Packed { ends, text } => text.get(range(ends, row)).unwrap_or_default(),
            Self::Listed(texts) => texts.get(row).map_or("", String::as_str),
        }
    }
}

impl Grid {
    /// Makes sure that a batch keeps the interface's promises. Says which one it breaks.
    pub(super) fn check(batch: ColumnBatch, form: &Form) -> Result<Self, String> {
        let rows = usize::try_from(batch.rows).map_err(|_| "too many rows".to_owned())?;
        if batch.columns.len() != form.kinds.len() {
            return Err(format!(
                "a batch of {} columns where {} were announced",
                batch.columns.len(),
                form.kinds.len()
            ));
        }
        if form.kinds.is_empty() {
            return Err("a batch of columns where none were announced".to_owned());
        }
        let cells = |(index, (column, kind)): (usize, (Column, &Kind))| {
            Cells::check(column, *kind, rows).map_err(|problem| format!("{problem} in column {index}"))
        };
        let columns = batch.columns.into_iter().zip(&form.kinds).enumerate().map(cells);
        Ok(Self { columns: columns.collect::<Result<_, _>>()?, rows, at: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.rows
    }

    /// The next rows, about `room` bytes of them and at least one.
    pub(super) fn take(
        &mut self,
        form: &Form,
        room: usize,
        writer: &mut RowWriter,
    ) -> Result<Option<RowBatch>, BridgeError> {
        let source = |source: &Option<usize>| source.and_then(|source| self.columns.get(source));
        let row = Row { cells: form.sources.iter().map(source).collect(), form };
        while self.at < self.rows && (writer.is_empty() || writer.len() < room) {
            writer.begin_row();
            match form.shape {
                Shape::Plain | Shape::Picked(_) => row.write(writer, self.at, 0..form.sources.len()),
                Shape::Bucket { dimensions, measures } => {
                    row.write_bucket(writer, self.at, dimensions, measures);
                }
            }
            writer.end_row()?;
            self.at += 1;
        }
        Ok(writer.take())
    }
}

/// How a row is written: which column is where.
struct Row<'a> {
    /// Nothing where the batch has no such column.
    cells: Vec<Option<&'a Cells>>,
    form: &'a Form,
}

impl Row<'_> {
    #[inline]
    fn write(&self, writer: &mut RowWriter, row: usize, columns: std::ops::Range<usize>) {
        let cells = self.cells.get(columns.clone()).unwrap_or_default();
        for (index, cells) in columns.zip(cells) {
            // One large column may be asked for under many names.
            if writer.is_row_too_large() {
                return;
            }
            writer.key(&self.form.keys, index);
            match cells {
                Some(cells) => cells.write(writer, row),
                None => writer.null(),
            }
        }
    }

    fn write_bucket(&self, writer: &mut RowWriter, row: usize, dimensions: usize, measures: usize) {
        let count = dimensions + measures;
        writer.object_key("dims");
        writer.begin_object();
        self.write(writer, row, 0..dimensions);
        writer.end_object();
        writer.object_key("measures");
        writer.begin_object();
        self.write(writer, row, dimensions..count);
        writer.end_object();
        writer.object_key("count");
        match self.cells.get(count) {
            Some(Some(cells)) => cells.write(writer, row),
            Some(None) | None => writer.null(),
        }
    }
}

impl Cells {
    fn check(column: Column, kind: Kind, rows: usize) -> Result<Self, String> {
        let Column { validity, data } = column;
        if !validity.is_empty() && validity.len() < rows.div_ceil(8) {
            return Err(format!("{} bytes of validity for {rows} rows", validity.len()));
        }
        let values = match (kind, data) {
            (Kind::Int64, ColumnData::Strings(digits)) => {
                Values::Integers(parsed(full(digits, rows)?, &validity)?)
            }
            (Kind::Uint64, ColumnData::Strings(digits)) => {
                Values::Unsigned(parsed(full(digits, rows)?, &validity)?)
            }
            (kind, data) => Values::check(data, kind, rows)?,
        };
        Ok(Self { validity, values })
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        is_null(&self.validity, row)
    }

    // Called for each value of each row: a call by itself costs as much as writing a short one.
    #[inline(always)]
    fn write(&self, writer: &mut RowWriter, row: usize) {
        if self.is_null(row) {
            writer.null();
            return;
        }
        match &self.values {
            Values::Booleans(values) => writer.boolean(at(values, row) != 0),
            Values::Integers(values) => writer.integer_safe(at(values, row)),
            Values::Unsigned(values) => writer.unsigned_safe(at(values, row)),
            Values::Doubles(values) => writer.double(at(values, row)),
            Values::Instants(values) => writer.timestamp(Timestamp::from_micros(at(values, row))),
            Values::Dates(values) => match Timestamp::from_days(at(values, row)) {
                Some(date) => writer.timestamp(date),
                None => writer.null(),
            },
            Values::Plain { ends, text } => {
                writer.plain_text(text.get(range(ends, row)).unwrap_or_default());
            }
            Values::Texts(texts) => writer.text(texts.get(row)),
            Values::Documents(texts) => writer.json_or_text(texts.get(row)),
            Values::Bytes { ends, bytes } => writer.bytes(bytes.get(range(ends, row)).unwrap_or_default()),
        }
    }
}

impl Values {
    fn check(data: ColumnData, kind: Kind, rows: usize) -> Result<Self, String> {
        let values = match (kind, data) {
            (Kind::Boolean, ColumnData::Bools(values)) => Self::Booleans(full(values, rows)?),
            (Kind::Int64, ColumnData::Ints(values)) => Self::Integers(full(values, rows)?),
            (Kind::Date, ColumnData::Ints(values)) => {
                let values = full(values, rows)?;
                if values.iter().any(|days| Timestamp::from_days(*days).is_none()) {
                    return Err("a date beyond all calendars".to_owned());
                }
                Self::Dates(values)
            }
            (Kind::Timestamp, ColumnData::Ints(values)) => Self::Instants(full(values, rows)?),
            (Kind::Uint64, ColumnData::Uints(values)) => Self::Unsigned(full(values, rows)?),
            (Kind::Float64, ColumnData::Floats(values)) => Self::Doubles(full(values, rows)?),
            (Kind::Decimal | Kind::Text | Kind::Time | Kind::Uuid, ColumnData::Texts(packed)) => {
                match packed_texts(packed, rows)? {
                    (ends, text) if has_escapes(text.as_bytes()) => Self::Texts(Texts::Packed { ends, text }),
                    (ends, text) => Self::Plain { ends, text },
                }
            }
            (Kind::Decimal | Kind::Text | Kind::Time | Kind::Uuid, ColumnData::Strings(texts)) => {
                Self::Texts(Texts::Listed(full(texts, rows)?))
            }
            (Kind::Json, ColumnData::Jsons(packed)) => {
                let (ends, text) = packed_texts(packed, rows)?;
                Self::Documents(Texts::Packed { ends, text })
            }
            (Kind::Json, ColumnData::Strings(texts)) => Self::Documents(Texts::Listed(full(texts, rows)?)),
            (Kind::Binary, ColumnData::Binaries(packed)) => {
                check_offsets(&packed, rows)?;
                Self::Bytes { ends: packed.offsets, bytes: packed.bytes }
            }
            (kind, data) => return Err(format!("{} as {kind:?}", name(&data))),
        };
        Ok(values)
    }
}

fn full<T>(values: Vec<T>, rows: usize) -> Result<Vec<T>, String> {
    if values.len() != rows {
        return Err(format!("{} values for {rows} rows", values.len()));
    }
    Ok(values)
}

#[inline]
fn is_null(validity: &[u8], row: usize) -> bool {
    !validity.is_empty() && validity.get(row / 8).is_none_or(|byte| byte >> (row % 8) & 1 == 0)
}

/// The integers of a language that has none of this size. Where a row has no value, any text may stand.
fn parsed<T: FromStr + Default>(digits: Vec<String>, validity: &[u8]) -> Result<Vec<T>, String> {
    let parse = |(row, digits): (usize, String)| match digits.parse() {
        Ok(number) => Ok(number),
        Err(_) if is_null(validity, row) => Ok(T::default()),
        Err(_) => Err("a text that is no 64-bit integer".to_owned()),
    };
    digits.into_iter().enumerate().map(parse).collect()
}

fn packed_texts(packed: Packed, rows: usize) -> Result<(Vec<u32>, String), String> {
    check_offsets(&packed, rows)?;
    let Packed { offsets: ends, bytes } = packed;
    // Looking at many bytes a step, with a copy after it, takes half the time of the standard library's own look.
    let text =
        simdutf8::basic::from_utf8(&bytes).map_err(|_| "text that is not UTF-8".to_owned())?.to_owned();
    let is_cut = |end: &u32| usize::try_from(*end).is_ok_and(|end| !text.is_char_boundary(end));
    if !text.is_ascii() && ends.iter().any(is_cut) {
        return Err("text that ends within a character".to_owned());
    }
    Ok((ends, text))
}

/// Whether any byte is one that JSON wants escaped. Over a whole column at once the compiler makes this many bytes a step,
/// which the texts by themselves are too short for.
fn has_escapes(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'))
}

/// One offset more than rows, from 0 on, never falling, never beyond the bytes.
fn check_offsets(packed: &Packed, rows: usize) -> Result<(), String> {
    let Packed { offsets, bytes } = packed;
    if offsets.len() != rows.saturating_add(1) {
        return Err(format!("{} offsets for {rows} rows", offsets.len()));
    }
    if offsets.first() != Some(&0) {
        return Err("offsets that do not begin with 0".to_owned());
    }
    if !offsets.is_sorted() {
        return Err("offsets that fall".to_owned());
    }
    let last = offsets.last().and_then(|last| usize::try_from(*last).ok());
    if last.is_none_or(|last| last > bytes.len()) {
        return Err("offsets beyond the bytes".to_owned());
    }
    Ok(())
}

#[inline]
fn range(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let end = |index: usize| ends.get(index).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
    end(row)..end(row + 1)
}

#[inline]
fn at<T: Copy + Default>(values: &[T], row: usize) -> T {
    values.get(row).copied().unwrap_or_default()
}

fn name(data: &ColumnData) -> &'static str {
    match data {
        ColumnData::Bools(_) => "bools",
        ColumnData::Ints(_) => "ints",
        ColumnData::Uints(_) => "uints",
        ColumnData::Floats(_) => "floats",
        ColumnData::Texts(_) => "texts",
        ColumnData::Binaries(_) => "binaries",
        ColumnData::Jsons(_) => "jsons",
        ColumnData::Strings(_) => "strings",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::bindings::types::ColumnInfo;

    const KINDS: [Kind; 12] = [
        Kind::Boolean,
        Kind::Int64,
        Kind::Uint64,
        Kind::Float64,
        Kind::Decimal,
        Kind::Text,
        Kind::Binary,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
        Kind::Uuid,
        Kind::Json,
    ];

    fn form(shape: Shape, columns: &[(&str, Kind)]) -> Form {
        let info = |(name, kind): &(&str, Kind)| ColumnInfo { name: (*name).to_owned(), kind: *kind };
        let columns: Vec<ColumnInfo> = columns.iter().map(info).collect();
        Form::new(shape, &columns, false).unwrap()
    }

    fn packed(texts: &[&str]) -> Packed {
        let mut offsets = vec![0];
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(u32::try_from(bytes.len()).unwrap());
        }
        Packed { offsets, bytes }
    }

    fn strings(texts: [&str; 2]) -> ColumnData {
        ColumnData::Strings(texts.map(str::to_owned).to_vec())
    }

    fn column(data: ColumnData) -> Column {
        Column { validity: Vec::new(), data }
    }

    fn written(batch: ColumnBatch, form: &Form) -> String {
        let mut grid = Grid::check(batch, form).unwrap();
        let mut writer = RowWriter::new(1_000_000);
        grid.take(form, 1_000_000, &mut writer).unwrap().unwrap().rows
    }

    #[test]
    fn every_kind_is_written_as_the_interface_says() {
        let columns = [
            (Kind::Boolean, ColumnData::Bools(vec![0, 2]), ["false", "true"]),
            (Kind::Int64, ColumnData::Ints(vec![-1, 1 << 60]), ["-1", "\"1152921504606846976\""]),
            (Kind::Uint64, ColumnData::Uints(vec![1, u64::MAX]), ["1", "\"18446744073709551615\""]),
            (Kind::Int64, strings(["-1", "1152921504606846976"]), ["-1", "\"1152921504606846976\""]),
            (Kind::Uint64, strings(["1", "18446744073709551615"]), ["1", "\"18446744073709551615\""]),
            (Kind::Float64, ColumnData::Floats(vec![0.5, f64::NAN]), ["0.5", "null"]),
            (Kind::Decimal, ColumnData::Texts(packed(&["1.50", "-0"])), ["\"1.50\"", "\"-0\""]),
            (Kind::Text, ColumnData::Texts(packed(&["", "ü\"\n"])), ["\"\"", "\"ü\\\"\\n\""]),
            (Kind::Text, strings(["a", "b"]), ["\"a\"", "\"b\""]),
            (Kind::Binary, ColumnData::Binaries(packed(&["a", ""])), ["\"YQ==\"", "\"\""]),
            (
                Kind::Date,
                ColumnData::Ints(vec![0, 20_455]),
                ["\"1970-01-01T00:00:00.000Z\"", "\"2026-01-02T00:00:00.000Z\""],
            ),
            (
                Kind::Timestamp,
                ColumnData::Ints(vec![1_000, 1]),
                ["\"1970-01-01T00:00:00.001Z\"", "\"1970-01-01T00:00:00.000001Z\""],
            ),
            (Kind::Json, ColumnData::Jsons(packed(&["[1]", "]"])), ["[1]", "\"]\""]),
        ];
        for (kind, data, expected) in columns {
            let form = form(Shape::Plain, &[("v", kind)]);
            let batch = ColumnBatch { rows: 2, columns: vec![column(data)] };
            let [first, second] = expected;
            assert_eq!(written(batch, &form), format!("{{\"v\":{first}}},{{\"v\":{second}}}"), "{kind:?}");
        }
    }

    #[test]
    fn one_character_in_a_column_that_json_escapes_is_escaped() {
        let form = form(Shape::Plain, &[("v", Kind::Text)]);
        for character in ['"', '\\', '\n', '\u{0}', '\u{1f}'] {
            let texts = ["x".repeat(100), "ü".to_owned(), format!("x{character}x")];
            let column = column(ColumnData::Texts(packed(&[&texts[0], &texts[1], &texts[2]])));
            let rows = written(ColumnBatch { rows: 3, columns: vec![column] }, &form);
            let rows: Vec<Value> = serde_json::from_str(&format!("[{rows}]")).unwrap();
            assert!(rows.iter().zip(&texts).all(|(row, text)| row["v"] == *text), "{character:?}");
        }
    }

    #[test]
    fn a_bit_of_the_validity_is_a_row() {
        let form = form(Shape::Plain, &[("v", Kind::Int64)]);
        let column = Column { validity: vec![0b1111_1101, 0b10], data: ColumnData::Ints((0..10).collect()) };
        let rows = written(ColumnBatch { rows: 10, columns: vec![column] }, &form);
        let rows: Vec<Value> = serde_json::from_str(&format!("[{rows}]")).unwrap();
        let nulls: Vec<usize> = (0..10).filter(|row| rows[*row]["v"].is_null()).collect();
        assert_eq!(nulls, [1, 8]);
    }

    #[test]
    fn digits_are_an_integer_unless_the_row_has_none() {
        let batch = |validity: Vec<u8>, digits| {
            let column = Column { validity, data: strings(digits) };
            ColumnBatch { rows: 2, columns: vec![column] }
        };
        let signed = form(Shape::Plain, &[("v", Kind::Int64)]);
        assert_eq!(written(batch(vec![0b01], ["7", "nothing"]), &signed), r#"{"v":7},{"v":null}"#);
        let unsigned = form(Shape::Plain, &[("v", Kind::Uint64)]);
        for (form, digits) in
            [(&signed, "1.5"), (&signed, ""), (&signed, "9223372036854775808"), (&unsigned, "-1")]
        {
            let refused = Grid::check(batch(Vec::new(), ["7", digits]), form).map(drop).unwrap_err();
            assert_eq!(refused, "a text that is no 64-bit integer in column 0", "{digits}");
        }
    }

    fn data() -> impl Strategy<Value = ColumnData> {
        let packed =
            (proptest::collection::vec(0_u32..8, 0..5), proptest::collection::vec(any::<u8>(), 0..8))
                .prop_map(|(offsets, bytes)| Packed { offsets, bytes });
        let texts = ("[a\"ü{},\\\\]{0,6}", "[a-z1-9\\[\\]]{0,6}", "x?")
            .prop_map(|(a, b, c)| self::packed(&[&a, &b, &c]));
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..5).prop_map(ColumnData::Bools),
            proptest::collection::vec(any::<i64>(), 0..5).prop_map(ColumnData::Ints),
            proptest::collection::vec(any::<u64>(), 0..5).prop_map(ColumnData::Uints),
            proptest::collection::vec(any::<f64>(), 0..5).prop_map(ColumnData::Floats),
            packed.clone().prop_map(ColumnData::Texts),
            packed.clone().prop_map(ColumnData::Binaries),
            packed.prop_map(ColumnData::Jsons),
            texts.clone().prop_map(ColumnData::Texts),
            texts.prop_map(ColumnData::Jsons),
            proptest::collection::vec(".{0,4}", 0..5).prop_map(ColumnData::Strings),
        ]
    }

    proptest! {
        /// Whatever a plugin hands over is either refused, or that many objects with these keys.
        #[test]
        fn no_batch_becomes_anything_but_its_rows(
            rows in 1_u32..5,
            kinds in proptest::collection::vec(proptest::sample::select(&KINDS[..]), 1..3),
            columns in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..2), data()), 1..3),
            room in 0_usize..100,
        ) {
            let names = ["a\"", "b"];
            let infos: Vec<(&str, Kind)> = names.into_iter().zip(kinds).collect();
            let form = form(Shape::Plain, &infos);
            let columns = columns.into_iter().map(|(validity, data)| Column { validity, data }).collect();
            let Ok(mut grid) = Grid::check(ColumnBatch { rows, columns }, &form) else { return Ok(()) };
            let mut writer = RowWriter::new(1_000_000);
            let mut seen = 0;
            while let Some(batch) = grid.take(&form, room, &mut writer).unwrap() {
                let list: Vec<Value> = serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
                prop_assert_eq!(u64::try_from(list.len()).unwrap(), batch.count);
                for row in &list {
                    let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
                    prop_assert_eq!(&keys, &names[..infos.len()]);
                }
                seen += batch.count;
            }
            prop_assert_eq!(seen, u64::from(rows));
        }
    }
}
