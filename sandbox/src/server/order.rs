//! The body of `POST /run`: what a caller may ask for, checked whole before anything is made.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reach::Reach;
use runtime::Secret;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;
use utoipa::ToSchema;

use super::check::{Fields, compact};
use super::refusal::Refusal;
use super::settings::parse_bytes;
use crate::{Command, Overrides, Request, Seed};

const KNOWN: [&str; 22] = [
    "argv",
    "callbackSecret",
    "callbackUrl",
    "capabilities",
    "cpus",
    "detached",
    "entrypoint",
    "env",
    "extract",
    "files",
    "image",
    "input",
    "memory",
    "network",
    "networks",
    "pids",
    "run",
    "timeout",
    "user",
    "workdir",
    "writableRoot",
    "writable_root",
];
/// Names of older versions and of neighbours, which must not be left out in silence.
const HINTS: [(&str, &str); 6] = [
    ("setup", "steps that are baked into a cached image are called run"),
    ("async", "a run that is not waited for is detached: true"),
    ("command", "a shell line is called entrypoint, a program with its arguments argv"),
    ("cmd", "a shell line is called entrypoint, a program with its arguments argv"),
    ("dir", "files are sent as files: {path: content}"),
    ("writable_root", "it is spelled writableRoot"),
];
const MAX_TIMEOUT_MS: u64 = 3_600_000;
const MAX_FILE_NAME: usize = 1024;
const MAX_ITEMS: usize = 20;
/// As many as come out of a container for one entry of `extract`.
const MAX_FILES: usize = 100_000;
const MAX_VARIABLES: usize = 10_000;
/// What keeping a file takes beside its name and content.
const FILE_BYTES: usize = 160;
const MAX_ARGUMENTS: usize = 1000;

/// A run that may be started.
#[derive(Debug)]
pub(crate) struct Order {
    /// All but where its output and its results go.
    pub(crate) request: Request,
    /// Paths in the container to take out.
    pub(crate) extract: Vec<String>,
    /// Who is told of its end.
    pub(crate) callback: Option<Callback>,
}

/// Whom to tell of a run's end.
#[derive(Debug, Clone)]
pub(crate) struct Callback {
    /// `http` or `https`.
    pub(crate) url: Url,
    /// What the message is signed with.
    pub(crate) secret: Option<Secret>,
}

impl Order {
    /// Reads a body. With `private_callbacks`, callbacks may go anywhere.
    pub(crate) fn parse(body: &Bytes, private_callbacks: bool) -> Result<Self, Refusal> {
        let mut fields = Fields::of_body(body, false)?;
        let image = fields.text("image", 1, 300);
        if image.is_none() && fields.is_good() {
            fields.missing("image", "string");
        }
        let mut request = Request::new(image.unwrap_or_default());
        request.command = command(&mut fields);
        request.run = fields.texts("run", 50, 1, 2048).unwrap_or_default();
        request.seed = files(&mut fields).map(Seed::Files);
        request.detached = fields.flag("detached").unwrap_or_default();
        request.input = input(&mut fields, request.detached);
        request.timeout = fields.whole("timeout", 1, MAX_TIMEOUT_MS).map(Duration::from_millis);
        request.networks = networks(&mut fields);
        request.env = environment(&mut fields);
        request.workdir = fields.text("workdir", 1, 200);
        request.user = fields.text("user", 1, 100);
        request.writable_root = fields.flag("writableRoot").unwrap_or_default();
        request.capabilities =
            fields.texts("capabilities", Request::CAPABILITIES.len(), 1, 40).unwrap_or_default();
        request.limits = limits(&mut fields);
        let extract = fields.texts("extract", MAX_ITEMS, 1, MAX_FILE_NAME).unwrap_or_default();
        let callback = callback(&mut fields, private_callbacks);
        fields.finish(&KNOWN, &HINTS)?;
        Ok(Self { request, extract, callback })
    }

    /// Bytes that it takes beside those of the body that it came in: any number of empty files is not nothing.
    pub(crate) fn weight(&self) -> usize {
        match &self.request.seed {
            Some(Seed::Files(files)) => files.len().saturating_mul(FILE_BYTES),
            Some(Seed::Dir(_)) | None => 0,
        }
    }
}

fn command(fields: &mut Fields) -> Command {
    let shell = fields.text("entrypoint", 1, 2048);
    let argv = fields.texts("argv", MAX_ARGUMENTS, 0, 64 * 1024);
    match (shell, argv) {
        (Some(_), Some(_)) => {
            fields.mistake(&["argv"], "argv: not together with entrypoint");
            Command::Image
        }
        (Some(line), None) => Command::Shell(line),
        (None, Some(argv)) if argv.first().is_none_or(String::is_empty) => {
            fields.mistake(&["argv"], "argv: expected a program and its arguments");
            Command::Image
        }
        (None, Some(argv)) => Command::Argv(argv),
        (None, None) => Command::Image,
    }
}

/// A file's content as it stands in a body.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) enum Content {
    /// Text.
    Text(String),
    /// Any bytes.
    Encoded(Encoded),
}

/// Bytes in base64, with padding.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encoded {
    base64: String,
}

fn files(fields: &mut Fields) -> Option<BTreeMap<String, Bytes>> {
    let Some(values) = fields.entries("files", MAX_FILES) else {
        if fields.is_good() {
            fields.missing("files", "object");
        }
        return None;
    };
    if values.is_empty() {
        fields.mistake(&["files"], "at least one file is required");
    }
    let mut files = BTreeMap::new();
    for (name, value) in values {
        match content(&name, &value) {
            Ok(content) => drop(files.insert(name, content)),
            Err(message) => {
                let shown: String = name.chars().take(200).collect();
                fields.mistake(&["files", &shown], message);
            }
        }
    }
    for (file, below) in conflicts(&files) {
        fields.mistake(&["files", below], format!("{below} lies below {file}, which is a file"));
    }
    Some(files)
}

fn content(name: &str, value: &RawValue) -> Result<Bytes, String> {
    check_name(name)?;
    if let Ok(text) = serde_json::from_str::<String>(value.get()) {
        return Ok(text.into());
    }
    let encoded = serde_json::from_str::<Encoded>(value.get());
    let Encoded { base64 } = encoded.map_err(|_| "expected text, or {\"base64\": \"…\"}".to_owned())?;
    STANDARD.decode(base64).map(Bytes::from).map_err(|_| "expected base64 with padding".to_owned())
}

/// A path below the workdir and nowhere else.
fn check_name(name: &str) -> Result<(), String> {
    let length = name.encode_utf16().count();
    if !(1..=MAX_FILE_NAME).contains(&length) {
        return Err(format!("a path has 1 to {MAX_FILE_NAME} characters"));
    }
    if name.starts_with(['/', '\\']) {
        return Err("path must be relative".to_owned());
    }
    if name.contains('\0') {
        return Err("path must not contain NUL".to_owned());
    }
    if name.split(['/', '\\']).any(|part| part == "..") {
        return Err("path must not contain \"..\" segments".to_owned());
    }
    if name.split('/').any(|part| part.is_empty() || part == ".") {
        return Err("path must have no empty part and no \".\"".to_owned());
    }
    Ok(())
}

/// Files that lie below others. Sorted, everything below a file's name and a slash follows it, but not at once: `a-b` is
/// between `a` and `a/b`.
fn conflicts(files: &BTreeMap<String, Bytes>) -> Vec<(&str, &str)> {
    let below = |name: &String| -> Option<(&str, &str)> {
        let (found, _) = files.get_key_value(name.as_str())?;
        let above = found.match_indices('/').map(|(end, _)| found.get(..end).unwrap_or_default());
        let mut above = above.filter_map(|parent| files.get_key_value(parent));
        above.next().map(|(parent, _)| (parent.as_str(), found.as_str()))
    };
    files.keys().filter_map(below).collect()
}

fn input(fields: &mut Fields, detached: bool) -> Option<Bytes> {
    let input = fields.raw("input")?;
    if detached {
        fields.mistake(&["input"], "input: not together with detached");
    }
    Some(compact(&input).into())
}

fn networks(fields: &mut Fields) -> Vec<String> {
    let one = fields.text("network", 1, 100);
    let many = fields.texts("networks", MAX_ITEMS, 1, 100);
    if one.is_some() && many.is_some() {
        fields.mistake(&["networks"], "networks: not together with network");
    }
    many.unwrap_or_else(|| one.into_iter().collect())
}

fn environment(fields: &mut Fields) -> BTreeMap<String, String> {
    let variables = fields.map("env", MAX_VARIABLES).unwrap_or_default();
    for (name, value) in &variables {
        if !is_variable(name) {
            fields.mistake(&["env", name], "env var names match ^[A-Za-z_][A-Za-z0-9_]*$");
        } else if value.contains('\0') {
            fields.mistake(&["env", name], "a value must not contain NUL");
        }
    }
    variables
}

fn is_variable(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn limits(fields: &mut Fields) -> Overrides {
    let memory = fields.scalar("memory", "string").and_then(|value| {
        let bytes = match &value {
            Value::String(text) => parse_bytes(text),
            other => other.as_u64(),
        };
        if bytes.is_none() {
            fields.mistake(&["memory"], "memory: expected bytes, such as 256m, 1g or 268435456");
        }
        bytes
    });
    let cpus = fields.scalar("cpus", "number").and_then(|value| {
        let cpus = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        let cpus = cpus.filter(|cpus| cpus.is_finite() && *cpus > 0.0);
        if cpus.is_none() {
            fields.mistake(&["cpus"], "cpus: expected a number of cores above 0, such as 0.5");
        }
        cpus
    });
    let pids = fields.whole("pids", 1, u64::from(u32::MAX)).and_then(|pids| u32::try_from(pids).ok());
    Overrides { memory, cpus, pids }
}

fn callback(fields: &mut Fields, private_callbacks: bool) -> Option<Callback> {
    let url = fields.text("callbackUrl", 1, 2048);
    let secret = fields.text("callbackSecret", 16, 200).map(Secret::new);
    let Some(text) = url else {
        if secret.is_some() {
            fields.mistake(&["callbackSecret"], "callbackSecret: there is no callbackUrl to sign for");
        }
        return None;
    };
    match callback_url(&text, private_callbacks) {
        Ok(url) => Some(Callback { url, secret }),
        Err(message) => {
            fields.mistake(&["callbackUrl"], message);
            None
        }
    }
}

/// What can be seen of a URL without looking its name up; the addresses themselves are checked when it is dialed.
fn callback_url(text: &str, private_callbacks: bool) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "callbackUrl: expected a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("callbackUrl: expected http or https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("callbackUrl: expected no user and no password; use callbackSecret");
    }
    let private = match url.host() {
        None => return Err("callbackUrl: expected a host"),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => !Reach::of(address.into()).is_public(),
        Some(url::Host::Ipv6(address)) => !Reach::of(address.into()).is_public(),
    };
    if private && !private_callbacks {
        return Err(
            "callbackUrl: expected a public address; private ones must be allowed by the server (--allow-private-callbacks)",
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(change: Value) -> Result<Order, Vec<(String, String)>> {
        let mut body = json!({"image": "busybox", "files": {"a.txt": "x"}});
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        Order::parse(&body.to_string().into(), false).map_err(|refused| match refused {
            Refusal::BadRequest(issues) => {
                let place = |issue: &super::super::check::Issue| {
                    let path: Vec<String> =
                        issue.path.iter().map(|part| part.to_string().trim_matches('"').to_owned()).collect();
                    (path.join("."), issue.message.clone())
                };
                issues.iter().map(place).collect()
            }
            other => panic!("{other:?}"),
        })
    }

    fn refused_at(change: Value) -> String {
        let issues = order(change.clone()).err().unwrap_or_else(|| panic!("{change} was taken"));
        issues[0].0.clone()
    }

    #[test]
    fn the_least_order_has_every_default() {
        let Order { request, extract, callback } = order(json!({})).unwrap();
        assert_eq!((request.image.as_str(), &request.command), ("busybox", &Command::Image));
        let Some(Seed::Files(files)) = request.seed else { panic!() };
        assert_eq!(files, BTreeMap::from([("a.txt".to_owned(), Bytes::from("x"))]));
        assert!(request.input.is_none() && request.timeout.is_none() && request.networks.is_empty());
        assert!(!request.detached && !request.writable_root && extract.is_empty() && callback.is_none());
    }

    #[test]
    fn everything_that_can_be_said_is_understood() {
        let Order { request, extract, callback } = order(json!({
            "entrypoint": "cat a.txt", "run": ["touch /x"], "input": {"a": [1, null]}, "timeout": 2000,
            "networks": ["none"], "workdir": "/work", "env": {"A_1": "b c"}, "extract": ["out/"],
            "callbackUrl": "https://example.com/done", "callbackSecret": "0123456789abcdef",
            "memory": "64m", "cpus": 0.5, "pids": 20, "user": "1000:1000", "writableRoot": true,
            "capabilities": ["CHOWN"], "files": {"b.bin": {"base64": "AAH/"}},
        }))
        .unwrap();
        assert_eq!(request.command, Command::Shell("cat a.txt".to_owned()));
        assert_eq!(request.input.as_deref(), Some(br#"{"a":[1,null]}"#.as_slice()));
        assert_eq!(request.timeout, Some(Duration::from_secs(2)));
        assert_eq!((request.networks, request.run), (vec!["none".to_owned()], vec!["touch /x".to_owned()]));
        assert_eq!(request.limits, Overrides { memory: Some(64 << 20), cpus: Some(0.5), pids: Some(20) });
        assert_eq!((request.user.as_deref(), request.writable_root), (Some("1000:1000"), true));
        let Some(Seed::Files(files)) = request.seed else { panic!() };
        assert_eq!(files["b.bin"].as_ref(), [0, 1, 255]);
        assert_eq!(extract, ["out/"]);
        assert_eq!(callback.unwrap().secret.unwrap().expose(), "0123456789abcdef");
    }

    #[test]
    fn both_ways_to_name_a_network_are_taken_but_not_together() {
        assert_eq!(order(json!({"network": "none"})).unwrap().request.networks, ["none"]);
        assert_eq!(refused_at(json!({"network": "none", "networks": ["none"]})), "networks");
    }

    fn refusal_of(body: String) -> Value {
        match Order::parse(&body.into(), false) {
            Err(Refusal::BadRequest(issues)) => json!(issues),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_setting_hides_behind_many_of_another_name() {
        let least = r#""image":"busybox","files":{"a.txt":"x"},"entrypoint":"true""#;
        let many = r#""timeout":1000,"#.repeat(997);
        let told = refusal_of(format!(r#"{{{least},{many}"network":"none"}}"#));
        assert_eq!(told[0]["path"], json!(["timeout"]), "{told}");
        let told = refusal_of(format!(r#"{{{least},"network":"bridge","network":"none"}}"#));
        assert_eq!(told[0]["path"], json!(["network"]), "{told}");
    }

    #[test]
    fn a_file_or_a_variable_is_given_once() {
        for (body, place) in [
            (r#"{"image":"b","files":{"a":"x","a":"y"}}"#, json!(["files", "a"])),
            (r#"{"image":"b","files":{"a":{"base64":"AA==","base64":""}}}"#, json!(["files", "a"])),
            (r#"{"image":"b","files":{"a":"x"},"env":{"A":"1","\u0041":"2"}}"#, json!(["env", "A"])),
        ] {
            let told = refusal_of(body.to_owned());
            assert_eq!(told[0]["path"], place, "{body}: {told}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_at_its_place() {
        let long = "x".repeat(2049);
        for (change, place) in [
            (json!({"files": {}}), "files"),
            (json!({"files": null}), "files"),
            (json!({"files": {"/etc/passwd": "x"}}), "files./etc/passwd"),
            (json!({"files": {"../x": "x"}}), "files.../x"),
            (json!({"files": {"a/../../x": "x"}}), "files.a/../../x"),
            (json!({"files": {"a\\..\\x": "x"}}), "files.a\\\\..\\\\x"),
            (json!({"files": {"a//b": "x"}}), "files.a//b"),
            (json!({"files": {".": "x"}}), "files.."),
            (json!({"files": {"a/": "x"}}), "files.a/"),
            (json!({"files": {"": "x"}}), "files."),
            (json!({"files": {"a": 1}}), "files.a"),
            (json!({"files": {"a": {"base64": "!"}}}), "files.a"),
            (json!({"files": {"a": {"base64": "", "mode": 1}}}), "files.a"),
            (json!({"files": {"a": "x", "a-b": "x", "a/b/c": "x"}}), "files.a/b/c"),
            (json!({"image": ""}), "image"),
            (json!({"image": "x".repeat(301)}), "image"),
            (json!({"entrypoint": long}), "entrypoint"),
            (json!({"argv": []}), "argv"),
            (json!({"argv": ["a"], "entrypoint": "b"}), "argv"),
            (json!({"run": vec!["x"; 51]}), "run"),
            (json!({"run": [""]}), "run.0"),
            (json!({"env": {"1A": "x"}}), "env.1A"),
            (json!({"env": {"A;B": "x"}}), "env.A;B"),
            (json!({"env": {"A": 1}}), "env.A"),
            (json!({"timeout": 0}), "timeout"),
            (json!({"timeout": 3_600_001}), "timeout"),
            (json!({"extract": vec!["x"; 21]}), "extract"),
            (json!({"detached": "yes"}), "detached"),
            (json!({"detached": true, "input": null}), "input"),
            (json!({"memory": "1.5g"}), "memory"),
            (json!({"cpus": "2abc"}), "cpus"),
            (json!({"callbackUrl": "ftp://example.com"}), "callbackUrl"),
            (json!({"callbackUrl": "http://user:pass@example.com"}), "callbackUrl"),
            (json!({"callbackUrl": "http://169.254.169.254/latest"}), "callbackUrl"),
            (json!({"callbackUrl": "http://0x7f.1/"}), "callbackUrl"),
            (json!({"callbackUrl": "http://[::ffff:10.0.0.1]/"}), "callbackUrl"),
            (json!({"callbackUrl": "http://LOCALHOST/"}), "callbackUrl"),
            (json!({"callbackUrl": "https://example.com", "callbackSecret": "short"}), "callbackSecret"),
            (json!({"callbackSecret": "0123456789abcdef"}), "callbackSecret"),
        ] {
            assert_eq!(refused_at(change.clone()), place, "{change}");
        }
    }

    #[test]
    fn many_files_weigh_something_and_too_many_are_refused() {
        let files = |count: usize| -> Value {
            (0..count)
                .map(|number| (format!("{number:x}"), json!("")))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        assert_eq!(order(json!({"files": files(100)})).unwrap().weight(), 100 * FILE_BYTES);
        let issues = order(json!({"files": files(MAX_FILES + 1)})).unwrap_err();
        assert_eq!(issues[0].0, "files");
    }

    #[test]
    fn a_key_that_nobody_knows_is_never_left_out_in_silence() {
        let told = |key: &str| order(json!({key: ["x"]})).unwrap_err().remove(0).1;
        assert!(told("setup").contains("run"), "{}", told("setup"));
        assert!(told("async").contains("detached"));
        assert!(told("command").contains("entrypoint"));
        assert!(told("Network").contains("did you mean network?"));
        assert!(told("callback_url").contains("callbackUrl"));
        assert!(told("frobnicate").contains("'frobnicate'"));
    }
}
