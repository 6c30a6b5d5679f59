//! `semilayer-gateway demo`: the first thing that anyone tries.

use harness::folder::Folder;
use harness::gateway::{GATEWAY, command};
use harness::process::{Process, Signal, bare, run};
use harness::wait::{secs, within};

#[tokio::test]
async fn the_demo_shows_rows_and_times_and_leaves() {
    within(secs(60), async {
        let folder = Folder::new();
        let mut demo = command(&folder);
        demo.args(["demo", "--once"]);
        let finished = run(GATEWAY, demo, secs(50)).await;
        assert_eq!(finished.code, Some(0), "{}", finished.both());
        // It is gone when it has said this: there is nothing more to ask.
        assert!(finished.stdout.ends_with("Every row came back right.\n"), "{}", finished.stdout);
        assert!(finished.stdout.contains(" ms"), "{}", finished.stdout);
        let rows = finished.stdout.lines().filter(|line| line.contains("→ {"));
        assert!(rows.count() >= 3, "{}", finished.stdout);
    })
    .await;
}

#[tokio::test]
async fn the_curl_line_works_as_long_as_the_demo_runs() {
    within(secs(60), async {
        let folder = Folder::new();
        let mut demo = command(&folder);
        demo.arg("demo");
        let mut demo = Process::start("demo", demo);
        demo.stdout.line_with("/docs").await;
        let said = demo.stdout.text();
        let curl: Vec<&str> =
            said.lines().skip_while(|line| !line.trim_start().starts_with("curl ")).collect();
        let curl: Vec<&str> = curl.into_iter().take_while(|line| !line.is_empty()).collect();
        let curl = curl.join("\n");
        let mut shell = bare("sh");
        shell.args(["-c", &curl]);
        let answer = run("curl", shell, secs(20)).await.ok();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(!answer["rows"].as_array().unwrap().is_empty(), "{answer}");
        demo.signal(Signal::INT);
        assert_eq!(demo.wait(secs(20)).await.code(), Some(0));
    })
    .await;
}
