//! From options to a connection: names to addresses, addresses in turn, and the fallbacks of `sslmode`.

use std::net::SocketAddr;
use std::sync::Arc;

use bridge_net::{Address, attempt_end};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::dial::{self, Dialed, Privacy, Route, Security, TlsClient};
use super::error::sqlstate;
use super::link::Link;
use super::{
    CancelToken, ConnectOptions, Connection, DnsError, Endpoint, IpFamily, TlsMode, WireError, startup, tls,
};

/// Makes connections to one database. Certificates and keys are read once, when it is loaded.
#[derive(Debug)]
pub(crate) struct Connector {
    options: ConnectOptions,
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// Reads the files that `options` name.
    pub(crate) async fn load(options: ConnectOptions) -> Result<Self, WireError> {
        let tls = tls::client_config(&options.tls).await?;
        Ok(Self { options, tls })
    }

    /// Connects to the first endpoint that answers. If none does, the error is the last one's.
    ///
    /// A server that refuses the login ends the search, as the same account would be locked at the next one too.
    pub(crate) async fn connect(&self, deadline: Instant) -> Result<Connection, WireError> {
        let mut last = WireError::Protocol("there is no endpoint to connect to");
        for endpoint in &self.options.endpoints {
            match self.connect_to(endpoint, deadline).await {
                Err(error) if is_worth_another_address(&error) => last = error,
                decided => return decided,
            }
        }
        Err(last)
    }

    async fn connect_to(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Connection, WireError> {
        let (host, addresses) = match endpoint {
            Endpoint::Unix { path } => return self.bounded(&Address::Unix(path.clone()), "", deadline).await,
            Endpoint::Tcp { host, port } => {
                let resolved = timeout_at(deadline, resolve(host, *port, self.options.ip_family)).await;
                (host, resolved.map_err(|_| WireError::Timeout)??)
            }
        };
        let mut last = WireError::Timeout;
        for address in addresses {
            match self.bounded(&Address::Tcp(address), host, deadline).await {
                Err(error) if is_worth_another_address(&error) => last = error,
                decided => return decided,
            }
        }
        Err(last)
    }

    /// One address, within `connect_timeout` and the deadline.
    async fn bounded(
        &self,
        address: &Address,
        host: &str,
        deadline: Instant,
    ) -> Result<Connection, WireError> {
        let end = attempt_end(self.options.connect_timeout, deadline);
        timeout_at(end, self.connect_at(address, host)).await.map_err(|_| WireError::Timeout)?
    }

    /// One address, in plain and encrypted form as `sslmode` allows.
    async fn connect_at(&self, address: &Address, host: &str) -> Result<Connection, WireError> {
        let Some(client) = self.tls_client(address, host)? else {
            return self.attempt(address, Security::Plain).await;
        };
        match self.options.tls.mode {
            TlsMode::Disable => self.attempt(address, Security::Plain).await,
            TlsMode::Allow => match self.attempt(address, Security::Plain).await {
                Err(error) if error.is_rejected_kind() => {
                    self.attempt(address, Security::Encrypted(client)).await
                }
                decided => decided,
            },
            TlsMode::Prefer => match self.attempt(address, Security::Offer(client)).await {
                Err(error) if error.is_rejected_kind() || matches!(error, WireError::Tls(_)) => {
                    self.attempt(address, Security::Plain).await
                }
                decided => decided,
            },
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                self.attempt(address, Security::Encrypted(client)).await
            }
        }
    }

    fn tls_client(&self, address: &Address, host: &str) -> Result<Option<TlsClient>, WireError> {
        match (address, &self.tls) {
            (Address::Unix(_), _) | (_, None) => Ok(None),
            (Address::Tcp(_), Some(config)) => {
                let tls = bridge_net::TlsClient::new(Arc::clone(config), host)?;
                Ok(Some(TlsClient { tls, negotiation: self.options.tls.negotiation }))
            }
        }
    }

    async fn attempt(&self, address: &Address, security: Security) -> Result<Connection, WireError> {
        let route = Route { address: address.clone(), security };
        let Dialed { socket, privacy } = dial::open(&route).await?;
        let route = settled(route, &privacy);
        let mut link = Link::new(socket);
        let (key, session) = startup::log_in(&mut link, &self.options, &privacy).await?;
        Ok(Connection::new(link, CancelToken::new(route, key), session, &self.options))
    }
}

#[cfg(test)]
impl Connection {
    /// Connects once; see [`Connector`] for connecting often.
    pub(super) async fn connect(options: &ConnectOptions, deadline: Instant) -> Result<Self, WireError> {
        let loaded = timeout_at(deadline, Connector::load(options.clone())).await;
        loaded.map_err(|_| WireError::Timeout)??.connect(deadline).await
    }
}

/// The way that was taken in the end, without choices left.
fn settled(route: Route, privacy: &Privacy) -> Route {
    let security = match (route.security, privacy) {
        (Security::Offer(client) | Security::Encrypted(client), Privacy::Encrypted { .. }) => {
            Security::Encrypted(client)
        }
        _ => Security::Plain,
    };
    Route { security, ..route }
}

fn is_worth_another_address(error: &WireError) -> bool {
    match error {
        WireError::Dns(_)
        | WireError::Connect { .. }
        | WireError::Io(_)
        | WireError::Timeout
        | WireError::Closed => true,
        WireError::Server(error) => {
            matches!(error.code.as_str(), sqlstate::CANNOT_CONNECT_NOW | sqlstate::TOO_MANY_CONNECTIONS)
        }
        WireError::Tls(_)
        | WireError::Auth(_)
        | WireError::Protocol(_)
        | WireError::RowTooLarge { .. }
        | WireError::Encode(_)
        | WireError::Busy => false,
    }
}

/// The addresses of `host`, at least one.
async fn resolve(host: &str, port: u16, family: IpFamily) -> Result<Vec<SocketAddr>, DnsError> {
    let resolved = bridge_net::resolve(host, port, family).await;
    resolved.map_err(|cause| DnsError { host: host.to_owned(), family, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_named_with_the_family() {
        let error = resolve("no such host", 5432, IpFamily::V4).await.unwrap_err().to_string();
        assert!(error.starts_with("Failed to resolve \"no such host\" to IPv4: "), "{error}");
        let error = resolve("no such host", 5432, IpFamily::Any).await.unwrap_err().to_string();
        assert!(error.starts_with("Failed to resolve \"no such host\": "), "{error}");
    }
}
