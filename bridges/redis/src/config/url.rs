//! Connection URLs as the clients of Redis and Valkey read them.

use percent_encoding::percent_decode_str;
use protocol::Secret;

use super::{DEFAULT_PORT, Target};
use crate::wire::{Endpoint, TlsMode};

/// What was expected of the URL. Never quotes it.
pub(super) struct UrlMistake(pub(super) String);

type Result<T> = std::result::Result<T, UrlMistake>;

const FORM: &str = "redis://user:password@host:port/db, rediss://.. or redis+unix:///path?db=0";

pub(super) fn parse(url: &str) -> Result<Target> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| expected(FORM))?;
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let mut target = match scheme {
        "redis" | "valkey" => server(rest)?,
        "rediss" | "valkeys" => {
            let mode = if fragment == "insecure" { TlsMode::Require } else { TlsMode::VerifyFull };
            Target { tls_mode: Some(mode), ..server(rest)? }
        }
        "unix" | "redis+unix" | "valkey+unix" => socket(rest)?,
        cluster if cluster.contains("cluster") => {
            return Err(expected("a single server: clusters are not supported in this version"));
        }
        sentinel if sentinel.contains("sentinel") => {
            return Err(expected("the server itself: Sentinel is not supported in this version"));
        }
        _ => return Err(expected(FORM)),
    };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| expected("parameters as name=value"))?;
        apply(&mut target, name, decoded(value)?)?;
    }
    Ok(target)
}

/// `user:password@host:port/db`
fn server(rest: &str) -> Result<Target> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    if host.contains(',') {
        return Err(expected("a single server: clusters are not supported in this version"));
    }
    let mut target = Target { endpoint: Some(host_and_port(host)?), ..Target::default() };
    if let Some(userinfo) = userinfo {
        log_in(&mut target, userinfo)?;
    }
    if !path.is_empty() {
        target.database = Some(database(path)?);
    }
    Ok(target)
}

/// `user:password@/path/of/the/socket`
fn socket(rest: &str) -> Result<Target> {
    let (userinfo, path) = match rest.split_once('/') {
        Some(("", path)) => (None, path),
        Some((userinfo, path)) => (userinfo.strip_suffix('@'), path),
        None => return Err(expected("the path of a socket, from the root")),
    };
    let path = format!("/{}", decoded(path)?);
    let mut target = Target { endpoint: Some(Endpoint::Unix { path: path.into() }), ..Target::default() };
    if let Some(userinfo) = userinfo {
        log_in(&mut target, userinfo)?;
    }
    Ok(target)
}

fn log_in(target: &mut Target, userinfo: &str) -> Result<()> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    target.user = not_empty(decoded(user)?);
    target.password = not_empty(decoded(password)?).map(Secret::from);
    Ok(())
}

fn apply(target: &mut Target, name: &str, value: String) -> Result<()> {
    match name {
        "db" => target.database = Some(database(&value)?),
        "user" | "username" => target.user = not_empty(value),
        "pass" | "password" => target.password = not_empty(value).map(Secret::from),
        // RESP2 says everything that this bridge reads.
        "protocol" => {}
        _ => return Err(expected("no other parameters than db, user and pass")),
    }
    Ok(())
}

fn database(text: &str) -> Result<u32> {
    text.parse().map_err(|_| expected("the number of a database"))
}

fn host_and_port(text: &str) -> Result<Endpoint> {
    let (host, port) = match text.strip_prefix('[') {
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
    let port = match port.filter(|port| !port.is_empty()) {
        None => DEFAULT_PORT,
        Some(text) => {
            text.parse().ok().filter(|port| *port > 0).ok_or_else(|| expected("a port from 1 to 65535"))?
        }
    };
    let host = decoded(host)?;
    if host.is_empty() {
        return Err(expected(FORM));
    }
    Ok(Endpoint::Tcp { host, port })
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
