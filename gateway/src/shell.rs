//! Shell jobs: a command for one runner, from a request to its exit code.
//!
//! `request` reads what is asked, `grant` decides what is allowed, `job` places it and follows it, `output` collects
//! what the program writes, `attempt` sees to it that the audit log tells of it, and `failure` says what went wrong. A
//! command is never begun twice: once a runner may have it, its loss is a failure.

pub(crate) mod attempt;
pub(crate) mod failure;
pub(crate) mod grant;
pub(crate) mod job;
pub(crate) mod output;
pub mod record;
pub(crate) mod request;
