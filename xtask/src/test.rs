//! `cargo xtask test`: every test of the workspace against real servers.
//!
//! Nothing is skipped: ignored tests run too, and a runner that finds no test fails.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::arguments::{Request, Selection};
use crate::build::{Programs, build};
use crate::command::Run;
use crate::error::Error;
use crate::guests;
use crate::services::{self, Session};
use crate::workspace::cargo;

const TEST_LIMIT: Duration = Duration::from_mins(60);
/// The package whose tests start the programs below as processes.
const END_TO_END: &str = "semilayer-tests";
const PROGRAMS: [&str; 3] = ["semilayer-runner", "semilayer-gateway", "semilayer-sandbox"];

/// Starts the services, builds the programs, runs the tests; says at the end what was met.
pub(crate) fn run(selection: &Selection) -> Result<(), Error> {
    let session = services::session(&Request::default())?;
    services::describe(&session.state);
    let programs = needs_programs(selection).then(build_programs).transpose()?;
    let folder = programs.as_ref().map(|programs| programs.folder_of(&PROGRAMS)).transpose()?;
    let guests = guests::are_needed_by(&selection.packages).then(build_guests).transpose()?;
    let variables = variables(&session, folder, guests.as_deref());

    let mut failed = Vec::new();
    for suite in suites(selection, has_nextest()) {
        let started = Instant::now();
        let mut command = cargo(suite.arguments.iter().map(String::as_str));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        println!("\n{}: cargo {}", suite.name, suite.arguments.join(" "));
        let outcome = Run::new(command, suite.name, TEST_LIMIT).show();
        let word = if outcome.is_ok() { "passed" } else { "NOT PASSED" };
        println!("{}: {word} in {:.1} s", suite.name, started.elapsed().as_secs_f64());
        if let Err(error) = outcome {
            println!("{}", error.with_causes());
            failed.push(suite.name.to_owned());
        }
    }
    println!("\ntests met:");
    services::describe(&session.state);
    if failed.is_empty() { Ok(()) } else { Err(Error::NotPassed { names: failed }) }
}

/// One call of cargo that runs tests.
#[derive(Debug, PartialEq, Eq)]
struct Suite {
    name: &'static str,
    arguments: Vec<String>,
}

/// What to run: the tests, and the examples in the documentation unless only some tests are wanted.
fn suites(selection: &Selection, nextest: bool) -> Vec<Suite> {
    let packages = packages(selection);
    let tests = if nextest {
        let fixed = ["nextest", "run", "--no-fail-fast", "--run-ignored", "all", "--ignore-default-filter"];
        [words(&fixed), packages.clone(), selection.filters.clone()].concat()
    } else {
        let fixed = ["test", "--no-fail-fast", "--tests"];
        [words(&fixed), packages.clone(), words(&["--", "--include-ignored"]), selection.filters.clone()]
            .concat()
    };
    let mut suites = vec![Suite { name: "tests", arguments: tests }];
    if selection.is_everything() {
        let examples = [words(&["test", "--doc", "--no-fail-fast"]), packages].concat();
        suites.push(Suite { name: "documentation examples", arguments: examples });
    }
    suites
}

fn packages(selection: &Selection) -> Vec<String> {
    if selection.packages.is_empty() {
        return words(&["--workspace"]);
    }
    selection.packages.iter().flat_map(|package| ["--package".to_owned(), package.clone()]).collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn needs_programs(selection: &Selection) -> bool {
    selection.packages.is_empty() || selection.packages.iter().any(|package| package == END_TO_END)
}

fn has_nextest() -> bool {
    Run::new(cargo(["nextest", "--version"]), "cargo nextest", Duration::from_secs(30)).capture().is_ok()
}

fn variables(session: &Session, programs: Option<&Path>, guests: Option<&Path>) -> Vec<(String, String)> {
    let mut variables = session.variables.clone();
    let folders = [("SEMILAYER_TEST_BIN_DIR", programs), ("SEMILAYER_TEST_GUESTS", guests)];
    let folders = folders.into_iter().filter_map(|(name, folder)| Some((name, folder?)));
    variables.extend(folders.map(|(name, folder)| (name.to_owned(), folder.display().to_string())));
    variables
}

/// Builds the programs with the features that the tests are built with.
fn build_programs() -> Result<Programs, Error> {
    println!("building {}", PROGRAMS.join(", "));
    build(&["--workspace", "--bins"])
}

fn build_guests() -> Result<PathBuf, Error> {
    println!("building guests");
    guests::build_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(suite: &Suite) -> String {
        suite.arguments.join(" ")
    }

    #[test]
    fn everything_means_the_workspace_with_ignored_tests_and_the_documentation() {
        let all = Selection::default();
        assert!(needs_programs(&all));
        let [tests, examples] = suites(&all, true).try_into().unwrap();
        assert_eq!(
            line(&tests),
            "nextest run --no-fail-fast --run-ignored all --ignore-default-filter --workspace"
        );
        assert_eq!(line(&examples), "test --doc --no-fail-fast --workspace");
        let [tests, _] = suites(&all, false).try_into().unwrap();
        assert!(line(&tests).ends_with("--workspace -- --include-ignored"), "{tests:?}");
    }

    #[test]
    fn one_package_builds_no_programs_unless_its_tests_start_them() {
        let of = |package: &str| Selection { packages: vec![package.to_owned()], filters: Vec::new() };
        assert!(!needs_programs(&of("semilayer-protocol")));
        assert!(needs_programs(&of(END_TO_END)));
        let [tests] = suites(&of("semilayer-protocol"), true).try_into().unwrap();
        assert!(line(&tests).ends_with("--package semilayer-protocol"), "{tests:?}");
    }

    #[test]
    fn filters_go_to_the_runner_last() {
        let some = Selection { packages: Vec::new(), filters: vec!["cursor".to_owned()] };
        for nextest in [true, false] {
            let [tests] = suites(&some, nextest).try_into().unwrap();
            assert!(line(&tests).ends_with(" cursor"), "{tests:?}");
        }
    }
}
