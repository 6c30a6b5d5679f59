//! Connection URLs: `mysql://user:password@host:port/database?parameters`, with the parameters of several clients.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use protocol::Secret;

use super::{DEFAULT_PORT, TLS_MODES, Target, endpoint, tls_mode, unix};
use crate::wire::{Pem, TlsMode};

const SCHEMES: [&str; 2] = ["mysql://", "mariadb://"];

/// Parameters of other clients that change nothing here.
const IGNORED: [&str; 14] = [
    "charset",
    "collation",
    "timezone",
    "schema",
    "pool_timeout",
    "connection_limit",
    "connectionlimit",
    "supportbignumbers",
    "bignumberstrings",
    "datestrings",
    "multiplestatements",
    "allowpublickeyretrieval",
    "socket_timeout",
    "statement_cache_size",
];

/// What was expected of the URL. Never quotes it.
pub(super) struct UrlMistake(pub(super) String);

type Result<T> = std::result::Result<T, UrlMistake>;

pub(super) fn parse(url: &str) -> Result<Target> {
    let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| expected("mysql://user:password@host:port/database"))?;
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let mut target = Target::default();
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        target.user = not_empty(decoded(user)?);
        target.password = not_empty(decoded(password)?).map(Secret::from);
    }
    target.database = not_empty(decoded(path)?);
    if !host.is_empty() {
        let (host, port) = host_and_port(host)?;
        target.endpoint = Some(endpoint(&host, port));
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| expected("parameters as name=value"))?;
        apply(&mut target, &decoded(name)?, decoded(value)?)?;
    }
    Ok(target)
}

fn apply(target: &mut Target, name: &str, value: String) -> Result<()> {
    match name.to_ascii_lowercase().as_str() {
        "ssl-mode" | "sslmode" | "ssl_mode" => {
            let mode = tls_mode(&value).ok_or_else(|| expected(&format!("ssl-mode {TLS_MODES}")))?;
            target.tls_mode = Some(mode);
        }
        "ssl" | "usessl" | "tls" => target.tls_mode = Some(switched(&value)?),
        "sslaccept" => {
            target.tls_mode = Some(match value.as_str() {
                "strict" => TlsMode::VerifyIdentity,
                "accept_invalid_certs" => TlsMode::Required,
                _ => return Err(expected("sslaccept strict or accept_invalid_certs")),
            });
        }
        "ssl-ca" | "sslca" | "ssl_ca" | "sslrootcert" => target.roots = Some(Pem::of(&value)),
        "ssl-cert" | "sslcert" | "ssl_cert" => target.certificate = Some(Pem::of(&value)),
        "ssl-key" | "sslkey" | "ssl_key" => target.key = Some(Pem::of(&value)),
        "socket" | "socketpath" => target.endpoint = Some(unix(value)),
        "connecttimeout" => {
            let limit: u32 = value.parse().map_err(|_| expected("connectTimeout in milliseconds"))?;
            target.connect_timeout = (limit > 0).then(|| Duration::from_millis(u64::from(limit)));
        }
        "connect_timeout" => {
            let limit: u32 = value.parse().map_err(|_| expected("connect_timeout in seconds"))?;
            target.connect_timeout = (limit > 0).then(|| Duration::from_secs(u64::from(limit)));
        }
        ignored if IGNORED.contains(&ignored) => {}
        _ => return Err(expected("parameters that MySQL's clients know")),
    }
    Ok(())
}

/// A switch, or the object that clients for Node take.
fn switched(value: &str) -> Result<TlsMode> {
    let mistake = || expected("ssl true, false or {\"rejectUnauthorized\":true}");
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(TlsMode::VerifyIdentity),
        "false" | "0" | "no" => Ok(TlsMode::Preferred),
        _ => {
            let object: serde_json::Value = serde_json::from_str(value).map_err(|_| mistake())?;
            let object = object.as_object().ok_or_else(mistake)?;
            let trusting =
                object.get("rejectUnauthorized").and_then(serde_json::Value::as_bool) == Some(false);
            Ok(if trusting { TlsMode::Required } else { TlsMode::VerifyIdentity })
        }
    }
}

fn host_and_port(text: &str) -> Result<(String, u16)> {
    let (host, port_text) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) =
                rest.split_once(']').ok_or_else(|| expected("an IPv6 address in brackets"))?;
            (address, after.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port_text.filter(|port| !port.is_empty()).map(port).transpose()?;
    Ok((decoded(host)?, port.unwrap_or(DEFAULT_PORT)))
}

fn port(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| expected("a port from 1 to 65535"))
}

/// Percent-decodes; a `%` that begins no escape is a mistake, because the password would silently be another one.
fn decoded(text: &str) -> Result<String> {
    let escapes = text.split('%').skip(1);
    let is_escape =
        |escape: &str| escape.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if !escapes.into_iter().all(is_escape) {
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
