//! What of a source's settings must not leave the process.

use percent_encoding::percent_decode_str;
use protocol::{Manifest, Secret, SourceConfig};
use runtime::secrets::Scrubber;
use runtime::settings::parse_flag;
use serde_json::Value;
use url::Url;

/// Knows every text of the settings, not only passwords: hosts, users, paths and parts of URLs stay here as well. A value
/// that is the field's published default tells nothing and may appear.
pub(crate) fn scrubber(config: &SourceConfig, manifest: &Manifest) -> Scrubber {
    let mut secrets = Vec::new();
    for (field, value) in config.expose() {
        let default = manifest.field(field).and_then(|field| field.default.as_deref());
        collect(value, default, &mut secrets);
    }
    Scrubber::new(&secrets)
}

fn collect(value: &Value, default: Option<&str>, secrets: &mut Vec<Secret>) {
    match value {
        Value::String(text) if Some(text.as_str()) == default => {}
        Value::String(text) => {
            secrets.push(Secret::new(text.as_str()));
            url_parts(text, secrets);
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, None, secrets)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, None, secrets)),
        // A number alone tells nothing and may stand anywhere; behind a colon it is a port.
        Value::Number(number) if Some(number.to_string().as_str()) != default => {
            secrets.push(Secret::new(format!(":{number}")));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A driver takes a URL apart and names its parts in messages.
fn url_parts(text: &str, secrets: &mut Vec<Secret>) {
    let Ok(url) = Url::parse(text) else { return };
    if !url.has_host() {
        return;
    }
    let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    secrets.push(Secret::new(decoded(url.username())));
    secrets.extend(url.password().map(|password| Secret::new(decoded(password))));
    secrets.extend(url.host_str().map(Secret::new));
    secrets.extend(url.port().map(|port| Secret::new(format!(":{port}"))));
    let segments = url.path_segments().into_iter().flatten().map(decoded);
    let values = url.query_pairs().filter(|(key, _)| key != "sslmode").map(|(_, value)| value.into_owned());
    secrets.extend(segments.chain(values).filter(|part| tells_something(part)).map(Secret::new));
}

/// Numbers and switches occur in every message and tell nothing.
fn tells_something(part: &str) -> bool {
    parse_flag(part).is_none() && !part.bytes().all(|byte| byte.is_ascii_digit())
}
