//! Other people's gateways and runners: they speak version 1 of the socket protocol and nothing else.
//!
//! Written from the published protocol with plain JSON, sharing no code with ours. A frame or a field that version 1
//! does not have ends the test, with one exception that the protocol itself makes: `hello` comes before anything can be
//! agreed, so it carries the offer of the extensions.

mod gateway;
mod runner;
mod shape;
mod table;

pub use gateway::{Outcome, RunnerSocket, StrictGateway};
pub use runner::{Flood, Job, StrictRunner, dial_with};
pub use table::Table;
