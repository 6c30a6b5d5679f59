//! The panic hook belongs to the whole process, hence a process of its own.

use semilayer_runtime::Drain;
use semilayer_runtime::telemetry::{self, Capture, LogSettings};

#[tokio::test]
async fn a_panic_is_logged_with_its_place_and_task_but_without_its_text() {
    let log = Capture::new();
    let export = telemetry::init_with(&LogSettings::default(), None, log.clone()).unwrap();
    assert!(export.is_none());
    let drain = Drain::new();
    drain.spawn("query job", async { panic!("row holds hunter2") }).await.unwrap_err();
    std::thread::spawn(|| panic!("so does hunter2 here")).join().unwrap_err();

    let text = log.text();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("task panicked") && text.contains("query job"), "{text}");
    assert_eq!(text.matches("tests/panics.rs:").count(), 3, "{text}");
}
