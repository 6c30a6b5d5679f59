//! Rows as views into the read buffer.

use super::WireError;

/// One row, valid while the closure that got it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowView<'a> {
    fields: &'a [u8],
    count: u16,
}

impl<'a> RowView<'a> {
    /// Reads the body of a `DataRow` message that must have `columns` values.
    ///
    /// All lengths are checked here, once, so that whoever takes the values need not think about hostile rows.
    #[inline]
    pub(super) fn parse(body: &'a [u8], columns: usize) -> Result<Self, WireError> {
        let Some((count, fields)) = body.split_first_chunk::<2>() else {
            return Err(WireError::Protocol("a row ends early"));
        };
        let count = u16::from_be_bytes(*count);
        if usize::from(count) != columns {
            return Err(WireError::Protocol("a row has more or fewer values than the result has columns"));
        }
        let mut rest = fields;
        for _ in 0..count {
            match split_value(rest) {
                Some((_, after)) => rest = after,
                None => return Err(WireError::Protocol("a value exceeds its row")),
            }
        }
        if rest.is_empty() {
            Ok(Self { fields, count })
        } else {
            Err(WireError::Protocol("a row has bytes after its last value"))
        }
    }

    /// The values in column order; `None` is SQL's NULL.
    #[inline]
    pub(crate) fn values(&self) -> Values<'a> {
        Values { rest: self.fields, left: self.count }
    }

    /// The value of one column, or `None` for NULL and for a column that does not exist. Walks over the values before
    /// it: take [`values`](Self::values) for all.
    pub(crate) fn value(&self, column: usize) -> Option<&'a [u8]> {
        self.values().nth(column).flatten()
    }
}

/// The values of one row, see [`RowView::values`].
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (value, rest) = split_value(self.rest)?;
        self.rest = rest;
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Values<'_> {}

/// Takes one value with its length off the front; `None` if the length is a lie.
#[inline]
fn split_value(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length == -1 {
        return Some((None, rest));
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &[u8], columns: usize) -> &'static str {
        match RowView::parse(body, columns) {
            Err(WireError::Protocol(what)) => what,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn values_come_in_order_and_null_is_not_empty() {
        let body = b"\0\x03\0\0\0\x02hi\xff\xff\xff\xff\0\0\0\0";
        let row = RowView::parse(body, 3).unwrap();
        assert_eq!(row.values().collect::<Vec<_>>(), [Some(&b"hi"[..]), None, Some(&b""[..])]);
        assert_eq!(row.values().len(), 3);
        assert_eq!(row.value(0), Some(&b"hi"[..]));
        assert_eq!(row.value(3), None);
    }

    #[test]
    fn a_row_with_lies_in_it_is_refused() {
        assert_eq!(refused(b"\0", 0), "a row ends early");
        assert_eq!(
            refused(b"\0\x02\0\0\0\0\0\0\0\0", 1),
            "a row has more or fewer values than the result has columns"
        );
        assert_eq!(refused(b"\0\x01\0\0\0\x05abc", 1), "a value exceeds its row");
        assert_eq!(refused(b"\0\x01\x7f\xff\xff\xffabc", 1), "a value exceeds its row");
        assert_eq!(refused(b"\0\x01\xff\xff\xff\xfe", 1), "a value exceeds its row");
        assert_eq!(refused(b"\0\x01\0\0", 1), "a value exceeds its row");
        assert_eq!(refused(b"\0\x01\0\0\0\0x", 1), "a row has bytes after its last value");
    }
}
