//! What can be typed after `semilayer-gateway`.
//!
//! `serve` and `demo` are the gateway itself. Every other command is a client of a running gateway's REST interface, and
//! shows what it answers: as a table, or as the JSON itself with `--json`.

mod client;
mod error;
mod exec;
mod keys;
mod output;
mod push;
mod runners;
mod serve;
mod sources;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use runtime::Exit;
use runtime::settings::Source;

use crate::settings::ServeFlags;
use client::Client;
use error::CliError;
use output::Output;

/// The SemiLayer gateway: applications ask, runners answer, operators watch.
#[derive(Debug, Parser)]
#[command(name = "semilayer-gateway", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Where a running gateway is, and how to show what it says
    #[command(flatten)]
    pub remote: RemoteFlags,
}

/// How commands reach a running gateway.
#[derive(Debug, Clone, Default, Args)]
pub struct RemoteFlags {
    /// The running gateway [env: SEMILAYER_GATEWAY_API] [default: http://127.0.0.1:8787]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Certificates to trust beside the system's, PEM [env: SEMILAYER_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands. Those that ask a running gateway need its admin token in SEMILAYER_ADMIN_TOKEN or
/// SEMILAYER_ADMIN_TOKEN_FILE.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until told to stop
    Serve(ServeFlags),
    /// Run a gateway, a runner and a sample database in one process, and query them
    #[cfg(feature = "demo")]
    Demo(DemoFlags),
    /// Make, list and revoke runners
    #[command(subcommand)]
    Runners(runners::Command),
    /// Make, change, list and test sources
    #[command(subcommand)]
    Sources(sources::Command),
    /// Give a runner sources
    Assign(runners::Assignment),
    /// Take sources from a runner
    Unassign(runners::Assignment),
    /// Make, list and revoke keys of applications
    #[command(subcommand)]
    Keys(keys::Command),
    /// Run a command on a runner and end with its exit code
    Exec(exec::Command),
    /// Put a config in place: JSON, YAML or TOML
    Push(push::Command),
    /// Print the description of the HTTP interface
    ExportOpenapi {
        /// Write to this file instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// Flags of `demo`.
#[cfg(feature = "demo")]
#[derive(Debug, Clone, Default, Args)]
pub struct DemoFlags {
    /// Leave after the queries; the exit code says whether every row came back right
    #[arg(long)]
    pub once: bool,
}

/// Runs a command to its end. Its answer goes to `out`, complaints go to stderr.
pub async fn run(cli: Cli, source: &dyn Source, out: &mut (dyn Write + Send)) -> ExitCode {
    match cli.command {
        Command::Serve(flags) => serve::run(&flags, source, out).await.into(),
        #[cfg(feature = "demo")]
        Command::Demo(flags) => crate::demo::run(flags).await.into(),
        Command::ExportOpenapi { output } => settle(export_openapi(output, out)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "semilayer-gateway", &mut script);
            settle(out.write_all(&script).map_err(CliError::from))
        }
        remote => ask(remote, &cli.remote, source, out).await.unwrap_or_else(|error| failed(&error)),
    }
}

async fn ask(
    command: Command,
    flags: &RemoteFlags,
    source: &dyn Source,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let client = Client::load(flags, source)?;
    let output = Output { out, json: flags.json };
    match command {
        Command::Exec(command) => return exec::run(command, &client, output).await,
        Command::Runners(command) => runners::run(command, &client, output).await,
        Command::Sources(command) => sources::run(command, &client, output).await,
        Command::Assign(assignment) => runners::assign(assignment, "PUT", &client, output).await,
        Command::Unassign(assignment) => runners::assign(assignment, "DELETE", &client, output).await,
        Command::Keys(command) => keys::run(command, &client, output).await,
        Command::Push(command) => push::run(command, &client, output).await,
        // These do not ask anybody and have been dealt with.
        Command::Serve(_) | Command::ExportOpenapi { .. } | Command::Completions { .. } => Ok(()),
        #[cfg(feature = "demo")]
        Command::Demo(_) => Ok(()),
    }?;
    Ok(Exit::Clean.into())
}

fn export_openapi(output: Option<PathBuf>, out: &mut dyn Write) -> Result<(), CliError> {
    let mut text = crate::api::document().to_pretty_json().map_err(std::io::Error::from)?;
    text.push('\n');
    match output {
        None => Ok(out.write_all(text.as_bytes())?),
        Some(path) => std::fs::write(&path, text).map_err(|source| CliError::File { path, source }),
    }
}

/// The exit code of a command, after its complaint.
fn settle(done: Result<(), CliError>) -> ExitCode {
    done.map_or_else(|error| failed(&error), |()| Exit::Clean.into())
}

fn failed(error: &CliError) -> ExitCode {
    complain(error);
    error.exit()
}

fn complain(problem: &dyn std::fmt::Display) {
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(std::io::stderr(), "{problem}"));
}
