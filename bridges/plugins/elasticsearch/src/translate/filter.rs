//! A `where` as a query.
//!
//! The engine knows no third truth value: a document without a value is found by no test and by the negation of each. So
//! a condition is not negated as a whole. It is translated twice, once for the rows for which it is true and once for those
//! for which it is false, down to the tests, where "false" means that there is a value and the test does not hold.
//!
//! What the engine cannot say exactly it says as nearly as it can, with every row that was asked for among what it finds;
//! the caller then looks at each row again.

use std::collections::BTreeSet;

use semilayer_plugin::Error;
use semilayer_plugin::options::{Comparison, Filter, Scalar, Test, TextMatch, Where};
use serde_json::{Value as Json, json};

use super::operand::{self, Bound};
use super::pattern::pattern;
use super::query::{Condition, Query, any_of};
use crate::introspect::{Exact, Field, Index, Kind, is_address};

/// Values that one list of a query may have (`index.max_terms_count`).
const MAX_TERMS: usize = 65_536;
/// Words of texts that one test looks for: each is a clause of the query (`indices.query.bool.max_clause_count` is 1 024).
const MOST_WORDS: usize = 1_000;
/// The format of instants, which is asked for by name because a field may have another.
pub(crate) const MILLIS_FORMAT: &str = "strict_date_optional_time";
pub(crate) const NANOS_FORMAT: &str = "strict_date_optional_time_nanos";

/// What is known of values that are too long for the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// No row has one.
    None,
    /// Some may.
    Possible,
}

/// A filter in the engine's words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filtered {
    /// Nothing where no row can match.
    pub(crate) query: Option<Json>,
    /// Whether it finds exactly the rows that were asked for; otherwise also others.
    pub(crate) is_exact: bool,
    /// Finds rows with values that are too long for the index, where such would make a difference.
    pub(crate) losses: Vec<Json>,
}

/// Translates a filter.
pub(crate) fn translate(filter: &Filter, index: &Index, loss: Loss) -> Result<Filtered, Error> {
    let mut translator = Translator { index, loss, losses: BTreeSet::new() };
    let query = translator.condition(filter.condition(), true)?;
    Ok(Filtered {
        is_exact: query.is_exact,
        query: match query.condition {
            Condition::Everything => Some(json!({"match_all": {}})),
            Condition::Nothing => None,
            Condition::These(query) => Some(query),
        },
        losses: translator.losses.iter().filter_map(|name| lost(&index.field(name)?)).collect(),
    })
}

/// Rows whose value of a field is not in the index because it is too long.
pub(super) fn lost(field: &Field) -> Option<Json> {
    let exact = field.exact.as_ref()?;
    exact.ignore_above?;
    let ignored = json!({"term": {"_ignored": exact.field}});
    Some(if exact.field == field.name {
        ignored
    } else {
        let none = json!({"bool": {"filter": [exists(&field.name)], "must_not": [exists(&exact.field)]}});
        any_of(vec![none, ignored])
    })
}

struct Translator<'a> {
    index: &'a Index,
    loss: Loss,
    /// Columns of whose values the longest would make a difference.
    losses: BTreeSet<String>,
}

impl Translator<'_> {
    /// The rows for which a condition is true, or those for which it is false.
    fn condition(&mut self, condition: &Where, wanted: bool) -> Result<Query, Error> {
        match condition {
            Where::Everything if wanted => Ok(Query::everything()),
            Where::Everything => Ok(Query::nothing()),
            Where::Not(part) => self.condition(part, !wanted),
            Where::All(parts) | Where::Any(parts) => {
                let queries =
                    parts.iter().map(|part| self.condition(part, wanted)).collect::<Result<Vec<_>, _>>()?;
                let is_all = matches!(condition, Where::All(_));
                Ok(if is_all == wanted { Query::all(queries) } else { Query::any(queries) })
            }
            Where::Field { name, test } => {
                let field = self.index.expect(name)?;
                Ok(self.test(&field, test, wanted))
            }
        }
    }

    fn test(&mut self, field: &Field, test: &Test, wanted: bool) -> Query {
        match test {
            Test::Equal(Scalar::Null) | Test::Exists(false) => nullness(field, wanted),
            Test::NotEqual(Scalar::Null) | Test::Exists(true) => nullness(field, !wanted),
            Test::Never => self.constant(!wanted),
            Test::Always => self.constant(wanted),
            Test::Equal(value) => self.among(field, std::slice::from_ref(value), wanted),
            Test::NotEqual(value) => self.among(field, std::slice::from_ref(value), !wanted),
            Test::In(values) => self.among(field, values, wanted),
            Test::NotIn(values) => self.among(field, values, !wanted),
            Test::Compare(_, Scalar::Null) => Query::nothing(),
            Test::Compare(comparison, value) => {
                let found = self.range(field, *comparison, value);
                either(field, found, wanted)
            }
            Test::Text(text_match, operand) => {
                let found = self.text(field, *text_match, operand);
                either(field, found, wanted)
            }
        }
    }

    fn constant(&self, holds: bool) -> Query {
        if holds { Query::everything() } else { Query::nothing() }
    }

    /// Rows whose value is one of these, or those whose value is none of them. Where one of these is null, no value is
    /// known to be none of them.
    fn among(&mut self, field: &Field, values: &[Scalar], wanted: bool) -> Query {
        if !wanted && values.contains(&Scalar::Null) {
            return Query::nothing();
        }
        let found = self.equal(field, values);
        either(field, found, wanted)
    }

    fn equal(&mut self, field: &Field, values: &[Scalar]) -> Query {
        let texts = || values.iter().filter_map(operand::text);
        match field.kind {
            Kind::Id => chunked(texts().map(Json::from), |values| json!({"ids": {"values": values}})),
            Kind::Text if field.exact.is_none() => equal_analysed(field, texts()),
            Kind::FlattenedKey => {
                chunked(texts().map(Json::from), |values| json!({"terms": {&field.name: values}})).inexact()
            }
            _ => match field.exact.as_ref().filter(|exact| exact.indexed) {
                Some(exact) => self.equal_exact(field, exact, values),
                None => present(field).inexact(),
            },
        }
    }

    fn equal_exact(&mut self, field: &Field, exact: &Exact, values: &[Scalar]) -> Query {
        let terms = |values: Vec<Json>| chunked(values, |values| json!({"terms": {&exact.field: values}}));
        let texts = || values.iter().filter_map(operand::text);
        let found = match field.kind {
            Kind::Integer { min, max } => {
                terms(values.iter().filter_map(|value| operand::integer(value, min, max)).collect())
            }
            Kind::Double | Kind::Float => terms(values.iter().filter_map(operand::double).collect()),
            Kind::Boolean => terms(values.iter().filter_map(operand::boolean).map(Json::from).collect()),
            Kind::Ip => terms(texts().filter(|text| is_address(text)).map(Json::from).collect()),
            Kind::Date | Kind::DateNanos => equal_dates(field, exact, values),
            _ => {
                let found = terms(texts().map(Json::from).collect());
                let is_lost =
                    |text: &String| exact.ignore_above.is_some_and(|most| text.chars().count() > most);
                match (texts().any(|text| is_lost(&text)), field.kind) {
                    (false, _) => found,
                    // Also beside values that are not lost.
                    (true, Kind::Text) => Query::any([found, equal_analysed(field, texts().filter(is_lost))]),
                    (true, _) => self.with_lost(field, found),
                }
            }
        };
        doubted(field, found)
    }

    fn range(&mut self, field: &Field, comparison: Comparison, value: &Scalar) -> Query {
        let Some(exact) = field.exact.as_ref().filter(|exact| exact.indexed) else {
            return present(field).inexact();
        };
        let at = |bound: Bound, format: Option<&str>| match bound {
            Bound::None => Query::nothing(),
            Bound::Every => present(field),
            Bound::At(comparison, value) => Query::these(range(&exact.field, comparison, value, format)),
        };
        let found = match field.kind {
            Kind::Integer { min, max } => at(operand::integer_bound(comparison, value, min, max), None),
            Kind::Double | Kind::Float => at(operand::double_bound(comparison, value), None),
            Kind::Date => at(operand::instant_bound(comparison, value, false), Some(MILLIS_FORMAT)),
            Kind::DateNanos => at(operand::instant_bound(comparison, value, true), Some(NANOS_FORMAT)),
            Kind::Boolean => {
                let values = operand::booleans(comparison, value).into_iter().map(Json::from);
                chunked(values, |values| json!({"terms": {&exact.field: values}}))
            }
            Kind::Ip => match operand::text(value).filter(|text| is_address(text)) {
                Some(text) => Query::these(range(&exact.field, comparison, json!(text), None)),
                None => Query::nothing(),
            },
            Kind::Keyword | Kind::Text => match operand::text(value) {
                Some(text) => {
                    let found = range_of_text(field, exact, comparison, &text);
                    self.maybe_lost(field, found)
                }
                None => Query::nothing(),
            },
            _ => present(field).inexact(),
        };
        doubted(field, found)
    }

    fn text(&mut self, field: &Field, text_match: TextMatch, operand: &str) -> Query {
        let exact = field.exact.as_ref().filter(|exact| exact.indexed && !exact.normalized);
        let exact = exact.filter(|_| matches!(field.kind, Kind::Keyword | Kind::Text));
        let Some(exact) = exact else { return present(field).inexact() };
        let pattern = pattern(&exact.field, text_match, operand);
        let found = Query::these(pattern.query);
        let found = if pattern.is_exact { found } else { found.inexact() };
        let found = self.maybe_lost(field, found);
        doubted(field, found)
    }

    /// The same with rows whose values are too long for the index, where there are such.
    fn maybe_lost(&mut self, field: &Field, found: Query) -> Query {
        if lost(field).is_none() {
            return found;
        }
        self.losses.insert(field.name.clone());
        match self.loss {
            Loss::None => found,
            Loss::Possible => self.with_lost(field, found),
        }
    }

    fn with_lost(&self, field: &Field, found: Query) -> Query {
        let lost = lost(field).map_or(Query::nothing(), Query::these);
        Query::any([found, lost]).inexact()
    }
}

/// Found rows, or those that have a value and are not among them.
fn either(field: &Field, found: Query, wanted: bool) -> Query {
    if wanted { found } else { present(field).without(&found) }
}

/// Where the index has other values than documents, what it finds is only a first look.
fn doubted(field: &Field, found: Query) -> Query {
    let is_normalized = field.exact.as_ref().is_some_and(|exact| exact.normalized);
    if is_normalized {
        return present(field).inexact();
    }
    if field.has_null_value { found.inexact() } else { found }
}

/// Rows that have a value.
fn present(field: &Field) -> Query {
    if field.kind == Kind::Id {
        return Query::everything();
    }
    let is_certain = !field.has_null_value && !matches!(field.kind, Kind::FlattenedKey);
    match &field.presence {
        Some(presence) if is_certain => Query::these(exists(presence)),
        Some(presence) => Query::these(exists(presence)).inexact(),
        None => Query::everything().inexact(),
    }
}

/// Rows that have no value, or those that have one.
fn nullness(field: &Field, is_null: bool) -> Query {
    let present = present(field);
    if !is_null {
        return present;
    }
    Query::everything().without(&present)
}

fn exists(field: &str) -> Json {
    json!({"exists": {"field": field}})
}

fn range(field: &str, comparison: Comparison, value: Json, format: Option<&str>) -> Json {
    let operator = match comparison {
        Comparison::Greater => "gt",
        Comparison::GreaterOrEqual => "gte",
        Comparison::Less => "lt",
        Comparison::LessOrEqual => "lte",
    };
    match format {
        Some(format) => json!({"range": {field: {operator: value, "format": format}}}),
        None => json!({"range": {field: {operator: value}}}),
    }
}

/// No text is below the empty one, which an engine may take for no bound at all.
fn range_of_text(field: &Field, exact: &Exact, comparison: Comparison, text: &str) -> Query {
    match (comparison, text) {
        (Comparison::Less, "") => Query::nothing(),
        (Comparison::LessOrEqual, "") => Query::these(json!({"term": {&exact.field: ""}})),
        (Comparison::GreaterOrEqual, "") => present(field),
        _ => Query::these(range(&exact.field, comparison, json!(text), None)),
    }
}

/// Dates are looked up as ranges, which can name a format; where the field has the usual one, as a list.
fn equal_dates(field: &Field, exact: &Exact, values: &[Scalar]) -> Query {
    let has_nanos = field.kind == Kind::DateNanos;
    let instants = values.iter().filter_map(|value| operand::instant(value, has_nanos));
    if !field.has_format {
        return chunked(instants, |values| json!({"terms": {&exact.field: values}}));
    }
    let format = if has_nanos { NANOS_FORMAT } else { MILLIS_FORMAT };
    Query::any(instants.map(|instant| {
        Query::these(json!({"range": {&exact.field: {"gte": &instant, "lte": &instant, "format": format}}}))
    }))
}

/// Documents that have all words of a text, or all that it begins with, may have it as their whole value.
fn equal_analysed(field: &Field, texts: impl Iterator<Item = String>) -> Query {
    let texts: Vec<String> = texts.collect();
    let most = MOST_WORDS / texts.len().max(1);
    if !field.is_plain_text || most == 0 {
        return present(field).inexact();
    }
    Query::any(texts.iter().map(|text| match beginning(text, most) {
        "" if !text.is_empty() => present(field),
        words => {
            let words = json!({"query": words, "operator": "and", "zero_terms_query": "all"});
            Query::these(json!({"match": {&field.name: words}}))
        }
    }))
    .inexact()
}

/// As much of a text as has no more words than these. It ends at white space, behind which a word begins in any case.
fn beginning(text: &str, most: usize) -> &str {
    let (mut words, mut end) = (0, 0);
    for piece in text.split_inclusive(|character: char| character.is_ascii_whitespace()) {
        words += most_words(piece);
        if words > most {
            return text.get(..end).unwrap_or_default();
        }
        end += piece.len();
    }
    text
}

/// How many words the analyzer may make of a text: beyond ASCII each letter may be one, and no word has more than 255.
fn most_words(text: &str) -> usize {
    let runs = text.split(|character: char| character.is_ascii() && !character.is_ascii_alphanumeric());
    let words = |run: &str| if run.is_ascii() { run.len().div_ceil(255) } else { run.chars().count() };
    runs.map(words).sum()
}

/// A list of values in pieces that the engine takes.
fn chunked(values: impl IntoIterator<Item = Json>, query: impl Fn(&[Json]) -> Json) -> Query {
    let values: Vec<Json> = values.into_iter().collect();
    Query::any(values.chunks(MAX_TERMS).map(|chunk| Query::these(query(chunk))))
}
