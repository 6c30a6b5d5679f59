//! Rust: cargo, for the target `wasm32-wasip2`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use super::Project;
use crate::command::plugin::error::Refusal;

const TARGET: &str = "wasm32-wasip2";

/// What `cargo build --message-format json` says of something that it has built.
#[derive(Deserialize)]
struct Built {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The part of `Cargo.toml` that is of interest.
#[derive(Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

pub(super) async fn build(project: &Project) -> Result<PathBuf, Refusal> {
    let manifest = project.folder.join("Cargo.toml");
    let name = package_name(&manifest)?;
    find_target(project).await?;
    let mut cargo = project.tool("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let running = cargo.stdout(Stdio::piped()).spawn().map_err(missing_rust)?;
    let output = running.wait_with_output().await.map_err(missing_rust)?;
    if !output.status.success() {
        return Err(Refusal::Build { tool: "cargo", status: output.status });
    }
    let built = component_of(&String::from_utf8_lossy(&output.stdout), &manifest).ok_or_else(|| {
        Refusal::NothingBuilt(format!(
            "{} has no `crate-type = [\"cdylib\"]` under [lib]",
            manifest.display()
        ))
    })?;
    let component = project.component(&name);
    fs::copy(&built, &component).map_err(Refusal::io("write", &component))?;
    Ok(component)
}

/// Looks for the target's standard library before cargo misses it in many words.
async fn find_target(project: &Project) -> Result<(), Refusal> {
    let mut rustc = project.tool("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).stdout(Stdio::piped());
    let running = rustc.spawn().map_err(missing_rust)?;
    let output = running.wait_with_output().await.map_err(missing_rust)?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    if output.status.success() && folder.is_dir() {
        return Ok(());
    }
    let what = "Rust's standard library for wasm32-wasip2";
    Err(Refusal::Missing { what, command: format!("rustup target add {TARGET}") })
}

fn missing_rust(source: io::Error) -> Refusal {
    match source.kind() {
        io::ErrorKind::NotFound => Refusal::Missing {
            what: "Rust",
            command: "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh".to_owned(),
        },
        _ => Refusal::Start { program: "cargo", source },
    }
}

fn package_name(manifest: &Path) -> Result<String, Refusal> {
    let text = fs::read_to_string(manifest).map_err(Refusal::io("read", manifest))?;
    let read: Result<Manifest, _> = toml::from_str(&text);
    read.map(|manifest| manifest.package.name)
        .map_err(|error| Refusal::Project { file: manifest.to_owned(), problem: error.to_string() })
}

/// The component that belongs to this manifest: what it depends on may be plugins, too.
fn component_of(messages: &str, manifest: &Path) -> Option<PathBuf> {
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok());
    let ours = built.filter(|built| built.reason == "compiler-artifact" && built.manifest_path == manifest);
    let is_component = |file: &PathBuf| file.extension() == Some(OsStr::new("wasm"));
    ours.flat_map(|built| built.filenames).rfind(is_component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_that_of_the_plugin_and_of_none_of_its_dependencies() {
        let messages = [
            r#"{"reason":"compiler-artifact","manifest_path":"/dep/Cargo.toml","filenames":["/t/dep.wasm"]}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","filenames":["/t/p.rlib","/t/p.wasm"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "no message",
        ];
        let found = component_of(&messages.join("\n"), Path::new("/p/Cargo.toml"));
        assert_eq!(found, Some(PathBuf::from("/t/p.wasm")));
        assert_eq!(component_of(messages[0], Path::new("/p/Cargo.toml")), None);
    }
}
