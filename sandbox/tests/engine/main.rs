//! Runs against a real container engine.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers stop the test where something is not as it says, and the harness names the engine by a variable"
)]

mod attached;
mod cache;
mod detached;
mod ending;
mod languages;
mod networks;
mod restarts;
mod results;
mod spans;
mod support;
mod walls;
mod warm;
mod way;
