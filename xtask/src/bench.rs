//! `cargo xtask bench`: release builds of both programs, measured by `tests/benches/pipeline`, plugins, measured by
//! `tests/benches/plugins`, and sandboxed runs, measured by `tests/benches/sandbox`.
//!
//! This module builds and starts; what is measured and how is written there and in `docs/benchmarks.md`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::arguments::Request;
use crate::build::build;
use crate::command::Run;
use crate::error::Error;
use crate::guests;
use crate::services;

/// Five runs of everything take some five minutes on two cores.
const LIMIT: Duration = Duration::from_mins(60);
const RUNNER: &str = "semilayer-runner";
const GATEWAY: &str = "semilayer-gateway";
/// The parts that are programs of their own.
const PLUGINS: &str = "plugins";
const SANDBOX: &str = "sandbox";
const SANDBOX_SERVER: &str = "semilayer-sandbox";

/// Measures and prints the tables. `options` go to the benchmark programs.
pub(crate) fn run(options: &[String]) -> Result<(), Error> {
    let asked = Asked::read(options);
    if asked.pipeline {
        measure_pipeline(&asked)?;
    }
    if asked.plugins {
        measure_plugins(&asked)?;
    }
    if asked.sandbox {
        measure_sandbox(&asked)?;
    }
    Ok(())
}

/// The options, sorted by the program that they are for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    pipeline: bool,
    plugins: bool,
    sandbox: bool,
    /// Whether more is measured than bridges by themselves, which the benchmark has within it.
    programs: bool,
    for_pipeline: Vec<String>,
    for_plugins: Vec<String>,
    for_sandbox: Vec<String>,
}

impl Asked {
    fn read(options: &[String]) -> Self {
        let mut asked = Self {
            pipeline: true,
            plugins: true,
            sandbox: true,
            programs: true,
            for_pipeline: Vec::new(),
            for_plugins: Vec::new(),
            for_sandbox: Vec::new(),
        };
        for pair in options.chunks(2) {
            match pair {
                [option, parts] if option == "--only" => asked.choose(parts),
                [option, _] if option == "--rows" || option == "--runs" => {
                    asked.for_pipeline.extend_from_slice(pair);
                    asked.for_plugins.extend_from_slice(pair);
                    if option == "--runs" {
                        asked.for_sandbox.extend_from_slice(pair);
                    }
                }
                others => asked.for_pipeline.extend_from_slice(others),
            }
        }
        asked
    }

    fn choose(&mut self, parts: &str) {
        let (own, others): (Vec<&str>, Vec<&str>) =
            parts.split(',').partition(|part| [PLUGINS, SANDBOX].contains(part));
        self.plugins = own.contains(&PLUGINS);
        self.sandbox = own.contains(&SANDBOX);
        self.pipeline = !others.is_empty();
        self.programs = others.iter().any(|part| *part != "engines");
        if self.pipeline {
            self.for_pipeline.extend(["--only".to_owned(), others.join(",")]);
        }
    }
}

fn measure_pipeline(asked: &Asked) -> Result<(), Error> {
    let session = services::session(&Request::default())?;
    services::describe(&session.state);
    println!("building release programs");
    let benchmark = build(&["--release", "--package", "semilayer-tests", "--bench", "pipeline"])?;
    let benchmark = benchmark.path("pipeline")?;
    let mut command = Command::new(benchmark);
    command.envs(session.variables.iter().map(|(name, value)| (name, value)));
    command.arg("--out").arg(reports(benchmark));
    if asked.programs {
        let bare = bare_gateway()?;
        let built = build(&["--release", "--package", RUNNER, "--package", GATEWAY])?;
        command.env("SEMILAYER_TEST_BIN_DIR", built.folder_of(&[RUNNER, GATEWAY])?);
        command.arg("--size").arg(format!("{GATEWAY} without demo={bare}"));
    }
    command.args(&asked.for_pipeline);
    Run::new(command, "the benchmark", LIMIT).show()
}

/// Needs no servers: the plugins have their rows within them.
fn measure_plugins(asked: &Asked) -> Result<(), Error> {
    println!("building guests and the benchmark of plugins");
    let guests = guests::build_all()?;
    let package = ["--package", "semilayer-plugins-bench", "--bench", PLUGINS];
    let benchmark = build(&[["--profile", "bench"].as_slice(), &package].concat())?;
    let benchmark = benchmark.path(PLUGINS)?;
    let mut command = Command::new(benchmark);
    command.env("SEMILAYER_TEST_GUESTS", guests);
    command.arg("--out").arg(reports(benchmark)).args(&asked.for_plugins);
    Run::new(command, "the benchmark of plugins", LIMIT).show()
}

/// Needs an engine for containers and no other server.
fn measure_sandbox(asked: &Asked) -> Result<(), Error> {
    let only = vec!["docker".to_owned()];
    let session = services::session(&Request { only, ..Request::default() })?;
    services::describe(&session.state);
    println!("building the sandbox and its benchmark");
    let server = build(&["--release", "--package", SANDBOX_SERVER])?;
    let benchmark = build(&["--release", "--package", "semilayer-sandbox-bench", "--bench", SANDBOX])?;
    let benchmark = benchmark.path(SANDBOX)?;
    let mut command = Command::new(benchmark);
    command.envs(session.variables.iter().map(|(name, value)| (name, value)));
    command.env("SEMILAYER_TEST_BIN_DIR", server.folder_of(&[SANDBOX_SERVER])?);
    command.arg("--out").arg(reports(benchmark)).args(&asked.for_sandbox);
    Run::new(command, "the benchmark of the sandbox", LIMIT).show()
}

/// Beside the `release` folder: `target/bench` unless cargo was told of another target folder.
fn reports(benchmark: &Path) -> PathBuf {
    benchmark.ancestors().nth(2).unwrap_or(benchmark).with_file_name("bench")
}

/// Bytes of a gateway without a runner in it. Built first: the full one takes its place.
fn bare_gateway() -> Result<u64, Error> {
    let built = build(&["--release", "--package", GATEWAY, "--no-default-features"])?;
    let path: &Path = built.path(GATEWAY)?;
    Ok(std::fs::metadata(path).map_err(Error::io("look at", path))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Asked {
        Asked::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_choice_everything_is_measured() {
        let all = asked("--rows 5 --seconds 2");
        assert!(all.pipeline && all.plugins && all.sandbox && all.programs);
        assert_eq!(all.for_pipeline, ["--rows", "5", "--seconds", "2"]);
        assert_eq!(all.for_plugins, ["--rows", "5"]);
    }

    #[test]
    fn plugins_alone_need_neither_servers_nor_programs() {
        let only = asked("--only plugins --runs 3");
        assert!(only.plugins && !only.sandbox && !only.pipeline && !only.programs);
        assert_eq!(only.for_plugins, ["--runs", "3"]);
        let only = asked("--only sandbox --runs 3 --rows 5");
        assert!(only.sandbox && !only.plugins && !only.pipeline && !only.programs);
        assert_eq!(only.for_sandbox, ["--runs", "3"]);
    }

    #[test]
    fn the_other_program_is_told_of_its_own_parts_only() {
        let some = asked("--only engines,plugins --engine redis");
        assert!(some.plugins && some.pipeline && !some.programs);
        assert_eq!(some.for_pipeline, ["--only", "engines", "--engine", "redis"]);
        let other = asked("--only stream,size");
        assert!(!other.plugins && other.programs);
    }
}
