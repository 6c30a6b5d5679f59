//! Opens byte streams to one server, encrypted or not.

use std::io;

use bridge_net::{IpFamily, TlsClient, connect_tcp, resolve};
use tokio::net::{TcpStream, UnixStream};

use super::connection::Connection;
use super::tls::client_config;
use super::{ConnectOptions, Endpoint, TlsError, WireError};

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Knows the way to the server. Certificates are read once.
pub(crate) struct Dialer {
    endpoint: Endpoint,
    tls: Option<TlsClient>,
}

impl Dialer {
    /// Reads the certificates.
    pub(crate) async fn load(options: &ConnectOptions) -> Result<Self, WireError> {
        let tls = match (&options.endpoint, client_config(&options.tls).await?) {
            (Endpoint::Tcp { host, .. }, Some(config)) => {
                Some(TlsClient::new(config, host).map_err(TlsError::from)?)
            }
            (Endpoint::Tcp { .. }, None) | (Endpoint::Unix { .. }, _) => None,
        };
        Ok(Self { endpoint: options.endpoint.clone(), tls })
    }

    /// A connection that nobody has logged in on yet.
    pub(crate) async fn open(&self) -> Result<Connection, WireError> {
        let (host, port) = match &self.endpoint {
            Endpoint::Tcp { host, port } => (host.as_str(), *port),
            Endpoint::Unix { path } => {
                let socket = UnixStream::connect(path).await.map_err(|source| self.refused(source))?;
                return Ok(Connection::new(Box::new(socket)));
            }
        };
        let socket = self.connect(host, port).await?;
        let Some(client) = &self.tls else { return Ok(Connection::new(Box::new(socket))) };
        let stream = client.connect(socket).await.map_err(TlsError::Handshake)?;
        Ok(Connection::new(Box::new(stream)))
    }

    /// The first address that accepts.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, WireError> {
        let found = resolve(host, port, IpFamily::Any).await;
        let found = found.map_err(|source| WireError::Dns { host: host.to_owned(), source })?;
        let mut last = WireError::Timeout;
        for address in found.into_iter().take(MOST_ADDRESSES) {
            match connect_tcp(address).await {
                Err(source) => last = WireError::Connect { address: address.to_string(), source },
                Ok(socket) => return Ok(socket),
            }
        }
        Err(last)
    }

    fn refused(&self, source: io::Error) -> WireError {
        WireError::Connect { address: self.endpoint.to_string(), source }
    }
}
