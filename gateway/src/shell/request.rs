//! The body of a request to run a command, and the runner that it names.

use std::sync::Arc;

use protocol::{ErrorCode, ExecMode, ExecRequest, Invalid, RawObject};
use runtime::spelling::closest;

use super::failure::Failure;
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
        let object = RawObject::from_text(body)?;
        only(&object, &FIELDS, "")?;
        if let Some(sandbox) = object.get("sandbox") {
            only(
                &RawObject::parse(sandbox).map_err(|invalid| invalid.within("sandbox"))?,
                &SANDBOX_FIELDS,
                "sandbox.",
            )?;
        }
        let target = object.required_text("target")?;
        let request = ExecRequest::parse("", &object)?;
        if request.timeout_secs > MAX_TIMEOUT_SECS {
            let expected = format!("a whole number from 1 to {MAX_TIMEOUT_SECS}");
            return Err(Invalid::new("timeout_secs", expected).into());
        }
        if request.sandbox.is_some() && request.mode.is_some_and(|mode| mode != ExecMode::Sandbox) {
            return Err(Invalid::new("mode", "sandbox, or nothing, beside the field sandbox").into());
        }
        Ok(Self { target, request })
    }
}

/// The runner that a target names. A target that names nobody, or that cannot name anybody, is answered with the same words.
pub(crate) fn find(snapshot: &Snapshot, target: &str) -> Result<Arc<Runner>, Failure> {
    let found = snapshot.find_runner(target.strip_prefix(PREFIX).unwrap_or(target));
    let message = "there is no such runner; a target is a runner's name, or runner: and its name or id";
    let unknown = || Failure::validation(ApiError::coded(ErrorCode::TargetNotFound, message));
    found.cloned().ok_or_else(unknown)
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
        for body in ["", "[]", "{\"target\":", "7"] {
            assert_eq!(Asked::parse(body).unwrap_err().status(), 400, "{body}");
        }
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
            assert_eq!(find(&snapshot, &target).unwrap().id, id, "{target}");
        }
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
        .map(|target| find(&snapshot, target).unwrap_err().envelope().to_string())
        .collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused.first().unwrap().contains("TARGET_NOT_FOUND"), "{refused:?}");
    }
}
