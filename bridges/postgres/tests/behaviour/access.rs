//! Ways in, from a configuration to a session.

use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Driver};
use semilayer_bridge_postgres::{Cockroachdb, Neon, Postgres, Supabase};
use serde_json::{Value, json};

use crate::asking::{ample, connect, open, query, settings};
use crate::database::Database;
use crate::server::{Server, server, server_with_socket};

/// A view that tells about its own session.
const SESSION: &str = "CREATE VIEW session AS
    SELECT s.ssl, a.usename::text AS who, a.client_addr::text AS address, a.application_name AS name,
        current_setting('work_mem') AS work_mem
    FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE pid = pg_backend_pid();
    GRANT SELECT ON session TO PUBLIC";

async fn session(config: Value) -> Value {
    let bridge = open(config).await;
    let rows = query(&*bridge, "session", json!({})).await.unwrap();
    bridge.close().await;
    rows[0].clone()
}

async fn refusal(config: Value) -> String {
    match connect(config).await {
        Err(BridgeError::Unreachable { message, .. }) => message,
        Err(other) => panic!("expected an unreachable source, got {other:?}"),
        Ok(_) => panic!("a connection where there should be none"),
    }
}

fn with(mut config: Value, fields: Value) -> Value {
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    config
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_and_urls_lead_to_the_same_place() {
    let database = Database::with(SESSION).await;
    let password = escaped(database.server.password("app").unwrap());
    let url = format!(
        "postgresql://app:{password}@127.0.0.1:{}/{}?sslmode=disable&application_name=of%20url&options=-c%20work_mem%3D3MB",
        database.server.port, database.name
    );
    assert_eq!(
        session(json!({ "url": url, "host": "nowhere.invalid" })).await,
        json!({ "ssl": false, "who": "app", "address": "127.0.0.1/32", "name": "of url", "work_mem": "3MB" })
    );
    let of_fields = session(database.config()).await;
    assert_eq!((&of_fields["who"], &of_fields["name"]), (&json!("app"), &json!("semilayer-runner")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_verifies_authority_and_name() {
    let database = Database::with(SESSION).await;
    let Server { ca, other_ca, .. } = database.server;
    let mut config = database.config();
    config.as_object_mut().unwrap().remove("sslmode");
    let config = with(config, json!({ "host": "localhost", "ssl": true }));
    assert_eq!(session(with(config.clone(), json!({ "sslrootcert": ca }))).await["ssl"], true);
    let text = std::fs::read_to_string(ca).unwrap();
    assert_eq!(session(with(config.clone(), json!({ "sslrootcert": text }))).await["ssl"], true);
    for untrusted in [json!({ "sslrootcert": other_ca }), json!({})] {
        let refused = refusal(with(config.clone(), untrusted)).await;
        assert!(refused.contains("certificate"), "{refused}");
    }
    let other_name = json!({ "sslrootcert": ca, "host": "127.0.0.2" });
    let url_mode = json!({ "sslrootcert": other_ca, "sslmode": "require" });
    for refused in [refusal(with(config.clone(), other_name)).await, refusal(with(config, url_mode)).await] {
        assert!(refused.starts_with("cannot connect to PostgreSQL: "), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_a_way_in_as_files_and_as_text() {
    let database = Database::with(SESSION).await;
    let Server { ca, client_cert, client_key, .. } = database.server;
    let config = with(database.config_of("mtls"), json!({ "sslmode": "verify-full", "sslrootcert": ca }));
    let files = with(config.clone(), json!({ "sslcert": client_cert, "sslkey": client_key }));
    assert_eq!(session(files).await["who"], "mtls");
    let read = |path| std::fs::read_to_string(path).unwrap();
    let texts = with(config.clone(), json!({ "sslcert": read(client_cert), "sslkey": read(client_key) }));
    assert_eq!(session(texts).await["who"], "mtls");
    let refused = refusal(config).await;
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_needs_tls_is_let_in_by_default_and_refused_without() {
    let database = Database::with(SESSION).await;
    let config = database.config_of("tlsonly");
    let refused = refusal(config.clone()).await;
    assert!(refused.contains("pg_hba.conf"), "{refused}");
    let mut default = config;
    default.as_object_mut().unwrap().remove("sslmode");
    assert_eq!(session(default).await["ssl"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_it() {
    let refused = refusal(json!({
        "host": "127.0.0.1", "port": server().port, "database": server().database, "user": "app",
        "password": "hunter2", "sslmode": "disable",
    }));
    let refused = refused.await;
    assert!(refused.contains("password authentication failed for user \"app\""), "{refused}");
    assert!(!refused.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_a_host() {
    let server = server_with_socket();
    let config = json!({
        "host": server.socket_dir, "port": server.port, "database": server.database, "user": "app",
        "password": server.password("app"), "ssl": true, "sslrootcert": server.ca,
    });
    open(config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_resolve_to_the_family_that_is_asked_for() {
    let database = Database::with(SESSION).await;
    let config = with(database.config(), json!({ "host": "localhost" }));
    assert_eq!(session(config).await["address"], "127.0.0.1/32");
    for (family, word) in [(4, "IPv4"), (6, "IPv6")] {
        let nowhere = json!({ "host": "nowhere.invalid", "ipFamily": family });
        let refused = refusal(with(database.config(), nowhere)).await;
        assert!(refused.contains(&format!("Failed to resolve \"nowhere.invalid\" to {word}: ")), "{refused}");
    }
    // A literal address is what it is.
    assert_eq!(session(with(database.config(), json!({ "ipFamily": 6 }))).await["address"], "127.0.0.1/32");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_is_tried_where_one_does_not_answer() {
    let database = Database::with(SESSION).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let password = escaped(database.server.password("app").unwrap());
    let url = format!(
        "postgres://app:{password}@127.0.0.1:{closed},127.0.0.1:{}/{}?sslmode=disable",
        database.server.port, database.name
    );
    assert_eq!(session(json!({ "url": url })).await["who"], "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_nothing_costs_the_connect_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = Instant::now();
    refusal(json!({
        "host": "127.0.0.1", "port": silent.local_addr().unwrap().port(), "database": "d", "user": "u",
        "connectionTimeoutMillis": 200,
    }))
    .await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_unreachable() {
    let refused = refusal(json!({
        "host": "127.0.0.1", "port": server().port, "database": "no_such_database", "user": "app",
        "password": server().password("app"), "sslmode": "disable",
    }));
    assert!(refused.await.contains("database \"no_such_database\" does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_family_fails_under_its_own_name() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = settings(json!({ "url": format!("postgresql://u@127.0.0.1:{closed}/d") }));
    for (driver, title) in
        [(Postgres, "PostgreSQL"), (Cockroachdb, "CockroachDB"), (Neon, "Neon"), (Supabase, "Supabase")]
    {
        match driver.connect(&config, &ample()).await {
            Err(BridgeError::Unreachable { message, .. }) => {
                assert!(message.starts_with(&format!("cannot connect to {title}: ")), "{message}");
            }
            other => panic!("nothing listens there: {:?}", other.err()),
        }
    }
    let database = Database::create().await;
    let config = settings(json!({ "url": database.url_of("app") }));
    for driver in [Postgres, Cockroachdb, Neon, Supabase] {
        let bridge = driver.connect(&config, &ample()).await.unwrap();
        assert_eq!(bridge.driver_name(), driver.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn supabases_schema_is_where_plain_targets_are() {
    let database = Database::with(
        "CREATE SCHEMA shop; CREATE TABLE shop.orders (id integer PRIMARY KEY); INSERT INTO shop.orders VALUES (7);
        CREATE TABLE public.others (id integer PRIMARY KEY)",
    )
    .await;
    let config = settings(json!({ "url": database.url_of("app"), "schema": "shop", "key": "unused" }));
    let bridge = Supabase.connect(&config, &ample()).await.unwrap();
    assert_eq!(bridge.list_targets(&ample()).await.unwrap(), ["orders"]);
    assert_eq!(query(&*bridge, "orders", json!({})).await.unwrap(), [json!({ "id": 7 })]);
    assert!(query(&*bridge, "others", json!({})).await.is_err());
    assert!(query(&*bridge, "public.others", json!({})).await.unwrap().is_empty());
}
