//! The runner's process: one page that tells its whole life.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use runtime::Exit;
use semilayer_runner::cli::Cli;
use semilayer_runner::{command, init};

/// Jobs mostly wait for databases and sockets; more workers than this only cost memory.
const MAX_WORKERS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.is_daemon() && init::is_first() {
        match init::run() {
            Ok(exit) => return exit,
            // As it was before: the runner works, and what commands leave behind stays among the dead.
            Err(error) => drop(writeln!(std::io::stderr(), "cannot wait for orphans: {error}")),
        }
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let started = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    match started {
        Ok(process) => {
            let exit = process.block_on(command::run(cli, &mut std::io::stdout()));
            // Work that ignored every request to stop must not keep the process.
            process.shutdown_background();
            exit.into()
        }
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            drop(writeln!(std::io::stderr(), "cannot start: {error}"));
            Exit::Failed.into()
        }
    }
}
