//! Python: componentize-py, which puts the interpreter and `app.py` into one component.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Project, made, succeed};
use crate::command::plugin::error::Refusal;

const TOOL: &str = "componentize-py";
const WORLD: &str = "bridge-plugin";

/// The part of `pyproject.toml` that is of interest.
#[derive(Deserialize)]
struct Pyproject {
    project: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(super) async fn build(project: &Project) -> Result<PathBuf, Refusal> {
    let component = project.component(&name(project)?);
    let mut command = project.tool(tool(project));
    command.args(["--wit-path", "wit", "--world", WORLD, "componentize", "app", "--output"]).arg(&component);
    match succeed(command, TOOL).await {
        Err(Refusal::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let command = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt".to_owned();
            Err(Refusal::Missing { what: TOOL, command })
        }
        ended => ended,
    }?;
    made(&component, TOOL)?;
    Ok(component)
}

/// That in `pyproject.toml`; the folder's own where there is none.
fn name(project: &Project) -> Result<String, Refusal> {
    let file = project.folder.join("pyproject.toml");
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = project.folder.file_name().unwrap_or(project.folder.as_os_str());
            return Ok(folder.to_string_lossy().into_owned());
        }
        read => read.map_err(Refusal::io("read", &file))?,
    };
    let read: Result<Pyproject, _> = toml::from_str(&text);
    let named = read.map(|read| read.project.name);
    named.map_err(|error| Refusal::Project { file, problem: error.to_string() })
}

/// That of the project's own environment, or the one on the path.
fn tool(project: &Project) -> OsString {
    let folder = if cfg!(windows) { "Scripts" } else { "bin" };
    let own =
        project.folder.join(".venv").join(folder).join(TOOL).with_extension(std::env::consts::EXE_EXTENSION);
    if own.is_file() { own.into_os_string() } else { TOOL.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Language;

    #[test]
    fn the_project_has_the_name_that_it_gives_itself() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project { folder: folder.path().join("things"), language: Language::Python };
        assert_eq!(name(&project).unwrap(), "things");
        fs::create_dir(&project.folder).unwrap();
        let file = project.folder.join("pyproject.toml");
        fs::write(&file, "[project]\nname = \"bridge-things\"\n").unwrap();
        assert_eq!(name(&project).unwrap(), "bridge-things");
        fs::write(&file, "[project]\n").unwrap();
        assert!(name(&project).unwrap_err().to_string().contains("pyproject.toml"));
    }
}
