//! The runner's settings as one value.
//!
//! Flags stand above the environment, the environment above the config file, the config file above defaults. Nothing
//! here connects or binds; what is wrong is reported all at once, each mistake with the name of its setting.

mod exec;
mod file;
mod gateway;
mod images;
mod sources;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use protocol::Secret;
use runtime::dial::Proxies;
use runtime::settings::{Key, Mistakes, Reader, Source, Warning};
use runtime::telemetry::{LogSettings, TraceSettings};
use url::Url;

pub use exec::{ExecSettings, OutputCaps, SandboxSettings};
pub use gateway::{gateway_url, is_loopback};
pub use images::ImagePattern;
pub(crate) use sources::MANAGED_BRIDGES;
pub use sources::{ManagedBridges, SourceLimits, SourceSettings};

use crate::cli::Flags;
pub use crate::plugins::PluginSettings;

const DEFAULT_HEALTH_PORT: u16 = 8080;
const DEFAULT_MAX_JOBS: u32 = 64;
const MAX_JOBS: u32 = 100_000;
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const SERVICE: &str = "semilayer-runner";

/// Everything that a running daemon needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The runner's id, or its name.
    pub runner_id: String,
    /// What proves it.
    pub token: Secret,
    /// Where the gateway is: `ws` or `wss`, without credentials.
    pub gateway: Url,
    /// The query parameter that carries the token as well, for gateways that want it there.
    pub token_param: Option<String>,
    /// Whether a refusal of the credentials ends the daemon.
    pub exit_on_auth_failure: bool,
    /// Jobs that may run at once.
    pub max_jobs: u32,
    /// How long running jobs may take to finish when the daemon stops.
    pub drain_timeout: Duration,
    /// The health port; nothing without.
    pub health: Option<SocketAddr>,
    /// Proxies on the way out.
    pub proxies: Proxies,
    /// Certificate authorities beside the platform's.
    pub ca_file: Option<PathBuf>,
    /// Certificate authorities in place of the platform's, as OpenSSL knows it.
    pub ssl_cert_file: Option<PathBuf>,
    /// Limits and names of sources.
    pub sources: SourceSettings,
    /// Where plugins are, and what they may.
    pub plugins: PluginSettings,
    /// What a gateway may run on this host.
    pub exec: ExecSettings,
    /// Times of the socket. Not a setting: tests shorten them.
    pub timings: Timings,
}

/// Everything that was loaded: the daemon's settings and those of its logs.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The daemon's settings.
    pub config: Config,
    /// What is logged.
    pub log: LogSettings,
    /// Where spans go.
    pub traces: Option<TraceSettings>,
    /// What works but should be changed; to be logged.
    pub warnings: Vec<Warning>,
}

/// Times of the socket (protocol, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Between two WebSocket pings.
    pub ping: Duration,
    /// A socket without any byte for so long is dead.
    pub dead: Duration,
    /// A write that moves no byte for so long is stuck.
    pub write: Duration,
    /// For dialing and the upgrade together.
    pub dial: Duration,
    /// For the gateway's answer to `hello`.
    pub hello: Duration,
    /// First ceiling of the wait between two attempts.
    pub backoff_base: Duration,
    /// Last ceiling.
    pub backoff_cap: Duration,
    /// A session of this length makes the next wait a first one.
    pub healthy: Duration,
    /// Between two attempts while the gateway refuses the credentials.
    pub refused: Duration,
    /// How long other bridges wait for a moment without jobs, where a gateway hears of them only in a new `hello`; then
    /// new jobs are refused until the running ones have finished.
    pub renew: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(protocol::HEARTBEAT_INTERVAL_MS),
            ping: Duration::from_secs(15),
            dead: Duration::from_secs(40),
            write: Duration::from_secs(10),
            dial: Duration::from_secs(15),
            hello: Duration::from_millis(protocol::HELLO_TIMEOUT_MS),
            backoff_base: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(30),
            healthy: Duration::from_secs(60),
            refused: Duration::from_secs(300),
            renew: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Settings for a runner in the same process as its gateway: no health port, no proxies, defaults elsewhere.
    pub fn new(runner_id: impl Into<String>, token: Secret, gateway: Url) -> Self {
        Self {
            runner_id: runner_id.into(),
            token,
            gateway,
            token_param: None,
            exit_on_auth_failure: false,
            max_jobs: DEFAULT_MAX_JOBS,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            health: None,
            proxies: Proxies::none(),
            ca_file: None,
            ssl_cert_file: None,
            sources: SourceSettings::default(),
            plugins: PluginSettings::default(),
            exec: ExecSettings::default(),
            timings: Timings::default(),
        }
    }

    /// Reads flags, environment and config file.
    pub fn load(flags: &Flags, source: &dyn Source) -> Result<Loaded, Mistakes> {
        let (table, path_mistake) = file::read(flags, source);
        let mut reader = Reader::new(source).with_file(&table);
        if let Some(mistake) = path_mistake {
            reader.mistake("SEMILAYER_CONFIG", mistake);
        }
        file::refuse_unknown_keys(&mut reader, &table);
        let log = LogSettings::load(&mut reader, flags.log_level.clone(), flags.log_format.clone());
        let traces = TraceSettings::load(&mut reader, SERVICE, env!("CARGO_PKG_VERSION"));
        let gateway = gateway::read(&mut reader, flags);
        let mut proxies = Proxies::load(&mut reader);
        if gateway.scheme() == "ws" && is_loopback(&gateway) {
            // Plain because it does not leave this host: through a proxy the token would, for everyone to read.
            proxies = proxies.passing_by(&gateway);
        }
        let config = Self {
            runner_id: reader.required(runner_id_key(flags)),
            token: token(&mut reader, flags),
            gateway,
            token_param: token_param(&mut reader),
            exit_on_auth_failure: exit_on_auth_failure(&mut reader, flags),
            max_jobs: max_jobs(&mut reader, flags),
            drain_timeout: drain_timeout(&mut reader, flags),
            health: health_address(&mut reader, flags),
            proxies,
            ca_file: reader.text(ca_file_key(flags)).map(PathBuf::from),
            ssl_cert_file: reader.text("SSL_CERT_FILE").map(PathBuf::from),
            sources: SourceSettings::read(&mut reader, &table),
            plugins: PluginSettings::read(&mut reader, flags, &table),
            exec: ExecSettings::read(&mut reader, flags, &table),
            timings: Timings::default(),
        };
        reader.reads("SEMILAYER_CONFIG");
        reader.tell_strangers(&[exec::PREFIX]);
        reader.finish().map(|warnings| Loaded { config, log, traces, warnings })
    }
}

/// What is said of plugins alone, for commands that need neither id nor token.
pub(crate) fn load_plugins(flags: &Flags, source: &dyn Source) -> Result<PluginSettings, Mistakes> {
    load_part(flags, source, |reader, table| PluginSettings::read(reader, flags, table))
}

/// What sources are opened with, for one that no gateway is asked about: neither id nor token is needed.
pub(crate) fn load_sources(
    flags: &Flags,
    source: &dyn Source,
) -> Result<(PluginSettings, SourceSettings), Mistakes> {
    load_part(flags, source, |reader, table| {
        (PluginSettings::read(reader, flags, table), SourceSettings::read(reader, table))
    })
}

/// The health port's address alone, for a probe, which needs neither id nor token.
pub fn load_health(flags: &Flags, source: &dyn Source) -> Result<Option<SocketAddr>, Mistakes> {
    load_part(flags, source, |reader, _| health_address(reader, flags))
}

/// Some settings without the others.
fn load_part<T>(
    flags: &Flags,
    source: &dyn Source,
    read: impl FnOnce(&mut Reader<'_>, &toml::Table) -> T,
) -> Result<T, Mistakes> {
    let (table, path_mistake) = file::read(flags, source);
    let mut reader = Reader::new(source).with_file(&table);
    if let Some(mistake) = path_mistake {
        reader.mistake("SEMILAYER_CONFIG", mistake);
    }
    let part = read(&mut reader, &table);
    reader.finish().map(|_| part)
}

fn runner_id_key(flags: &Flags) -> Key {
    Key::env("SEMILAYER_RUNNER_ID").file("id").flag("--id", flags.id.clone())
}

fn token(reader: &mut Reader<'_>, flags: &Flags) -> Secret {
    let name = "SEMILAYER_RUNNER_TOKEN";
    let key = Key::env(name).file("token").flag("--token", flags.token.clone());
    let token = reader.secret(key).unwrap_or_default();
    if token.is_empty() {
        reader.mistake(name, format!("is required (or {name}_FILE, or token_file in the config file)"));
    } else if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        reader.mistake(name, "expected a token without blanks or line breaks");
    }
    token
}

fn token_param(reader: &mut Reader<'_>) -> Option<String> {
    reader.text(Key::env("SEMILAYER_TOKEN_PARAM").file("token_param"))
}

fn exit_on_auth_failure(reader: &mut Reader<'_>, flags: &Flags) -> bool {
    let flag = flags.exit_on_auth_failure.then(|| "true".to_owned());
    let key = Key::env("SEMILAYER_EXIT_ON_AUTH_FAILURE")
        .file("exit_on_auth_failure")
        .flag("--exit-on-auth-failure", flag);
    reader.flag(key).unwrap_or(false)
}

fn max_jobs(reader: &mut Reader<'_>, flags: &Flags) -> u32 {
    let key = Key::env("SEMILAYER_MAX_JOBS").file("max_jobs").flag("--max-jobs", flags.max_jobs.clone());
    reader.parsed_by(key, "a whole number from 1 to 100000", parse_jobs).unwrap_or(DEFAULT_MAX_JOBS)
}

fn parse_jobs(text: &str) -> Option<u32> {
    text.parse().ok().filter(|jobs| (1..=MAX_JOBS).contains(jobs))
}

fn drain_timeout(reader: &mut Reader<'_>, flags: &Flags) -> Duration {
    let key = Key::env("SEMILAYER_DRAIN_TIMEOUT")
        .file("drain_timeout")
        .flag("--drain-timeout", flags.drain_timeout.clone());
    reader.duration(key).unwrap_or(DEFAULT_DRAIN_TIMEOUT)
}

fn health_address(reader: &mut Reader<'_>, flags: &Flags) -> Option<SocketAddr> {
    let port = Key::env("SEMILAYER_HEALTH_PORT")
        .or_env("PORT")
        .file("health.port")
        .flag("--health-port", flags.health_port.clone());
    let port = reader.port(port).unwrap_or(DEFAULT_HEALTH_PORT);
    let host = Key::env("SEMILAYER_HEALTH_HOST").file("health.host");
    let host = reader.parsed(host, "an IP address").unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    (port != 0).then(|| SocketAddr::new(host, port))
}

pub(crate) fn ca_file_key(flags: &Flags) -> Key {
    Key::env("SEMILAYER_CA_FILE").file("ca_file").flag("--ca-file", flags.ca_file.clone())
}

/// `SEMILAYER_STATE_DIR`, else the XDG state directory; none where there is no home.
pub(crate) fn state_dir(reader: &mut Reader<'_>, flags: &Flags) -> Option<PathBuf> {
    let named =
        Key::env("SEMILAYER_STATE_DIR").file("state_dir").flag("--state-dir", flags.state_dir.clone());
    let own = |base: String| PathBuf::from(base).join("semilayer");
    let named = reader.text(named).map(PathBuf::from);
    let named = named.or_else(|| reader.text("XDG_STATE_HOME").map(own));
    named.or_else(|| reader.text("HOME").map(|home| own(format!("{home}/.local/state"))))
}

#[cfg(test)]
mod tests;
