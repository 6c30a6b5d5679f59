//! The body of a request to run a command, and the runner that it names.

use std::sync::Arc;

use protocol::{ErrorCode, ExecMode, ExecRequest, Invalid, RawObject};
use runtime::spelling::closest;

use super::failure::Failure;
use super::record::said;
use crate::api::error::ApiError;
use crate::model::Runner;
use crate::snapshot::Snapshot;

/// The longest time that a command may be given, in seconds.
pub(crate) const MAX_TIMEOUT_SECS: u32 = 3_600;
/// What may stand in the body.
const FIELDS: [&str; 7] = ["target", "command", "argv", "timeout_secs", "mode", "sandbox", "env"];
/// What may stand in `sandbox`.
const SANDBOX_FIELDS: [&str; 6] = ["image", "network", "memory", "cpus", "files", "extract"];
/// What a target may begin with; no name does.
const PREFIX: &str = "runner:";

/// What is asked. The job has no id yet.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// A runner's id or name, with or without `runner:` before it.
    pub(crate) target: String,
    pub(crate) request: ExecRequest,
}

impl Asked {
    /// Reads the body. Whatever is wrong is named by its field.
    pub(crate) fn parse(body: &str) -> Result<Self, ApiError> {
        let object = RawObject::from_text(body).map_err(|invalid| invalid.within("body"))?;
        only(&object, &FIELDS, "")?;
        if let Some(sandbox) = object.get("sandbox") {
            only(
                &RawObject::parse(sandbox).map_err(|invalid| invalid.within("sandbox"))?,
                &SANDBOX_FIELDS,
                "sandbox.",
            )?;
        }
        let target = object.required_text("target")?;
        let request = ExecRequest::parse("", &object).map_err(with_our_limit)?;
        if request.timeout_secs > MAX_TIMEOUT_SECS {
            return Err(wrong_timeout().into());
        }
        if request.sandbox.is_some() && request.mode.is_some_and(|mode| mode != ExecMode::Sandbox) {
            let expected = "sandbox, or nothing: an image, network, memory or cpus asks for a container";
            return Err(Invalid::new("mode", expected).into());
        }
        Ok(Self { target, request })
    }
}

/// The protocol's limit is a wider one.
fn with_our_limit(invalid: Invalid) -> Invalid {
    if invalid.field == "timeout_secs" { wrong_timeout() } else { invalid }
}

fn wrong_timeout() -> Invalid {
    Invalid::new("timeout_secs", format!("a whole number from 1 to {MAX_TIMEOUT_SECS}"))
}

/// The runner that a target names. A target that names nobody, or that cannot name anybody, is answered with the same words.
/// Who may know the runners' names, as operators do, is told which one may be meant.
pub(crate) fn find(snapshot: &Snapshot, target: &str, may_know_names: bool) -> Result<Arc<Runner>, Failure> {
    let name = target.strip_prefix(PREFIX).unwrap_or(target);
    if let Some(runner) = snapshot.find_runner(name) {
        return Ok(Arc::clone(runner));
    }
    let names = || snapshot.runners().map(|runner| runner.name.as_str()).collect::<Vec<_>>();
    let meant = if may_know_names { closest(name, &names()) } else { None };
    let hint = match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => "a target is a runner's name or id, with or without runner: before it".to_owned(),
    };
    let message = format!("there is no runner {:?}; {hint}", said(target));
    Err(Failure::validation(ApiError::coded(ErrorCode::TargetNotFound, message)))
}

fn only(object: &RawObject<'_>, known: &[&str], path: &str) -> Result<(), ApiError> {
    let Some((name, _)) = object.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
    let shown: String = name.chars().take(100).collect();
    let expected = match closest(name, known) {
        Some(meant) => format!("no such field; did you mean {meant}?"),
        None => format!("one of the fields {}", known.join(", ")),
    };
    Err(ApiError::invalid(&format!("{path}{shown}"), &expected))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::capability::CapabilitySet;
    use crate::crypto::{MasterKey, Vault};
    use crate::model::{self, Records, RunnerId};
    use crate::token::{TokenHash, TokenKind, hint};

    #[test]
    fn a_body_is_a_target_and_a_command() {
        let asked = Asked::parse(r#"{"target":"edge","command":"uname -a"}"#).unwrap();
        assert_eq!((asked.target.as_str(), asked.request.timeout_secs), ("edge", 30));
        let whole = json!({
            "target": "edge", "argv": ["python3", "main.py"], "timeout_secs": 3600, "mode": "sandbox", "env": {"A": "1"},
            "sandbox": {"image": "python:3", "network": "none", "memory": "512m", "cpus": 0.5,
                "files": {"main.py": "print(1)"}, "extract": ["out"]},
        });
        let asked = Asked::parse(&whole.to_string()).unwrap();
        assert_eq!(asked.request.sandbox.unwrap().memory, Some(512 << 20));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            (json!({"command": "ls"}), "target"),
            (json!({"target": 7, "command": "ls"}), "target"),
            (json!({"target": "edge"}), "command"),
            (json!({"target": "edge", "command": " "}), "command"),
            (json!({"target": "edge", "command": "ls", "argv": ["ls"]}), "argv"),
            (json!({"target": "edge", "command": "ls", "timeout_secs": 0}), "timeout_secs"),
            (json!({"target": "edge", "command": "ls", "timeout_secs": 3601}), "timeout_secs"),
            (json!({"target": "edge", "command": "ls", "timeout": 5}), "timeout"),
            (json!({"target": "edge", "command": "ls", "docker": false}), "docker"),
            (json!({"target": "edge", "command": "ls", "mode": "root"}), "mode"),
            (json!({"target": "edge", "command": "ls", "mode": "full", "sandbox": {}}), "mode"),
            (
                json!({"target": "edge", "command": "ls", "sandbox": {"privileged": true}}),
                "sandbox.privileged",
            ),
            (json!({"target": "edge", "command": "ls", "sandbox": "busybox"}), "sandbox"),
            (json!({"target": "edge", "command": "ls", "env": {"A-B": "1"}}), "env"),
        ] {
            let refused = Asked::parse(&body.to_string()).unwrap_err();
            assert_eq!(refused.body()["field"], field, "{body}: {}", refused.message());
        }
        for seconds in [0, 3_601, 30_000, 90_000] {
            let body = json!({"target": "edge", "command": "ls", "timeout_secs": seconds});
            let refused = Asked::parse(&body.to_string()).unwrap_err();
            assert_eq!(
                refused.message(),
                "timeout_secs: expected a whole number from 1 to 3600",
                "{seconds}"
            );
        }
        for body in ["", "[]", "{\"target\":", "7"] {
            let refused = Asked::parse(body).unwrap_err();
            assert_eq!(
                (refused.status().as_u16(), &refused.body()["field"]),
                (400, &json!("body")),
                "{body}"
            );
        }
        assert_eq!(Asked::parse("").unwrap_err().message(), "body: expected an object");
        let long = Asked::parse(&format!(r#"{{"target":"e","command":"ls","{}":1}}"#, "x".repeat(10_000)));
        assert!(long.unwrap_err().message().len() < 400);
    }

    #[test]
    fn whoever_a_target_does_not_name_the_words_are_the_same() {
        let edge = Runner {
            id: RunnerId::new(),
            name: "edge".to_owned(),
            labels: std::collections::BTreeMap::new(),
            capabilities: CapabilitySet::default(),
            token_hint: hint(TokenKind::Runner, "rk_abcd"),
            created_at: model::now(),
            revoked_at: None,
            last_seen_at: None,
        };
        let id = edge.id;
        let records = Records { runners: vec![(edge, TokenHash::of("rk_abcd"))], ..Records::default() };
        let vault = Arc::new(Vault::new(&MasterKey::generate().unwrap()).unwrap());
        let snapshot = Snapshot::new(records, vault);
        for target in ["edge".to_owned(), "runner:edge".to_owned(), id.to_string(), format!("runner:{id}")] {
            assert_eq!(find(&snapshot, &target, false).unwrap().id, id, "{target}");
        }
        let message = |target: &str, may_know_names: bool| {
            find(&snapshot, target, may_know_names).unwrap_err().message().to_owned()
        };
        assert_eq!(message("egde", true), "there is no runner \"egde\"; did you mean edge?");
        assert_eq!(message("runner:Edge", true), "there is no runner \"runner:Edge\"; did you mean edge?");
        assert!(message("x".repeat(10_000).as_str(), true).len() < 400);
        let refused: std::collections::BTreeSet<String> = [
            "Edge".to_owned(),
            "nope".to_owned(),
            String::new(),
            "runner:".to_owned(),
            "runner:runner:edge".to_owned(),
            format!("runner:{id}:x"),
            format!("runner:{}", RunnerId::new()),
            format!("Runner:{id}"),
            "edge ".to_owned(),
        ]
        .iter()
        .map(|target| {
            let refused = find(&snapshot, target, false).unwrap_err();
            assert!(refused.envelope().to_string().contains("TARGET_NOT_FOUND"), "{target}");
            refused.message().replace(&format!("{target:?}"), "TARGET")
        })
        .collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(
            refused.first().unwrap().starts_with("there is no runner TARGET; a target is"),
            "{refused:?}"
        );
    }
}
