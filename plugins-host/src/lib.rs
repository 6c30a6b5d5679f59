//! Runs WebAssembly components as bridges.
//!
//! An [`Engine`] compiles components and makes [`Plugin`]s of them, which are drivers like the native ones. Each connection
//! of a source is an instance of its own, with its memory, its sockets and its limits; a plugin that fails harms the job
//! that it failed in and nobody else. What a plugin answers is checked before it is believed, and it reaches no host that
//! the operator or the source's own settings do not name.

mod about;
mod aggregates;
mod allow;
mod answer;
mod ask;
mod bare;
mod bindings;
mod bridge;
mod cache;
mod call;
mod describe;
mod engine;
mod error;
mod guest;
mod imports;
mod inspect;
mod instance;
mod lease;
mod limits;
mod log;
mod network;
mod plugin;
mod pool;
mod rows;
mod schema;
mod settings;
mod signature;
mod state;
mod stats;

pub use allow::Allowlist;
pub use bare::Bare;
pub use engine::{Engine, EngineSettings};
pub use error::{EngineError, LoadError, PluginFailure, SignatureError};
pub use inspect::{Inspection, inspect};
pub use limits::Limits;
pub use plugin::{Grants, Plugin};
pub use signature::TrustedKeys;
pub use stats::PluginStats;
