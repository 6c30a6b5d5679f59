//! Runs one command in one hardened container.
//!
//! A [`Request`] says what to run; [`Sandbox::start`] checks it, starts it and hands back an [`Execution`]. A run owns
//! everything that it makes at the engine (container, volume, staging folder) and gives it back in whatever way it ends:
//! by itself, by its timeout, by [`Execution::cancel`], or by the next start of a program after a crash of this one.
//! Nothing here knows jobs or the runner's protocol.

mod adopt;
mod cache;
mod create;
mod engine;
mod error;
mod execution;
mod files;
/// What fuzzing reaches of the inside. No part of the interface.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod lines;
mod networks;
mod options;
mod outcome;
mod owners;
mod reap;
mod reference;
mod request;
mod run;
mod sandbox;
#[cfg(feature = "server")]
pub mod server;
mod state;
mod stop;
mod streams;
mod supervise;
mod telemetry;
mod upload;
mod warm;

pub use error::{SandboxError, SandboxErrorCode};
pub use execution::Execution;
pub use lines::Lines;
pub use networks::{Ipam, NetworkSpec, Removal};
pub use options::{ContainerRuntime, ExtractLimits, Options, Transfer};
pub use outcome::{ExtractStatus, Extracted, Outcome};
pub use request::{Command, Extract, Output, OutputStream, Overrides, Request, Seed};
pub use sandbox::{Maintenance, Sandbox};
pub use state::{NotARunId, RunId, RunState, RunStatus};
