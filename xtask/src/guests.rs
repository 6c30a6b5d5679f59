//! `cargo xtask guests`: the plugins of this workspace, built as components.
//!
//! Those in Rust are members like any other, so that lints and native tests see them; what makes them components is the
//! target. Those in other languages are in [`interpreted`].
//! Tests find the folder with all of them in `SEMILAYER_TEST_GUESTS`.

mod interpreted;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::build::{Programs, build};
use crate::command::Run;
use crate::error::Error;
use crate::workspace::tool;
use interpreted::INTERPRETED;

const TARGET: &str = "wasm32-wasip2";
/// A standard library of some twenty megabytes.
const TARGET_LIMIT: Duration = Duration::from_mins(5);
const ASK_LIMIT: Duration = Duration::from_secs(30);

/// A crate that becomes a component, and the name of its file without the extension.
struct Guest {
    package: &'static str,
    file: &'static str,
}

static GUESTS: &[Guest] = &[
    Guest { package: "semilayer-bridge-elasticsearch", file: "semilayer_bridge_elasticsearch" },
    Guest { package: "semilayer-example-csv-http", file: "csv_http" },
    Guest { package: "semilayer-example-memory", file: "memory" },
    Guest { package: "semilayer-guest-dialer", file: "dialer" },
    Guest { package: "semilayer-guest-hostile", file: "hostile" },
];

/// Packages whose tests run guests.
const USERS: [&str; 6] = [
    "semilayer-plugins-host",
    "semilayer-runner",
    "semilayer-tests",
    "semilayer-example-csv-http",
    "semilayer-example-memory",
    "semilayer-bridge-elasticsearch",
];

/// Builds all of them and says what has become of them.
pub(crate) fn run() -> Result<(), Error> {
    let started = Instant::now();
    let folder = build_all()?;
    let crates = GUESTS.iter().map(|guest| (guest.package, guest.file));
    let others = INTERPRETED.iter().map(|guest| (guest.file, guest.file));
    for (name, file) in crates.chain(others) {
        let file = folder.join(file).with_extension("wasm");
        let bytes = std::fs::metadata(&file).map_err(Error::io("look at", &file))?.len();
        println!("{name:<32}{:>7} KiB  {}", bytes.div_ceil(1024), file.display());
    }
    println!("{} guests in {:.1} s", GUESTS.len() + INTERPRETED.len(), started.elapsed().as_secs_f64());
    Ok(())
}

/// Builds those that have changed, and answers the folder that holds all.
pub(crate) fn build_all() -> Result<PathBuf, Error> {
    add_target()?;
    let packages = GUESTS.iter().flat_map(|guest| ["--package", guest.package]);
    let arguments: Vec<&str> =
        ["--profile", "plugin", "--target", TARGET].into_iter().chain(packages).collect();
    let built: Programs = build(&arguments)?;
    let files: Vec<&str> = GUESTS.iter().map(|guest| guest.file).collect();
    let folder = built.folder_of(&files)?;
    INTERPRETED.iter().try_for_each(|guest| guest.build(folder))?;
    Ok(folder.to_path_buf())
}

/// Whether the tests of these packages run guests; none means all packages.
pub(crate) fn are_needed_by(packages: &[String]) -> bool {
    packages.is_empty() || packages.iter().any(|package| USERS.contains(&package.as_str()))
}

/// The target's standard library, fetched by rustup where it is missing.
fn add_target() -> Result<(), Error> {
    let mut sysroot = tool("rustc");
    sysroot.args(["--print", "sysroot"]);
    let sysroot = Run::new(sysroot, "rustc --print sysroot", ASK_LIMIT).capture()?;
    if Path::new(&sysroot).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    println!("adding the target {TARGET}");
    let mut add = tool("rustup");
    add.args(["target", "add", TARGET]);
    Run::new(add, format!("rustup target add {TARGET}"), TARGET_LIMIT).show()
}
