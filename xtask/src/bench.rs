//! `cargo xtask bench`: release builds of both programs, measured by `tests/benches/pipeline`.
//!
//! This module builds and starts; what is measured and how is written there and in `docs/benchmarks.md`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
    let session = services::session()?;
    services::describe(&session.state);
    println!("building release programs");
    let bare = bare_gateway()?;
    let built = build(&["--release", "--package", RUNNER, "--package", GATEWAY])?;
    let programs = built.folder_of(&[RUNNER, GATEWAY])?;
    let benchmark = build(&["--release", "--package", "semilayer-tests", "--bench", "pipeline"])?;

    // Beside the `release` folder: `target/bench` unless cargo was told of another target folder.
    let out = programs.with_file_name("bench");
    let mut command = Command::new(benchmark.path("pipeline")?);
    command.envs(session.variables.iter().map(|(name, value)| (name, value)));
    command.env("SEMILAYER_TEST_BIN_DIR", programs);
    command.arg("--out").arg(out).arg("--size").arg(format!("{GATEWAY} without demo={bare}")).args(options);
    Run::new(command, "the benchmark", LIMIT).show()
}

/// Bytes of a gateway without a runner in it. Built first: the full one takes its place.
fn bare_gateway() -> Result<u64, Error> {
    let built = build(&["--release", "--package", GATEWAY, "--no-default-features"])?;
    let path: &Path = built.path(GATEWAY)?;
    Ok(std::fs::metadata(path).map_err(Error::io("look at", path))?.len())
}
