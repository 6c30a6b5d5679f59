//! A plugin that breaks: its job says why, the next job works, and nobody else notices.

use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call};
use protocol::ReadOptions;
use semilayer_plugins_host::Limits;

use crate::support::{collect, failure, hostile, open, opened, read, reads_before, tight, until, works};

/// The reason of a failure, after which the source goes on with another instance.
async fn fails(bridge: &dyn Bridge, target: &str) -> String {
    let reason = failure(bridge, target).await;
    works(bridge).await;
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_job_with_what_it_said() {
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;
    for target in ["panic", "panic-next"] {
        let reason = fails(&*bridge, target).await;
        assert!(reason.starts_with("the plugin failed: wasm `unreachable` instruction executed"), "{reason}");
        assert!(reason.contains("crimes.rs") && reason.contains("own words"), "{reason}");
        assert!(!reason.contains('\n'), "{reason}");
    }
    assert_eq!(plugin.stats().failures, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_ends_at_its_limit() {
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;
    assert_eq!(fails(&*bridge, "memory").await, "the plugin needs more than its 33554432 bytes of memory");
    assert!(plugin.stats().memory_bytes <= 32 << 20, "{:?}", plugin.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_never_given_back_ends_its_instance_and_not_the_source() {
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;
    let mut failures = 0;
    for _ in 0..10 {
        match read(&*bridge, "forget").await {
            Ok(_) => {}
            Err(BridgeError::Plugin(reason)) => {
                assert!(reason.contains("bytes of memory"), "{reason}");
                failures += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!((1..=5).contains(&failures), "{failures}");
    works(&*bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_ends_when_it_has_computed_for_too_long() {
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;
    for target in ["loop", "loop-next"] {
        let began = Instant::now();
        let reason = fails(&*bridge, target).await;
        assert_eq!(reason, "the plugin computed for more than 300ms without a call to the runner");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_overflows_is_a_trap() {
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;
    let reason = fails(&*bridge, "stack").await;
    assert!(reason.starts_with("the plugin failed: call stack exhausted"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exiting_is_a_failure() {
    let bridge = open(&*hostile(tight()).await).await;
    let reason = fails(&*bridge, "exit").await;
    assert!(reason.starts_with("the plugin failed: it exited with status"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_not_blamed_for_what_comes_after_it() {
    let bridge = open(&*hostile(tight()).await).await;
    let reason = fails(&*bridge, "exit-hungry").await;
    assert_eq!(reason, "the plugin failed: it exited with status 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_begins_too_large_says_so() {
    let limits = Limits { memory_bytes: 64 << 10, ..tight() };
    let plugin = hostile(limits).await;
    let refused = opened(&plugin, serde_json::json!({})).await.map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "the plugin needs more than its 65536 bytes of memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn things_of_the_runner_that_are_never_given_back_end_at_their_limit() {
    let bridge = open(&*hostile(tight()).await).await;
    let reason = fails(&*bridge, "hoard").await;
    assert!(reason.contains("resource table"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_will_not_be_dropped_costs_its_instance_and_not_its_job() {
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;
    for target in ["loop-drop", "panic-drop"] {
        let rows = bridge
            .read(&Call::within(Duration::from_secs(20)), target, ReadOptions::default())
            .await
            .unwrap();
        drop(rows);
        works(&*bridge).await;
    }
    until("both instances failed", || plugin.stats().failures == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_will_not_be_dropped_does_not_keep_its_source_open() {
    let plugin = hostile(tight()).await;
    let bridge = opened(&plugin, serde_json::json!({"connect": "loop-at-the-end"})).await.unwrap();
    works(&*bridge).await;
    let began = Instant::now();
    bridge.close().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(plugin.stats().instances, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_is_not_used_again() {
    let plugin = hostile(tight()).await;
    let bridge = opened(&plugin, serde_json::json!({"poolMax": 1})).await.unwrap();
    assert_eq!(reads_before(&*bridge).await, 0);
    let rows =
        bridge.read(&Call::within(Duration::from_secs(20)), "lost", ReadOptions::default()).await.unwrap();
    let lost = collect(rows).await.unwrap_err();
    assert!(matches!(lost, BridgeError::Unreachable { .. }), "{lost:?}");
    assert_eq!(reads_before(&*bridge).await, 0, "another instance");
    assert_eq!(plugin.stats().failures, 0, "the plugin did nothing wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_breaks_all_the_time_harms_neither_its_own_jobs_nor_other_plugins() {
    let wild = hostile(Limits { instances: 8, ..tight() }).await;
    let calm = hostile(tight()).await;
    let (wild_source, calm_source) = (open(&wild).await, open(&calm).await);
    let crime = async |target: &'static str| {
        for _ in 0..5 {
            failure(&*wild_source, target).await;
        }
    };
    let peace = async |source: &dyn Bridge| {
        for _ in 0..50 {
            works(source).await;
        }
    };
    tokio::join!(
        crime("panic"),
        crime("loop"),
        crime("memory"),
        crime("stack"),
        peace(&*wild_source),
        peace(&*calm_source),
        peace(&*calm_source),
    );
    assert_eq!((wild.stats().failures, calm.stats().failures), (20, 0));
}
