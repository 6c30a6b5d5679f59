//! The harness of the end-to-end tests: real processes, real databases, and links that break on demand.
//!
//! `process` starts programs and reads what they say; `gateway` and `runner` are the two daemons as a user meets them;
//! `docker` is an engine for containers, `sandbox` the HTTP door to it; `postgres` and `sqlite` are databases with known
//! rows, `shop` has five of them; `fault` is a network that can be cut; `v1` are other people's gateways and runners,
//! written from the published protocol alone; `canary` searches bytes for secrets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a harness stops the test at the place where something is not as the test says, and owns no shutdown"
)]

pub mod canary;
pub mod docker;
pub mod fault;
pub mod folder;
pub mod gateway;
pub mod http;
pub mod plugins;
pub mod postgres;
pub mod process;
pub mod runner;
pub mod sandbox;
pub mod services;
#[cfg(feature = "databases")]
pub mod shop;
#[cfg(feature = "databases")]
pub mod sqlite;
pub mod v1;
pub mod wait;
