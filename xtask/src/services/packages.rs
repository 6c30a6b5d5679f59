//! Programs from the machine's packages: found, or installed where that is allowed and possible.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::is_root;
use crate::workspace;

const INSTALL_LIMIT: Duration = Duration::from_mins(10);

/// The full path of a program on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    workspace::search_path()
        .split(':')
        .map(|folder| Path::new(folder).join(program))
        .find(|candidate| candidate.is_file())
}

/// One at a time: the package manager itself refuses a second.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Looks with `find`; installs Debian's `packages` where nothing is found and we are root; looks again.
pub(crate) fn find_or_install<T>(
    program: &'static str,
    packages: &[&str],
    advice: &'static str,
    find: impl Fn() -> Option<T>,
) -> Result<T, Error> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = find() {
        return Ok(found);
    }
    if is_root()? && self::find("apt-get").is_some() {
        println!("installing {}", packages.join(", "));
        install(packages)?;
    }
    find().ok_or(Error::Missing { program, advice })
}

/// A machine that was just made has no package lists, or old ones: a failure is tried again with new ones.
fn install(packages: &[&str]) -> Result<(), Error> {
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    if apt(&arguments).is_ok() {
        return Ok(());
    }
    apt(&["update"])?;
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("apt-get");
    // Somebody else's installation is waited for.
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    Run::new(command, format!("apt-get {}", arguments.join(" ")), INSTALL_LIMIT).capture().map(drop)
}
