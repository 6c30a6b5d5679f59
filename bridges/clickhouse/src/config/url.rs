//! Connection URLs: `http://user:password@host:8123/database`, `https://…`, `clickhouse://…`.

use percent_encoding::percent_decode_str;
use protocol::Secret;

use super::{MODES, Pem, Target, mode_of, without_brackets};

/// What was expected of the URL. Never quotes it.
pub(super) struct UrlMistake(pub(super) String);

type Result<T> = std::result::Result<T, UrlMistake>;

pub(super) fn parse(url: &str) -> Result<Target> {
    let form = "http://, https:// or clickhouse://user:password@host:port/database";
    let (scheme, rest) = url.split_once("://").ok_or_else(|| expected(form))?;
    let secure = match scheme {
        "http" => Some(false),
        "https" | "clickhouses" => Some(true),
        "clickhouse" => None,
        _ => return Err(expected(form)),
    };
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (userinfo, host),
        None => ("", authority),
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (host, port) = host_and_port(host)?;
    let mut target = Target {
        host: Some(host),
        port,
        database: not_empty(decoded(path.trim_end_matches('/'))?),
        user: not_empty(decoded(user)?),
        password: not_empty(decoded(password)?).map(Secret::from),
        secure,
        ..Target::default()
    };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| expected("parameters as name=value"))?;
        apply(&mut target, &decoded(name)?, decoded(value)?)?;
    }
    // Each has a port of its own; the one of `clickhouse` is not known before its parameters are.
    if target.port.is_none() && target.secure == Some(true) {
        target.port = Some(super::DEFAULT_TLS_PORT);
    }
    Ok(target)
}

fn apply(target: &mut Target, name: &str, value: String) -> Result<()> {
    match name {
        "database" => target.database = not_empty(value),
        "user" | "username" => target.user = not_empty(value),
        "password" => target.password = not_empty(value).map(Secret::from),
        "secure" => {
            target.secure = Some(match value.as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(expected("secure true or false")),
            });
        }
        "sslmode" => {
            let mode = mode_of(&value).ok_or_else(|| expected(&format!("sslmode {MODES}")))?;
            target.mode = Some(mode);
        }
        // Those of the system are used where no others are given.
        "sslrootcert" | "ca_cert" => target.roots = (value != "system").then(|| Pem::of(&value)),
        "sslcert" | "client_cert" => target.certificate = Some(Pem::of(&value)),
        "sslkey" | "client_cert_key" => target.key = Some(Pem::of(&value)),
        _ => {
            return Err(expected(
                "no parameters but database, user, password, secure, sslmode, sslrootcert, sslcert and sslkey",
            ));
        }
    }
    Ok(())
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host = without_brackets(&decoded(host)?);
    if host.is_empty() {
        return Err(expected("a host"));
    }
    let port = port.filter(|port| !port.is_empty());
    let port = port.map(|port| port.parse().ok().filter(|port| *port > 0));
    match port {
        Some(None) => Err(expected("a port from 1 to 65535")),
        port => Ok((host, port.flatten())),
    }
}

/// Percent-decodes; a `%` that begins no escape is a mistake, because the password would silently be another one.
fn decoded(text: &str) -> Result<String> {
    let is_escape =
        |escape: &str| escape.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_escape) {
        return Err(expected("%25 for every % that begins no escape"));
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| expected("UTF-8 in its escapes"))?;
    Ok(decoded.into_owned())
}

fn not_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn expected(what: &str) -> UrlMistake {
    UrlMistake(what.to_owned())
}
