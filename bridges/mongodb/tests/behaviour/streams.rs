//! Many jobs at once, rows that are left behind, deadlines, closing.

use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Call};
use futures::future::try_join_all;
use mongodb::bson::doc;
use protocol::QueryOptions;
use serde_json::json;

use crate::asking::{open, query};
use crate::server::{Scratch, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_share_the_connections_of_the_pool() {
    let scratch = Scratch::new().await;
    scratch.insert("c", (0..50).map(|id| doc! {"_id": id, "v": "x".repeat(100)}).collect()).await;
    let bridge = open(&scratch.config()).await.unwrap();
    let jobs = (0..50).map(|id| query(&*bridge, "c", json!({"where": {"_id": id}})));
    let found = try_join_all(jobs).await.unwrap();
    assert!(found.iter().all(|rows| rows.len() == 1));
    let usage = bridge.pool_use();
    assert_eq!(usage.max, 3);
    assert!(usage.in_use + usage.idle <= 3, "{usage:?}");
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_left_behind_give_their_connections_back() {
    let scratch = Scratch::new().await;
    scratch.insert("c", (0..6_000).map(|id| doc! {"_id": id, "v": "x".repeat(100)}).collect()).await;
    let bridge = open(&scratch.config()).await.unwrap();
    for _ in 0..5 {
        let call = Call::within(Duration::from_secs(30));
        let mut stream = bridge.query(&call, "c", QueryOptions::default()).await.unwrap();
        assert!(stream.next(1).await.unwrap().is_some());
    }
    eventually("no connection is in use", async || bridge.pool_use().in_use == 0).await;
    assert_eq!(query(&*bridge, "c", json!({"limit": 2})).await.unwrap().len(), 2);
    bridge.close().await;
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_source_ends_its_streams_and_answers_no_more() {
    let scratch = Scratch::new().await;
    scratch.insert("c", (0..6_000).map(|id| doc! {"_id": id, "v": "x".repeat(100)}).collect()).await;
    let bridge = open(&scratch.config()).await.unwrap();
    let call = Call::within(Duration::from_secs(30));
    let mut stream = bridge.query(&call, "c", QueryOptions::default()).await.unwrap();
    assert!(stream.next(1).await.unwrap().is_some());
    let begun = Instant::now();
    bridge.close().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(matches!(query(&*bridge, "c", json!({})).await, Err(BridgeError::Unreachable { .. })));
    scratch.drop().await;
}
