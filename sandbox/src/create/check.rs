//! One function for each field of a request: what it must look like, and what it becomes.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::DeviceRequest;

use super::{Limits, Network, TMP, User};
use crate::files::Owner;
use crate::request::Overrides;
use crate::{Command, Options, Request, SandboxError};

const IMAGE: usize = 300;
const WORKDIR: usize = 1024;
const NAME: usize = 100;
const USER: usize = 64;
/// Below this the engine refuses a container.
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;
/// Who owns nothing on any system that we know.
const NOBODY: u32 = 65_534;

pub(super) fn image(text: &str) -> Result<String, SandboxError> {
    let fits = (1..=IMAGE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        // It stands in paths of the engine's interface.
        && !text.contains("..")
        && !text.contains("//");
    if fits {
        Ok(text.to_owned())
    } else {
        Err(SandboxError::invalid("image", "a reference of an image, at most 300 characters"))
    }
}

pub(super) fn command(command: &Command) -> Result<Command, SandboxError> {
    let words = match command {
        Command::Image => return Ok(Command::Image),
        Command::Shell(line) => std::slice::from_ref(line),
        Command::Argv(words) => words,
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(SandboxError::invalid("command", "a program"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(SandboxError::invalid("command", "words without a NUL"));
    }
    Ok(command.clone())
}

/// Names that no shell could set are passed over, as the published library does.
pub(super) fn env(variables: &BTreeMap<String, String>) -> Result<Vec<String>, SandboxError> {
    if let Some((name, _)) = variables.iter().find(|(_, value)| value.contains('\0')) {
        return Err(SandboxError::invalid(format!("env.{name}"), "a value without a NUL"));
    }
    let given = variables.iter().filter(|(name, _)| is_variable(name));
    let mut env: Vec<String> = given.map(|(name, value)| format!("{name}={value}")).collect();
    if !variables.contains_key("HOME") {
        // The account has no home, and nothing else that it can write is certain to be there.
        env.push(format!("HOME={TMP}"));
    }
    Ok(env)
}

fn is_variable(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    name.starts_with(is_letter) && name.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit())
}

pub(super) fn workdir(text: &str) -> Result<String, SandboxError> {
    let expected = "an absolute path below /, without .., and not in /proc, /sys or /dev";
    let refused = || SandboxError::invalid("workdir", expected);
    if !text.starts_with('/') || text.len() > WORKDIR || text.contains(|letter: char| letter.is_control()) {
        return Err(refused());
    }
    let path = absolute(text, "").ok_or_else(refused)?;
    let first = path.split('/').nth(1).unwrap_or_default();
    if ["", "proc", "sys", "dev"].contains(&first) { Err(refused()) } else { Ok(path) }
}

/// Whether what is to be taken out lies in `/tmp` and not in a workdir there.
pub(super) fn lies_in_tmp(from: &str, workdir: &str) -> bool {
    let within = |path: &str, folder: &str| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    absolute(from, workdir).is_some_and(|path| within(&path, TMP) && !within(&path, workdir))
}

/// The path without `.` and doubled slashes; none with a `..`.
fn absolute(path: &str, workdir: &str) -> Option<String> {
    let from = if path.starts_with('/') { "" } else { workdir };
    let segments = path.split('/').filter(|segment| !matches!(*segment, "" | "."));
    segments
        .into_iter()
        .try_fold(from.to_owned(), |whole, segment| (segment != "..").then(|| format!("{whole}/{segment}")))
}

pub(super) fn networks(names: &[String]) -> Result<Network, SandboxError> {
    let refused = |expected: &str| Err(SandboxError::invalid("networks", expected));
    if let Some(name) = names.iter().find(|name| !is_network(name)) {
        return refused(&format!("names of networks, not {name:?}"));
    }
    if names.iter().any(|name| name == "host") {
        return refused("networks of containers: the host's own is never given");
    }
    if names.iter().enumerate().any(|(at, name)| names.iter().skip(at + 1).any(|other| other == name)) {
        return refused("each network once");
    }
    match names {
        [] => Ok(Network::Isolated),
        [only] if only == "none" => Ok(Network::None),
        several if several.iter().any(|name| name == "none") => refused("none alone, or other networks"),
        several => Ok(Network::Named(several.to_vec())),
    }
}

fn is_network(name: &str) -> bool {
    (1..=NAME).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// What is asked for where it is less than what is granted.
pub(super) fn limits(asked: &Overrides, options: &Options) -> Result<Limits, SandboxError> {
    let memory = asked.memory.map_or(options.memory, |memory| memory.min(options.memory));
    if memory < LEAST_MEMORY {
        return Err(SandboxError::invalid("memory", "at least 6 MiB"));
    }
    let pids = asked.pids.map_or(options.pids, |pids| pids.min(options.pids));
    if pids == 0 {
        return Err(SandboxError::invalid("pids", "at least 1"));
    }
    let granted = nano_cpus(options.cpus)?;
    Ok(Limits {
        memory: bytes("memory", memory)?,
        nano_cpus: asked.cpus.map_or(Ok(granted), nano_cpus)?.min(granted),
        pids: i64::from(pids),
        disk: bytes("disk", options.disk)?,
        tmp: bytes("tmp", options.tmp)?,
    })
}

fn bytes(field: &str, amount: u64) -> Result<i64, SandboxError> {
    i64::try_from(amount)
        .ok()
        .filter(|amount| *amount > 0)
        .ok_or_else(|| SandboxError::invalid(field, "a number of bytes above 0"))
}

/// A core for a second is a second of a core: the engine counts both in billionths.
fn nano_cpus(cpus: f64) -> Result<i64, SandboxError> {
    Duration::try_from_secs_f64(cpus)
        .ok()
        .and_then(|time| i64::try_from(time.as_nanos()).ok())
        .filter(|nanos| *nanos >= 10_000_000)
        .ok_or_else(|| SandboxError::invalid("cpus", "a number of cores, at least 0.01"))
}

pub(super) fn user(text: Option<&str>) -> Result<User, SandboxError> {
    let Some(text) = text else { return Ok(default_user()) };
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let fits = text.len() <= USER && is_account(name) && group.is_none_or(is_account);
    if !fits {
        return Err(SandboxError::invalid("user", "user or user:group, by name or number"));
    }
    let is_root = name == "root" || name.parse() == Ok(0);
    Ok(User { text: text.to_owned(), is_root, owner: Owner::of(text) })
}

/// Nobody; where we are not root ourselves, us, or the files of a run could not be removed afterwards.
fn default_user() -> User {
    let (uid, gid) = match rustix::process::geteuid().as_raw() {
        0 => (NOBODY, NOBODY),
        uid => (uid, rustix::process::getegid().as_raw()),
    };
    let text = format!("{uid}:{gid}");
    User { is_root: false, owner: Owner::of(&text), text }
}

fn is_account(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

pub(super) fn capabilities(names: &[String], user: &User) -> Result<Vec<String>, SandboxError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if !user.is_root {
        return Err(SandboxError::invalid("capabilities", "none, for a user that is not root (user: \"0\")"));
    }
    let plain = |name: &String| name.strip_prefix("CAP_").unwrap_or(name).to_owned();
    let names: Vec<String> = names.iter().map(plain).collect();
    match names.iter().find(|name| !Request::CAPABILITIES.contains(&name.as_str())) {
        Some(_) => {
            let expected = format!("some of {}", Request::CAPABILITIES.join(", "));
            Err(SandboxError::invalid("capabilities", expected))
        }
        None => Ok(names),
    }
}

/// `all`, or ids of devices as `docker run --gpus` takes them: `1` is the device of that id, not a number of devices.
pub(super) fn gpus(text: Option<&str>) -> Result<Option<DeviceRequest>, SandboxError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let fits = !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b",=.:\"-_ ".contains(&byte));
    if !fits {
        return Err(SandboxError::invalid("gpus", "all, or ids of devices with commas between"));
    }
    let text = text.trim_matches('"');
    let ids = text.strip_prefix("device=").unwrap_or(text).split(',').map(|id| id.trim().to_owned());
    let all = text == "all";
    Ok(Some(DeviceRequest {
        driver: Some("nvidia".to_owned()),
        count: all.then_some(-1),
        device_ids: (!all).then(|| ids.collect()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        options: None,
    }))
}
