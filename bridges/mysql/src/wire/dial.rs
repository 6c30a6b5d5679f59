//! Opens a byte stream to one address of a server. TLS begins later, once the server has greeted (see `login`).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{TlsError, WireError};

/// A query may be silent for long while it works, so a dead peer is only found by asking.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A byte stream of any transport.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

/// A resolved address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What a handshake needs.
#[derive(Clone, Debug)]
pub(super) struct TlsClient {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Who else can see what goes over a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privacy {
    /// Anyone on the way.
    Open,
    /// Nobody: it does not leave the machine, or it is encrypted.
    Private,
}

/// Connects, without TLS.
pub(super) async fn open(address: &Address) -> Result<(Box<dyn Socket>, Privacy), WireError> {
    let failed = |source| WireError::Connect { address: address.to_string(), source };
    match address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(failed)?;
            Ok((Box::new(socket), Privacy::Private))
        }
        Address::Tcp(address) => {
            let socket = TcpStream::connect(address).await.map_err(failed)?;
            tune(&socket).map_err(failed)?;
            Ok((Box::new(socket), Privacy::Open))
        }
    }
}

/// The TLS handshake.
pub(super) async fn encrypt(
    socket: Box<dyn Socket>,
    client: &TlsClient,
) -> Result<Box<dyn Socket>, WireError> {
    let connector = TlsConnector::from(Arc::clone(&client.config));
    let stream = connector.connect(client.name.clone(), socket).await.map_err(TlsError::from_handshake)?;
    Ok(Box::new(stream))
}

fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
