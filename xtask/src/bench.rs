//! `cargo xtask bench`: release builds of both programs, measured by `tests/benches/pipeline`.
//!
//! This module builds and starts; what is measured and how is written there and in `docs/benchmarks.md`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::arguments::Request;
use crate::build::build;
use crate::command::Run;
use crate::error::Error;
use crate::services;

/// Five runs of everything take some five minutes on two cores.
const LIMIT: Duration = Duration::from_mins(60);
const RUNNER: &str = "semilayer-runner";
const GATEWAY: &str = "semilayer-gateway";

/// Measures and prints the table. `options` go to the benchmark program.
pub(crate) fn run(options: &[String]) -> Result<(), Error> {
    let session = services::session(&Request::default())?;
    services::describe(&session.state);
    println!("building release programs");
    let benchmark = build(&["--release", "--package", "semilayer-tests", "--bench", "pipeline"])?;
    let benchmark = benchmark.path("pipeline")?;
    let mut command = Command::new(benchmark);
    command.envs(session.variables.iter().map(|(name, value)| (name, value)));
    // Beside the `release` folder: `target/bench` unless cargo was told of another target folder.
    let release = benchmark.ancestors().nth(2).unwrap_or(benchmark);
    command.arg("--out").arg(release.with_file_name("bench"));
    if needs_programs(options) {
        let bare = bare_gateway()?;
        let built = build(&["--release", "--package", RUNNER, "--package", GATEWAY])?;
        command.env("SEMILAYER_TEST_BIN_DIR", built.folder_of(&[RUNNER, GATEWAY])?);
        command.arg("--size").arg(format!("{GATEWAY} without demo={bare}"));
    }
    command.args(options);
    Run::new(command, "the benchmark", LIMIT).show()
}

/// Whether more is measured than bridges by themselves, which the benchmark has within it.
fn needs_programs(options: &[String]) -> bool {
    let only = options.windows(2).filter(|pair| pair.first().is_some_and(|word| word == "--only"));
    !only.filter_map(|pair| pair.last()).any(|parts| parts.split(',').all(|part| part == "engines"))
}

/// Bytes of a gateway without a runner in it. Built first: the full one takes its place.
fn bare_gateway() -> Result<u64, Error> {
    let built = build(&["--release", "--package", GATEWAY, "--no-default-features"])?;
    let path: &Path = built.path(GATEWAY)?;
    Ok(std::fs::metadata(path).map_err(Error::io("look at", path))?.len())
}
