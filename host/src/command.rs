//! The commands.

mod bridges;
mod doctor;
#[cfg(feature = "plugins")]
mod plugin;
mod probe;
mod start;
mod status;
mod test_source;

use std::io::Write;
use std::sync::Arc;

use clap::CommandFactory as _;
use runtime::Exit;
use runtime::settings::{Environment, Mistakes};

use crate::cli::{Cli, Command};
use crate::config::{PluginSettings, load_plugins};
use crate::plugins::Plugins;
use crate::registry::Registry;

/// Runs what was asked for and says how the process should end. Answers go to `out`, complaints to stderr.
pub async fn run(cli: Cli, out: &mut (dyn Write + Send)) -> Exit {
    let flags = cli.flags;
    let environment = Arc::new(Environment);
    let registry = Registry::native();
    match cli.command.unwrap_or(Command::Start) {
        Command::Start => start::run(flags, environment, registry).await,
        Command::Status => status::run(&flags, environment.as_ref(), out).await,
        Command::Bridges { json } => {
            let settings = match load_plugins(&flags, environment.as_ref()) {
                Ok(settings) => settings,
                Err(mistakes) => return refuse(&mistakes),
            };
            match bring_plugins(&settings, &registry).await {
                Ok(plugins) => bridges::run(&registry, &plugins, json, out),
                Err(exit) => exit,
            }
        }
        #[cfg(feature = "plugins")]
        Command::Plugin(command) => plugin::run(command, flags, environment.as_ref(), &registry, out).await,
        Command::Probe(probe) => probe::run(probe, &flags, environment.as_ref()).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "semilayer-runner", &mut Out(out));
            Exit::Clean
        }
        Command::Doctor { json } => doctor::run(&flags, environment, &registry, json, out).await,
        Command::TestSource { name, bridge } => {
            test_source::run(&flags, environment.as_ref(), &registry, name, bridge, out).await
        }
    }
}

/// Loads the plugins, for commands that look at bridges without being the daemon.
async fn bring_plugins(settings: &PluginSettings, registry: &Registry) -> Result<Plugins, Exit> {
    Plugins::load(settings, registry.clone()).await.map_err(|error| {
        complain(&error.to_string());
        Exit::Configuration
    })
}

/// Says on stderr what is wrong with the settings.
pub(crate) fn refuse(mistakes: &Mistakes) -> Exit {
    complain(&format!("the settings are not right:\n{mistakes}"));
    Exit::Configuration
}

/// One line on stderr.
pub(crate) fn complain(text: &str) {
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Prints, and turns a closed pipe into a failure.
pub(crate) fn print(out: &mut (dyn Write + Send), text: &str) -> Exit {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Exit::Clean,
        Err(_) => Exit::Failed,
    }
}

/// A sized writer for a library that wants one.
struct Out<'a>(&'a mut (dyn Write + Send));

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
