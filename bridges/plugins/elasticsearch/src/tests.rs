//! Jobs over servers that are closures. Exchanges are documented examples of the interfaces of Elasticsearch 8 and 9 and of
//! OpenSearch, where these differ; none of them is recorded.

use std::cell::RefCell;

use semilayer_plugin::http::{Client, Incoming, Outgoing};
use semilayer_plugin::{ErrorCode, testing};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::*;

type Log = Rc<RefCell<Vec<(String, Json)>>>;

/// A bridge to a server of this version, and what it was asked, without what every request has.
fn bridge(version: Json, answer: impl Fn(&str, &Json) -> Json + 'static) -> (Elasticsearch, Log) {
    answering(version, move |path, body| Ok(Incoming::new(200).json(&answer(path, body))))
}

fn answering(
    version: Json,
    answer: impl Fn(&str, &Json) -> Result<Incoming, Error> + 'static,
) -> (Elasticsearch, Log) {
    let log: Log = Log::default();
    let seen = Rc::clone(&log);
    let client = Client::new("http://search").unwrap().over(move |request: &Outgoing| {
        let path = request.url.trim_start_matches("http://search").split('?').next().unwrap_or_default();
        let body = request.body.as_deref().map_or(Json::Null, |body| serde_json::from_slice(body).unwrap());
        match path {
            "/" => return Ok(Incoming::new(200).json(&json!({"version": version}))),
            "/things/_mapping" => {
                let properties = json!({"n": {"type": "long"}, "name": {"type": "keyword"}});
                return Ok(
                    Incoming::new(200).json(&json!({"things": {"mappings": {"properties": properties}}}))
                );
            }
            _ => {}
        }
        seen.borrow_mut().push((format!("{} {path}", request.method), body.clone()));
        answer(&format!("{} {path}", request.method), &body)
    });
    let server = Server::with_nodes(vec![client]).unwrap();
    (Elasticsearch { server, mappings: HashMap::new() }, log)
}

fn elasticsearch() -> Json {
    json!({"number": "9.2.1", "build_flavor": "default"})
}

fn opensearch() -> Json {
    json!({"number": "2.19.0", "distribution": "opensearch"})
}

fn hit(id: u64, sort: Json) -> Json {
    json!({"_index": "things", "_id": id.to_string(), "_score": null, "_source": {"n": id}, "sort": sort})
}

fn hits(hits: Vec<Json>) -> Json {
    json!({"pit_id": "next", "timed_out": false, "_shards": {"total": 1, "failed": 0}, "hits": {"hits": hits}})
}

fn query(text: &str) -> QueryOptions {
    QueryOptions::parse(&RawValue::from_string(text.to_owned()).unwrap()).unwrap()
}

fn ids(rows: &[Json]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["_id"].as_str()).collect()
}

fn requests(log: &Log) -> Vec<String> {
    log.borrow().iter().map(|(request, _)| request.clone()).collect()
}

#[test]
fn a_few_rows_take_one_request() {
    let (mut bridge, log) = bridge(elasticsearch(), |_, _| hits(vec![hit(3, json!([3]))]));
    let rows = bridge.query("things", query(r#"{"orderBy":{"n":"asc"},"limit":10,"offset":2}"#)).unwrap();
    assert_eq!(ids(&testing::json(rows).unwrap()), ["3"]);
    let log = log.borrow();
    let [(request, body)] = log.as_slice() else { panic!("one request") };
    assert_eq!(request, "POST /things/_search");
    assert_eq!(
        (&body["from"], &body["size"], &body["track_total_hits"]),
        (&json!(2), &json!(10), &json!(false))
    );
    assert_eq!(body.get("pit"), None);
}

/// Gives documents from 1 to `most`, as many as it is asked for.
fn counting(most: u64) -> impl Fn(&str, &Json) -> Json {
    move |request, body| match request {
        "POST /things/_pit" => json!({"id": "first"}),
        "POST /things/_search/point_in_time" => json!({"pit_id": "first"}),
        "POST /_search" => {
            let after = body["search_after"]
                .as_array()
                .and_then(|after| after.last())
                .map_or(0, |last| last.as_u64().or_else(|| last.as_str()?.parse().ok()).unwrap());
            let size = body["size"].as_u64().unwrap();
            hits((after + 1..=most.min(after + size)).map(|id| hit(id, json!([id]))).collect())
        }
        _ => json!({}),
    }
}

#[test]
fn no_limit_means_all_rows_on_elasticsearch() {
    let (mut bridge, log) = bridge(elasticsearch(), counting(2_500));
    let rows = testing::json(bridge.query("things", query("{}")).unwrap()).unwrap();
    assert_eq!((rows.len(), rows[2_499]["_id"].as_str()), (2_500, Some("2500")));
    let requests = requests(&log);
    assert_eq!(
        (requests.first().unwrap().as_str(), requests.last().unwrap().as_str()),
        ("POST /things/_pit", "DELETE /_pit")
    );
    let log = log.borrow();
    assert_eq!(log[1].1["sort"], json!([{"_shard_doc": "asc"}]));
    assert_eq!(log[1].1["pit"], json!({"id": "first", "keep_alive": "2m"}));
    assert_eq!((&log[2].1["pit"]["id"], &log[2].1["search_after"]), (&json!("next"), &json!([1_000])));
    assert_eq!(log.last().unwrap().1, json!({"id": "next"}));
}

#[test]
fn no_limit_means_all_rows_on_opensearch() {
    let (mut bridge, log) = bridge(opensearch(), counting(1_200));
    assert_eq!(testing::json(bridge.query("things", query("{}")).unwrap()).unwrap().len(), 1_200);
    let requests = requests(&log);
    assert_eq!(requests.first().unwrap(), "POST /things/_search/point_in_time");
    assert_eq!(requests.last().unwrap(), "DELETE /_search/point_in_time");
    let log = log.borrow();
    assert_eq!(log[1].1["sort"], json!([{"_id": "asc"}]), "a version without an order of its own");
    assert_eq!(log.last().unwrap().1, json!({"pit_id": ["next"]}));
}

#[test]
fn rows_that_nobody_takes_close_their_place() {
    let (mut bridge, log) = bridge(elasticsearch(), counting(5_000));
    let mut rows = bridge.query("things", query("{}")).unwrap();
    semilayer_plugin::Cursor::next_batch(&mut rows, semilayer_plugin::Room::default()).unwrap().unwrap();
    drop(rows);
    assert_eq!(requests(&log).last().unwrap(), "DELETE /_pit");
}

fn page(bridge: &mut Elasticsearch, cursor: Option<String>, limit: u64) -> (Vec<Json>, Option<String>) {
    let mut rows = bridge.read("things", ReadOptions { limit, cursor, ..ReadOptions::default() }).unwrap();
    let mut read = Vec::new();
    while let Some(batch) =
        semilayer_plugin::Cursor::next_batch(&mut rows, semilayer_plugin::Room::default()).unwrap()
    {
        read.push(json!(batch.rows()));
    }
    (read, semilayer_plugin::Cursor::tail(&mut rows).next_cursor)
}

#[test]
fn a_scan_of_elasticsearch_keeps_its_place_from_page_to_page() {
    let (mut bridge, log) = bridge(elasticsearch(), counting(5));
    let (rows, cursor) = page(&mut bridge, None, 3);
    assert_eq!(rows, [json!(3)]);
    assert_eq!(requests(&log), ["POST /things/_pit", "POST /_search"]);
    let (rows, end) = page(&mut bridge, cursor, 3);
    assert_eq!((rows, end), (vec![json!(2)], None));
    assert_eq!(requests(&log)[2..], ["POST /_search", "DELETE /_pit"]);
    let log = log.borrow();
    assert_eq!(log[1].1["pit"]["keep_alive"], "10m");
    assert_eq!((&log[2].1["search_after"], &log[2].1["pit"]["id"]), (&json!([3]), &json!("next")));
}

#[test]
fn a_scan_of_opensearch_goes_on_behind_a_key() {
    let (mut bridge, log) = bridge(opensearch(), |_, body| {
        let after = body["search_after"][0].as_str().map_or(0, |last| last.parse().unwrap());
        let size = body["size"].as_u64().unwrap();
        hits((after + 1..=5_u64.min(after + size)).map(|id| hit(id, json!([id.to_string()]))).collect())
    });
    let (rows, cursor) = page(&mut bridge, None, 3);
    assert_eq!((rows, cursor.as_deref()), (vec![json!(3)], Some("3")));
    assert_eq!(page(&mut bridge, cursor, 3), (vec![json!(2)], None));
    assert_eq!(requests(&log), ["POST /things/_search", "POST /things/_search"]);
}

#[test]
fn a_place_in_another_index_is_not_looked_at() {
    let (mut bridge, _) = bridge(elasticsearch(), |_, _| {
        let mut foreign = hit(1, json!([1]));
        foreign["_index"] = json!("secrets");
        hits(vec![foreign])
    });
    let options = ReadOptions { cursor: Some(place("stolen", "things", "things")), ..ReadOptions::default() };
    let error = testing::json(bridge.read("things", options).unwrap()).unwrap_err();
    assert_eq!(error.about(), Some("cursor"));
}

/// A cursor that goes on at a place that was opened on a target.
fn place(id: &str, target: &str, index: &str) -> String {
    let index = Index::read(&json!({index: {"mappings": {}}}));
    let kept = position::Kept::new(id.to_owned(), target, &index);
    let values = vec![RawValue::from_string("1".to_owned()).unwrap()];
    position::Position::new("", values, Some(kept)).encode()
}

#[test]
fn a_cursor_of_another_target_is_refused_before_the_server_is_asked() {
    for cursor in [place("pit", "things-eu", "things"), place("pit", "things", "things-before")] {
        let (mut bridge, log) = bridge(elasticsearch(), counting(5));
        let options = ReadOptions { limit: 3, cursor: Some(cursor), total: true, ..ReadOptions::default() };
        let error = bridge.read("things", options).and_then(testing::json).unwrap_err();
        assert_eq!((error.code(), error.about()), (ErrorCode::InvalidRequest, Some("cursor")));
        assert!(log.borrow().is_empty());
    }
}

#[test]
fn a_place_that_is_gone_is_a_cursor_that_is_too_old() {
    let gone = json!({"error": {"root_cause": [{"type": "search_context_missing_exception", "reason": "No search context found for id [4]"}]}, "status": 404});
    let (mut bridge, _) = answering(elasticsearch(), move |_, _| Ok(Incoming::new(404).json(&gone)));
    let options = ReadOptions { cursor: Some(place("old", "things", "things")), ..ReadOptions::default() };
    assert_eq!(testing::json(bridge.read("things", options).unwrap()).unwrap_err().about(), Some("cursor"));
}

#[test]
fn longer_documents_come_in_shorter_requests() {
    let (mut bridge, log) = answering(opensearch(), |request, body| {
        let size = body["size"].as_u64().unwrap_or(0);
        if request == "POST /_search" && size > 500 {
            return Ok(Incoming::new(200).body((0..20).map(|_| vec![b' '; 1 << 20])));
        }
        Ok(Incoming::new(200).json(&counting(300)(request, body)))
    });
    assert_eq!(testing::json(bridge.query("things", query("{}")).unwrap()).unwrap().len(), 300);
    let sizes: Vec<u64> = log.borrow().iter().filter_map(|(_, body)| body["size"].as_u64()).collect();
    assert_eq!(sizes[..2], [1_000, 125]);
}

#[test]
fn an_index_with_a_smaller_window_is_read_in_smaller_pages() {
    for text in ["{}", r#"{"limit":400}"#, r#"{"offset":250,"limit":20}"#] {
        let (mut bridge, log) = answering(elasticsearch(), |request, body| {
            let size = body["size"].as_u64().unwrap_or(0) + body["from"].as_u64().unwrap_or(0);
            if request.ends_with("/_search") && size > 100 {
                let reason = format!(
                    "Result window is too large, from + size must be less than or equal to: [100] but was [{size}]."
                );
                let cause = json!({"type": "illegal_argument_exception", "reason": reason});
                let error =
                    json!({"error": {"type": "search_phase_execution_exception", "root_cause": [cause]}});
                return Ok(Incoming::new(400).json(&error));
            }
            Ok(Incoming::new(200).json(&counting(300)(request, body)))
        });
        let rows = testing::json(bridge.query("things", query(text)).unwrap()).unwrap();
        let (first, most) = if text.contains("offset") { ("251", 20) } else { ("1", 300) };
        assert_eq!((ids(&rows)[0], rows.len()), (first, most), "{text}");
        let refused = |(request, body): &&(String, Json)| {
            request.ends_with("/_search")
                && body["size"].as_u64().unwrap() + body["from"].as_u64().unwrap_or(0) > 100
        };
        assert!(
            log.borrow().iter().filter(refused).count() <= 3,
            "{text}: what was refused is not asked again"
        );
    }
}

#[test]
fn half_an_answer_is_none() {
    for (answer, code) in [
        (json!({"timed_out": true, "hits": {"hits": []}}), ErrorCode::Timeout),
        (json!({"_shards": {"total": 2, "failed": 1}, "hits": {"hits": []}}), ErrorCode::QueryFailed),
        (
            json!({"hits": {"total": {"value": 10_000, "relation": "gte"}, "hits": []}}),
            ErrorCode::QueryFailed,
        ),
        (json!({"took": 1}), ErrorCode::QueryFailed),
    ] {
        let (mut bridge, _) = bridge(elasticsearch(), move |_, _| answer.clone());
        let error =
            bridge.query("things", query(r#"{"limit":1,"total":true}"#)).and_then(testing::json).unwrap_err();
        assert_eq!(error.code(), code);
    }
}

#[test]
fn a_document_without_its_source_is_an_error_however_the_mapping_says_so() {
    // As of `_source.mode: disabled`, or of the setting `index.mapping.source.mode`.
    let bare = |request: &str| match request {
        "POST /things/_pit" => json!({"id": "first"}),
        _ => hits(vec![hit(1, json!([1])), json!({"_index": "things", "_id": "2", "sort": [2]})]),
    };
    for text in [
        r#"{"limit":5}"#,
        r#"{"limit":5,"select":["n"]}"#,
        r#"{"limit":5,"select":["_id"],"where":{"name":{"$ilike":"%Ä%"}}}"#,
    ] {
        let (mut bridge, _) = bridge(elasticsearch(), move |request, _| bare(request));
        let error = bridge.query("things", query(text)).and_then(testing::json).unwrap_err();
        assert_eq!(error.code(), ErrorCode::QueryFailed, "{text}");
        assert!(error.message().contains("_source"), "{text}: {error}");
    }
    let (mut bridge, _) = bridge(elasticsearch(), move |request, _| bare(request));
    let keys = bridge.query("things", query(r#"{"limit":5,"select":["_id"]}"#)).unwrap();
    assert_eq!(ids(&testing::json(keys).unwrap()), ["1", "2"]);
}

#[test]
fn who_asks_for_patience_gets_it() {
    let asked = RefCell::new(0);
    let (mut bridge, _) = answering(elasticsearch(), move |_, _| {
        *asked.borrow_mut() += 1;
        let busy = json!({"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}});
        Ok(match *asked.borrow() {
            1 => Incoming::new(429).header("retry-after", "1").json(&busy),
            _ => Incoming::new(200).json(&hits(vec![hit(1, json!([]))])),
        })
    });
    assert_eq!(testing::json(bridge.query("things", query(r#"{"limit":1}"#)).unwrap()).unwrap().len(), 1);
}

#[test]
fn another_node_answers_where_one_does_not() {
    let dead = Client::new("http://a").unwrap().over(|_: &Outgoing| Err(Error::unreachable("refused")));
    let live = Client::new("http://b")
        .unwrap()
        .over(|_: &Outgoing| Ok(Incoming::new(200).json(&json!({"version": {"number": "8.19.0"}}))));
    let server = Server::with_nodes(vec![dead.clone(), live]).unwrap();
    assert_eq!(server.flavour().version, (8, 19));
    assert_eq!(Server::with_nodes(vec![dead]).unwrap_err().code(), ErrorCode::Unreachable);
}

#[test]
fn another_node_answers_where_one_is_not_well() {
    let node = |status: u16| {
        let client = Client::new("http://a").unwrap().retries(0);
        client.over(move |_: &Outgoing| {
            Ok(Incoming::new(status).json(&json!({"version": {"number": "9.1.0"}})))
        })
    };
    assert_eq!(Server::with_nodes(vec![node(503), node(502), node(200)]).unwrap().flavour().version, (9, 1));
    assert_eq!(Server::with_nodes(vec![node(502), node(503)]).unwrap_err().native(), Some("503"));
    // What one node refuses, all of them refuse.
    assert_eq!(
        Server::with_nodes(vec![node(401), node(200)]).unwrap_err().code(),
        ErrorCode::Unauthenticated
    );
}

#[test]
fn who_may_not_ask_what_the_server_is_may_still_search() {
    let forbidden = |product: bool| {
        Client::new("http://a").unwrap().over(move |_: &Outgoing| {
            let answer =
                Incoming::new(403).json(&json!({"error": {"type": "security_exception", "reason": "no"}}));
            Ok(if product { answer.header("X-elastic-product", "Elasticsearch") } else { answer })
        })
    };
    let flavour = |product: bool| Server::with_nodes(vec![forbidden(product)]).unwrap().flavour();
    assert!(!flavour(true).is_opensearch && flavour(true).has_shard_order());
    assert!(flavour(false).is_opensearch);
}

#[test]
fn a_request_reaches_the_named_target_alone() {
    let seen = Rc::new(RefCell::new(String::new()));
    let log = Rc::clone(&seen);
    let client = Client::new("http://a/search/").unwrap().over(move |request: &Outgoing| {
        log.borrow_mut().clone_from(&request.url);
        Ok(Incoming::new(200).json(&json!({"version": {"number": "9.0.0"}})))
    });
    let server = Server::with_nodes(vec![client]).unwrap();
    server.mapping("it's %2a").unwrap();
    assert_eq!(
        *seen.borrow(),
        "http://a/search/it%27s%20%252a/_mapping?ignore_unavailable=false&allow_no_indices=false&expand_wildcards=none"
    );
    let (mut bridge, log) = bridge(elasticsearch(), |_, _| hits(Vec::new()));
    for target in ["*", "a,b", "_all", "-things", ".security", "<things-{now/d}>"] {
        assert_eq!(bridge.query(target, query("{}")).unwrap_err().about(), Some("target"));
    }
    assert!(log.borrow().is_empty());
}
