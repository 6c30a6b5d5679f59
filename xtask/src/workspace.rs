//! Where things are, and the cargo that builds them. The only module that reads the environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // Cargo says it at run time; the compiled value would be wrong for a binary from a shared target folder.
    let manifest =
        variable("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// The folder for everything that is kept outside the checkout: `${XDG_CACHE_HOME:-~/.cache}/semilayer`.
pub(crate) fn cache_folder() -> Result<PathBuf, Error> {
    let cache = match variable("XDG_CACHE_HOME").filter(|path| Path::new(path).is_absolute()) {
        Some(cache) => PathBuf::from(cache),
        None => Path::new(&variable("HOME").ok_or(Error::NoHome { name: "HOME" })?).join(".cache"),
    };
    Ok(cache.join("semilayer"))
}

/// Where this program is; empty where the machine does not say.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default()
}

/// Where an engine of this machine would answer: what `DOCKER_HOST` says, or the usual socket.
pub(crate) fn docker_socket() -> PathBuf {
    let said = variable("DOCKER_HOST").and_then(|host| Some(PathBuf::from(host.strip_prefix("unix://")?)));
    said.unwrap_or_else(|| "/var/run/docker.sock".into())
}

/// True where nobody watches and every engine must be met.
pub(crate) fn is_ci() -> bool {
    variable("CI").is_some_and(|value| value != "false" && value != "0")
}

/// The search path for programs.
pub(crate) fn search_path() -> String {
    variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned())
}

/// The cargo that started us, in the root of the checkout.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    command.args(arguments).current_dir(root());
    command
}

/// Another program of the toolchain, in the root of the checkout.
pub(crate) fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's command has no runtime::settings; this is its one place"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
