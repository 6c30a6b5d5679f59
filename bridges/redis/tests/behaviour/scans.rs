//! Each row once, although keys come and go.

use std::collections::HashSet;

use bridge_core::Bridge;
use serde_json::json;

use crate::asking::{ample, open, options, read};
use crate::server::Victim;

fn set(client: &mut redis::Connection, keys: impl Iterator<Item = String>) {
    let mut pipeline = redis::pipe();
    let mut some = false;
    for key in keys {
        pipeline.cmd("SET").arg(key).arg("{}").ignore();
        some = true;
    }
    if some {
        pipeline.exec(client).unwrap();
    }
}

fn delete(client: &mut redis::Connection, keys: impl Iterator<Item = String>) {
    redis::cmd("DEL").arg(keys.collect::<Vec<_>>()).exec(client).unwrap();
}

/// The table of the server shrinks in mid scan, which makes SCAN give keys again.
#[tokio::test]
async fn keys_that_stay_come_once_while_the_table_shrinks_and_grows() {
    let victim = Victim::start();
    let mut admin = victim.client();
    set(&mut admin, (0..40_000).map(|number| format!("t:{number}")));
    let bridge = open(victim.config()).await;
    for round in 0..3 {
        let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
        let mut keys: Vec<String> = Vec::new();
        let mut batches = 0;
        while let Some(batch) = rows.next(16 * 1024).await.unwrap() {
            let read: Vec<serde_json::Value> = serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
            keys.extend(read.iter().map(|row| row["_key"].as_str().unwrap().to_owned()));
            batches += 1;
            if batches == 5 {
                delete(&mut admin, (2_000..40_000).map(|number| format!("t:{number}")));
            }
            if batches == 8 {
                set(&mut admin, (0..20_000).map(|number| format!("t:new-{round}-{number}")));
            }
        }
        let distinct: HashSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "round {round}: a key came twice");
        let stayed = (0..2_000).filter(|number| distinct.contains(&format!("t:{number}"))).count();
        assert_eq!(stayed, 2_000, "round {round}: keys that stayed are missing");
        set(&mut admin, (2_000..40_000).map(|number| format!("t:{number}")));
    }
}

#[tokio::test]
async fn pages_have_each_key_that_stays_once_while_others_come_and_go() {
    let victim = Victim::start();
    let mut admin = victim.client();
    set(&mut admin, (0..5_000).map(|number| format!("t:stays-{number:05}")));
    set(&mut admin, (0..5_000).map(|number| format!("t:goes-{number:05}")));
    let bridge = open(victim.config()).await;
    let other = open(victim.config()).await;
    let mut keys: Vec<String> = Vec::new();
    let mut cursor = None;
    for page in 0.. {
        // Every other page is read by a runner that has seen none of those before.
        let reader: &dyn Bridge = if page % 2 == 0 { &*bridge } else { &*other };
        let (rows, tail) = read(reader, "t", json!({"limit": 777, "cursor": cursor})).await.unwrap();
        keys.extend(rows.iter().map(|row| row["_key"].as_str().unwrap().to_owned()));
        cursor = tail.next_cursor;
        delete(&mut admin, (page * 400..(page + 1) * 400).map(|number| format!("t:goes-{number:05}")));
        set(&mut admin, (0..100).map(|number| format!("t:comes-{page}-{number}")));
        if cursor.is_none() {
            break;
        }
    }
    assert!(keys.is_sorted(), "pages are not in one order");
    let distinct: HashSet<&String> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "a key is in two pages");
    assert_eq!(keys.iter().filter(|key| key.starts_with("t:stays-")).count(), 5_000);
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_no_limit() {
    let victim = Victim::start();
    let mut admin = victim.client();
    for chunk in 0..13 {
        set(&mut admin, (chunk * 10_000..(chunk + 1) * 10_000).map(|number| format!("t:{number:06}")));
    }
    let bridge = open(victim.config()).await;
    let total = crate::asking::count(&*bridge, "t", json!({})).await.unwrap();
    assert_eq!(total, 130_000);
    let (rows, tail) = read(&*bridge, "t", json!({"limit": 10, "cursor": "t:109999"})).await.unwrap();
    assert_eq!(rows[0]["_key"], "t:110000");
    assert_eq!(tail.next_cursor.as_deref(), Some("t:110009"));
    let asked = json!({"orderBy": {"_key": "asc"}, "offset": 129_990, "select": ["_key"]});
    let last = crate::asking::query(&*bridge, "t", asked).await.unwrap();
    assert_eq!((last.len(), &last[9]["_key"]), (10, &json!("t:129999")));
}

#[tokio::test]
async fn targets_are_prefixes_and_collections() {
    let victim = Victim::start();
    let mut admin = victim.client();
    set(&mut admin, ["carts:1", "carts:2", "users:1:x", "alone", ":odd"].into_iter().map(str::to_owned));
    redis::cmd("RPUSH").arg(&["queue", "1"]).exec(&mut admin).unwrap();
    let bridge = open(victim.config()).await;
    assert_eq!(bridge.list_targets(&ample()).await.unwrap(), ["carts", "queue", "users"]);
    let unknown = bridge.introspect_target(&ample(), "alone").await.unwrap_err().to_string();
    assert!(unknown.contains("no key that begins with \"alone:\""), "{unknown}");
}
