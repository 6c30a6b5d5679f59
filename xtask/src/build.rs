//! What cargo builds, and where it puts it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::command::Run;
use crate::error::Error;
use crate::workspace::cargo;

const LIMIT: Duration = Duration::from_mins(40);

/// The programs and components that one call of cargo has built, or found to be built already.
#[derive(Debug)]
pub(crate) struct Programs(Vec<PathBuf>);

/// What of a message of cargo's matters here.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Runs `cargo build` with these arguments; its warnings and errors are shown as they come.
pub(crate) fn build(arguments: &[&str]) -> Result<Programs, Error> {
    let fixed = ["build", "--message-format", "json-render-diagnostics"];
    let command = cargo(fixed.iter().chain(arguments).copied());
    let messages = Run::new(command, "cargo build", LIMIT).show_errors().capture()?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    Ok(Programs(artifacts.flat_map(Artifact::programs).collect()))
}

impl Artifact {
    /// The program, or what a library has become that is a component.
    fn programs(self) -> impl Iterator<Item = PathBuf> {
        let is_component = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
        self.executable.into_iter().chain(self.filenames.into_iter().filter(is_component))
    }
}

impl Programs {
    /// Where a program is. A benchmark's name has a hash behind it.
    pub(crate) fn path(&self, name: &str) -> Result<&Path, Error> {
        let is_it = |stem: &str| {
            stem.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-') && is_hash(rest))
        };
        let found =
            self.0.iter().find(|path| path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_it));
        found.map(PathBuf::as_path).ok_or_else(|| self.unexpected())
    }

    /// The folder that holds all of these.
    pub(crate) fn folder_of(&self, names: &[&str]) -> Result<&Path, Error> {
        let folders =
            names.iter().map(|name| self.path(name).map(Path::parent)).collect::<Result<Vec<_>, _>>()?;
        match folders.as_slice() {
            [Some(first), rest @ ..] if rest.iter().all(|folder| *folder == Some(*first)) => Ok(*first),
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> Error {
        Error::Unexpected { what: "cargo build".to_owned(), found: format!("programs {:?}", self.0) }
    }
}

fn is_hash(suffix: &str) -> bool {
    let digits = suffix.trim_start_matches('-');
    digits.len() == 16 && digits.chars().all(|character| character.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(paths: &[&str]) -> Programs {
        Programs(paths.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn a_message_names_a_program_or_a_component() {
        let programs =
            |message: &str| serde_json::from_str::<Artifact>(message).unwrap().programs().collect::<Vec<_>>();
        let program = r#"{"executable":"/t/gateway","filenames":["/t/gateway"]}"#;
        assert_eq!(programs(program), [Path::new("/t/gateway")]);
        let guest = r#"{"executable":null,"filenames":["/t/memory.wasm","/t/libmemory.rlib"]}"#;
        assert_eq!(programs(guest), [Path::new("/t/memory.wasm")]);
        assert!(programs(r#"{"reason":"build-finished"}"#).is_empty());
    }

    #[test]
    fn a_program_is_not_another_one_whose_name_begins_the_same() {
        let built = programs(&[
            "/t/semilayer-gateway-tool",
            "/t/semilayer-gateway",
            "/t/deps/pipeline-0123456789abcdef",
        ]);
        assert_eq!(built.path("semilayer-gateway").unwrap(), Path::new("/t/semilayer-gateway"));
        assert_eq!(built.path("pipeline").unwrap(), Path::new("/t/deps/pipeline-0123456789abcdef"));
        assert!(built.path("semilayer").unwrap_err().to_string().contains("/t/semilayer-gateway"));
    }

    #[test]
    fn programs_in_two_folders_have_no_folder() {
        let built = programs(&["/t/one", "/t/two", "/u/three"]);
        assert_eq!(built.folder_of(&["one", "two"]).unwrap(), Path::new("/t"));
        assert!(built.folder_of(&["one", "three"]).is_err());
    }
}
