//! Documents become rows.
//!
//! A row has what the document has, as it is stored: where the mapping says that it is an instant, in the form that all
//! bridges give instants; a whole number that not every reader takes as a string of digits.

mod residual;

use std::borrow::Cow;
use std::fmt;

use semilayer_plugin::Error;
use semilayer_plugin::options::{Projection, SCORE, Timestamp};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

pub(crate) use residual::Residual;

use crate::connect::{Hit, Source};
use crate::introspect::{Field, ID, Index, Kind};
use crate::translate::{MILLIS_FORMAT, NANOS_FORMAT};

/// The largest integer that every JSON reader takes exactly: 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// Dates that one request may ask the index for (`index.max_docvalue_fields_search`).
const MOST_DATES: usize = 100;

/// The columns of rows.
#[derive(Debug, Clone)]
pub(crate) enum Columns {
    /// The key, and all that a document has.
    All,
    These(Vec<Field>),
}

/// A row on its way out.
pub(crate) struct Row<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// A value of a row.
enum Value<'a> {
    Null,
    Raw(Cow<'a, RawValue>),
    Text(Cow<'a, str>),
    Score(f64),
}

/// A document's fields as they stand in it.
struct Document<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Columns {
    /// The columns of a projection, each once.
    pub(crate) fn of(projection: &Projection, index: &Index) -> Result<Self, Error> {
        let Some(pairs) = projection.pairs() else {
            index.check_documents()?;
            return Ok(Self::All);
        };
        let mut fields: Vec<Field> = Vec::with_capacity(pairs.len());
        for (_, name) in pairs {
            if !fields.iter().any(|field| field.name == name) {
                fields.push(index.expect(name)?);
            }
        }
        if fields.iter().any(|field| field.kind != Kind::Id) {
            index.check_documents()?;
        }
        Ok(Self::These(fields))
    }

    /// Columns that are to be read from the index, in the form that it gives all of its dates, because in documents
    /// they may be in any.
    pub(crate) fn dates(&self, residual: Option<&Residual>, index: &Index) -> Vec<Json> {
        let fields = match self {
            Self::All => index.columns(),
            Self::These(fields) => {
                fields.iter().chain(residual.map(Residual::fields).into_iter().flatten()).collect()
            }
        };
        let mut names: Vec<(&str, Kind)> =
            fields.into_iter().filter_map(|field| Some((indexed_date(field)?, field.kind))).collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        names.dedup();
        let date = |(name, kind): (&str, Kind)| {
            let format = if kind == Kind::DateNanos { NANOS_FORMAT } else { MILLIS_FORMAT };
            json!({"field": name, "format": format})
        };
        names.into_iter().take(MOST_DATES).map(date).collect()
    }

    /// What of each document it takes to make rows, and to test them.
    pub(crate) fn source(&self, residual: Option<&Residual>) -> Source {
        let Self::These(fields) = self else { return Source::All };
        let tested = residual.map(Residual::fields).unwrap_or_default();
        let paths = fields.iter().chain(tested).filter(|field| field.kind != Kind::Id);
        let mut paths: Vec<String> = paths.map(|field| field.source.clone()).collect();
        paths.sort_unstable();
        paths.dedup();
        if paths.is_empty() {
            Source::None
        } else if paths.iter().any(|path| path.contains(['*', '\\'])) {
            // What would be a pattern there cannot be escaped.
            Source::All
        } else {
            Source::Of(paths)
        }
    }

    /// Makes a row; `scored` ones have their score.
    pub(crate) fn row<'a>(&'a self, hit: &'a Hit, index: &'a Index, scored: bool) -> Result<Row<'a>, Error> {
        let document = Document::of(hit)?;
        let mut row = Row(Vec::new());
        match self {
            Self::All => {
                row.0.push((Cow::Borrowed(ID), Value::Text(Cow::Borrowed(&hit.id))));
                let is_kept = |name: &str| name != ID && !(scored && name == SCORE);
                let values = document.0.into_iter().filter(|(name, _)| is_kept(name));
                row.0.extend(values.map(|(name, raw)| {
                    let raw = Cow::Borrowed(raw);
                    let value = match index.declared(&name) {
                        Some(field) => value(field, hit, raw),
                        None => Value::Raw(raw),
                    };
                    (name, value)
                }));
            }
            Self::These(fields) => row.add(fields, hit, &document, value),
        }
        if scored {
            row.0.push((Cow::Borrowed(SCORE), Value::Score(hit.score.unwrap_or_default())));
        }
        Ok(row)
    }
}

impl<'a> Row<'a> {
    /// Adds columns, whose values `value` makes of what is stored.
    fn add(
        &mut self,
        fields: &'a [Field],
        hit: &'a Hit,
        document: &Document<'a>,
        value: impl Fn(&Field, &Hit, Cow<'a, RawValue>) -> Value<'a>,
    ) {
        for field in fields {
            let value = if field.kind == Kind::Id {
                Value::Text(Cow::Borrowed(hit.id.as_str()))
            } else {
                document.value(&field.source).map_or(Value::Null, |raw| value(field, hit, raw))
            };
            self.0.push((Cow::Borrowed(field.name.as_str()), value));
        }
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Raw(raw) => raw.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Score(score) => serializer.serialize_f64(*score),
        }
    }
}

/// A value as rows have it. What the index has of it does not stand for a list of which it lacks a part.
fn value<'a>(field: &Field, hit: &Hit, raw: Cow<'a, RawValue>) -> Value<'a> {
    match told(field, hit) {
        Some(told) if raw.get().starts_with('[') && dates_of(raw.get()) != Some(told.len()) => {
            Value::Raw(raw)
        }
        told => formed(field, told, raw),
    }
}

/// A value as it is tested: nulls of a list do not count, so that the index has all that matters.
fn tested<'a>(field: &Field, hit: &Hit, raw: Cow<'a, RawValue>) -> Value<'a> {
    formed(field, told(field, hit), raw)
}

/// A date's values as the index has them, in ascending order.
fn told<'h>(field: &Field, hit: &'h Hit) -> Option<&'h [Box<RawValue>]> {
    hit.fields.get(indexed_date(field)?).map(Vec::as_slice)
}

/// How many values the index has of a list and of the lists in it. Nothing where one is null: it has none of that, or
/// another in its place (`null_value`).
fn dates_of(list: &str) -> Option<usize> {
    fn count(json: &Json) -> Option<usize> {
        match json {
            Json::Null => None,
            Json::Array(items) => items.iter().map(count).sum(),
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => Some(1),
        }
    }
    count(&serde_json::from_str(list).ok()?)
}

fn formed<'a>(field: &Field, told: Option<&[Box<RawValue>]>, raw: Cow<'a, RawValue>) -> Value<'a> {
    let changed = match (told, raw.get()) {
        (_, "null") => None,
        (Some([one]), text) if !text.starts_with('[') => changed(field, one.get()),
        (Some(several @ [_, ..]), _) => {
            return Value::Raw(Cow::Owned(listed(field, several.iter().map(|it| &**it))));
        }
        (_, text) if text.starts_with('[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            if items.iter().any(|item| changed(field, item.get()).is_some()) {
                return Value::Raw(Cow::Owned(listed(field, items.into_iter())));
            }
            None
        }
        (_, text) => changed(field, text),
    };
    changed.map_or(Value::Raw(raw), |text| Value::Text(Cow::Owned(text)))
}

/// The field to ask for a date's values as the index has them, where documents may have them in a form of their own.
fn indexed_date(field: &Field) -> Option<&str> {
    let is_date = matches!(field.kind, Kind::Date | Kind::DateNanos);
    let exact = field.exact.as_ref().filter(|exact| is_date && field.has_format && exact.sortable);
    exact.map(|exact| exact.field.as_str())
}

/// A list whose values are as those of a column that has one.
fn listed<'a>(field: &Field, items: impl Iterator<Item = &'a RawValue>) -> Box<RawValue> {
    let item = |raw: &'a RawValue| {
        changed(field, raw.get()).map_or(Value::Raw(Cow::Borrowed(raw)), |text| Value::Text(Cow::Owned(text)))
    };
    let items: Vec<Value<'a>> = items.map(item).collect();
    serde_json::value::to_raw_value(&items).unwrap_or_default()
}

/// The text of a value that rows do not have as documents do.
fn changed(field: &Field, literal: &str) -> Option<String> {
    match field.kind {
        Kind::Integer { .. } => large_integer(literal),
        Kind::Date | Kind::DateNanos => instant(field, literal),
        _ => None,
    }
}

fn large_integer(literal: &str) -> Option<String> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_safe = || digits.parse::<u64>().is_ok_and(|number| number <= MAX_SAFE_INTEGER);
    (is_integer && !is_safe()).then(|| literal.to_owned())
}

/// A date that a reader of its usual format reads; any other stays as it is stored.
fn instant(field: &Field, raw: &str) -> Option<String> {
    if !raw.starts_with('"') {
        return number_of_time(field, raw);
    }
    let text: Cow<'_, str> = serde_json::from_str(raw).ok()?;
    // Four digits are a year, more of them a number that is written as text.
    let is_number = text.len() > 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        number_of_time(field, &text)
    } else {
        Some(Timestamp::parse(&whole_date(&text))?.to_string())
    }
}

fn number_of_time(field: &Field, digits: &str) -> Option<String> {
    let number: i64 = digits.parse().ok()?;
    let micros = number.checked_mul(if field.in_seconds { 1_000_000 } else { 1_000 })?;
    Some(Timestamp::from_micros(micros).to_string())
}

/// ISO 8601 without what the usual format lets people leave out: `2026`, `2026-01`, `2026-01-02T03`.
fn whole_date(text: &str) -> Cow<'_, str> {
    match (text.len(), text.split_once('T')) {
        (4, None) => Cow::Owned(format!("{text}-01-01")),
        (7, None) => Cow::Owned(format!("{text}-01")),
        (_, Some((_, hour))) if hour.len() == 2 => Cow::Owned(format!("{text}:00Z")),
        _ => Cow::Borrowed(text),
    }
}

impl<'a> Document<'a> {
    fn of(hit: &'a Hit) -> Result<Self, Error> {
        match &hit.source {
            Some(source) => Ok(serde_json::from_str(source.get())?),
            None => Ok(Self(Vec::new())),
        }
    }

    /// The value at a path, whose dots may be part of names.
    fn value(&self, path: &str) -> Option<Cow<'a, RawValue>> {
        let own = |name: &str| self.0.iter().find(|(own, _)| own == name).map(|(_, raw)| *raw);
        if let Some(raw) = own(path) {
            return Some(Cow::Borrowed(raw));
        }
        path.match_indices('.').find_map(|(dot, _)| {
            let (outer, inner) = (path.get(..dot)?, path.get(dot + 1..)?);
            within(own(outer)?, inner)
        })
    }
}

/// The value at a path in an object; of several objects the list of their values.
fn within<'a>(raw: &'a RawValue, path: &str) -> Option<Cow<'a, RawValue>> {
    if raw.get().starts_with('{') {
        return serde_json::from_str::<Document<'a>>(raw.get()).ok()?.value(path);
    }
    let items: Vec<&'a RawValue> = serde_json::from_str(raw.get()).ok()?;
    let values: Vec<Cow<'a, RawValue>> = items.into_iter().filter_map(|item| within(item, path)).collect();
    if values.is_empty() {
        return None;
    }
    serde_json::value::to_raw_value(&values).ok().map(Cow::Owned)
}

impl<'de: 'a, 'a> Deserialize<'de> for Document<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Document<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Document<'de>, M::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Document(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
