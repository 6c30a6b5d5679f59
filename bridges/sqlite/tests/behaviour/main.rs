//! The bridge against real files: what the contract's own suite does not know about SQLite.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test may fail it, too")]

mod asking;
mod files;
mod reading;
#[path = "../support/scratch.rs"]
mod scratch;
mod search;
mod streams;
