//! Opens byte streams to one server, encrypted or not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::tls::client_config;
use super::{ConnectOptions, Endpoint, TlsError, WireError};

/// A server may be silent for long while it works, so a dead peer is only found by asking.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// A byte stream of any transport.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

/// Knows the way to the server. Certificates are read once.
pub(crate) struct Dialer {
    endpoint: Endpoint,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dialer {
    /// Reads the certificates.
    pub(crate) async fn load(options: &ConnectOptions) -> Result<Self, WireError> {
        let tls = match (&options.endpoint, client_config(&options.tls).await?) {
            (Endpoint::Tcp { host, .. }, Some(config)) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| TlsError::Name(host.clone()))?;
                Some((config, name))
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
        let Some((config, name)) = &self.tls else { return Ok(Connection::new(Box::new(socket))) };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name.clone(), socket).await.map_err(TlsError::Handshake)?;
        Ok(Connection::new(Box::new(stream)))
    }

    /// The first address that accepts.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, WireError> {
        let found = lookup_host((host, port)).await;
        let dns = |source| WireError::Dns { host: host.to_owned(), source };
        let mut last = dns(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in found.map_err(dns)?.take(MOST_ADDRESSES) {
            match TcpStream::connect(address).await {
                Ok(socket) => {
                    tune(&socket).map_err(WireError::from_io)?;
                    return Ok(socket);
                }
                Err(source) => last = WireError::Connect { address: address.to_string(), source },
            }
        }
        Err(last)
    }

    fn refused(&self, source: io::Error) -> WireError {
        WireError::Connect { address: self.endpoint.to_string(), source }
    }
}

fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
