//! A target that was read as a whole, and what its rows say of every other job.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bridge_core::{Bridge, BridgeError, Call, TargetSchema};
use bridge_reduce::{Kind, Layout, Limits, Matcher, Number, Reducer, Schema};
use protocol::{AggregateOptions, Filter, QueryOptions, ReadOptions, Timestamp};
use serde_json::{Map, Value as Json};

use crate::failure::{Failure, Outcome};
use crate::subject::{comparable, finished, page, raw};
use crate::wire::Row;

/// Rows of one page while a target is read.
const PAGE: u64 = 5_000;
/// Different values of a column that are kept.
const MOST_VALUES: usize = 1_000;

/// A target and its rows.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) target: String,
    pub(super) schema: TargetSchema,
    /// In the order of the scan.
    pub(super) rows: Vec<Row>,
    /// Whether these are all.
    pub(super) complete: bool,
    pub(super) columns: Vec<Column>,
}

/// A column of the rows.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) class: Class,
    /// Whether every collation takes its texts alike: printable ASCII, no two of which differ in case or spaces only.
    pub(super) plain: bool,
    pub(super) nulls: bool,
    /// Different values that are not null, in the order in which they come.
    pub(super) values: Vec<Json>,
}

/// What the values of a column are, as far as rows tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Numbers, also as text.
    Number,
    Boolean,
    Text,
    /// Instants and dates.
    Instant,
    /// Text that is only ever compared as a whole: UUIDs, bytes in base64.
    Token,
    /// Documents, nothing at all, or several of the others.
    Other,
}

impl Sample {
    /// Reads a target, with `scans` by pages of `read`.
    pub(super) async fn read(
        bridge: &dyn Bridge,
        call: &Call,
        target: &str,
        most: u64,
        scans: bool,
    ) -> Outcome<Self> {
        let schema = bridge.introspect_target(call, target).await?;
        // One row more, to see whether these are all.
        let mut rows = if scans {
            scan(bridge, call, target, most.saturating_add(1)).await?
        } else {
            let options = QueryOptions { limit: Some(most.saturating_add(1)), ..QueryOptions::default() };
            page(bridge.query(call, target, options).await?).await?.rows
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let complete = rows.len() <= most;
        rows.truncate(most);
        let columns = columns(&schema, &rows);
        Ok(Self { target: target.to_owned(), schema, rows, complete, columns })
    }

    /// What was read, for the report.
    pub(super) fn note(&self) -> String {
        let rows = self.rows.len();
        let all = if self.complete { format!("all {rows} rows") } else { format!("the first {rows} rows") };
        format!("{}: {all}, {} columns", self.target, self.columns.len())
    }

    /// The columns of the primary key.
    pub(super) fn key(&self) -> Vec<&str> {
        let key = self.schema.columns.iter().filter(|column| column.primary_key);
        key.map(|column| column.name.as_str()).collect()
    }

    /// Up to two columns of each class that have values to compare with. Of text only what every collation takes alike.
    pub(super) fn compared(&self) -> Vec<&Column> {
        let classes = [Class::Number, Class::Boolean, Class::Text, Class::Instant, Class::Token];
        classes.into_iter().flat_map(|class| self.of(class).take(2)).collect()
    }

    /// The columns that a filter can name: in `where`, a key that begins with `$` is an operator.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.name.starts_with('$'))
    }

    /// The columns of a class that a filter can name and that have values to compare with.
    pub(super) fn of(&self, class: Class) -> impl Iterator<Item = &Column> {
        let wanted = move |column: &&Column| column.class == class && (class != Class::Text || column.plain);
        self.asked().filter(wanted)
    }

    /// The texts of the rows that a filter matches, sorted; one list for each thing that the values may be to the engine.
    pub(super) fn matching(&self, filter: &Json) -> Outcome<Vec<Vec<String>>> {
        let filter = Filter::parse(&raw(filter)?)?;
        let names: BTreeSet<&str> = filter.condition().fields().into_iter().collect();
        let narrow: Vec<String> = self.rows.iter().map(|row| narrowed(row, &names)).collect();
        let mut answers = Vec::new();
        for schema in self.schemas() {
            let mut layout = Layout::new(schema);
            let matcher = Matcher::new(&filter, &mut layout);
            let mut found = Vec::new();
            for (row, narrow) in self.rows.iter().zip(&narrow) {
                if matcher.matches(&layout.read(narrow).map_err(BridgeError::from)?) {
                    found.push(text_of(row));
                }
            }
            found.sort();
            if !answers.contains(&found) {
                answers.push(found);
            }
        }
        Ok(answers)
    }

    /// Buckets as comparable texts, likewise.
    pub(super) fn buckets(&self, options: &Json) -> Outcome<Vec<Vec<String>>> {
        let options = AggregateOptions::parse(&raw(options)?)?;
        let mut answers = Vec::new();
        for schema in self.schemas() {
            let mut reducer =
                Reducer::new(options.clone(), schema, Limits::default()).map_err(BridgeError::from)?;
            for row in &self.rows {
                reducer.push(&Json::Object(row.clone()).to_string()).map_err(BridgeError::from)?;
            }
            let mut texts = comparable(&finished(reducer)?);
            if options.sort.is_empty() {
                texts.sort();
            }
            if !answers.contains(&texts) {
                answers.push(texts);
            }
        }
        Ok(answers)
    }

    /// What the columns may be to the engine: what their values say, text where it has nothing better, or what it guesses.
    pub(super) fn schemas(&self) -> [Schema; 3] {
        let schema = |kind: fn(Class) -> Kind| {
            let key = match self.key().as_slice() {
                [key] => Schema::unknown().with_key(*key),
                _ => Schema::unknown(),
            };
            self.columns.iter().fold(key, |schema, column| schema.with(&column.name, kind(column.class)))
        };
        [schema(Class::declared), schema(Class::stored_as_text), schema(|_| Kind::Unknown)]
    }

    /// The texts of all rows, sorted.
    pub(super) fn texts(&self) -> Vec<String> {
        sorted_texts(&self.rows)
    }
}

impl Class {
    fn declared(self) -> Kind {
        match self {
            Self::Number => Kind::Number,
            Self::Boolean => Kind::Boolean,
            Self::Text => Kind::Text,
            Self::Instant => Kind::Timestamp,
            Self::Token => Kind::Uuid,
            Self::Other => Kind::Unknown,
        }
    }

    fn stored_as_text(self) -> Kind {
        match self {
            Self::Instant | Self::Token => Kind::Text,
            Self::Number | Self::Boolean | Self::Text | Self::Other => self.declared(),
        }
    }

    /// The class of values that are not null, in a column that the engine calls so.
    fn of(values: &[Json], native: &str) -> Self {
        let native = native.to_lowercase();
        let called = |words: &[&str]| words.iter().any(|word| native.contains(word));
        let every = |test: fn(&Json) -> bool| values.iter().all(test);
        if values.is_empty() {
            Self::Other
        } else if every(Json::is_boolean) {
            Self::Boolean
        } else if every(Json::is_number)
            || every(is_number) && called(&["int", "num", "dec", "money", "serial", "long"])
        {
            Self::Number
        } else if !every(Json::is_string) {
            Self::Other
        } else if every(is_instant) {
            Self::Instant
        } else if called(&["uuid", "byte", "blob", "binary", "bits", "enum"]) {
            Self::Token
        } else {
            Self::Text
        }
    }
}

fn is_number(value: &Json) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| Number::parse(text).is_some())
}

fn is_instant(value: &Json) -> bool {
    let exact = |text: &str| Timestamp::parse(text).is_some_and(|instant| instant.to_string() == text);
    value.as_str().is_some_and(exact)
}

async fn scan(bridge: &dyn Bridge, call: &Call, target: &str, most: u64) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    let mut cursor = None;
    loop {
        let left = most.saturating_sub(rows.len() as u64);
        let options = ReadOptions { limit: left.min(PAGE), cursor, ..ReadOptions::default() };
        let next = page(bridge.read(call, target, options).await?).await?;
        let before = rows.len();
        rows.extend(next.rows);
        match next.tail.next_cursor {
            Some(_) if rows.len() == before => {
                return Err(Failure::wrong(format!("{target}: an empty page with a cursor")));
            }
            Some(next) if (rows.len() as u64) < most => cursor = Some(next),
            _ => return Ok(rows),
        }
    }
}

/// The columns that are declared, then those that rows have beside them.
fn columns(schema: &TargetSchema, rows: &[Row]) -> Vec<Column> {
    let declared = schema.columns.iter().map(|column| (column.name.as_str(), column.kind.as_str()));
    let found: BTreeSet<&str> = rows.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    let known: HashSet<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    let others = found.into_iter().filter(|name| !known.contains(name)).map(|name| (name, ""));
    declared.chain(others).map(|(name, native)| Column::new(name, native, rows)).collect()
}

impl Column {
    fn new(name: &str, native: &str, rows: &[Row]) -> Self {
        let mut seen = HashSet::new();
        let mut values = Vec::new();
        let mut nulls = false;
        for row in rows {
            match row.get(name) {
                None | Some(Json::Null) => nulls = true,
                Some(value) if seen.insert(text_of_value(value)) => values.push(value.clone()),
                Some(_) => {}
            }
        }
        let class = Class::of(&values, native);
        let plain = class != Class::Text || is_plain(&values);
        values.truncate(MOST_VALUES);
        Self { name: name.to_owned(), class, plain, nulls, values }
    }

    /// Some of the values, from all over.
    pub(super) fn some(&self, count: usize) -> impl Iterator<Item = &Json> {
        let step = self.values.len().div_ceil(count.max(1)).max(1);
        self.values.iter().step_by(step)
    }
}

fn is_plain(values: &[Json]) -> bool {
    let mut seen = HashSet::new();
    values.iter().filter_map(Json::as_str).all(|text| {
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        printable && !text.is_empty() && text.trim() == text && seen.insert(text.to_lowercase())
    })
}

/// The row with these columns alone.
pub(super) fn narrowed(row: &Row, names: &BTreeSet<&str>) -> String {
    let fields = names.iter().filter_map(|name| Some(((*name).to_owned(), row.get(*name)?.clone())));
    Json::Object(fields.collect::<Map<_, _>>()).to_string()
}

/// Texts of rows, in an order of their own.
pub(super) fn sorted_texts(rows: &[Row]) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(text_of).collect();
    texts.sort();
    texts
}

/// A text that is the same for equal rows, whatever the order of their columns.
pub(super) fn text_of(row: &Row) -> String {
    let fields: BTreeMap<&String, String> =
        row.iter().map(|(name, value)| (name, text_of_value(value))).collect();
    format!("{fields:?}")
}

pub(super) fn text_of_value(value: &Json) -> String {
    match value {
        Json::Object(row) => text_of(row),
        Json::Array(items) => format!("{:?}", items.iter().map(text_of_value).collect::<Vec<_>>()),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(native: &str, values: &[Json]) -> Class {
        Class::of(values, native)
    }

    #[test]
    fn values_and_the_name_of_the_type_say_what_a_column_is() {
        assert_eq!(class("", &[json!(1), json!(2.5)]), Class::Number);
        assert_eq!(class("numeric(20,6)", &[json!("10.50"), json!("-1")]), Class::Number);
        assert_eq!(class("bigint", &[json!(1), json!("9007199254740993")]), Class::Number);
        assert_eq!(class("text", &[json!("10.50")]), Class::Text);
        assert_eq!(class("interval", &[json!("01:00:00")]), Class::Text);
        assert_eq!(class("boolean", &[json!(true)]), Class::Boolean);
        assert_eq!(class("", &[json!("2026-01-02T03:04:05.678Z")]), Class::Instant);
        assert_eq!(class("", &[json!("2026-01-02")]), Class::Text);
        assert_eq!(class("UUID", &[json!("0a0b0c0d-1111-4222-8333-444455556666")]), Class::Token);
        assert_eq!(class("json", &[json!({"a": 1})]), Class::Other);
        assert_eq!(class("any", &[json!("a"), json!(1)]), Class::Other);
        assert_eq!(class("int", &[]), Class::Other);
    }

    #[test]
    fn only_texts_that_every_collation_takes_alike_are_plain() {
        assert!(is_plain(&[json!("Alpha"), json!("beta 2")]));
        for values in [[json!("a"), json!("A")], [json!("a"), json!("ü")], [json!("a"), json!("b ")]] {
            assert!(!is_plain(&values), "{values:?}");
        }
    }

    #[test]
    fn equal_rows_have_equal_texts() {
        let row = |text: &str| serde_json::from_str::<Row>(text).unwrap();
        assert_eq!(
            text_of(&row(r#"{"a":1,"b":{"x":1,"y":[2]}}"#)),
            text_of(&row(r#"{"b":{"y":[2],"x":1},"a":1}"#))
        );
        assert_ne!(text_of(&row(r#"{"a":1}"#)), text_of(&row(r#"{"a":"1"}"#)));
        assert_ne!(text_of(&row(r#"{"a":null}"#)), text_of(&row("{}")));
    }
}
