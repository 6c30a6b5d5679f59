//! A server that is killed and started again.

use std::time::Duration;

use bridge_core::{BridgeError, Call};
use mongodb::bson::doc;
use protocol::QueryOptions;
use serde_json::json;

use crate::asking::{open, query};
use crate::server::{Scratch, Victim, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_is_survived() {
    let mut victim = Victim::start().await;
    let scratch = Scratch::at(&victim.url()).await;
    scratch.insert("c", vec![doc! {"_id": 1}]).await;
    let settings = json!({"url": victim.url(), "connectionTimeoutMillis": 2_000});
    let bridge = open(&scratch.config_with(settings)).await.unwrap();
    assert_eq!(query(&*bridge, "c", json!({})).await.unwrap().len(), 1);

    victim.kill();
    let call = Call::within(Duration::from_secs(5));
    let answer = bridge.query(&call, "c", QueryOptions::default()).await;
    let answer = match answer {
        Ok(stream) => bridge_conformance::collect(stream).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(answer, Err(BridgeError::Unreachable { .. } | BridgeError::Timeout)), "{answer:?}");

    victim.restart().await;
    scratch.database().drop().await.ok();
    scratch.insert("c", vec![doc! {"_id": 2}]).await;
    eventually("the source answers again", async || {
        query(&*bridge, "c", json!({})).await.is_ok_and(|rows| rows.len() == 1)
    })
    .await;
    bridge.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_holds_an_answer_back_makes_the_call_late_and_no_later_one() {
    let victim = Victim::start().await;
    let scratch = Scratch::at(&victim.url()).await;
    scratch.insert("c", vec![doc! {"_id": 1}]).await;
    let bridge = open(&scratch.config_with(json!({"url": victim.url()}))).await.unwrap();
    assert_eq!(query(&*bridge, "c", json!({})).await.unwrap().len(), 1);
    let hold = doc! {
        "configureFailPoint": "failCommand",
        "mode": {"times": 1},
        "data": {"failCommands": ["find"], "blockConnection": true, "blockTimeMS": 4_000},
    };
    scratch.client.database("admin").run_command(hold).await.unwrap();
    let call = Call::within(Duration::from_millis(500));
    let begun = std::time::Instant::now();
    let mut stream = bridge.query(&call, "c", QueryOptions::default()).await.unwrap();
    let answer = stream.next(1).await;
    assert!(matches!(answer, Err(BridgeError::Timeout)), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(query(&*bridge, "c", json!({})).await.unwrap().len(), 1);
    bridge.close().await;
}
