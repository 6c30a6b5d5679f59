//! Documents become rows.
//!
//! A row has what the document has, as it is stored: where the mapping says that it is an instant, in the form that all
//! bridges give instants; a whole number that not every reader takes as a string of digits.

mod residual;

use std::borrow::Cow;
use std::fmt;

use bridge_reduce::Number;
use semilayer_plugin::options::{Projection, SCORE, Timestamp};
use semilayer_plugin::{Column, Error};
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

/// How deep lists may be in lists.
const MAX_DEPTH: usize = 16;
/// What the runner takes of columns, and of their names.
const MOST_ANNOUNCED: usize = 2_000;
const MOST_NAME_BYTES: usize = 1_024;

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

    /// What the columns hold, as far as rows may say so.
    pub(crate) fn announced(&self, index: &Index) -> Vec<Column> {
        let columns = match self {
            Self::All => index.columns(),
            Self::These(fields) => fields.iter().collect(),
        };
        let short = columns.into_iter().filter(|field| field.name.len() <= MOST_NAME_BYTES);
        short.take(MOST_ANNOUNCED).map(Field::column).collect()
    }

    /// Columns that are to be read from the index, in the form that it gives all of its dates, because in documents
    /// they may be in any.
    pub(crate) fn dates(&self, residual: Option<&Residual>, index: &Index) -> Vec<Json> {
        let fields = match self {
            Self::All => index.columns(),
            Self::These(fields) => fields.iter().collect(),
        };
        let mut names: Vec<(&str, Kind)> = Vec::new();
        // What is tested comes first: it must not be left out.
        let tested = residual.map(Residual::fields).into_iter().flatten();
        let tested = tested.filter_map(|field| Some((tested_date(field)?, field.kind)));
        let given = fields.into_iter().filter_map(|field| Some((given_date(field)?, field.kind)));
        for date in tested.chain(given) {
            if !names.contains(&date) {
                names.push(date);
            }
        }
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
        value: impl Fn(&Field, &'a Hit, Cow<'a, RawValue>) -> Value<'a>,
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

/// A value as rows have it. Of a list of dates the index does not say where its nulls are: they come last. What the index
/// has does not stand for a list of which it lacks a part.
fn value<'a>(field: &Field, hit: &'a Hit, raw: Cow<'a, RawValue>) -> Value<'a> {
    if given_date(field).is_none() || raw.get() == "null" {
        return formed(field, raw);
    }
    let stored = Dates::of(raw.get());
    match told(field, hit, stored).as_deref() {
        Some([one]) if !stored.is_list => as_instant(one),
        Some(told) if stored.is_list && told.len() == stored.values => {
            let nulls = (0..stored.nulls).map(|_| Value::Null);
            list_of(told.iter().map(|one| as_instant(one)).chain(nulls))
        }
        Some(_) => Value::Raw(raw),
        None => formed(field, raw),
    }
}

/// A value as it is tested: what the index has of it. Of dates it has told that, unless there are too many such columns.
fn tested<'a>(field: &Field, hit: &'a Hit, raw: Cow<'a, RawValue>) -> Value<'a> {
    let told = tested_date(field).and_then(|_| told(field, hit, Dates::of(raw.get())));
    match told {
        Some(told) => list_of(told.into_iter().map(as_instant)),
        None if given_date(field).is_some() => Value::Null,
        None => tested_within(field, raw, MAX_DEPTH),
    }
}

fn tested_within<'a>(field: &Field, raw: Cow<'a, RawValue>, depth: usize) -> Value<'a> {
    if !raw.get().starts_with('[') {
        return if is_held(field, raw.get()) { held(field, raw) } else { Value::Null };
    }
    match depth.checked_sub(1) {
        Some(depth) => {
            list_of(items(&raw).into_iter().map(|item| tested_within(field, Cow::Borrowed(item), depth)))
        }
        None => Value::Null,
    }
}

/// Whether the index has a value at all: it may be told to ignore what is none of its kind.
fn is_held(field: &Field, literal: &str) -> bool {
    match field.kind {
        Kind::Integer { .. } | Kind::Double | Kind::Float => number(literal).is_some(),
        Kind::Boolean => matches!(literal.trim_matches('"'), "true" | "false" | ""),
        Kind::Date | Kind::DateNanos => instant(field, literal).is_some(),
        _ => true,
    }
}

/// A value in the form that the index has it: a whole number is cut to be one, the text of a number is that number, and no
/// text at all is false.
fn held<'a>(field: &Field, raw: Cow<'a, RawValue>) -> Value<'a> {
    let is_text = raw.get().starts_with('"');
    let text = match field.kind {
        Kind::Integer { .. } => number(raw.get()).and_then(|number| {
            let text = number.to_string();
            let whole = text.split_once('.').map(|(whole, _)| whole.to_owned());
            whole.or_else(|| is_text.then_some(text))
        }),
        Kind::Double | Kind::Float if is_text => number(raw.get()).map(|number| number.to_string()),
        Kind::Boolean if raw.get() == "\"\"" => Some("false".to_owned()),
        _ => None,
    };
    text.map_or_else(|| formed(field, raw), |text| Value::Text(Cow::Owned(text)))
}

/// A number, or the text of one.
fn number(literal: &str) -> Option<Number> {
    match literal.starts_with('"') {
        true => Number::parse(&whole_number(&serde_json::from_str::<Cow<'_, str>>(literal).ok()?)?),
        false => Number::parse(literal),
    }
}

/// The number of a text as JSON writes it: the engine takes ` 5`, `+5`, `007`, `.5` and `5.`, too.
fn whole_number(text: &str) -> Option<String> {
    let text = text.trim_matches(|character: char| character <= ' ');
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => ("-", text),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = text.split_at(text.find(['e', 'E']).unwrap_or(text.len()));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let or_zero = |digits: &str| if digits.is_empty() { "0".to_owned() } else { digits.to_owned() };
    let is_unsigned = !mantissa.contains(['-', '+']);
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    let (whole, fraction) = (or_zero(whole.trim_start_matches('0')), or_zero(fraction));
    (is_unsigned && has_digits).then(|| format!("{sign}{whole}.{fraction}{exponent}"))
}

/// A date's values as the index has them, in ascending order, without what stands there for nulls of the document.
fn told<'h>(field: &Field, hit: &'h Hit, stored: Dates) -> Option<Vec<&'h RawValue>> {
    let told = hit.fields.get(indexed_date(field)?)?;
    let mut told: Vec<&RawValue> = told.iter().map(|value| &**value).collect();
    if let Some(null) = field.null_instant {
        let is_null = |raw: &&RawValue| told_instant(raw).map(in_millis) == Some(in_millis(null));
        for _ in 0..stored.nulls {
            if let Some(at) = told.iter().position(is_null) {
                told.remove(at);
            }
        }
    }
    Some(told)
}

fn told_instant(raw: &RawValue) -> Option<Timestamp> {
    let text: Cow<'_, str> = serde_json::from_str(raw.get()).ok()?;
    let Some(unsigned) = text.strip_prefix(['-', '+']) else { return Timestamp::parse(&text) };
    // The engine gives years that have a sign no more digits than they need.
    let (sign, (year, day)) = (text.get(..1)?, unsigned.split_once('-')?);
    Timestamp::parse(&format!("{sign}{year:0>6}-{day}"))
}

fn in_millis(instant: Timestamp) -> i64 {
    instant.micros().div_euclid(1_000)
}

/// A date as the index has told it, in the form that all bridges give instants.
fn as_instant<'a>(told: &'a RawValue) -> Value<'a> {
    match told_instant(told) {
        Some(instant) => Value::Text(Cow::Owned(instant.to_string())),
        None => Value::Raw(Cow::Borrowed(told)),
    }
}

/// What a document has in a column of dates: values and nulls, also those of a list and of the lists in it.
#[derive(Debug, Clone, Copy, Default)]
struct Dates {
    is_list: bool,
    values: usize,
    nulls: usize,
}

impl Dates {
    fn of(stored: &str) -> Self {
        let mut dates = Self { is_list: stored.starts_with('['), ..Self::default() };
        dates.add(&serde_json::from_str(stored).unwrap_or_default());
        dates
    }

    fn add(&mut self, stored: &Json) {
        match stored {
            Json::Null => self.nulls += 1,
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => self.values += 1,
        }
    }
}

/// A value that is stored in one of the usual forms.
fn formed<'a>(field: &Field, raw: Cow<'a, RawValue>) -> Value<'a> {
    formed_within(field, raw, MAX_DEPTH)
}

fn formed_within<'a>(field: &Field, raw: Cow<'a, RawValue>, depth: usize) -> Value<'a> {
    let has_forms = matches!(field.kind, Kind::Integer { .. } | Kind::Date | Kind::DateNanos);
    if has_forms
        && raw.get().starts_with('[')
        && let Some(depth) = depth.checked_sub(1)
    {
        return list_of(items(&raw).into_iter().map(|item| formed_within(field, Cow::Borrowed(item), depth)));
    }
    match changed(field, raw.get()) {
        Some(text) => Value::Text(Cow::Owned(text)),
        None => Value::Raw(raw),
    }
}

fn items(list: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(list.get()).unwrap_or_default()
}

fn list_of<'v>(values: impl Iterator<Item = Value<'v>>) -> Value<'static> {
    let values: Vec<Value<'v>> = values.collect();
    Value::Raw(Cow::Owned(serde_json::value::to_raw_value(&values).unwrap_or_default()))
}

/// The field to ask for a date's values as the index has them.
fn indexed_date(field: &Field) -> Option<&str> {
    let is_date = matches!(field.kind, Kind::Date | Kind::DateNanos);
    let exact = field.exact.as_ref().filter(|exact| is_date && exact.sortable);
    exact.map(|exact| exact.field.as_str())
}

/// The same where rows have what the index has, because documents may have it in a form of their own.
fn given_date(field: &Field) -> Option<&str> {
    indexed_date(field).filter(|_| field.has_format)
}

/// The same where tests look at what the index has: not where some of it stands for null, and which is not known.
fn tested_date(field: &Field) -> Option<&str> {
    indexed_date(field).filter(|_| field.has_format || !field.has_null_value)
}

/// The text of a value that rows do not have as documents do.
fn changed(field: &Field, literal: &str) -> Option<String> {
    match field.kind {
        Kind::Integer { .. } => large_integer(literal),
        Kind::Date | Kind::DateNanos => instant(field, literal).map(|instant| instant.to_string()),
        _ => None,
    }
}

fn large_integer(literal: &str) -> Option<String> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_safe = || digits.parse::<u64>().is_ok_and(|number| number <= MAX_SAFE_INTEGER);
    (is_integer && !is_safe()).then(|| literal.to_owned())
}

/// A date that a reader of its usual format reads, as exact as the index has it; any other stays as it is stored.
fn instant(field: &Field, raw: &str) -> Option<Timestamp> {
    if field.has_format && !field.in_seconds {
        return None;
    }
    let instant = match raw.strip_prefix('"') {
        None => number_of_time(field, raw)?,
        Some(_) => {
            let text: Cow<'_, str> = serde_json::from_str(raw).ok()?;
            // Four digits are a year, more of them a number that is written as text.
            let is_number = text.len() > 4 && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { number_of_time(field, &text)? } else { Timestamp::parse(&whole_date(&text))? }
        }
    };
    Some(match field.kind {
        Kind::DateNanos => instant,
        _ => Timestamp::from_micros(in_millis(instant).checked_mul(1_000)?),
    })
}

fn number_of_time(field: &Field, digits: &str) -> Option<Timestamp> {
    let number: i64 = digits.parse().ok()?;
    number.checked_mul(if field.in_seconds { 1_000_000 } else { 1_000 }).map(Timestamp::from_micros)
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
