//! A source's settings: a URL or fields; every mistake at once, none with a value in it.

mod url;

use std::time::Duration;

use bridge_core::{ConfigFields, ConfigMistakes};
use protocol::{Secret, SourceConfig};

use crate::wire::{ClientIdentity, ConnectOptions, Endpoint, Pem, Roots, TlsMode, TlsOptions};

pub(crate) const DEFAULT_PORT: u16 = 6379;
const DEFAULT_POOL: usize = 3;
const MAX_POOL: i64 = 1_000;
const DEFAULT_CONNECT_TIMEOUT_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;
/// Redis has 16 databases unless it is told otherwise; nobody tells it this many.
const MAX_DATABASE: i64 = 1_000_000;

/// Everything that a source needs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) connect: ConnectOptions,
    pub(crate) pool_max: usize,
}

/// Where and as whom, collected from a URL or from fields.
#[derive(Debug, Default)]
struct Target {
    endpoint: Option<Endpoint>,
    user: Option<String>,
    password: Option<Secret>,
    database: Option<u32>,
    tls_mode: Option<TlsMode>,
}

impl Settings {
    /// Reads a configuration. A URL wins whole over fields that say the same things.
    pub(crate) fn read(config: &SourceConfig) -> Result<Self, ConfigMistakes> {
        let mut fields = ConfigFields::new(config);
        let target = match fields.secret(&["url", "connectionString"]) {
            Some(url) => url::parse(url.expose()).unwrap_or_else(|mistake| {
                fields.mistake("url", mistake.0);
                Target::default()
            }),
            None => from_fields(&mut fields),
        };
        if target.user.is_some() && target.password.is_none() {
            fields.mistake("password", "the password of the user");
        }
        let tls = tls(&mut fields, &target);
        let connect_timeout = connect_timeout(&mut fields);
        let pool_max = fields.integer(&["pool.max", "poolMax"], 1..=MAX_POOL);
        let _least = fields.integer(&["pool.min", "poolMin"], 0..=MAX_POOL);
        let nowhere = Endpoint::Tcp { host: "localhost".to_owned(), port: DEFAULT_PORT };
        let settings = Self {
            connect: ConnectOptions {
                endpoint: target.endpoint.unwrap_or(nowhere),
                user: target.user,
                password: target.password,
                database: target.database.unwrap_or(0),
                tls,
                connect_timeout,
            },
            pool_max: pool_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(DEFAULT_POOL),
        };
        fields.finish(settings)
    }
}

fn from_fields(fields: &mut ConfigFields<'_>) -> Target {
    let host = fields.text(&["host"]);
    if host.is_none() {
        fields.mistake("host", "a value (RedisBridge requires either \"url\" or \"host\" config)");
    }
    let port = fields.integer(&["port"], 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let database = fields.integer(&["db", "database"], 0..=MAX_DATABASE);
    Target {
        endpoint: host.map(|host| endpoint(&host, port.unwrap_or(DEFAULT_PORT))),
        user: fields.text(&["username", "user"]),
        password: fields.secret(&["password", "pass"]),
        database: database.and_then(|database| u32::try_from(database).ok()),
        tls_mode: None,
    }
}

/// A host, or the path of a unix socket.
fn endpoint(host: &str, port: u16) -> Endpoint {
    if host.starts_with('/') {
        return Endpoint::Unix { path: host.into() };
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Endpoint::Tcp { host: host.to_owned(), port }
}

const TLS_MODES: &str = "disable, require, verify-ca or verify-full";

fn tls_mode(name: &str) -> Option<TlsMode> {
    Some(match name {
        "disable" | "off" => TlsMode::Disable,
        "require" | "required" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        _ => return None,
    })
}

/// Whether there is TLS is said by the URL's scheme, by the mode or by the switch, in this order; how much is verified, by
/// the mode before the scheme: `rediss://` alone means a verified server.
fn tls(fields: &mut ConfigFields<'_>, target: &Target) -> TlsOptions {
    let named = fields.text(&["tlsMode", "sslmode"]).map(|name| {
        let mode = tls_mode(&name);
        if mode.is_none() {
            fields.mistake("tlsMode", TLS_MODES);
        }
        mode
    });
    let switch =
        fields.flag(&["tls", "ssl"]).map(|on| if on { TlsMode::VerifyFull } else { TlsMode::Disable });
    let mode = named.flatten().or(target.tls_mode).or(switch).unwrap_or_default();
    let contradiction =
        target.tls_mode.is_some_and(|scheme| scheme != TlsMode::Disable) && mode == TlsMode::Disable;
    if contradiction {
        fields.mistake("tlsMode", "a mode with TLS, as the URL's scheme says");
    }
    let roots = fields.text(&["tlsCa", "sslrootcert", "caFile", "ca"]).map(|pem| Pem::of(&pem));
    let certificate = fields.text(&["tlsCert", "sslcert", "cert"]).map(|pem| Pem::of(&pem));
    let key = fields.secret(&["tlsKey", "sslkey", "key"]).map(|pem| Pem::of(pem.expose()));
    if certificate.is_some() != key.is_some() {
        let missing = if key.is_none() { "tlsKey" } else { "tlsCert" };
        fields.mistake(missing, "a PEM file or its text: a client certificate and its key go together");
    }
    let identity = certificate.zip(key).map(|(certificate, key)| ClientIdentity { certificate, key });
    TlsOptions { mode, roots: roots.map(Roots::Given).unwrap_or_default(), identity }
}

/// 0 leaves the time to the job's deadline.
fn connect_timeout(fields: &mut ConfigFields<'_>) -> Option<Duration> {
    let limit =
        fields.integer(&["connectionTimeoutMillis"], 0..=DAY_MS).unwrap_or(DEFAULT_CONNECT_TIMEOUT_MS);
    u64::try_from(limit).ok().filter(|limit| *limit > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        Settings::read(&serde_json::from_str(json).unwrap()).map_err(|mistakes| mistakes.to_string())
    }

    fn url(url: &str) -> Result<ConnectOptions, String> {
        read(&format!(r#"{{"url":"{url}"}}"#)).map(|settings| settings.connect)
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn fields_and_their_aliases_are_read_in_any_spelling() {
        let settings =
            read(r#"{"host":"db","port":"6380","db":"4","user":"me","pass":123456,"pool":{"max":"7"}}"#)
                .unwrap();
        assert_eq!(settings.connect.endpoint, tcp("db", 6_380));
        assert_eq!((settings.connect.database, settings.connect.user.as_deref()), (4, Some("me")));
        assert_eq!(settings.connect.password.unwrap().expose(), "123456");
        assert_eq!(settings.pool_max, 7);
        let settings = read(r#"{"host":"/run/redis.sock"}"#).unwrap();
        assert_eq!(settings.connect.endpoint, Endpoint::Unix { path: "/run/redis.sock".into() });
    }

    #[test]
    fn urls_of_every_form_are_read() {
        let options = url("redis://u%40x:p%2F%21w@h1:1/3").unwrap();
        assert_eq!((options.endpoint, options.database), (tcp("h1", 1), 3));
        assert_eq!(options.user.as_deref(), Some("u@x"));
        assert_eq!(options.password.unwrap().expose(), "p/!w");
        let options = url("rediss://:pw@[::1]").unwrap();
        assert_eq!((options.endpoint, options.tls.mode), (tcp("::1", 6_379), TlsMode::VerifyFull));
        assert_eq!((options.user, options.password.unwrap().expose()), (None, "pw"));
        let options = url("rediss://h/#insecure").unwrap();
        assert_eq!(options.tls.mode, TlsMode::Require);
        let options = url("redis+unix:///run/r%20x.sock?db=2&user=u&pass=p%26").unwrap();
        assert_eq!(options.endpoint, Endpoint::Unix { path: "/run/r x.sock".into() });
        assert_eq!((options.database, options.password.unwrap().expose()), (2, "p&"));
        assert_eq!(url("valkey://h").unwrap().endpoint, tcp("h", 6_379));
        assert_eq!(url("valkeys://h?db=5").unwrap().database, 5);
    }

    #[test]
    fn clusters_and_sentinels_are_refused_in_words() {
        for scheme in ["redis+cluster", "redis-cluster", "rediss+cluster"] {
            let mistake = url(&format!("{scheme}://h:1")).unwrap_err();
            assert!(mistake.contains("a single server: clusters are not supported"), "{mistake}");
        }
        let mistake = url("redis+sentinel://h:1/mymaster").unwrap_err();
        assert!(mistake.contains("Sentinel"), "{mistake}");
        let mistake = url("redis://h1:1,h2:2").unwrap_err();
        assert!(mistake.contains("a single server"), "{mistake}");
    }

    #[test]
    fn tls_is_verified_unless_somebody_says_otherwise() {
        let mode = |json: &str| read(json).unwrap().connect.tls.mode;
        assert_eq!(mode(r#"{"host":"h"}"#), TlsMode::Disable);
        assert_eq!(mode(r#"{"host":"h","tls":"true"}"#), TlsMode::VerifyFull);
        assert_eq!(mode(r#"{"host":"h","tls":true,"tlsMode":"verify-ca"}"#), TlsMode::VerifyCa);
        assert_eq!(mode(r#"{"url":"rediss://h","tlsMode":"require"}"#), TlsMode::Require);
        let mistake = read(r#"{"url":"rediss://h","tlsMode":"disable"}"#).unwrap_err();
        assert!(mistake.starts_with("tlsMode: "), "{mistake}");
    }

    #[test]
    fn every_mistake_is_reported_by_name_and_without_a_value() {
        let mistakes = read(
            r#"{"port":"hunter2","db":-1,"username":"u","tlsMode":"hunter2","tlsCert":"c.pem","pool":{"max":0}}"#,
        )
        .unwrap_err();
        for field in ["host: ", "port: ", "db: ", "password: ", "tlsMode: ", "tlsKey: ", "pool.max: "] {
            assert!(mistakes.contains(field), "{field} {mistakes}");
        }
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
        assert!(mistakes.contains("RedisBridge requires either \"url\" or \"host\" config"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_it() {
        for text in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "redis://u:hunter2@h:99999",
            "redis://u:hunter2@h/notanumber",
            "redis://h?nope=hunter2",
            "redis://u:hunter%zz@h",
            "redis://",
        ] {
            let mistakes = url(text).unwrap_err();
            assert!(mistakes.starts_with("url: expected "), "{mistakes}");
            assert!(!mistakes.contains("hunter"), "{mistakes}");
        }
    }
}
