//! Jobs that end before their plugin does.

use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call, RowStream};
use protocol::{CountOptions, ReadOptions};
use semilayer_plugins_host::Limits;
use serde_json::json;

use crate::support::{ample, hostile, open, opened, reads_before, tight, until, works};

/// No test here waits for a limit of computing.
fn patient() -> Limits {
    Limits { computing: Duration::from_secs(60), ..tight() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_comes_to_an_end_keeps_its_connection() {
    let plugin = hostile(patient()).await;
    let bridge = opened(&plugin, json!({"poolMax": 1})).await.unwrap();
    let mut rows = bridge.read(&ample(), "polite", ReadOptions::default()).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(50), rows.next(1_000)).await;
    assert!(waited.is_err(), "it waits until it is cancelled");
    drop(rows);
    assert_eq!(reads_before(&*bridge).await, 1, "the same instance");
    assert_eq!((plugin.stats().failures, plugin.stats().instances), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_waits_for_a_guest_that_still_unwinds() {
    let plugin = hostile(patient()).await;
    let bridge = opened(&plugin, json!({"poolMax": 1})).await.unwrap();
    let mut rows = bridge.read(&ample(), "sleep", ReadOptions::default()).await.unwrap();
    let began = Instant::now();
    assert!(tokio::time::timeout(Duration::from_millis(200), rows.next(1_000)).await.is_err());
    drop(rows);
    works(&*bridge).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "the grace was not over: {:?}", began.elapsed());
    let stats = plugin.stats();
    assert_eq!((stats.killed, stats.instances), (1, 1), "the next instance comes after it, not beside it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_come_to_an_end_is_stopped_after_its_grace() {
    let plugin = hostile(patient()).await;
    let bridge = open(&plugin).await;
    for (index, target) in ["loop-next", "sleep", "flood"].into_iter().enumerate() {
        let mut rows = bridge.read(&ample(), target, ReadOptions::default()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), rows.next(1_000)).await;
        assert!(waited.is_err(), "{target}");
        drop(rows);
        works(&*bridge).await;
        let killed = u64::try_from(index + 1).unwrap();
        until(format!("{target} is stopped"), || plugin.stats().killed == killed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_at_its_deadline_whatever_its_guest_does() {
    let plugin = hostile(patient()).await;
    let bridge = open(&plugin).await;
    for target in ["loop", "loop-next", "sleep", "polite", "flood"] {
        let began = Instant::now();
        let call = Call::within(Duration::from_millis(100));
        let ended = async {
            let mut rows = bridge.read(&call, target, ReadOptions::default()).await?;
            rows.next(1_000).await.map(drop)
        };
        let error = ended.await.unwrap_err();
        assert!(matches!(error, BridgeError::Timeout), "{target}: {error:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{target}: {:?}", began.elapsed());
    }
    works(&*bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_future_that_is_dropped_ends_its_job() {
    let plugin = hostile(patient()).await;
    let bridge = open(&plugin).await;
    let (call, options) = (ample(), CountOptions::default());
    let counting = bridge.count(&call, "loop", options);
    assert!(tokio::time::timeout(Duration::from_millis(50), counting).await.is_err());
    until("the instance is stopped", || plugin.stats().killed == 1).await;
    works(&*bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_nobody_reads_on_are_given_up() {
    let plugin = hostile(patient()).await;
    let bridge = opened(&plugin, json!({"poolMax": 1})).await.unwrap();
    let options = ReadOptions { limit: u64::MAX, ..ReadOptions::default() };
    let mut rows = bridge.read(&ample(), "endless", options).await.unwrap();
    for _ in 0..10 {
        assert!(rows.next(100_000).await.unwrap().is_some());
    }
    drop(rows);
    assert_eq!(reads_before(&*bridge).await, 1, "the same instance");
    assert_eq!(plugin.stats().failures, 0);
}

/// Reads the two batches after which the next one is made before anybody asks for it.
async fn two_batches(bridge: &dyn Bridge, target: &str) -> RowStream {
    let options = ReadOptions { limit: 1_000_000, ..ReadOptions::default() };
    let mut rows = bridge.read(&ample(), target, options).await.unwrap();
    for _ in 0..2 {
        assert!(rows.next(1 << 20).await.unwrap().is_some(), "{target}");
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_has_its_next_batch_made_before_it_asks() {
    let plugin = hostile(patient()).await;
    let bridge = open(&plugin).await;
    let before = plugin.stats().calls;
    let rows = two_batches(&*bridge, "endless").await;
    // It was opened, its columns were asked for, and two batches.
    until("a third batch is made", || plugin.stats().calls == before + 5).await;
    drop(rows);
    works(&*bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_nobody_waits_for_yet_is_given_up_with_its_job() {
    let plugin = hostile(patient()).await;
    let bridge = opened(&plugin, json!({"poolMax": 1})).await.unwrap();
    drop(two_batches(&*bridge, "polite-later").await);
    assert_eq!(reads_before(&*bridge).await, 1, "the same instance");
    assert_eq!((plugin.stats().failures, plugin.stats().instances), (0, 1));
    drop(two_batches(&*bridge, "loop-later").await);
    works(&*bridge).await;
    until("the one that computes is stopped", || plugin.stats().killed == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_before_anybody_asks_fails_when_its_turn_comes() {
    let plugin = hostile(patient()).await;
    let bridge = open(&plugin).await;
    let mut rows = two_batches(&*bridge, "panic-later").await;
    until("it has failed", || plugin.stats().failures == 1).await;
    let failed = rows.next(1_000).await.unwrap_err();
    assert!(matches!(&failed, BridgeError::Plugin(reason) if reason.contains("own words")), "{failed:?}");
    assert!(matches!(rows.next(1_000).await, Ok(None)), "there are no more rows");
    works(&*bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_ends_at_the_deadline_and_when_nobody_wants_it() {
    let plugin = hostile(patient()).await;
    for wish in ["sleep", "loop"] {
        let settings = crate::support::config(serde_json::json!({"connect": wish}));
        let call = Call::within(Duration::from_millis(100));
        let error = bridge_core::Driver::connect(&*plugin, &settings, &call).await.map(drop).unwrap_err();
        assert!(matches!(error, BridgeError::Timeout), "{wish}: {error:?}");
    }
    until("no instance is left", || plugin.stats().instances == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_source_ends_its_jobs() {
    let plugin = hostile(patient()).await;
    let bridge = open(&plugin).await;
    let mut rows = bridge.read(&ample(), "polite", ReadOptions::default()).await.unwrap();
    let closing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        bridge.close().await;
    };
    let (ended, ()) = tokio::join!(rows.next(1_000), closing);
    let error = ended.unwrap_err();
    assert_eq!(error.to_string(), "the source has been closed");
    drop(rows);
    until("no instance is left", || plugin.stats().instances == 0).await;
    let refused = bridge.read(&ample(), "rows", ReadOptions::default()).await.map(drop).unwrap_err();
    assert!(matches!(refused, BridgeError::Unreachable { .. }), "{refused:?}");
}
