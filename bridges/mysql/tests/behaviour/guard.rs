//! What a source cannot be made to do: to write, and to remember.

use bridge_core::BridgeError;
use serde_json::json;

use crate::asking::{ample, open_with, options, query};
use crate::database::on_each_engine;
use crate::server::Engine;

/// Views that call functions: one writes, one makes its session writable, one changes the time zone.
const HOSTILE: &str = "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP(6) NULL);
INSERT INTO t VALUES (1, '2026-01-02 03:04:05.678901');
CREATE FUNCTION writes() RETURNS INT MODIFIES SQL DATA NOT DETERMINISTIC BEGIN INSERT INTO t (id) VALUES (2); RETURN 1; END;
CREATE FUNCTION opens() RETURNS INT NOT DETERMINISTIC NO SQL BEGIN SET SESSION {read_only} = 0; RETURN 1; END;
CREATE FUNCTION moves() RETURNS INT NOT DETERMINISTIC NO SQL BEGIN SET SESSION time_zone = '+05:00'; RETURN 1; END;
CREATE VIEW writing AS SELECT writes() AS v;
CREATE VIEW opening AS SELECT opens() AS v;
CREATE VIEW moving AS SELECT moves() AS v;
";

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_writes_is_refused_also_after_one_that_has_opened_its_session() {
    on_each_engine("", async |database| {
        let read_only = match database.server.engine {
            Engine::Mysql => "transaction_read_only",
            Engine::Mariadb | Engine::Mariadb11 => "tx_read_only",
        };
        database.run(&HOSTILE.replace("{read_only}", read_only)).await;
        let bridge = open_with(database, json!({ "poolMax": 1 })).await;
        for before in ["opening", "moving", "opening"] {
            query(&*bridge, before, json!({})).await.unwrap();
            // MariaDB does not even describe a view that it may not run.
            let refused = query(&*bridge, "writing", json!({})).await.unwrap_err();
            let code = match &refused {
                BridgeError::Query { native: Some(code), .. } => code.as_str(),
                other => panic!("expected a refusal, got {other:?}"),
            };
            assert!(matches!(code, "1792" | "1146"), "{refused:?}");
            let rows = query(&*bridge, "t", json!({})).await.unwrap();
            assert_eq!(rows, [json!({ "id": 1, "at": "2026-01-02T03:04:05.678901Z" })]);
        }
        // The count comes over a session of its own then.
        let mut rows = bridge.query(&ample(), "moving", options(json!({ "total": true }))).await.unwrap();
        while rows.next(1_000).await.unwrap().is_some() {}
        assert_eq!(rows.tail().total, Some(1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_one_caller_is_none_of_the_next() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY);\nINSERT INTO t VALUES (1);\nCREATE VIEW broken AS SELECT id FROM t;\nCREATE TABLE spare (id INT)";
    on_each_engine(sql, async |database| {
        let bridge = open_with(database, json!({ "poolMax": 1 })).await;
        query(&*bridge, "broken", json!({})).await.unwrap();
        database.run("RENAME TABLE t TO gone").await;
        for _ in 0..3 {
            assert!(matches!(query(&*bridge, "broken", json!({})).await, Err(BridgeError::Query { .. })));
        }
        database.run("RENAME TABLE gone TO t").await;
        assert_eq!(query(&*bridge, "broken", json!({})).await.unwrap().len(), 1);
        assert_eq!(bridge.pool_use().in_use, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_request_says_becomes_sql() {
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(50));\nINSERT INTO t VALUES (1, 'it''s')";
    on_each_engine(sql, async |database| {
        let bridge = open_with(database, json!({})).await;
        let hostile = "`; DROP TABLE t; -- ' \" \\";
        for asked in [
            json!({ "where": { "name": hostile } }),
            json!({ "where": { "name": { "$contains": hostile } } }),
            json!({ "where": { "id": hostile } }),
            json!({ "where": { "id": "1 OR 1=1" } }),
        ] {
            assert_eq!(query(&*bridge, "t", asked).await.unwrap().len(), 0);
        }
        for (target, asked) in [
            (hostile, json!({})),
            ("t", json!({ "select": [hostile] })),
            ("t", json!({ "orderBy": hostile })),
            ("t", json!({ "where": { hostile: 1 } })),
        ] {
            let call = ample();
            let raw = serde_json::value::to_raw_value(&asked).unwrap();
            let Ok(parsed) = protocol::QueryOptions::parse(&raw) else { continue };
            assert!(bridge.query(&call, target, parsed).await.is_err(), "{target} {asked}");
        }
        assert_eq!(query(&*bridge, "t", json!({ "where": { "name": "it's" } })).await.unwrap().len(), 1);
    })
    .await;
}
