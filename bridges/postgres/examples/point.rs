//! Measures single rows: `point URL TARGET COUNT` asks for rows by their key `id`, one after the other.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::{Duration, Instant};

use bridge_core::{Call, Driver};
use protocol::{CHUNK_BYTES, QueryOptions, SourceConfig};
use semilayer_bridge_postgres::Postgres;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, target, count] = arguments.as_slice() else {
        return Err("expected: point URL TARGET COUNT".into());
    };
    let count: u32 = count.parse()?;
    let config: SourceConfig = serde_json::from_value(serde_json::json!({ "url": url }))?;
    let bridge = Postgres.connect(&config, &Call::within(Duration::from_secs(30))).await?;
    let begun = Instant::now();
    for id in 1..=count {
        let options = serde_json::value::to_raw_value(&serde_json::json!({ "where": { "id": id } }))?;
        let call = Call::within(Duration::from_secs(30));
        let mut stream = bridge.query(&call, target, QueryOptions::parse(&options)?).await?;
        while stream.next(CHUNK_BYTES).await?.is_some() {}
    }
    let took = begun.elapsed();
    println!(
        "{count} rows in {} ms: {} µs each",
        took.as_millis(),
        took.as_micros() / u128::from(count.max(1))
    );
    bridge.close().await;
    Ok(())
}
