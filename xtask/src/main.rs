//! `cargo xtask`: what this workspace needs beyond cargo itself.
//!
//! A task is one module with one public function; [`arguments::Task`] lists them and [`perform`] calls
//! them. To add a task: a module, a variant, a line of the usage text, an arm.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command: the terminal is its user interface"
)]

use std::process::ExitCode;

use crate::arguments::{Task, USAGE, Verb};
use crate::error::Error;

mod arguments;
mod bench;
mod build;
mod check;
mod command;
mod error;
mod frozen;
mod guests;
mod services;
mod test;
mod workspace;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Task::parse(&arguments).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {}", error.with_causes());
            error.exit_code()
        }
    }
}

fn perform(task: Task) -> Result<(), Error> {
    match task {
        Task::Help => println!("{USAGE}"),
        Task::Services(Verb::Up(request)) => services::up(&request)?,
        Task::Services(Verb::Down(place)) => services::down(&place)?,
        Task::Services(Verb::Restart(place, name)) => services::restart(&place, &name)?,
        Task::Services(Verb::Env(place)) => services::env(&place)?,
        Task::Services(Verb::Status(place)) => services::status(&place)?,
        Task::Test(selection) => test::run(&selection)?,
        Task::Guests => guests::run()?,
        Task::Check => check::run()?,
        Task::Bench(options) => bench::run(&options)?,
    }
    Ok(())
}
