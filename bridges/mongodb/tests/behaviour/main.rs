//! What the bridge promises beside answers: how it reads, ends and recovers, and what it refuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

#[path = "../support/asking.rs"]
mod asking;
#[path = "../support/pretend.rs"]
mod pretend;
#[path = "../support/server.rs"]
mod server;

mod access;
mod fields;
mod hostile;
mod recovery;
mod streams;
