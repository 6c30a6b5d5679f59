//! What the bridge does on real servers, beyond the contract.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it"
)]

#[path = "../support/asking.rs"]
mod asking;
#[path = "../support/database.rs"]
mod database;
#[path = "../support/server.rs"]
mod server;

mod access;
mod failing;
mod hostile;
mod measured;
mod operands;
mod paging;
mod ranked;
mod streams;
