//! Documents that the engine has found roughly are looked at again, with the meaning that the engine gives tests: a list
//! matches when one of its values does, and an empty one is null.

use std::rc::Rc;

use bridge_reduce::{Layout, Matcher, Schema};
use semilayer_plugin::Error;
use semilayer_plugin::options::{Filter, Scalar, Test, Where};
use serde_json::value::RawValue;

use super::{Document, Row, Value, tested};
use crate::connect::Hit;
use crate::introspect::{Field, Index, Kind};

/// How deep lists may be in lists.
const MAX_DEPTH: usize = 16;

/// A test of rows that the engine has not made, or has made only roughly.
#[derive(Debug, Clone)]
pub(crate) struct Residual {
    fields: Vec<Field>,
    layout: Layout,
    matcher: Matcher,
    /// The same test for rows with lists.
    condition: Rc<Condition>,
}

/// A condition down to its tests.
#[derive(Debug)]
enum Condition {
    Everything,
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Test(Box<Leaf>),
}

/// A test of one column.
#[derive(Debug)]
struct Leaf {
    field: Field,
    /// Its place among the fields.
    place: usize,
    /// Whether a list passes when none of its values does what is looked for.
    is_negated: bool,
    layout: Layout,
    holds: Matcher,
    fails: Matcher,
}

impl Residual {
    /// Makes a filter ready for the documents of an index.
    pub(crate) fn new(filter: &Filter, index: &Index) -> Result<Self, Error> {
        index.check_documents()?;
        let mut fields: Vec<Field> = Vec::new();
        for name in filter.condition().fields() {
            if !fields.iter().any(|field| field.name == name) {
                fields.push(index.expect(name)?);
            }
        }
        let mut layout = Layout::new(fields.iter().fold(Schema::unknown(), known));
        let matcher = Matcher::new(filter, &mut layout);
        let condition = Rc::new(Condition::new(filter.condition(), &fields));
        Ok(Self { fields, layout, matcher, condition })
    }

    /// The columns that it looks at.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether the document is one that was asked for.
    pub(crate) fn matches(&self, hit: &Hit) -> Result<bool, Error> {
        let mut row = Row(Vec::with_capacity(self.fields.len()));
        row.add(&self.fields, hit, &Document::of(hit)?, tested);
        if self.fields.iter().zip(&row.0).any(|(field, (_, value))| is_list(field, value)) {
            return Ok(self.condition.truth(&row)? == Some(true));
        }
        let row = self.layout.read(&serde_json::to_string(&row)?).map_err(internal)?;
        Ok(self.matcher.matches(&row))
    }
}

impl Condition {
    fn new(condition: &Where, fields: &[Field]) -> Self {
        let all = |parts: &[Where]| parts.iter().map(|part| Self::new(part, fields)).collect();
        match condition {
            Where::Everything => Self::Everything,
            Where::Not(part) => Self::Not(Box::new(Self::new(part, fields))),
            Where::All(parts) => Self::All(all(parts)),
            Where::Any(parts) => Self::Any(all(parts)),
            Where::Field { name, test } => {
                let place = fields.iter().enumerate().find(|(_, field)| field.name == *name);
                place.map_or(Self::Everything, |(place, field)| {
                    Self::Test(Box::new(Leaf::new(place, field, test)))
                })
            }
        }
    }

    /// Nothing where it is not known, as of a comparison with null.
    fn truth(&self, row: &Row<'_>) -> Result<Option<bool>, Error> {
        match self {
            Self::Everything => Ok(Some(true)),
            Self::Not(part) => Ok(part.truth(row)?.map(|truth| !truth)),
            Self::All(parts) => together(parts, row, false),
            Self::Any(parts) => together(parts, row, true),
            Self::Test(leaf) => leaf.truth(row),
        }
    }
}

impl Leaf {
    fn new(place: usize, field: &Field, test: &Test) -> Self {
        let (test, is_negated) = match test {
            Test::NotEqual(value) if *value != Scalar::Null => (Test::Equal(value.clone()), true),
            Test::NotIn(values) => (Test::In(values.clone()), true),
            other => (other.clone(), false),
        };
        let condition = Where::field(field.name.clone(), test);
        let mut layout = Layout::new(known(Schema::unknown(), field));
        let holds = Matcher::new(&Filter::from_where(condition.clone()), &mut layout);
        let fails = Matcher::new(&Filter::from_where(Where::Not(Box::new(condition))), &mut layout);
        Self { field: field.clone(), place, is_negated, layout, holds, fails }
    }

    fn truth(&self, row: &Row<'_>) -> Result<Option<bool>, Error> {
        let Some((name, value)) = row.0.get(self.place) else { return Ok(None) };
        let mut values = Vec::new();
        match value {
            Value::Raw(raw) if is_list(&self.field, value) => flatten(raw, MAX_DEPTH, &mut values),
            other => values.push(serde_json::to_string(other)?),
        }
        if values.is_empty() {
            values.push("null".to_owned());
        }
        let name = serde_json::to_string(name)?;
        let mut truth = Some(false);
        for value in values {
            let row = self.layout.read(&format!("{{{name}:{value}}}")).map_err(internal)?;
            if self.holds.matches(&row) {
                truth = Some(true);
                break;
            }
            if !self.fails.matches(&row) {
                truth = None;
            }
        }
        Ok(truth.map(|truth| truth != self.is_negated))
    }
}

/// All of them, or any: one that is `decisive` decides.
fn together(parts: &[Condition], row: &Row<'_>, decisive: bool) -> Result<Option<bool>, Error> {
    let mut all = Some(!decisive);
    for part in parts {
        match part.truth(row)? {
            Some(truth) if truth == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => all = None,
        }
    }
    Ok(all)
}

/// Whether it is a list of values, each of which counts. Of a column that is JSON and nothing else, a list is the value;
/// one about which indices disagree has values.
fn is_list(field: &Field, value: &Value<'_>) -> bool {
    let is_json = field.kind == Kind::Document && !field.native.contains('|');
    !is_json && matches!(value, Value::Raw(raw) if raw.get().starts_with('['))
}

/// The values of a list and of the lists in it, without nulls.
fn flatten(list: &RawValue, depth: usize, values: &mut Vec<String>) {
    let items: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    for item in items {
        match item.get().as_bytes().first() {
            Some(b'[') if depth > 0 => flatten(item, depth - 1, values),
            None | Some(b'n' | b'[') => {}
            Some(_) => values.push(item.get().to_owned()),
        }
    }
}

fn known(schema: Schema, field: &Field) -> Schema {
    schema.with(field.name.clone(), field.reduced_kind())
}

fn internal(error: bridge_reduce::ReduceError) -> Error {
    Error::internal(error.to_string())
}
