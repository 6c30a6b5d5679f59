//! Who gets in and how: logins, least privilege, TLS, unix sockets, hostile names.

use bridge_core::{BridgeError, Driver};
use semilayer_bridge_redis::Redis;
use serde_json::{Value, json};

use crate::asking::{aggregate, connect, count, open, query, read, settings};
use crate::server::{Prefix, Victim, server, valkey};

async fn refused(config: Value) -> String {
    match connect(config).await.map(|_| ()) {
        Err(BridgeError::Unreachable { message, .. }) => message,
        other => panic!("expected to be refused, got {other:?}"),
    }
}

fn with(mut config: Value, more: Value) -> Value {
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let message = refused(with(server().config("app", 0), json!({"password": "hunter2"}))).await;
    assert!(message.contains("the login was refused: WRONGPASS"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    let message = refused(json!({"host": "127.0.0.1", "port": server().port})).await;
    assert!(message.contains("NOAUTH"), "{message}");
    let message = refused(json!({"host": "no such host", "port": 1})).await;
    assert!(message.contains("cannot resolve \"no such host\""), "{message}");
}

#[tokio::test]
async fn a_url_opens_the_same_source_as_fields() {
    let prefix = Prefix::new();
    prefix.set("1", "{}");
    let config = prefix.config();
    let password: String =
        config["password"].as_str().unwrap().bytes().map(|byte| format!("%{byte:02x}")).collect();
    let url = format!("redis://app:{password}@127.0.0.1:{}/0", config["port"]);
    let bridge = open(json!({ "url": url })).await;
    assert_eq!(count(&*bridge, &prefix.name, json!({})).await.unwrap(), 1);
}

#[tokio::test]
async fn databases_are_apart() {
    let prefix = Prefix::on(server(), 3);
    prefix.set("1", "{}");
    let here = open(prefix.config()).await;
    let elsewhere = open(server().config("app", 4)).await;
    assert_eq!(count(&*here, &prefix.name, json!({})).await.unwrap(), 1);
    assert_eq!(count(&*elsewhere, &prefix.name, json!({})).await.unwrap(), 0);
}

#[tokio::test]
async fn a_user_who_may_only_read_can_read_everything() {
    for server in [server(), valkey()] {
        let prefix = Prefix::on(server, 0);
        prefix.set("string", r#"{"a":1}"#);
        prefix.run("HSET", "hash", &["a", "1"]);
        prefix.run("RPUSH", "list", &["1"]);
        prefix.run("SADD", "set", &["1"]);
        prefix.run("ZADD", "sorted", &["1", "m"]);
        prefix.run("XADD", "stream", &["*", "a", "1"]);
        let bridge = open(server.config("reader", 0)).await;
        assert_eq!(query(&*bridge, &prefix.name, json!({})).await.unwrap().len(), 6);
        assert_eq!(read(&*bridge, &prefix.name, json!({})).await.unwrap().0.len(), 6);
        for name in ["hash", "list", "set", "sorted", "stream"] {
            assert_eq!(query(&*bridge, &prefix.key(name), json!({})).await.unwrap().len(), 1, "{name}");
        }
        assert!(bridge.list_targets(&crate::asking::ample()).await.unwrap().contains(&prefix.name));
        let schema = bridge.introspect_target(&crate::asking::ample(), &prefix.name).await.unwrap();
        assert_eq!(schema.row_count, 6);
    }
}

#[tokio::test]
async fn a_command_that_is_forbidden_is_named() {
    let victim = Victim::start();
    let mut admin = victim.client();
    let user = |name: &str, rules: &[&str]| {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(name).arg("on").arg(">pw").arg(rules);
        command.to_owned()
    };
    user("no-scan", &["~*", "+@all", "-scan"]).exec(&mut admin).unwrap();
    user("some-keys", &["~app:*", "+@read", "+@connection"]).exec(&mut admin).unwrap();
    redis::cmd("MSET").arg(&["app:1", "{}", "other:1", "{}"]).exec(&mut admin).unwrap();
    let config =
        |user: &str| json!({"host": "127.0.0.1", "port": victim.port, "username": user, "password": "pw"});
    match connect(config("no-scan")).await.map(|_| ()) {
        Err(BridgeError::Query { message, native: Some(code), .. }) => {
            assert!(code == "NOPERM" && message.contains("scan"), "{message}");
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    let bridge = open(config("some-keys")).await;
    assert_eq!(query(&*bridge, "app", json!({})).await.unwrap(), [json!({"_key": "app:1"})]);
    let error = query(&*bridge, "other", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("NOPERM"), "{error}");
}

fn tls(mode: &str, ca: &std::path::Path) -> Value {
    let server = server();
    let port = server.tls_port.unwrap();
    with(server.config("tls", 0), json!({"port": port, "tlsMode": mode, "tlsCa": ca}))
}

/// A port at 127.0.0.2 behind which the server is, too.
#[expect(clippy::disallowed_methods, reason = "a test's runtime ends its tasks with the test")]
async fn forwarded(port: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await.ok() });
        }
    });
    own
}

#[tokio::test]
async fn tls_is_verified_as_far_as_the_mode_says() {
    let server = server();
    for mode in ["require", "verify-ca", "verify-full"] {
        open(tls(mode, &server.ca)).await;
    }
    open(tls("require", &server.other_ca)).await;
    for mode in ["verify-ca", "verify-full"] {
        let message = refused(tls(mode, &server.other_ca)).await;
        assert!(message.contains("TLS failed"), "{message}");
    }
    // The certificate is for localhost and its addresses.
    let elsewhere = json!({"host": "127.0.0.2", "port": forwarded(server.tls_port.unwrap()).await});
    open(with(tls("verify-ca", &server.ca), elsewhere.clone())).await;
    refused(with(tls("verify-full", &server.ca), elsewhere)).await;
    let pem = std::fs::read_to_string(&server.ca).unwrap();
    open(with(tls("verify-full", &server.ca), json!({"tlsCa": pem, "host": "localhost"}))).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let server = server();
    let identity = json!({"tlsCert": server.client_cert, "tlsKey": server.client_key});
    let bridge = open(with(tls("verify-full", &server.ca), identity)).await;
    bridge.test(&crate::asking::ample()).await.unwrap();
    let mixed = json!({"tlsCert": server.client_cert, "tlsKey": server.ca});
    let message = refused(with(tls("verify-full", &server.ca), mixed)).await;
    assert!(message.contains("holds no usable private key"), "{message}");
}

#[tokio::test]
async fn plain_and_tls_do_not_pass_for_each_other() {
    let server = server();
    refused(with(server.config("app", 0), json!({"tls": true, "tlsCa": server.ca}))).await;
    refused(with(
        server.config("app", 0),
        json!({"port": server.tls_port.unwrap(), "connectionTimeoutMillis": 2_000}),
    ))
    .await;
}

#[tokio::test]
async fn a_unix_socket_opens_the_same_server() {
    let prefix = Prefix::new();
    prefix.set("1", "{}");
    let folder = server().socket_dir.clone().expect("the recipes give Redis a unix socket");
    let socket = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let bridge = open(with(prefix.config(), json!({"host": socket}))).await;
    assert_eq!(count(&*bridge, &prefix.name, json!({})).await.unwrap(), 1);
}

#[tokio::test]
async fn no_target_is_a_pattern_and_none_reaches_another() {
    let prefix = Prefix::new();
    let bridge = open(prefix.config()).await;
    let names = [
        "*",
        "?",
        "[a-z]*",
        "a*",
        "\\",
        "a\\*",
        "[",
        "^",
        "-",
        "a]b",
        "quote\"'",
        "line\nbreak",
        "nul\0l",
        "ünï",
    ];
    for name in names {
        prefix.set(&format!("{name}:1"), r#"{"mine":true}"#);
    }
    for name in names {
        let target = prefix.key(name);
        let rows = query(&*bridge, &target, json!({})).await.unwrap();
        assert_eq!(rows, [json!({"_key": format!("{target}:1"), "mine": true})], "{name:?}");
        assert_eq!(count(&*bridge, &target, json!({})).await.unwrap(), 1);
        let asked = json!({"where": {"_key": {"$startsWith": target.to_uppercase()}}, "select": ["mine"]});
        assert_eq!(query(&*bridge, &target, asked).await.unwrap().len(), 1, "{name:?}");
    }
    for target in ["*", "test*", "?est", ""] {
        let rows = query(&*bridge, target, json!({})).await;
        assert!(matches!(rows.as_deref(), Ok([]) | Err(BridgeError::Invalid(_))), "{target:?}: {rows:?}");
    }
}

#[tokio::test]
async fn keys_that_are_named_are_fetched_and_not_searched_for() {
    let victim = Victim::start();
    let mut admin = victim.client();
    let mut pipeline = redis::pipe();
    (0..2_000_u32).for_each(|number| {
        pipeline.cmd("SET").arg(format!("t:{number}")).arg(format!("{{\"n\":{number}}}")).ignore();
    });
    pipeline.exec(&mut admin).unwrap();
    let bridge = open(victim.config()).await;
    redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut admin).unwrap();
    let asked = json!({"where": {"_key": {"$in": ["t:7", "t:1999", "t:none", "u:1"]}, "n": {"$gt": 7}}});
    assert_eq!(query(&*bridge, "t", asked).await.unwrap(), [json!({"_key": "t:1999", "n": 1999})]);
    assert_eq!(count(&*bridge, "t", json!({"where": {"_key": "t:5"}})).await.unwrap(), 1);
    let asked = json!({"where": {"_key": ["t:9", "t:10", "t:8"]}, "orderBy": {"_key": "asc"}, "limit": 2});
    assert_eq!(
        query(&*bridge, "t", asked).await.unwrap(),
        [json!({"_key": "t:10", "n": 10}), json!({"_key": "t:8", "n": 8})]
    );
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut admin).unwrap();
    assert!(!stats.contains("cmdstat_scan:") && !stats.contains("cmdstat_keys:"), "{stats}");
}

#[tokio::test]
async fn what_only_keys_say_is_counted_without_values() {
    let victim = Victim::start();
    let mut admin = victim.client();
    redis::cmd("MSET").arg(&["t:a1", "{}", "t:a2", "{}", "t:b1", "{}"]).exec(&mut admin).unwrap();
    let bridge = open(victim.config()).await;
    redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut admin).unwrap();
    let asked = json!({"measures": {"n": {"agg": "count"}}});
    let all = json!({"dims": {}, "measures": {"n": 3}, "count": 3});
    assert_eq!(aggregate(&*bridge, "t", asked.clone()).await.unwrap(), [all]);
    let none = json!({"dims": {}, "measures": {"n": 0}, "count": 0});
    assert_eq!(aggregate(&*bridge, "u", asked).await.unwrap(), [none]);
    let asked = json!({"where": {"_key": {"$startsWith": "t:A"}}});
    assert_eq!(count(&*bridge, "t", asked).await.unwrap(), 2);
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut admin).unwrap();
    assert!(!stats.contains("cmdstat_mget:") && !stats.contains("cmdstat_get:"), "{stats}");
}

#[tokio::test]
async fn every_mistake_of_a_configuration_is_found_before_anything_is_dialled() {
    let config = settings(json!({"port": "x", "db": "y", "url": "redis+cluster://h"}));
    let mistakes = Redis.check(&config).unwrap_err().to_string();
    assert!(mistakes.contains("clusters are not supported"), "{mistakes}");
}
