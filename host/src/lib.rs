//! The runner daemon: dials a gateway and runs its jobs where the data lives.
//!
//! [`Config`] is the settings as a value, [`Config::build`] makes an [`App`] that can start, [`App::spawn`] starts it.
//! What came in as a frame goes down through `session`, `dispatch`, `job` and `sources` to a bridge, and comes back
//! through channels that were handed down.

mod app;
mod backoff;
pub mod cli;
pub mod command;
pub mod config;
mod credentials;
mod dispatch;
mod doctor;
mod environment;
mod error;
mod exec;
mod flow;
mod health;
pub mod init;
mod job;
mod jobs;
mod link;
mod metrics;
mod outcome;
#[cfg(feature = "plugins")]
mod plugins;
#[cfg(not(feature = "plugins"))]
#[path = "plugins/absent.rs"]
mod plugins;
mod registry;
mod runner;
mod session;
mod sources;
mod status;

pub use app::{App, Running};
pub use backoff::Backoff;
pub use config::{
    Config, ExecSettings, ImagePattern, Loaded, ManagedBridges, OutputCaps, PluginSettings, SandboxSettings,
    SourceLimits, SourceSettings, Timings,
};
pub use error::{SourceProblem, StartError};
pub use registry::{DriverRef, Registry};
