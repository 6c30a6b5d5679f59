//! `plugin build`: the tools of each language, called as its projects need it.
//!
//! Whatever the language, the component comes to lie in the plugin's folder under the project's name.

mod js;
mod python;
mod rust;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use runtime::Exit;
use runtime::settings::Source;
use tokio::process::Command;

use super::error::Refusal;
use super::inspect;
use crate::cli::{BuildPlugin, Flags, Language};

/// A folder with a plugin in it.
#[derive(Debug, PartialEq, Eq)]
struct Project {
    folder: PathBuf,
    language: Language,
}

pub(super) async fn run(
    build: &BuildPlugin,
    flags: &Flags,
    environment: &dyn Source,
    out: &mut (dyn Write + Send),
) -> Result<Exit, Refusal> {
    let project = Project::find(&build.dir)?;
    let component = match project.language {
        Language::Rust => rust::build(&project).await?,
        Language::Python => python::build(&project).await?,
        Language::Js => js::build(&project).await?,
    };
    inspect::show(&component, flags, environment, out).await
}

impl Project {
    fn find(folder: &Path) -> Result<Self, Refusal> {
        let known =
            [("Cargo.toml", Language::Rust), ("app.py", Language::Python), ("package.json", Language::Js)];
        // Complete, so that it has a name even when it is `.`.
        let folder = std::fs::canonicalize(folder).map_err(Refusal::io("look into", folder))?;
        let found = known.into_iter().find(|(file, _)| folder.join(file).is_file());
        match found {
            Some((_, language)) => Ok(Self { folder, language }),
            None => Err(Refusal::NoProject(folder)),
        }
    }

    /// A tool that works in the folder. It says what it says on our stderr: stdout is for the answer.
    fn tool(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(io::stderr()).kill_on_drop(true);
        command
    }

    /// Where the component comes to lie.
    fn component(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wasm"))
    }
}

/// Runs a tool that prints nothing to read.
async fn succeed(mut command: Command, tool: &'static str) -> Result<(), Refusal> {
    let status = command.status().await.map_err(|source| Refusal::Start { program: tool, source })?;
    if status.success() { Ok(()) } else { Err(Refusal::Build { tool, status }) }
}

/// Makes sure that a tool has made its file, and did not leave an older one.
fn made(component: &Path, tool: &str) -> Result<(), Refusal> {
    if component.is_file() {
        return Ok(());
    }
    Err(Refusal::NothingBuilt(format!("{tool} has not written {}", component.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = Project::find(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("semilayer-runner plugin new NAME"), "{refusal}");
        for (file, language) in
            [("package.json", Language::Js), ("app.py", Language::Python), ("Cargo.toml", Language::Rust)]
        {
            std::fs::write(folder.path().join(file), "").unwrap();
            assert_eq!(Project::find(folder.path()).unwrap().language, language);
        }
        assert!(Project::find(&folder.path().join("nowhere")).is_err());
    }
}
