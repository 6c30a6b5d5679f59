//! `status`: what the daemon on this host says of itself. Settings of this terminal are not the daemon's, and are not shown.

use std::io::Write;

use runtime::Exit;
use runtime::settings::Source;
use runtime::terminal::printable;
use serde_json::Value;

use super::probe::{Answer, answer_of};
use super::{complain, print};
use crate::cli::Flags;

pub(super) async fn run(flags: &Flags, environment: &dyn Source, out: &mut (dyn Write + Send)) -> Exit {
    let Answer { address, status, body } = match answer_of("/status", flags, environment).await {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let said = serde_json::from_str(&body).ok().filter(|_| status == 200);
    let Some(text) = said.and_then(|said| describe(&said, &address.to_string())) else {
        complain(&format!("what listens at {address} is no runner (it answered {status})"));
        return Exit::Failed;
    };
    print(out, &text)
}

/// For people, without control characters; nothing when a runner does not speak so.
fn describe(said: &Value, address: &str) -> Option<String> {
    let runner = said.get("runnerId")?.as_str()?;
    let (plugins, sources) = (list(said, "plugins"), list(said, "sources"));
    let mut lines = vec![
        format!("version   {}", word(said, "/version")),
        format!("runner    {runner}"),
        format!("gateway   {}", word(said, "/gateway")),
        format!("health    {address}"),
        format!("link      {}", link(said)),
        format!("jobs      {}", jobs(said)),
        format!("exec      {}", exec(said)),
    ];
    if !plugins.is_empty() {
        lines.push(format!("plugins   {}", plugins.len()));
        lines.extend(plugins.iter().map(|plugin| item(plugin, "file", "problem")));
    }
    lines.push(format!("sources   {}", sources.len()));
    lines.extend(sources.iter().map(|source| item(source, "name", "reason")));
    Some(lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n"))
}

fn link(said: &Value) -> String {
    if said.pointer("/link/connected").and_then(Value::as_bool) == Some(true) {
        return "connected".to_owned();
    }
    let reason = said.pointer("/link/reason").and_then(Value::as_str);
    format!("not connected: {}", reason.unwrap_or("it has just started"))
}

fn jobs(said: &Value) -> String {
    let draining = said.get("draining").and_then(Value::as_bool) == Some(true);
    let rest = if draining { ", draining: it takes no new ones" } else { "" };
    format!("{} of at most {}{rest}", word(said, "/activeJobs"), word(said, "/maxJobs"))
}

fn exec(said: &Value) -> String {
    let modes = said.pointer("/exec/modes").and_then(Value::as_array).into_iter().flatten();
    let modes: Vec<&str> = modes.filter_map(Value::as_str).collect();
    if modes.is_empty() {
        return "off".to_owned();
    }
    format!(
        "{}; {} of at most {}, {}",
        modes.join(","),
        word(said, "/exec/active"),
        word(said, "/exec/max"),
        match said.pointer("/exec/docker").and_then(Value::as_bool) {
            Some(true) => "with a Docker engine",
            _ => "without a Docker engine",
        }
    )
}

/// A plugin or source: its name, and what is wrong with it, otherwise how it is.
fn item(entry: &Value, name: &str, trouble: &str) -> String {
    let field = |key: &str| entry.get(key).and_then(Value::as_str);
    format!("  {}: {}", field(name).unwrap_or("?"), field(trouble).or(field("state")).unwrap_or("?"))
}

fn list<'v>(said: &'v Value, key: &str) -> &'v [Value] {
    said.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text or a number; another version of the runner may not say it.
fn word(said: &Value, pointer: &str) -> String {
    match said.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_daemon_says_is_shown_and_nothing_else() {
        let said = json!({
            "version": "1.2.3", "runnerId": "edge", "gateway": "wss://gateway/connect",
            "link": {"connected": true}, "draining": false, "activeJobs": 1, "maxJobs": 64,
            "exec": {"modes": ["readonly", "sandbox"], "active": 0, "max": 8, "docker": true},
            "plugins": [{"file": "things.wasm", "state": "failed", "problem": "it has no signature"}],
            "sources": [
                {"name": "main", "state": "open", "reason": null},
                {"name": "shop", "state": "unconfigured", "reason": "no url\u{1b}[31m"},
            ],
        });
        let wanted = "\
version   1.2.3
runner    edge
gateway   wss://gateway/connect
health    127.0.0.1:8080
link      connected
jobs      1 of at most 64
exec      readonly,sandbox; 0 of at most 8, with a Docker engine
plugins   1
  things.wasm: it has no signature
sources   2
  main: open
  shop: no url?[31m";
        assert_eq!(describe(&said, "127.0.0.1:8080").unwrap(), wanted);
    }

    #[test]
    fn who_is_not_connected_says_why() {
        let said = |link: Value| {
            let said = json!({"runnerId": "edge", "link": link, "exec": {"modes": []}, "draining": true});
            describe(&said, "x").unwrap()
        };
        let refused = said(json!({"connected": false, "reason": "the gateway answered 401"}));
        assert!(refused.contains("link      not connected: the gateway answered 401\n"), "{refused}");
        assert!(refused.contains("exec      off\n") && refused.contains("draining"), "{refused}");
        assert!(said(json!({"connected": false, "reason": null})).contains("it has just started"));
        assert_eq!(describe(&json!({"status": "ok"}), "x"), None);
    }
}
