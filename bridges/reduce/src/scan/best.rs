//! The best rows of many, in bounded memory.

use std::cmp::Ordering;

use crate::ReduceError;
use crate::layout::Row;
use crate::order::Order;
use crate::values::Value;

/// Rows that are collected beside those that are kept before the worst are dropped, at the least.
const SLACK: usize = 64;

/// The first rows in an order. Rows that are equal in it stay as they came.
#[derive(Debug)]
pub struct Best {
    order: Order,
    keep: usize,
    memory: usize,
    used: usize,
    rows: Vec<Kept>,
    arrived: u64,
    /// Where the last row that is kept stands, once there are more than can be kept.
    last: Option<usize>,
}

/// A row that may be in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The values that the order looks at.
    pub columns: Row,
    /// The row as the answer shows it.
    pub text: String,
    arrived: u64,
}

impl Best {
    /// Keeps the first `keep` rows of an order, in `memory` bytes, about.
    pub fn new(order: Order, keep: usize, memory: usize) -> Self {
        Self { order, keep, memory, used: 0, rows: Vec::new(), arrived: 0, last: None }
    }

    /// Whether a row with these values may be among the first. Saves making the text of one that is not.
    pub fn wants(&self, columns: &[Value]) -> bool {
        let last = self.last.and_then(|last| self.rows.get(last));
        self.keep > 0 && last.is_none_or(|last| self.order.compare(columns, &last.columns).is_lt())
    }

    /// Whether as many rows are there as are kept.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= self.keep
    }

    /// Takes a row.
    ///
    /// # Errors
    /// [`ReduceError::Rows`] when the rows that are kept need more than the memory.
    pub fn take(&mut self, columns: Row, text: String) -> Result<(), ReduceError> {
        if !self.wants(&columns) {
            return Ok(());
        }
        let row = Kept { columns, text, arrived: self.arrived };
        self.arrived += 1;
        self.used = self.used.saturating_add(row.size());
        self.rows.push(row);
        let full = self.rows.len() >= self.keep.saturating_add(self.keep.max(SLACK));
        if full || self.used > self.memory {
            self.drop_worst();
        }
        if self.used > self.memory { Err(ReduceError::Rows { limit: self.memory }) } else { Ok(()) }
    }

    /// The rows that are kept, in order.
    pub fn into_sorted(mut self) -> Vec<Kept> {
        let order = &self.order;
        self.rows.sort_unstable_by(|left, right| compare(order, left, right));
        self.rows.truncate(self.keep);
        self.rows
    }

    fn drop_worst(&mut self) {
        let Some(last) = self.keep.checked_sub(1).filter(|last| *last < self.rows.len()) else { return };
        let order = &self.order;
        self.rows.select_nth_unstable_by(last, |left, right| compare(order, left, right));
        self.rows.truncate(self.keep);
        self.used = self.rows.iter().map(Kept::size).sum();
        self.last = Some(last);
    }
}

impl Kept {
    fn size(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.columns.iter().map(Value::size).sum::<usize>()
    }
}

fn compare(order: &Order, left: &Kept, right: &Kept) -> Ordering {
    order.compare(&left.columns, &right.columns).then(left.arrived.cmp(&right.arrived))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::Direction;

    use super::*;
    use crate::values::Number;

    fn row(value: i64) -> Row {
        vec![Value::Number(Number::Integer(value))]
    }

    fn best(keep: usize, memory: usize) -> Best {
        Best::new(Order::of_first([Direction::Ascending]), keep, memory)
    }

    #[test]
    fn what_cannot_be_in_the_answer_takes_no_memory() {
        let mut best = best(10, 50_000);
        for value in 0..100_000 {
            best.take(row(-value), "x".repeat(100)).unwrap();
        }
        let values: Vec<Row> = best.into_sorted().into_iter().map(|kept| kept.columns).collect();
        assert_eq!(values, (0..10).map(|nth| row(nth - 99_999)).collect::<Vec<_>>());
    }

    #[test]
    fn what_may_all_be_in_the_answer_has_a_limit() {
        let mut best = best(usize::MAX, 50_000);
        let refused = (0..1_000).find_map(|value| best.take(row(value), "x".repeat(100)).err());
        assert!(matches!(refused, Some(ReduceError::Rows { limit: 50_000 })));
    }

    #[test]
    fn nothing_is_kept_of_nothing() {
        let mut best = best(0, 100);
        best.take(row(1), "x".repeat(1_000)).unwrap();
        assert!(!best.wants(&row(0)));
        assert_eq!(best.into_sorted(), []);
    }

    proptest! {
        #[test]
        fn the_first_rows_are_those_of_a_sort(values in prop::collection::vec(-9_i64..9, 0..400), keep in 0_usize..200) {
            let mut best = best(keep, usize::MAX);
            let mut expected = Vec::new();
            for (nth, value) in values.iter().enumerate() {
                let text = nth.to_string();
                // Also the text of a row that is not wanted may be made.
                best.take(row(*value), text.clone()).unwrap();
                expected.push((*value, text));
            }
            expected.sort_by_key(|(value, _)| *value);
            expected.truncate(keep);
            let texts: Vec<String> = best.into_sorted().into_iter().map(|kept| kept.text).collect();
            prop_assert_eq!(texts, expected.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
        }
    }
}
