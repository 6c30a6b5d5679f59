//! The gateway's process.

use std::io::Write as _;
use std::process::ExitCode;

use runtime::Exit;
use runtime::settings::Environment;
use semilayer_gateway::cli;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(process) => {
            let exit = process.block_on(cli::run(cli, &Environment, &mut std::io::stdout()));
            // Work that ignored every request to stop must not keep the process.
            process.shutdown_background();
            exit
        }
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            drop(writeln!(std::io::stderr(), "cannot start: {error}"));
            Exit::Failed.into()
        }
    }
}
