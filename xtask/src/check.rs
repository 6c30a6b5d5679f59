//! `cargo xtask check`: everything about the source that is no test.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::command::Run;
use crate::error::Error;
use crate::frozen;
use crate::guests;
use crate::workspace::cargo;

const LIMIT: Duration = Duration::from_mins(40);
/// The advisory database is a git repository of a few megabytes.
const FETCH_LIMIT: Duration = Duration::from_mins(3);

/// One call of cargo; `variable` is set for it.
struct Check {
    name: &'static str,
    arguments: &'static [&'static str],
    variable: Option<(&'static str, &'static str)>,
}

static CHECKS: &[Check] = &[
    Check { name: "formatting", arguments: &["fmt", "--all", "--check"], variable: None },
    Check {
        name: "licences, sources and fences",
        arguments: &["deny", "--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"],
        variable: None,
    },
    Check {
        name: "lints",
        arguments: &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"],
        variable: None,
    },
    Check {
        name: "documentation",
        arguments: &["doc", "--workspace", "--no-deps", "--document-private-items"],
        variable: Some(("RUSTDOCFLAGS", "--deny warnings")),
    },
    // What does IO or needs a runtime does not build for this target.
    Check {
        name: "protocol for wasm",
        arguments: &["build", "--package", "semilayer-protocol", "--target", "wasm32-unknown-unknown"],
        variable: None,
    },
];

/// Offline: what was fetched a moment ago is what is meant.
static ADVISORIES: Check = Check {
    name: "advisories",
    arguments: &["deny", "--offline", "--workspace", "check", "--hide-inclusion-graph", "advisories"],
    variable: None,
};

/// Runs all of them, also after one has failed, and lists them at the end.
pub(crate) fn run() -> Result<(), Error> {
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for check in CHECKS.iter().chain(fetched_advisories(&mut lines)) {
        println!("\n{}: cargo {}", check.name, check.arguments.join(" "));
        let started = Instant::now();
        let outcome = Run::new(check.command(), check.name, LIMIT).show();
        let word = if outcome.is_ok() { "passed" } else { "NOT PASSED" };
        lines.push(format!("{}: {word} in {:.1} s", check.name, started.elapsed().as_secs_f64()));
        if outcome.is_err() {
            failed.push(check.name.to_owned());
        }
    }
    match guests::build_all() {
        Ok(_) => lines.push("guests: built".to_owned()),
        Err(error) => {
            lines.push(format!("guests: NOT PASSED, {}", error.with_causes()));
            failed.push("guests".to_owned());
        }
    }
    match frozen::check() {
        Ok(folders) => lines.extend(folders),
        Err(error) => {
            lines.push(format!("released interfaces: NOT PASSED, {}", error.with_causes()));
            failed.push("released interfaces".to_owned());
        }
    }
    println!("\n{}", lines.join("\n"));
    if failed.is_empty() { Ok(()) } else { Err(Error::NotPassed { names: failed }) }
}

impl Check {
    fn command(&self) -> Command {
        let mut command = cargo(self.arguments.iter().copied());
        command.envs(self.variable);
        command
    }
}

/// The check for advisories where the database can be had; otherwise a line that says it was not made. A
/// machine without the network is no fault of the source.
fn fetched_advisories(lines: &mut Vec<String>) -> Option<&'static Check> {
    println!("fetching the advisory database");
    match Run::new(cargo(["deny", "fetch", "db"]), "cargo deny fetch db", FETCH_LIMIT).capture() {
        Ok(_) => Some(&ADVISORIES),
        Err(error) => {
            let reason = error.with_causes();
            let reason = reason.lines().last().unwrap_or_default();
            lines.push(format!("advisories: NOT CHECKED, the database cannot be fetched ({reason})"));
            None
        }
    }
}
