//! Options become the engine's query language. Pure.

mod filter;
mod operand;
mod order;
mod pattern;
mod query;

pub(crate) use filter::{Filtered, Loss, MILLIS_FORMAT, NANOS_FORMAT, translate};
pub(crate) use order::{Sort, order};
pub(crate) use query::{all_of, any_of};

#[cfg(test)]
mod tests;
