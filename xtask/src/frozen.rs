//! Whether a released plugin interface is as it was released.
//!
//! A folder `wit/<version>` is released by the tag `wit-<version>`. From then on plugins out there are built against it,
//! so that not one byte of it may change; what is new goes into a folder of its own.

use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::workspace::root;

const LIMIT: Duration = Duration::from_secs(30);

/// Compares each released folder with its tag. Answers a line for each folder.
pub(crate) fn check() -> Result<Vec<String>, Error> {
    let wit = root().join("wit");
    let unreadable = |source| Error::Io { what: "read", path: wit.clone(), source };
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&wit).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.path().is_dir() {
            versions.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    versions.sort();
    let mut lines = Vec::new();
    let mut changed = Vec::new();
    for version in versions {
        let folder = format!("wit/{version}");
        let tag = format!("wit-{version}");
        if git(&["tag", "--list", &tag])?.is_empty() {
            lines.push(format!("{folder}: not released, there is no tag {tag}"));
            continue;
        }
        // The working tree, and files that nobody has added yet.
        let differs = git(&["diff", "--name-only", &tag, "--", &folder])?;
        let added = git(&["ls-files", "--others", "--exclude-standard", "--", &folder])?;
        match [differs, added].join("\n").trim() {
            "" => lines.push(format!("{folder}: as released")),
            files => {
                changed.push(format!("{folder} is released and has changed: {}", files.replace('\n', ", ")))
            }
        }
    }
    if changed.is_empty() { Ok(lines) } else { Err(Error::NotPassed { names: changed }) }
}

fn git(arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("git");
    command.current_dir(root()).args(arguments);
    Run::new(command, format!("git {}", arguments.join(" ")), LIMIT).capture()
}
