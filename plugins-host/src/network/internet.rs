//! The machine's way to the internet: names to addresses, addresses to connections.
//!
//! A trait, so that tests can say what a name resolves to and which addresses somebody listens on.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use bridge_core::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Lookups of one plugin at a time. One that was given up still occupies its thread until the system answers.
const LOOKUPS: usize = 8;
/// Addresses of a name that are looked at.
const ADDRESSES: usize = 32;

/// Names and addresses.
pub(crate) trait Internet: Send + Sync {
    /// The addresses of a name, in the order in which they are to be tried.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// Connects.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// What the system knows.
pub(crate) struct Machine {
    lookups: Arc<Semaphore>,
}

impl Default for Machine {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Internet for Machine {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let turn = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
            let name = name.to_owned();
            let lookup = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                drop(turn);
                found.map(|found| found.map(|address| address.ip()).take(ADDRESSES).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(bridge_net::connect_tcp(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_machine_knows_itself() {
        let found = Machine::default().resolve("localhost").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
}
