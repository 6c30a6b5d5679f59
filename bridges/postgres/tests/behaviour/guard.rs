//! What a source cannot be made to do, whatever is in its database.

use bridge_core::BridgeError;
use serde_json::json;

use crate::asking::{ample, connect, open, query};
use crate::database::Database;
use crate::proxy::pooler;

/// A table, a function that writes to it, and views that call it and that try to open the door for it.
const TRAPS: &str = "
CREATE TABLE log (id integer);
CREATE FUNCTION note() RETURNS integer LANGUAGE sql AS 'INSERT INTO public.log VALUES (1) RETURNING id';
CREATE FUNCTION count_up() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN nextval('public.serial'); END $$;
CREATE SEQUENCE serial;
CREATE VIEW writes AS SELECT note() AS id;
CREATE VIEW counts_up AS SELECT count_up() AS id;
CREATE VIEW opens AS SELECT set_config('default_transaction_read_only', 'off', false) AS v,
    set_config('statement_timeout', '0', false) AS t, set_config('DateStyle', 'German', false) AS d,
    set_config('TimeZone', 'Asia/Tokyo', false) AS z;
CREATE VIEW opens_now AS SELECT set_config('transaction_read_only', 'off', true) AS v;
CREATE VIEW settings AS SELECT name, setting FROM pg_settings
    WHERE name IN ('default_transaction_read_only', 'TimeZone', 'DateStyle');
";

fn refused_as(error: &BridgeError) -> Option<&str> {
    match error {
        BridgeError::Query { native, .. } => native.as_deref(),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_writes_is_refused_by_the_server() {
    let database = Database::with(TRAPS).await;
    let bridge = open(database.config()).await;
    for view in ["writes", "counts_up"] {
        let refused = query(&*bridge, view, json!({})).await.unwrap_err();
        assert_eq!(refused_as(&refused), Some("25006"), "{refused:?}");
    }
    assert_eq!(database.value("SELECT count(*) FROM log").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_ends_the_reading_mode_ends_it_for_nobody() {
    let database = Database::with(TRAPS).await;
    // One connection, so that the next statement has the session that was changed.
    let mut config = database.config();
    config["pool"] = json!({ "max": 1 });
    let bridge = connect(config).await.unwrap();
    for _ in 0..2 {
        query(&*bridge, "opens", json!({})).await.unwrap();
        let refused = query(&*bridge, "writes", json!({})).await.unwrap_err();
        assert_eq!(refused_as(&refused), Some("25006"), "{refused:?}");
    }
    let refused = query(&*bridge, "opens_now", json!({})).await.unwrap_err();
    assert_eq!(refused_as(&refused), Some("25001"), "{refused:?}");
    query(&*bridge, "opens", json!({})).await.unwrap();
    let settings = query(&*bridge, "settings", json!({ "orderBy": { "field": "name" } })).await.unwrap();
    assert_eq!(
        settings,
        [
            json!({ "name": "DateStyle", "setting": "ISO, YMD" }),
            json!({ "name": "TimeZone", "setting": "UTC" }),
            json!({ "name": "default_transaction_read_only", "setting": "on" }),
        ]
    );
    assert_eq!(database.value("SELECT count(*) FROM log").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_refuses_settings_at_the_login_gets_them_after_it() {
    let database = Database::with(TRAPS).await;
    let mut config = database.config();
    config["port"] = json!(pooler(database.server.port).await);
    let bridge = open(config).await;
    let refused = query(&*bridge, "writes", json!({})).await.unwrap_err();
    assert_eq!(refused_as(&refused), Some("25006"), "{refused:?}");
    let settings = query(&*bridge, "settings", json!({ "orderBy": { "field": "name" } })).await.unwrap();
    let settings: Vec<_> = settings.iter().map(|row| row["setting"].as_str().unwrap()).collect();
    assert_eq!(settings, ["ISO, YMD", "UTC", "on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_is_counted_in_a_session_that_was_set_right_again() {
    let database = Database::with(TRAPS).await;
    let bridge = open(database.config()).await;
    let options = crate::asking::options(json!({ "total": true }));
    let rows = bridge.query(&ample(), "opens", options).await.unwrap();
    assert_eq!(crate::asking::collect(rows).await.unwrap().1.total, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_sees_what_it_was_granted_and_no_more() {
    let database = Database::with(
        "CREATE TABLE granted (b integer, a integer, c integer, PRIMARY KEY (b, a) INCLUDE (c));
        CREATE TABLE secret (id integer PRIMARY KEY);
        GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON granted TO reader",
    )
    .await;
    let bridge = open(database.config_of("reader")).await;
    assert!(query(&*bridge, "granted", json!({})).await.unwrap().is_empty());
    let schema = bridge.introspect_target(&ample(), "granted").await.unwrap();
    let keys: Vec<_> = schema.columns.iter().filter(|column| column.primary_key).collect();
    assert_eq!(keys.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    let refused = query(&*bridge, "secret", json!({})).await.unwrap_err();
    assert_eq!(refused_as(&refused), Some("42501"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_relation_is_a_target_and_tables_are_listed() {
    let database = Database::with(
        "CREATE TABLE plain (id integer PRIMARY KEY); INSERT INTO plain VALUES (1);
        CREATE TABLE parted (id integer PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10); INSERT INTO parted VALUES (1);
        CREATE VIEW seen AS SELECT * FROM plain;
        CREATE MATERIALIZED VIEW kept AS SELECT * FROM plain;
        CREATE SCHEMA \"other.one\"; CREATE TABLE \"other.one\".\"a\"\"b\" (id integer); INSERT INTO \"other.one\".\"a\"\"b\" VALUES (1);
        CREATE TABLE none ()",
    )
    .await;
    let bridge = open(database.config()).await;
    assert_eq!(bridge.list_targets(&ample()).await.unwrap(), ["none", "parted", "plain"]);
    for target in ["plain", "parted", "part", "seen", "kept", "public.plain", "\"other.one\".\"a\"\"b\""] {
        assert_eq!(query(&*bridge, target, json!({})).await.unwrap(), [json!({ "id": 1 })], "{target}");
        let schema = bridge.introspect_target(&ample(), target).await.unwrap();
        assert_eq!((schema.row_count, schema.columns[0].kind.as_str()), (1, "integer"), "{target}");
    }
    assert!(query(&*bridge, "none", json!({})).await.unwrap().is_empty());
    for target in ["plain_pkey", "nowhere", "a.b.c", "pg_toast.nothing", "plain; DROP TABLE plain"] {
        assert!(query(&*bridge, target, json!({})).await.is_err(), "{target}");
    }
}
