//! What of a source's settings must not leave the process.

use percent_encoding::percent_decode_str;
use protocol::{FieldKind, Manifest, Secret, SourceConfig};
use runtime::secrets::Scrubber;
use runtime::settings::parse_flag;
use serde_json::Value;

/// Fields and URL parameters that hold a password whatever the manifest says. The last part of a name counts.
const PASSWORDS: [&str; 4] = ["password", "pass", "pwd", "sslpassword"];

/// Knows every text of the settings, not only passwords: hosts, users, paths and parts of URLs stay here as well. A value
/// that is the field's published default tells nothing and may appear.
pub(crate) fn scrubber(config: &SourceConfig, manifest: &Manifest) -> Scrubber {
    let mut secrets = Vec::new();
    for (name, value) in config.expose() {
        let field = manifest.field(name);
        let default = field.and_then(|field| field.default.as_deref());
        let is_password =
            field.is_some_and(|field| field.kind == FieldKind::Password) || names_password(name);
        collect(value, default, is_password, &mut secrets);
    }
    Scrubber::new(&secrets)
}

fn collect(value: &Value, default: Option<&str>, is_password: bool, secrets: &mut Vec<Secret>) {
    match value {
        Value::String(text) if Some(text.as_str()) == default => {}
        Value::String(text) => {
            secrets.push(Secret::new(text.as_str()));
            url_parts(text, secrets);
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, None, is_password, secrets)),
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(value, None, is_password || names_password(name), secrets);
            }
        }
        // A bridge takes a number for the digits of a password.
        Value::Number(number) if is_password => secrets.push(Secret::new(number.to_string())),
        // Any other number alone tells nothing and may stand anywhere; behind a colon it is a port.
        Value::Number(number) if Some(number.to_string().as_str()) != default => {
            secrets.push(Secret::new(format!(":{number}")));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A driver takes a URL apart and names its parts in messages.
///
/// Each driver has its own idea of what a URL may be: several hosts, a `#` in a password, a socket's folder for a host.
/// So it is cut here at every place where one of them would cut, and nothing is refused.
fn url_parts(text: &str, secrets: &mut Vec<Secret>) {
    let Some((scheme, rest)) = text.split_once("://") else { return };
    if scheme.eq_ignore_ascii_case("file") {
        return;
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (identity, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = identity.split_once(':').unwrap_or((identity, ""));
    let mut add = |part: &str| {
        secrets.push(Secret::new(percent_decode_str(part).decode_utf8_lossy().into_owned()));
    };
    add(user);
    add(password);
    for host in hosts.split(',') {
        let (name, port) = name_and_port(host);
        add(name);
        // Some drivers say it in lower case.
        add(&name.to_ascii_lowercase());
        if !port.is_empty() {
            add(&format!(":{port}"));
        }
    }
    path.split(['/', '#']).filter(|part| tells_something(part)).for_each(&mut add);
    for (key, value) in query.split(['&', '#']).filter_map(|pair| pair.split_once('=')) {
        if names_password(key) || (key != "sslmode" && tells_something(value)) {
            add(value);
        }
    }
}

/// `host:port`, where the host may be an IPv6 address in brackets.
fn name_and_port(host: &str) -> (&str, &str) {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.trim_start_matches(':')),
        None => host.rsplit_once(':').unwrap_or((host, "")),
    }
}

fn names_password(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    PASSWORDS.iter().any(|password| last.eq_ignore_ascii_case(password))
}

/// Numbers and switches occur in every message and tell nothing.
fn tells_something(part: &str) -> bool {
    parse_flag(part).is_none() && !part.bytes().all(|byte| byte.is_ascii_digit())
}
