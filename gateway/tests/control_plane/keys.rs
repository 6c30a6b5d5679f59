//! Keys of applications.

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::harness::{Gateway, Socket, Unopened};

#[tokio::test]
async fn a_key_works_until_it_is_revoked() {
    let gateway = Gateway::start().await;
    let made = gateway.admin("POST", "/api/keys", json!({"name": "shop", "kind": "secret"})).await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made = made.expect(201);
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("sk_"));
    let ask =
        async || gateway.ask("POST", "/v1/query/nope", Some(token), &[], "{}".to_owned()).await.refusal();
    assert_eq!(ask().await, (404, "not_found".to_owned()));
    let revoked = gateway.admin("POST", "/api/keys/shop/revoke", json!({})).await.expect(200);
    assert_eq!(ask().await, (401, "unauthorized".to_owned()));
    let id = made["id"].as_str().unwrap();
    let again = gateway.admin("POST", &format!("/api/keys/{id}/revoke"), json!({})).await.expect(200);
    assert_eq!(again["revokedAt"], revoked["revokedAt"]);
    let by_name = gateway.admin("POST", "/api/keys/shop/revoke", json!({})).await;
    assert_eq!(by_name.refusal().0, 404, "the name of a revoked key is nobody's");
}

#[tokio::test]
async fn a_name_is_taken_while_its_key_lives() {
    let gateway = Gateway::start().await;
    let make = async || gateway.admin("POST", "/api/keys", json!({"name": "web", "kind": "public"})).await;
    assert!(make().await.expect(201)["token"].as_str().unwrap().starts_with("pk_"));
    assert_eq!(make().await.refusal().0, 409);
    gateway.admin("POST", "/api/keys/web/revoke", json!({})).await.expect(200);
    make().await.expect(201);
    let list = gateway.admin("GET", "/api/keys", Value::Null).await.expect(200);
    let revoked: Vec<bool> =
        list["keys"].as_array().unwrap().iter().map(|key| key["revokedAt"].is_string()).collect();
    assert_eq!(revoked, [true, false]);
}

#[tokio::test]
async fn a_key_has_the_scopes_that_it_was_made_with_and_none_otherwise() {
    let gateway = Gateway::start().await;
    let body = json!({"name": "robot", "kind": "secret", "scopes": ["exec", " exec"]});
    assert_eq!(gateway.admin("POST", "/api/keys", body).await.expect(201)["scopes"], json!(["exec"]));
    gateway.admin("POST", "/api/keys", json!({"name": "shop", "kind": "secret"})).await.expect(201);
    let (folder, admin) = gateway.stop().await;
    let gateway = Gateway::start_in(folder, Some(admin), &[]).await.ok().unwrap();
    let list = gateway.admin("GET", "/api/keys", Value::Null).await.expect(200);
    let scopes: Vec<_> = list["keys"].as_array().unwrap().iter().map(|key| key["scopes"].clone()).collect();
    assert_eq!(scopes, [json!(["exec"]), json!([])]);
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let gateway = Gateway::start().await;
    for (body, field) in [
        (json!({"kind": "secret"}), "name"),
        (json!({"name": "a"}), "kind"),
        (json!({"name": "a", "kind": "ingest"}), "kind"),
        (json!({"name": "a/b", "kind": "secret"}), "name"),
        (json!({"name": "a", "kind": "secret", "scope": "x"}), "scope"),
        (json!({"name": "a", "kind": "secret", "scopes": ["admin"]}), "scopes"),
        (json!({"name": "a", "kind": "public", "scopes": ["exec"]}), "scopes"),
    ] {
        assert_eq!(gateway.admin("POST", "/api/keys", body.clone()).await.wrong_field(), field, "{body}");
    }
}

#[tokio::test]
async fn a_revocation_is_in_force_even_when_the_store_cannot_be_read_any_more() {
    let gateway = Gateway::start().await;
    let made =
        gateway.admin("POST", "/api/keys", json!({"name": "shop", "kind": "secret"})).await.expect(201);
    let token = made["token"].as_str().unwrap();
    let (runner, runner_token) = gateway.runner("edge").await;
    let (socket, _) = Socket::open(&gateway, &runner, &runner_token).await.unwrap();
    // Something has spoilt a row, so that the whole cannot be read back.
    let file = gateway.folder.path().join("gateway.db");
    let store = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
    let spoilt = "INSERT INTO runners (id, name, labels, token_hash, token_last4, created_at) \
                  VALUES (zeroblob(16), 'x', 'no labels', zeroblob(32), 'xxxx', 0)";
    sqlx::query(spoilt).execute(&store).await.unwrap();

    gateway.admin("POST", "/api/keys/shop/revoke", json!({})).await.expect(200);
    let refused = gateway.ask("POST", "/v1/query/nope", Some(token), &[], "{}".to_owned()).await;
    assert_eq!(refused.refusal(), (401, "unauthorized".to_owned()));
    gateway.admin("POST", "/api/runners/edge/revoke", json!({})).await.expect(200);
    assert_eq!(socket.closed().await, 4401);
    assert_eq!(Socket::open(&gateway, &runner, &runner_token).await.err(), Some(Unopened(403)));
}
