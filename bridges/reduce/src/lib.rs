//! Filters, orders and aggregates in process, for databases that cannot do them and as the oracle of the conformance
//! suite. The meaning is that of the SQL plans: three-valued logic, interpolated percentiles, half-open breaks, ISO weeks,
//! one bucket when nothing is grouped.
//!
//! Rows are JSON objects as bridges write them. A [`Schema`] says what their texts are; without one it is guessed.

mod aggregate;
mod bucket;
mod error;
mod layout;
mod matcher;
mod order;
mod ranker;
pub mod scan;
mod values;

pub use aggregate::{Limits, Reducer};
pub use bucket::{breaks_label, calendar_label, geohash, step_label};
pub use error::ReduceError;
pub use layout::{Kind, Layout, Row, Schema};
pub use matcher::Matcher;
pub use order::{Nulls, Order};
pub use ranker::Ranker;
pub use values::{Number, Value};
