//! What the bridges with a wire protocol of their own share below it: from an [`Endpoint`] to addresses, a tuned TCP
//! connection, TLS with as much of a [`Check`] as a mode asks for, the [read buffer](buffer), and the [`Pool`] that lends
//! connections.
//!
//! Whatever a database does its own way stays in its bridge: the names of modes, when TLS begins, which address is tried
//! after which failure, and what a failure is called.

pub mod buffer;
mod dial;
mod error;
mod pem;
mod pool;
mod tls;
mod told;

pub use dial::{Address, Endpoint, IpFamily, Socket, attempt_end, connect_tcp, resolve};
pub use error::TlsError;
pub use pem::Pem;
pub use pool::{Condition, Interrupted, Lease, Origin, Pool};
pub use tls::{Check, ClientIdentity, Roots, TlsClient, TlsMode, client_config};
#[doc(hidden)]
pub use told::Told;
