//! Which rows of a query are in its answer, and where its pages end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_core::{Position, push_json_str};
use protocol::{Direction, Filter, Invalid, Keyset, OrderBy, Projection, QueryOptions};
use serde_json::value::RawValue;

use super::Known;
use crate::layout::{Layout, Row};
use crate::values::Value;

/// Begins the entry of a cursor that says how many equal rows lie behind it. No value is written like that.
const BEHIND: char = '+';

/// A `query` with everything that decides its rows.
pub(super) struct Selection {
    pub(super) filter: Filter,
    /// The whole order, with what makes it one by key. None: as rows come.
    pub(super) order_by: Vec<OrderBy>,
    /// Where the page before ended.
    pub(super) after: Option<Place>,
    /// Whether a cursor is wanted where there are more rows than the limit.
    pub(super) paged: bool,
    pub(super) offset: u64,
    /// All without.
    pub(super) limit: Option<u64>,
    pub(super) projection: Projection,
    /// Whether all rows that match are counted.
    pub(super) total: bool,
    /// Whether that order is the one in which rows are read, if the columns are of kinds with one order everywhere.
    pub(super) as_read: bool,
}

impl Selection {
    pub(super) fn new(options: QueryOptions, known: &Known) -> Result<Self, Invalid> {
        let mut order_by = options.order_by;
        let mut after = None;
        if let Some(keyset) = &options.keyset {
            append(&mut order_by, keyset, known);
            let decode = |cursor: &String| Place::decode(cursor, order_by.len());
            after = keyset.cursor.as_ref().map(decode).transpose()?;
        }
        Ok(Self {
            as_read: known.in_key_order && is_of_key(&order_by, &known.key),
            filter: options.filter,
            order_by,
            after,
            // A page of no rows has no last row, so no other page comes after it.
            paged: options.keyset.is_some() && options.limit != Some(0),
            offset: options.offset,
            limit: options.limit,
            projection: options.projection,
            total: options.total,
        })
    }

    /// Whether no row can be in the answer and none is counted.
    pub(super) fn asks_for_nothing(&self) -> bool {
        self.limit == Some(0) && !self.total
    }

    /// Rows to pass over where there is no order: those of the offset and of the pages before.
    pub(super) fn behind(&self) -> u64 {
        self.offset.saturating_add(self.after.as_ref().map_or(0, |after| after.behind))
    }

    /// How many rows have to be found to know the answer, those before it included; a page is known to be the last when
    /// there is no row after it.
    pub(super) fn needed(&self) -> Option<u64> {
        Some(self.limit?.saturating_add(self.offset).saturating_add(u64::from(self.paged)))
    }

    /// How many rows have to be read, where it is known: every row is one that is found.
    pub(super) fn rows_to_read(&self) -> Option<u64> {
        let every = self.filter.is_everything() && self.order_by.is_empty() && !self.total;
        let pages_before = self.behind() - self.offset;
        self.needed().filter(|_| every).map(|needed| needed.saturating_add(pages_before))
    }
}

/// Whether an order is that of the key, as far as it goes.
fn is_of_key(order_by: &[OrderBy], key: &[String]) -> bool {
    let same = |(order, column): (&OrderBy, &String)| {
        order.field == *column && order.direction == Direction::Ascending
    };
    order_by.len() <= key.len() && order_by.iter().zip(key).all(same)
}

/// Adds what makes an order one by key, as far as it is not in it.
fn append(order_by: &mut Vec<OrderBy>, keyset: &Keyset, known: &Known) {
    for field in keyset.tiebreak.as_ref().unwrap_or(&known.key) {
        if !order_by.iter().any(|order| order.field == *field) {
            order_by.push(OrderBy { field: field.clone(), direction: Direction::Ascending });
        }
    }
}

/// Where a page ended: the values of the order, and how many rows with just these lie behind it. Nothing means all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    position: Position,
    behind: u64,
}

impl Place {
    /// The end of a page whose last row has these values. `behind` is how many rows with the same values there are up to
    /// it, where more of them follow.
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a Value>, behind: Option<u64>) -> Self {
        Self { position: Position(values.map(json).collect()), behind: behind.unwrap_or(0) }
    }

    /// A cursor: an entry for each column, and one more when equal rows follow.
    pub(super) fn encode(&self) -> String {
        let mut position = self.position.clone();
        if self.behind > 0 {
            position.0.push(Some(format!("{BEHIND}{}", self.behind)));
        }
        position.encode()
    }

    fn decode(cursor: &str, columns: usize) -> Result<Self, Invalid> {
        if let Ok(position) = Position::decode(cursor, columns) {
            return Ok(Self { position, behind: 0 });
        }
        let mut position = Position::decode(cursor, columns.saturating_add(1))?;
        let behind = position.0.pop().flatten();
        let behind = behind.and_then(|entry| entry.strip_prefix(BEHIND)?.parse().ok());
        Ok(Self { position, behind: behind.ok_or_else(foreign)? })
    }

    /// How many rows with these values lie behind; nothing when all do.
    pub(super) fn behind(&self) -> Option<u64> {
        (self.behind > 0).then_some(self.behind)
    }

    /// The values, for an order over the first slots of a layout.
    pub(super) fn row(&self, layout: &Layout, slots: &[usize]) -> Result<Row, Invalid> {
        let mut row = layout.empty_row();
        for (slot, entry) in slots.iter().zip(&self.position.0) {
            let Some(entry) = entry else { continue };
            let raw: &RawValue = serde_json::from_str(entry).map_err(|_| foreign())?;
            layout.read_slot(*slot, raw, &mut row);
        }
        Ok(row)
    }
}

fn foreign() -> Invalid {
    Invalid::new("cursor", "a cursor of this target and order")
}

/// A value as JSON that reads back as an equal one; nothing for null.
fn json(value: &Value) -> Option<String> {
    let quoted = |text: &str| {
        let mut out = String::new();
        push_json_str(&mut out, text);
        out
    };
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => quoted(text),
        Value::Timestamp(timestamp) => quoted(&timestamp.to_string()),
        Value::Bytes(bytes) => quoted(&STANDARD.encode(bytes)),
        Value::Json(json) => json.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Kind, Schema};
    use crate::values::Number;

    fn through_a_cursor(values: &[Value], schema: Schema, behind: Option<u64>) -> (Row, Option<u64>) {
        let cursor = Place::new(values.iter(), behind).encode();
        let place = Place::decode(&cursor, values.len()).unwrap();
        let mut layout = Layout::new(schema);
        let slots: Vec<usize> = (0..values.len()).map(|nth| layout.slot(&nth.to_string())).collect();
        (place.row(&layout, &slots).unwrap(), place.behind())
    }

    #[test]
    fn every_value_comes_through_a_cursor() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Number(Number::parse("12345678901234567890.5").unwrap()),
            Value::Number(Number::parse("1e-300").unwrap()),
            Value::Text("5".to_owned()),
            Value::Text("+5 \"k1.".to_owned()),
            Value::Timestamp(protocol::Timestamp::parse("2026-01-02T03:04:05.000006Z").unwrap()),
            Value::Json(r#"{"a":[1]}"#.to_owned()),
        ];
        for behind in [None, Some(3)] {
            assert_eq!(through_a_cursor(&values, Schema::unknown(), behind), (values.to_vec(), behind));
            for value in &values {
                let alone = std::slice::from_ref(value);
                assert_eq!(through_a_cursor(alone, Schema::unknown(), behind), (alone.to_vec(), behind));
            }
        }
        let bytes = [Value::Bytes(vec![0, 255])];
        let schema = Schema::unknown().with("0", Kind::Bytes);
        assert_eq!(through_a_cursor(&bytes, schema, None), (bytes.to_vec(), None));
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let one = [Value::Text("a".to_owned())];
        let plain = Place::new(one.iter(), None).encode();
        let tied = Place::new(one.iter(), Some(2)).encode();
        for (cursor, columns) in [(plain.as_str(), 0), (&plain, 2), (&tied, 0), ("k1.!!", 1), ("7", 0)] {
            assert!(Place::decode(cursor, columns).is_err(), "{cursor} for {columns}");
        }
        // As many entries as the order has columns, but one of them is no value.
        let mut layout = Layout::default();
        let slots = [layout.slot("a"), layout.slot("b")];
        for cursor in [tied.as_str(), "k1.WyIxIiwieCJd"] {
            let place = Place::decode(cursor, 2).unwrap();
            assert_eq!(place.row(&layout, &slots).unwrap_err().field, "cursor");
        }
    }
}
