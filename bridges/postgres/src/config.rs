//! A source's settings: a URL as libpq reads it, or fields; every mistake at once, none with a value in it.

mod url;

use std::path::PathBuf;
use std::time::Duration;

use bridge_core::{ConfigFields, ConfigMistakes};
use protocol::{Secret, SourceConfig};

use crate::wire::{
    ChannelBinding, ClientIdentity, ConnectOptions, Endpoint, IpFamily, Pem, Roots, TlsMode, TlsNegotiation,
};

const DEFAULT_POOL: usize = 3;
const MAX_POOL: i64 = 1_000;
const DEFAULT_CONNECT_TIMEOUT_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;
/// Where targets without a schema are.
const DEFAULT_SCHEMA: &str = "public";

/// What a session is told at its start. The session is read-only for every transaction, dates and intervals have the
/// forms that [`crate::values`] expects of text, and no time zone but UTC is in force.
const SESSION: [(&str, &str); 6] = [
    ("default_transaction_read_only", "on"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

/// No view may change for a later statement that the session only reads.
const GUARDED: &[&str] = &["default_transaction_read_only"];

/// Everything that a source needs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) connect: ConnectOptions,
    pub(crate) pool_max: usize,
    pub(crate) postgis: bool,
    /// Where targets without a schema are.
    pub(crate) schema: String,
}

/// How one of the family reads a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// What a URL begins with.
    pub(crate) schemes: &'static [&'static str],
    /// What a URL looks like.
    pub(crate) example: &'static str,
    /// Other beginnings that people try, and what to give instead.
    pub(crate) refused_url: Option<(&'static [&'static str], &'static str)>,
    /// Whether fields may stand for a URL.
    pub(crate) has_fields: bool,
    /// What was expected where nothing says where the database is.
    pub(crate) required: &'static str,
    /// Where nothing else is said.
    pub(crate) port: u16,
    /// Likewise.
    pub(crate) user: &'static str,
    /// Likewise; nothing: the user's name.
    pub(crate) database: Option<&'static str>,
    /// Likewise.
    pub(crate) tls: TlsMode,
    /// Likewise.
    pub(crate) ip_family: IpFamily,
    /// Whether `schema` says where targets without a schema are.
    pub(crate) has_schema: bool,
    /// Beginnings of a URL's `options` that are no settings, but tell a proxy which database is meant.
    pub(crate) routes: &'static [&'static str],
}

/// Where and as whom, collected from a URL or from fields.
#[derive(Debug, Default)]
struct Target {
    endpoints: Vec<Endpoint>,
    user: Option<String>,
    password: Option<Secret>,
    database: Option<String>,
    tls_mode: Option<TlsMode>,
    roots: Option<Roots>,
    certificate: Option<Pem>,
    key: Option<Pem>,
    negotiation: Option<TlsNegotiation>,
    channel_binding: Option<ChannelBinding>,
    connect_timeout: Option<Duration>,
    application_name: Option<String>,
    /// Of `options`.
    settings: Vec<(String, String)>,
    /// The whole of `options`, where they are for a proxy.
    route: Option<String>,
}

impl Settings {
    /// Reads a configuration. A URL wins whole over fields that say the same things.
    pub(crate) fn read(rules: &Rules, config: &SourceConfig) -> Result<Self, ConfigMistakes> {
        let mut fields = ConfigFields::new(config);
        let mut target = match fields.secret(&["url", "connectionString"]) {
            Some(url) => match url::parse(rules, url.expose()) {
                Ok(target) => target,
                Err(mistake) => {
                    fields.mistake("url", mistake.0);
                    Target::default()
                }
            },
            None if rules.has_fields => from_fields(rules, &mut fields),
            None => {
                fields.mistake("url", rules.required);
                Target::default()
            }
        };
        tls_fields(rules, &mut fields, &mut target);
        let connect_timeout = connect_timeout(&mut fields);
        let pool_max = fields.integer(&["pool.max", "poolMax"], 1..=MAX_POOL);
        let _least = fields.integer(&["pool.min", "poolMin"], 0..=MAX_POOL);
        let ip_family = ip_family(rules, &mut fields);
        let postgis = fields.flag(&["enablePostgis"]).unwrap_or(false);
        let schema = if rules.has_schema { fields.text(&["schema"]) } else { None };
        let settings = Self {
            connect: target.into_options(rules, ip_family, connect_timeout),
            pool_max: pool_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(DEFAULT_POOL),
            postgis,
            schema: schema.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()),
        };
        fields.finish(settings)
    }
}

impl Target {
    fn into_options(
        self,
        rules: &Rules,
        ip_family: IpFamily,
        connect_timeout: Option<Duration>,
    ) -> ConnectOptions {
        let user = self.user.unwrap_or_else(|| rules.user.to_owned());
        let database = self.database.or_else(|| rules.database.map(str::to_owned));
        let database = database.unwrap_or_else(|| user.clone());
        let first = Endpoint::Tcp { host: "localhost".to_owned(), port: rules.port };
        let mut options = ConnectOptions::new(first, user, database);
        if !self.endpoints.is_empty() {
            options.endpoints = self.endpoints;
        }
        options.password = self.password;
        options.tls.mode = self.tls_mode.unwrap_or(rules.tls);
        options.tls.roots = self.roots.unwrap_or_default();
        options.tls.identity =
            self.certificate.zip(self.key).map(|(certificate, key)| ClientIdentity { certificate, key });
        options.tls.negotiation = self.negotiation.unwrap_or_default();
        options.tls.channel_binding = self.channel_binding.unwrap_or_default();
        options.ip_family = ip_family;
        options.connect_timeout = self.connect_timeout.or(connect_timeout);
        options.application_name = self.application_name.unwrap_or_else(|| "semilayer-runner".to_owned());
        options.route = self.route;
        options.guarded = GUARDED;
        let session = SESSION.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        options.parameters = self.settings.into_iter().chain(session).collect();
        options
    }
}

fn from_fields(rules: &Rules, fields: &mut ConfigFields<'_>) -> Target {
    let host = fields.text(&["host"]);
    let port =
        fields.integer(&["port"], 1..=65_535).and_then(|port| u16::try_from(port).ok()).unwrap_or(rules.port);
    let database = fields.text(&["database", "db"]);
    if host.is_none() || database.is_none() {
        fields.mistake(if host.is_none() { "host" } else { "database" }, rules.required);
    }
    Target {
        endpoints: host.map(|host| endpoint(&host, port)).into_iter().collect(),
        user: fields.text(&["user", "username"]),
        password: fields.secret(&["password", "pass"]),
        database,
        ..Target::default()
    }
}

/// A host, or the folder of a Unix socket, as libpq tells them apart.
fn endpoint(host: &str, port: u16) -> Endpoint {
    if host.starts_with('/') {
        return Endpoint::Unix { path: PathBuf::from(host).join(format!(".s.PGSQL.{port}")) };
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Endpoint::Tcp { host: host.to_owned(), port }
}

/// Fields about TLS; they count where the URL does not say.
fn tls_fields(rules: &Rules, fields: &mut ConfigFields<'_>, target: &mut Target) {
    let named = fields.text(&["sslmode"]).map(|name| {
        let mode = tls_mode(&name);
        if mode.is_none() {
            fields.mistake("sslmode", TLS_MODES);
        }
        mode
    });
    // The switch of forms: on means what people expect of it, a verified server.
    let switch = fields.flag(&["ssl"]).map(|on| if on { TlsMode::VerifyFull } else { TlsMode::Disable });
    target.tls_mode = target.tls_mode.or(named.flatten()).or(switch);
    target.roots = target.roots.take().or_else(|| fields.text(&["sslrootcert"]).map(|path| roots(&path)));
    target.certificate =
        target.certificate.take().or_else(|| fields.text(&["sslcert"]).map(|pem| Pem::of(&pem)));
    target.key = target.key.take().or_else(|| fields.secret(&["sslkey"]).map(|pem| Pem::of(pem.expose())));
    if target.certificate.is_some() != target.key.is_some() {
        let missing = if target.key.is_none() { "sslkey" } else { "sslcert" };
        fields.mistake(missing, "a PEM file or its text: a client certificate and its key go together");
    }
    let mode = target.tls_mode.unwrap_or(rules.tls);
    if mode == TlsMode::VerifyCa && target.roots.is_none() {
        fields.mistake("sslrootcert", "a PEM file or its text: verify-ca needs a root certificate");
    }
}

const TLS_MODES: &str = "disable, allow, prefer, require, verify-ca or verify-full";

fn tls_mode(name: &str) -> Option<TlsMode> {
    Some(match name {
        "disable" => TlsMode::Disable,
        "allow" => TlsMode::Allow,
        "prefer" => TlsMode::Prefer,
        "require" | "no-verify" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        _ => return None,
    })
}

fn roots(path: &str) -> Roots {
    if path == "system" { Roots::System } else { Roots::Given(Pem::of(path)) }
}

fn ip_family(rules: &Rules, fields: &mut ConfigFields<'_>) -> IpFamily {
    match fields.integer(&["ipFamily"], 0..=6) {
        None => rules.ip_family,
        Some(4) => IpFamily::V4,
        Some(6) => IpFamily::V6,
        Some(0) => IpFamily::Any,
        Some(_) => {
            fields.mistake("ipFamily", "4, 6 or 0");
            IpFamily::V4
        }
    }
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

    use crate::flavor::{COCKROACHDB_FLAVOR, Flavor, NEON_FLAVOR, POSTGRES_FLAVOR, SUPABASE_FLAVOR};

    fn read_as(flavor: &Flavor, json: &str) -> Result<Settings, String> {
        let config = serde_json::from_str(json).unwrap();
        Settings::read(&flavor.rules, &config).map_err(|mistakes| mistakes.to_string())
    }

    fn read(json: &str) -> Result<Settings, String> {
        read_as(&POSTGRES_FLAVOR, json)
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn fields_and_their_aliases_are_read() {
        let settings = read(
            r#"{"host":"db","port":"5433","db":"app","username":"me","pass":123456,"pool":{"max":7},"ipFamily":6}"#,
        );
        let settings = settings.unwrap();
        assert_eq!(settings.connect.endpoints, [tcp("db", 5_433)]);
        assert_eq!((settings.connect.user.as_str(), settings.connect.database.as_str()), ("me", "app"));
        assert_eq!(settings.connect.password.unwrap().expose(), "123456");
        assert_eq!((settings.pool_max, settings.connect.ip_family), (7, IpFamily::V6));
    }

    #[test]
    fn a_url_wins_whole() {
        let settings = read(
            r#"{"url":"postgresql://u%40x:p%2F%21w@h1:1,[::1]:2/d%20b?sslmode=verify-full&application_name=a","host":"other","user":"other"}"#,
        );
        let connect = settings.unwrap().connect;
        assert_eq!(connect.endpoints, [tcp("h1", 1), tcp("::1", 2)]);
        assert_eq!((connect.user.as_str(), connect.database.as_str()), ("u@x", "d b"));
        assert_eq!(connect.password.unwrap().expose(), "p/!w");
        assert_eq!((connect.tls.mode, connect.application_name.as_str()), (TlsMode::VerifyFull, "a"));
    }

    #[test]
    fn only_harmless_settings_pass() {
        let settings = |options: &str| {
            let url = format!("postgres://h/d?options={options}");
            read(&format!(r#"{{"url":"{url}"}}"#)).map(|settings| settings.connect.parameters)
        };
        let given = settings("-c%20work_mem=64MB%20--search-path=a\\\\%20b%20-cjit=off").unwrap();
        let given: Vec<_> =
            given.iter().map(|(name, value)| (name.as_str(), value.as_str())).take(3).collect();
        assert_eq!(given, [("work_mem", "64MB"), ("search_path", "a b"), ("jit", "off")]);
        for refused in [
            "-c%20default_transaction_read_only=off",
            "-c",
            "work_mem=1",
            "-W",
            "--session_preload_libraries=x",
        ] {
            let mistake = settings(refused).unwrap_err();
            assert!(mistake.starts_with("url: expected options as -c name=value"), "{mistake}");
        }
    }

    #[test]
    fn a_folder_stands_for_a_socket() {
        let path = PathBuf::from("/run/pg/.s.PGSQL.5432");
        let settings = read(r#"{"host":"/run/pg","database":"d"}"#).unwrap();
        assert_eq!(settings.connect.endpoints, [Endpoint::Unix { path: path.clone() }]);
        let settings = read(r#"{"url":"postgres://u@/d?host=/run/pg"}"#).unwrap();
        assert_eq!(settings.connect.endpoints, [Endpoint::Unix { path: path.clone() }]);
        let settings = read(r#"{"url":"postgres://u@%2Frun%2Fpg/d"}"#).unwrap();
        assert_eq!(settings.connect.endpoints, [Endpoint::Unix { path }]);
    }

    #[test]
    fn the_switch_means_a_verified_server() {
        let mode = |json: &str| read(json).unwrap().connect.tls.mode;
        assert_eq!(mode(r#"{"host":"h","database":"d"}"#), TlsMode::Prefer);
        assert_eq!(mode(r#"{"host":"h","database":"d","ssl":true}"#), TlsMode::VerifyFull);
        assert_eq!(mode(r#"{"host":"h","database":"d","ssl":"false"}"#), TlsMode::Disable);
        assert_eq!(mode(r#"{"host":"h","database":"d","ssl":true,"sslmode":"require"}"#), TlsMode::Require);
    }

    #[test]
    fn every_mistake_is_reported_by_name_and_without_a_value() {
        let mistakes =
            read(r#"{"port":"hunter2","sslmode":"hunter2","sslcert":"c.pem","ipFamily":5,"pool":{"max":0}}"#)
                .unwrap_err();
        for field in ["host: ", "port: ", "sslmode: ", "sslkey: ", "ipFamily: ", "pool.max: "] {
            assert!(mistakes.contains(field), "{field} {mistakes}");
        }
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
        assert!(mistakes.contains("PostgresBridge requires a \"url\" or (\"host\" + \"database\") config"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_it() {
        for url in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgres://u:hunter2@h:99999/d",
            "postgres://h/d?sslmode=hunter2",
            "postgres://h/d?nope=hunter2",
            "postgres://u:hunter%zz@h/d",
        ] {
            let mistakes = read(&format!(r#"{{"url":"{url}"}}"#)).unwrap_err();
            assert!(mistakes.starts_with("url: expected "), "{mistakes}");
            assert!(!mistakes.contains("hunter"), "{mistakes}");
        }
    }

    #[test]
    fn cockroachdb_has_a_scheme_a_port_and_a_verified_server_of_its_own() {
        let connect = |json: &str| read_as(&COCKROACHDB_FLAVOR, json).unwrap().connect;
        for scheme in ["cockroachdb", "postgresql", "postgres"] {
            let options = connect(&format!(r#"{{"url":"{scheme}://u:p@h/d"}}"#));
            assert_eq!((options.endpoints, options.tls.mode), (vec![tcp("h", 26_257)], TlsMode::VerifyFull));
            assert_eq!((options.ip_family, options.database.as_str()), (IpFamily::Any, "d"));
        }
        let options = connect(r#"{"url":"cockroachdb://h?sslmode=disable&options=--cluster%3Dblue-1"}"#);
        assert_eq!((options.user.as_str(), options.database.as_str()), ("root", "defaultdb"));
        assert_eq!(
            (options.tls.mode, options.route.as_deref()),
            (TlsMode::Disable, Some("--cluster=blue-1"))
        );
        let options = connect(r#"{"host":"h","database":"d","user":"u","ssl":false}"#);
        assert_eq!((options.endpoints, options.tls.mode), (vec![tcp("h", 26_257)], TlsMode::Disable));
        let refused = read_as(&COCKROACHDB_FLAVOR, "{}").unwrap_err();
        assert!(refused.contains("CockroachdbBridge requires a \"url\" or (\"host\" + \"database\") config"));
        assert!(read(r#"{"url":"cockroachdb://h/d"}"#).is_err(), "another scheme is no PostgreSQL");
    }

    #[test]
    fn neon_takes_a_url_alone_and_verifies_the_server() {
        let connect = |json: &str| read_as(&NEON_FLAVOR, json).map(|settings| settings.connect);
        let url = r#"{"url":"postgresql://u:p@ep-a-pooler.neon.tech/d?options=endpoint%3Dep-a"}"#;
        let options = connect(url).unwrap();
        assert_eq!(options.endpoints, [tcp("ep-a-pooler.neon.tech", 5_432)]);
        assert_eq!((options.tls.mode, options.ip_family), (TlsMode::VerifyFull, IpFamily::Any));
        assert_eq!(options.route.as_deref(), Some("endpoint=ep-a"));
        let url = r#"{"url":"postgres://u:p@h/d?sslmode=require&channel_binding=require"}"#;
        let tls = connect(url).unwrap().tls;
        assert_eq!((tls.mode, tls.channel_binding), (TlsMode::Require, ChannelBinding::Require));
        let refused = connect(r#"{"host":"h","database":"d"}"#).unwrap_err();
        assert!(
            refused.starts_with("url: ") && refused.contains("NeonBridge requires a \"url\" config string")
        );
    }

    #[test]
    fn supabase_takes_the_databases_url_and_not_the_projects() {
        let url = r#"{"url":"postgresql://postgres.ref:p@pooler.supabase.com","schema":"shop","key":"k"}"#;
        let settings = read_as(&SUPABASE_FLAVOR, url).unwrap();
        assert_eq!(settings.schema, "shop");
        let connect = settings.connect;
        assert_eq!((connect.user.as_str(), connect.database.as_str()), ("postgres.ref", "postgres"));
        assert_eq!((connect.tls.mode, connect.ip_family), (TlsMode::Require, IpFamily::Any));

        let refused = read_as(&SUPABASE_FLAVOR, r#"{"url":"https://hunter2.supabase.co","key":"hunter2"}"#);
        let refused = refused.unwrap_err();
        assert!(refused.starts_with("url: expected the project's database URL, postgresql://"), "{refused}");
        assert!(refused.contains("REST") && !refused.contains("hunter2"), "{refused}");
        let refused = read_as(&SUPABASE_FLAVOR, r#"{"key":"hunter2"}"#).unwrap_err();
        assert!(refused.contains("SupabaseBridge requires a \"url\" config string"), "{refused}");
    }

    #[test]
    fn a_route_is_one_plain_word_of_the_flavor() {
        let route = |flavor, options: &str| {
            read_as(flavor, &format!(r#"{{"url":"postgresql://h/d?options={options}"}}"#))
        };
        for refused in ["--cluster%3Da%20-c%20work_mem%3D1", "--cluster%3D", "endpoint%3Da"] {
            let mistake = route(&COCKROACHDB_FLAVOR, refused).unwrap_err();
            assert!(mistake.starts_with("url: expected options as -c name=value"), "{mistake}");
        }
        assert!(route(&POSTGRES_FLAVOR, "--cluster%3Da").is_err());
        assert!(route(&SUPABASE_FLAVOR, "reference%3Dabc").is_ok());
    }

    #[test]
    fn a_schema_is_a_setting_of_supabase_alone() {
        let settings = read(r#"{"host":"h","database":"d","schema":"shop"}"#).unwrap();
        assert_eq!(settings.schema, "public");
    }
}
