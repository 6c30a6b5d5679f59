//! The examples in Python and JavaScript: each becomes a component together with its interpreter.
//!
//! What makes them components lies in the cache folder, in the versions that the examples name. It takes a minute to
//! fetch and up to half a minute to run, so a component is left as it is while its files and the interface are the same.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::Account;
use crate::services::downloads::{Python, cached};
use crate::services::folder::lock;
use crate::services::packages;
use crate::workspace::{root, search_path};

const BUILD_LIMIT: Duration = Duration::from_mins(10);
const FETCH_LIMIT: Duration = Duration::from_mins(8);
const INTERFACE: &str = "plugins-sdk/wit";
const NPM: &str = "npm";

/// An example that is no crate.
pub(super) struct Interpreted {
    /// Its folder among the examples, and the name of its file without the extension.
    pub(super) file: &'static str,
    /// Fetches the tools where they are not there. Answers the folder of their programs.
    tools: fn() -> Result<PathBuf, Error>,
    /// What builds the component, in the example's folder.
    command: fn(&Path, &Path) -> Command,
}

pub(super) static INTERPRETED: &[Interpreted] = &[
    Interpreted { file: "javascript", tools: javascript_tools, command: componentize_javascript },
    Interpreted { file: "python", tools: python_tools, command: componentize_python },
];

impl Interpreted {
    /// Builds the component into this folder unless it is there and made from the same files.
    pub(super) fn build(&self, folder: &Path) -> Result<(), Error> {
        let component = folder.join(self.file).with_extension("wasm");
        let _alone = lock(component.with_extension("lock"), self.file)?;
        let note = component.with_extension("inputs");
        let inputs = self.inputs()?;
        if component.is_file() && fs::read_to_string(&note).is_ok_and(|made_from| made_from == inputs) {
            return Ok(());
        }
        println!("building the guest {}", self.file);
        let tools = (self.tools)()?;
        let unfinished = component.with_extension("part");
        let mut command = (self.command)(&tools, &unfinished);
        command.current_dir(self.example());
        Run::new(command, format!("the build of {}", self.file), BUILD_LIMIT).capture()?;
        fs::rename(&unfinished, &component).map_err(Error::io("write", &component))?;
        fs::write(&note, inputs).map_err(Error::io("write", &note))
    }

    fn example(&self) -> PathBuf {
        root().join("plugins-sdk/examples").join(self.file)
    }

    /// Equal for equal files.
    fn inputs(&self) -> Result<String, Error> {
        let mut hasher = DefaultHasher::new();
        for folder in [self.example(), root().join(INTERFACE)] {
            for file in files(&folder)? {
                file.file_name().hash(&mut hasher);
                fs::read(&file).map_err(Error::io("read", &file))?.hash(&mut hasher);
            }
        }
        Ok(format!("{:016x}\n", hasher.finish()))
    }
}

/// The files of a folder, without those in the folders that tools leave behind.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(Error::io("read", folder))?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

fn python_tools() -> Result<PathBuf, Error> {
    let requirements = include_str!("../../../plugins-sdk/examples/python/requirements.txt");
    let python = Python { name: "python-guests", requirements }.fetch(&Account::Own)?;
    Ok(python.parent().map(Path::to_path_buf).unwrap_or_default())
}

fn componentize_python(tools: &Path, component: &Path) -> Command {
    let mut command = Command::new(tools.join("componentize-py"));
    command.args(["--wit-path", "../../wit", "--world", "bridge-plugin", "componentize", "app", "--output"]);
    command.arg(component);
    command
}

fn javascript_tools() -> Result<PathBuf, Error> {
    let files = [
        ("package.json", include_str!("../../../plugins-sdk/examples/javascript/package.json")),
        // Versions and what they must hash to, of everything.
        ("package-lock.json", include_str!("../../../plugins-sdk/examples/javascript/package-lock.json")),
    ];
    let folder = cached(&Account::Own, "javascript-guests", &files, |folder| {
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::io("write", path))?;
        }
        println!("fetching what builds guests in JavaScript");
        let mut command = Command::new(npm()?);
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        Run::new(command, "npm ci", FETCH_LIMIT).capture().map(drop)
    })?;
    Ok(folder.join("node_modules/.bin"))
}

/// The example's own script, which gets the path of the component as its last argument.
fn componentize_javascript(tools: &Path, component: &Path) -> Command {
    let mut command = Command::new(NPM);
    command.args(["run", "--silent", "build", "--"]).arg(component);
    command.env("PATH", format!("{}:{}", tools.display(), search_path()));
    command
}

fn npm() -> Result<PathBuf, Error> {
    let advice = "install Node.js 18 or newer with npm (Debian: apt-get install nodejs npm)";
    packages::find_or_install(NPM, &["nodejs", NPM], advice, || packages::find(NPM))
}
