//! Options of the jobs that rank rows: `search` by text, `similar` by the distance of vectors.
//!
//! The published protocol names both kinds and leaves their options open; these are ours. Rows come best first and carry
//! [`SCORE`], a number that is the larger the better.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::filter::Filter;
use crate::json::{Kind, Object, finite};
use crate::options::{Writer, double_json, filter, limit, projection};
use crate::{Invalid, Projection, RequestError, Scalar};

/// The key of a row's score. A column of this name is not part of ranked rows.
pub const SCORE: &str = "_score";

/// Rows when the job does not say.
const DEFAULT_LIMIT: u64 = 10;
/// Rows that one ranked answer may have.
const MAX_LIMIT: u64 = 1_000;
/// Characters of a query.
const MAX_QUERY: usize = 1_000;
/// Words of a query that count where the bridge ranks by itself.
const MAX_WORDS: usize = 16;
/// Columns that one search may look into.
const MAX_FIELDS: usize = 32;
/// Numbers of a vector; what pgvector stores at the most.
const MAX_DIMENSIONS: usize = 16_000;

/// Options of a `search` job.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchOptions {
    /// What to look for: 1 to 1 000 characters, not only space.
    pub query: String,
    /// Columns to look into, at most 32; without them the engine's full-text index, or every column of text.
    pub fields: Option<Vec<String>>,
    /// Which rows are ranked at all.
    pub filter: Filter,
    /// At most so many rows: 10 by default, 1 000 at the most.
    pub limit: u64,
    /// Which columns, beside [`SCORE`].
    pub projection: Projection,
}

impl SearchOptions {
    /// Reads a `search` job's options.
    ///
    /// # Errors
    /// Names the field. `mode` may only be `"text"`.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let object = Object::parse(raw).map_err(|invalid| invalid.within("options"))?;
        if object.text("mode")?.is_some_and(|mode| mode != "text") {
            return Err(Invalid::new("mode", "\"text\"").into());
        }
        let query = object.required_text("query")?;
        if query.trim().is_empty() || query.chars().count() > MAX_QUERY {
            return Err(Invalid::new("query", format!("text of 1 to {MAX_QUERY} characters")).into());
        }
        let fields = object.texts("fields")?;
        if fields.as_ref().is_some_and(|fields| fields.is_empty() || fields.len() > MAX_FIELDS) {
            return Err(Invalid::new("fields", format!("1 to {MAX_FIELDS} names")).into());
        }
        Ok(Self {
            query,
            fields,
            filter: filter(&object, "where")?,
            limit: ranked_limit(&object)?,
            projection: projection(&object)?,
        })
    }

    /// The options as JSON, for a job frame or a plugin; the limit is always there.
    pub fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.text("query", &self.query);
        if let Some(fields) = &self.fields {
            out.texts("fields", fields);
        }
        out.filter("where", &self.filter);
        out.limit(Some(self.limit));
        out.projection(&self.projection);
        out.finish()
    }

    /// The query's distinct words in lower case, in their order; the first 16. Never empty.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for word in self.query.split_whitespace().map(str::to_lowercase) {
            if words.len() < MAX_WORDS && !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    /// The query in lower case with single spaces: what stands in a text that holds all of it.
    pub fn phrase(&self) -> String {
        self.query.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
    }
}

/// How a `search` has found its rows; `method` of `done.meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SearchMethod {
    /// The engine's own full-text search, over an index; scores are the engine's.
    FullText,
    /// The engine's similarity of trigrams, over an index.
    Trigram,
    /// Words contained in the text, whatever the case, over a scan: the score is the share of the query's words that the
    /// row holds, where the whole query in one column counts as one word more.
    Containment,
}

impl SearchMethod {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullText => "fullText",
            Self::Trigram => "trigram",
            Self::Containment => "containment",
        }
    }

    /// The method of that wire name; nothing for one of another version.
    pub fn of(name: &str) -> Option<Self> {
        [Self::FullText, Self::Trigram, Self::Containment].into_iter().find(|method| method.as_str() == name)
    }
}

/// Options of a `similar` job.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarOptions {
    /// What rows are compared with.
    pub to: SimilarTo,
    /// The column that holds vectors.
    pub field: String,
    /// How vectors are compared.
    pub metric: Metric,
    /// Which rows are ranked at all.
    pub filter: Filter,
    /// At most so many rows: 10 by default, 1 000 at the most.
    pub limit: u64,
    /// Which columns, beside [`SCORE`].
    pub projection: Projection,
}

/// What rows are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum SimilarTo {
    /// This vector: 1 to 16 000 finite numbers.
    Vector(Vec<f64>),
    /// The vector of the row with this primary key, which is itself not part of the answer. No such row, or none with a
    /// vector: no rows.
    Row(Scalar),
}

/// How vectors are compared, and what the score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Metric {
    /// `cosine`: the cosine of the angle between them, -1 to 1.
    #[default]
    Cosine,
    /// `l2`: 1 / (1 + Euclidean distance), above 0 to 1.
    L2,
    /// `dot`: the inner product.
    Dot,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::L2, Self::Dot];

    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::L2 => "l2",
            Self::Dot => "dot",
        }
    }
}

impl SimilarOptions {
    /// Reads a `similar` job's options.
    ///
    /// # Errors
    /// Names the field; exactly one of `vector` and `id` must be there.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let object = Object::parse(raw).map_err(|invalid| invalid.within("options"))?;
        let to = match (vector(&object)?, object.get("id")) {
            (Some(vector), None) => SimilarTo::Vector(vector),
            (None, Some(id)) => SimilarTo::Row(Scalar::parse(id).map_err(|invalid| invalid.within("id"))?),
            (None, None) => return Err(Invalid::new("vector", "a list of numbers, or an id").into()),
            (Some(_), Some(_)) => return Err(Invalid::new("id", "nothing beside vector").into()),
        };
        Ok(Self {
            to,
            field: object.required_text("field")?,
            metric: metric(&object)?,
            filter: filter(&object, "where")?,
            limit: ranked_limit(&object)?,
            projection: projection(&object)?,
        })
    }

    /// The options as JSON, for a job frame or a plugin; metric and limit are always there.
    pub fn to_json(&self) -> String {
        let mut out = Writer::new();
        match &self.to {
            SimilarTo::Vector(vector) => out.list("vector", vector, |number| double_json(*number)),
            SimilarTo::Row(id) => {
                let mut json = String::new();
                id.write_json(&mut json);
                out.raw("id", &json);
            }
        }
        out.text("field", &self.field);
        out.text("metric", self.metric.as_str());
        out.filter("where", &self.filter);
        out.limit(Some(self.limit));
        out.projection(&self.projection);
        out.finish()
    }
}

fn vector(object: &Object<'_>) -> Result<Option<Vec<f64>>, Invalid> {
    let Some(raw) = object.get("vector") else { return Ok(None) };
    let expected = || Invalid::new("vector", format!("a list of 1 to {MAX_DIMENSIONS} numbers"));
    let Kind::Array(items) = Kind::of(raw).map_err(|invalid| invalid.within("vector"))? else {
        return Err(expected());
    };
    if items.is_empty() || items.len() > MAX_DIMENSIONS {
        return Err(expected());
    }
    let number = |(index, raw)| finite(raw).map_err(|invalid| invalid.within(&format!("vector[{index}]")));
    items.into_iter().enumerate().map(number).collect::<Result<_, _>>().map(Some)
}

fn metric(object: &Object<'_>) -> Result<Metric, Invalid> {
    let Some(name) = object.text("metric")? else { return Ok(Metric::default()) };
    let metric = Metric::ALL.into_iter().find(|metric| metric.as_str() == name);
    metric.ok_or_else(|| Invalid::new("metric", "\"cosine\", \"l2\" or \"dot\""))
}

fn ranked_limit(object: &Object<'_>) -> Result<u64, Invalid> {
    let limit = limit(object)?.unwrap_or(DEFAULT_LIMIT);
    if limit > MAX_LIMIT {
        return Err(Invalid::new("limit", format!("a whole number of at most {MAX_LIMIT}")));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_search_needs_words_and_has_defaults() {
        let options = SearchOptions::parse(&raw(r#"{"query":" Red  SHOE red ","mode":"text"}"#)).unwrap();
        assert_eq!(options.words(), ["red", "shoe"]);
        assert_eq!(options.phrase(), "red shoe red");
        assert_eq!((options.limit, options.fields), (10, None));

        let refusal = |text: &str| SearchOptions::parse(&raw(text)).unwrap_err().to_string();
        assert_eq!(refusal("{}"), "query: expected a string");
        assert_eq!(refusal(r#"{"query":" "}"#), "query: expected text of 1 to 1000 characters");
        assert_eq!(refusal(r#"{"query":"a","mode":"semantic"}"#), "mode: expected \"text\"");
        assert_eq!(refusal(r#"{"query":"a","fields":[]}"#), "fields: expected 1 to 32 names");
        assert_eq!(
            refusal(r#"{"query":"a","limit":1001}"#),
            "limit: expected a whole number of at most 1000"
        );
    }

    #[test]
    fn many_words_are_cut_and_none_counts_twice() {
        let query = (0..40).map(|number| format!("w{} ", number / 2)).collect::<String>();
        let options = SearchOptions::parse(&raw(&format!(r#"{{"query":"{query}"}}"#))).unwrap();
        let words = options.words();
        assert_eq!(words.len(), 16);
        assert_eq!(words.last().unwrap(), "w15");
    }

    #[test]
    fn similarity_is_to_a_vector_or_to_a_row() {
        let parse = |text: &str| SimilarOptions::parse(&raw(text));
        let options = parse(r#"{"vector":[1,-0.5,2e-3],"field":"embedding","metric":"l2"}"#).unwrap();
        assert_eq!(options.to, SimilarTo::Vector(vec![1.0, -0.5, 0.002]));
        assert_eq!(options.metric, Metric::L2);
        let options = parse(r#"{"id":"7","field":"embedding"}"#).unwrap();
        assert_eq!((options.to, options.metric), (SimilarTo::Row("7".into()), Metric::Cosine));

        let refusal = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(refusal(r#"{"field":"e"}"#), "vector: expected a list of numbers, or an id");
        assert_eq!(refusal(r#"{"vector":[1],"id":1,"field":"e"}"#), "id: expected nothing beside vector");
        assert_eq!(refusal(r#"{"vector":[1,"2"],"field":"e"}"#), "vector[1]: expected a finite number");
        assert_eq!(refusal(r#"{"vector":[],"field":"e"}"#), "vector: expected a list of 1 to 16000 numbers");
        assert_eq!(refusal(r#"{"vector":[1]}"#), "field: expected a string");
        assert_eq!(
            refusal(r#"{"id":1,"field":"e","metric":"hamming"}"#),
            "metric: expected \"cosine\", \"l2\" or \"dot\""
        );
    }

    #[test]
    fn every_method_has_a_name_that_reads_back() {
        for method in [SearchMethod::FullText, SearchMethod::Trigram, SearchMethod::Containment] {
            assert_eq!(SearchMethod::of(method.as_str()), Some(method));
            assert_eq!(serde_json::to_string(&method).unwrap(), format!("\"{}\"", method.as_str()));
        }
        assert_eq!(SearchMethod::of("semantic"), None);
    }
}
