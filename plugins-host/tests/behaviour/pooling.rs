//! How many instances there are, and who waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bridge_core::{Bridge, BridgeError, Call, Driver};
use futures::future::join_all;
use protocol::ReadOptions;
use semilayer_plugins_host::Limits;
use serde_json::json;

use crate::support::{ample, config, hostile, open, opened, reads_before, tight, until, works};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_share_the_instances_of_their_source() {
    let plugin = hostile(tight()).await;
    let bridge = opened(&plugin, json!({"poolMax": 3})).await.unwrap();
    join_all((0..50).map(|_| works(&*bridge))).await;
    until("all came back", || plugin.stats().idle == plugin.stats().instances).await;
    let stats = plugin.stats();
    assert!((1..=3).contains(&stats.instances), "{stats:?}");
    let pool = bridge.pool_use();
    assert_eq!((pool.in_use, pool.max), (0, 3), "{pool:?}");
    drop(bridge);
    until("they ended with their source", || plugin.stats().instances == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_at_once_on_one_plugin_all_get_their_rows() {
    let plugin = hostile(Limits::default()).await;
    let bridge = opened(&plugin, json!({"poolMax": 50})).await.unwrap();
    join_all((0..500).map(|_| works(&*bridge))).await;
    assert_eq!(plugin.stats().failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_an_instance_no_longer_than_its_deadline() {
    let plugin = hostile(Limits { instances: 2, ..tight() }).await;
    let bridge = open(&plugin).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(bridge.read(&ample(), "rows", ReadOptions::default()).await.unwrap());
    }
    let began = Instant::now();
    let call = Call::within(Duration::from_millis(100));
    let error = bridge.read(&call, "rows", ReadOptions::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, BridgeError::Timeout), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let waiting = works(&*bridge);
    let freeing = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        held.pop();
    };
    tokio::join!(waiting, freeing);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_instance_gives_up_its_seat_to_another_source() {
    let plugin = hostile(Limits { instances: 1, ..tight() }).await;
    let (one, other) = (open(&plugin).await, open(&plugin).await);
    for _ in 0..5 {
        works(&*one).await;
        works(&*other).await;
    }
    assert_eq!(plugin.stats().failures, 0);
    assert!(plugin.stats().instances <= 1, "{:?}", plugin.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_seat_gets_that_of_the_next_job_that_ends() {
    let plugin = hostile(Limits { instances: 1, ..tight() }).await;
    let (one, other) = (open(&plugin).await, open(&plugin).await);
    let held = one.read(&ample(), "rows", ReadOptions::default()).await.unwrap();
    let freeing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(held);
    };
    tokio::join!(works(&*other), freeing);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_for_a_seat_pass_one_instance_on() {
    let plugin = hostile(Limits { instances: 1, ..tight() }).await;
    let bridge = opened(&plugin, json!({"poolMax": 8})).await.unwrap();
    let mut seen = join_all((0..40).map(|_| reads_before(&*bridge))).await;
    seen.sort_unstable();
    assert_eq!(
        seen,
        (0..40).collect::<Vec<_>>(),
        "each but the first came to an instance that others had used"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_source_does_not_keep_the_seats_from_another() {
    let plugin = hostile(Limits { instances: 2, ..tight() }).await;
    let busy = opened(&plugin, json!({"poolMax": 8})).await.unwrap();
    let other = opened(&plugin, json!({"poolMax": 2})).await.unwrap();
    let stop = AtomicBool::new(false);
    let work = async || {
        while !stop.load(Ordering::SeqCst) {
            works(&*busy).await;
        }
    };
    let turns = async {
        for _ in 0..20 {
            tokio::join!(works(&*other), works(&*other), works(&*other));
        }
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(turns, join_all((0..8).map(|_| work())));
    assert_eq!(plugin.stats().failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_give_up_waiting_leave_no_seat_behind() {
    let plugin = hostile(Limits { instances: 1, ..tight() }).await;
    let (one, other) = (open(&plugin).await, open(&plugin).await);
    for _ in 0..30 {
        let hurried = async |bridge: &dyn Bridge| {
            let call = Call::within(Duration::from_millis(1));
            drop(bridge.read(&call, "rows", ReadOptions::default()).await);
        };
        tokio::join!(hurried(&*one), hurried(&*other), hurried(&*one), hurried(&*other), works(&*one));
    }
    works(&*other).await;
    works(&*one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_could_not_connect_is_not_given_to_the_next_job() {
    let plugin = hostile(tight()).await;
    // The one does not open a connection, the other opens one that does not work.
    for way in ["in-a-hurry", "untested-in-a-hurry"] {
        let bridge = opened(&plugin, json!({"connect": way})).await.unwrap();
        let held = bridge.read(&ample(), "rows", ReadOptions::default()).await.unwrap();
        let hurried = Call::within(Duration::from_secs(10));
        for _ in 0..3 {
            let refused =
                bridge.read(&hurried, "rows", ReadOptions::default()).await.map(|_| ()).unwrap_err();
            assert_eq!(refused.to_string(), "no time", "{way}");
        }
        works(&*bridge).await;
        drop(held);
    }
}

/// On paused time, which goes on when nothing else does.
#[tokio::test(start_paused = true)]
async fn an_instance_that_nobody_uses_closes_its_connection() {
    let plugin = hostile(tight()).await;
    let call = Call::within(Duration::from_secs(3_600));
    let bridge = plugin.connect(&config(json!({})), &call).await.unwrap();
    let held = bridge.read(&call, "rows", ReadOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(plugin.stats().instances, 1, "a job that takes its time keeps it");
    drop(held);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((plugin.stats().instances, plugin.stats().idle), (1, 1));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!((plugin.stats().instances, plugin.stats().idle), (0, 0));
    assert!(
        bridge.read(&call, "rows", ReadOptions::default()).await.is_ok(),
        "there is another for the next job"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_pool_can_be_called() {
    let plugin = hostile(tight()).await;
    let mut bare = plugin.bare().await.unwrap();
    assert!(bare.test().await.is_err(), "not connected");
    bare.connect(&plugin, &config(json!({}))).await.unwrap();
    let before = plugin.stats().calls;
    for _ in 0..100 {
        bare.test().await.unwrap();
    }
    assert_eq!(plugin.stats().calls - before, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_instances_live_at_once() {
    let plugin = hostile(Limits { instances: 1_000, ..Limits::default() }).await;
    let bridge: Arc<dyn Bridge> = opened(&plugin, json!({"poolMax": 1_000})).await.unwrap().into();
    let call = ample();
    let held = join_all((0..1_000).map(|_| bridge.read(&call, "rows", ReadOptions::default()))).await;
    assert!(held.iter().all(Result::is_ok));
    assert_eq!(plugin.stats().instances, 1_000);
    drop(held);
    until("all are idle", || plugin.stats().idle == 1_000).await;
    works(&*bridge).await;
}
