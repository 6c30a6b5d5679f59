//! A result of any length needs the memory of a few batches. Alone in its process, because it looks at the process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it, too")]

#[path = "support/scratch.rs"]
mod scratch;

use std::time::Duration;

use bridge_core::{Call, Driver};
use protocol::{QueryOptions, SourceConfig};
use scratch::Scratch;
use semilayer_bridge_sqlite::Sqlite;
use serde_json::json;

const ROWS: u64 = 1_000_000;
/// A tenth of what the rows are together.
const BOUND_KIB: u64 = 16 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_need_the_memory_of_a_few() {
    let scratch = Scratch::new();
    let writer = scratch.writer("a.db");
    writer.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, x REAL)").unwrap();
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         INSERT INTO t SELECT i, 'a name that is long enough to count, of row number ' || i || hex(zeroblob(48)), i / 7.0 FROM n"
    );
    writer.execute_batch(&many).unwrap();
    drop(writer);
    let config: SourceConfig = serde_json::from_value(json!({ "path": scratch.path("a.db") })).unwrap();
    let call = Call::within(Duration::from_secs(300));
    let bridge = Sqlite.connect(&config, &call).await.unwrap();
    let mut rows = bridge.query(&call, "t", QueryOptions::default()).await.unwrap();
    let (mut count, mut bytes) = (0, 0);
    let before = resident_kib();
    let mut most = before;
    while let Some(batch) = rows.next(protocol::CHUNK_BYTES).await.unwrap() {
        count += batch.count;
        bytes += batch.rows.len();
        most = most.max(resident_kib());
    }
    assert_eq!(count, ROWS);
    assert!(
        bytes > 10 * 1024 * usize::try_from(BOUND_KIB).unwrap(),
        "{bytes} bytes are too few for this test"
    );
    assert!(most - before < BOUND_KIB, "{} KiB more", most - before);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
