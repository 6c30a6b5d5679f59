//! The audit log: every attempt, refused ones too.

use semilayer_gateway::audit::{Actor, AuditRow};
use semilayer_gateway::store::Store as _;
use semilayer_gateway::store::sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::harness::Gateway;

/// Actions with their outcomes, newest first.
fn outcomes(page: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    page["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (text(entry, "action"), text(entry, "outcome")))
        .collect()
}

#[tokio::test]
async fn operators_changes_and_refusals_are_in_the_log() {
    let gateway = Gateway::start().await;
    gateway.runner("edge").await;
    gateway.admin("POST", "/api/runners", json!({"name": "edge"})).await.expect(409);
    gateway.admin("POST", "/api/runners/nope/revoke", json!({})).await.expect(404);
    gateway.admin("PUT", "/api/config", json!({"lenses": []})).await.expect(400);
    gateway.ask("GET", "/api/runners", Some("ak_wrong"), &[], String::new()).await.expect(401);
    gateway.ask("DELETE", "/api/runners/edge", None, &[], String::new()).await.expect(401);
    let page = gateway.eventually("/api/audit", |page| page["entries"].as_array().unwrap().len() == 6).await;
    let expected = [
        ("runner.delete", "unauthorized"),
        ("admin.read", "unauthorized"),
        ("config.push", "bad_request"),
        ("runner.revoke", "not_found"),
        ("runner.create", "conflict"),
        ("runner.create", "ok"),
    ];
    let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(outcomes(&page), expected);
    let made = &page["entries"][5];
    assert_eq!((&made["actor"], &made["target"]), (&json!("admin"), &json!("edge")));
    assert_eq!(page["entries"][0]["actor"], "anonymous");
}

#[tokio::test]
async fn an_applications_refused_attempts_are_in_the_log_without_their_text() {
    let gateway = Gateway::start().await;
    let key = gateway.admin("POST", "/api/keys", json!({"name": "k", "kind": "secret"})).await.expect(201);
    let token = key["token"].as_str().unwrap();
    let body = json!({"where": {"email": "canary@example.com"}}).to_string();
    gateway
        .ask("POST", "/v1/query/nope", Some(token), &[("x-request-id", "mine-1")], body.clone())
        .await
        .expect(404);
    gateway.ask("POST", "/v1/count/nope", Some("sk_wrong"), &[], body).await.expect(401);
    let page = gateway
        .eventually("/api/audit?lens=nope", |page| page["entries"].as_array().unwrap().len() == 2)
        .await;
    assert_eq!(outcomes(&page)[0], ("count".to_owned(), "unauthorized".to_owned()));
    let query = &page["entries"][1];
    assert_eq!((&query["action"], &query["outcome"]), (&json!("query"), &json!("not_found")));
    assert_eq!((&query["actor"], &query["actorId"]), (&json!("secret-key"), &key["id"]));
    assert_eq!(query["requestId"], "mine-1");
    assert_eq!(query["paramsHash"].as_str().unwrap().len(), 64);
    assert!(!page.to_string().contains("canary"));
}

#[tokio::test]
async fn a_body_above_the_limit_is_in_the_log() {
    let gateway = Gateway::start_with(&[("SEMILAYER_MAX_BODY", "1024")]).await;
    let key = gateway.admin("POST", "/api/keys", json!({"name": "k", "kind": "secret"})).await.expect(201);
    let ask =
        async |token: &str| gateway.ask("POST", "/v1/query/l", Some(token), &[], "x".repeat(1025)).await;
    assert_eq!(ask("sk_x").await.refusal(), (401, "unauthorized".to_owned()), "the key comes first");
    assert_eq!(ask(key["token"].as_str().unwrap()).await.refusal(), (413, "body_too_large".to_owned()));
    let large = "/api/audit?action=query&actor=secret-key";
    let page = gateway.eventually(large, |page| !page["entries"].as_array().unwrap().is_empty()).await;
    assert_eq!(outcomes(&page), [("query".to_owned(), "body_too_large".to_owned())]);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let gateway = Gateway::start().await;
    for number in 0..7 {
        gateway.runner(&format!("r{number}")).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page =
            gateway.admin("GET", &format!("/api/audit?limit=3{cursor}"), Value::Null).await.expect(200);
        seen.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["target"].clone()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
}

#[tokio::test]
async fn filters_must_all_fit() {
    let gateway = Gateway::start().await;
    gateway.runner("edge").await;
    gateway.admin("POST", "/api/keys", json!({"name": "k", "kind": "secret"})).await.expect(201);
    for (query, count) in [
        ("action=runner.create", 1),
        ("action=runner.create&outcome=conflict", 0),
        ("actor=admin", 2),
        ("actor=secret-key", 0),
        ("from=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z", 2),
        ("until=2020-01-01T00:00:00Z", 0),
        ("from=2100-01-01T00:00:00Z", 0),
        ("runner=edge", 0),
        ("requestId=none", 0),
    ] {
        let page = gateway.admin("GET", &format!("/api/audit?{query}"), Value::Null).await.expect(200);
        assert_eq!(page["entries"].as_array().unwrap().len(), count, "{query}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "from=yesterday",
        "action=exce",
        "outcome=denied",
        "actor=root",
        "actorId=x",
        "cursor=x",
        "runner=no%20one",
        "colour=red",
        "limt=5",
        "lens=a&lens=b",
    ] {
        let refused = gateway.admin("GET", &format!("/api/audit?{query}"), Value::Null).await;
        let field = refused.wrong_field();
        assert_eq!(field, query.split('=').next().unwrap(), "{query}");
    }
    let misspelt = gateway.admin("GET", "/api/audit?limt=5", Value::Null).await.expect(400);
    assert_eq!(misspelt["error"], "limt: expected no such parameter; did you mean limit?");
    let action = gateway.admin("GET", "/api/audit?action=exce", Value::Null).await.expect(400);
    let said = action["error"].as_str().unwrap();
    assert!(said.starts_with("action: expected one of query, count, exec, "), "{said}");
    assert!(said.ends_with("; did you mean exec?"), "{said}");
}

#[tokio::test]
async fn words_that_another_version_has_written_are_found() {
    let (folder, admin) = Gateway::start().await.stop().await;
    let store = SqliteStore::open(&folder.path().join("gateway.db")).await.unwrap();
    let row = AuditRow::new(Actor::Admin, "lens.rename", "lens_in_use", "r");
    store.append_audit(&[row]).await.unwrap();
    store.close().await;
    let gateway = Gateway::start_in(folder, Some(admin), &[]).await.ok().unwrap();
    for query in ["action=lens.rename", "outcome=lens_in_use", "action=lens.rename&outcome=lens_in_use"] {
        let page = gateway.admin("GET", &format!("/api/audit?{query}"), Value::Null).await.expect(200);
        assert_eq!(page["entries"].as_array().unwrap().len(), 1, "{query}");
    }
    let none = gateway.admin("GET", "/api/audit?action=lens.rename&outcome=lens_is_used", Value::Null).await;
    assert_eq!(none.wrong_field(), "outcome");
}

#[tokio::test]
async fn rows_that_wait_are_written_before_the_gateway_ends() {
    let gateway = Gateway::start().await;
    for _ in 0..50 {
        gateway.ask("POST", "/v1/query/l", None, &[], String::new()).await.expect(401);
    }
    let (folder, admin) = gateway.stop().await;
    let gateway = Gateway::start_in(folder, Some(admin), &[]).await.ok().unwrap();
    let page = gateway.admin("GET", "/api/audit?action=query&limit=1000", Value::Null).await.expect(200);
    let occurrences =
        page["entries"].as_array().unwrap().iter().map(|row| row["occurrences"].as_u64().unwrap());
    assert_eq!(occurrences.sum::<u64>(), 50);
}
