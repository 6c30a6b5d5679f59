//! Streams: memory, deadlines, cancelling, pools, servers that go away.

use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Call};
use futures::future::join_all;
use protocol::SearchOptions;
use serde_json::json;

use crate::asking::{ample, collect, connect, count, open, options, query};
use crate::server::{Prefix, Victim, eventually};

/// Fills a server with rows of about 200 bytes.
fn fill(client: &mut redis::Connection, target: &str, rows: u32) {
    let payload = "x".repeat(170);
    for chunk in 0..rows.div_ceil(1_000) {
        let mut pipeline = redis::pipe();
        for number in chunk * 1_000..((chunk + 1) * 1_000).min(rows) {
            let row = format!(r#"{{"n":{number},"payload":"{payload}"}}"#);
            pipeline.cmd("SET").arg(format!("{target}:{number}")).arg(row).ignore();
        }
        pipeline.exec(client).unwrap();
    }
}

/// How many connections the runner has at the server.
fn connections(client: &mut redis::Connection) -> usize {
    let list: String = redis::cmd("CLIENT").arg("LIST").query(client).unwrap();
    list.matches("name=semilayer-runner").count()
}

/// What the server has ready for the runner and could not send.
fn waiting_at_server(client: &mut redis::Connection) -> u64 {
    let list: String = redis::cmd("CLIENT").arg("LIST").query(client).unwrap();
    let lines = list.lines().filter(|line| line.contains("name=semilayer-runner"));
    let memory = |line: &str| line.split(" omem=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
    lines.filter_map(memory).sum()
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_server() {
    let victim = Victim::start();
    let mut admin = victim.client();
    fill(&mut admin, "t", 100_000);
    let bridge = open(victim.config()).await;
    let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
    let mut count = rows.next(64 * 1024).await.unwrap().unwrap().count;
    // Two windows of half a megabyte are under way at the most, whatever is left.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(waiting_at_server(&mut admin) < 4 * 1024 * 1024);
    while let Some(batch) = rows.next(64 * 1024).await.unwrap() {
        count += batch.count;
    }
    assert_eq!(count, 100_000);
}

#[tokio::test]
async fn a_stream_that_is_dropped_closes_its_connection() {
    let victim = Victim::start();
    let mut admin = victim.client();
    fill(&mut admin, "t", 50_000);
    let bridge = open(victim.config()).await;
    for _ in 0..10 {
        let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
        rows.next(1_024).await.unwrap().unwrap();
    }
    eventually("the connections are gone", async || connections(&mut admin) <= 1).await;
    assert_eq!(bridge.pool_use().in_use, 0);
    assert_eq!(query(&*bridge, "t", json!({"limit": 3})).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_limit_leaves_the_connection_for_the_next() {
    let victim = Victim::start();
    let mut admin = victim.client();
    fill(&mut admin, "t", 5_000);
    let bridge = open(victim.config()).await;
    let accepted = |admin: &mut redis::Connection| -> String {
        let info: String = redis::cmd("INFO").arg("stats").query(admin).unwrap();
        info.lines().find(|line| line.starts_with("total_connections_received")).unwrap().to_owned()
    };
    query(&*bridge, "t", json!({"limit": 5})).await.unwrap();
    let before = accepted(&mut admin);
    for number in 0..20 {
        let asked = json!({"limit": 5, "where": {"n": {"$gte": number}}, "total": number % 2 == 0});
        assert_eq!(query(&*bridge, "t", asked).await.unwrap().len(), 5);
    }
    assert_eq!(accepted(&mut admin), before);
}

#[tokio::test]
async fn a_server_that_is_blocked_is_late_at_the_deadline() {
    let victim = Victim::start();
    fill(&mut victim.client(), "t", 1_000);
    let bridge = open(victim.config()).await;
    let mut blocker = victim.client();
    let blocked =
        std::thread::spawn(move || redis::cmd("DEBUG").arg("SLEEP").arg(3).exec(&mut blocker).unwrap());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    let call = Call::within(Duration::from_millis(700));
    let late = bridge.query(&call, "t", options(json!({}))).await.map(|_| ());
    assert!(matches!(late, Err(BridgeError::Timeout)), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    tokio::task::spawn_blocking(|| blocked.join().unwrap()).await.unwrap();
    assert_eq!(count(&*bridge, "t", json!({})).await.unwrap(), 1_000);
}

#[tokio::test]
async fn a_job_that_never_has_to_wait_is_late_all_the_same() {
    let victim = Victim::start();
    fill(&mut victim.client(), "t", 100_000);
    let bridge = open(victim.config()).await;
    let call = Call::within(Duration::from_millis(20));
    let late = match bridge.query(&call, "t", options(json!({"where": {"n": -1}}))).await {
        Ok(rows) => collect(rows).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(late, Err(BridgeError::Timeout)), "{late:?}");
}

#[tokio::test]
async fn a_restart_is_survived_without_reopening_the_source() {
    let mut victim = Victim::start();
    fill(&mut victim.client(), "t", 10);
    let bridge = open(victim.config()).await;
    assert_eq!(count(&*bridge, "t", json!({})).await.unwrap(), 10);
    victim.kill();
    let gone = count(&*bridge, "t", json!({})).await;
    assert!(matches!(gone, Err(BridgeError::Unreachable { .. })), "{gone:?}");
    victim.restart();
    fill(&mut victim.client(), "t", 4);
    assert_eq!(count(&*bridge, "t", json!({})).await.unwrap(), 4);
}

#[tokio::test]
async fn a_server_that_dies_in_mid_stream_is_an_error_and_no_end() {
    let mut victim = Victim::start();
    fill(&mut victim.client(), "t", 100_000);
    let bridge = open(victim.config()).await;
    let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
    rows.next(1_024).await.unwrap().unwrap();
    victim.kill();
    let error = loop {
        match rows.next(64 * 1024).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BridgeError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn fifty_jobs_share_three_connections() {
    let victim = Victim::start();
    let mut admin = victim.client();
    fill(&mut admin, "t", 2_000);
    let bridge = open(victim.config()).await;
    let jobs = (0..50).map(|number| {
        let bridge = &*bridge;
        async move { query(bridge, "t", json!({"where": {"n": number}})).await.unwrap().len() }
    });
    assert_eq!(join_all(jobs).await, vec![1; 50]);
    assert!(connections(&mut admin) <= 3);
    let used = bridge.pool_use();
    assert_eq!((used.in_use, used.max), (0, 3));
}

#[tokio::test]
async fn a_pool_that_is_taken_is_waited_for_no_longer_than_the_deadline() {
    let victim = Victim::start();
    fill(&mut victim.client(), "t", 50_000);
    let mut config = victim.config();
    config["pool"] = json!({"max": "1"});
    let bridge = open(config).await;
    let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
    rows.next(1_024).await.unwrap().unwrap();
    let call = Call::within(Duration::from_millis(300));
    assert!(matches!(bridge.test(&call).await, Err(BridgeError::Timeout)));
    drop(rows);
    bridge.test(&ample()).await.unwrap();
}

#[tokio::test]
async fn closing_the_source_ends_what_runs() {
    let victim = Victim::start();
    let mut admin = victim.client();
    fill(&mut admin, "t", 100_000);
    let bridge = open(victim.config()).await;
    let mut rows = bridge.query(&ample(), "t", options(json!({}))).await.unwrap();
    rows.next(1_024).await.unwrap().unwrap();
    bridge.close().await;
    let error = loop {
        match rows.next(64 * 1024).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("closed"), "{error}");
    drop(rows);
    eventually("the connections are gone", async || connections(&mut admin) == 0).await;
    assert!(bridge.test(&ample()).await.is_err());
}

#[tokio::test]
async fn a_value_above_the_row_limit_is_refused_before_it_is_read() {
    let prefix = Prefix::new();
    prefix.set("small", "{}");
    prefix.set("large", "x".repeat(8 * 1024 * 1024));
    prefix.run("RPUSH", "list", &["y".repeat(8 * 1024 * 1024).as_str()]);
    let bridge = open(prefix.config()).await;
    let call = Call { row_limit: 100_000, ..ample() };
    for name in ["large", "list"] {
        let asked = options(json!({"where": {"_key": prefix.key(name)}}));
        let refused = match bridge.query(&call, &prefix.name, asked).await {
            Ok(rows) => collect(rows).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(matches!(refused, Err(BridgeError::RowTooLarge { limit: 100_000 })), "{name}: {refused:?}");
    }
    let small = options(json!({"where": {"_key": prefix.key("small")}}));
    let (batches, _) = collect(bridge.query(&call, &prefix.name, small).await.unwrap()).await.unwrap();
    assert_eq!(batches.len(), 1);
}

#[tokio::test]
async fn an_order_over_more_than_fits_is_refused_and_a_limit_makes_it_fit() {
    let victim = Victim::start();
    let mut admin = victim.client();
    let payload = "x".repeat(1024 * 1024);
    for number in 0..80_u32 {
        let row = format!(r#"{{"n":{number},"payload":"{payload}"}}"#);
        redis::cmd("SET").arg(format!("t:{number}")).arg(row).exec(&mut admin).unwrap();
    }
    let bridge = open(victim.config()).await;
    let error = query(&*bridge, "t", json!({"orderBy": {"n": "desc"}})).await.unwrap_err();
    assert!(error.to_string().contains("limit of 67108864 bytes"), "{error}");
    let best = query(&*bridge, "t", json!({"orderBy": {"n": "desc"}, "limit": 2})).await.unwrap();
    assert_eq!((best[0]["n"].as_u64(), best[1]["n"].as_u64()), (Some(79), Some(78)));
    let slim = query(&*bridge, "t", json!({"orderBy": {"n": "desc"}, "select": ["n"]})).await.unwrap();
    assert_eq!(slim.len(), 80);
    let search = serde_json::value::to_raw_value(&json!({"query": "x", "limit": 1_000})).unwrap();
    let found = bridge.search(&ample(), "t", SearchOptions::parse(&search).unwrap()).await.map(|_| ());
    assert!(found.unwrap_err().to_string().contains("limit of 67108864 bytes"));
}

#[tokio::test]
async fn large_elements_after_small_ones_come_one_by_one() {
    let victim = Victim::start();
    let mut admin = victim.client();
    redis::cmd("RPUSH").arg("list").arg(vec!["small"; 400]).exec(&mut admin).unwrap();
    let large = "x".repeat(1024 * 1024);
    for _ in 0..140 {
        redis::cmd("RPUSH").arg("list").arg(&large).exec(&mut admin).unwrap();
    }
    let bridge = open(victim.config()).await;
    let mut rows = bridge.query(&ample(), "list", options(json!({}))).await.unwrap();
    let mut count = 0;
    while let Some(batch) = rows.next(64 * 1024).await.unwrap() {
        assert!(batch.rows.len() < 3 * 1024 * 1024, "{}", batch.rows.len());
        count += batch.count;
    }
    assert_eq!(count, 540);
}

#[tokio::test]
async fn nobody_at_the_port_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = connect(json!({"host": "127.0.0.1", "port": port})).await.map(|_| ());
    assert!(matches!(refused, Err(BridgeError::Unreachable { .. })), "{refused:?}");
}
