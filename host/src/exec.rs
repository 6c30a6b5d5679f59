//! Shell jobs on this host (protocol, section 5).
//!
//! `plan` decides what is done for a request, with this host's settings as the upper bound: nothing below it knows what was
//! asked. `policy` says what `readonly` lets through, `process` runs a command on the host, `sandboxed` one in a container;
//! both hand pieces of output to the job, which keeps the beginning and the end of them (`output`).

mod facts;
mod family;
mod grammar;
mod lexer;
mod output;
mod plan;
mod policy;
mod process;
mod programs;
mod reading;
mod rule;
mod sandboxed;
mod service;
mod stop;

pub(crate) use facts::HostFiles;
pub use output::OutputCaps;
pub(crate) use output::{Kept, Text};
pub(crate) use plan::{Plan, find_programs};
pub(crate) use process::{Ended, Limits, Piece, run as run_on_host};
pub(crate) use rule::{Denied, Rule};
pub(crate) use sandboxed::{Contained, options as sandbox_options, run as run_in_container};
pub(crate) use service::{ActiveExec, Execs};
