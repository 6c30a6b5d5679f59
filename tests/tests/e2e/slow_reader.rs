//! A reader that stops costs a window of memory, and nobody else anything.

use harness::gateway::Gateway;
use harness::postgres::Database;
use harness::runner::Runner;
use harness::sqlite::numbers_lens;
use harness::wait::{eventually, secs, within};
use serde_json::json;

/// What a process may grow by while a million rows wait, in KiB. One job's window is 1 MiB on each side; the rest is the
/// allocator's and the code's that was not touched before.
const GROWTH_KIB: u64 = 32 * 1024;

#[tokio::test]
async fn a_stopped_reader_holds_up_nobody_and_memory_stays_bounded() {
    within(secs(170), async {
        let database = Database::create().await;
        database.make_numbers(1_000_000).await;
        let gateway = Gateway::start().await;
        let mut config = database.config();
        config["bridge"] = "postgres".into();
        config["timeout"] = 150_000.into();
        gateway.push(json!({"main": config}), json!({"numbers": numbers_lens("main")})).await;
        let (_, runner) = gateway.connect_runner("one", &["main"]).await;
        let app = gateway.secret_app().await;
        // What a first query brings into memory once is not growth.
        assert_eq!(app.lines("numbers", &json!({"limit": 20_000})).await.count_lines().await.0, 20_000);
        let before = (runner.process.resident_kib(), gateway.process.resident_kib());

        let everything = json!({"limit": 1_000_000});
        let mut stopped = app.lines("numbers", &everything).await;
        assert_eq!(stopped.line().await.unwrap()["label"], "label 1");
        let sent = standstill(&runner).await;
        assert!(sent < 100_000_000.0, "{sent} bytes were sent to a reader that does not read");

        let (lines, _) = app.lines("numbers", &json!({"limit": 300_000})).await.count_lines().await;
        assert_eq!(lines, 300_000);
        let after = (runner.process.resident_kib(), gateway.process.resident_kib());
        assert!(after.0 < before.0 + GROWTH_KIB, "the runner grew from {} to {} KiB", before.0, after.0);
        assert!(after.1 < before.1 + GROWTH_KIB, "the gateway grew from {} to {} KiB", before.1, after.1);

        // It may go on at any time, and gets every row.
        let (lines, _) = stopped.count_lines().await;
        assert_eq!(lines + 1, 1_000_000);
    })
    .await;
}

/// Waits until the runner sends nothing any more, and answers how much it has sent.
async fn standstill(runner: &Runner) -> f64 {
    let mut last = -1.0;
    let mut still = 0;
    eventually("the runner waits for its reader", secs(60), async || {
        let sent = runner.metric("runner_bytes_sent_total").await.unwrap();
        still = if sent == last { still + 1 } else { 0 };
        last = sent;
        // The waits between two looks grow to 100 ms.
        (still >= 5).then_some(sent)
    })
    .await
}
