//! Which form of an answer a caller prefers (RFC 9110, section 12.5.1): one JSON object or a stream of lines.

use axum::http::{HeaderMap, header};

/// The media type of a stream of lines.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// The media type of a stream of events.
pub(crate) const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

/// Whether a stream of lines is asked for by name, and nothing suits the caller better. Without a wish, or with wishes
/// that neither form meets, the answer is JSON.
pub(crate) fn wants_lines(headers: &HeaderMap) -> bool {
    prefers(headers, NDJSON)
}

/// The same for a stream of events.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    prefers(headers, EVENTS)
}

fn prefers(headers: &HeaderMap, kind: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range<'_>> =
        accepted.flat_map(|value| value.split(',')).filter_map(Range::parse).collect();
    let Some(lines) = ranges.iter().position(|range| range.kind.eq_ignore_ascii_case(kind)) else {
        return false;
    };
    let lines_quality = ranges.get(lines).map_or(0, |range| range.quality);
    // A wildcard is for what is not named; between two names of equal quality the first one counts.
    let better = match ranges.iter().position(|range| range.kind.eq_ignore_ascii_case(JSON)) {
        Some(json) => {
            let quality = ranges.get(json).map_or(0, |range| range.quality);
            quality > lines_quality || (quality == lines_quality && json < lines)
        }
        None => ranges.iter().any(|range| range.is_wildcard() && range.quality > lines_quality),
    };
    lines_quality > 0 && !better
}

struct Range<'a> {
    kind: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| quality(value.trim()))
        });
        Some(Self { kind, quality: quality.unwrap_or(1_000) })
    }

    fn is_wildcard(&self) -> bool {
        matches!(self.kind, "*/*" | "application/*")
    }
}

/// `0.25` as 250. A weight that is not well-formed counts as full, as if it were not there.
fn quality(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit()) && fraction.len() <= 3;
    match (whole, digits) {
        ("0", true) => format!("{fraction:0<3}").parse().unwrap_or(1_000),
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(accept: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        wants_lines(&headers)
    }

    #[test]
    fn lines_are_sent_to_who_names_them_and_prefers_nothing_else() {
        for wanted in [
            "application/x-ndjson",
            "Application/X-NDJSON; charset=utf-8",
            "application/x-ndjson, */*",
            "*/*, application/x-ndjson",
            "application/x-ndjson, application/json",
            "application/json;q=0.5, application/x-ndjson;q=0.75",
            "text/html;q=1, application/x-ndjson;q=0.001",
        ] {
            assert!(lines(&[wanted]), "{wanted}");
        }
        assert!(lines(&["text/plain", "application/x-ndjson"]));
    }

    #[test]
    fn events_are_sent_to_who_names_them() {
        let events = |accept: &'static str| {
            wants_events(&HeaderMap::from_iter([(header::ACCEPT, header::HeaderValue::from_static(accept))]))
        };
        assert!(events("text/event-stream") && events("text/event-stream, */*;q=0.1"));
        assert!(
            !events("application/x-ndjson")
                && !events("*/*")
                && !events("application/json, text/event-stream;q=0.5")
        );
    }

    #[test]
    fn everyone_else_gets_json() {
        for other in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "text/html",
            "application/x-ndjson;q=0",
            "application/x-ndjson;q=0.000",
            "application/json, application/x-ndjson",
            "application/x-ndjson;q=0.2, application/json",
            "application/x-ndjson;q=0.2, */*;q=0.3",
            "application/x-ndjson-ish",
            ";;;,,,q=1",
        ] {
            assert!(!lines(&[other]), "{other}");
        }
        assert!(!lines(&[]));
    }
}
