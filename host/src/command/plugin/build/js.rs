//! JavaScript: the project's own script `build`, which gets the path of the component as its last argument. Which engine is
//! put into the component, and how, stands there.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Project, made, succeed};
use crate::command::plugin::error::Refusal;
use crate::command::plugin::name;

const TOOL: &str = "npm";

/// The part of `package.json` that is of interest.
#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    scripts: Scripts,
}

#[derive(Default, Deserialize)]
struct Scripts {
    build: Option<String>,
}

pub(super) async fn build(project: &Project) -> Result<PathBuf, Refusal> {
    let file = project.folder.join("package.json");
    let text = fs::read_to_string(&file).map_err(Refusal::io("read", &file))?;
    let problem = |problem: String| Refusal::Project { file: file.clone(), problem };
    let package: Package = serde_json::from_str(&text).map_err(|error| problem(error.to_string()))?;
    if package.scripts.build.is_none() {
        return Err(problem("there is no script \"build\"".to_owned()));
    }
    if !project.folder.join("node_modules").is_dir() {
        // With a lock file, what it names and nothing else.
        let is_locked = project.folder.join("package-lock.json").is_file();
        let install = if is_locked { "ci" } else { "install" };
        let command = format!("npm {install} --prefix {}", project.folder.display());
        return Err(Refusal::Missing { what: "what package.json depends on", command });
    }
    // Without the scope, and as `plugin new` has said it.
    let name = name::project(package.name.rsplit('/').next().unwrap_or(&package.name));
    let component = project.component(&name);
    let mut npm = project.tool(TOOL);
    npm.args(["run", "--silent", "build", "--"]).arg(&component);
    match succeed(npm, TOOL).await {
        Err(Refusal::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Refusal::Missing { what: "npm", command: "see https://nodejs.org/en/download".to_owned() })
        }
        ended => ended,
    }?;
    made(&component, TOOL)?;
    Ok(component)
}
