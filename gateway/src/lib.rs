//! The gateway: applications ask, runners answer, operators watch.
//!
//! The control plane ([`control`], [`store`], [`config`]) keeps what operators say and shows it as an immutable
//! [`snapshot`]. The data plane ([`state`]) reads nothing but snapshots: it authenticates, turns a request into a job,
//! places the job on a runner's socket and passes the rows on. [`app`] puts the two together behind [`api`].

mod access;
mod address;
pub mod api;
pub mod app;
mod attempt;
pub mod audit;
mod blame;
pub mod capability;
pub mod cli;
pub mod config;
pub mod control;
pub mod crypto;
mod cursor;
#[cfg(feature = "demo")]
pub mod demo;
mod dispatch;
pub mod error;
mod guard;
mod jobs;
pub mod lens;
mod link;
mod master_key;
mod metrics;
pub mod model;
pub mod names;
mod placement;
mod plan;
pub mod presence;
mod registry;
mod reshape;
mod server;
mod session;
pub mod settings;
pub mod shell;
pub mod snapshot;
pub mod state;
pub mod store;
mod strangers;
pub mod token;
