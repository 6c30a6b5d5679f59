//! `status`: the settings, and what a running daemon says of itself.

use std::io::Write;

use runtime::Exit;
use runtime::settings::Source;
use serde_json::Value;

use super::{print, probe, refuse};
use crate::cli::Flags;
use crate::config::{Config, Loaded};
use crate::link::shown;

pub(super) async fn run(flags: &Flags, environment: &dyn Source, out: &mut (dyn Write + Send)) -> Exit {
    let Loaded { config, .. } = match Config::load(flags, environment) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes),
    };
    let health = config.health.map_or_else(|| "off".to_owned(), |address| address.to_string());
    let lines = [
        format!("version   {}", env!("CARGO_PKG_VERSION")),
        format!("runner    {}", config.runner_id),
        // Not even its first characters: they help nobody but a thief.
        "token     set".to_owned(),
        format!("gateway   {}", shown(&config.gateway)),
        format!("health    {health}"),
        format!("exec      {}", config.exec.shown()),
        format!("daemon    {}", daemon(&config).await),
    ];
    print(out, &lines.join("\n"))
}

async fn daemon(config: &Config) -> String {
    let Some(address) = config.health else { return "unknown, since the health port is off".to_owned() };
    match probe::ask(address, "/status").await {
        Ok((200, body)) => {
            let said: Option<Value> = serde_json::from_str(&body).ok();
            said.map_or_else(
                || "something else listens on the health port".to_owned(),
                |said| describe(&said),
            )
        }
        Ok((status, _)) => format!("something else listens on the health port (it answered {status})"),
        Err(error) => format!("not running ({error})"),
    }
}

fn describe(said: &Value) -> String {
    let link = said.get("link").unwrap_or(&Value::Null);
    let state = match link.get("connected").and_then(Value::as_bool) {
        Some(true) => "connected".to_owned(),
        _ => {
            let reason = link.get("reason").and_then(Value::as_str).unwrap_or("it has just started");
            format!("not connected: {reason}")
        }
    };
    let active = said.get("activeJobs").and_then(Value::as_u64).unwrap_or(0);
    let sources = said.get("sources").and_then(Value::as_array).cloned().unwrap_or_default();
    let jobs = if active == 1 { "job" } else { "jobs" };
    let noun = if sources.len() == 1 { "source" } else { "sources" };
    let mut text = format!("{state}, {active} active {jobs}, {} {noun}", sources.len());
    for source in &sources {
        let field = |name| source.get(name).and_then(Value::as_str);
        let name = field("name").unwrap_or("?");
        text.push_str(&format!("\n  {name}: {}", field("reason").or(field("state")).unwrap_or("?")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_is_counted_as_people_do() {
        let said = |jobs: u64, sources: Value| {
            describe(&json!({"link": {"connected": true}, "activeJobs": jobs, "sources": sources}))
        };
        let main = json!({"name": "main", "state": "open"});
        assert_eq!(said(1, json!([main])), "connected, 1 active job, 1 source\n  main: open");
        assert_eq!(said(0, json!([])), "connected, 0 active jobs, 0 sources");
    }
}
