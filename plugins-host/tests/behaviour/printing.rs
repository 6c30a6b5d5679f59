//! What plugins write into the log.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{hostile, open, opened, read, tight};

/// Keeps the lines of plugins.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "semilayer_plugin" && *metadata.level() <= tracing::Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                write!(self.0, "{}={value:?} ", field.name()).unwrap();
            }
        }
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// On one thread, so that its lines are all there are.
#[tokio::test]
async fn lines_are_counted_and_cut_and_carry_the_plugins_name() {
    let lines = Lines::default();
    let _log = tracing::subscriber::set_default(lines.clone());
    let plugin = hostile(tight()).await;
    let bridge = open(&plugin).await;

    read(&*bridge, "print").await.unwrap();
    let printed = lines.taken();
    assert_eq!(printed.len(), 2, "{printed:?}");
    assert!(printed[0].contains("said on stdout") && printed[0].contains("@acme/hostile"), "{printed:?}");
    assert!(printed[1].contains("said on stderr"), "{printed:?}");

    let secret = opened(&plugin, serde_json::json!({"secret": "hunter2"})).await.unwrap();
    read(&*secret, "print-secret").await.unwrap();
    let printed = lines.taken().concat();
    assert!(printed.contains("the secret is [redacted]") && !printed.contains("hunter2"), "{printed}");

    read(&*secret, "print-secret-late").await.unwrap();
    let printed = lines.taken();
    assert_eq!(printed.len(), 2, "{printed:?}");
    assert!(printed.iter().all(|line| line.contains("xxx") && !line.contains("hun")), "{printed:?}");

    read(&*bridge, "log-lines").await.unwrap();
    let forged = lines.taken();
    assert_eq!(forged.len(), 1, "{forged:?}");
    assert!(!forged[0].contains(char::is_control), "{forged:?}");

    read(&*bridge, "log").await.unwrap();
    let logged = lines.taken();
    assert!((50..=200).contains(&logged.len()), "{}", logged.len());
    let left_out = plugin.stats().log_lines_left_out;
    assert!((800..=950).contains(&left_out), "{left_out}");

    let mut rows =
        bridge.read(&crate::support::ample(), "flood", protocol::ReadOptions::default()).await.unwrap();
    let flooded = tokio::time::timeout(std::time::Duration::from_millis(200), rows.next(1_000)).await;
    assert!(flooded.is_err());
    drop(rows);
    let longest = lines.taken().iter().map(String::len).max().unwrap_or(0);
    assert!(longest <= 9_000, "{longest}");
}
