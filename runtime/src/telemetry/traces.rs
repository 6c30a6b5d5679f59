//! Traces: whether and where spans go, and how a trace comes in and goes out.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use url::Url;

use crate::settings::{Key, Reader};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// What W3C says that everyone should be able to pass on. A longer one is dropped.
const TRACESTATE_LIMIT: usize = 512;

/// Where spans are sent and which: the standard `OTEL_*` variables.
#[derive(Clone)]
pub struct TraceSettings {
    pub(super) endpoint: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
    /// The longest time that a span waits for others to go with it.
    pub(super) delay: Duration,
    pub(super) sampler: Sampler,
    pub(super) resource: Resource,
}

/// A place in a trace in the form that crosses process borders (W3C Trace Context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Version, trace, span and flags.
    pub traceparent: String,
    /// What vendors add, if anything.
    pub tracestate: Option<String>,
}

impl TraceSettings {
    /// Reads the standard variables. `None`, which means no tracing at all, unless `OTEL_EXPORTER_OTLP_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set; also with `OTEL_SDK_DISABLED=true` or
    /// `OTEL_TRACES_EXPORTER=none`.
    ///
    /// Read as well: `OTEL_SERVICE_NAME` (default `service`), `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`,
    /// `OTEL_TRACES_SAMPLER_ARG`, `OTEL_BSP_SCHEDULE_DELAY` and, each with `_TRACES` too, `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `_TIMEOUT` and `_PROTOCOL`. Only the protocol `http/protobuf` is spoken: another one, which may be
    /// set for all programs of a cluster, is warned of and turns tracing off.
    pub fn load(reader: &mut Reader<'_>, service: &str, version: &str) -> Option<Self> {
        if reader.flag("OTEL_SDK_DISABLED") == Some(true) || !exports_otlp(reader) {
            return None;
        }
        let endpoint = endpoint(reader)?;
        if !speaks_protobuf(reader) {
            return None;
        }
        Some(Self {
            endpoint,
            headers: reader
                .parsed_by(otlp("HEADERS"), "name=value pairs with commas", headers)
                .unwrap_or_default(),
            timeout: milliseconds(reader, otlp("TIMEOUT")).unwrap_or(Duration::from_secs(10)),
            delay: milliseconds(reader, "OTEL_BSP_SCHEDULE_DELAY".into()).unwrap_or(Duration::from_secs(5)),
            sampler: sampler(reader),
            resource: resource(reader, service, version),
        })
    }
}

/// Shows neither headers nor the endpoint's credentials.
impl fmt::Debug for TraceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceSettings").field("host", &self.endpoint.host_str()).finish_non_exhaustive()
    }
}

/// Makes `span` a child of a span of another process. Must be called before the span is entered; does nothing without
/// tracing or if the text is not a valid context.
pub fn set_parent(span: &Span, traceparent: &str, tracestate: Option<&str>) {
    let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    if let Some(state) = tracestate.filter(|state| state.len() <= TRACESTATE_LIMIT) {
        carrier.insert(TRACESTATE.to_owned(), state.to_owned());
    }
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    if let Err(reason) = span.set_parent(parent) {
        tracing::trace!(%reason, "a span keeps its parent");
    }
}

/// Where the current span is, to be sent to another process. `None` without tracing.
pub fn current_trace() -> Option<TraceContext> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    Some(TraceContext {
        traceparent: carrier.remove(TRACEPARENT)?,
        tracestate: carrier.remove(TRACESTATE).filter(|state| !state.is_empty()),
    })
}

/// The variable for traces alone, and the one for all signals.
fn otlp(name: &str) -> Key {
    Key::env(format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_env(format!("OTEL_EXPORTER_OTLP_{name}"))
}

fn exports_otlp(reader: &mut Reader<'_>) -> bool {
    let known = |text: &str| match text {
        "otlp" => Some(true),
        "none" => Some(false),
        _ => None,
    };
    reader.parsed_by("OTEL_TRACES_EXPORTER", "otlp or none", known).unwrap_or(true)
}

fn speaks_protobuf(reader: &mut Reader<'_>) -> bool {
    let ours = reader.text(otlp("PROTOCOL")).is_none_or(|protocol| protocol == "http/protobuf");
    if !ours {
        reader.warn("OTEL_EXPORTER_OTLP_PROTOCOL", "only http/protobuf is spoken; traces are not sent");
    }
    ours
}

/// The address for traces is taken as it is; to the one for all signals the path is added.
fn endpoint(reader: &mut Reader<'_>) -> Option<Url> {
    let expected = "an http or https URL";
    if let Some(url) = reader.parsed_by("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", expected, http_url) {
        return Some(url);
    }
    let mut url = reader.parsed_by("OTEL_EXPORTER_OTLP_ENDPOINT", expected, http_url)?;
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url)
}

fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn milliseconds(reader: &mut Reader<'_>, key: Key) -> Option<Duration> {
    reader.parsed(key, "a whole number of milliseconds").map(Duration::from_millis)
}

/// Pairs like `a=1,b=2` with URL-encoded values, as headers and resource attributes are written.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
        Some((name.trim().to_owned(), value))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

fn headers(text: &str) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let header = |(name, value): (String, String)| {
        let mut value: HeaderValue = value.parse().ok()?;
        value.set_sensitive(true);
        Some((name.parse().ok()?, value))
    };
    pairs(text)?.into_iter().map(header).collect()
}

fn sampler(reader: &mut Reader<'_>) -> Sampler {
    let ratio = |text: &str| text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    let ratio: f64 =
        reader.parsed_by("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", ratio).unwrap_or(1.0);
    let named = |text: &str| match text {
        "always_on" => Some(Sampler::AlwaysOn),
        "always_off" => Some(Sampler::AlwaysOff),
        "traceidratio" => Some(Sampler::TraceIdRatioBased(ratio)),
        "parentbased_always_on" => Some(below_parent(Sampler::AlwaysOn)),
        "parentbased_always_off" => Some(below_parent(Sampler::AlwaysOff)),
        "parentbased_traceidratio" => Some(below_parent(Sampler::TraceIdRatioBased(ratio))),
        _ => None,
    };
    let expected = "always_on, always_off or traceidratio, or one of these with parentbased_ before it";
    let chosen = reader.parsed_by("OTEL_TRACES_SAMPLER", expected, named);
    chosen.unwrap_or_else(|| below_parent(Sampler::AlwaysOn))
}

fn below_parent(root: Sampler) -> Sampler {
    Sampler::ParentBased(Box::new(root))
}

fn resource(reader: &mut Reader<'_>, service: &str, version: &str) -> Resource {
    let given = reader.parsed_by("OTEL_RESOURCE_ATTRIBUTES", "name=value pairs with commas", pairs);
    let given = given.unwrap_or_default().into_iter().map(|(name, value)| KeyValue::new(name, value));
    // Of two attributes with one name the later one stays.
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.version", version.to_owned()),
        ])
        .with_attributes(given);
    match reader.text("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Mapping;

    fn load<const N: usize>(pairs: [(&str, &str); N]) -> Result<Option<TraceSettings>, String> {
        let source: Mapping = pairs.into_iter().collect();
        let mut reader = Reader::new(&source);
        let settings = TraceSettings::load(&mut reader, "semilayer-runner", "1.2.3");
        reader.finish().map(|_| settings).map_err(|mistakes| mistakes.to_string())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/");

    #[test]
    fn tracing_is_off_until_an_endpoint_is_named() {
        assert!(load([]).unwrap().is_none());
        assert!(load([ENDPOINT, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        assert!(load([ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        assert!(load([ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap().is_none());
    }

    #[test]
    fn the_common_endpoint_gets_a_path_and_the_one_for_traces_does_not() {
        let common = load([ENDPOINT]).unwrap().unwrap();
        assert_eq!(common.endpoint.as_str(), "http://collector:4318/base/v1/traces");
        let own =
            load([ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/x")]).unwrap().unwrap();
        assert_eq!(own.endpoint.as_str(), "https://other/x");
    }

    #[test]
    fn the_resource_names_the_service() {
        let name =
            |settings: TraceSettings| settings.resource.get(&"service.name".into()).unwrap().to_string();
        assert_eq!(name(load([ENDPOINT]).unwrap().unwrap()), "semilayer-runner");
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20b,zone=eu");
        assert_eq!(name(load([ENDPOINT, attributes]).unwrap().unwrap()), "a b");
        assert_eq!(name(load([ENDPOINT, attributes, ("OTEL_SERVICE_NAME", "c")]).unwrap().unwrap()), "c");
    }

    #[test]
    fn every_wrong_variable_is_a_mistake() {
        let text = load([
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://x"),
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ])
        .unwrap_err();
        let keys: Vec<_> = text.lines().map(|line| line.split_once(':').unwrap().0).collect();
        let expected = [
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_TRACES_SAMPLER_ARG",
            "OTEL_TRACES_SAMPLER",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn header_values_are_not_shown() {
        let settings = load([ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2")]).unwrap().unwrap();
        assert!(!format!("{settings:?} {:?}", settings.headers).contains("hunter2"));
    }

    #[test]
    fn without_tracing_there_is_no_context_and_a_parent_does_no_harm() {
        let span = tracing::info_span!("job");
        set_parent(&span, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None);
        assert_eq!(span.in_scope(current_trace), None);
    }
}
