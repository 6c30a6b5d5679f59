//! Rows ranked by the engine: by its own relevance of text, and by the distance of vectors.

mod similar;

use std::rc::Rc;

use semilayer_plugin::options::{Projection, SearchMethod, SearchOptions};
use semilayer_plugin::{Error, Rows, Tail};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value as Json, json};

use crate::connect::{Answer, Body, Hit, Server};
use crate::introspect::{Index, Kind};
use crate::jobs::{Found, find};
use crate::values::Columns;

pub(crate) use similar::similar;

/// Rows ranked by the relevance of analysed text. Columns that have none are searched by the runner.
pub(crate) fn search(
    server: &Server,
    target: &str,
    index: &Rc<Index>,
    options: &SearchOptions,
) -> Result<Rows, Error> {
    let fields = analysed(index, options.fields.as_deref())?;
    let words = json!({"multi_match": {"query": options.query, "fields": fields, "type": "best_fields"}});
    let Some(filter) = exact_filter(find(server, target, index, &options.filter)?)? else {
        return Ok(found(Vec::new(), Some(SearchMethod::FullText)));
    };
    let query = json!({"bool": {"must": [words], "filter": [filter]}});
    let ranking = Ranking { server, target, index, projection: &options.projection, limit: options.limit };
    let rows = ranking.rows(&json!({"query": query}), |score| score)?;
    Ok(found(rows, Some(SearchMethod::FullText)))
}

/// A filter that the engine applies exactly; nothing where no row can match.
fn exact_filter(found: Option<Found>) -> Result<Option<Json>, Error> {
    match found {
        None => Ok(None),
        Some(Found { query, residual: None }) => Ok(Some(query)),
        Some(_) => Err(Error::unsupported_kind("a ranking of rows that are looked at one by one")),
    }
}

/// The columns to look into, when all of them hold analysed text.
fn analysed(index: &Index, fields: Option<&[String]>) -> Result<Vec<String>, Error> {
    let names: Vec<&str> = match fields {
        Some(fields) => texts(index, fields)?,
        None => {
            let columns = index.columns().into_iter().filter(|field| field.kind == Kind::Text);
            columns.map(|field| field.name.as_str()).collect()
        }
    };
    let is_text = |name: &str| index.declared(name).is_some_and(|field| field.kind == Kind::Text);
    // What would be a pattern or a weight in the list of fields cannot be escaped.
    let is_plain = |name: &str| !name.contains(['*', '^']);
    match !names.is_empty() && names.iter().all(|name| is_text(name) && is_plain(name)) {
        true => Ok(names.into_iter().map(str::to_owned).collect()),
        false => Err(Error::unsupported_kind("a search of columns that are not analysed")),
    }
}

/// The same columns, when all of them hold text of some kind.
fn texts<'a>(index: &Index, fields: &'a [String]) -> Result<Vec<&'a str>, Error> {
    let is_text = |name: &str| {
        index
            .field(name)
            .is_some_and(|field| matches!(field.kind, Kind::Text | Kind::Keyword | Kind::FlattenedKey))
    };
    let text = |(number, name): (usize, &'a String)| match is_text(name) {
        true => Ok(name.as_str()),
        false => Err(Error::invalid_request(&format!("fields[{number}]"), "a column of text")),
    };
    fields.iter().enumerate().map(text).collect()
}

fn found(rows: Vec<Box<RawValue>>, method: Option<SearchMethod>) -> Rows {
    Rows::json(rows).with_tail(Tail { method, ..Tail::default() })
}

/// What is ranked, and what of it is wanted.
struct Ranking<'a> {
    server: &'a Server,
    target: &'a str,
    index: &'a Index,
    projection: &'a Projection,
    limit: u64,
}

impl Ranking<'_> {
    /// The best rows, each with what `score` makes of the engine's score; those of equal scores in the order of their keys.
    fn rows(&self, search: &Json, score: impl Fn(f64) -> f64) -> Result<Vec<Box<RawValue>>, Error> {
        let columns = Columns::of(self.projection, self.index)?;
        if self.limit == 0 {
            return Ok(Vec::new());
        }
        let mut hits = self.ask(search, &columns)?.hits;
        for hit in &mut hits {
            hit.score = hit.score.map(&score);
        }
        hits.sort_by(|left, right| {
            let scores = right.score.unwrap_or_default().total_cmp(&left.score.unwrap_or_default());
            scores.then_with(|| left.id.cmp(&right.id))
        });
        let row = |hit: &Hit| Ok(to_raw_value(&columns.row(hit, self.index, true)?)?);
        hits.iter().map(row).collect()
    }

    fn ask(&self, search: &Json, columns: &Columns) -> Result<Answer, Error> {
        let (source, dates) = (columns.source(None), columns.dates(None, self.index));
        let more: Map<String, Json> = search.as_object().cloned().unwrap_or_default();
        // A search by vectors has no query beside it, which would add a score of its own; that of text is among the rest.
        let body = Body::new(&Json::Null, self.limit, &source, &more);
        let body = Body { query: None, docvalue_fields: &dates, ..body };
        self.server.search(self.target, &body)
    }
}

#[cfg(test)]
mod tests;
