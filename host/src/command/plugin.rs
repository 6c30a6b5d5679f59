//! `plugin`: what those need who write plugins.

mod build;
mod component;
mod error;
mod inspect;
mod name;
mod new;
mod template;
mod test;

use std::io::Write;

use runtime::Exit;
use runtime::settings::Source;

use super::complain;
use crate::cli::{Flags, PluginCommand};
use crate::registry::Registry;

pub(super) async fn run(
    command: PluginCommand,
    flags: Flags,
    environment: &dyn Source,
    registry: &Registry,
    out: &mut (dyn Write + Send),
) -> Exit {
    let done = match command {
        PluginCommand::New(new) => new::run(&new, registry, out),
        PluginCommand::Build(build) => build::run(&build, &flags, environment, out).await,
        PluginCommand::Inspect(inspect) => inspect::run(&inspect, &flags, environment, out).await,
        // `--config` is a setting of the source here, and clap gives it to the flag of that name, too.
        PluginCommand::Test(test) => {
            test::run(&test, &Flags { config: None, ..flags }, environment, out).await
        }
    };
    done.unwrap_or_else(|refusal| {
        complain(&refusal);
        refusal.exit()
    })
}
