//! The published tree of spans.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use sandbox::{Extract, Request, RunId, Seed};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::set_global_default;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::support::{House, shell};

type Attributed = BTreeMap<String, BTreeMap<String, String>>;

/// The spans of each run by their path of names, with their fields. One for the whole process: a span's first use decides
/// for all threads whether it is wanted.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    runs: BTreeMap<u64, String>,
    spans: BTreeMap<String, Attributed>,
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Spans {
    fn installed() -> &'static Self {
        static SPANS: LazyLock<Spans> = LazyLock::new(|| {
            let spans = Spans::default();
            set_global_default(Registry::default().with(spans.clone())).unwrap();
            spans
        });
        &SPANS
    }

    fn of(&self, run: &RunId) -> Attributed {
        self.0.lock().unwrap().spans[run.as_str()].clone()
    }

    fn note<S>(&self, id: &Id, context: &Context<'_, S>, record: impl FnOnce(&mut Fields<'_>))
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        let path: Vec<_> =
            context.span_scope(id).unwrap().from_root().map(|span| (span.id(), span.name())).collect();
        let names = path.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" > ");
        let mut fields = BTreeMap::new();
        record(&mut Fields(&mut fields));
        let mut seen = self.0.lock().unwrap();
        let root = path[0].0.into_u64();
        if let Some(run) = fields.get("container.id").filter(|_| path.len() == 1) {
            let run = run.clone();
            seen.runs.insert(root, run);
        }
        if let Some(run) = seen.runs.get(&root).cloned() {
            seen.spans.entry(run).or_default().entry(names).or_default().append(&mut fields);
        }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.note(id, &context, |fields| attributes.record(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.note(id, &context, |fields| values.record(fields));
    }
}

#[tokio::test]
async fn a_run_has_a_span_for_each_of_its_steps() {
    let house = House::new();
    let spans = Spans::installed();
    let extract = vec![Extract { from: "f".to_owned(), to: house.folder("results") }];
    let seed = Some(Seed::Files([("f".to_owned(), "x".into())].into()));
    let execution = house.start(Request { networks: Vec::new(), seed, extract, ..shell("true") });
    execution.outcome().await.unwrap();
    let spans = spans.of(execution.id());
    let expected = [
        "docker.run",
        "docker.run > container.exec",
        "docker.run > container.extract",
        "docker.run > container.setup",
        "docker.run > container.setup > container.create",
        "docker.run > container.setup > container.create_volume",
        "docker.run > container.setup > container.network_ensure",
        "docker.run > container.setup > container.seed",
    ];
    assert_eq!(spans.keys().collect::<Vec<_>>(), expected);
    let field = |name: &str| spans["docker.run"].get(name).map(String::as_str);
    assert_eq!(field("container.image.name"), Some("\"semilayer-test/busybox\""));
    assert_eq!(field("container.image.tag"), Some("\"latest\""));
    assert_eq!((field("container.exit_code"), field("lightrunner.success")), (Some("0"), Some("true")));
    assert_eq!((field("lightrunner.extract.count"), field("otel.status_code")), (Some("1"), None));
}

#[tokio::test]
async fn a_run_that_fails_is_an_error_and_one_that_is_cancelled_is_none() {
    let house = House::new();
    let status = async |line: &str, cancel: bool| {
        let spans = Spans::installed();
        let execution = house.start(shell(line));
        if cancel {
            house.until_running(execution.id()).await;
            execution.cancel();
        }
        execution.outcome().await.unwrap();
        spans.of(execution.id())["docker.run"].get("otel.status_code").cloned()
    };
    assert_eq!(status("exit 1", false).await.as_deref(), Some("\"ERROR\""));
    assert_eq!(status("sleep 60", true).await, None);
}
