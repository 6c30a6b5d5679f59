//! Who may do what, and over which wire.

use bridge_core::BridgeError;
use serde_json::{Value, json};

use crate::asking::{connect, open, query};
use crate::database::Database;

const TABLE: &str = "CREATE TABLE t (id Int32, v String) ENGINE = MergeTree ORDER BY id;
    INSERT INTO t VALUES (1, 'one');";

/// Settings for the encrypted port.
fn secure(database: &Database, role: &str, more: Value) -> Value {
    let server = database.server;
    let mut config = json!({
        "host": "localhost", "port": server.tls_port, "protocol": "https", "database": database.name,
        "username": server.name(role), "password": server.password(role),
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_change_no_setting_reads_all_the_same() {
    let database = Database::with(TABLE);
    let bridge = open(database.config_of("reader")).await;
    assert_eq!(query(&*bridge, "t", json!({ "where": { "v": "one" } })).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_without_showing_it() {
    let database = Database::with(TABLE);
    let mut config = database.config();
    config["password"] = "hunter2".into();
    let refused = connect(config).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
    assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_unreachable() {
    let database = Database::with(TABLE);
    let mut config = database.config();
    config["database"] = "no_such_database".into();
    let refused = connect(config).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
    let nobody = json!({ "host": "127.0.0.1", "port": 1 });
    assert!(matches!(connect(nobody).await.map(|_| ()), Err(BridgeError::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_verified_by_its_authority_and_its_name() {
    let database = Database::with(TABLE);
    let server = database.server;
    let works = async |more: Value| connect(secure(&database, "tls", more)).await.map(|_| ());
    works(json!({ "sslrootcert": server.ca })).await.unwrap();
    works(json!({ "sslrootcert": std::fs::read_to_string(&server.ca).unwrap() })).await.unwrap();
    works(json!({ "sslmode": "require" })).await.unwrap();
    works(json!({ "sslmode": "verify-ca", "sslrootcert": server.ca })).await.unwrap();
    for more in [
        json!({}),
        json!({ "sslrootcert": server.other_ca }),
        json!({ "sslmode": "verify-ca", "sslrootcert": server.other_ca }),
        json!({ "sslmode": "require", "sslrootcert": server.other_ca }),
    ] {
        let refused = works(more.clone()).await.unwrap_err();
        assert!(matches!(refused, BridgeError::Unreachable { .. }), "{more}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_where_tls_is_spoken_is_refused() {
    let database = Database::with(TABLE);
    let mut config = database.config();
    config["port"] = database.server.tls_port.into();
    assert!(matches!(connect(config).await.map(|_| ()), Err(BridgeError::Unreachable { .. })));
    let mut secured = secure(&database, "app", json!({ "sslmode": "require" }));
    secured["port"] = database.server.port.into();
    assert!(matches!(connect(secured).await.map(|_| ()), Err(BridgeError::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_may_be_the_way_in() {
    let database = Database::with(TABLE);
    let server = database.server;
    let identity =
        json!({ "sslrootcert": server.ca, "sslcert": server.client_cert, "sslkey": server.client_key });
    let bridge = open(secure(&database, "mtls", identity)).await;
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 1);
    let without = secure(&database, "mtls", json!({ "sslrootcert": server.ca }));
    let refused = connect(without).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_tables_that_come_and_go_are_noticed() {
    let database = Database::with(TABLE);
    let bridge = open(database.config()).await;
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap()[0], json!({ "id": 1, "v": "one" }));
    database.run("ALTER TABLE t ADD COLUMN w Int32 DEFAULT 7");
    assert_eq!(query(&*bridge, "t", json!({ "where": { "w": 7 } })).await.unwrap().len(), 1);
    database.run("DROP TABLE t SYNC;\n CREATE TABLE t (other String) ENGINE = MergeTree ORDER BY other");
    assert!(query(&*bridge, "t", json!({})).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_columns_come_when_they_are_asked_for() {
    let database = Database::with(
        "CREATE TABLE h (id Int32, m Int32 MATERIALIZED id + 1, a Int32 ALIAS id + 2) ENGINE = MergeTree ORDER BY id;
        INSERT INTO h VALUES (1);",
    );
    let bridge = open(database.config()).await;
    assert_eq!(query(&*bridge, "h", json!({})).await.unwrap(), [json!({ "id": 1 })]);
    let asked = json!({ "select": ["a", "m"], "where": { "m": 2 } });
    assert_eq!(query(&*bridge, "h", asked).await.unwrap(), [json!({ "a": 3, "m": 2 })]);
}
