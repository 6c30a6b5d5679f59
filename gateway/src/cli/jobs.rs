//! `jobs`.

use std::io::{self, Write};

use clap::Subcommand;
use runtime::terminal::printable;
use serde_json::{Value, json};

use super::client::Client;
use super::error::CliError;
use super::output::{Column, Output, Page, text, write_fields};

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what runs now and the commands that have ended, those that began last first
    List {
        /// Id or name of a runner
        #[arg(long)]
        runner: Option<String>,
        /// shell, query, count, …
        #[arg(long)]
        kind: Option<String>,
        /// pending, claimed or running; or of commands that have ended succeeded, failed, timeout, cancelled or denied
        #[arg(long)]
        status: Option<String>,
        /// Which of these
        #[command(flatten)]
        page: Page,
    },
    /// Show a job that runs, or a command that has ended, with what is kept of its output
    Get {
        /// Its id
        job: String,
    },
    /// End a job at its runner
    Cancel {
        /// Its id
        job: String,
    },
}

const COLUMNS: [Column; 8] = [
    ("STARTED", |row| text(row, "startedAt")),
    ("KIND", |row| text(row, "kind")),
    ("STATUS", |row| text(row, "status")),
    ("EXIT", |row| text(row, "exitCode")),
    ("MS", |row| text(row, "elapsedMs")),
    ("RUNNER", |row| text(row, "runner")),
    ("WHAT", |row| text(row, if row.get("command").is_some() { "command" } else { "source" })),
    ("ID", |row| text(row, "id")),
];

pub(super) async fn run(command: Command, client: &Client, mut output: Output<'_>) -> Result<(), CliError> {
    match command {
        Command::List { runner, kind, status, page } => {
            let [limit, cursor] = page.parameters();
            let parameters = [
                ("runner", runner.as_deref()),
                ("kind", kind.as_deref()),
                ("status", status.as_deref()),
                limit,
                cursor,
            ];
            let answer = client.find(&["jobs"], &parameters).await.map_err(|error| error.by_flag(&[]))?;
            output.page(&answer, "jobs", &COLUMNS)?;
        }
        Command::Get { job } => {
            let answer = client.get(&["jobs", &job]).await?;
            output.show(&answer, |out, job| {
                write_fields(out, job, &COLUMNS)?;
                written(out, job, "stdout")?;
                written(out, job, "stderr")
            })?;
        }
        Command::Cancel { job } => {
            let answer = client.post(&["jobs", &job, "cancel"], &json!({})).await?;
            output.show(&answer, |out, job| writeln!(out, "job {} is ended", text(job, "id")))?;
        }
    }
    Ok(())
}

/// What is kept of one of a command's outputs. Of its control characters line breaks and tabs alone reach the terminal.
fn written(out: &mut dyn Write, job: &Value, stream: &str) -> io::Result<()> {
    let kept = job.pointer(&format!("/output/{stream}")).and_then(Value::as_str).unwrap_or_default();
    if kept.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{stream}:")?;
    kept.lines().try_for_each(|line| {
        let cells: Vec<String> = line.split('\t').map(printable).collect();
        writeln!(out, "{}", cells.join("\t"))
    })
}
