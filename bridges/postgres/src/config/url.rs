//! Connection URLs (PostgreSQL manual, "Connection URIs"): several hosts, percent-encoding, parameters.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use protocol::Secret;

use super::{Rules, TLS_MODES, Target, endpoint, roots, tls_mode};
use crate::wire::{ChannelBinding, Pem, TlsNegotiation};

/// Parameters of other clients that change nothing here.
const IGNORED: [&str; 11] = [
    "schema",
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "uselibpqcompat",
    "target_session_attrs",
    "gssencmode",
    "fallback_application_name",
    "client_encoding",
    "keepalives",
    "keepalives_idle",
];

/// Settings that `options` may have: they change how a statement runs and not what it may do.
const SETTINGS: [&str; 8] = [
    "geqo",
    "hash_mem_multiplier",
    "jit",
    "lock_timeout",
    "max_parallel_workers_per_gather",
    "role",
    "search_path",
    "work_mem",
];

/// What was expected of the URL. Never quotes it.
pub(super) struct UrlMistake(pub(super) String);

type Result<T> = std::result::Result<T, UrlMistake>;

pub(super) fn parse(rules: &Rules, url: &str) -> Result<Target> {
    let begins_with = |scheme: &&str| url.starts_with(*scheme);
    if let Some((schemes, instead)) = rules.refused_url
        && schemes.iter().any(begins_with)
    {
        return Err(expected(instead));
    }
    let rest = rules.schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| expected(rules.example))?;
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (Some(userinfo), hosts),
        None => (None, authority),
    };
    let mut target = Target::default();
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        target.user = not_empty(decoded(user)?);
        target.password = not_empty(decoded(password)?).map(Secret::from);
    }
    target.database = not_empty(decoded(path)?);
    let mut places = Places::default();
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (host, port) = host_and_port(host)?;
        places.hosts.push(host);
        places.ports.push(port);
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| expected("parameters as name=value"))?;
        apply(rules, &mut target, &mut places, &decoded(name)?, decoded(value)?)?;
    }
    target.endpoints = places.endpoints(rules.port)?;
    Ok(target)
}

/// Hosts and ports as they come, from the authority or from parameters.
#[derive(Default)]
struct Places {
    hosts: Vec<String>,
    ports: Vec<Option<u16>>,
}

impl Places {
    fn endpoints(self, default_port: u16) -> Result<Vec<crate::wire::Endpoint>> {
        let only = match self.ports.as_slice() {
            [port] => *port,
            _ => None,
        };
        if self.ports.len() > 1 && self.ports.len() != self.hosts.len() {
            return Err(expected("as many ports as hosts"));
        }
        let port = |index: usize| self.ports.get(index).copied().flatten().or(only).unwrap_or(default_port);
        Ok(self.hosts.iter().enumerate().map(|(index, host)| endpoint(host, port(index))).collect())
    }
}

fn apply(rules: &Rules, target: &mut Target, places: &mut Places, name: &str, value: String) -> Result<()> {
    match name {
        "host" | "hostaddr" => places.hosts = value.split(',').map(str::to_owned).collect(),
        "port" => places.ports = value.split(',').map(port).collect::<Result<_>>()?,
        "user" => target.user = not_empty(value),
        "password" => target.password = not_empty(value).map(Secret::from),
        "dbname" => target.database = not_empty(value),
        "sslmode" => {
            let mode = tls_mode(&value).ok_or_else(|| expected(&format!("sslmode {TLS_MODES}")))?;
            target.tls_mode = Some(mode);
        }
        "sslrootcert" => target.roots = Some(roots(&value)),
        "sslcert" => target.certificate = Some(Pem::of(&value)),
        "sslkey" => target.key = Some(Pem::of(&value)),
        "sslnegotiation" => {
            target.negotiation = Some(match value.as_str() {
                "postgres" => TlsNegotiation::Postgres,
                "direct" => TlsNegotiation::Direct,
                _ => return Err(expected("sslnegotiation postgres or direct")),
            });
        }
        "channel_binding" => {
            target.channel_binding = Some(match value.as_str() {
                "disable" => ChannelBinding::Disable,
                "prefer" => ChannelBinding::Prefer,
                "require" => ChannelBinding::Require,
                _ => return Err(expected("channel_binding disable, prefer or require")),
            });
        }
        "connect_timeout" => {
            let seconds: u32 = value.parse().map_err(|_| expected("connect_timeout in seconds"))?;
            target.connect_timeout = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
        }
        "application_name" => target.application_name = not_empty(value),
        "options" if is_route(rules, &value) => target.route = Some(value),
        "options" => target.settings = settings(&value)?,
        ignored if IGNORED.contains(&ignored) => {}
        _ => return Err(expected("parameters that libpq knows")),
    }
    Ok(())
}

/// Whether `options` are for a proxy and not for a server: one word of letters, digits and hyphens behind a known name.
fn is_route(rules: &Rules, options: &str) -> bool {
    let plain = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    rules.routes.iter().any(|route| options.strip_prefix(route).is_some_and(plain))
}

/// `-c name=value` or `--name=value`, as often as there is something to say (PostgreSQL manual, "postgres").
fn settings(options: &str) -> Result<Vec<(String, String)>> {
    let mistake = || expected(&format!("options as -c name=value, with the names {}", SETTINGS.join(", ")));
    let mut words = split_words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().ok_or_else(mistake)?,
            Some(setting) => setting.to_owned(),
            None => return Err(mistake()),
        };
        let (name, value) = setting.split_once('=').ok_or_else(mistake)?;
        let name = name.to_ascii_lowercase().replace('-', "_");
        if !SETTINGS.contains(&name.as_str()) {
            return Err(mistake());
        }
        settings.push((name, value.to_owned()));
    }
    Ok(settings)
}

/// At spaces that no backslash stands before.
fn split_words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (' ', _) => words.push(String::new()),
            (character, Some(word)) => word.push(character),
            (_, None) => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>)> {
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
    Ok((decoded(host)?, port_text.filter(|port| !port.is_empty()).map(port).transpose()?.flatten()))
}

fn port(text: &str) -> Result<Option<u16>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().ok().filter(|port| *port > 0).map(Some).ok_or_else(|| expected("a port from 1 to 65535"))
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
