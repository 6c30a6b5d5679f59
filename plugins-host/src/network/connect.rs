//! The one way out: decide, look up, decide again, connect.
//!
//! What is connected to is an address that was decided on, never the name again: a name that answers differently the
//! second time (DNS rebinding) gains nothing.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_net::Socket;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Outside;
use super::error::NetworkError;
use super::held::Held;
use super::host::{Endpoint, Host};
use super::policy::{Policy, Refusal, Trust};
use super::pool::Pool;
use super::tls::Choice;
use crate::limits::HELD_BYTES;

/// For looking up, connecting and the handshake together.
pub(super) const CONNECT: Duration = Duration::from_secs(15);
/// For one address, where there are others.
const ATTEMPT: Duration = Duration::from_secs(5);
/// What closing an idle connection, to make room for another, may take.
const ROOM: Duration = Duration::from_secs(1);
/// Addresses that a guest has looked up and may connect to, of an instance with `wasi:sockets`.
const LOOKED_UP: usize = 256;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// A connection and its place among those that the instance may have.
pub(crate) struct Line {
    pub(crate) stream: Box<dyn Socket>,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// An instance's way out.
pub(crate) struct Outlet {
    outside: Arc<Outside>,
    endpoints: Vec<Endpoint>,
    slots: Arc<Semaphore>,
    held: Held,
    pool: Pool,
    /// The oldest first.
    looked_up: Mutex<VecDeque<(IpAddr, Host)>>,
    /// Cancelled when the instance has gone.
    gone: CancellationToken,
}

impl Outlet {
    /// Of an instance of a source with these endpoints.
    pub(crate) fn new(outside: Arc<Outside>, endpoints: Vec<Endpoint>) -> Self {
        let sockets = outside.allowed.sockets;
        let slots = Arc::new(Semaphore::new(sockets.min(Semaphore::MAX_PERMITS)));
        let held = Held::new(sockets.saturating_mul(HELD_BYTES));
        let gone = CancellationToken::new();
        let pool = Pool::new(gone.clone());
        Self { outside, endpoints, slots, held, pool, looked_up: Mutex::default(), gone }
    }

    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    pub(crate) fn grants_wasi_sockets(&self) -> bool {
        self.outside.allowed.wasi_sockets
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What the instance holds of answers.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// Connects to where the plugin may, and encrypts if that is wanted.
    pub(crate) async fn connect(&self, target: &Target, tls: Option<&Choice>) -> Result<Line, NetworkError> {
        let trust = self.policy().host(&target.host, Some(target.port));
        let trust = trust.map_err(|refusal| self.refuse(&target.host, Some(target.port), refusal))?;
        let slot = self.slot().await?;
        let work = async {
            let addresses = self.addresses(target, trust).await?;
            let stream: Box<dyn Socket> = Box::new(self.dial(&addresses, target.port).await?);
            match tls {
                Some(choice) => self.secure(stream, &target.host, choice).await,
                None => Ok(stream),
            }
        };
        let stream = timeout(CONNECT, work).await.map_err(|_| NetworkError::Silent)??;
        Ok(Line { stream, slot })
    }

    /// The handshake on a stream to `host`.
    pub(crate) async fn secure(
        &self,
        stream: Box<dyn Socket>,
        host: &Host,
        choice: &Choice,
    ) -> Result<Box<dyn Socket>, NetworkError> {
        let secured = timeout(CONNECT, self.outside.tls.secure(stream, host, choice));
        secured.await.map_err(|_| NetworkError::Silent)?
    }

    /// Looks a name up for `wasi:sockets`. Its addresses may be connected to from now on, as far as the name may be.
    pub(crate) async fn look_up(&self, host: &Host) -> Result<Vec<IpAddr>, NetworkError> {
        let known = if self.outside.allowed.wasi_sockets {
            self.policy().host(host, None)
        } else {
            Err(Refusal::NoSockets)
        };
        known.map_err(|refusal| self.refuse(host, None, refusal))?;
        let found = timeout(CONNECT, self.resolve(host)).await.map_err(|_| NetworkError::Silent)??;
        let mut looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        for address in &found {
            let entry = (*address, host.clone());
            looked_up.retain(|known| *known != entry);
            if looked_up.len() >= LOOKED_UP {
                looked_up.pop_front();
            }
            looked_up.push_back(entry);
        }
        Ok(found)
    }

    /// Whether `wasi:sockets` may connect to an address: as such, or as that of a name that was looked up.
    pub(crate) fn may_connect(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let allows = |host: &Host| {
            let trust = self.policy().host(host, Some(port))?;
            self.policy().address(trust, ip, port)
        };
        let literal = Host::Address(ip);
        let Err(mut refusal) = allows(&literal) else { return true };
        // What the operator would have to list is the name, if there was one.
        let mut refused = literal;
        for name in self.names_of(ip) {
            match allows(&name) {
                Ok(()) => return true,
                Err(reason) => (refused, refusal) = (name, reason),
            }
        }
        self.refuse(&refused, Some(port), refusal);
        false
    }

    /// The names that were looked up and had this address.
    fn names_of(&self, ip: IpAddr) -> Vec<Host> {
        let looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        looked_up.iter().filter(|(known, _)| *known == ip).map(|(_, host)| host.clone()).collect()
    }

    #[cfg(test)]
    pub(super) fn looked_up(&self) -> usize {
        self.looked_up.lock().unwrap().len()
    }

    fn policy(&self) -> Policy<'_> {
        Policy { allow: &self.outside.allowed.hosts, endpoints: &self.endpoints }
    }

    fn refuse(&self, host: &Host, port: Option<u16>, refusal: Refusal) -> NetworkError {
        self.outside.stats.refused_connections.one();
        self.outside.refusals.tell(&self.outside.plugin, host, port, refusal);
        NetworkError::Refused
    }

    /// A place for one more connection, for which an idle one is closed if there is no other.
    pub(crate) async fn slot(&self) -> Result<OwnedSemaphorePermit, NetworkError> {
        let limit = self.outside.allowed.sockets;
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        if !self.pool.close_oldest() {
            return Err(NetworkError::TooMany { limit });
        }
        let freed = timeout(ROOM, Arc::clone(&self.slots).acquire_owned()).await;
        freed.ok().and_then(Result::ok).ok_or(NetworkError::TooMany { limit })
    }

    /// The addresses of a target that may be connected to, at least one.
    async fn addresses(&self, target: &Target, trust: Trust) -> Result<Vec<IpAddr>, NetworkError> {
        let found = self.resolve(&target.host).await?;
        let mut allowed = Vec::with_capacity(found.len());
        let mut refused = None;
        for address in found {
            match self.policy().address(trust, address, target.port) {
                Ok(()) => allowed.push(address),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match refused {
            Some(refusal) if allowed.is_empty() => Err(self.refuse(&target.host, Some(target.port), refusal)),
            Some(_) | None => Ok(allowed),
        }
    }

    /// All addresses of a host, at least one.
    async fn resolve(&self, host: &Host) -> Result<Vec<IpAddr>, NetworkError> {
        let found = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.outside.internet.resolve(name).await.map_err(NetworkError::Resolve)?,
        };
        if found.is_empty() {
            let nothing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(NetworkError::Resolve(nothing));
        }
        Ok(found.into_iter().map(|address| address.to_canonical()).collect())
    }

    async fn dial(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, NetworkError> {
        let limit = if addresses.len() > 1 { ATTEMPT } else { CONNECT };
        let mut last = NetworkError::Silent;
        for address in addresses {
            let attempt = self.outside.internet.dial(SocketAddr::new(*address, port));
            match timeout(limit, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = NetworkError::Connect(error),
                Err(_) => last = NetworkError::Silent,
            }
        }
        Err(last)
    }
}
