//! Revocation and rotation act at once, and for good.

use std::time::Instant;

use harness::gateway::{Gateway, credentials};
use harness::runner::Settings;
use harness::sqlite::{Sqlite, people_lens};
use harness::v1::{StrictRunner, dial_with};
use harness::wait::{secs, until, within};
use serde_json::{Value, json};

async fn with_people(people: &Sqlite) -> Gateway {
    let gateway = Gateway::start().await;
    let mut config = people.config();
    config["bridge"] = "sqlite".into();
    gateway.push(json!({"main": config}), json!({"people": people_lens("main")})).await;
    gateway
}

#[tokio::test]
async fn a_revoked_runner_is_out_at_once_and_stays_out() {
    within(secs(90), async {
        let people = Sqlite::people();
        let mut gateway = with_people(&people).await;
        let (one, mut runner) = gateway.connect_runner("one", &["main"]).await;
        let app = gateway.secret_app().await;
        assert_eq!(app.count("people", &json!({})).await, 7);
        assert!(gateway.is_online(&one.id).await);

        let started = Instant::now();
        gateway.admin("POST", &format!("/api/runners/{}/revoke", one.id), Value::Null).await.ok();
        assert_eq!(app.query("people", &json!({})).await.code(503), "no_runners_online");
        assert_eq!(gateway.runner(&one.id).await["status"], "revoked");
        runner.disconnected_within(secs(5)).await;
        assert!(started.elapsed() < secs(5), "a revocation waits for nobody");

        // The disconnect that follows must not make it a runner that is merely offline.
        let refused = dial_with(gateway.address(), Some(&one.token), "{}").await.unwrap_err();
        assert!(refused.contains("403"), "{refused}");
        let (status, ready) = runner.ready().await;
        assert_eq!((status, &ready["connected"]), (503, &json!(false)));
        runner.process.terminate(secs(10)).await;
        assert_eq!(gateway.runner(&one.id).await["status"], "revoked");

        gateway.process.kill().await;
        gateway.restart().await;
        assert_eq!(gateway.runner(&one.id).await["status"], "revoked");
        let refused = dial_with(gateway.address(), Some(&one.token), "{}").await.unwrap_err();
        assert!(refused.contains("403"), "{refused}");
        let told =
            gateway.settings(&one).argument("--exit-on-auth-failure").start().process.wait(secs(20)).await;
        assert_eq!(told.code(), Some(3));
    })
    .await;
}

#[tokio::test]
async fn a_revocation_ends_a_running_query_and_a_foreign_runners_socket() {
    within(secs(60), async {
        let people = Sqlite::people();
        let gateway = with_people(&people).await;
        let one = gateway.create_runner("one").await;
        gateway.assign("main", &one.id).await;
        let bridges = ["@semilayer/bridge-sqlite"];
        let mut foreign = StrictRunner::connect(gateway.address(), &one.token, &one.id, &bridges).await;
        let app = gateway.secret_app().await;
        let asked = tokio::spawn(async move { app.query("people", &json!({})).await });
        foreign.job().await;
        gateway.admin("POST", &format!("/api/runners/{}/revoke", one.id), Value::Null).await.ok();
        assert_eq!(asked.await.unwrap().code(502), "runner_failed");
        foreign.closed().await;
    })
    .await;
}

#[tokio::test]
async fn a_rotated_token_replaces_the_old_one_at_once() {
    within(secs(60), async {
        let people = Sqlite::people();
        let gateway = with_people(&people).await;
        let (one, mut runner) = gateway.connect_runner("one", &["main"]).await;
        let rotated = gateway.admin("POST", &format!("/api/runners/{}/rotate", one.id), Value::Null).await;
        assert_eq!(rotated.header("cache-control"), Some("no-store"));
        let rotated = credentials(&rotated.ok());
        assert_eq!(rotated.id, one.id);
        assert_ne!(rotated.token, one.token);
        runner.disconnected_within(secs(5)).await;
        let refused = dial_with(gateway.address(), Some(&one.token), "{}").await.unwrap_err();
        assert!(refused.contains("401"), "an old token is like one that never was: {refused}");
        let _again = Settings::new(&rotated, &gateway.runner_url()).connect().await;
        until("it is online again", secs(10), async || gateway.is_online(&one.id).await).await;
        let app = gateway.secret_app().await;
        assert_eq!(app.count("people", &json!({})).await, 7);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_runner_and_a_wrong_token_look_the_same() {
    within(secs(60), async {
        let gateway = Gateway::start().await;
        gateway.create_runner("one").await;
        let key = gateway.create_key("secret").await;
        let mut said = Vec::new();
        for token in ["rk_0000000000000000000000000000000000000000000", "nonsense", &key] {
            let refused = dial_with(gateway.address(), Some(token), "{}").await.unwrap_err();
            assert!(refused.contains("401"), "{refused}");
            said.push(refused);
        }
        said.dedup();
        assert_eq!(said.len(), 1, "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_the_next_request_on() {
    within(secs(60), async {
        let people = Sqlite::people();
        let gateway = with_people(&people).await;
        let _runner = gateway.connect_runner("one", &["main"]).await;
        let made = gateway.admin("POST", "/api/keys", json!({"kind": "secret", "name": "app"})).await.ok();
        let app = gateway.app(made["token"].as_str().unwrap());
        assert_eq!(app.count("people", &json!({})).await, 7);
        let path = format!("/api/keys/{}/revoke", made["id"].as_str().unwrap());
        gateway.admin("POST", &path, Value::Null).await.ok();
        assert_eq!(app.query("people", &json!({})).await.code(401), "unauthorized");
    })
    .await;
}
