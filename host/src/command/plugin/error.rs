//! Why a command for plugins does not do what it was told.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use plugins_host::{EngineError, LoadError};
use runtime::Exit;
use runtime::settings::Mistakes;
use thiserror::Error;

use crate::cli::Language;

/// Each says what to do, unless that is plain from what is wrong.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// No name for a plugin.
    #[error("{name:?} is no name for a plugin: {reason}")]
    Name { name: String, reason: &'static str },
    /// The folder has something in it.
    #[error("{} is there already; name another folder with --dir", .0.display())]
    Taken(PathBuf),
    /// No template for that language is compiled in.
    #[error("this build has no template for {0:?}; --lang rust works")]
    NoTemplate(Language),
    /// `--sdk` names something else.
    #[error("{} is not the SDK; name the folder plugins-sdk of a checkout", .0.display())]
    NoSdk(PathBuf),
    /// The folder has none of the files by which a plugin is known.
    #[error(
        "there is no plugin in {}: no Cargo.toml, app.py or package.json; `semilayer-runner plugin new NAME` makes one",
        .0.display()
    )]
    NoProject(PathBuf),
    /// A file of the plugin's folder does not say what it must.
    #[error("{}: {problem}", file.display())]
    Project { file: PathBuf, problem: String },
    /// A tool that builds is not installed.
    #[error("{what} is missing; install it with\n  {command}")]
    Missing { what: &'static str, command: String },
    /// A tool that builds has failed, and has said why.
    #[error("{tool} has failed ({status})")]
    Build { tool: &'static str, status: ExitStatus },
    /// The build made no component.
    #[error("the build made no component: {0}")]
    NothingBuilt(String),
    /// The file is no plugin.
    #[error("{}: {source}", file.display())]
    Load { file: PathBuf, source: LoadError },
    /// The engine that runs plugins cannot start.
    #[error("{0}; --state-dir names another place for its cache")]
    Engine(#[from] EngineError),
    /// The runner's own settings are not right.
    #[error("the settings are not right:\n{0}")]
    Runner(Mistakes),
    /// The source's settings are not right; one mistake a line.
    #[error("the source's settings are not right:\n{}\ngive settings with --config KEY=VALUE or --config-file FILE", .0.join("\n"))]
    Source(Vec<String>),
    /// An argument cannot be meant.
    #[error("{0}")]
    Argument(String),
    /// The system refuses something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The system refuses to start a program.
    #[error("cannot start {program}: {source}")]
    Start { program: &'static str, source: io::Error },
}

impl Refusal {
    /// For `map_err`: what was to be done with which file.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// 2 for what was typed, 1 for what went wrong.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Name { .. }
            | Self::Taken(_)
            | Self::NoTemplate(_)
            | Self::NoSdk(_)
            | Self::NoProject(_)
            | Self::Engine(_)
            | Self::Runner(_)
            | Self::Source(_)
            | Self::Argument(_)
            | Self::Io { .. } => Exit::Configuration,
            Self::Project { .. }
            | Self::Missing { .. }
            | Self::Build { .. }
            | Self::NothingBuilt(_)
            | Self::Load { .. }
            | Self::Start { .. } => Exit::Failed,
        }
    }
}
