//! The server's settings as a value: flags, environment, defaults; every mistake at once.
//!
//! Each variable is called `SEMILAYER_SANDBOX_…` and falls back to the name that it had in the program whose clients this
//! one serves (`LIGHT_RUN_…`, `LIGHT_RUNNER_…`), or to that of the engine's own client (`DOCKER_…`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use runtime::Secret;
use runtime::dial::Proxies;
use runtime::settings::{Key, Mistakes, Reader, Source, Warning};
use runtime::telemetry::{LogSettings, TraceSettings};

use crate::{ContainerRuntime, Options, Transfer};

const DEFAULT_PORT: u16 = 3000;
const DEFAULT_BODY_LIMIT: usize = 10 * 1024 * 1024;
const MAX_BODY_LIMIT: usize = 1024 * 1024 * 1024;
const DEFAULT_CONCURRENCY: usize = 64;
const DEFAULT_QUEUE: usize = 256;
const MAX_QUEUE: usize = 100_000;
const DEFAULT_QUEUE_BYTES: usize = 256 * 1024 * 1024;
const DEFAULT_ARTIFACT_BYTES: u64 = 20 * 1024 * 1024 * 1024;
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const MIN_TOKEN: usize = 8;
const MAX_WARM: usize = 64;
/// The engine refuses a container with less.
const MIN_MEMORY: u64 = 6 * 1024 * 1024;
const BYTES: &str = "bytes, such as 256m, 1g or 268435456";

/// Flags of `serve`. All are text here: they are parsed together with the environment, so that every mistake is reported
/// at once.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeFlags {
    /// Port, 0 for any free one [env: SEMILAYER_SANDBOX_PORT, LIGHT_RUN_PORT] [default: 3000]
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// Address to listen on [env: SEMILAYER_SANDBOX_HOST, LIGHT_RUN_HOST] [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Token that every request must carry; seen by every user, prefer SEMILAYER_SANDBOX_TOKEN_FILE [env:
    /// SEMILAYER_SANDBOX_TOKEN, LIGHT_RUN_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Listen beyond this machine without a token
    #[arg(long)]
    pub insecure_no_token: bool,
    /// Bytes of a body at the most [env: SEMILAYER_SANDBOX_BODY_LIMIT, LIGHT_RUN_BODY_LIMIT] [default: 10485760]
    #[arg(long, value_name = "BYTES")]
    pub body_limit: Option<String>,
    /// Runs at a time [env: SEMILAYER_SANDBOX_CONCURRENCY] [default: 64]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<String>,
    /// Requests that may wait for a run to end [env: SEMILAYER_SANDBOX_QUEUE] [default: 256]
    #[arg(long, value_name = "N")]
    pub queue: Option<String>,
    /// Bytes of requests that arrive or wait [env: SEMILAYER_SANDBOX_QUEUE_BYTES] [default: 256m, or the body limit]
    #[arg(long, value_name = "BYTES")]
    pub queue_bytes: Option<String>,
    /// Let runs join this network, or any with *; those made through this server need no word; can be given more than
    /// once [env: SEMILAYER_SANDBOX_ALLOW_NETWORK, with commas]
    #[arg(long, value_name = "NAME")]
    pub allow_network: Vec<String>,
    /// Keep N containers of an image ready; can be given more than once [env: SEMILAYER_SANDBOX_WARM, with commas]
    #[arg(long, value_name = "IMAGE=N")]
    pub warm: Vec<String>,
    /// Memory of a run at the most, swap included [env: SEMILAYER_SANDBOX_MEMORY] [default: 512m]
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Cores of a run at the most [env: SEMILAYER_SANDBOX_CPUS] [default: 1]
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// Processes and threads of a run at the most [env: SEMILAYER_SANDBOX_PIDS] [default: 100]
    #[arg(long, value_name = "N")]
    pub pids: Option<String>,
    /// Bytes that a run may write to its workdir [env: SEMILAYER_SANDBOX_DISK] [default: 1g]
    #[arg(long, value_name = "BYTES")]
    pub disk: Option<String>,
    /// Bytes of /tmp, which count as memory [env: SEMILAYER_SANDBOX_TMP] [default: 64m]
    #[arg(long, value_name = "BYTES")]
    pub tmp: Option<String>,
    /// runc, runsc or kata [env: SEMILAYER_SANDBOX_RUNTIME] [default: runc]
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// Graphics processors of every run, as docker run takes them [env: SEMILAYER_SANDBOX_GPUS] [default: none]
    #[arg(long, value_name = "GPUS")]
    pub gpus: Option<String>,
    /// How long a run may take that does not say so itself; a bare number is seconds [env: SEMILAYER_SANDBOX_TIMEOUT]
    /// [default: 20m]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// How files go in and out: auto, archive or shared [env: SEMILAYER_SANDBOX_TRANSFER] [default: auto]
    #[arg(long, value_name = "HOW")]
    pub transfer: Option<String>,
    /// Let callbacks reach this machine and private networks [env: SEMILAYER_SANDBOX_ALLOW_PRIVATE_CALLBACKS]
    #[arg(long)]
    pub allow_private_callbacks: bool,
    /// States, logs and callbacks under way [env: SEMILAYER_SANDBOX_STATE_DIR, LIGHT_RUNNER_STATE_DIR] [default:
    /// semilayer/sandbox in the XDG state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Files that runs have left [env: SEMILAYER_SANDBOX_ARTIFACTS_DIR, LIGHT_RUN_ARTIFACTS_DIR] [default: artifacts in
    /// the state directory]
    #[arg(long, value_name = "DIR")]
    pub artifacts_dir: Option<String>,
    /// Bytes of all artifacts, beyond which the oldest runs are removed [env: SEMILAYER_SANDBOX_MAX_ARTIFACTS_BYTES,
    /// LIGHT_RUN_MAX_ARTIFACTS_BYTES] [default: 20g]
    #[arg(long, value_name = "BYTES")]
    pub max_artifacts_bytes: Option<String>,
    /// The engine, unix://PATH or tcp://HOST:PORT [env: SEMILAYER_SANDBOX_DOCKER_HOST, DOCKER_HOST] [default: its own
    /// socket]
    #[arg(long, value_name = "URL")]
    pub docker_host: Option<String>,
    /// How long runs may take to end when the server stops [env: SEMILAYER_SANDBOX_DRAIN_TIMEOUT] [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub drain_timeout: Option<String>,
    /// error, warn, info, debug or filter directives [env: SEMILAYER_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [env: SEMILAYER_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Everything that a server needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What every request but `/health` must carry.
    pub token: Option<Secret>,
    /// Bytes of a body at the most.
    pub body_limit: usize,
    /// Runs at a time.
    pub concurrency: usize,
    /// Requests that may wait for one of them to end.
    pub queue: usize,
    /// Bytes of all requests that arrive or wait.
    pub queue_bytes: usize,
    /// Networks that runs may join beside those made through this server; `*` for any.
    pub networks: Vec<String>,
    /// Whether callbacks may reach this machine and private networks.
    pub private_callbacks: bool,
    /// Where artifacts are kept.
    pub artifacts: PathBuf,
    /// Bytes of all artifacts.
    pub artifact_bytes: u64,
    /// How long runs may take to end when the server stops.
    pub drain_timeout: Duration,
    /// What every run is granted.
    pub options: Options,
}

/// Everything that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The server's settings.
    pub settings: Settings,
    /// What is logged.
    pub log: LogSettings,
    /// Where spans go.
    pub traces: Option<TraceSettings>,
    /// Certificates that callbacks and spans trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// In place of the system's.
    pub ssl_cert_file: Option<PathBuf>,
    /// Proxies of the environment, for spans; a callback goes directly.
    pub proxies: Proxies,
    /// What works but should be changed; to be logged.
    pub warnings: Vec<Warning>,
}

impl Settings {
    /// Reads flags and environment.
    pub fn load(flags: &ServeFlags, source: &dyn Source) -> Result<Loaded, Mistakes> {
        let mut reader = Reader::new(source);
        let log = LogSettings::load(&mut reader, flags.log_level.clone(), flags.log_format.clone());
        let traces = TraceSettings::load(&mut reader, "semilayer-sandbox", env!("CARGO_PKG_VERSION"));
        let options = options(&mut reader, flags);
        let token = token(&mut reader, flags);
        let body_limit = number(&mut reader, BODY_LIMIT, &flags.body_limit, 1..=MAX_BODY_LIMIT)
            .unwrap_or(DEFAULT_BODY_LIMIT);
        let settings = Self {
            listen: listen(&mut reader, flags, token.is_some()),
            token,
            body_limit,
            concurrency: number(&mut reader, CONCURRENCY, &flags.concurrency, 1..=10_000)
                .unwrap_or(DEFAULT_CONCURRENCY),
            queue: number(&mut reader, QUEUE, &flags.queue, 0..=MAX_QUEUE).unwrap_or(DEFAULT_QUEUE),
            queue_bytes: queue_bytes(&mut reader, flags, body_limit),
            networks: networks(&mut reader, flags),
            private_callbacks: flags.allow_private_callbacks
                || reader.flag("SEMILAYER_SANDBOX_ALLOW_PRIVATE_CALLBACKS").unwrap_or_default(),
            artifacts: reader
                .text(ARTIFACTS_DIR.key(flags.artifacts_dir.clone()))
                .map_or_else(|| options.state_dir.join("artifacts"), PathBuf::from),
            artifact_bytes: bytes(&mut reader, ARTIFACT_BYTES, &flags.max_artifacts_bytes, 0)
                .unwrap_or(DEFAULT_ARTIFACT_BYTES),
            drain_timeout: reader
                .duration(DRAIN.key(flags.drain_timeout.clone()))
                .unwrap_or(DEFAULT_DRAIN_TIMEOUT),
            options,
        };
        let ca_file = reader.text("SEMILAYER_CA_FILE").map(PathBuf::from);
        let ssl_cert_file = reader.text("SSL_CERT_FILE").map(PathBuf::from);
        let proxies = Proxies::load(&mut reader);
        reader.tell_strangers(&[PREFIX]);
        let warnings = reader.finish()?;
        Ok(Loaded { settings, log, traces, ca_file, ssl_cert_file, proxies, warnings })
    }
}

/// A setting's names.
#[derive(Clone, Copy)]
struct Name {
    own: &'static str,
    fallback: Option<&'static str>,
    flag: &'static str,
}

impl Name {
    const fn new(own: &'static str, fallback: Option<&'static str>, flag: &'static str) -> Self {
        Self { own, fallback, flag }
    }

    fn key(self, value: Option<String>) -> Key {
        let key = Key::env(self.own).flag(self.flag, value);
        match self.fallback {
            Some(fallback) => key.or_env(fallback),
            None => key,
        }
    }
}

/// No other program has variables that begin so.
const PREFIX: &str = "SEMILAYER_SANDBOX_";
const PORT: Name = Name::new("SEMILAYER_SANDBOX_PORT", Some("LIGHT_RUN_PORT"), "--port");
const HOST: Name = Name::new("SEMILAYER_SANDBOX_HOST", Some("LIGHT_RUN_HOST"), "--host");
const TOKEN: Name = Name::new("SEMILAYER_SANDBOX_TOKEN", Some("LIGHT_RUN_TOKEN"), "--token");
const BODY_LIMIT: Name =
    Name::new("SEMILAYER_SANDBOX_BODY_LIMIT", Some("LIGHT_RUN_BODY_LIMIT"), "--body-limit");
const CONCURRENCY: Name = Name::new("SEMILAYER_SANDBOX_CONCURRENCY", None, "--concurrency");
const QUEUE: Name = Name::new("SEMILAYER_SANDBOX_QUEUE", None, "--queue");
const QUEUE_BYTES: Name = Name::new("SEMILAYER_SANDBOX_QUEUE_BYTES", None, "--queue-bytes");
const ALLOW_NETWORK: &str = "SEMILAYER_SANDBOX_ALLOW_NETWORK";
const MEMORY: Name = Name::new("SEMILAYER_SANDBOX_MEMORY", None, "--memory");
const CPUS: Name = Name::new("SEMILAYER_SANDBOX_CPUS", None, "--cpus");
const PIDS: Name = Name::new("SEMILAYER_SANDBOX_PIDS", None, "--pids");
const DISK: Name = Name::new("SEMILAYER_SANDBOX_DISK", None, "--disk");
const TMP: Name = Name::new("SEMILAYER_SANDBOX_TMP", None, "--tmp");
const RUNTIME: Name = Name::new("SEMILAYER_SANDBOX_RUNTIME", None, "--runtime");
const GPUS: Name = Name::new("SEMILAYER_SANDBOX_GPUS", None, "--gpus");
const TIMEOUT: Name = Name::new("SEMILAYER_SANDBOX_TIMEOUT", None, "--timeout");
const TRANSFER: Name = Name::new("SEMILAYER_SANDBOX_TRANSFER", None, "--transfer");
const STATE_DIR: Name =
    Name::new("SEMILAYER_SANDBOX_STATE_DIR", Some("LIGHT_RUNNER_STATE_DIR"), "--state-dir");
const ARTIFACTS_DIR: Name =
    Name::new("SEMILAYER_SANDBOX_ARTIFACTS_DIR", Some("LIGHT_RUN_ARTIFACTS_DIR"), "--artifacts-dir");
const ARTIFACT_BYTES: Name = Name::new(
    "SEMILAYER_SANDBOX_MAX_ARTIFACTS_BYTES",
    Some("LIGHT_RUN_MAX_ARTIFACTS_BYTES"),
    "--max-artifacts-bytes",
);
const DOCKER_HOST: Name = Name::new("SEMILAYER_SANDBOX_DOCKER_HOST", Some("DOCKER_HOST"), "--docker-host");
const DRAIN: Name = Name::new("SEMILAYER_SANDBOX_DRAIN_TIMEOUT", None, "--drain-timeout");
const PING: &str = "SEMILAYER_SANDBOX_PING_TIMEOUT_MS";
const REAP_AGE: &str = "SEMILAYER_SANDBOX_REAP_AGE_MS";
const STATE_BYTES: &str = "SEMILAYER_SANDBOX_STATE_MAX_BYTES";

fn options(reader: &mut Reader<'_>, flags: &ServeFlags) -> Options {
    let mut options = Options::new(state_dir(reader, flags));
    let address = |text: &str| Options::is_docker_host(text).then(|| text.to_owned());
    let docker_host = DOCKER_HOST.key(flags.docker_host.clone());
    options.docker_host = reader.parsed_by(docker_host, Options::DOCKER_HOST, address);
    if reader.text("DOCKER_TLS_VERIFY").is_some() || !is_plain(options.docker_host.as_deref()) {
        options.docker_certs = reader.text("DOCKER_CERT_PATH").map(PathBuf::from);
    }
    set(&mut options.memory, bytes(reader, MEMORY, &flags.memory, MIN_MEMORY));
    set(&mut options.disk, bytes(reader, DISK, &flags.disk, 1));
    set(&mut options.tmp, bytes(reader, TMP, &flags.tmp, 1));
    set(
        &mut options.cpus,
        reader.parsed_by(CPUS.key(flags.cpus.clone()), "a number of cores above 0", parse_cpus),
    );
    set(&mut options.pids, number(reader, PIDS, &flags.pids, 1..=u32::MAX));
    let runtime = RUNTIME.key(flags.runtime.clone());
    set(&mut options.runtime, reader.parsed_by(runtime, "runc, runsc or kata", parse_runtime));
    options.gpus = reader.text(GPUS.key(flags.gpus.clone()));
    set(&mut options.timeout, reader.duration(TIMEOUT.key(flags.timeout.clone())));
    let transfer = TRANSFER.key(flags.transfer.clone());
    set(&mut options.transfer, reader.parsed_by(transfer, "auto, archive or shared", parse_transfer));
    set(&mut options.ping_timeout, milliseconds(reader, PING, "DOCKER_PING_TIMEOUT_MS"));
    set(&mut options.reap_age, milliseconds(reader, REAP_AGE, "LIGHT_RUNNER_REAP_AGE_MS"));
    let budget = Key::env(STATE_BYTES).or_env("LIGHT_RUNNER_STATE_MAX_BYTES");
    set(&mut options.state_budget, reader.parsed_by(budget, BYTES, parse_bytes));
    options.warm = warm(reader, flags);
    options
}

fn set<T>(option: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *option = value;
    }
}

/// The state directory: named, or within that of XDG.
fn state_dir(reader: &mut Reader<'_>, flags: &ServeFlags) -> PathBuf {
    let named = reader.text(STATE_DIR.key(flags.state_dir.clone())).map(PathBuf::from);
    let xdg = reader.text("XDG_STATE_HOME").map(|folder| PathBuf::from(folder).join("semilayer/sandbox"));
    let home = reader.text("HOME").map(|folder| PathBuf::from(folder).join(".local/state/semilayer/sandbox"));
    named.or(xdg).or(home).unwrap_or_else(|| {
        reader.mistake(STATE_DIR.own, "expected a directory: there is no HOME to take one from");
        PathBuf::new()
    })
}

fn listen(reader: &mut Reader<'_>, flags: &ServeFlags, has_token: bool) -> SocketAddr {
    let port = reader.port(PORT.key(flags.port.clone())).unwrap_or(DEFAULT_PORT);
    let host =
        reader.parsed_by(HOST.key(flags.host.clone()), "an address such as 127.0.0.1 or ::", parse_host);
    let host = host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if !has_token && !host.is_loopback() && !flags.insecure_no_token {
        let message = "is required to listen beyond this machine: who reaches the port runs what they like. \
                       --insecure-no-token does without";
        reader.mistake(TOKEN.own, message);
    }
    SocketAddr::new(host, port)
}

fn token(reader: &mut Reader<'_>, flags: &ServeFlags) -> Option<Secret> {
    let token = reader.secret(TOKEN.key(flags.token.clone()))?;
    let trimmed = token.expose().trim();
    if trimmed.len() < MIN_TOKEN {
        reader.mistake(TOKEN.own, format!("expected at least {MIN_TOKEN} characters"));
    }
    if !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
        reader.mistake(TOKEN.own, "expected printable ASCII without blanks, as a header carries it");
    }
    Some(Secret::new(trimmed))
}

/// At least one body, or the largest could never come.
fn queue_bytes(reader: &mut Reader<'_>, flags: &ServeFlags, body_limit: usize) -> usize {
    let enough = |text: &str| {
        let bytes = usize::try_from(parse_bytes(text)?).ok()?;
        (bytes >= body_limit).then_some(bytes)
    };
    let expected = format!("{BYTES}, and no fewer than a body may have, which is {body_limit}");
    let bytes = reader.parsed_by(QUEUE_BYTES.key(flags.queue_bytes.clone()), &expected, enough);
    bytes.unwrap_or(DEFAULT_QUEUE_BYTES.max(body_limit))
}

fn networks(reader: &mut Reader<'_>, flags: &ServeFlags) -> Vec<String> {
    let names = match flags.allow_network.as_slice() {
        [] => list(&reader.text(ALLOW_NETWORK).unwrap_or_default()),
        names => names.to_vec(),
    };
    if names.iter().any(|name| name == "host") {
        reader.mistake(ALLOW_NETWORK, "expected networks of containers: the machine's own is never given");
    }
    names
}

fn warm(reader: &mut Reader<'_>, flags: &ServeFlags) -> Vec<(String, usize)> {
    let wishes = match flags.warm.as_slice() {
        [] => list(&reader.text("SEMILAYER_SANDBOX_WARM").unwrap_or_default()),
        wishes => wishes.to_vec(),
    };
    let mut warm = Vec::new();
    for wish in wishes {
        // An image's name may hold `=` in no place, so the last one is ours.
        let parsed = wish.rsplit_once('=').and_then(|(image, count)| Some((image, count.parse().ok()?)));
        match parsed {
            Some((image, count)) if !image.is_empty() && (1..=MAX_WARM).contains(&count) => {
                warm.push((image.to_owned(), count));
            }
            _ => {
                let message =
                    format!("expected IMAGE=N with N from 1 to {MAX_WARM}, such as python:3.13-slim=4");
                reader.mistake("SEMILAYER_SANDBOX_WARM", message);
            }
        }
    }
    warm
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn number<T>(
    reader: &mut Reader<'_>,
    name: Name,
    flag: &Option<String>,
    range: std::ops::RangeInclusive<T>,
) -> Option<T>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let within = |text: &str| text.parse().ok().filter(|number| range.contains(number));
    reader.parsed_by(name.key(flag.clone()), &expected, within)
}

fn bytes(reader: &mut Reader<'_>, name: Name, flag: &Option<String>, least: u64) -> Option<u64> {
    let enough = |text: &str| parse_bytes(text).filter(|bytes| *bytes >= least);
    let expected = match least {
        0 | 1 => BYTES.to_owned(),
        least => format!("{BYTES}, and at least {least} of them"),
    };
    reader.parsed_by(name.key(flag.clone()), &expected, enough)
}

fn milliseconds(reader: &mut Reader<'_>, own: &'static str, fallback: &'static str) -> Option<Duration> {
    let key = Key::env(own).or_env(fallback);
    reader.parsed(key, "a whole number of milliseconds").map(Duration::from_millis)
}

/// `512m`, `1g`, `64k` or a number of bytes: units of 1024, in either case.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (text.get(..at)?, 10),
        (at, 'm' | 'M') => (text.get(..at)?, 20),
        (at, 'g' | 'G') => (text.get(..at)?, 30),
        _ => (text, 0),
    };
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = all_digits.then(|| digits.parse().ok())??;
    number.checked_mul(1 << shift)
}

fn parse_host(text: &str) -> Option<IpAddr> {
    match text {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        text => text.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    }
}

fn parse_cpus(text: &str) -> Option<f64> {
    text.parse().ok().filter(|cpus: &f64| cpus.is_finite() && *cpus >= 0.01)
}

fn parse_runtime(text: &str) -> Option<ContainerRuntime> {
    match text {
        "runc" => Some(ContainerRuntime::Runc),
        "runsc" => Some(ContainerRuntime::Runsc),
        "kata" => Some(ContainerRuntime::Kata),
        _ => None,
    }
}

fn parse_transfer(text: &str) -> Option<Transfer> {
    match text {
        "auto" => Some(Transfer::Auto),
        "archive" => Some(Transfer::Archive),
        "shared" => Some(Transfer::Shared),
        _ => None,
    }
}

fn is_plain(docker_host: Option<&str>) -> bool {
    docker_host.is_none_or(|host| !host.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use runtime::settings::Mapping;

    use super::*;

    fn load(flags: &ServeFlags, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let mapping: Mapping =
            environment.iter().map(|(key, value)| (*key, *value)).chain([("HOME", "/h")]).collect();
        Settings::load(flags, &mapping).map(|loaded| loaded.settings).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn the_defaults_are_the_published_ones() {
        let settings = load(&ServeFlags::default(), &[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:3000");
        assert_eq!((settings.body_limit, settings.artifact_bytes), (10_485_760, 20 << 30));
        assert_eq!((settings.queue_bytes, settings.networks.len()), (256 << 20, 0));
        assert_eq!(settings.options.state_dir, PathBuf::from("/h/.local/state/semilayer/sandbox"));
        assert_eq!(settings.artifacts, settings.options.state_dir.join("artifacts"));
        assert!(settings.token.is_none() && !settings.private_callbacks && settings.options.warm.is_empty());
    }

    #[test]
    fn variables_that_are_no_settings_are_warned_of_without_their_values() {
        let environment =
            [("SEMILAYER_SANDBOX_MEMROY", "hunter2"), ("SEMILAYER_SANDBOX_NETWORK", "none"), ("HOME", "/h")];
        let mapping: Mapping = environment.into_iter().collect();
        let warnings = Settings::load(&ServeFlags::default(), &mapping).unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let expected = [
            "SEMILAYER_SANDBOX_MEMROY: is not a setting; did you mean SEMILAYER_SANDBOX_MEMORY?",
            "SEMILAYER_SANDBOX_NETWORK: is not a setting; did you mean SEMILAYER_SANDBOX_ALLOW_NETWORK?",
        ];
        assert_eq!(told, expected);
        let flags = ServeFlags { allow_network: vec!["db".to_owned()], ..ServeFlags::default() };
        let mapping: Mapping = [(ALLOW_NETWORK, "web"), ("HOME", "/h")].into_iter().collect();
        assert!(Settings::load(&flags, &mapping).unwrap().warnings.is_empty(), "known, and the flag wins");
    }

    #[test]
    fn names_of_old_are_understood_and_ours_stand_above_them() {
        let old = [
            ("LIGHT_RUN_PORT", "4000"),
            ("LIGHT_RUN_HOST", "::1"),
            ("LIGHT_RUN_TOKEN", "a-token-of-old"),
            ("LIGHT_RUN_BODY_LIMIT", "1024"),
            ("LIGHT_RUN_ARTIFACTS_DIR", "/a"),
            ("LIGHT_RUN_MAX_ARTIFACTS_BYTES", "200"),
            ("LIGHT_RUNNER_STATE_DIR", "/s"),
            ("LIGHT_RUNNER_REAP_AGE_MS", "0"),
            ("LIGHT_RUNNER_STATE_MAX_BYTES", "5m"),
            ("DOCKER_HOST", "unix:///d.sock"),
            ("DOCKER_PING_TIMEOUT_MS", "250"),
        ];
        let settings = load(&ServeFlags::default(), &old).unwrap();
        assert_eq!(settings.listen.to_string(), "[::1]:4000");
        assert_eq!(settings.token.unwrap().expose(), "a-token-of-old");
        assert_eq!((settings.body_limit, settings.artifact_bytes), (1024, 200));
        assert_eq!((settings.artifacts, settings.options.state_dir), ("/a".into(), "/s".into()));
        assert_eq!((settings.options.reap_age, settings.options.state_budget), (Duration::ZERO, 5 << 20));
        assert_eq!(settings.options.docker_host.as_deref(), Some("unix:///d.sock"));
        assert_eq!(settings.options.ping_timeout, Duration::from_millis(250));
        let both = [("LIGHT_RUN_PORT", "4000"), ("SEMILAYER_SANDBOX_PORT", "5000")];
        assert_eq!(load(&ServeFlags::default(), &both).unwrap().listen.port(), 5000);
        let flags = ServeFlags { port: Some("0".to_owned()), ..ServeFlags::default() };
        assert_eq!(load(&flags, &both).unwrap().listen.port(), 0);
    }

    #[test]
    fn what_a_run_is_granted_is_for_the_operator_to_say() {
        let flags = ServeFlags {
            warm: vec!["registry:5000/a:b=2".to_owned(), "busybox=1".to_owned()],
            ..ServeFlags::default()
        };
        let environment = [
            ("SEMILAYER_SANDBOX_MEMORY", "1G"),
            ("SEMILAYER_SANDBOX_CPUS", "0.5"),
            ("SEMILAYER_SANDBOX_PIDS", "7"),
            ("SEMILAYER_SANDBOX_RUNTIME", "runsc"),
            ("SEMILAYER_SANDBOX_TRANSFER", "archive"),
            ("SEMILAYER_SANDBOX_TIMEOUT", "90s"),
            ("SEMILAYER_SANDBOX_WARM", "ignored=1"),
        ];
        let options = load(&flags, &environment).unwrap().options;
        assert_eq!((options.memory, options.cpus, options.pids), (1 << 30, 0.5, 7));
        assert_eq!((options.runtime, options.transfer), (ContainerRuntime::Runsc, Transfer::Archive));
        assert_eq!(options.timeout, Duration::from_secs(90));
        assert_eq!(options.warm, [("registry:5000/a:b".to_owned(), 2), ("busybox".to_owned(), 1)]);
    }

    #[test]
    fn every_mistake_is_reported_at_once_and_no_secret_with_it() {
        let environment = [
            ("SEMILAYER_SANDBOX_PORT", "65536"),
            ("SEMILAYER_SANDBOX_HOST", "everywhere"),
            ("SEMILAYER_SANDBOX_TOKEN", "hunter2"),
            ("SEMILAYER_SANDBOX_BODY_LIMIT", "many"),
            ("SEMILAYER_SANDBOX_CONCURRENCY", "0"),
            ("SEMILAYER_SANDBOX_QUEUE", "-1"),
            ("SEMILAYER_SANDBOX_QUEUE_BYTES", "1m"),
            ("SEMILAYER_SANDBOX_ALLOW_NETWORK", "db, host"),
            ("SEMILAYER_SANDBOX_MEMORY", "1.5g"),
            ("SEMILAYER_SANDBOX_CPUS", "nan"),
            ("SEMILAYER_SANDBOX_PIDS", "0"),
            ("SEMILAYER_SANDBOX_RUNTIME", "crun"),
            ("SEMILAYER_SANDBOX_TRANSFER", "pigeon"),
            ("SEMILAYER_SANDBOX_WARM", "busybox"),
            ("DOCKER_HOST", "/var/run/docker.sock"),
            ("LIGHT_RUN_MAX_ARTIFACTS_BYTES", "1t"),
        ];
        let mistakes = load(&ServeFlags::default(), &environment).unwrap_err();
        for (key, _) in environment {
            assert!(mistakes.contains(&format!("{key}: ")), "{key}: {mistakes}");
        }
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
    }

    #[test]
    fn the_line_has_room_for_the_largest_body() {
        let large = [("LIGHT_RUN_BODY_LIMIT", "1073741824")];
        assert_eq!(load(&ServeFlags::default(), &large).unwrap().queue_bytes, 1 << 30);
        let small = [("SEMILAYER_SANDBOX_BODY_LIMIT", "1024"), ("SEMILAYER_SANDBOX_QUEUE_BYTES", "1k")];
        assert_eq!(load(&ServeFlags::default(), &small).unwrap().queue_bytes, 1024);
    }

    #[test]
    fn networks_are_allowed_one_by_one() {
        let environment = [("SEMILAYER_SANDBOX_ALLOW_NETWORK", "db, bridge,")];
        assert_eq!(load(&ServeFlags::default(), &environment).unwrap().networks, ["db", "bridge"]);
        let flags = ServeFlags { allow_network: vec!["*".to_owned()], ..ServeFlags::default() };
        assert_eq!(load(&flags, &environment).unwrap().networks, ["*"]);
    }

    #[test]
    fn other_machines_need_a_token_or_a_word() {
        let beyond = [("SEMILAYER_SANDBOX_HOST", "0.0.0.0")];
        assert!(
            load(&ServeFlags::default(), &beyond)
                .unwrap_err()
                .contains("SEMILAYER_SANDBOX_TOKEN: is required")
        );
        let flags = ServeFlags { insecure_no_token: true, ..ServeFlags::default() };
        assert!(load(&flags, &beyond).is_ok());
        let with_token = [("SEMILAYER_SANDBOX_HOST", "0.0.0.0"), ("LIGHT_RUN_TOKEN", "0123456789")];
        assert!(load(&ServeFlags::default(), &with_token).is_ok());
    }

    #[test]
    fn sizes_are_whole_numbers_with_a_unit_of_1024() {
        for (text, size) in [("1", 1), ("64k", 65_536), ("512M", 512 << 20), (" 2g ", 2 << 30)] {
            assert_eq!(parse_bytes(text), Some(size), "{text}");
        }
        for text in ["", "m", "1.5g", "1gb", "-1", "+1", "1 m", "99999999999g", "²"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
