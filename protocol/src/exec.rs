//! Shell jobs, `exec/1`: what a gateway may ask, and what a runner answers.
//!
//! The names are in snake case because another product's runners use them; `hello.exec` is ours and as the rest of `hello`. A request is bounded here field by field, and its
//! texts can be handed to the operating system as they are: none holds a NUL. Whether a runner does what is asked is its own
//! decision; nothing here grants anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::frame::{id_at, to_json};
use crate::json::{Kind, Object, finite, saturated, text, whole};
use crate::{Invalid, Number};

/// Time that a shell job may take when its request does not say, in seconds.
pub const DEFAULT_EXEC_TIMEOUT_SECS: u32 = 30;
/// The longest time that a shell job may ask for, in seconds: a day.
pub const MAX_EXEC_TIMEOUT_SECS: u32 = 86_400;
/// Bytes of a command, or of one argument. Linux takes 128 KiB for one string of an argument list.
pub const MAX_EXEC_TEXT: usize = 64 * 1024;
/// Bytes of all arguments together.
const MAX_ARGV_BYTES: usize = 512 * 1024;
/// Arguments of one command, the program included.
const MAX_ARGV: usize = 1_024;
/// Variables of one request.
const MAX_ENV: usize = 256;
/// Bytes of the name of a variable.
const MAX_ENV_NAME: usize = 256;
/// Files of one request, and of one extracted path.
const MAX_FILES: usize = 4_096;
/// Bytes of a path in a container.
const MAX_PATH: usize = 1_024;
/// Paths that one request may ask back.
const MAX_EXTRACT: usize = 64;
/// Bytes of the name of an image.
const MAX_IMAGE: usize = 300;
/// Bytes of the name of a network.
const MAX_NETWORK: usize = 100;
/// Names in each list of an offer.
const MAX_OFFERED: usize = 100;

/// How a runner may run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecMode {
    /// On the host, one of a few programs that only look, without a shell.
    Readonly,
    /// In a container of its own.
    Sandbox,
    /// On the host, whatever is asked.
    Full,
}

impl ExecMode {
    /// Every mode, from the weakest.
    pub const ALL: [Self; 3] = [Self::Readonly, Self::Sandbox, Self::Full];

    /// The name on the wire and in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Readonly => "readonly",
            Self::Sandbox => "sandbox",
            Self::Full => "full",
        }
    }

    /// The mode of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

impl fmt::Display for ExecMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a runner says in `hello.exec` of the shell jobs that it takes. Not what it promises: each request is decided on its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecOffer {
    /// The modes that the runner's own setting grants. Names that are not known are passed over.
    pub modes: BTreeSet<ExecMode>,
    /// Whether a Docker engine answered when the runner last looked.
    pub docker: bool,
    /// `sandbox`: the images that may be asked for, as patterns; empty means the default image alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// `sandbox`: the image of a request that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_image: Option<String>,
    /// `sandbox`: the networks that may be asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Shell jobs at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_exec: Option<u32>,
    /// The longest time a job may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_timeout_secs: Option<u32>,
}

/// A shell job.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecRequest {
    /// Names the job on this socket, beside the ids of other jobs.
    pub job_id: String,
    /// What to run.
    pub invocation: Invocation,
    /// Seconds from receipt until the job must have ended, 1 to [`MAX_EXEC_TIMEOUT_SECS`]. A runner may allow less.
    pub timeout_secs: u32,
    /// The mode that is asked for. Without it: `sandbox` where [`sandbox`](Self::sandbox) is set, otherwise the strongest on
    /// the host that the runner grants. A gateway sets it where the caller may do less than the runner grants.
    pub mode: Option<ExecMode>,
    /// Whether the `docker` program may be used; `true` unless the gateway says otherwise. The runner's own setting is above it.
    pub docker: bool,
    /// The container that is wanted.
    pub sandbox: Option<ExecSandbox>,
    /// Variables of the command, beside the few that every command has.
    pub env: ExecEnv,
    /// `flow/1`: bytes of output that may be sent before more credit.
    pub credit: Option<u64>,
    /// `trace/1`: W3C trace context.
    pub traceparent: Option<String>,
    /// `trace/1`: W3C trace state.
    pub tracestate: Option<String>,
}

/// What a shell job runs: exactly one of the two forms. Neither is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// A line of text; what reads it depends on the mode.
    Command(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

/// The container that a shell job wants. Each field is bounded by the runner's own policy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExecSandbox {
    /// The image; the runner's default where it is absent.
    pub image: Option<String>,
    /// The network; the runner's default, which is none, where it is absent.
    pub network: Option<String>,
    /// Bytes of memory. Written as a number, or as text such as `512m`.
    pub memory: Option<u64>,
    /// Processors, above 0.
    pub cpus: Option<f64>,
    /// Files of the working directory, by path relative to it.
    pub files: BTreeMap<String, FileContent>,
    /// Paths to give back when the command has ended with 0.
    pub extract: Vec<String>,
}

/// Variables of a command. Their values may be secrets, so `Debug` shows the names alone.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct ExecEnv(BTreeMap<String, String>);

/// The content of a file: text, or `{"base64": …}` where it is not UTF-8. `Debug` shows its length.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct FileContent(pub Vec<u8>);

/// Which of a command's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Output of a shell job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExecChunk {
    /// The job.
    pub job_id: String,
    /// Where the command wrote it.
    pub stream: Stream,
    /// The text; bytes that are not UTF-8 are U+FFFD in it.
    pub data: String,
    /// Whether bytes were replaced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lossy: bool,
    /// Bytes of this stream that the command wrote before this chunk and that were dropped, since the chunk before.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted_bytes: u64,
    /// From 0 without gaps, both streams together.
    pub seq: u64,
}

/// The command has ended, with whatever exit code.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExecDone {
    /// The job.
    pub job_id: String,
    /// The exit code; 128 + n after signal n.
    pub exit_code: i32,
    /// Wall time at the runner.
    pub duration_ms: u64,
    /// How much output was dropped, where any was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncated>,
    /// An entry for each path of `sandbox.extract`, where there were any and the command ended with 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extracted: Option<Vec<Extracted>>,
}

/// The job has failed: refused, cancelled, out of time, or not started. All its processes are gone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExecError {
    /// The job.
    pub job_id: String,
    /// For people. Holds no credential.
    pub error: String,
    /// One of [`crate::ErrorCode`]'s wire names. `QUERY_TIMEOUT`: the time was up.
    pub code: String,
    /// `POLICY_DENIED`: which rule refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Wall time at the runner, of a job that had started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How much output was dropped, where any was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncated>,
}

/// Bytes of output that no chunk carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Truncated {
    /// Of standard output.
    pub stdout_bytes: u64,
    /// Of standard error.
    pub stderr_bytes: u64,
}

/// What has become of one path of `sandbox.extract`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extracted {
    /// The path as it was asked for.
    pub from: String,
    /// How it went.
    pub status: ExtractStatus,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ExtractedFile>,
}

/// How extracting one path went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtractStatus {
    /// The files are here.
    Ok,
    /// There is no such path.
    Missing,
    /// Refused or failed.
    Error,
}

/// A file that a command has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtractedFile {
    /// Relative to the extracted path; of a single file its name.
    pub path: String,
    /// Its bytes.
    pub content: FileContent,
}

impl ExecOffer {
    /// Reads `hello.exec`.
    pub(crate) fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        let object = Object::parse(raw)?;
        let modes = object.texts("modes")?.unwrap_or_default();
        Ok(Self {
            modes: modes.iter().filter_map(|name| ExecMode::of(name)).collect(),
            docker: object.boolean("docker")?.unwrap_or(false),
            images: offered(&object, "images", MAX_IMAGE)?,
            default_image: bounded(&object, "defaultImage", MAX_IMAGE)?,
            networks: offered(&object, "networks", MAX_NETWORK)?,
            max_exec: object.whole("maxExec")?.map(saturated),
            max_timeout_secs: object.whole("maxTimeoutSecs")?.map(saturated),
        })
    }
}

impl ExecRequest {
    /// A request for `invocation` that says nothing else.
    pub fn new(job_id: impl Into<String>, invocation: Invocation) -> Self {
        Self {
            job_id: job_id.into(),
            invocation,
            timeout_secs: DEFAULT_EXEC_TIMEOUT_SECS,
            mode: None,
            docker: true,
            sandbox: None,
            env: ExecEnv::default(),
            credit: None,
            traceparent: None,
            tracestate: None,
        }
    }

    /// Reads the fields that a caller writes, as they stand in the frame and in the body of a request for one: everything but
    /// the job's id, which is `job_id`.
    pub fn parse(job_id: impl Into<String>, object: &Object<'_>) -> Result<Self, Invalid> {
        let sandbox = object.get("sandbox");
        let sandbox = sandbox.map(|raw| ExecSandbox::parse(raw).map_err(|invalid| invalid.within("sandbox")));
        Ok(Self {
            timeout_secs: timeout_secs(object)?,
            mode: mode(object)?,
            docker: object.boolean("docker")?.unwrap_or(true),
            sandbox: sandbox.transpose()?,
            env: ExecEnv::parse(object)?,
            credit: object.whole("credit")?,
            traceparent: object.text("traceparent")?,
            tracestate: object.text("tracestate")?,
            ..Self::new(job_id, Invocation::parse(object)?)
        })
    }

    /// The frame's text.
    pub fn encode(&self) -> String {
        let (command, argv) = match &self.invocation {
            Invocation::Command(command) => (Some(command.as_str()), None),
            Invocation::Argv(argv) => (None, Some(argv.as_slice())),
        };
        to_json(&RequestWire {
            kind: "exec_request",
            job_id: &self.job_id,
            command,
            argv,
            timeout_secs: self.timeout_secs,
            mode: self.mode,
            docker: self.docker,
            sandbox: self.sandbox.as_ref().map(SandboxWire::from),
            env: &self.env,
            credit: self.credit,
            traceparent: self.traceparent.as_deref(),
            tracestate: self.tracestate.as_deref(),
        })
    }
}

impl Invocation {
    fn parse(object: &Object<'_>) -> Result<Self, Invalid> {
        match (object.get("command"), object.get("argv")) {
            (Some(raw), None) => command(raw).map_err(|invalid| invalid.within("command")),
            (None, Some(raw)) => argv(raw).map_err(|invalid| invalid.within("argv")),
            (Some(_), Some(_)) => Err(Invalid::new("argv", "command or argv, not both")),
            (None, None) => Err(Invalid::new("command", "a command, or argv in its place")),
        }
    }
}

/// The command as one line of text, for people and logs; nothing reads it back.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.write_str(command),
            Self::Argv(argv) => f.write_str(&argv.join(" ")),
        }
    }
}

fn command(raw: &RawValue) -> Result<Invocation, Invalid> {
    let command = argument(text(raw)?)?;
    if command.trim().is_empty() {
        return Err(Invalid::new("", "a command that is not empty"));
    }
    Ok(Invocation::Command(command))
}

fn argv(raw: &RawValue) -> Result<Invocation, Invalid> {
    let expected = || Invalid::new("", format!("a list of 1 to {MAX_ARGV} strings"));
    let Kind::Array(items) = Kind::of(raw)? else { return Err(expected()) };
    if items.is_empty() || items.len() > MAX_ARGV {
        return Err(expected());
    }
    let read = |(index, raw): (usize, &RawValue)| {
        text(raw).and_then(argument).map_err(|invalid| invalid.within(&format!("[{index}]")))
    };
    let argv = items.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    if argv.first().is_some_and(|program| program.trim().is_empty()) {
        return Err(Invalid::new("[0]", "the name of a program"));
    }
    if argv.iter().map(String::len).sum::<usize>() > MAX_ARGV_BYTES {
        return Err(Invalid::new("", format!("at most {MAX_ARGV_BYTES} bytes of text")));
    }
    Ok(Invocation::Argv(argv))
}

/// Text that can stand in an argument list.
fn argument(text: String) -> Result<String, Invalid> {
    if text.len() > MAX_EXEC_TEXT || text.contains('\0') {
        return Err(Invalid::new("", format!("at most {MAX_EXEC_TEXT} bytes of text without NUL")));
    }
    Ok(text)
}

fn timeout_secs(object: &Object<'_>) -> Result<u32, Invalid> {
    let seconds = object.whole("timeout_secs")?.map_or(DEFAULT_EXEC_TIMEOUT_SECS, saturated);
    if !(1..=MAX_EXEC_TIMEOUT_SECS).contains(&seconds) {
        return Err(Invalid::new(
            "timeout_secs",
            format!("a whole number from 1 to {MAX_EXEC_TIMEOUT_SECS}"),
        ));
    }
    Ok(seconds)
}

fn mode(object: &Object<'_>) -> Result<Option<ExecMode>, Invalid> {
    let Some(name) = object.text("mode")? else { return Ok(None) };
    let mode = ExecMode::of(&name).ok_or_else(|| Invalid::new("mode", "readonly, sandbox or full"))?;
    Ok(Some(mode))
}

impl ExecSandbox {
    fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        let object = Object::parse(raw)?;
        Ok(Self {
            image: bounded(&object, "image", MAX_IMAGE)?,
            network: bounded(&object, "network", MAX_NETWORK)?,
            memory: object.get("memory").map(memory).transpose()?,
            cpus: object.get("cpus").map(cpus).transpose()?,
            files: files(&object)?,
            extract: extract(&object)?,
        })
    }
}

/// A name of 1 to `max` bytes without control characters.
fn bounded(object: &Object<'_>, key: &str, max: usize) -> Result<Option<String>, Invalid> {
    match object.text(key)? {
        Some(name) if !is_name(&name, max) => Err(Invalid::new(key, name_expected(max))),
        name => Ok(name),
    }
}

fn offered(object: &Object<'_>, key: &str, max: usize) -> Result<Vec<String>, Invalid> {
    let names = object.texts(key)?.unwrap_or_default();
    if names.len() > MAX_OFFERED {
        return Err(Invalid::new(key, format!("at most {MAX_OFFERED} names")));
    }
    match names.iter().position(|name| !is_name(name, max)) {
        Some(index) => Err(Invalid::new(format!("{key}[{index}]"), name_expected(max))),
        None => Ok(names),
    }
}

fn is_name(name: &str, max: usize) -> bool {
    (1..=max).contains(&name.len()) && !name.contains(char::is_control)
}

fn name_expected(max: usize) -> String {
    format!("1 to {max} bytes without control characters")
}

/// Bytes as a number, or as digits with `k`, `m` or `g` behind them.
fn memory(raw: &RawValue) -> Result<u64, Invalid> {
    let expected = || Invalid::new("memory", "bytes, as a number or as text such as 512m");
    let bytes = match Kind::of(raw).map_err(|_| expected())? {
        Kind::Text(text) => memory_text(text.trim()),
        _ => whole(raw).ok(),
    };
    bytes.filter(|bytes| *bytes > 0).ok_or_else(expected)
}

fn memory_text(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits)?.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Processors as a number, or as the text of one.
fn cpus(raw: &RawValue) -> Result<f64, Invalid> {
    const MOST: f64 = 1_024.0;
    let expected = || Invalid::new("cpus", "a number above 0 and up to 1024");
    let cpus = match Kind::of(raw).map_err(|_| expected())? {
        Kind::Text(text) => Number::parse(text.trim()).map(|number| number.as_f64()),
        _ => finite(raw).ok(),
    };
    cpus.filter(|cpus| *cpus > 0.0 && *cpus <= MOST).ok_or_else(expected)
}

fn files(object: &Object<'_>) -> Result<BTreeMap<String, FileContent>, Invalid> {
    let Some(raw) = object.get("files") else { return Ok(BTreeMap::new()) };
    let files = Object::parse(raw).map_err(|_| Invalid::new("files", "an object of contents by path"))?;
    if files.iter().count() > MAX_FILES {
        return Err(Invalid::new("files", format!("at most {MAX_FILES} files")));
    }
    let file = |(path, raw): (&str, &RawValue)| {
        if !is_relative_path(path) {
            return Err(Invalid::new(
                "files",
                "relative paths of at most 1024 bytes without \"..\" or control characters",
            ));
        }
        let content = FileContent::parse(raw).map_err(|invalid| invalid.within(path).within("files"))?;
        Ok((path.to_owned(), content))
    };
    files.iter().map(file).collect()
}

/// Whether `path` names something below the directory that it is relative to.
fn is_relative_path(path: &str) -> bool {
    (1..=MAX_PATH).contains(&path.len())
        && !path.starts_with(['/', '\\'])
        && !path.contains(char::is_control)
        && !path.split(['/', '\\']).any(|part| part == "..")
        && path.split('/').any(|part| !part.is_empty() && part != ".")
}

fn extract(object: &Object<'_>) -> Result<Vec<String>, Invalid> {
    let paths = object.texts("extract")?.unwrap_or_default();
    if paths.len() > MAX_EXTRACT {
        return Err(Invalid::new("extract", format!("at most {MAX_EXTRACT} paths")));
    }
    let wrong = |path: &String| !is_name(path, MAX_PATH) || path.split(['/', '\\']).any(|part| part == "..");
    match paths.iter().position(wrong) {
        Some(index) => Err(Invalid::new(
            format!("extract[{index}]"),
            "a path of at most 1024 bytes without \"..\" or control characters",
        )),
        None => Ok(paths),
    }
}

impl ExecEnv {
    /// Variables by name, which another source has checked.
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        Self(variables)
    }

    fn parse(object: &Object<'_>) -> Result<Self, Invalid> {
        let Some(raw) = object.get("env") else { return Ok(Self::default()) };
        let variables =
            Object::parse(raw).map_err(|_| Invalid::new("env", "an object of strings by name"))?;
        if variables.iter().count() > MAX_ENV {
            return Err(Invalid::new("env", format!("at most {MAX_ENV} variables")));
        }
        let variable = |(name, raw): (&str, &RawValue)| {
            if !is_env_name(name) {
                return Err(Invalid::new("env", "names of letters, digits and _, no digit first"));
            }
            let value = text(raw).and_then(argument).map_err(|invalid| invalid.within(name).within("env"))?;
            Ok((name.to_owned(), value))
        };
        variables.iter().map(variable).collect::<Result<_, _>>().map(Self)
    }

    /// Names and values. Never hand a value to a log or a message.
    pub fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_env_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= MAX_ENV_NAME
        && bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

impl fmt::Debug for ExecEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl FileContent {
    fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        let expected = || Invalid::new("", "text, or an object with base64");
        match Kind::of(raw)? {
            Kind::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Kind::Object(object) => {
                let base64 = object.text("base64")?.ok_or_else(expected)?;
                STANDARD.decode(base64).map(Self).map_err(|_| Invalid::new("base64", "standard base64"))
            }
            _ => Err(expected()),
        }
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for FileContent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &STANDARD.encode(&self.0))?;
        map.end()
    }
}

impl Stream {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl ExecChunk {
    /// Reads the frame.
    pub(crate) fn parse(object: &Object<'_>) -> Result<Self, Invalid> {
        let stream = match object.text("stream")?.as_deref() {
            Some("stdout") => Stream::Stdout,
            Some("stderr") => Stream::Stderr,
            _ => return Err(Invalid::new("stream", "stdout or stderr")),
        };
        let seq = object.whole("seq")?;
        Ok(Self {
            job_id: id_at(object, "job_id")?,
            stream,
            data: object.required_text("data")?,
            lossy: object.boolean("lossy")?.unwrap_or(false),
            omitted_bytes: object.whole("omitted_bytes")?.unwrap_or(0),
            seq: seq.ok_or_else(|| Invalid::new("seq", "a whole number of at least 0"))?,
        })
    }

    /// The frame's text.
    pub fn encode(&self) -> String {
        to_json(&Typed { kind: "exec_chunk", frame: self })
    }
}

impl ExecDone {
    /// Reads the frame.
    pub(crate) fn parse(object: &Object<'_>) -> Result<Self, Invalid> {
        let exit_code = object.get("exit_code").and_then(|raw| Number::parse(raw.get())?.as_i64());
        let exit_code = exit_code.and_then(|code| i32::try_from(code).ok());
        Ok(Self {
            job_id: id_at(object, "job_id")?,
            exit_code: exit_code.ok_or_else(|| Invalid::new("exit_code", "a whole number of 32 bits"))?,
            duration_ms: object.floor("duration_ms")?.unwrap_or(0),
            truncated: Truncated::read(object)?,
            extracted: object.list("extracted", "a list of extracted paths", Extracted::parse)?,
        })
    }

    /// The frame's text.
    pub fn encode(&self) -> String {
        to_json(&Typed { kind: "exec_done", frame: self })
    }
}

impl ExecError {
    /// Reads the frame.
    pub(crate) fn parse(object: &Object<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            job_id: id_at(object, "job_id")?,
            error: object.text("error")?.unwrap_or_default(),
            code: object.required_text("code")?,
            rule: object.text("rule")?,
            duration_ms: object.floor("duration_ms")?,
            truncated: Truncated::read(object)?,
        })
    }

    /// The frame's text.
    pub fn encode(&self) -> String {
        to_json(&Typed { kind: "exec_error", frame: self })
    }
}

impl Truncated {
    fn read(object: &Object<'_>) -> Result<Option<Self>, Invalid> {
        let parse = |raw: &RawValue| {
            let object = Object::parse(raw)?;
            Ok(Self {
                stdout_bytes: object.whole("stdout_bytes")?.unwrap_or(0),
                stderr_bytes: object.whole("stderr_bytes")?.unwrap_or(0),
            })
        };
        let truncated = object.get("truncated");
        truncated.map(|raw| parse(raw).map_err(|invalid: Invalid| invalid.within("truncated"))).transpose()
    }
}

impl Extracted {
    fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        let object = Object::parse(raw)?;
        let status = match object.text("status")?.as_deref() {
            Some("ok") => ExtractStatus::Ok,
            Some("missing") => ExtractStatus::Missing,
            Some("error") => ExtractStatus::Error,
            _ => return Err(Invalid::new("status", "ok, missing or error")),
        };
        Ok(Self {
            from: object.required_text("from")?,
            status,
            error: object.text("error")?,
            files: object.list("files", "a list of files", ExtractedFile::parse)?.unwrap_or_default(),
        })
    }
}

impl ExtractedFile {
    fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        let object = Object::parse(raw)?;
        let content = object.get("content").ok_or_else(|| Invalid::new("content", "a file's content"))?;
        let content = FileContent::parse(content).map_err(|invalid| invalid.within("content"))?;
        let path = object.required_text("path")?;
        // What receives this may write it to a disk.
        if !is_relative_path(&path) {
            return Err(Invalid::new("path", "a relative path without \"..\" or control characters"));
        }
        Ok(Self { path, content })
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_true(flag: &bool) -> bool {
    *flag
}

/// A frame whose fields stand in a type of their own.
#[derive(Serialize)]
struct Typed<'a, F> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    frame: &'a F,
}

#[derive(Serialize)]
struct RequestWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    job_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argv: Option<&'a [String]>,
    timeout_secs: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<ExecMode>,
    #[serde(skip_serializing_if = "is_true")]
    docker: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<SandboxWire<'a>>,
    #[serde(skip_serializing_if = "ExecEnv::is_empty")]
    env: &'a ExecEnv,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
}

#[derive(Serialize)]
struct SandboxWire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: &'a BTreeMap<String, FileContent>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    extract: &'a [String],
}

impl<'a> From<&'a ExecSandbox> for SandboxWire<'a> {
    fn from(sandbox: &'a ExecSandbox) -> Self {
        Self {
            image: sandbox.image.as_deref(),
            network: sandbox.network.as_deref(),
            memory: sandbox.memory,
            cpus: sandbox.cpus,
            files: &sandbox.files,
            extract: &sandbox.extract,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(fields: &str) -> Result<ExecRequest, Invalid> {
        ExecRequest::parse("j", &Object::from_text(&format!("{{{fields}}}")).unwrap())
    }

    fn refused(fields: &str) -> String {
        parsed(fields).unwrap_err().field
    }

    #[test]
    fn a_command_or_an_argument_list_and_never_both() {
        let request = parsed(r#""command":"uptime -p""#).unwrap();
        assert_eq!(request.invocation, Invocation::Command("uptime -p".to_owned()));
        let request = parsed(r#""argv":["echo","","a b"]"#).unwrap();
        assert_eq!(request.invocation.to_string(), "echo  a b");
        for (fields, field) in [
            ("", "command"),
            (r#""command":"ls","argv":["ls"]"#, "argv"),
            (r#""command":" \n""#, "command"),
            (r#""command":"a\u0000b""#, "command"),
            (r#""argv":[]"#, "argv"),
            (r#""argv":[""]"#, "argv[0]"),
            (r#""argv":["ls",7]"#, "argv[1]"),
            (r#""argv":["ls","a\u0000"]"#, "argv[1]"),
        ] {
            assert_eq!(refused(fields), field, "{fields}");
        }
    }

    #[test]
    fn texts_and_lists_are_bounded() {
        let long = "x".repeat(MAX_EXEC_TEXT + 1);
        assert_eq!(refused(&format!(r#""command":"{long}""#)), "command");
        assert!(parsed(&format!(r#""command":"{}""#, "x".repeat(MAX_EXEC_TEXT))).is_ok());
        let argv =
            |count: usize, item: &str| format!(r#""argv":[{}]"#, vec![format!("{item:?}"); count].join(","));
        assert!(parsed(&argv(MAX_ARGV, "x")).is_ok());
        assert_eq!(refused(&argv(MAX_ARGV + 1, "x")), "argv");
        assert_eq!(refused(&argv(9, &"x".repeat(MAX_EXEC_TEXT))), "argv");
        for (seconds, right) in [("0", false), ("1", true), ("86400", true), ("86401", false), ("1e9", false)]
        {
            assert_eq!(
                parsed(&format!(r#""command":"ls","timeout_secs":{seconds}"#)).is_ok(),
                right,
                "{seconds}"
            );
        }
    }

    #[test]
    fn variables_have_names_that_a_shell_knows_and_show_no_value() {
        let request = parsed(r#""command":"ls","env":{"_A1":"hunter2","b":""}"#).unwrap();
        let shown = format!("{request:?}");
        assert!(shown.contains("_A1") && !shown.contains("hunter2"), "{shown}");
        for name in ["", "1A", "A-B", "A B", "A=B", "Ä", "A\\u0000"] {
            assert_eq!(refused(&format!(r#""command":"ls","env":{{"{name}":"x"}}"#)), "env", "{name}");
        }
        assert_eq!(refused(r#""command":"ls","env":{"A":"a\u0000b"}"#), "env.A");
        assert_eq!(refused(r#""command":"ls","env":{"A":1}"#), "env.A");
    }

    #[test]
    fn memory_and_processors_are_numbers_or_their_texts() {
        for (text, bytes) in [
            ("\"512m\"", 536_870_912),
            ("\"1G\"", 1 << 30),
            ("\"64K\"", 65_536),
            ("\"7\"", 7),
            ("9", 9),
            ("\" 1m \"", 1 << 20),
        ] {
            let request = parsed(&format!(r#""command":"ls","sandbox":{{"memory":{text}}}"#)).unwrap();
            assert_eq!(request.sandbox.unwrap().memory, Some(bytes), "{text}");
        }
        for text in
            ["\"\"", "\"m\"", "\"1.5g\"", "\"1mb\"", "\"-1\"", "0", "\"99999999999g\"", "1.5", "[]", "\"+1\""]
        {
            assert_eq!(
                refused(&format!(r#""command":"ls","sandbox":{{"memory":{text}}}"#)),
                "sandbox.memory"
            );
        }
        for text in ["\"0.5\"", "0.5", "\"2\"", "1024"] {
            assert!(parsed(&format!(r#""command":"ls","sandbox":{{"cpus":{text}}}"#)).is_ok(), "{text}");
        }
        for text in ["0", "-1", "\"x\"", "\"\"", "1025", "\"NaN\"", "\"inf\"", "1e400", "{}"] {
            assert_eq!(
                refused(&format!(r#""command":"ls","sandbox":{{"cpus":{text}}}"#)),
                "sandbox.cpus",
                "{text}"
            );
        }
    }

    #[test]
    fn files_are_below_the_working_directory() {
        let files = |files: &str| parsed(&format!(r#""command":"ls","sandbox":{{"files":{{{files}}}}}"#));
        let request = files(r#""a/b.py":"print()","raw":{"base64":"//4="}"#).unwrap();
        let files_of = request.sandbox.unwrap().files;
        assert_eq!(files_of["a/b.py"].0, b"print()");
        assert_eq!(files_of["raw"].0, [0xff, 0xfe]);
        for path in
            ["", "/etc/passwd", "../x", "a/../../x", "a\\\\..\\\\x", ".", "./", "\\\\host", "a\\u0000"]
        {
            assert_eq!(files(&format!(r#""{path}":"x""#)).unwrap_err().field, "sandbox.files", "{path}");
        }
        let content = files(r#""a":{"base64":"!"}"#).unwrap_err();
        assert_eq!(content.field, "sandbox.files.a.base64");
    }

    #[test]
    fn a_frame_that_cannot_be_read_names_its_job() {
        let error =
            crate::decode_gateway_frame(r#"{"type":"exec_request","job_id":"j","command":7}"#).unwrap_err();
        let crate::FrameError::Field { kind, id, invalid } = error else { panic!("{error}") };
        assert_eq!((kind, id.as_deref(), invalid.field.as_str()), ("exec_request", Some("j"), "command"));
    }
}
