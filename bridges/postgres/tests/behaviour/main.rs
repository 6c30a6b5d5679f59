//! The bridge against real servers: what the contract's own suite does not know about PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test may fail it, too"
)]

mod access;
#[path = "../support/asking.rs"]
mod asking;
mod changes;
#[path = "../support/database.rs"]
mod database;
mod guard;
mod plans;
mod proxy;
mod search;
#[path = "../support/server.rs"]
mod server;
mod similar;
mod streams;
