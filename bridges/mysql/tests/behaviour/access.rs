//! Ways in, from a configuration to a session.

use std::time::{Duration, Instant};

use bridge_core::BridgeError;
use semilayer_bridge_mysql::{Mariadb, Planetscale};
use serde_json::{Value, json};

use crate::asking::{connect, open_with, query, with};
use crate::database::{Database, on_each_engine};
use crate::server::{ENGINES, Engine, server};
use crate::victim::Victim;

/// A view that tells about its own session.
const SESSION: &str = "CREATE SQL SECURITY INVOKER VIEW session AS
    SELECT CURRENT_USER() AS who, VARIABLE_VALUE AS cipher FROM {status} WHERE VARIABLE_NAME = 'Ssl_cipher'";

/// The cipher of a session that these settings make; empty without encryption.
async fn cipher(database: &Database, config: Value) -> String {
    let bridge = connect(database.driver(), config).await.unwrap_or_else(|error| panic!("{error}"));
    let rows = query(&*bridge, "session", json!({})).await.unwrap();
    bridge.close().await;
    rows[0]["cipher"].as_str().unwrap().to_owned()
}

async fn refusal(database: &Database, config: Value) -> String {
    match connect(database.driver(), config).await {
        Err(BridgeError::Unreachable { message, .. }) => message,
        Err(other) => panic!("expected an unreachable source, got {other:?}"),
        Ok(_) => panic!("a connection where there should be none"),
    }
}

/// MySQL keeps the status of sessions in another schema than MariaDB.
fn session_view(engine: Engine) -> String {
    let status = match engine {
        Engine::Mysql => "performance_schema.session_status",
        Engine::Mariadb | Engine::Mariadb11 => "information_schema.SESSION_STATUS",
    };
    SESSION.replace("{status}", status)
}

async fn with_session_view(database: &Database) {
    database.run(&session_view(database.server.engine)).await;
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_and_urls_lead_to_the_same_place() {
    on_each_engine("CREATE TABLE t (id INT PRIMARY KEY);\nINSERT INTO t VALUES (7)", async |database| {
        let server = database.server;
        let (user, password) = (escaped(server.user("app")), escaped(server.password("app")));
        let url = format!("mysql://{user}:{password}@127.0.0.1:{}/{}", server.port, database.name);
        for url in [url.clone(), url.replace("mysql://", "mariadb://")] {
            let config = json!({ "url": url, "host": "nowhere.invalid" });
            let bridge = connect(database.driver(), config).await.unwrap();
            assert_eq!(query(&*bridge, "t", json!({})).await.unwrap(), [json!({ "id": 7 })]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_preferred_and_can_be_switched_off() {
    on_each_engine("", async |database| {
        with_session_view(database).await;
        assert!(!cipher(database, database.config()).await.is_empty());
        // A login in the open first has to be known to the server, which the one before has seen to.
        let plain = with(database.config(), json!({ "sslmode": "DISABLED" }));
        assert_eq!(cipher(database, plain).await, "");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_verifies_authority_and_name() {
    on_each_engine("", async |database| {
        with_session_view(database).await;
        let server = database.server;
        let config = with(database.config(), json!({ "host": "localhost", "ssl": true }));
        let given = |ca: Value| with(config.clone(), json!({ "sslrootcert": ca }));
        assert!(!cipher(database, given(json!(server.ca))).await.is_empty());
        let text = std::fs::read_to_string(&server.ca).unwrap();
        assert!(!cipher(database, given(json!(text))).await.is_empty());
        for untrusted in [given(json!(server.other_ca)), config.clone()] {
            let refused = refusal(database, untrusted).await;
            assert!(refused.contains("certificate"), "{refused}");
        }
        let other_name = with(given(json!(server.ca)), json!({ "host": "127.0.0.2" }));
        assert!(refusal(database, other_name).await.starts_with("cannot connect: "));
        // Roots that are given count in every mode.
        let required =
            with(database.config(), json!({ "sslmode": "required", "sslrootcert": server.other_ca }));
        assert!(refusal(database, required).await.contains("certificate"));
        let authority = with(database.config(), json!({ "sslmode": "verify_ca", "sslrootcert": server.ca }));
        assert!(!cipher(database, authority).await.is_empty());
    })
    .await;
}

/// From MariaDB 11.4 on a server that nobody has given a certificate makes one for itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_signed_encrypts_and_proves_nothing() {
    let victim = Victim::start(Engine::Mariadb11);
    victim.run(&session_view(Engine::Mariadb11)).await;
    for mode in [json!({}), json!({ "sslmode": "required" })] {
        let bridge = connect(Mariadb, with(victim.config(), mode)).await.unwrap();
        let rows = query(&*bridge, "session", json!({})).await.unwrap();
        assert_ne!(rows[0]["cipher"], "", "{rows:?}");
    }
    for verified in [json!({ "ssl": true }), json!({ "sslmode": "verify_ca" })] {
        let config = with(victim.config(), json!({ "sslrootcert": server(Engine::Mariadb11).ca }));
        match connect(Mariadb, with(config, verified)).await {
            Err(BridgeError::Unreachable { message, .. }) => {
                assert!(message.contains("certificate"), "{message}")
            }
            other => panic!("expected an unreachable source, got {:?}", other.map(drop)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_a_way_in_as_files_and_as_text() {
    for engine in ENGINES {
        let server = server(engine);
        let database = Database::create(engine).await;
        let config = json!({
            "host": "localhost", "port": server.port, "database": "semilayer", "user": server.user("mtls"),
            "sslmode": "verify_identity", "sslrootcert": server.ca,
        });
        let files = json!({ "sslcert": server.client_cert, "sslkey": server.client_key });
        connect(database.driver(), with(config.clone(), files)).await.unwrap();
        let read = |path| std::fs::read_to_string(path).unwrap();
        let texts = json!({ "sslcert": read(&server.client_cert), "sslkey": read(&server.client_key) });
        connect(database.driver(), with(config.clone(), texts)).await.unwrap();
        assert!(refusal(&database, config).await.contains("Access denied"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_needs_tls_is_let_in_by_default_and_refused_without() {
    for engine in ENGINES {
        let server = server(engine);
        let database = Database::create(engine).await;
        let config = json!({
            "host": server.host, "port": server.port, "database": "semilayer", "user": server.user("tls"),
            "password": server.password("tls"),
        });
        connect(database.driver(), config.clone()).await.unwrap();
        let plain = with(config, json!({ "sslmode": "disabled" }));
        assert!(refusal(&database, plain).await.contains("Access denied"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_database_are_told_without_secrets() {
    on_each_engine("", async |database| {
        let wrong = with(database.config(), json!({ "password": "hunter2" }));
        let refused = refusal(database, wrong).await;
        assert!(refused.contains("Access denied for user 'app'"), "{refused}");
        assert!(!refused.contains("hunter2"));
        let nowhere = with(database.config(), json!({ "database": "no_such_database" }));
        assert!(refusal(database, nowhere).await.contains("no_such_database"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_never_sent_over_an_open_connection() {
    let database = Database::create(Engine::Mysql).await;
    let name = format!("fresh_{}", database.name);
    database.run(&format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'never seen before'")).await;
    let config = with(
        database.config(),
        json!({ "user": name, "password": "never seen before", "database": "", "sslmode": "disabled" }),
    );
    let refused = refusal(&database, config).await;
    database.run(&format!("DROP USER '{name}'@'%'")).await;
    assert!(refused.contains("caching_sha2_password") && refused.contains("use TLS"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn planetscale_takes_no_connection_that_is_not_verified() {
    let database = Database::create(Engine::Mysql).await;
    let config = json!({
        "host": "localhost", "port": database.server.port, "username": database.server.user("app"),
        "password": database.server.password("app"), "ssl": false, "sslmode": "disabled",
    });
    let trusting = with(config.clone(), json!({ "sslrootcert": database.server.ca }));
    let bridge = connect(Planetscale, trusting).await.unwrap();
    assert_eq!(bridge.driver_name(), "@semilayer/bridge-planetscale");
    match connect(Planetscale, config).await {
        Err(BridgeError::Unreachable { message, .. }) => {
            assert!(message.contains("certificate"), "{message}")
        }
        other => panic!("expected a refusal, got {:?}", other.err()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_nothing_costs_the_connect_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = Instant::now();
    let config = json!({
        "host": "127.0.0.1", "port": silent.local_addr().unwrap().port(), "user": "u",
        "connectionTimeoutMillis": 200,
    });
    assert!(connect(semilayer_bridge_mysql::Mysql, config).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_read_one_table_reads_it_and_learns_nothing_of_others() {
    let sql = "CREATE TABLE open (id INT PRIMARY KEY, v INT);\nINSERT INTO open VALUES (1, 2);\nCREATE TABLE secret (id INT PRIMARY KEY)";
    on_each_engine(sql, async |database| {
        let user = format!("one_{}", database.name);
        database
            .run(&format!(
                "CREATE USER '{user}'@'%' IDENTIFIED BY 'pw';\nGRANT SELECT ON {}.open TO '{user}'@'%'",
                database.name
            ))
            .await;
        let bridge = open_with(database, json!({ "user": user, "password": "pw" })).await;
        assert_eq!(query(&*bridge, "open", json!({})).await.unwrap(), [json!({ "id": 1, "v": 2 })]);
        let call = crate::asking::ample();
        assert_eq!(bridge.list_targets(&call).await.unwrap(), ["open"]);
        let schema = bridge.introspect_target(&call, "open").await.unwrap();
        assert!(schema.columns[0].primary_key && !schema.columns[1].primary_key);
        assert!(matches!(query(&*bridge, "secret", json!({})).await, Err(BridgeError::Query { .. })));
        database.run(&format!("DROP USER '{user}'@'%'")).await;
    })
    .await;
}
