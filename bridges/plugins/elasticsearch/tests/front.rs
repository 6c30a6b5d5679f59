//! TLS, logins, and the answers of servers that are not well: over a front before a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

#[path = "support/front.rs"]
mod front;
#[path = "support/plugin.rs"]
mod plugin;
#[path = "support/server.rs"]
mod server;

use std::io::Write;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_conformance::collect;
use bridge_core::{Bridge, BridgeError, Call, Driver};
use protocol::{QueryOptions, SourceConfig};
use serde_json::value::to_raw_value;
use serde_json::{Value as Json, json};

use crate::front::{Answer, Authority, Front, KEY, STRANGER, USER};
use crate::server::{Server, servers};

/// An index with three documents, removed when the test ends.
struct Things {
    server: &'static Server,
    name: String,
}

impl Things {
    fn new(name: &str) -> Self {
        let server = &servers()[0];
        let name = format!("front-{}-{name}", std::process::id());
        server.create(&name, &json!({}));
        let documents: Vec<(String, Json)> = (1..=3).map(|n| (n.to_string(), json!({"n": n}))).collect();
        server.insert(&name, &documents);
        server.refresh(&name);
        Self { server, name }
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    async fn rows(&self, bridge: &dyn Bridge) -> Result<Vec<Json>, BridgeError> {
        self.rows_within(bridge, Duration::from_secs(30)).await
    }

    async fn rows_within(&self, bridge: &dyn Bridge, limit: Duration) -> Result<Vec<Json>, BridgeError> {
        let options = QueryOptions::parse(&to_raw_value(&json!({"limit": 10})).unwrap()).unwrap();
        let stream = bridge.query(&Call::within(limit), &self.name, options).await?;
        collect(stream).await.map(|(rows, _)| rows)
    }

    /// Connects, asks for all rows, and says how many they are.
    async fn met(&self, config: &Json) -> Result<usize, BridgeError> {
        let bridge = connect(config).await?;
        Ok(self.rows(&*bridge).await?.len())
    }
}

impl Drop for Things {
    fn drop(&mut self) {
        self.server.remove(&self.name);
    }
}

fn call() -> Call {
    Call::within(Duration::from_secs(30))
}

async fn connect(config: &Json) -> Result<Box<dyn Bridge>, BridgeError> {
    log();
    let config: SourceConfig = serde_json::from_value(config.clone()).unwrap();
    plugin::load().await.connect(&config, &call()).await
}

/// Everything that this program logs, at every level.
fn log() -> &'static Mutex<Vec<u8>> {
    struct Log;
    static LINES: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();

    impl Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            LINES.get().unwrap().lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    LINES.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        subscriber.with_ansi(false).with_writer(|| Log).init();
        Mutex::default()
    })
}

/// Makes sure that none of these has been logged, nor anything that they become on the wire.
fn nobody_hears_of(secrets: &[&str], error: &BridgeError) {
    let logged = String::from_utf8_lossy(&log().lock().unwrap()).into_owned();
    for secret in secrets {
        for form in [(*secret).to_owned(), STANDARD.encode(secret), format!("{secret:?}")] {
            assert!(!logged.contains(&form), "the log has {form}");
            assert!(!format!("{error} {error:?}").contains(&form), "the error has {form}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_password_or_the_key_gets_in() {
    let (authority, things) = (Authority::new(), Things::new("welcome"));
    let front = Front::secured(things.port(), &authority.identity("127.0.0.1"), None).await;
    let node = front.url();
    let ca = authority.pem();
    let (user, password) = USER;
    let key = format!("{}:{}", KEY.0, KEY.1);
    let in_url = node.replace("://", "://app:pw%21se%3Acret%2F%C3%A4@");
    for config in [
        json!({"node": node, "ca": ca, "username": user, "password": password}),
        json!({"node": in_url, "ca": ca}),
        json!({"node": node, "ca": ca, "apiKey": key}),
        json!({"node": node, "ca": ca, "apiKey": STANDARD.encode(&key)}),
        // The key counts before the user.
        json!({"node": node, "ca": ca, "apiKey": key, "username": user, "password": "wrong"}),
        // The published bridge's way to say the same, as an object and as text.
        json!({"node": node, "apiKey": key, "tls": {"ca": ca}}),
        json!({"node": node, "apiKey": key, "tls": json!({"ca": ca}).to_string()}),
    ] {
        assert_eq!(things.met(&config).await.unwrap(), 3);
    }
    assert!(front.log().contains(&format!("POST /{}/_search", things.name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_neither_is_refused_and_nothing_secret_is_said() {
    let (authority, things) = (Authority::new(), Things::new("refused"));
    let front = Front::secured(things.port(), &authority.identity("127.0.0.1"), None).await;
    let (node, ca) = (front.url(), authority.pem());
    let in_url = node.replace("://", "://app:wrong-in-url@");
    for config in [
        json!({"node": node, "ca": ca, "username": "app", "password": "wrong-password"}),
        json!({"node": node, "ca": ca, "username": "nobody", "password": USER.1}),
        json!({"node": in_url, "ca": ca}),
        json!({"node": node, "ca": ca, "apiKey": "key-id-7:wrong-key"}),
        json!({"node": node, "ca": ca, "apiKey": STANDARD.encode("key-id-7:wrong-key")}),
        json!({"node": node, "ca": ca}),
    ] {
        let error = things.met(&config).await.unwrap_err();
        assert!(matches!(error, BridgeError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("401"), "{error}");
        nobody_hears_of(
            &["wrong-password", "wrong-in-url", "wrong-key", USER.1, "key-id-7:wrong-key"],
            &error,
        );
    }
    assert!(front.log().is_empty(), "nobody was let in: {:?}", front.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_search_is_told_so_by_the_server() {
    let (authority, things) = (Authority::new(), Things::new("forbidden"));
    let front = Front::secured(things.port(), &authority.identity("127.0.0.1"), None).await;
    let (username, password) = STRANGER;
    let config =
        json!({"node": front.url(), "ca": authority.pem(), "username": username, "password": password});
    let error = things.met(&config).await.unwrap_err();
    let BridgeError::Query { message, native, .. } = &error else { panic!("{error:?}") };
    assert_eq!(native.as_deref(), Some("security_exception"));
    assert!(message.contains("403") && message.contains("is unauthorized"), "{message}");
    nobody_hears_of(&[password], &error);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_authority_of_the_source_is_trusted() {
    let (authority, other, things) = (Authority::new(), Authority::new(), Things::new("authority"));
    let front = Front::secured(things.port(), &authority.identity("127.0.0.1"), None).await;
    let key = format!("{}:{}", KEY.0, KEY.1);
    for (ca, what) in [(None, "the runner's own roots"), (Some(other.pem()), "another authority")] {
        let error = things.met(&json!({"node": front.url(), "apiKey": key, "ca": ca})).await.unwrap_err();
        assert!(matches!(error, BridgeError::Unreachable { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains("certificate"), "{what}: {error}");
        nobody_hears_of(&[&key, KEY.1], &error);
    }
    let both = format!("{}{}", other.pem(), authority.pem());
    assert_eq!(things.met(&json!({"node": front.url(), "apiKey": key, "ca": both})).await.unwrap(), 3);
    let nonsense =
        things.met(&json!({"node": front.url(), "apiKey": key, "ca": "no PEM"})).await.unwrap_err();
    assert!(nonsense.to_string().contains("ca"), "{nonsense}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_name_is_refused_unless_the_source_expects_it() {
    let (authority, things) = (Authority::new(), Things::new("name"));
    let front = Front::secured(things.port(), &authority.identity("search.example"), None).await;
    let config = |name: Json| json!({"node": front.url(), "apiKey": format!("{}:{}", KEY.0, KEY.1), "ca": authority.pem(), "serverName": name});
    for name in [Json::Null, json!("other.example")] {
        let error = things.met(&config(name)).await.unwrap_err();
        assert!(matches!(error, BridgeError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert!(front.log().is_empty());
    assert_eq!(things.met(&config(json!("search.example"))).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_certificate_gets_it() {
    let (authority, clients, things) = (Authority::new(), Authority::new(), Things::new("client"));
    let front = Front::secured(things.port(), &authority.identity("127.0.0.1"), Some(&clients)).await;
    let config = |identity: Option<&front::Identity>| {
        json!({
            "node": front.url(), "apiKey": format!("{}:{}", KEY.0, KEY.1), "ca": authority.pem(),
            "clientCertificate": identity.map(|it| it.certificate.clone()),
            "clientKey": identity.map(|it| it.key.clone()),
        })
    };
    let ours = clients.identity("runner.example");
    assert_eq!(things.met(&config(Some(&ours))).await.unwrap(), 3);
    for wrong in [None, Some(authority.identity("runner.example"))] {
        let error = things.met(&config(wrong.as_ref())).await.unwrap_err();
        assert!(matches!(error, BridgeError::Unreachable { .. }), "{error:?}");
        nobody_hears_of(&[&ours.key], &error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_meant_to_be_encrypted_never_goes_in_the_clear() {
    let (authority, things) = (Authority::new(), Things::new("clear"));
    let secured = Front::secured(things.port(), &authority.identity("127.0.0.1"), None).await;
    let plain = Front::plain(things.port()).await;
    let key = format!("{}:{}", KEY.0, KEY.1);
    // The wrong protocol on either side.
    for node in [secured.url_of("http"), plain.url_of("https")] {
        let error = things.met(&json!({"node": node, "apiKey": key})).await.unwrap_err();
        assert!(matches!(error, BridgeError::Unreachable { .. }), "{error:?}");
    }
    // Settings that contradict each other are mistakes before anybody is asked.
    let mixed = format!("{}, {}", secured.url(), plain.url());
    for config in [
        json!({"node": mixed, "apiKey": key, "ca": authority.pem()}),
        json!({"node": plain.url(), "apiKey": key, "ca": authority.pem()}),
        json!({"node": secured.url(), "apiKey": key, "rejectUnauthorized": false}),
    ] {
        let error = things.met(&config).await.unwrap_err();
        assert!(matches!(error, BridgeError::Config(_)), "{error:?}");
        nobody_hears_of(&[&key], &error);
    }
    assert!(plain.log().is_empty() && secured.log().is_empty());
    // Nobody is sent elsewhere with the key.
    let config = json!({"node": secured.url(), "apiKey": key, "ca": authority.pem()});
    let bridge = connect(&config).await.unwrap();
    let location: &'static str = Box::leak(plain.url().into_boxed_str());
    let headers: &'static [(&str, &str)] = Box::leak(Box::new([("location", location)]));
    secured.answers([Answer::Status(307, headers, json!({}))]);
    let error = things.rows(&*bridge).await.unwrap_err();
    assert!(error.to_string().contains("307"), "{error}");
    assert!(plain.log().is_empty());
}

fn busy() -> Json {
    json!({"error": {"type": "es_rejected_execution_exception", "reason": "the queue is full"}, "status": 429})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let things = Things::new("busy");
    let front = Front::plain(things.port()).await;
    let bridge = connect(&json!({"node": front.url()})).await.unwrap();
    front.answers([
        Answer::Status(429, &[("retry-after", "1")], busy()),
        Answer::Status(503, &[], json!({"error": "no master"})),
    ]);
    let start = Instant::now();
    assert_eq!(things.rows(&*bridge).await.unwrap().len(), 3);
    assert!(start.elapsed() >= Duration::from_secs(1), "it said one second: {:?}", start.elapsed());

    // A wait that the job has no time for is the caller's to make.
    front.answers([Answer::Status(429, &[("retry-after", "120")], busy())]);
    let start = Instant::now();
    let error = things.rows(&*bridge).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10));
    let BridgeError::Query { message, native, .. } = &error else { panic!("{error:?}") };
    assert_eq!(native.as_deref(), Some("es_rejected_execution_exception"));
    assert!(message.contains("429") && message.contains("retry after 120000 ms"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_not_to_answer_has_its_code() {
    let things = Things::new("codes");
    let front = Front::plain(things.port()).await;
    let bridge = connect(&json!({"node": front.url()})).await.unwrap();
    let ask = async |status: u16, body: Json| {
        // As often as the plugin tries.
        front.answers((0..4).map(|_| Answer::Status(status, &[], body.clone())));
        let error = things.rows(&*bridge).await.unwrap_err();
        front.forget();
        error
    };
    let is_query = |error: &BridgeError, code: &str| matches!(error, BridgeError::Query { native, .. } if native.as_deref() == Some(code));
    let is_unreachable = |error: &BridgeError| matches!(error, BridgeError::Unreachable { .. });

    assert!(is_unreachable(&ask(401, json!({"error": "Unauthorized"})).await));
    assert!(is_query(&ask(403, json!("Forbidden")).await, "403"));
    assert!(is_unreachable(
        &ask(503, json!({"error": {"type": "cluster_block_exception", "reason": "no"}})).await
    ));
    assert!(is_unreachable(&ask(502, json!("<html>bad gateway</html>")).await));
    assert!(matches!(ask(504, json!("")).await, BridgeError::Timeout));
    assert!(is_query(
        &ask(500, json!({"error": {"type": "null_pointer_exception", "reason": "x"}})).await,
        "null_pointer_exception"
    ));
    // Answers that say success and are none.
    let failures = json!([{"shard": 0, "reason": {"type": "query_shard_exception", "reason": "too deep"}}]);
    let partial = json!({"timed_out": false, "_shards": {"total": 2, "failed": 1, "failures": failures}, "hits": {"hits": []}});
    let error = ask(200, partial).await;
    assert!(error.to_string().contains("1 of 2 shards failed: too deep"), "{error}");
    assert!(matches!(ask(200, json!({"timed_out": true, "hits": {"hits": []}})).await, BridgeError::Timeout));
    assert!(matches!(
        ask(200, json!({"hello": "world"})).await,
        BridgeError::Query { .. } | BridgeError::Plugin(_)
    ));
    // And the source is as good as before.
    assert_eq!(things.rows(&*bridge).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_left_at_the_deadline() {
    let things = Things::new("silence");
    let front = Front::plain(things.port()).await;
    let bridge = connect(&json!({"node": front.url()})).await.unwrap();
    // The mapping is known, so that the search itself is what waits.
    assert_eq!(things.rows(&*bridge).await.unwrap().len(), 3);
    front.answers([Answer::Silence]);
    let start = Instant::now();
    let answer = things.rows_within(&*bridge, Duration::from_millis(500)).await;
    assert!(matches!(answer, Err(BridgeError::Timeout)), "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(things.rows(&*bridge).await.unwrap().len(), 3);
}
