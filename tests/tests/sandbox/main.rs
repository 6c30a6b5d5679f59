//! The HTTP door of the sandbox, as its clients have it: the program as a process, a real engine, real containers.
//!
//! Each module is one promise. The tests read as examples: what is asked, what comes back, what is left.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests stop the test where something is not as it says, and own no shutdown"
)]

mod artifacts;
mod bodies;
mod callbacks;
mod commands;
mod crowds;
mod encrypted;
mod gate;
mod languages;
mod lifecycle;
mod logs;
mod networks;
mod restarts;
mod runs;
mod warm;
