//! `audit`.

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::error::CliError;
use super::output::{Column, Output, Page, text};

/// What to look for in the audit log, newest first. Everything that is given must fit
#[derive(Debug, Args)]
pub struct Command {
    /// query, count, exec, runner.create, …
    #[arg(long)]
    action: Option<String>,
    /// ok, or a code such as POLICY_DENIED
    #[arg(long)]
    outcome: Option<String>,
    /// anonymous, admin, secret-key, public-key or runner
    #[arg(long)]
    actor: Option<String>,
    /// Id of a key or runner as the actor
    #[arg(long, value_name = "ID")]
    actor_id: Option<String>,
    /// Name of a lens
    #[arg(long)]
    lens: Option<String>,
    /// Name of a source
    #[arg(long)]
    source: Option<String>,
    /// Id or name of the runner that did the work, or was to do it
    #[arg(long)]
    runner: Option<String>,
    /// Id of a request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// The rule that refused a command
    #[arg(long)]
    rule: Option<String>,
    /// Not before this time, such as 2026-01-31T12:00:00Z
    #[arg(long, visible_alias = "from", value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Which rows of these
    #[command(flatten)]
    page: Page,
}

const COLUMNS: [Column; 9] = [
    ("TIME", |row| text(row, "at")),
    ("ACTION", |row| text(row, "action")),
    ("OUTCOME", outcome),
    ("ACTOR", |row| text(row, "actor")),
    ("ON", on),
    ("ROWS", |row| text(row, "rows")),
    ("MS", |row| text(row, "durationMs")),
    ("WHAT", what),
    ("REQUEST", |row| text(row, "requestId")),
];

/// The flags that are not called as the parameters that they are.
const FLAGS: [(&str, &str); 3] =
    [("actorId", "--actor-id"), ("requestId", "--request-id"), ("from", "--since")];
/// Characters of a command that the table shows.
const MAX_WHAT: usize = 200;

pub(super) async fn run(command: Command, client: &Client, mut output: Output<'_>) -> Result<(), CliError> {
    let [limit, cursor] = command.page.parameters();
    let asking = client
        .find(
            &["audit"],
            &[
                ("action", command.action.as_deref()),
                ("outcome", command.outcome.as_deref()),
                ("actor", command.actor.as_deref()),
                ("actorId", command.actor_id.as_deref()),
                ("lens", command.lens.as_deref()),
                ("source", command.source.as_deref()),
                ("runner", command.runner.as_deref()),
                ("requestId", command.request_id.as_deref()),
                ("rule", command.rule.as_deref()),
                ("from", command.since.as_deref()),
                ("until", command.until.as_deref()),
                limit,
                cursor,
            ],
        )
        .await;
    let answer = asking.map_err(|error| error.by_flag(&FLAGS))?;
    Ok(output.page(&answer, "entries", &COLUMNS)?)
}

/// The command, or the source of a query, as in the list of jobs.
fn what(row: &Value) -> String {
    let exec = row.get("exec").unwrap_or(&Value::Null);
    let argv = || exec.get("argv").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let command = match exec.get("command").and_then(Value::as_str) {
        Some(command) => command.to_owned(),
        None => argv().collect::<Vec<_>>().join(" "),
    };
    if command.is_empty() { text(row, "source") } else { command.chars().take(MAX_WHAT).collect() }
}

/// The outcome, the rule that is behind it, and how many refusals the row stands for.
fn outcome(row: &Value) -> String {
    let mut shown = text(row, "outcome");
    if let Some(rule) = row.get("rule").and_then(Value::as_str) {
        shown.push_str(&format!(" ({rule})"));
    }
    match row.get("occurrences").and_then(Value::as_u64) {
        Some(times @ 2..) => format!("{shown}, {times} times"),
        _ => shown,
    }
}

/// The lens of a query, what an operator has changed, or where a command ran.
fn on(row: &Value) -> String {
    let named = ["lens", "target", "source"].into_iter().find(|key| row.get(*key).is_some());
    text(row, named.unwrap_or("target"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_shows_the_command_or_the_source() {
        assert_eq!(what(&json!({"exec": {"command": "df -h | sort"}})), "df -h | sort");
        assert_eq!(what(&json!({"exec": {"argv": ["df", "-h"]}, "source": "main"})), "df -h");
        assert_eq!(what(&json!({"exec": {"command": "x".repeat(4_000)}})).len(), MAX_WHAT);
        assert_eq!(what(&json!({"source": "main"})), "main");
        assert_eq!(what(&json!({"action": "key.create"})), "-");
    }
}
