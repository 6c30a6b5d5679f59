//! What every daemon of this workspace does: settings, secrets, drain, signals, telemetry, metrics, health, ports, TLS.
//!
//! A daemon's `main` reads its settings through [`settings`], starts [`telemetry`], spawns everything through a
//! [`Drain`], waits for a [signal](signals), drains and turns the result into an [`Exit`]. Every connection that it
//! opens goes through one [`Dialer`](dial::Dialer) with one [`ClientTls`](tls::ClientTls). Nothing here knows what
//! the daemon is for.

pub mod body;
pub mod dial;
pub mod drain;
pub mod error;
pub mod exit;
#[cfg(test)]
mod fixtures;
pub mod health;
pub mod metrics;
mod panics;
pub mod port;
pub mod secrets;
pub mod settings;
pub mod signals;
pub mod spelling;
pub mod telemetry;
pub mod terminal;
pub mod tls;

pub use drain::{Drain, Drained};
pub use exit::Exit;
pub use protocol::Secret;
