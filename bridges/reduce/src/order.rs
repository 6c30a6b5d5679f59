//! The order of rows.

use std::cmp::Ordering;

use protocol::{Direction, OrderBy};

use crate::layout::Layout;
use crate::values::Value;

/// Where null stands in an ascending order. A descending one is the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nulls {
    /// After everything, as PostgreSQL and Oracle have it.
    #[default]
    Largest,
    /// Before everything, as SQLite, MySQL and SQL Server have it.
    Smallest,
}

/// An order by some columns.
#[derive(Debug, Clone)]
pub struct Order {
    keys: Vec<(usize, Direction)>,
    nulls: Nulls,
}

impl Order {
    /// Finds the columns in a layout.
    pub fn new(order_by: &[OrderBy], nulls: Nulls, layout: &mut Layout) -> Self {
        let keys = order_by.iter().map(|key| (layout.slot(&key.field), key.direction)).collect();
        Self { keys, nulls }
    }

    /// By the first values of a row, one after the other.
    pub fn of_first(directions: impl IntoIterator<Item = Direction>) -> Self {
        Self { keys: directions.into_iter().enumerate().collect(), nulls: Nulls::default() }
    }

    /// Which of two rows of that layout comes first.
    pub fn compare(&self, left: &[Value], right: &[Value]) -> Ordering {
        let by_key = |(slot, direction): &(usize, Direction)| {
            let [left, right] = [left, right].map(|row| row.get(*slot).unwrap_or(&Value::Null));
            compare(left, right, *direction, self.nulls)
        };
        self.keys.iter().map(by_key).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Which of two values comes first.
pub(crate) fn compare(left: &Value, right: &Value, direction: Direction, nulls: Nulls) -> Ordering {
    let ascending = match (left.is_null(), right.is_null(), nulls) {
        (true, true, _) => Ordering::Equal,
        (true, false, Nulls::Largest) | (false, true, Nulls::Smallest) => Ordering::Greater,
        (false, true, Nulls::Largest) | (true, false, Nulls::Smallest) => Ordering::Less,
        (false, false, _) => left.total_order(right),
    };
    match direction {
        Direction::Ascending => ascending,
        Direction::Descending => ascending.reverse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(nulls: Nulls, direction: Direction) -> Vec<String> {
        let mut layout = Layout::default();
        let order = Order::new(&[OrderBy { field: "a".to_owned(), direction }], nulls, &mut layout);
        let mut rows: Vec<_> =
            ["10", "null", "9", "9.5"].map(|a| layout.read(&format!("{{\"a\":{a}}}")).unwrap()).into();
        rows.sort_by(|left, right| order.compare(left, right));
        rows.iter().map(|row| row[0].text().unwrap_or_else(|| "null".to_owned())).collect()
    }

    #[test]
    fn nulls_stand_where_the_engine_has_them() {
        assert_eq!(sorted(Nulls::Largest, Direction::Ascending), ["9", "9.5", "10", "null"]);
        assert_eq!(sorted(Nulls::Largest, Direction::Descending), ["null", "10", "9.5", "9"]);
        assert_eq!(sorted(Nulls::Smallest, Direction::Ascending), ["null", "9", "9.5", "10"]);
    }
}
