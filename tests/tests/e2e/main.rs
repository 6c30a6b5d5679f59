//! Everything together, as users have it: the two programs as processes, real databases, links that break.
//!
//! Each module is one promise. The tests read as examples: what is started, what is asked, what comes back.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests stop the test where something is not as it says"
)]

mod access;
mod canary;
mod commands;
mod demo;
mod drain;
mod engines;
mod exec;
mod five_databases;
mod foreign_gateway;
mod foreign_runner;
mod kills;
mod links;
mod many;
mod plugin_commands;
mod plugins;
mod readme;
mod revoke;
mod slow_reader;
mod streaming;
mod walk;
