//! The bridge against real servers: what the contract's own suite does not know about MySQL and MariaDB.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test may fail it, too"
)]

mod access;
#[path = "../support/asking.rs"]
mod asking;
mod catalog;
#[path = "../support/database.rs"]
mod database;
#[path = "../support/fake.rs"]
mod fake;
mod guard;
mod hostile;
mod restart;
#[path = "../support/server.rs"]
mod server;
mod similar;
mod streams;
#[path = "../support/victim.rs"]
mod victim;
