//! What a gateway may run on this host.
//!
//! ```toml
//! [exec]
//! modes = ["sandbox", "readonly"]   # nothing by default; "full" gives the host away
//! max_exec = 8
//! max_timeout = "1h"
//!
//! [exec.readonly]
//! docker = true
//! paths = ["/srv/reports"]          # may be read beside /etc, /usr, /var/log and parts of /proc and /sys
//! folders = ["/opt/tools/bin"]      # programs are found there, too
//!
//! [exec.sandbox]
//! image = "alpine:3.19"
//! images = ["python:*", "ghcr.io/acme/*"]
//! networks = ["build"]
//! memory = "512m"
//! ```
//!
//! Every single value has a variable as well: `SEMILAYER_EXEC_` and its path, `SEMILAYER_EXEC_SANDBOX_MEMORY`; a list there
//! has commas.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use protocol::ExecMode;
use runtime::settings::{Key, Reader, Source};
use sandbox::{ContainerRuntime, Options};
use toml::{Table, Value};

use super::{images::ImagePattern, state_dir};
use crate::cli::Flags;
pub use crate::exec::OutputCaps;

const NAME: &str = "SEMILAYER_EXEC";
/// No other program has variables that begin so.
pub(super) const PREFIX: &str = "SEMILAYER_EXEC_";
const MIB: u64 = 1024 * 1024;
const DEFAULT_IMAGE: &str = "alpine:3.19";

/// Values of `[exec]` that are single, by their path.
const VALUES: &[&str] = &[
    "max_exec",
    "max_timeout",
    "grace",
    "output_head",
    "output_tail",
    "docker_host",
    "docker_certs",
    "readonly.docker",
    "sandbox.image",
    "sandbox.memory",
    "sandbox.cpus",
    "sandbox.pids",
    "sandbox.disk",
    "sandbox.runtime",
    "sandbox.extract",
];

/// Lists of `[exec]`.
const LISTS: &[&str] = &["modes", "readonly.folders", "readonly.paths", "sandbox.images", "sandbox.networks"];

/// What a gateway may run on this host. The default is nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecSettings {
    /// How commands may run.
    pub modes: BTreeSet<ExecMode>,
    /// Commands at once; more wait.
    pub max_exec: u32,
    /// The longest time that a command may take; who asks for more gets this.
    pub max_timeout: Duration,
    /// How long a command may take to end when it was asked to.
    pub grace: Duration,
    /// How much is kept of each of a command's two outputs.
    pub output: OutputCaps,
    /// `readonly`: whether `docker` is one of the programs.
    pub docker: bool,
    /// `readonly`: folders with programs, beside those of the system.
    pub folders: Vec<PathBuf>,
    /// `readonly`: folders that may be read, beside those of the system.
    pub paths: Vec<PathBuf>,
    /// What is the runner's own and is never read: settings, state, secrets.
    pub own: Vec<PathBuf>,
    /// Where the Docker engine is; its usual socket without.
    pub docker_host: Option<String>,
    /// The folder with certificates for an engine behind TLS.
    pub docker_certs: Option<PathBuf>,
    /// `sandbox`: the upper bounds of a container.
    pub sandbox: SandboxSettings,
}

/// The upper bounds of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxSettings {
    /// The image of a command that names none.
    pub image: String,
    /// The images that may be named, beside the default one.
    pub images: Vec<ImagePattern>,
    /// The networks that may be named. Without naming one a command has none.
    pub networks: Vec<String>,
    /// Bytes of memory, swap included.
    pub memory: u64,
    /// Processors.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes that it may write.
    pub disk: u64,
    /// Which runtime of the engine.
    pub runtime: ContainerRuntime,
    /// Bytes of all files that one command may give back.
    pub extract: u64,
    /// Where states and files of runs are kept; without a state directory there is no sandbox.
    pub state_dir: Option<PathBuf>,
}

impl Default for ExecSettings {
    fn default() -> Self {
        Self {
            modes: BTreeSet::new(),
            max_exec: 8,
            max_timeout: Duration::from_secs(3_600),
            grace: Duration::from_secs(2),
            output: OutputCaps { head: 256 * 1024, tail: 256 * 1024 },
            docker: false,
            folders: Vec::new(),
            paths: Vec::new(),
            own: Vec::new(),
            docker_host: None,
            docker_certs: None,
            sandbox: SandboxSettings::default(),
        }
    }
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            image: DEFAULT_IMAGE.to_owned(),
            images: Vec::new(),
            networks: Vec::new(),
            memory: 512 * MIB,
            cpus: 1.0,
            pids: 100,
            disk: 1024 * MIB,
            runtime: ContainerRuntime::Runc,
            extract: 8 * MIB,
            state_dir: None,
        }
    }
}

impl ExecSettings {
    /// Whether anything may run.
    pub fn is_on(&self) -> bool {
        !self.modes.is_empty()
    }

    /// Whether commands may run in that mode. Who may run whatever they like may also do with less.
    pub fn grants(&self, mode: ExecMode) -> bool {
        let more = mode == ExecMode::Readonly && self.modes.contains(&ExecMode::Full);
        more || self.modes.contains(&mode)
    }

    /// The modes as the setting is written, `off` for none.
    pub fn shown(&self) -> String {
        if !self.is_on() {
            return "off".to_owned();
        }
        self.modes.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The variables beside `SEMILAYER_EXEC` that are set in `source`. Where nothing may run they have no effect.
    pub(crate) fn variables(source: &dyn Source) -> Vec<String> {
        let is_set = |name: &String| source.get(name).is_some_and(|text| !text.is_empty());
        variables().filter(is_set).collect()
    }

    pub(super) fn read(reader: &mut Reader<'_>, flags: &Flags, table: &Table) -> Self {
        refuse_unknown(reader, table);
        reader.reads(NAME);
        variables().for_each(|name| reader.reads(name));
        let defaults = Self::default();
        let sandbox = SandboxSettings::read(reader, flags, table);
        let modes = modes(reader, flags, table);
        let docker_certs = reader.text(key("docker_certs").or_env("DOCKER_CERT_PATH")).map(PathBuf::from);
        let settings = Self {
            docker_host: docker_host(reader, !modes.is_empty()),
            modes,
            max_exec: whole(reader, "max_exec", 1..=256).unwrap_or(defaults.max_exec),
            max_timeout: seconds(reader, "max_timeout", 1..=86_400).unwrap_or(defaults.max_timeout),
            grace: seconds(reader, "grace", 0..=4).unwrap_or(defaults.grace),
            output: OutputCaps {
                head: bytes(reader, "output_head", 0..=4 * MIB).map_or(defaults.output.head, memory_size),
                tail: bytes(reader, "output_tail", 0..=4 * MIB).map_or(defaults.output.tail, memory_size),
            },
            docker: reader.flag(key("readonly.docker")).unwrap_or(false),
            folders: folders(reader, table, "readonly.folders"),
            paths: folders(reader, table, "readonly.paths"),
            own: own_files(reader.source(), flags, table, sandbox.state_dir.as_deref())
                .into_iter()
                .chain(docker_certs.clone())
                .collect(),
            docker_certs,
            sandbox,
        };
        settings.check(reader);
        settings
    }

    fn check(&self, reader: &mut Reader<'_>) {
        if self.grants(ExecMode::Full) {
            reader.warn(NAME, "full lets the gateway do whatever this runner's user may do on this host");
        }
        if self.grants(ExecMode::Sandbox) && self.sandbox.state_dir.is_none() {
            reader.mistake(NAME, "sandbox needs a state directory: set SEMILAYER_STATE_DIR");
        }
    }
}

impl SandboxSettings {
    fn read(reader: &mut Reader<'_>, flags: &Flags, table: &Table) -> Self {
        let defaults = Self::default();
        let runtime = "runc, runsc or kata";
        let cpus = |text: &str| text.parse().ok().filter(|cpus: &f64| *cpus > 0.0 && *cpus <= 1_024.0);
        let image = |text: &str| ImagePattern::is_reference(text).then(|| text.to_owned());
        Self {
            image: reader
                .parsed_by(key("sandbox.image"), "the name of an image", image)
                .unwrap_or(defaults.image),
            images: images(reader, table),
            networks: names(reader, table, "sandbox.networks"),
            memory: bytes(reader, "sandbox.memory", 4 * MIB..=1 << 50).unwrap_or(defaults.memory),
            cpus: reader
                .parsed_by(key("sandbox.cpus"), "a number above 0 and up to 1024", cpus)
                .unwrap_or(defaults.cpus),
            pids: whole(reader, "sandbox.pids", 1..=1_000_000).unwrap_or(defaults.pids),
            disk: bytes(reader, "sandbox.disk", MIB..=1 << 50).unwrap_or(defaults.disk),
            runtime: reader.parsed_by(key("sandbox.runtime"), runtime, container_runtime).unwrap_or_default(),
            extract: bytes(reader, "sandbox.extract", 0..=8 * MIB).unwrap_or(defaults.extract),
            state_dir: state_dir(reader, flags).map(|state| state.join("sandbox")),
        }
    }
}

/// `exec.<path>` of the file and its variable.
fn key(path: &str) -> Key {
    Key::env(variable(path)).file(format!("exec.{path}"))
}

/// All variables but [`NAME`], which stands for `modes`.
fn variables() -> impl Iterator<Item = String> {
    VALUES.iter().chain(LISTS).filter(|path| **path != "modes").map(|path| variable(path))
}

fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

fn modes(reader: &mut Reader<'_>, flags: &Flags, table: &Table) -> BTreeSet<ExecMode> {
    let given = flags.exec.clone().or_else(|| reader.source().get(NAME)).filter(|text| !text.is_empty());
    let words = match given {
        Some(text) => split(&text),
        None => list_of_file(reader, table, "modes"),
    };
    if words == ["off"] {
        return BTreeSet::new();
    }
    let mut modes = BTreeSet::new();
    for word in words {
        match ExecMode::of(&word) {
            Some(mode) => {
                modes.insert(mode);
            }
            None => {
                reader.mistake(NAME, "expected off, or some of sandbox, readonly and full between commas");
                return BTreeSet::new();
            }
        }
    }
    modes
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_owned()).collect()
}

/// The variable's list, else the file's.
fn list(reader: &mut Reader<'_>, table: &Table, path: &str) -> Vec<String> {
    match reader.source().get(&variable(path)).filter(|text| !text.is_empty()) {
        Some(text) => split(&text),
        None => list_of_file(reader, table, path),
    }
}

fn list_of_file(reader: &mut Reader<'_>, table: &Table, path: &str) -> Vec<String> {
    let value = path.split('.').try_fold(table.get("exec"), |at, name| Some(at?.as_table()?.get(name)));
    match value.flatten().cloned().map(Value::try_into::<Vec<String>>) {
        None => Vec::new(),
        Some(Ok(texts)) => texts,
        Some(Err(_)) => {
            reader.mistake(format!("exec.{path}"), "expected a list of texts");
            Vec::new()
        }
    }
}

fn folders(reader: &mut Reader<'_>, table: &Table, path: &str) -> Vec<PathBuf> {
    let folders: Vec<_> = list(reader, table, path).into_iter().map(PathBuf::from).collect();
    if folders.iter().any(|folder| !folder.is_absolute()) {
        reader.mistake(variable(path), "expected absolute paths");
        return Vec::new();
    }
    folders
}

fn names(reader: &mut Reader<'_>, table: &Table, path: &str) -> Vec<String> {
    let names = list(reader, table, path);
    let fits = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter))
    };
    if !names.iter().all(fits) {
        reader.mistake(variable(path), "expected names of letters, digits, _, . and -");
        return Vec::new();
    }
    if names.iter().any(|name| name == "host" || name.starts_with("container")) {
        reader.mistake(variable(path), "expected networks that are not the host's nor another container's");
        return Vec::new();
    }
    names
}

fn images(reader: &mut Reader<'_>, table: &Table) -> Vec<ImagePattern> {
    let patterns = list(reader, table, "sandbox.images");
    let parsed: Option<Vec<_>> = patterns.iter().map(|pattern| ImagePattern::parse(pattern)).collect();
    parsed.unwrap_or_else(|| {
        let message = "expected names of images such as python:3.12-slim, python:* or ghcr.io/acme/*";
        reader.mistake(variable("sandbox.images"), message);
        Vec::new()
    })
}

fn whole(reader: &mut Reader<'_>, path: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    reader.parsed_by(key(path), &expected, |text| text.parse().ok().filter(|number| range.contains(number)))
}

fn seconds(reader: &mut Reader<'_>, path: &str, range: std::ops::RangeInclusive<u64>) -> Option<Duration> {
    let expected = format!("a duration from {} s to {} s", range.start(), range.end());
    let (least, most) = (Duration::from_secs(*range.start()), Duration::from_secs(*range.end()));
    let parse =
        |text: &str| runtime::settings::parse_duration(text).filter(|time| *time >= least && *time <= most);
    reader.parsed_by(key(path), &expected, parse)
}

/// Bytes with `k`, `m` or `g` behind them, which are powers of 1024.
fn bytes(reader: &mut Reader<'_>, path: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let expected = format!("bytes such as 512m, from {} to {}", range.start(), range.end());
    reader.parsed_by(key(path), &expected, |text| size(text).filter(|bytes| range.contains(bytes)))
}

fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let shift = match text.strip_prefix(digits)?.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn memory_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn container_runtime(text: &str) -> Option<ContainerRuntime> {
    match text {
        "runc" => Some(ContainerRuntime::Runc),
        "runsc" => Some(ContainerRuntime::Runsc),
        "kata" => Some(ContainerRuntime::Kata),
        _ => None,
    }
}

/// The engine's own variable is nobody's business where nothing runs.
fn docker_host(reader: &mut Reader<'_>, on: bool) -> Option<String> {
    let known = |text: &str| Options::is_docker_host(text).then(|| text.to_owned());
    let key = key("docker_host");
    let key = if on { key.or_env("DOCKER_HOST") } else { key };
    reader.parsed_by(key, Options::DOCKER_HOST, known)
}

/// Files and folders that are named in the settings because there is a secret or the runner's state in them.
fn own_files(
    source: &dyn Source,
    flags: &Flags,
    table: &Table,
    state: Option<&std::path::Path>,
) -> Vec<PathBuf> {
    let config = flags.config.clone().or_else(|| source.get("SEMILAYER_CONFIG"));
    let secrets = source
        .names("SEMILAYER_")
        .into_iter()
        .filter(|name| name.ends_with("_FILE") || name.ends_with("_FILENAME"));
    let secrets = secrets.filter(|name| name != "SEMILAYER_CA_FILE").filter_map(|name| source.get(&name));
    let token = table.get("token_file").and_then(Value::as_str).map(str::to_owned);
    let named = config.into_iter().chain(secrets).chain(token).filter(|path| !path.is_empty());
    let state = state.and_then(std::path::Path::parent).map(PathBuf::from);
    named.map(PathBuf::from).chain(state).collect()
}

fn refuse_unknown(reader: &mut Reader<'_>, table: &Table) {
    match table.get("exec") {
        None => {}
        Some(Value::Table(exec)) => refuse_below(reader, exec, ""),
        Some(_) => reader.mistake("exec", "expected a table [exec] with modes = [\"sandbox\", \"readonly\"]"),
    }
}

fn refuse_below(reader: &mut Reader<'_>, table: &Table, prefix: &str) {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        match value {
            Value::Table(inner) if prefix.is_empty() && (name == "readonly" || name == "sandbox") => {
                refuse_below(reader, inner, &format!("{name}."));
            }
            _ if VALUES.contains(&path.as_str()) || LISTS.contains(&path.as_str()) => {}
            _ => reader.mistake(format!("exec.{path}"), "is not a setting of the config file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::settings::Mapping;

    use super::*;

    fn read(pairs: &[(&str, &str)], file: &str) -> Result<ExecSettings, Vec<String>> {
        let mut source = Mapping::default();
        source.insert("SEMILAYER_STATE_DIR", "/var/lib/semilayer");
        for (name, value) in pairs {
            source.insert(*name, *value);
        }
        let table: Table = file.parse().unwrap();
        let mut reader = Reader::new(&source).with_file(&table);
        let settings = ExecSettings::read(&mut reader, &Flags::default(), &table);
        match reader.finish() {
            Ok(_) => Ok(settings),
            Err(mistakes) => Err(mistakes.iter().map(|mistake| mistake.key.clone()).collect()),
        }
    }

    #[test]
    fn the_other_programs_know_every_variable_of_shell_jobs() {
        let source: Mapping = variables().map(|name| (name, "1")).collect();
        let mut reader = Reader::new(&source);
        reader.tell_strangers(&[PREFIX]);
        assert_eq!(reader.finish().unwrap(), []);
        assert_eq!(variables().count(), VALUES.len() + LISTS.len() - 1);
    }

    #[test]
    fn nothing_runs_by_default() {
        for settings in
            [read(&[], "").unwrap(), read(&[(NAME, "off")], "[exec]\nmodes = [\"full\"]").unwrap()]
        {
            assert!(!settings.is_on());
            assert_eq!(settings.shown(), "off");
        }
    }

    #[test]
    fn modes_add_up() {
        let settings = read(&[(NAME, "sandbox, readonly")], "").unwrap();
        assert!(settings.grants(ExecMode::Sandbox) && settings.grants(ExecMode::Readonly));
        let full = ExecSettings { modes: [ExecMode::Full].into(), ..ExecSettings::default() };
        assert!(full.grants(ExecMode::Readonly) && !full.grants(ExecMode::Sandbox));
        assert!(!settings.grants(ExecMode::Full));
        assert_eq!(settings.shown(), "readonly,sandbox");
    }

    #[test]
    fn a_file_has_every_setting() {
        let settings = read(
            &[("SEMILAYER_EXEC_SANDBOX_PIDS", "7"), ("SEMILAYER_RUNNER_TOKEN_FILE", "/run/token")],
            r#"
            token_file = "/etc/runner-token"
            [exec]
            modes = ["sandbox"]
            max_exec = 2
            max_timeout = "10m"
            grace = "1s"
            output_head = "64k"
            output_tail = 0
            docker_host = "unix:///run/docker.sock"
            [exec.readonly]
            docker = true
            folders = ["/opt/bin"]
            paths = ["/srv"]
            [exec.sandbox]
            image = "busybox"
            images = ["python:*"]
            networks = ["build"]
            memory = "1g"
            cpus = 2.5
            pids = 50
            disk = "10m"
            runtime = "runsc"
            extract = "1m"
            "#,
        )
        .unwrap();
        assert_eq!((settings.max_exec, settings.max_timeout), (2, Duration::from_secs(600)));
        assert_eq!(settings.output, OutputCaps { head: 65_536, tail: 0 });
        assert!(settings.docker);
        assert_eq!((settings.folders, settings.paths), (vec!["/opt/bin".into()], vec!["/srv".into()]));
        let own = ["/run/token", "/etc/runner-token", "/var/lib/semilayer"].map(PathBuf::from);
        assert_eq!(settings.own, own);
        let sandbox = settings.sandbox;
        assert_eq!((sandbox.image.as_str(), sandbox.memory, sandbox.pids), ("busybox", 1 << 30, 7));
        assert_eq!((sandbox.cpus, sandbox.runtime), (2.5, ContainerRuntime::Runsc));
        assert!(sandbox.images[0].matches("python:3.12"));
    }

    #[test]
    fn every_mistake_is_told_with_its_name() {
        let mistakes = read(
            &[
                (NAME, "sandbox,everything"),
                ("SEMILAYER_EXEC_MAX_EXEC", "0"),
                ("SEMILAYER_EXEC_MAX_TIMEOUT", "2d"),
                ("SEMILAYER_EXEC_GRACE", "10s"),
                ("SEMILAYER_EXEC_OUTPUT_HEAD", "1t"),
                ("SEMILAYER_EXEC_READONLY_PATHS", "srv"),
                ("SEMILAYER_EXEC_SANDBOX_IMAGES", "a b"),
                ("SEMILAYER_EXEC_SANDBOX_NETWORKS", "host"),
                ("SEMILAYER_EXEC_SANDBOX_MEMORY", "-1"),
                ("SEMILAYER_EXEC_SANDBOX_CPUS", "0"),
                ("SEMILAYER_EXEC_SANDBOX_RUNTIME", "lxc"),
                ("SEMILAYER_EXEC_DOCKER_HOST", "ssh://host"),
            ],
            "[exec]\nmode = 1\n[exec.sandbox]\nprivileged = true\n[exec.readonly]\nfolders = \"x\"",
        )
        .unwrap_err();
        for name in [
            NAME,
            "exec.mode",
            "exec.sandbox.privileged",
            "exec.readonly.folders",
            "SEMILAYER_EXEC_MAX_EXEC",
            "SEMILAYER_EXEC_MAX_TIMEOUT",
            "SEMILAYER_EXEC_GRACE",
            "SEMILAYER_EXEC_OUTPUT_HEAD",
            "SEMILAYER_EXEC_READONLY_PATHS",
            "SEMILAYER_EXEC_SANDBOX_IMAGES",
            "SEMILAYER_EXEC_SANDBOX_NETWORKS",
            "SEMILAYER_EXEC_SANDBOX_MEMORY",
            "SEMILAYER_EXEC_SANDBOX_CPUS",
            "SEMILAYER_EXEC_SANDBOX_RUNTIME",
            "SEMILAYER_EXEC_DOCKER_HOST",
        ] {
            assert!(mistakes.iter().any(|key| key == name), "{name}: {mistakes:?}");
        }
    }

    #[test]
    fn the_engines_own_variable_matters_only_where_something_runs() {
        let wrong = ("DOCKER_HOST", "ssh://host");
        assert!(read(&[wrong], "").is_ok());
        assert_eq!(read(&[wrong, (NAME, "sandbox")], "").unwrap_err(), ["DOCKER_HOST"]);
        let right = ("DOCKER_HOST", "unix:///run/d.sock");
        let settings = read(&[right, (NAME, "sandbox")], "").unwrap();
        assert_eq!(settings.docker_host.as_deref(), Some("unix:///run/d.sock"));
    }

    #[test]
    fn the_former_form_in_the_file_is_told_how_it_is_written_now() {
        assert_eq!(read(&[], "exec = \"readonly\"").unwrap_err(), ["exec"]);
    }
}
