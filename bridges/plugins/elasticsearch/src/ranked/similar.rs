//! Rows by the distance of vectors.
//!
//! Elasticsearch's index of vectors is asked where it compares as the job does; it is quick, and near to exact. Everything
//! else is computed by the server over all rows that the filter leaves.

use std::rc::Rc;

use semilayer_plugin::options::{Metric, Scalar, SimilarOptions, SimilarTo};
use semilayer_plugin::{Error, Rows};
use serde_json::{Map, Value as Json, json};

use super::{Ranking, exact_filter, found};
use crate::connect::{Body, Server, Source};
use crate::introspect::{Field, Index, Kind, Vector};
use crate::jobs::find;
use crate::values::Columns;

/// Neighbours that each part of the index looks at, at the least: more are slower and nearer to exact.
const CANDIDATES: u64 = 100;
/// What the server takes at the most.
const MOST_CANDIDATES: u64 = 10_000;

/// Rows ranked by how near their vectors are, nearest first.
pub(crate) fn similar(
    server: &Server,
    target: &str,
    index: &Rc<Index>,
    options: &SimilarOptions,
) -> Result<Rows, Error> {
    let (field, vector) = vectors(index, &options.field)?;
    let Some(filter) = exact_filter(find(server, target, index, &options.filter)?)? else {
        return Ok(found(Vec::new(), None));
    };
    let present = json!({"exists": {"field": field.name}});
    let (to, filter) = match &options.to {
        SimilarTo::Vector(to) => (to.clone(), json!({"bool": {"filter": [filter, present]}})),
        SimilarTo::Row(id) => {
            let Some(id) = key(id) else { return Ok(found(Vec::new(), None)) };
            let Some(to) = vector_of(server, target, index, &field, &id)? else {
                return Ok(found(Vec::new(), None));
            };
            let others = json!([{"ids": {"values": [id]}}]);
            (to, json!({"bool": {"filter": [filter, present], "must_not": others}}))
        }
    };
    if vector.dimensions.is_some_and(|dimensions| dimensions != to.len() as u64) {
        let expected = format!("{} numbers, as the column has", vector.dimensions.unwrap_or(0));
        return Err(Error::invalid_request("vector", &expected));
    }
    let ranking = Ranking { server, target, index, projection: &options.projection, limit: options.limit };
    let search = Search { field: &field.name, to: &to, metric: options.metric, filter };
    let rows = match by_index(server, &vector, options.metric) {
        Some(similarity) => ranking.rows(&search.neighbours(options.limit), |score| similarity.undone(score)),
        None => ranking.rows(&search.computed(server), |score| undone(options.metric, score)),
    };
    Ok(found(rows?, None))
}

fn vectors(index: &Index, name: &str) -> Result<(Field, Vector), Error> {
    let field = index.field(name).filter(|field| field.kind == Kind::Vector);
    let found = field.and_then(|field| Some((field.clone(), field.vector?)));
    found.ok_or_else(|| Error::invalid_request("field", "a column of vectors"))
}

fn key(id: &Scalar) -> Option<String> {
    match id {
        Scalar::Null => None,
        Scalar::Bool(value) => Some(value.to_string()),
        Scalar::Number(number) => Some(number.as_str().to_owned()),
        Scalar::Text(text) => Some(text.clone()),
    }
}

/// The vector of one document.
fn vector_of(
    server: &Server,
    target: &str,
    index: &Index,
    field: &Field,
    id: &str,
) -> Result<Option<Vec<f64>>, Error> {
    let query = json!({"ids": {"values": [id]}});
    let (source, more) = (Source::Of(vec![field.source.clone()]), Map::new());
    let answer = server.search(target, &Body::new(&query, 1, &source, &more))?;
    let Some(hit) = answer.hits.first() else { return Ok(None) };
    let row = serde_json::to_value(Columns::These(vec![field.clone()]).row(hit, index, false)?)?;
    Ok(row.get(&field.name).cloned().and_then(|vector| serde_json::from_value(vector).ok()))
}

/// What is near to what.
struct Search<'a> {
    field: &'a str,
    to: &'a [f64],
    metric: Metric,
    filter: Json,
}

impl Search<'_> {
    /// By the index of vectors.
    fn neighbours(&self, limit: u64) -> Json {
        let candidates = limit.saturating_mul(2).clamp(CANDIDATES, MOST_CANDIDATES);
        json!({"knn": {
            "field": self.field, "query_vector": self.to, "k": limit.max(1), "num_candidates": candidates,
            "filter": self.filter,
        }})
    }

    /// By a look at every vector. A score may not be negative.
    fn computed(&self, server: &Server) -> Json {
        let is_opensearch = server.flavour().is_opensearch;
        let script = match (self.metric, is_opensearch) {
            (Metric::Cosine, false) => self.painless("cosineSimilarity(params.to, params.field) + 1.0"),
            (Metric::L2, false) => self.painless("1.0 / (1.0 + l2norm(params.to, params.field))"),
            (Metric::Dot, false) => self.painless(
                "double dot = dotProduct(params.to, params.field); return dot >= 0 ? dot + 1.0 : 1.0 / (1.0 - dot)",
            ),
            (Metric::Cosine, true) => self.painless("cosineSimilarity(params.to, doc[params.field]) + 1.0"),
            (Metric::L2, true) => {
                self.painless("1.0 / (1.0 + Math.sqrt(l2Squared(params.to, doc[params.field])))")
            }
            // The one that its own language of scripts lacks.
            (Metric::Dot, true) => json!({"source": "knn_score", "lang": "knn", "params": {
                "field": self.field, "query_value": self.to, "space_type": "innerproduct",
            }}),
        };
        json!({"query": {"script_score": {"query": self.filter, "script": script}}})
    }

    fn painless(&self, source: &str) -> Json {
        json!({"source": source, "lang": "painless", "params": {"to": self.to, "field": self.field}})
    }
}

/// The metric of a score that was computed over all rows.
fn undone(metric: Metric, score: f64) -> f64 {
    match metric {
        Metric::Cosine => score - 1.0,
        Metric::L2 => score,
        Metric::Dot => unbounded(score),
    }
}

/// What an index of vectors compares by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Similarity {
    Cosine,
    L2,
    /// Of vectors of length 1.
    Dot,
    InnerProduct,
}

impl Similarity {
    /// The metric of a score, by the formulas of the reference for `dense_vector`.
    fn undone(self, score: f64) -> f64 {
        match self {
            Self::Cosine | Self::Dot => 2.0 * score - 1.0,
            Self::L2 => 1.0 / (1.0 + (1.0 / score - 1.0).max(0.0).sqrt()),
            Self::InnerProduct => unbounded(score),
        }
    }
}

/// The inner product behind a score that may not be negative.
fn unbounded(score: f64) -> f64 {
    if score >= 1.0 { score - 1.0 } else { 1.0 - 1.0 / score }
}

/// How the index compares, where it does so as the job does.
fn by_index(server: &Server, vector: &Vector, metric: Metric) -> Option<Similarity> {
    let flavour = server.flavour();
    if flavour.is_opensearch || flavour.version < (8, 4) || !vector.indexed {
        return None;
    }
    match (metric, vector.similarity.as_deref()) {
        (Metric::Cosine, None | Some("cosine")) => Some(Similarity::Cosine),
        (Metric::L2, Some("l2_norm")) => Some(Similarity::L2),
        (Metric::Dot, Some("dot_product")) => Some(Similarity::Dot),
        (Metric::Dot, Some("max_inner_product")) => Some(Similarity::InnerProduct),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_the_metric_again() {
        let close = |left: f64, right: f64| assert!((left - right).abs() < 1e-12, "{left} {right}");
        close(Similarity::Cosine.undone(1.0), 1.0);
        close(Similarity::Dot.undone(0.5), 0.0);
        // A distance of 3: 1 / (1 + 9).
        close(Similarity::L2.undone(0.1), 0.25);
        close(Similarity::InnerProduct.undone(3.0), 2.0);
        close(Similarity::InnerProduct.undone(1.0 / 3.0), -2.0);
        close(undone(Metric::Cosine, 0.0), -1.0);
    }
}
