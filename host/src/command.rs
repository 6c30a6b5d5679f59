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
pub(crate) use runtime::terminal::{complain, print};

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
            // Into memory first: what writes it panics when it cannot.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "semilayer-runner", &mut script);
            print(out, String::from_utf8_lossy(&script).trim_end())
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
        complain(&error);
        Exit::Configuration
    })
}

/// Says on stderr what is wrong with the settings.
pub(crate) fn refuse(mistakes: &Mistakes) -> Exit {
    complain(&format_args!("the settings are not right:\n{mistakes}"));
    Exit::Configuration
}
