//! The gateway's settings as a value: flags, environment, defaults; every mistake at once.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use clap::Args;
use protocol::Secret;
use runtime::dial::Proxies;
use runtime::settings::{Key, Mistakes, Reader, Source, Warning};
use runtime::telemetry::{LogSettings, TraceSettings};

use crate::audit::Retention;
use crate::token::{EXPECTED_TOKEN, is_token};

const DEFAULT_LISTEN: &str = "127.0.0.1:8787";
const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;
const MAX_BODY_LIMIT: usize = 64 * 1024 * 1024;
const DEFAULT_AUDIT_DAYS: u32 = 90;
const DEFAULT_PUBLIC_ROWS: u64 = 10_000;
const DEFAULT_SHELL_JOBS: usize = 16;
const MAX_SHELL_JOBS: usize = 1_024;
const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const WRITE_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Flags of `serve`. All are text here: they are parsed together with the environment, so that every mistake is reported
/// at once.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeFlags {
    /// Address to listen on [env: SEMILAYER_LISTEN] [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where the control plane is kept, sqlite:PATH [env: SEMILAYER_DATABASE_URL] [default: a file in the state directory]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// NATS, for more than one gateway [env: SEMILAYER_NATS_URL]
    #[arg(long, value_name = "URL")]
    pub nats_url: Option<String>,
    /// The operators' token; seen by every user, prefer SEMILAYER_ADMIN_TOKEN_FILE [env: SEMILAYER_ADMIN_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub admin_token: Option<String>,
    /// Certificate chain, PEM [env: SEMILAYER_TLS_CERT]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Private key, PEM [env: SEMILAYER_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Allow plain HTTP beyond this machine
    #[arg(long)]
    pub insecure_listen: bool,
    /// Where the gateway keeps its files [env: SEMILAYER_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// error, warn, info, debug or filter directives [env: SEMILAYER_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [env: SEMILAYER_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Everything that a gateway needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The store's file.
    pub database: PathBuf,
    /// The operators' token; without, the first start makes one.
    pub admin_token: Option<Secret>,
    /// 32 bytes in base64; without, a file beside the store is made and used.
    pub master_key: Option<Secret>,
    /// Who may call `/v1` from a browser.
    pub origins: Origins,
    /// Bytes of a request's body at the most.
    pub body_limit: usize,
    /// Rows of a query with a public key at the most.
    pub public_rows: u64,
    /// Shell jobs that one connected process of a runner has at a time; the runner may allow fewer.
    pub shell_jobs: usize,
    /// How long a caller may take no byte of what there is for it.
    pub write_timeout: Duration,
    /// How long audit rows are kept.
    pub audit: Retention,
    /// How long running requests may take to finish when the gateway stops.
    pub drain_timeout: Duration,
    /// Where Prometheus may read metrics without the operators' token: this machine.
    pub metrics_for_loopback: bool,
}

/// Origins that browsers may call from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All of them. Keys are in a header that no browser sends by itself, so this gives away nothing.
    Any,
    /// These.
    These(Vec<HeaderValue>),
}

/// Everything that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The gateway's settings.
    pub settings: Settings,
    /// What is logged.
    pub log: LogSettings,
    /// Where spans go.
    pub traces: Option<TraceSettings>,
    /// What works but should be changed; to be logged.
    pub warnings: Vec<Warning>,
    /// How spans reach their collector.
    pub outbound: Outbound,
}

/// What a dialer of this process trusts and goes through.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// In place of the system's.
    pub ssl_cert_file: Option<PathBuf>,
    /// Proxies of the environment.
    pub proxies: Proxies,
}

impl Outbound {
    fn load(reader: &mut Reader<'_>) -> Self {
        Self {
            ca_file: reader.text("SEMILAYER_CA_FILE").map(PathBuf::from),
            ssl_cert_file: reader.text("SSL_CERT_FILE").map(PathBuf::from),
            proxies: Proxies::load(reader),
        }
    }
}

impl Settings {
    /// Reads flags and environment.
    pub fn load(flags: &ServeFlags, source: &dyn Source) -> Result<Loaded, Mistakes> {
        let mut reader = Reader::new(source);
        let log = LogSettings::load(&mut reader, flags.log_level.clone(), flags.log_format.clone());
        let traces = TraceSettings::load(&mut reader, "semilayer-gateway", env!("CARGO_PKG_VERSION"));
        let tls = tls(&mut reader, flags);
        let settings = Self {
            listen: listen(&mut reader, flags, tls.is_some()),
            tls,
            database: database(&mut reader, flags),
            admin_token: reader
                .secret(Key::env("SEMILAYER_ADMIN_TOKEN").flag("--admin-token", flags.admin_token.clone())),
            master_key: reader.secret("SEMILAYER_MASTER_KEY"),
            origins: origins(&mut reader),
            body_limit: body_limit(&mut reader),
            public_rows: public_rows(&mut reader),
            shell_jobs: shell_jobs(&mut reader),
            write_timeout: write_timeout(&mut reader),
            audit: retention(&mut reader),
            drain_timeout: reader.duration("SEMILAYER_DRAIN_TIMEOUT").unwrap_or(DEFAULT_DRAIN_TIMEOUT),
            metrics_for_loopback: true,
        };
        match &settings.admin_token {
            Some(token) if !is_token(token) => reader.mistake("SEMILAYER_ADMIN_TOKEN", EXPECTED_TOKEN),
            Some(token) if token.expose().len() < 16 => {
                reader.mistake("SEMILAYER_ADMIN_TOKEN", "expected at least 16 characters");
            }
            _ => {}
        }
        if reader.text(Key::env("SEMILAYER_NATS_URL").flag("--nats-url", flags.nats_url.clone())).is_some() {
            reader.mistake("SEMILAYER_NATS_URL", "expected nothing: this version runs as one gateway");
        }
        let outbound = Outbound::load(&mut reader);
        reader.tell_strangers(&[]);
        let warnings = reader.finish()?;
        Ok(Loaded { settings, log, traces, warnings, outbound })
    }
}

fn listen(reader: &mut Reader<'_>, flags: &ServeFlags, secure: bool) -> SocketAddr {
    let key = Key::env("SEMILAYER_LISTEN").flag("--listen", flags.listen.clone());
    let fallback = SocketAddr::from(([127, 0, 0, 1], 8787));
    let expected = format!("an address with a port, such as {DEFAULT_LISTEN}");
    let address = reader.parsed(key, &expected).unwrap_or(fallback);
    if !secure && !flags.insecure_listen && !address.ip().is_loopback() {
        let message = "expected a loopback address: beyond this machine use --tls-cert and --tls-key, or \
                       --insecure-listen behind a proxy that does TLS";
        reader.mistake("SEMILAYER_LISTEN", message);
    }
    address
}

fn tls(reader: &mut Reader<'_>, flags: &ServeFlags) -> Option<(PathBuf, PathBuf)> {
    let certificate = reader.text(Key::env("SEMILAYER_TLS_CERT").flag("--tls-cert", flags.tls_cert.clone()));
    let key = reader.text(Key::env("SEMILAYER_TLS_KEY").flag("--tls-key", flags.tls_key.clone()));
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        (Some(_), None) => {
            reader.mistake("SEMILAYER_TLS_KEY", "expected the key of SEMILAYER_TLS_CERT");
            None
        }
        (None, Some(_)) => {
            reader.mistake("SEMILAYER_TLS_CERT", "expected the certificate of SEMILAYER_TLS_KEY");
            None
        }
    }
}

/// The store's file: named, or in the state directory.
fn database(reader: &mut Reader<'_>, flags: &ServeFlags) -> PathBuf {
    let key = Key::env("SEMILAYER_DATABASE_URL").flag("--database-url", flags.database_url.clone());
    match reader.text(key) {
        Some(url) => match url.strip_prefix("sqlite:") {
            Some(path) if !path.trim_start_matches("//").is_empty() => {
                PathBuf::from(path.trim_start_matches("//"))
            }
            _ => {
                let message = "expected sqlite:PATH: this version keeps its store in a file";
                reader.mistake("SEMILAYER_DATABASE_URL", message);
                PathBuf::new()
            }
        },
        None => state_dir(reader, flags).join("gateway.db"),
    }
}

/// `SEMILAYER_STATE_DIR`, else the XDG state directory.
fn state_dir(reader: &mut Reader<'_>, flags: &ServeFlags) -> PathBuf {
    let named = reader.text(Key::env("SEMILAYER_STATE_DIR").flag("--state-dir", flags.state_dir.clone()));
    let xdg = reader.text("XDG_STATE_HOME").map(|dir| PathBuf::from(dir).join("semilayer"));
    let home = reader.text("HOME").map(|dir| PathBuf::from(dir).join(".local/state/semilayer"));
    named.map(PathBuf::from).or(xdg).or(home).unwrap_or_else(|| {
        reader.mistake("SEMILAYER_STATE_DIR", "expected a directory: there is no HOME to take one from");
        PathBuf::new()
    })
}

fn origins(reader: &mut Reader<'_>) -> Origins {
    let Some(list) = reader.text("SEMILAYER_CORS_ORIGINS") else { return Origins::Any };
    if list.trim() == "*" {
        return Origins::Any;
    }
    let parsed: Result<Vec<_>, _> =
        list.split(',').map(|origin| origin.trim().parse::<HeaderValue>()).collect();
    match parsed {
        Ok(origins) if origins.iter().all(|origin| origin.as_bytes().starts_with(b"http")) => {
            Origins::These(origins)
        }
        _ => {
            reader.mistake(
                "SEMILAYER_CORS_ORIGINS",
                "expected *, or origins such as https://app.example, separated by commas",
            );
            Origins::Any
        }
    }
}

fn retention(reader: &mut Reader<'_>) -> Retention {
    let days = reader.parsed("SEMILAYER_AUDIT_DAYS", "a number of days, 0 for ever");
    let rows = reader.parsed("SEMILAYER_AUDIT_ROWS", "a number of rows, 0 for any number");
    Retention { days: days.unwrap_or(DEFAULT_AUDIT_DAYS), rows: rows.unwrap_or(0) }
}

fn public_rows(reader: &mut Reader<'_>) -> u64 {
    let expected = "a number of rows of at least 1";
    let rows = reader.parsed("SEMILAYER_PUBLIC_MAX_LIMIT", expected).unwrap_or(DEFAULT_PUBLIC_ROWS);
    if rows == 0 {
        reader.mistake("SEMILAYER_PUBLIC_MAX_LIMIT", format!("expected {expected}"));
    }
    rows
}

fn shell_jobs(reader: &mut Reader<'_>) -> usize {
    let expected = "a number of shell jobs from 1 to 1024";
    let jobs = reader.parsed("SEMILAYER_MAX_EXEC", expected).unwrap_or(DEFAULT_SHELL_JOBS);
    if !(1..=MAX_SHELL_JOBS).contains(&jobs) {
        reader.mistake("SEMILAYER_MAX_EXEC", format!("expected {expected}"));
    }
    jobs
}

fn write_timeout(reader: &mut Reader<'_>) -> Duration {
    let timeout = reader.duration("SEMILAYER_WRITE_TIMEOUT").unwrap_or(DEFAULT_WRITE_TIMEOUT);
    if !WRITE_TIMEOUTS.contains(&timeout) {
        reader.mistake("SEMILAYER_WRITE_TIMEOUT", "expected a duration from 100ms to 24h");
    }
    timeout
}

fn body_limit(reader: &mut Reader<'_>) -> usize {
    let expected = "a number of bytes from 1024 to 67108864";
    let limit: Option<usize> = reader.parsed("SEMILAYER_MAX_BODY", expected);
    match limit {
        Some(limit) if !(1024..=MAX_BODY_LIMIT).contains(&limit) => {
            reader.mistake("SEMILAYER_MAX_BODY", format!("expected {expected}"));
            DEFAULT_BODY_LIMIT
        }
        limit => limit.unwrap_or(DEFAULT_BODY_LIMIT),
    }
}

#[cfg(test)]
mod tests {
    use runtime::settings::Mapping;

    use super::*;

    fn load(flags: &ServeFlags, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let mapping: Mapping =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::load(flags, &mapping).map(|loaded| loaded.settings).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let settings = load(&ServeFlags::default(), &[("HOME", "/home/me")]).unwrap();
        assert_eq!(settings.listen.to_string(), DEFAULT_LISTEN);
        assert_eq!(settings.database, PathBuf::from("/home/me/.local/state/semilayer/gateway.db"));
        assert_eq!((settings.tls, settings.origins), (None, Origins::Any));
    }

    #[test]
    fn flags_stand_above_the_environment() {
        let flags = ServeFlags { listen: Some("127.0.0.1:0".to_owned()), ..ServeFlags::default() };
        let settings = load(
            &flags,
            &[("SEMILAYER_LISTEN", "127.0.0.1:1"), ("SEMILAYER_DATABASE_URL", "sqlite:///x/y.db")],
        );
        let settings = settings.unwrap();
        assert_eq!((settings.listen.port(), settings.database), (0, PathBuf::from("/x/y.db")));
    }

    #[test]
    fn a_token_that_no_request_can_carry_is_refused() {
        for token in ["ak_für-alle-die-es-wissen", "ak_with a blank in it"] {
            let refused = load(&ServeFlags::default(), &[("SEMILAYER_ADMIN_TOKEN", token)]).unwrap_err();
            assert!(refused.contains("visible ASCII") && !refused.contains(token), "{refused}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mistakes = load(
            &ServeFlags::default(),
            &[
                ("SEMILAYER_LISTEN", "0.0.0.0:8787"),
                ("SEMILAYER_DATABASE_URL", "mysql://x"),
                ("SEMILAYER_TLS_CERT", "cert.pem"),
                ("SEMILAYER_ADMIN_TOKEN", "short"),
                ("SEMILAYER_MAX_BODY", "5"),
                ("SEMILAYER_PUBLIC_MAX_LIMIT", "0"),
                ("SEMILAYER_MAX_EXEC", "0"),
                ("SEMILAYER_WRITE_TIMEOUT", "0s"),
                ("SEMILAYER_AUDIT_ROWS", "-1"),
                ("SEMILAYER_NATS_URL", "nats://x"),
                ("SEMILAYER_CORS_ORIGINS", "app.example"),
            ],
        )
        .unwrap_err();
        for key in [
            "LISTEN",
            "DATABASE_URL",
            "TLS_KEY",
            "ADMIN_TOKEN",
            "MAX_BODY",
            "PUBLIC_MAX_LIMIT",
            "MAX_EXEC",
            "WRITE_TIMEOUT",
            "AUDIT_ROWS",
            "NATS_URL",
            "CORS_ORIGINS",
        ] {
            assert!(mistakes.contains(&format!("SEMILAYER_{key}")), "{key}: {mistakes}");
        }
        assert!(!mistakes.contains("short"), "{mistakes}");
    }

    #[test]
    fn a_misspelt_variable_is_warned_of_without_its_value() {
        let environment =
            [("SEMILAYER_LISTN", "hunter2"), ("SEMILAYER_SANDBOX_MEMROY", "1g"), ("HOME", "/h")];
        let mapping: Mapping = environment.into_iter().collect();
        let warnings = Settings::load(&ServeFlags::default(), &mapping).unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["SEMILAYER_LISTN: is not a setting; did you mean SEMILAYER_LISTEN?"]);
    }

    #[test]
    fn other_machines_need_tls_or_a_word() {
        let flags = ServeFlags { insecure_listen: true, ..ServeFlags::default() };
        let environment = [("SEMILAYER_LISTEN", "0.0.0.0:8787"), ("HOME", "/h")];
        assert!(load(&flags, &environment).is_ok());
        assert!(load(&ServeFlags::default(), &environment).is_err());
    }
}
