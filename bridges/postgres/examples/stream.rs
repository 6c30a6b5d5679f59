//! Measures a stream: `stream URL TARGET [LIMIT]` reads the whole target as a job would and says what it cost this process.
//!
//! A table to measure with:
//!
//! ```sql
//! CREATE TABLE bench AS SELECT n AS id, n::bigint * 1000003 AS big, 'name of ' || n AS name, n % 2 = 0 AS even,
//!   n / 7.0::float8 AS ratio, (n / 100.0)::numeric(12, 2) AS amount, gen_random_uuid() AS key,
//!   '2026-01-01Z'::timestamptz + n * interval '1.001 s' AS at FROM generate_series(1, 1000000) n;
//! ```

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::{Duration, Instant};

use bridge_core::{Call, Driver};
use protocol::{CHUNK_BYTES, QueryOptions, SourceConfig};
use semilayer_bridge_postgres::Postgres;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, target, limit @ ..] = arguments.as_slice() else {
        return Err("expected: stream URL TARGET [LIMIT]".into());
    };
    let limit = limit.first().map(|limit| limit.parse()).transpose()?;
    let config: SourceConfig = serde_json::from_value(serde_json::json!({ "url": url }))?;
    let call = Call::within(Duration::from_secs(600));
    let bridge = Postgres.connect(&config, &call).await?;

    let (begun, cpu) = (Instant::now(), cpu_ms()?);
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
        "{rows} rows, {bytes} bytes in {batches} batches: {wall} ms, of them {cpu} ms of this process' CPU"
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
