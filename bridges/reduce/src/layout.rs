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
    kinds: HashMap<String, Kind>,
    key: Option<String>,
}

impl Schema {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The same with one more column.
    #[must_use]
    pub fn with(mut self, column: impl Into<String>, kind: Kind) -> Self {
        self.kinds.insert(column.into(), kind);
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
        self.kinds.get(column).copied().unwrap_or_default()
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
    kinds: Vec<Kind>,
}

impl Layout {
    /// No column yet.
    pub fn new(schema: Schema) -> Self {
        Self { schema, slots: HashMap::new(), kinds: Vec::new() }
    }

    /// Where the values of `column` are in a row.
    pub fn slot(&mut self, column: &str) -> usize {
        if let Some(slot) = self.slots.get(column) {
            return *slot;
        }
        let slot = self.kinds.len();
        self.kinds.push(self.schema.kind(column));
        self.slots.insert(column.to_owned(), slot);
        slot
    }

    /// What the column of a slot holds.
    pub fn kind(&self, slot: usize) -> Kind {
        self.kinds.get(slot).copied().unwrap_or_default()
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
            if let Some(kind) = self.kinds.get_mut(*slot) {
                *kind = schema.kind(column);
            }
        }
        Self { schema, ..self }
    }

    /// A row in which nothing has been read yet.
    pub(crate) fn empty_row(&self) -> Row {
        vec![Value::Null; self.kinds.len()]
    }

    /// Reads the value of a slot.
    pub(crate) fn read_slot(&self, slot: usize, raw: &RawValue, row: &mut Row) {
        if let Some(place) = row.get_mut(slot) {
            *place = read(raw, self.kind(slot));
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
