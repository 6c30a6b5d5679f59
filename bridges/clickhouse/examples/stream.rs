//! Streams a table through the bridge to nowhere and says how fast: `stream CONFIG TARGET`, where CONFIG is a source's
//! settings as JSON.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for people who measure")]

use std::time::{Duration, Instant};

use bridge_core::{Call, Driver};
use protocol::{CHUNK_BYTES, QueryOptions, SourceConfig};
use semilayer_bridge_clickhouse::Clickhouse;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let config: SourceConfig = serde_json::from_str(&arguments.next().unwrap()).unwrap();
    let target = arguments.next().unwrap();
    let call = Call::within(Duration::from_secs(600));
    let bridge = Clickhouse.connect(&config, &call).await.unwrap();
    for _ in 0..3 {
        let before = resident_kib();
        let begun = Instant::now();
        let mut rows = bridge.query(&call, &target, QueryOptions::default()).await.unwrap();
        let (mut count, mut bytes, mut first) = (0, 0, None);
        while let Some(batch) = rows.next(CHUNK_BYTES).await.unwrap() {
            first.get_or_insert_with(|| begun.elapsed());
            count += batch.count;
            bytes += batch.rows.len();
        }
        let took = begun.elapsed();
        let rate = count * 1_000 / u64::try_from(took.as_millis().max(1)).unwrap();
        let grown = resident_kib().saturating_sub(before);
        println!(
            "{count} rows, {bytes} bytes in {took:?}: {rate} rows/s, first batch {first:?}, grown {grown} KiB"
        );
    }
    bridge.close().await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}
