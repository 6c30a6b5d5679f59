//! A source's settings: a URL, or fields; every mistake at once, none with a value in it.

mod url;

use std::path::PathBuf;
use std::time::Duration;

use bridge_core::{ConfigFields, ConfigMistakes};
use protocol::{Secret, SourceConfig};

use crate::flavor::Flavor;
use crate::wire::{ClientIdentity, ConnectOptions, Endpoint, Pem, Roots, TlsMode};

const DEFAULT_PORT: u16 = 3306;
const DEFAULT_POOL: usize = 3;
const MAX_POOL: i64 = 1_000;
const DEFAULT_CONNECT_TIMEOUT_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;
/// The name that a server knows for certain.
const DEFAULT_USER: &str = "root";
const TLS_MODES: &str = "disabled, preferred, required, verify_ca or verify_identity";

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
    database: Option<String>,
    tls_mode: Option<TlsMode>,
    roots: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
    connect_timeout: Option<Duration>,
}

impl Settings {
    /// Reads a configuration. A URL wins whole over fields that say the same things.
    pub(crate) fn read(flavor: &Flavor, config: &SourceConfig) -> Result<Self, ConfigMistakes> {
        let mut fields = ConfigFields::new(config);
        let mut target = match fields.secret(&["url", "connectionString"]) {
            Some(url) => match url::parse(url.expose()) {
                Ok(target) => target,
                Err(mistake) => {
                    fields.mistake("url", mistake.0);
                    Target::default()
                }
            },
            None if flavor.is_hosted => from_hosted_fields(&mut fields, flavor),
            None => from_fields(&mut fields, flavor),
        };
        tls_fields(&mut fields, &mut target);
        if flavor.is_hosted {
            target.tls_mode = Some(TlsMode::VerifyIdentity);
        }
        let connect_timeout = connect_timeout(&mut fields);
        let pool_max = fields.integer(&["pool.max", "poolMax", "connectionLimit"], 1..=MAX_POOL);
        let _least = fields.integer(&["pool.min", "poolMin"], 0..=MAX_POOL);
        // Geohash cells need no switch here; configurations of the published bridges have one.
        let _geohash = fields.flag(&["enableGeohash"]);
        let settings = Self {
            connect: target.into_options(flavor, connect_timeout),
            pool_max: pool_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(DEFAULT_POOL),
        };
        fields.finish(settings)
    }
}

impl Target {
    fn into_options(self, flavor: &Flavor, connect_timeout: Option<Duration>) -> ConnectOptions {
        let local = || Endpoint::Tcp { host: "localhost".to_owned(), port: DEFAULT_PORT };
        let user = self.user.unwrap_or_else(|| DEFAULT_USER.to_owned());
        let mut options = ConnectOptions::new(self.endpoint.unwrap_or_else(local), user);
        options.password = self.password;
        options.database = self.database;
        options.tls.mode = self.tls_mode.unwrap_or_default();
        options.tls.roots = self.roots.map(Roots::Given).unwrap_or_default();
        options.tls.identity =
            self.certificate.zip(self.key).map(|(certificate, key)| ClientIdentity { certificate, key });
        options.connect_timeout = self.connect_timeout.or(connect_timeout);
        options.session = flavor.session;
        options.wishes = flavor.wishes;
        options.time_limit = flavor.time_limit;
        options
    }
}

/// At least one of the fields that say where.
fn from_fields(fields: &mut ConfigFields<'_>, flavor: &Flavor) -> Target {
    let host = fields.text(&["host"]);
    let socket = fields.text(&["socketPath", "socket"]);
    let port = port(fields);
    let database = fields.text(&["database", "db"]);
    if host.is_none() && database.is_none() && socket.is_none() {
        let class = flavor.class;
        fields.mistake(
            "host",
            format!("a value ({class} requires either a \"url\" or (\"host\" + \"database\") config)"),
        );
    }
    Target {
        endpoint: socket.map(unix).or_else(|| host.map(|host| endpoint(&host, port))),
        database,
        ..account(fields)
    }
}

/// All of the fields that say where and who; the database is the password's.
fn from_hosted_fields(fields: &mut ConfigFields<'_>, flavor: &Flavor) -> Target {
    let host = fields.text(&["host"]);
    let port = port(fields);
    let account = account(fields);
    let missing = [
        ("host", host.is_none()),
        ("username", account.user.is_none()),
        ("password", account.password.is_none()),
    ];
    for (field, _) in missing.into_iter().filter(|(_, missing)| *missing) {
        let class = flavor.class;
        fields.mistake(
            field,
            format!(
                "a value ({class} requires either a \"url\" or \"host\"+\"username\"+\"password\" config)"
            ),
        );
    }
    Target {
        endpoint: host.map(|host| endpoint(&host, port)),
        database: fields.text(&["database", "db"]),
        ..account
    }
}

fn account(fields: &mut ConfigFields<'_>) -> Target {
    Target {
        user: fields.text(&["user", "username"]),
        password: fields.secret(&["password", "pass"]),
        ..Target::default()
    }
}

fn port(fields: &mut ConfigFields<'_>) -> u16 {
    let port = fields.integer(&["port"], 1..=65_535);
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT)
}

/// A host, or the path of a Unix socket.
fn endpoint(host: &str, port: u16) -> Endpoint {
    if host.starts_with('/') {
        return unix(host.to_owned());
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Endpoint::Tcp { host: host.to_owned(), port }
}

fn unix(path: String) -> Endpoint {
    Endpoint::Unix { path: PathBuf::from(path) }
}

/// Fields about TLS; they count where the URL does not say.
fn tls_fields(fields: &mut ConfigFields<'_>, target: &mut Target) {
    let named = fields.text(&["sslmode", "sslMode", "ssl-mode"]).map(|name| {
        let mode = tls_mode(&name);
        if mode.is_none() {
            fields.mistake("sslmode", TLS_MODES);
        }
        mode
    });
    // The switch of forms: on means what people expect of it, a verified server. Off is what it was with the published
    // bridge, which did not look at it, and what the engine's own clients do.
    let switch =
        fields.flag(&["ssl"]).map(|on| if on { TlsMode::VerifyIdentity } else { TlsMode::Preferred });
    target.tls_mode = target.tls_mode.or(named.flatten()).or(switch);
    let mut pem = |names: &[&str]| fields.secret(names).map(|pem| Pem::of(pem.expose()));
    target.roots = target.roots.take().or_else(|| pem(&["sslrootcert", "sslca", "ssl-ca"]));
    target.certificate = target.certificate.take().or_else(|| pem(&["sslcert", "ssl-cert"]));
    target.key = target.key.take().or_else(|| pem(&["sslkey", "ssl-key"]));
    if target.certificate.is_some() != target.key.is_some() {
        let missing = if target.key.is_none() { "sslkey" } else { "sslcert" };
        fields.mistake(missing, "a PEM file or its text: a client certificate and its key go together");
    }
    if target.tls_mode == Some(TlsMode::VerifyCa) && target.roots.is_none() {
        fields.mistake("sslrootcert", "a PEM file or its text: verify_ca needs a root certificate");
    }
}

/// As MySQL's clients name them, in any case, and as PostgreSQL's do.
fn tls_mode(name: &str) -> Option<TlsMode> {
    Some(match name.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" | "disable" => TlsMode::Disabled,
        "preferred" | "prefer" => TlsMode::Preferred,
        "required" | "require" => TlsMode::Required,
        "verify_ca" => TlsMode::VerifyCa,
        "verify_identity" | "verify_full" => TlsMode::VerifyIdentity,
        _ => return None,
    })
}

/// 0 leaves the time to the job's deadline.
fn connect_timeout(fields: &mut ConfigFields<'_>) -> Option<Duration> {
    let limit = fields
        .integer(&["connectionTimeoutMillis", "connectTimeout"], 0..=DAY_MS)
        .unwrap_or(DEFAULT_CONNECT_TIMEOUT_MS);
    u64::try_from(limit).ok().filter(|limit| *limit > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flavor::{MARIADB_FLAVOR, MYSQL_FLAVOR, PLANETSCALE_FLAVOR};

    fn read_as(flavor: &Flavor, json: &str) -> Result<Settings, String> {
        Settings::read(flavor, &serde_json::from_str(json).unwrap()).map_err(|mistakes| mistakes.to_string())
    }

    fn read(json: &str) -> Result<Settings, String> {
        read_as(&MYSQL_FLAVOR, json)
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn fields_and_their_aliases_are_read() {
        let settings = read(
            r#"{"host":"db","port":"3307","db":"app","username":"me","pass":123456,"pool":{"max":7},"enableGeohash":"true"}"#,
        );
        let settings = settings.unwrap();
        assert_eq!(settings.connect.endpoint, tcp("db", 3_307));
        assert_eq!(settings.connect.user, "me");
        assert_eq!(settings.connect.database.as_deref(), Some("app"));
        assert_eq!(settings.connect.password.unwrap().expose(), "123456");
        assert_eq!(settings.pool_max, 7);
    }

    #[test]
    fn a_url_wins_whole() {
        let settings = read_as(
            &MARIADB_FLAVOR,
            r#"{"url":"mariadb://u%40x:p%2F%21w@[::1]:1/d%20b?ssl-mode=VERIFY_IDENTITY","host":"other","user":"other"}"#,
        );
        let connect = settings.unwrap().connect;
        assert_eq!(connect.endpoint, tcp("::1", 1));
        assert_eq!((connect.user.as_str(), connect.database.as_deref()), ("u@x", Some("d b")));
        assert_eq!(connect.password.unwrap().expose(), "p/!w");
        assert_eq!(connect.tls.mode, TlsMode::VerifyIdentity);
    }

    #[test]
    fn one_place_is_enough() {
        let settings = read(r#"{"database":"app"}"#).unwrap();
        assert_eq!(settings.connect.endpoint, tcp("localhost", 3_306));
        let settings = read(r#"{"host":"/run/mysqld/mysqld.sock"}"#).unwrap();
        assert_eq!(settings.connect.endpoint, Endpoint::Unix { path: "/run/mysqld/mysqld.sock".into() });
        assert_eq!(settings.connect.database, None);
        let mistake = read(r#"{"port":3306}"#).unwrap_err();
        assert!(
            mistake.contains("MysqlBridge requires either a \"url\" or (\"host\" + \"database\") config")
        );
    }

    #[test]
    fn the_switch_means_a_verified_server() {
        let mode = |json: &str| read(json).unwrap().connect.tls.mode;
        assert_eq!(mode(r#"{"host":"h"}"#), TlsMode::Preferred);
        assert_eq!(mode(r#"{"host":"h","ssl":true}"#), TlsMode::VerifyIdentity);
        assert_eq!(mode(r#"{"host":"h","ssl":"false"}"#), TlsMode::Preferred);
        assert_eq!(mode(r#"{"host":"h","ssl":true,"sslmode":"REQUIRED"}"#), TlsMode::Required);
        assert_eq!(
            mode(r#"{"url":"mysql://h/d?ssl={\"rejectUnauthorized\":true}"}"#),
            TlsMode::VerifyIdentity
        );
        assert_eq!(mode(r#"{"url":"mysql://h/d?ssl={\"rejectUnauthorized\":false}"}"#), TlsMode::Required);
        assert_eq!(mode(r#"{"url":"mysql://h/d?sslaccept=strict"}"#), TlsMode::VerifyIdentity);
    }

    #[test]
    fn planetscale_is_always_verified_and_needs_its_three_fields() {
        let planetscale = |json: &str| read_as(&PLANETSCALE_FLAVOR, json);
        let settings = planetscale(
            r#"{"host":"aws.connect.psdb.cloud","username":"u","password":"p","sslmode":"disabled"}"#,
        );
        assert_eq!(settings.unwrap().connect.tls.mode, TlsMode::VerifyIdentity);
        let url = planetscale(r#"{"url":"mysql://u:p@h/d?ssl={\"rejectUnauthorized\":false}"}"#).unwrap();
        assert_eq!(url.connect.tls.mode, TlsMode::VerifyIdentity);
        let mistakes = planetscale(r#"{"host":"h"}"#).unwrap_err();
        assert!(mistakes.contains("username: ") && mistakes.contains("password: "), "{mistakes}");
        assert!(mistakes.contains(
            "PlanetscaleBridge requires either a \"url\" or \"host\"+\"username\"+\"password\" config"
        ));
    }

    #[test]
    fn every_mistake_is_reported_by_name_and_without_a_value() {
        let mistakes =
            read(r#"{"port":"hunter2","sslmode":"hunter2","sslcert":"c.pem","pool":{"max":0}}"#).unwrap_err();
        for field in ["host: ", "port: ", "sslmode: ", "sslkey: ", "pool.max: "] {
            assert!(mistakes.contains(field), "{field} {mistakes}");
        }
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_it() {
        for url in [
            "postgres://u:hunter2@h/d",
            "hunter2",
            "mysql://u:hunter2@h:99999/d",
            "mysql://h/d?ssl-mode=hunter2",
            "mysql://h/d?nope=hunter2",
            "mysql://u:hunter%zz@h/d",
        ] {
            let mistakes = read(&format!(r#"{{"url":"{url}"}}"#)).unwrap_err();
            assert!(mistakes.starts_with("url: expected "), "{mistakes}");
            assert!(!mistakes.contains("hunter"), "{mistakes}");
        }
    }
}
