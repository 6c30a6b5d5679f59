//! A source's settings: a URL, or fields; every mistake at once, none with a value in it.

mod url;

use std::collections::BTreeSet;
use std::time::Duration;

use bridge_core::{ConfigFields, ConfigMistakes};
use bridge_net::{Check, ClientIdentity, Pem, Roots};
use protocol::{Secret, SourceConfig};

const DEFAULT_PORT: u16 = 8123;
const DEFAULT_TLS_PORT: u16 = 8443;
const DEFAULT_NAME: &str = "default";
const DEFAULT_POOL: usize = 3;
const MAX_POOL: i64 = 1_000;
const DEFAULT_CONNECT_TIMEOUT_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;

/// Everything that a source needs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// Nothing: plain HTTP.
    pub(crate) tls: Option<Tls>,
    pub(crate) connect_timeout: Duration,
    pub(crate) pool_max: usize,
    pub(crate) binary: BinaryColumns,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    pub(crate) check: Check,
    pub(crate) roots: Roots,
    pub(crate) identity: Option<ClientIdentity>,
}

/// Columns of text that hold bytes: `table.column`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BinaryColumns(BTreeSet<(String, String)>);

/// What a URL or fields say.
#[derive(Debug, Default)]
struct Target {
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    secure: Option<bool>,
    mode: Option<Mode>,
    roots: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
}

/// `sslmode`: whether to encrypt, and what to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: &str = "disable, require, verify-ca or verify-full";

impl Settings {
    /// Reads a configuration. A URL wins whole over fields that say the same things.
    pub(crate) fn read(config: &SourceConfig) -> Result<Self, ConfigMistakes> {
        let mut fields = ConfigFields::new(config);
        let mut target = match fields.secret(&["url", "connectionString"]) {
            Some(url) => url::parse(url.expose()).unwrap_or_else(|mistake| {
                fields.mistake("url", mistake.0);
                Target::default()
            }),
            None => from_fields(&mut fields),
        };
        tls_fields(&mut fields, &mut target);
        if target.user.as_ref().is_some_and(|user| user.contains(':')) {
            fields.mistake("username", "a name without a colon");
        }
        let timeout = fields.integer(&["connectionTimeoutMillis"], 1..=DAY_MS);
        let timeout = timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT_MS).unsigned_abs();
        let pool_max = fields.integer(&["pool.max", "poolMax"], 1..=MAX_POOL);
        let _least = fields.integer(&["pool.min", "poolMin"], 0..=MAX_POOL);
        let binary = binary_columns(&mut fields);
        let tls = target.tls();
        let settings = Self {
            host: target.host.unwrap_or_default(),
            port: target.port.unwrap_or(DEFAULT_PORT),
            database: target.database.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            user: target.user.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            password: target.password.unwrap_or_else(|| Secret::from(String::new())),
            tls,
            connect_timeout: Duration::from_millis(timeout),
            pool_max: pool_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(DEFAULT_POOL),
            binary,
        };
        fields.finish(settings)
    }
}

impl BinaryColumns {
    /// Whether a column holds bytes.
    pub(crate) fn has(&self, table: &str, column: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&(table.to_owned(), column.to_owned()))
    }
}

impl Target {
    /// A mode says whether to encrypt; without one the protocol does, and then everything is checked.
    fn tls(&self) -> Option<Tls> {
        let check = match (self.mode, self.secure) {
            (Some(Mode::Disable), _) | (None, Some(false) | None) => return None,
            (Some(Mode::Require), _) if self.roots.is_none() => Check::Nothing,
            // Roots that are given are always used.
            (Some(Mode::Require | Mode::VerifyCa), _) => Check::Chain,
            (Some(Mode::VerifyFull), _) | (None, Some(true)) => Check::ChainAndName,
        };
        let identity = self.certificate.clone().zip(self.key.clone());
        let identity = identity.map(|(certificate, key)| ClientIdentity { certificate, key });
        Some(Tls { check, roots: self.roots.clone().map(Roots::Given).unwrap_or_default(), identity })
    }
}

fn from_fields(fields: &mut ConfigFields<'_>) -> Target {
    let host = fields.text(&["host"]);
    if host.is_none() {
        fields.mistake("host", "a value (ClickhouseBridge requires a \"host\" config value)");
    }
    let port = fields.integer(&["port"], 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let secure = fields.text(&["protocol"]).and_then(|name| match name.trim_end_matches(':') {
        "http" => Some(false),
        "https" => Some(true),
        _ => {
            fields.mistake("protocol", "http or https");
            None
        }
    });
    Target {
        host: host.map(|host| without_brackets(&host)),
        port,
        database: fields.text(&["database", "db"]),
        user: fields.text(&["username", "user"]),
        password: fields.secret(&["password", "pass"]),
        secure,
        ..Target::default()
    }
}

fn without_brackets(host: &str) -> String {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned()
}

/// Fields about TLS; they count where the URL does not say.
fn tls_fields(fields: &mut ConfigFields<'_>, target: &mut Target) {
    let named = fields.text(&["sslmode"]).and_then(|name| {
        let mode = mode_of(&name);
        if mode.is_none() {
            fields.mistake("sslmode", MODES);
        }
        mode
    });
    target.mode = target.mode.or(named);
    let roots = fields.text(&["sslrootcert", "ca_cert"]);
    target.roots =
        target.roots.take().or_else(|| roots.filter(|path| path != "system").map(|pem| Pem::of(&pem)));
    let certificate = fields.text(&["sslcert", "client_cert"]);
    target.certificate = target.certificate.take().or_else(|| certificate.map(|pem| Pem::of(&pem)));
    let key = fields.secret(&["sslkey", "client_cert_key"]);
    target.key = target.key.take().or_else(|| key.map(|pem| Pem::of(pem.expose())));
    if target.certificate.is_some() != target.key.is_some() {
        let missing = if target.key.is_none() { "sslkey" } else { "sslcert" };
        fields.mistake(missing, "a PEM file or its text: a client certificate and its key go together");
    }
    if target.mode == Some(Mode::VerifyCa) && target.roots.is_none() {
        fields.mistake("sslrootcert", "a PEM file or its text: verify-ca needs a root certificate");
    }
    let plain = target.mode == Some(Mode::Disable) || (target.mode.is_none() && target.secure != Some(true));
    if plain && (target.roots.is_some() || target.certificate.is_some()) {
        fields.mistake("protocol", "https: certificates mean nothing to plain http");
    }
    if target.mode == Some(Mode::Disable) && target.secure == Some(true) {
        fields.mistake("sslmode", "require, verify-ca or verify-full: the protocol is https");
    }
}

fn mode_of(name: &str) -> Option<Mode> {
    Some(match name {
        "disable" => Mode::Disable,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        _ => return None,
    })
}

fn binary_columns(fields: &mut ConfigFields<'_>) -> BinaryColumns {
    let Some(list) = fields.text(&["binaryColumns"]) else { return BinaryColumns::default() };
    let mut columns = BTreeSet::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name.rsplit_once('.') {
            Some((table, column)) if !table.is_empty() && !column.is_empty() => {
                columns.insert((table.to_owned(), column.to_owned()));
            }
            _ => fields.mistake("binaryColumns", "table.column, separated by commas"),
        }
    }
    BinaryColumns(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        let config = serde_json::from_str(json).unwrap();
        Settings::read(&config).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_host_alone_is_enough() {
        let settings = read(r#"{"host":"h"}"#).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("h", 8123));
        assert_eq!((settings.database.as_str(), settings.user.as_str()), ("default", "default"));
        assert_eq!(settings.password.expose(), "");
        assert!(settings.tls.is_none());
        assert_eq!(settings.pool_max, 3);
    }

    #[test]
    fn fields_come_in_any_spelling() {
        let settings = read(
            r#"{"host":"[::1]","port":"9123","db":123,"user":"u","pass":456,"protocol":"https:","poolMax":"7",
                "binaryColumns":"t.a, s.t.b"}"#,
        )
        .unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("::1", 9123));
        assert_eq!((settings.database.as_str(), settings.user.as_str()), ("123", "u"));
        assert_eq!(settings.password.expose(), "456");
        assert_eq!(settings.tls.unwrap().check, Check::ChainAndName);
        assert_eq!(settings.pool_max, 7);
        assert!(settings.binary.has("t", "a") && settings.binary.has("s.t", "b"));
        assert!(!settings.binary.has("t", "b"));
    }

    #[test]
    fn a_url_wins_whole() {
        let settings =
            read(r#"{"url":"https://u%40x:p%2F%21w@[::1]:1/d%20b?sslmode=require","host":"other"}"#).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("::1", 1));
        assert_eq!((settings.user.as_str(), settings.database.as_str()), ("u@x", "d b"));
        assert_eq!(settings.password.expose(), "p/!w");
        assert_eq!(settings.tls.unwrap().check, Check::Nothing);
        let plain = read(r#"{"url":"clickhouse://h"}"#).unwrap();
        assert_eq!((plain.port, plain.tls.is_none()), (8123, true));
        let secure = read(r#"{"url":"clickhouse://h?secure=true"}"#).unwrap();
        assert_eq!((secure.port, secure.tls.is_some()), (8443, true));
    }

    #[test]
    fn the_systems_roots_are_no_file_wherever_they_are_named() {
        for config in [
            r#"{"url":"https://h/d?sslrootcert=system"}"#,
            r#"{"host":"h","protocol":"https","sslrootcert":"system"}"#,
        ] {
            let tls = read(config).unwrap().tls.unwrap();
            assert!(!matches!(tls.roots, Roots::Given(_)), "{config}: {tls:?}");
            assert_eq!(tls.check, Check::ChainAndName);
        }
    }

    #[test]
    fn roots_that_are_given_are_used() {
        let check = |json: &str| read(json).unwrap().tls.unwrap().check;
        assert_eq!(check(r#"{"host":"h","sslmode":"require"}"#), Check::Nothing);
        assert_eq!(check(r#"{"host":"h","sslmode":"require","sslrootcert":"ca.pem"}"#), Check::Chain);
        assert_eq!(check(r#"{"host":"h","sslmode":"verify-ca","ca_cert":"ca.pem"}"#), Check::Chain);
        assert_eq!(check(r#"{"host":"h","protocol":"https","sslrootcert":"ca.pem"}"#), Check::ChainAndName);
    }

    #[test]
    fn every_mistake_is_reported_by_name_and_without_a_value() {
        let mistakes = read(
            r#"{"port":"hunter2","protocol":"hunter2","sslmode":"hunter2","sslcert":"c.pem","pool":{"max":0},
                "username":"hunter2:","binaryColumns":"hunter2"}"#,
        )
        .unwrap_err();
        for field in [
            "host: ",
            "port: ",
            "protocol: ",
            "sslmode: ",
            "sslkey: ",
            "pool.max: ",
            "username: ",
            "binaryColumns: ",
        ] {
            assert!(mistakes.contains(field), "{field} {mistakes}");
        }
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
        assert!(mistakes.contains("ClickhouseBridge requires a \"host\" config value"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_it() {
        for url in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "http://u:hunter2@h:99999/d",
            "http://h/d?sslmode=hunter2",
            "http://h/d?readonly=0",
            "http://u:hunter%zz@h/d",
            "http://u:hunter2@/d",
        ] {
            let mistakes = read(&format!(r#"{{"url":"{url}"}}"#)).unwrap_err();
            assert!(mistakes.starts_with("url: expected "), "{mistakes}");
            assert!(!mistakes.contains("hunter"), "{mistakes}");
        }
    }
}
