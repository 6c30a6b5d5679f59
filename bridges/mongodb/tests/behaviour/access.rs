//! TLS, logins and privileges.

use std::time::Duration;

use bridge_core::{BridgeError, Call, Driver};
use mongodb::bson::doc;
use semilayer_bridge_mongodb::MongoDb;
use serde_json::json;

use crate::asking::{open, query};
use crate::server::{Scratch, server};

/// The role's URL without a word of TLS.
fn plain_url(role: &str) -> String {
    let (before, options) = server().url(role).split_once('?').unwrap();
    let options: Vec<&str> = options.split('&').filter(|option| !option.starts_with("tls")).collect();
    format!("{before}?{}", options.join("&"))
}

async fn refused(settings: serde_json::Value) -> String {
    let config = serde_json::from_value(settings).unwrap();
    let call = Call::within(Duration::from_secs(20));
    match MongoDb.connect(&config, &call).await.map(drop) {
        Err(BridgeError::Unreachable { message, .. }) => message,
        other => panic!("expected the source to be unreachable, got {other:?}"),
    }
}

#[tokio::test]
async fn certificates_may_be_files_or_text_beside_the_url() {
    let scratch = Scratch::new().await;
    scratch.insert("c", vec![doc! {"_id": 1}]).await;
    let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    for tls in [
        json!({"url": plain_url("app"), "tlsCA": server().ca}),
        json!({"url": plain_url("app"), "ssl": "true", "tlsCA": text(&server().ca)}),
        json!({"url": plain_url("mtls"), "tlsCA": text(&server().ca),
            "tlsCertificate": server().client_cert, "tlsKey": text(&server().client_key)}),
    ] {
        let bridge = open(&scratch.config_with(tls)).await.unwrap();
        assert_eq!(query(&*bridge, "c", json!({})).await.unwrap().len(), 1);
        bridge.close().await;
    }
    scratch.drop().await;
}

#[tokio::test]
async fn a_server_of_another_authority_and_a_plain_connection_are_refused() {
    for settings in [
        json!({"url": plain_url("app"), "tlsCA": server().other_ca, "connectionTimeoutMillis": 2_000}),
        json!({"url": plain_url("app"), "ssl": true, "connectionTimeoutMillis": 2_000}),
        json!({"url": plain_url("app"), "connectionTimeoutMillis": 2_000}),
    ] {
        let message = refused(settings).await;
        assert!(!message.contains(server().password("app")), "{message}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_showing_it() {
    let wrong = format!(
        "mongodb://app:hunter2@127.0.0.1:{}/?directConnection=true&authSource=admin",
        server().port()
    );
    let message = refused(json!({"url": wrong, "tlsCA": server().ca})).await;
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn a_user_who_may_only_read_reads() {
    let scratch = Scratch::new().await;
    scratch.insert("c", vec![doc! {"_id": 1, "a": {"b": 2}}]).await;
    let bridge = open(&scratch.config_with(json!({"url": server().url("reader")}))).await.unwrap();
    assert_eq!(query(&*bridge, "c", json!({"where": {"a.b": 2}})).await.unwrap().len(), 1);
    assert_eq!(bridge.list_targets(&crate::asking::call()).await.unwrap(), ["c"]);
    bridge.close().await;
    scratch.drop().await;
}
