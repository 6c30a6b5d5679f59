//! Rankings that are asked for. The answers are documented examples of the two engines' interfaces, not recorded ones.

use std::cell::RefCell;

use semilayer_plugin::http::{Client, Incoming, Outgoing};
use semilayer_plugin::options::SimilarOptions;
use semilayer_plugin::{ErrorCode, testing};

use super::*;

fn index() -> Rc<Index> {
    Rc::new(Index::read(&json!({"books": {"mappings": {"properties": {
        "title": {"type": "text"},
        "body": {"type": "text", "analyzer": "english"},
        "isbn": {"type": "keyword"},
        "near": {"type": "dense_vector", "dims": 2, "similarity": "l2_norm"},
        "open": {"type": "knn_vector", "dimension": 2},
    }}}})))
}

/// A server of this version, and the bodies of the searches that arrived there.
fn server(version: &Json, hits: Json) -> (Server, Rc<RefCell<Vec<Json>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (log, version) = (Rc::clone(&seen), version.clone());
    let client = Client::new("http://search").unwrap().over(move |request: &Outgoing| {
        if request.method == "GET" {
            return Ok(Incoming::new(200).json(&json!({"version": version})));
        }
        log.borrow_mut().push(serde_json::from_slice(request.body.as_deref().unwrap()).unwrap());
        Ok(Incoming::new(200).json(&json!({"_shards": {"failed": 0}, "hits": {"hits": hits}})))
    });
    (Server::with_nodes(vec![client]).unwrap(), seen)
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

#[test]
fn a_search_ranks_by_the_engines_relevance() {
    let hits = json!([
        {"_id": "b", "_index": "books", "_score": 1.5, "_source": {"title": "Red"}},
        {"_id": "c", "_index": "books", "_score": 2.5, "_source": {"title": "Red red"}},
        {"_id": "a", "_index": "books", "_score": 1.5, "_source": {"title": "Red too"}},
    ]);
    let (server, seen) = server(&json!({"number": "9.2.0"}), hits);
    let options =
        SearchOptions::parse(&raw(r#"{"query":"red shoe","where":{"isbn":"x"},"limit":3,"select":["_id"]}"#))
            .unwrap();
    let mut rows = search(&server, "books", &index(), &options).unwrap();
    assert_eq!(semilayer_plugin::Cursor::tail(&mut rows).method, Some(SearchMethod::FullText));
    let rows = testing::json(rows).unwrap();
    assert_eq!(
        rows,
        [
            json!({"_id": "c", "_score": 2.5}),
            json!({"_id": "a", "_score": 1.5}),
            json!({"_id": "b", "_score": 1.5})
        ]
    );
    assert_eq!(
        seen.borrow()[0]["query"],
        json!({"bool": {
            "must": [{"multi_match": {"query": "red shoe", "fields": ["body", "title"], "type": "best_fields"}}],
            "filter": [{"terms": {"isbn": ["x"]}}],
        }})
    );
}

#[test]
fn columns_that_are_not_analysed_are_searched_by_the_runner() {
    for (fields, code) in [
        (r#"["isbn"]"#, ErrorCode::UnsupportedKind),
        (r#"["title","isbn"]"#, ErrorCode::UnsupportedKind),
        (r#"["title","near"]"#, ErrorCode::InvalidRequest),
        (r#"["nope"]"#, ErrorCode::InvalidRequest),
    ] {
        let (server, seen) = server(&json!({"number": "9.2.0"}), json!([]));
        let options = SearchOptions::parse(&raw(&format!(r#"{{"query":"x","fields":{fields}}}"#))).unwrap();
        let error = search(&server, "books", &index(), &options).unwrap_err();
        assert_eq!((error.code(), seen.borrow().len()), (code, 0));
    }
}

#[test]
fn elasticsearch_looks_for_neighbours_in_its_index() {
    let hits = json!([{"_id": "1", "_index": "books", "_score": 0.1, "_source": {}}]);
    let (server, seen) = server(&json!({"number": "9.2.0"}), hits);
    let options = SimilarOptions::parse(&raw(
        r#"{"vector":[1,2],"field":"near","metric":"l2","limit":5,"select":["_id"]}"#,
    ))
    .unwrap();
    let rows = testing::json(similar(&server, "books", &index(), &options).unwrap()).unwrap();
    assert_eq!(rows, [json!({"_id": "1", "_score": 0.25})]);
    let body = &seen.borrow()[0];
    assert_eq!(body.get("query"), None);
    assert_eq!((&body["knn"]["field"], &body["knn"]["k"]), (&json!("near"), &json!(5)));
}

#[test]
fn other_metrics_are_computed_over_all_rows() {
    let hits = json!([{"_id": "1", "_index": "books", "_score": 1.5, "_source": {}}]);
    for (version, field, source) in [
        (json!({"number": "9.2.0"}), "near", "cosineSimilarity(params.to, params.field) + 1.0"),
        (
            json!({"number": "3.1.0", "distribution": "opensearch"}),
            "open",
            "cosineSimilarity(params.to, doc[params.field]) + 1.0",
        ),
    ] {
        let (server, seen) = server(&version, hits.clone());
        let options = format!(r#"{{"vector":[1,2],"field":"{field}","limit":5,"select":["_id"]}}"#);
        let options = SimilarOptions::parse(&raw(&options)).unwrap();
        let rows = testing::json(similar(&server, "books", &index(), &options).unwrap()).unwrap();
        assert_eq!(rows, [json!({"_id": "1", "_score": 0.5})]);
        assert_eq!(seen.borrow()[0]["query"]["script_score"]["script"]["source"], source);
    }
}

#[test]
fn a_row_is_compared_with_the_others() {
    let hits = json!([{"_id": "7", "_index": "books", "_score": 1.0, "_source": {"near": [3.0, 4.0]}}]);
    let (server, seen) = server(&json!({"number": "9.2.0"}), hits);
    let options =
        SimilarOptions::parse(&raw(r#"{"id":7,"field":"near","metric":"l2","select":["_id"]}"#)).unwrap();
    similar(&server, "books", &index(), &options).unwrap();
    let seen = seen.borrow();
    assert_eq!(seen[1]["knn"]["query_vector"], json!([3.0, 4.0]));
    assert_eq!(seen[1]["knn"]["filter"]["bool"]["must_not"], json!([{"ids": {"values": ["7"]}}]));
}

#[test]
fn what_holds_no_vectors_is_refused_by_name() {
    for (field, vector, about) in
        [("title", "[1,2]", "field"), ("nope", "[1,2]", "field"), ("near", "[1,2,3]", "vector")]
    {
        let (server, _) = server(&json!({"number": "9.2.0"}), json!([]));
        let options = format!(r#"{{"vector":{vector},"field":"{field}"}}"#);
        let options = SimilarOptions::parse(&raw(&options)).unwrap();
        assert_eq!(similar(&server, "books", &index(), &options).unwrap_err().about(), Some(about));
    }
}
