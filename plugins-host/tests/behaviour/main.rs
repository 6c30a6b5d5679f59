//! What becomes of jobs when plugins behave, and when they do not. Every guest here is a real component.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test may fail it, too"
)]

mod batches;
mod cancelling;
mod crashes;
mod jobs;
mod loading;
mod network;
mod pooling;
mod printing;
mod support;
