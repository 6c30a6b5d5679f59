//! Measures a stream: `stream URL TARGET [LIMIT]` reads the whole target as a job would and says what it cost this process.
//!
//! A table to measure with (MySQL 8 or later, MariaDB):
//!
//! ```sql
//! CREATE TABLE digits (d INT); INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
//! CREATE TABLE bench (id BIGINT PRIMARY KEY, n INT, name VARCHAR(50), note VARCHAR(100), amount DECIMAL(12, 2),
//!   at TIMESTAMP(6) NULL, even BOOLEAN, ratio DOUBLE);
//! INSERT INTO bench SELECT i, i % 1000, CONCAT('name of ', i), CONCAT('a note about number ', i, ' of many'), i / 100,
//!   '2026-01-01' + INTERVAL i SECOND, i % 2, i / 7e0
//!   FROM (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 100000 * g.d AS i
//!     FROM digits a, digits b, digits c, digits e, digits f, digits g WHERE g.d < 5) numbers;
//! ```

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::{Duration, Instant};

use bridge_core::{Call, Driver};
use protocol::{CHUNK_BYTES, QueryOptions, SourceConfig};
use semilayer_bridge_mysql::Mysql;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, target, limit @ ..] = arguments.as_slice() else {
        return Err("expected: stream URL TARGET [LIMIT]".into());
    };
    let limit = limit.first().map(|limit| limit.parse()).transpose()?;
    let config: SourceConfig = serde_json::from_value(serde_json::json!({ "url": url }))?;
    let call = Call::within(Duration::from_secs(600));
    let bridge = Mysql.connect(&config, &call).await?;

    let (begun, cpu, memory) = (Instant::now(), cpu_ms()?, peak_kib()?);
    let options = QueryOptions { limit, ..QueryOptions::default() };
    let mut stream = bridge.query(&call, target, options).await?;
    let (mut rows, mut bytes, mut batches) = (0, 0, 0_u64);
    while let Some(batch) = stream.next(CHUNK_BYTES).await? {
        rows += batch.count;
        bytes += batch.rows.len();
        batches += 1;
    }
    let (wall, cpu) = (begun.elapsed().as_millis(), cpu_ms()? - cpu);
    println!(
        "{rows} rows, {bytes} bytes in {batches} batches: {wall} ms, of them {cpu} ms of this process' CPU; \
         {} KiB more memory at the peak",
        peak_kib()? - memory
    );
    bridge.close().await;
    Ok(())
}

/// CPU time of this process, user and system, from `/proc` in ticks of 10 ms.
fn cpu_ms() -> Result<u64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no process name")?.1;
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(ticks * 10)
}

/// The most resident memory that this process has had.
fn peak_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}
