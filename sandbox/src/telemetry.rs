//! The root span of a run, with the published names of its attributes.

use tracing::Span;
use tracing::field::Empty;

use crate::create::{Network, Spec};
use crate::execution::Verdict;
use crate::reference::Reference;
use crate::state::RunId;
use crate::{Request, Seed};

/// Its parent is the caller's span.
pub(crate) fn run_span(id: &RunId, spec: &Spec, request: &Request) -> Span {
    let image = Reference::parse(&spec.image);
    tracing::info_span!(
        "docker.run",
        otel.status_code = Empty,
        container.id = %id,
        container.image = %spec.image,
        container.image.name = image.name,
        container.image.tag = image.tag.unwrap_or_default(),
        container.network = network(&spec.network),
        container.exit_code = Empty,
        container.duration_ms = Empty,
        lightrunner.detached = spec.detached,
        lightrunner.timeout_ms = spec.timeout.map_or(0, whole_milliseconds),
        lightrunner.has_setup_run = !request.run.is_empty(),
        lightrunner.run_steps = request.run.len(),
        lightrunner.has_extract = !request.extract.is_empty(),
        lightrunner.extract.count = request.extract.len(),
        lightrunner.has_input = spec.stdin,
        lightrunner.seed_dir = matches!(request.seed, Some(Seed::Dir(_))),
        lightrunner.success = Empty,
        lightrunner.cancelled = Empty,
    )
}

/// The root span of a run that another process began.
pub(crate) fn attach_span(id: &RunId) -> Span {
    tracing::info_span!(
        "docker.reattach",
        otel.status_code = Empty,
        container.id = %id,
        container.exit_code = Empty,
        container.duration_ms = Empty,
        lightrunner.success = Empty,
        lightrunner.cancelled = Empty,
    )
}

/// A run that was cancelled is neither good nor bad.
pub(crate) fn note(span: &Span, verdict: &Verdict) {
    let (success, cancelled) = match verdict {
        Ok(outcome) => {
            span.record("container.exit_code", outcome.exit_code);
            span.record("container.duration_ms", whole_milliseconds(outcome.duration));
            (outcome.success(), outcome.cancelled)
        }
        Err(_) => (false, false),
    };
    span.record("lightrunner.success", success);
    span.record("lightrunner.cancelled", cancelled);
    if !success && !cancelled {
        span.record("otel.status_code", "ERROR");
    }
}

fn network(network: &Network) -> &str {
    match network {
        Network::Isolated => "isolated",
        Network::None => "none",
        Network::Named(names) => names.first().map_or("", String::as_str),
    }
}

fn whole_milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
