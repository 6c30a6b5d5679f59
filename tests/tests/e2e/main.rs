//! Everything together, as users have it: the two programs as processes, real databases, links that break.
//!
//! Each module is one promise. The tests read as examples: what is started, what is asked, what comes back.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests stop the test where something is not as it says"
)]

mod canary;
mod commands;
mod foreign_gateway;
