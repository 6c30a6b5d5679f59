//! Runners: tokens shown once, rotation, and revocation that cannot undo itself.

use serde_json::{Value, json};

use crate::harness::{Gateway, Socket, Unopened};

const REVOKED: u16 = 4401;

#[tokio::test]
async fn a_runner_is_made_listed_and_found_by_id_and_by_name() {
    let gateway = Gateway::start().await;
    gateway.source("main").await;
    let body = json!({"name": "edge", "labels": {"zone": "b"}, "sources": ["main"]});
    let made = gateway.admin("POST", "/api/runners", body).await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made = made.expect(201);
    assert!(made["token"].as_str().unwrap().starts_with("rk_"));
    assert_eq!(made["status"], "offline");
    for name in ["edge", made["id"].as_str().unwrap()] {
        let found = gateway.admin("GET", &format!("/api/runners/{name}"), Value::Null).await.expect(200);
        assert_eq!(found["labels"], json!({"zone": "b"}));
        assert_eq!(found["sources"], json!(["main"]));
        assert_eq!(found["lastSeenAt"], Value::Null);
    }
    let list = gateway.admin("GET", "/api/runners", Value::Null).await.expect(200);
    assert_eq!(list["runners"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_is_never_readable_again() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("edge").await;
    for path in ["/api/runners", "/api/runners/edge", "/api/audit", "/api/config"] {
        let answer = gateway.admin("GET", path, Value::Null).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains(&token[3..20]), "{path}");
    }
    let shown = gateway.admin("GET", "/api/runners/edge", Value::Null).await.expect(200);
    assert_eq!(shown["tokenHint"], format!("rk_…{}", &token[token.len() - 4..]));
    let (folder, _) = gateway.stop().await;
    let stored = folder.contents();
    assert!(!stored.windows(20).any(|window| window == &token.as_bytes()[3..23]), "the token is in a file");
}

#[tokio::test]
async fn five_racers_for_one_name_make_exactly_one_runner() {
    let gateway = Gateway::start().await;
    let race = (0..5).map(|_| gateway.admin("POST", "/api/runners", json!({"name": "edge"})));
    let mut statuses: Vec<u16> =
        futures::future::join_all(race).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409]);
    let list = gateway.admin("GET", "/api/runners", Value::Null).await.expect(200);
    assert_eq!(list["runners"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let gateway = Gateway::start().await;
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "a b"}), "name"),
        (json!({"name": "0197c0de-0000-7000-8000-000000000000"}), "name"),
        (json!({"name": 3}), "name"),
        (json!({"name": "a", "labels": {"k": 1}}), "labels"),
        (json!({"name": "a", "labels": {"k": "v\n"}}), "labels"),
        (json!({"name": "a", "sources": "main"}), "sources"),
        (json!({"name": "a", "colour": "red"}), "colour"),
        (json!(["a"]), "body"),
    ] {
        let refused = gateway.admin("POST", "/api/runners", body.clone()).await;
        assert_eq!(refused.wrong_field(), field, "{body}");
    }
    let broken =
        gateway.ask("POST", "/api/runners", Some(&gateway.admin), &[], "{\"name\":".to_owned()).await;
    assert_eq!(broken.wrong_field(), "body");
    let twice = r#"{"name":"a","name":"b"}"#.to_owned();
    let twice = gateway.ask("POST", "/api/runners", Some(&gateway.admin), &[], twice).await;
    assert_eq!(twice.wrong_field(), "body");
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let gateway = Gateway::start().await;
    gateway.runner("edge").await;
    for (method, path) in [
        ("GET", "/api/runners/nope"),
        ("POST", "/api/runners/nope/revoke"),
        ("POST", "/api/runners/nope/rotate"),
        ("DELETE", "/api/runners/nope"),
        ("PUT", "/api/runners/edge/sources/nope"),
        ("PUT", "/api/runners/nope/sources/nope"),
        ("DELETE", "/api/runners/edge/sources/nope"),
        ("GET", "/api/runners/0197c0de-0000-7000-8000-000000000000"),
        ("GET", "/api/runners/%00%22"),
    ] {
        let answer = gateway.admin(method, path, Value::Null).await;
        assert_eq!(answer.refusal(), (404, "not_found".to_owned()), "{method} {path}");
    }
    let unknown_source = json!({"name": "other", "sources": ["nope"]});
    assert_eq!(gateway.admin("POST", "/api/runners", unknown_source).await.refusal().0, 404);
    assert_eq!(gateway.admin("GET", "/api/runners/other", Value::Null).await.refusal().0, 404);
}

#[tokio::test]
async fn a_connected_runner_is_online_until_it_leaves() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("edge").await;
    let (socket, _) = Socket::open(&gateway, &id, &token).await.unwrap();
    let online = gateway.eventually("/api/runners/edge", |runner| runner["status"] == "online").await;
    assert_eq!(online["sessions"][0]["bridges"], json!(["@semilayer/bridge-sqlite"]));
    assert!(online["lastSeenAt"].is_string());
    let busy = gateway.admin("DELETE", "/api/runners/edge", Value::Null).await;
    assert_eq!(busy.refusal(), (409, "conflict".to_owned()));
    drop(socket);
    gateway.eventually("/api/runners/edge", |runner| runner["status"] == "offline").await;
    gateway.admin("DELETE", "/api/runners/edge", Value::Null).await.expect(204);
    assert_eq!(Socket::open(&gateway, &id, &token).await.err(), Some(Unopened(401)));
}

#[tokio::test]
async fn a_revocation_closes_the_socket_and_a_disconnect_does_not_undo_it() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("edge").await;
    let (socket, _) = Socket::open(&gateway, &id, &token).await.unwrap();
    let revoked = gateway.admin("POST", "/api/runners/edge/revoke", json!({})).await.expect(200);
    assert!(revoked["revokedAt"].is_string());
    assert_eq!(socket.closed().await, REVOKED);
    let after = gateway
        .eventually("/api/runners/edge", |runner| runner["sessions"].as_array().is_some_and(Vec::is_empty))
        .await;
    assert_eq!(after["status"], "revoked");
    assert_eq!(after["revokedAt"], revoked["revokedAt"]);
    assert_eq!(Socket::open(&gateway, &id, &token).await.err(), Some(Unopened(403)));
    let again = gateway.admin("POST", "/api/runners/edge/revoke", json!({})).await.expect(200);
    assert_eq!(again["revokedAt"], revoked["revokedAt"], "the first revocation counts");
    let rotate = gateway.admin("POST", "/api/runners/edge/rotate", json!({})).await;
    assert_eq!(rotate.refusal().0, 409);
    let taken = gateway.admin("POST", "/api/runners", json!({"name": "edge"})).await;
    assert_eq!(taken.refusal().0, 409, "a revoked runner keeps its name");
}

#[tokio::test]
async fn a_revocation_survives_a_restart() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("edge").await;
    let (socket, _) = Socket::open(&gateway, &id, &token).await.unwrap();
    gateway.admin("POST", "/api/runners/edge/revoke", json!({})).await.expect(200);
    drop(socket);
    let (folder, admin) = gateway.stop().await;
    let gateway = Gateway::start_in(folder, Some(admin), &[]).await.ok().unwrap();
    let runner = gateway.admin("GET", "/api/runners/edge", Value::Null).await.expect(200);
    assert_eq!(runner["status"], "revoked");
    assert!(runner["lastSeenAt"].is_string(), "{runner}");
    assert_eq!(Socket::open(&gateway, &id, &token).await.err(), Some(Unopened(403)));
}

#[tokio::test]
async fn a_rotation_ends_the_old_token_and_its_sockets_at_once() {
    let gateway = Gateway::start().await;
    let (id, old) = gateway.runner("edge").await;
    let (socket, _) = Socket::open(&gateway, &id, &old).await.unwrap();
    let rotated = gateway.admin("POST", "/api/runners/edge/rotate", json!({})).await;
    assert_eq!(rotated.header("cache-control"), Some("no-store"));
    let rotated = rotated.expect(200);
    let new = rotated["token"].as_str().unwrap();
    assert_eq!(socket.closed().await, REVOKED);
    assert_eq!(Socket::open(&gateway, &id, &old).await.err(), Some(Unopened(401)));
    assert!(Socket::open(&gateway, &id, new).await.is_ok());
}

#[tokio::test]
async fn a_runner_is_told_of_its_sources_at_once() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("edge").await;
    gateway.source("main").await;
    let (mut socket, ack) = Socket::open(&gateway, &id, &token).await.unwrap();
    assert_eq!(ack["assignedSources"], json!([]));
    let assigned = gateway.admin("PUT", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    assert_eq!(assigned["sources"], json!(["main"]));
    let told = socket.frame().await;
    assert_eq!(told["type"], "assignments-changed");
    assert_eq!(told["assignedSources"][0]["name"], "main");
    assert_eq!(told["assignedSources"][0]["credentialsLocation"], "runner-local");
    assert_eq!(told["assignedSources"][0].get("config"), None);
    gateway.admin("DELETE", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    assert_eq!(socket.frame().await["assignedSources"], json!([]));
}

#[tokio::test]
async fn a_runners_token_opens_nothing_but_its_socket() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("edge").await;
    let answer = gateway.ask("GET", "/api/runners", Some(&token), &[], String::new()).await;
    assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()));
    let answer = gateway.ask("POST", "/v1/query/products", Some(&token), &[], "{}".to_owned()).await;
    assert_eq!(answer.refusal().0, 401);
}

#[tokio::test]
async fn what_a_runner_may_do_is_said_when_it_is_made_and_changed_later() {
    let gateway = Gateway::start().await;
    gateway.runner("plain").await;
    let plain = gateway.admin("GET", "/api/runners/plain", Value::Null).await.expect(200);
    assert_eq!(plain["capabilities"], json!(["exec.readonly"]));
    let body = json!({"name": "edge", "capabilities": [" docker", "exec.readonly", "docker "], "labels": {"zone": "b"}});
    let made = gateway.admin("POST", "/api/runners", body).await.expect(201);
    assert_eq!(made["capabilities"], json!(["exec.readonly", "docker"]));
    let change = async |body: Value| gateway.admin("PATCH", "/api/runners/edge", body).await;
    let changed = change(json!({"capabilities": ["sandbox"]})).await.expect(200);
    assert_eq!((&changed["capabilities"], &changed["labels"]), (&json!(["sandbox"]), &json!({"zone": "b"})));
    let changed = change(json!({"labels": {"zone": "c"}})).await.expect(200);
    assert_eq!((&changed["capabilities"], &changed["labels"]), (&json!(["sandbox"]), &json!({"zone": "c"})));
    assert_eq!(change(json!({"capabilities": []})).await.expect(200)["capabilities"], json!([]));
    for (body, field) in [
        (json!({"capabilities": ["exec.root"]}), "capabilities"),
        (json!({"capabilities": "sandbox"}), "capabilities"),
        (json!({"labels": {"k": "v\n"}}), "labels"),
        (json!({"name": "other"}), "name"),
    ] {
        assert_eq!(change(body.clone()).await.wrong_field(), field, "{body}");
    }
    let unknown = change(json!({"capabilities": ["exec.root"]})).await;
    assert!(unknown.text.contains("exec.root") && unknown.text.contains("exec.readonly"), "{}", unknown.text);
    let nobody = gateway.admin("PATCH", "/api/runners/nope", json!({"capabilities": []})).await;
    assert_eq!(nobody.refusal(), (404, "not_found".to_owned()));
    let page =
        gateway.admin("GET", "/api/audit?action=runner.update&outcome=ok", Value::Null).await.expect(200);
    let targets: Vec<_> =
        page["entries"].as_array().unwrap().iter().map(|entry| entry["target"].clone()).collect();
    assert_eq!(targets, ["edge", "edge sandbox", "edge sandbox"], "newest first");
}

#[tokio::test]
async fn a_runners_capabilities_survive_a_restart() {
    let gateway = Gateway::start().await;
    gateway.runner("edge").await;
    gateway.admin("PATCH", "/api/runners/edge", json!({"capabilities": ["exec.full"]})).await.expect(200);
    let (folder, admin) = gateway.stop().await;
    let gateway = Gateway::start_in(folder, Some(admin), &[]).await.ok().unwrap();
    let edge = gateway.admin("GET", "/api/runners/edge", Value::Null).await.expect(200);
    assert_eq!(edge["capabilities"], json!(["exec.full"]));
}

#[tokio::test]
async fn no_runner_is_called_like_a_target() {
    let gateway = Gateway::start().await;
    let refused = gateway.admin("POST", "/api/runners", json!({"name": "runner:5"})).await;
    assert_eq!(refused.wrong_field(), "name");
}
