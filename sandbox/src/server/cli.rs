//! What can be typed after `semilayer-sandbox`.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Parser, Subcommand};
use runtime::dial::Dialer;
use runtime::settings::Source;
use runtime::signals::Stops;
use runtime::terminal::unwritten;
use runtime::tls::ClientTls;
use runtime::{Drain, Drained, Exit, telemetry};

use super::api::document;
use super::app::App;
use super::error::StartError;
use super::settings::{Loaded, ServeFlags, Settings};

/// Runs containers over HTTP: files in, output and files out.
#[derive(Debug, Parser)]
#[command(name = "semilayer-sandbox", version, about, disable_version_flag = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer until told to stop
    Serve(Box<ServeFlags>),
    /// Print the description of the HTTP interface
    ExportOpenapi {
        /// Write to this file instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Reads the arguments of a process; what is asked for instead of a command is printed, and then the exit code is all
/// that is left to say: 0 for help and version, 1 for a command that cannot be understood.
///
/// # Errors
/// The exit code.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, Exit> {
    Cli::try_parse_from(arguments).map_err(|error| {
        // Nobody is left to tell when the stream is closed.
        drop(error.print());
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Clean,
            _ => Exit::Failed,
        }
    })
}

/// Runs a command to its end. Its answer goes to `out`, complaints go to stderr.
pub async fn run(cli: Cli, source: &dyn Source, out: &mut (dyn Write + Send)) -> Exit {
    match cli.command {
        Command::Serve(flags) => serve(&flags, source, out).await,
        Command::ExportOpenapi { output } => match export(output, out) {
            Ok(()) => Exit::Clean,
            Err(error) => unwritten(&error),
        },
    }
}

async fn serve(flags: &ServeFlags, source: &dyn Source, out: &mut (dyn Write + Send)) -> Exit {
    let loaded = match Settings::load(flags, source) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(Exit::Configuration, &mistakes),
    };
    let export = match telemetry::init(&loaded.log, loaded.traces.clone()) {
        Ok(export) => export,
        Err(error) => return refuse(Exit::Failed, &error),
    };
    for warning in &loaded.warnings {
        tracing::warn!(setting = warning.key, "{}", warning.message);
    }
    // Before anything else: a signal that comes while we start must not be lost.
    let stops = match Stops::listen() {
        Ok(stops) => stops,
        Err(error) => return refuse(Exit::Failed, &error),
    };
    let drain = Drain::new();
    let (app, tls) = match build(&loaded, &drain).await {
        Ok(built) => built,
        Err(error) => return refuse(Exit::Configuration, &error),
    };
    if let Some(export) = export {
        drop(export.spawn(&drain, Dialer::new(tls, loaded.proxies.clone())));
    }
    live(app, drain, &loaded.settings, stops, out).await
}

async fn build(loaded: &Loaded, drain: &Drain) -> Result<(App, ClientTls), StartError> {
    let tls = ClientTls::load(loaded.ca_file.as_deref(), loaded.ssl_cert_file.as_deref())?;
    let app = App::build(&loaded.settings, tls.clone(), drain).await?;
    Ok((app, tls))
}

/// Answers until told to stop.
async fn live(
    app: App,
    drain: Drain,
    settings: &Settings,
    mut stops: Stops,
    out: &mut (dyn Write + Send),
) -> Exit {
    let running = app.spawn(&drain).await;
    announce(&running.local_addr(), settings, out);
    let signal = stops.next().await;
    tracing::info!(signal, grace = ?settings.drain_timeout, "draining");
    let again = async move {
        stops.next().await;
    };
    let drained = drain.run(settings.drain_timeout, again).await;
    tracing::info!(?drained, "stopped");
    drop(running);
    match drained {
        Drained::Clean | Drained::Stopped => Exit::Clean,
        Drained::Abandoned => Exit::Failed,
    }
}

fn announce(address: &dyn Display, settings: &Settings, out: &mut dyn Write) {
    let url = format!("http://{address}");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), url, "sandbox started");
    if settings.token.is_none() {
        tracing::warn!("there is no token: whoever reaches the port runs what they like");
    }
    if let Err(error) = writeln!(out, "listening on {url}").and_then(|()| out.flush()) {
        tracing::warn!(%error, "standard output is closed");
    }
}

fn export(output: Option<PathBuf>, out: &mut dyn Write) -> std::io::Result<()> {
    let mut text = document().to_pretty_json()?;
    text.push('\n');
    match output {
        None => out.write_all(text.as_bytes()).and_then(|()| out.flush()),
        Some(path) => std::fs::write(path, text),
    }
}

fn refuse(exit: Exit, problem: &dyn Display) -> Exit {
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(std::io::stderr(), "{problem}"));
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Cli, Exit> {
        parse(std::iter::once("semilayer-sandbox").chain(arguments.iter().copied()).map(Into::into))
    }

    #[test]
    fn a_command_that_cannot_be_understood_is_told_from_wrong_values() {
        for wrong in [&[][..], &["run"], &["serve", "--prot", "1"]] {
            assert_eq!(parsed(wrong).err(), Some(Exit::Failed), "{wrong:?}");
        }
        for right in [&["--help"][..], &["-h"], &["--version"], &["-v"], &["serve", "--help"]] {
            assert_eq!(parsed(right).err(), Some(Exit::Clean), "{right:?}");
        }
        // The value is not for the parser of arguments to judge.
        assert!(parsed(&["serve", "--port", "x", "--warm", "a=1", "--warm", "b=2"]).is_ok());
    }
}
