//! Logs on stderr, and traces to a collector where one is named.
//!
//! A panic is logged with its place and never with its text. Where the log goes is a [`MakeWriter`], so that a test can
//! [capture](Capture) every byte.

mod escape;
mod export;
mod traces;

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::trace::TracerProvider as _;
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub use export::SpanExport;
pub use traces::{TraceContext, TraceSettings, current_trace, set_parent};

use crate::error::TelemetryError;
use crate::panics;
use crate::settings::{Key, Reader};

/// What the names of our own libraries begin with, as the log has them.
const OWN: [&str; 3] = ["semilayer", "sandbox", "reach"];

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    directives: String,
    /// The format.
    pub format: Format,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

impl LogSettings {
    /// Reads `SEMILAYER_LOG_LEVEL` and `SEMILAYER_LOG_FORMAT`; the arguments are the values of `--log-level` and
    /// `--log-format`.
    ///
    /// A level is `error`, `warn`, `info` or `debug`, or the directives of an `EnvFilter` such as
    /// `info,sqlx=debug`. `debug` alone is for our own crates; libraries stay at `info`. Defaults: `info`, and text on a
    /// terminal, JSON elsewhere.
    pub fn load(reader: &mut Reader<'_>, level: Option<String>, format: Option<String>) -> Self {
        let level_key = Key::env("SEMILAYER_LOG_LEVEL").file("log.level").flag("--log-level", level);
        let format_key = Key::env("SEMILAYER_LOG_FORMAT").file("log.format").flag("--log-format", format);
        let expected = "error, warn, info, debug or filter directives such as info,sqlx=debug";
        Self {
            directives: reader
                .parsed_by(level_key, expected, directives)
                .unwrap_or_else(|| Self::default().directives),
            format: reader.parsed_by(format_key, "text or json", parse_format).unwrap_or_else(default_format),
        }
    }

    fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.directives)
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { directives: "info".to_owned(), format: default_format() }
    }
}

/// Starts logging to stderr for the whole process, tracing if `traces` are wanted, and installs the panic hook.
///
/// Spans are sent once the [`SpanExport`] is spawned; it is there exactly if `traces` is.
pub fn init(log: &LogSettings, traces: Option<TraceSettings>) -> Result<Option<SpanExport>, TelemetryError> {
    init_with(log, traces, io::stderr)
}

/// The same, with the log into `writer`.
pub fn init_with<W>(
    log: &LogSettings,
    traces: Option<TraceSettings>,
    writer: W,
) -> Result<Option<SpanExport>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (subscriber, export) = subscriber(log, traces, writer);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::AlreadySet)?;
    panics::install_hook();
    Ok(export)
}

/// The subscriber that [`init`] installs, for a test that wants one of its own.
pub fn subscriber<W>(
    log: &LogSettings,
    traces: Option<TraceSettings>,
    writer: W,
) -> (impl Subscriber + Send + Sync + use<W>, Option<SpanExport>)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (layer, export) = traces.map(trace_layer).unzip();
    (Registry::default().with(layer).with(log_layer(log, writer).with_filter(log.filter())), export)
}

/// A writer that keeps what was logged. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    /// An empty capture.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that was logged so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Capture {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Spans from `info` up, whatever the log's level is.
fn trace_layer(settings: TraceSettings) -> (impl Layer<Registry> + Send + Sync, SpanExport) {
    let (provider, export) = export::provider(settings);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("semilayer"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(LevelFilter::INFO);
    (layer, export)
}

fn log_layer<S, W>(settings: &LogSettings, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match settings.format {
        Format::Text => layer.with_ansi(io::stderr().is_terminal()).fmt_fields(escape::EscapedFields).boxed(),
        Format::Json => {
            layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    }
}

fn directives(text: &str) -> Option<String> {
    match text.to_ascii_lowercase().as_str() {
        level @ ("error" | "warn" | "info") => Some(level.to_owned()),
        level @ ("debug" | "trace") => {
            let own = OWN.map(|names| format!("{names}={level}"));
            Some(format!("info,{}", own.join(",")))
        }
        _ => EnvFilter::builder().parse(text).ok().map(|_| text.to_owned()),
    }
}

fn parse_format(text: &str) -> Option<Format> {
    match text {
        "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    }
}

fn default_format() -> Format {
    if io::stderr().is_terminal() { Format::Text } else { Format::Json }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Mapping;

    fn load<const N: usize>(pairs: [(&str, &str); N]) -> Result<LogSettings, String> {
        let source: Mapping = pairs.into_iter().collect();
        let mut reader = Reader::new(&source);
        let settings = LogSettings::load(&mut reader, None, None);
        reader.finish().map(|_| settings).map_err(|mistakes| mistakes.to_string())
    }

    fn logged(settings: &LogSettings, log: impl FnOnce()) -> String {
        let capture = Capture::new();
        let (subscriber, _) = subscriber(settings, None, capture.clone());
        tracing::subscriber::with_default(subscriber, log);
        capture.text()
    }

    #[test]
    fn a_json_line_has_level_message_fields_and_span() {
        let settings = load([("SEMILAYER_LOG_FORMAT", "json")]).unwrap();
        let text = logged(&settings, || {
            tracing::info_span!("job", job = 7).in_scope(|| tracing::info!(rows = 3, "query finished"));
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "query finished");
        assert_eq!(line["rows"], 3);
        assert_eq!(line["span"]["job"], 7);
    }

    #[test]
    fn text_of_somebody_else_cannot_make_a_line_of_its_own() {
        let settings = load([("SEMILAYER_LOG_FORMAT", "text")]).unwrap();
        let hostile = "lost\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[2K\u{202e}\u{2028}";
        let text = logged(&settings, || {
            tracing::info_span!("request", id = %hostile).in_scope(|| {
                tracing::warn!(error = %hostile, reason = hostile, rows = 3, "bad frame");
                tracing::warn!("{hostile}");
            });
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains(['\r', '\u{1b}', '\u{202e}', '\u{2028}']), "{text}");
        assert!(text.contains("bad frame error=lost\\n2026") && text.contains("rows=3"), "{text}");
    }

    #[test]
    fn debug_is_for_our_own_crates() {
        let settings = load([("SEMILAYER_LOG_LEVEL", "debug")]).unwrap();
        let text = logged(&settings, || {
            tracing::debug!(target: "semilayer_runner::link", "ours");
            tracing::debug!(target: "hyper::proto", "theirs");
            tracing::info!(target: "hyper::proto", "important");
        });
        assert!(text.contains("ours") && text.contains("important") && !text.contains("theirs"), "{text}");
    }

    /// A library is called as its package unless it says otherwise, which is how one was once left out.
    #[test]
    fn debug_reaches_every_library_of_this_workspace() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = |folder: &Path| -> toml::Table {
            std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
        };
        let workspace = manifest(root);
        let members = workspace["workspace"]["members"].as_array().unwrap();
        assert!(members.len() > 20, "{members:?}");
        for member in members.iter().map(|member| member.as_str().unwrap()) {
            // What tests and examples are made of is no part of a daemon.
            if member.starts_with("tests") || member.starts_with("plugins-sdk") || member == "xtask" {
                continue;
            }
            let manifest = manifest(&root.join(member));
            let named = |section: &str| manifest.get(section)?.get("name")?.as_str();
            let name = named("lib").or_else(|| named("package")).unwrap().replace('-', "_");
            assert!(OWN.iter().any(|own| name.starts_with(own)), "{member} logs as {name}");
        }
        let settings = load([("SEMILAYER_LOG_LEVEL", "trace")]).unwrap();
        let text = logged(&settings, || tracing::trace!(target: "sandbox::server", "from behind the door"));
        assert!(text.contains("from behind the door"), "{text}");
    }

    #[test]
    fn the_default_is_info_and_filters_are_understood() {
        let quiet = load([]).unwrap();
        let text = logged(&quiet, || {
            tracing::debug!("hidden");
            tracing::info!("shown");
        });
        assert!(text.contains("shown") && !text.contains("hidden"), "{text}");

        let filtered = load([("SEMILAYER_LOG_LEVEL", "error,sqlx=debug")]).unwrap();
        let text = logged(&filtered, || {
            tracing::warn!("hidden");
            tracing::debug!(target: "sqlx::query", "shown");
        });
        assert!(text.contains("shown") && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn wrong_settings_are_mistakes() {
        let text = load([("SEMILAYER_LOG_LEVEL", "a=b=c"), ("SEMILAYER_LOG_FORMAT", "xml")]).unwrap_err();
        assert!(text.contains("SEMILAYER_LOG_LEVEL: expected error, warn, info"), "{text}");
        assert!(text.contains("SEMILAYER_LOG_FORMAT: expected text or json"), "{text}");
    }
}
