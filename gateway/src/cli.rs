//! What can be typed after `semilayer-gateway`.
//!
//! `serve` and `demo` are the gateway itself. [`Remote`] commands are clients of a running gateway's REST interface, and
//! show what it answers: as a table, or as the JSON itself with `--json`.

mod audit;
mod client;
mod error;
mod exec;
mod jobs;
mod keys;
mod output;
mod push;
mod runners;
mod serve;
mod sources;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use runtime::Exit;
use runtime::settings::Source;
use runtime::terminal::print;

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
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until told to stop
    Serve(ServeFlags),
    /// Run a gateway, a runner and a sample database in one process, and query them
    #[cfg(feature = "demo")]
    Demo(DemoFlags),
    /// Those that ask a running gateway
    #[command(flatten)]
    Remote(Remote),
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

/// The commands that ask a running gateway. They need its admin token in SEMILAYER_ADMIN_TOKEN or
/// SEMILAYER_ADMIN_TOKEN_FILE.
#[derive(Debug, Subcommand)]
pub enum Remote {
    /// Make, list and revoke runners
    Runners(Group<runners::Command>),
    /// Make, change, list and test sources
    Sources(Group<sources::Command>),
    /// Give a runner sources
    Assign(Single<runners::Assignment>),
    /// Take sources from a runner
    Unassign(Single<runners::Assignment>),
    /// Make, list and revoke keys of applications
    Keys(Group<keys::Command>),
    /// Run a command on a runner and end with its exit code; 125 when it has none
    Exec(Single<exec::Command>),
    /// Show and end jobs: queries under way, and commands on runners
    Jobs(Group<jobs::Command>),
    /// Show who asked for what, and what came of it; --json shows everything of a row
    Audit(Single<audit::Command>),
    /// Put a config in place: JSON, YAML or TOML
    Push(Single<push::Command>),
}

/// A command that asks a running gateway.
#[derive(Debug, Args)]
pub struct Single<C: Args> {
    #[command(flatten)]
    command: C,
    #[command(flatten, next_help_heading = REMOTE_HEADING)]
    remote: RemoteFlags,
}

/// Commands of one name that ask a running gateway.
#[derive(Debug, Args)]
pub struct Group<C: Subcommand> {
    #[command(subcommand)]
    command: C,
    #[command(flatten, next_help_heading = REMOTE_HEADING)]
    remote: RemoteFlags,
}

const REMOTE_HEADING: &str =
    "The running gateway, whose admin token SEMILAYER_ADMIN_TOKEN or SEMILAYER_ADMIN_TOKEN_FILE has";

/// How commands reach a running gateway, and how they show what it says.
#[derive(Debug, Clone, Default, Args)]
pub struct RemoteFlags {
    /// Where it is [env: SEMILAYER_GATEWAY_API] [default: http://127.0.0.1:8787]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Certificates to trust beside the system's, PEM [env: SEMILAYER_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<String>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// Flags of `demo`.
#[cfg(feature = "demo")]
#[derive(Debug, Clone, Default, Args)]
pub struct DemoFlags {
    /// Leave after the queries; the exit code says whether every row came back right
    #[arg(long)]
    pub once: bool,
}

/// What was typed; or, once help or a mistake is shown, how the process ends.
pub fn parse(typed: Vec<OsString>) -> Result<Cli, ExitCode> {
    let is_exec = typed.get(1).is_some_and(|command| command == "exec");
    Cli::try_parse_from(typed).map_err(|error| {
        // Nobody is left to tell when the terminal is closed.
        drop(error.print());
        match (error.use_stderr(), is_exec) {
            (false, _) => Exit::Clean.into(),
            (true, false) => Exit::Configuration.into(),
            (true, true) => ExitCode::from(error::NOT_ENDED),
        }
    })
}

/// Runs a command to its end. Its answer goes to `out`, complaints go to stderr.
pub async fn run(cli: Cli, source: &dyn Source, out: &mut (dyn Write + Send)) -> ExitCode {
    match cli.command {
        Command::Serve(flags) => serve::run(&flags, source, out).await.into(),
        #[cfg(feature = "demo")]
        Command::Demo(flags) => crate::demo::run(flags).await.into(),
        Command::Remote(Remote::Exec(asked)) => {
            Remote::Exec(asked).run(source, out).await.unwrap_or_else(|error| error.end_exec())
        }
        Command::Remote(command) => command.run(source, out).await.unwrap_or_else(|error| error.end()),
        Command::ExportOpenapi { output } => export_openapi(output, out).unwrap_or_else(|error| error.end()),
        Command::Completions { shell } => {
            // Into memory first: what writes it panics when it cannot.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "semilayer-gateway", &mut script);
            print(out, String::from_utf8_lossy(&script).trim_end()).into()
        }
    }
}

impl Remote {
    async fn run(self, source: &dyn Source, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
        let flags = self.flags();
        let client = Client::load(flags, source)?;
        let output = Output { out, json: flags.json };
        match self {
            Self::Exec(asked) => return exec::run(asked.command, &client, output).await,
            Self::Runners(asked) => runners::run(asked.command, &client, output).await,
            Self::Sources(asked) => sources::run(asked.command, &client, output).await,
            Self::Assign(asked) => runners::assign(asked.command, "PUT", &client, output).await,
            Self::Unassign(asked) => runners::assign(asked.command, "DELETE", &client, output).await,
            Self::Keys(asked) => keys::run(asked.command, &client, output).await,
            Self::Jobs(asked) => jobs::run(asked.command, &client, output).await,
            Self::Audit(asked) => audit::run(asked.command, &client, output).await,
            Self::Push(asked) => push::run(asked.command, &client, output).await,
        }?;
        Ok(Exit::Clean.into())
    }

    fn flags(&self) -> &RemoteFlags {
        match self {
            Self::Runners(asked) => &asked.remote,
            Self::Sources(asked) => &asked.remote,
            Self::Assign(asked) | Self::Unassign(asked) => &asked.remote,
            Self::Keys(asked) => &asked.remote,
            Self::Exec(asked) => &asked.remote,
            Self::Jobs(asked) => &asked.remote,
            Self::Audit(asked) => &asked.remote,
            Self::Push(asked) => &asked.remote,
        }
    }
}

fn export_openapi(output: Option<PathBuf>, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let text = crate::api::document().to_pretty_json().map_err(std::io::Error::from)?;
    let exit = match output {
        None => print(out, &text),
        Some(path) => {
            std::fs::write(&path, text + "\n").map_err(|source| CliError::File { path, source })?;
            Exit::Clean
        }
    };
    Ok(exit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_typed_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_commands_that_ask_a_gateway_are_told_where_it_is() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
        for line in [
            "g runners list --json --url http://127.0.0.1:1",
            "g runners --json list",
            "g assign edge main --ca-file ca.pem",
            "g exec edge --json -- ls --json",
            "g audit --json",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in
            ["g serve --url x", "g demo --once --json", "g export-openapi --json", "g serve --ca-file x"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
        let help = |name: &str| Cli::command().find_subcommand_mut(name).unwrap().render_help().to_string();
        assert!(help("assign").contains("--url"));
        assert!(!help("serve").contains("--url"));
    }
}
