//! Streams 500 000 rows of eight columns out of Redis, and lets another client read the same bytes and drop them.
//!
//! `cargo run --release -p semilayer-bridge-redis --example stream -- redis://user:password@127.0.0.1:6379/0`, with the
//! prefix `bench`, which is filled first unless it is.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a program for whoever measures"
)]

use std::time::{Duration, Instant};

use bridge_core::{Bridge, Call, Driver};
use protocol::{CHUNK_BYTES, CountOptions, QueryOptions, SourceConfig};
use redis::ConnectionLike;
use semilayer_bridge_redis::Redis;
use serde_json::json;

const ROWS: u64 = 500_000;
const TARGET: &str = "bench";
const ROUNDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("the URL of a Redis");
    let mut other = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    let config: SourceConfig = serde_json::from_value(json!({ "url": url })).unwrap();
    let bridge = Redis.connect(&config, &call()).await.unwrap();
    if bridge.count(&call(), TARGET, CountOptions::default()).await.unwrap().total < ROWS {
        fill(&mut other);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let before = resident();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let (rows, bytes) = stream(&*bridge).await;
        let took = begun.elapsed();
        assert_eq!(rows, ROWS);
        ours.push(rate(took));
        println!("bridge: {:.0} rows/s, {:.0} MB/s", rate(took), bytes as f64 / took.as_secs_f64() / 1e6);
        println!("resident: {} KiB more than before", resident().saturating_sub(before));
        let begun = Instant::now();
        scan(&mut other);
        theirs.push(rate(begun.elapsed()));
        println!("SCAN and MGET alone: {:.0} rows/s", theirs.last().unwrap());
    }
    println!("median ratio: {:.2}", median(ours) / median(theirs));
}

fn call() -> Call {
    Call::within(Duration::from_secs(600))
}

fn rate(took: Duration) -> f64 {
    ROWS as f64 / took.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

async fn stream(bridge: &dyn Bridge) -> (u64, usize) {
    let limits = call();
    let mut rows = bridge.query(&limits, TARGET, QueryOptions::default()).await.unwrap();
    let (mut count, mut bytes) = (0, 0);
    while let Some(batch) = rows.next(CHUNK_BYTES).await.unwrap() {
        count += batch.count;
        bytes += batch.rows.len();
    }
    (count, bytes)
}

/// The next keys are asked for together with the values of these, as the bridge does it; nothing is done with the values.
fn scan(client: &mut redis::Connection) {
    let pattern = format!("{TARGET}:*");
    let mut cursor = 0_u64;
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut values = 0;
    loop {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1_000);
        if !keys.is_empty() {
            pipeline.cmd("MGET").arg(&keys);
        }
        let mut replies =
            client.req_packed_commands(&pipeline.get_packed_pipeline(), 0, pipeline.len()).unwrap();
        if let Some(redis::Value::Array(found)) = (!keys.is_empty()).then(|| replies.pop()).flatten() {
            values += found.len() as u64;
        }
        (cursor, keys) = redis::from_redis_value(replies.remove(0)).unwrap();
        if cursor == 0 {
            break;
        }
    }
    let last: Vec<Option<Vec<u8>>> = redis::cmd("MGET").arg(&keys).query(client).unwrap();
    assert_eq!(values + last.len() as u64, ROWS);
}

fn fill(client: &mut redis::Connection) {
    for chunk in 0..ROWS / 1_000 {
        let mut pipeline = redis::pipe();
        for id in chunk * 1_000..(chunk + 1) * 1_000 {
            let row = json!({
                "id": id,
                "number": id % 1_000,
                "name": format!("customer {id}"),
                "note": "a text of some length that stands for what people write",
                "amount": format!("{}.{:02}", id % 10_000, id % 100),
                "createdAt": format!("2026-01-02T03:04:{:02}.000Z", id % 60),
                "active": id % 3 == 0,
                "ratio": id as f64 / 7.0,
            });
            pipeline.cmd("SET").arg(format!("{TARGET}:{id}")).arg(row.to_string()).ignore();
        }
        pipeline.exec(client).unwrap();
    }
}

/// KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
