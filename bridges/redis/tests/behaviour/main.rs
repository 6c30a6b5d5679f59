//! What the bridge does on real servers when things go right, and when they do not.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test may fail it, too"
)]

mod access;
mod hostile;
mod scans;
mod streams;

#[path = "../support/asking.rs"]
mod asking;
#[path = "../support/server.rs"]
mod server;
