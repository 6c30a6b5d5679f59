//! Rows as views into the read buffer.

use super::column::Width;
use super::packet::{CUT_SHORT, Fields};
use super::{Column, WireError};

/// One row in the binary form, valid while the closure that got it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowView<'a> {
    nulls: &'a [u8],
    values: &'a [u8],
    columns: &'a [Column],
}

/// The first two bits of a row's null bits mean nothing.
const NULL_BITS_OFFSET: usize = 2;

impl<'a> RowView<'a> {
    /// Reads the body of a row's packet. Lengths are checked as the values are taken.
    #[inline]
    pub(super) fn parse(packet: &'a [u8], columns: &'a [Column]) -> Result<Self, WireError> {
        let mut fields = Fields(packet);
        fields.bytes(1)?;
        let nulls = fields.bytes((columns.len() + 7 + NULL_BITS_OFFSET) / 8)?;
        Ok(Self { nulls, values: fields.rest(), columns })
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.nulls.len() + self.values.len()
    }

    /// The values in column order; `None` is SQL's NULL.
    #[inline]
    pub(crate) fn values(&self) -> Values<'a> {
        Values { nulls: self.nulls, rest: Fields(self.values), columns: self.columns, at: 0 }
    }

    /// The value of one column, or `None` for NULL and for a column that does not exist. Walks over the values before
    /// it: take [`values`](Self::values) for all.
    pub(crate) fn value(&self, column: usize) -> Result<Option<&'a [u8]>, WireError> {
        self.values().nth(column).unwrap_or(Ok(None))
    }
}

/// The values of one row, see [`RowView::values`].
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    nulls: &'a [u8],
    rest: Fields<'a>,
    columns: &'a [Column],
    at: usize,
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Option<&'a [u8]>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let column = self.columns.get(self.at)?;
        let bit = self.at + NULL_BITS_OFFSET;
        self.at += 1;
        let Some(bits) = self.nulls.get(bit / 8) else { return Some(Err(CUT_SHORT)) };
        if bits >> (bit % 8) & 1 == 1 {
            return Some(Ok(None));
        }
        let value = match column.kind.width() {
            Width::Fixed(count) => self.rest.bytes(count),
            Width::Short => self.rest.u8().and_then(|count| self.rest.bytes(usize::from(count))),
            Width::Encoded => self.rest.string(),
        };
        Some(value.map(Some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ColumnType;

    fn columns(kinds: &[ColumnType]) -> Vec<Column> {
        kinds.iter().map(|kind| Column { name: "c".into(), kind: *kind, decimals: 0 }).collect()
    }

    #[test]
    fn values_come_in_order_and_null_is_not_empty() {
        let columns = columns(&[
            ColumnType::Text,
            ColumnType::Long { signed: true },
            ColumnType::Text,
            ColumnType::Date,
        ]);
        let row = RowView::parse(b"\0\x08\x02hi\0\x04\xea\x07\x01\x02", &columns).unwrap();
        let values: Vec<_> = row.values().map(Result::unwrap).collect();
        assert_eq!(values, [Some(&b"hi"[..]), None, Some(&b""[..]), Some(&b"\xea\x07\x01\x02"[..])]);
        assert_eq!(row.value(4).unwrap(), None);
    }

    #[test]
    fn a_row_with_lies_in_it_is_refused() {
        let columns = columns(&[ColumnType::Text, ColumnType::LongLong { signed: true }]);
        for packet in [
            &b"\0"[..],
            b"\0\0\x05abc",
            b"\0\0\x01a\x01\x02",
            b"\0\0\xffabc",
            b"\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let refused = RowView::parse(packet, &columns)
                .and_then(|row| row.values().collect::<Result<Vec<_>, _>>())
                .unwrap_err();
            assert!(matches!(refused, WireError::Protocol(_)), "{packet:?}");
        }
    }
}
