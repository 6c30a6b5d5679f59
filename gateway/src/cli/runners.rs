//! `runners`, `assign`, `unassign`.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::CliError;
use super::output::{Column, Output, pairs, text, write_fields};

/// What to do with runners.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a runner and show its token, this once
    Create {
        /// Its name
        name: String,
        /// A label; may be given more than once
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// What it may do beside queries: exec.readonly, exec.full, docker, sandbox; may be given more than once
        /// [default: exec.readonly]
        #[arg(long = "capability", value_name = "CAPABILITY")]
        capabilities: Vec<String>,
        /// A source that it has from the start; may be given more than once
        #[arg(long = "source", value_name = "SOURCE")]
        sources: Vec<String>,
    },
    /// Change what a runner may do, or its labels; what is not given stays
    Update {
        /// Id or name
        runner: String,
        /// What it may do beside queries, in place of all that it has: exec.readonly, exec.full, docker, sandbox; may be given
        /// more than once
        #[arg(long = "capability", value_name = "CAPABILITY")]
        capabilities: Vec<String>,
        /// It may do nothing beside queries
        #[arg(long, conflicts_with = "capabilities")]
        no_capabilities: bool,
        /// A label, in place of all that it has; may be given more than once
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
    },
    /// List the runners
    List,
    /// Show one runner
    Get {
        /// Id or name
        runner: String,
    },
    /// End a runner's token for good and close its sockets at once
    Revoke {
        /// Id or name
        runner: String,
    },
    /// Give a runner another token, shown this once; the old one ends at once
    Rotate {
        /// Id or name
        runner: String,
    },
    /// Forget a runner that is not connected
    Delete {
        /// Id or name
        runner: String,
    },
}

/// A runner and sources.
#[derive(Debug, Args)]
pub struct Assignment {
    /// Id or name of the runner
    runner: String,
    /// Ids or names of the sources
    #[arg(required = true)]
    sources: Vec<String>,
}

const COLUMNS: [Column; 6] = [
    ("NAME", |row| text(row, "name")),
    ("STATUS", |row| text(row, "status")),
    ("SOURCES", |row| text(row, "sources")),
    ("LAST SEEN", |row| text(row, "lastSeenAt")),
    ("TOKEN", |row| text(row, "tokenHint")),
    ("ID", |row| text(row, "id")),
];

/// What this gateway allows beside queries, what the runner's own settings offer, and what is in both.
const CAPABILITIES: [Column; 3] = [
    ("ALLOWED", |row| text(row, "capabilities")),
    ("OFFERED", |row| text(row, "reportedCapabilities")),
    ("EFFECTIVE", |row| text(row, "effectiveCapabilities")),
];

pub(super) async fn run(command: Command, client: &Client, mut output: Output<'_>) -> Result<(), CliError> {
    match command {
        Command::Create { name, labels, capabilities, sources } => {
            let mut body = json!({"name": name, "labels": pairs("--label", &labels)?, "sources": sources});
            if let (Value::Object(body), false) = (&mut body, capabilities.is_empty()) {
                body.insert("capabilities".to_owned(), json!(capabilities));
            }
            let answer = client.post(&["runners"], &body).await?;
            output.token(&answer, &format!("runner {name} made"))?;
        }
        Command::List => output.table(&client.get(&["runners"]).await?, "runners", &COLUMNS)?,
        Command::Get { runner } => show(&client.get(&["runners", &runner]).await?, &mut output)?,
        Command::Update { runner, capabilities, no_capabilities, labels } => {
            let mut body = Map::new();
            if no_capabilities || !capabilities.is_empty() {
                body.insert("capabilities".to_owned(), json!(capabilities));
            }
            if !labels.is_empty() {
                body.insert("labels".to_owned(), pairs("--label", &labels)?);
            }
            if body.is_empty() {
                let message = "nothing to change: expected --capability, --no-capabilities or --label";
                return Err(CliError::Argument(message.to_owned()));
            }
            let body = ("application/json", Value::Object(body).to_string());
            show(&client.send(Method::PATCH, &["runners", &runner], Some(body)).await?, &mut output)?;
        }
        Command::Revoke { runner } => {
            let answer = client.post(&["runners", &runner, "revoke"], &json!({})).await?;
            output.show(&answer, |out, answer| writeln!(out, "runner {} revoked", text(answer, "name")))?;
        }
        Command::Rotate { runner } => {
            let answer = client.post(&["runners", &runner, "rotate"], &json!({})).await?;
            output.token(&answer, &format!("runner {} has a new token", text(&answer, "name")))?;
        }
        Command::Delete { runner } => {
            let answer = client.send(Method::DELETE, &["runners", &runner], None).await?;
            output.show(&answer, |out, _| writeln!(out, "runner {runner} deleted"))?;
        }
    }
    Ok(())
}

/// Assigns with PUT, takes away with DELETE.
pub(super) async fn assign(
    assignment: Assignment,
    method: &str,
    client: &Client,
    mut output: Output<'_>,
) -> Result<(), CliError> {
    let method = if method == "PUT" { Method::PUT } else { Method::DELETE };
    let mut answer = Value::Null;
    for source in &assignment.sources {
        let path = ["runners", &assignment.runner, "sources", source];
        answer = client.send(method.clone(), &path, None).await?;
    }
    Ok(show(&answer, &mut output)?)
}

fn show(runner: &Value, output: &mut Output<'_>) -> std::io::Result<()> {
    output.show(runner, |out, runner| {
        write_fields(out, runner, &COLUMNS)?;
        write_fields(out, runner, &CAPABILITIES)?;
        let sessions = runner.get("sessions").and_then(Value::as_array).into_iter().flatten();
        for session in sessions {
            let instance = text(session, "instanceId");
            writeln!(out, "{:<12} {instance} with {} jobs", "session", text(session, "activeJobs"))?;
        }
        Ok(())
    })
}
