//! Which columns of a row are needed, and what their JSON means.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::ReduceError;
use crate::values::{Number, Value};

/// How deep lists may be in lists.
const MAX_DEPTH: usize = 16;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// Not known: by the JSON of each value. Text that is exactly an instant as bridges write it is one.
    #[default]
    Unknown,
    /// Numbers, also as text.
    Number,
    /// True and false, also as 1 and 0.
    Boolean,
    /// Text, whatever it looks like.
    Text,
    /// UUIDs, in either case.
    Uuid,
    /// Instants, dates, dates with a time.
    Timestamp,
    /// Bytes in base64.
    Bytes,
}

/// What is known of the columns of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    columns: HashMap<String, Holds>,
    key: Option<String>,
}

/// What is known of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holds {
    pub(crate) kind: Kind,
    /// Whether a list is several values. Otherwise it is one, that equals nothing.
    pub(crate) several: bool,
}

impl Schema {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The same with one more column.
    #[must_use]
    pub fn with(mut self, column: impl Into<String>, kind: Kind) -> Self {
        self.columns.insert(column.into(), Holds { kind, several: false });
        self
    }

    /// The same with one more column, in which rows may have lists of such values: a test holds for a list when it holds for
    /// one of its values, and a negated one when it holds for none. A list of one value is that value, and one of none is
    /// null. What groups, orders or measures takes a list of several as a whole.
    #[must_use]
    pub fn with_several(mut self, column: impl Into<String>, kind: Kind) -> Self {
        self.columns.insert(column.into(), Holds { kind, several: true });
        self
    }

    /// The same with the primary key's only column, which `ids` of an aggregate means.
    #[must_use]
    pub fn with_key(mut self, column: impl Into<String>) -> Self {
        self.key = Some(column.into());
        self
    }

    /// What a column holds.
    pub fn kind(&self, column: &str) -> Kind {
        self.holds(column).kind
    }

    fn holds(&self, column: &str) -> Holds {
        self.columns.get(column).copied().unwrap_or_default()
    }

    /// The primary key's only column.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// The needed values of a row, in the order of its layout.
pub type Row = Vec<Value>;

/// The columns that somebody needs.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    schema: Schema,
    slots: HashMap<String, usize>,
    holds: Vec<Holds>,
}

impl Layout {
    /// No column yet.
    pub fn new(schema: Schema) -> Self {
        Self { schema, slots: HashMap::new(), holds: Vec::new() }
    }

    /// Where the values of `column` are in a row.
    pub fn slot(&mut self, column: &str) -> usize {
        if let Some(slot) = self.slots.get(column) {
            return *slot;
        }
        let slot = self.holds.len();
        self.holds.push(self.schema.holds(column));
        self.slots.insert(column.to_owned(), slot);
        slot
    }

    /// What the column of a slot holds.
    pub fn kind(&self, slot: usize) -> Kind {
        self.holds(slot).kind
    }

    pub(crate) fn holds(&self, slot: usize) -> Holds {
        self.holds.get(slot).copied().unwrap_or_default()
    }

    /// What is known of the columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The columns with their slots.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.slots.iter().map(|(column, slot)| (column.as_str(), *slot))
    }

    /// The same columns of a target of which something else is known.
    pub(crate) fn with_schema(mut self, schema: Schema) -> Self {
        for (column, slot) in &self.slots {
            if let Some(holds) = self.holds.get_mut(*slot) {
                *holds = schema.holds(column);
            }
        }
        Self { schema, ..self }
    }

    /// A row in which nothing has been read yet.
    pub(crate) fn empty_row(&self) -> Row {
        vec![Value::Null; self.holds.len()]
    }

    /// Reads the value of a slot.
    pub(crate) fn read_slot(&self, slot: usize, raw: &RawValue, row: &mut Row) {
        if let Some(place) = row.get_mut(slot) {
            *place = read_any(raw, self.holds(slot));
        }
    }

    /// Reads the needed columns of a row. What is missing is null.
    pub fn read(&self, json: &str) -> Result<Row, ReduceError> {
        let mut row = self.empty_row();
        let find = |column: &str| self.slots.get(column).copied();
        each_column(json, find, |slot, raw| self.read_slot(slot, raw, &mut row))?;
        Ok(row)
    }
}

/// Hands the values of those columns of a row to `take` that `find` finds, with what it finds for them.
pub(crate) fn each_column<'t, T>(
    json: &'t str,
    find: impl Fn(&str) -> Option<T>,
    take: impl FnMut(T, &'t RawValue),
) -> Result<(), ReduceError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(RowVisitor { find, take }).map_err(ReduceError::Row)?;
    deserializer.end().map_err(ReduceError::Row)
}

struct RowVisitor<F, T> {
    find: F,
    take: T,
}

impl<'de, P, F: Fn(&str) -> Option<P>, T: FnMut(P, &'de RawValue)> Visitor<'de> for RowVisitor<F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        while let Some(found) = map.next_key_seed(KeySeed(&self.find))? {
            match found {
                Some(found) => (self.take)(found, map.next_value::<&RawValue>()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Looks at a key without keeping it.
struct KeySeed<'a, F>(&'a F);

impl<'de, P, F: Fn(&str) -> Option<P>> DeserializeSeed<'de> for KeySeed<'_, F> {
    type Value = Option<P>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<P, F: Fn(&str) -> Option<P>> Visitor<'_> for KeySeed<'_, F> {
    type Value = Option<P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.0)(key))
    }
}

fn read_any(raw: &RawValue, holds: Holds) -> Value {
    if !(holds.several && raw.get().starts_with('[')) {
        return read(raw, holds.kind);
    }
    let mut values = values(raw.get(), holds.kind);
    match values.pop() {
        None => Value::Null,
        Some(value) if values.is_empty() => value,
        Some(_) => Value::Json(raw.get().to_owned()),
    }
}

/// The values of a list and of the lists in it, without nulls.
pub(crate) fn values(list: &str, kind: Kind) -> Vec<Value> {
    fn collect(list: &str, kind: Kind, depth: usize, values: &mut Vec<Value>) {
        let items: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
        for item in items {
            match item.get().as_bytes().first() {
                Some(b'[') if depth > 0 => collect(item.get(), kind, depth - 1, values),
                None | Some(b'n' | b'[') => {}
                Some(_) => values.push(read(item, kind)),
            }
        }
    }
    let mut values = Vec::new();
    collect(list, kind, MAX_DEPTH, &mut values);
    values
}

fn read(raw: &RawValue, kind: Kind) -> Value {
    let text = raw.get();
    match text.as_bytes().first() {
        None | Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'[' | b'{') => Value::Json(text.to_owned()),
        Some(b'"') => match String::deserialize(raw) {
            Ok(text) => of_text(text, kind),
            // A lone surrogate: no text, but not nothing either.
            Err(_) => Value::Json(text.to_owned()),
        },
        Some(_) => of_number(text, kind),
    }
}

fn of_text(text: String, kind: Kind) -> Value {
    let read = match kind {
        Kind::Unknown => Timestamp::parse(&text).filter(|it| it.to_string() == text).map(Value::Timestamp),
        Kind::Number => Number::parse(&text).map(Value::Number),
        Kind::Boolean => text.parse().ok().map(Value::Bool),
        Kind::Text => None,
        Kind::Uuid => return Value::Text(text.to_ascii_lowercase()),
        Kind::Timestamp => Timestamp::parse(&text).map(Value::Timestamp),
        Kind::Bytes => STANDARD.decode(&text).ok().map(Value::Bytes),
    };
    read.unwrap_or(Value::Text(text))
}

fn of_number(text: &str, kind: Kind) -> Value {
    let number = Number::parse(text);
    match (kind, number) {
        (Kind::Boolean, Some(Number::Integer(bit @ (0 | 1)))) => Value::Bool(bit == 1),
        (Kind::Text, _) | (_, None) => Value::Text(text.to_owned()),
        (_, Some(number)) => Value::Number(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_needed_columns_are_read_and_missing_ones_are_null() {
        let mut layout = Layout::new(Schema::unknown().with("b", Kind::Text));
        let (b, missing, a) = (layout.slot("b"), layout.slot("missing"), layout.slot("a"));
        let row = layout.read(r#"{"skipped":{"deep":[1]},"a":1.50,"b":7}"#).unwrap();
        assert_eq!(row[a], Value::Number(Number::parse("1.5").unwrap()));
        assert_eq!((&row[b], &row[missing]), (&Value::Text("7".to_owned()), &Value::Null));
        assert_eq!(layout.slot("a"), a);
    }

    #[test]
    fn a_list_is_what_is_in_it_where_a_column_has_several_values() {
        let schema = Schema::unknown().with_several("a", Kind::Number).with("b", Kind::Number);
        let mut layout = Layout::new(schema);
        let (a, b) = (layout.slot("a"), layout.slot("b"));
        let read = |list: &str| {
            let row = layout.read(&format!("{{\"a\":{list},\"b\":{list}}}")).unwrap();
            assert_eq!(row[b], Value::Json(list.to_owned()));
            row[a].clone()
        };
        for nothing in ["[]", "[null]", "[[],[null]]"] {
            assert_eq!(read(nothing), Value::Null, "{nothing}");
        }
        for one in ["[5]", "[null,[\"5\"]]"] {
            assert_eq!(read(one), Value::Number(Number::Integer(5)), "{one}");
        }
        assert_eq!(read("[5,null,5]"), Value::Json("[5,null,5]".to_owned()));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let layout = Layout::default();
        for text in ["", "[]", "5", "{\"a\":}", "{} {}"] {
            assert!(layout.read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_known_by_their_exact_text() {
        let mut layout = Layout::default();
        layout.slot("a");
        let read = |text: &str| layout.read(&format!("{{\"a\":\"{text}\"}}")).unwrap().remove(0);
        assert!(matches!(read("2026-01-02T03:04:05.678Z"), Value::Timestamp(_)));
        assert!(matches!(read("2026-01-02"), Value::Text(_)));
    }
}
