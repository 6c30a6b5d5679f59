//! Opens a byte stream to one address of a server. TLS begins later, once the server has greeted (see `login`).

use bridge_net::{Address, Socket, TlsClient, connect_tcp};
use tokio::net::UnixStream;

use super::{TlsError, WireError};

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
            let socket = connect_tcp(*address).await.map_err(failed)?;
            Ok((Box::new(socket), Privacy::Open))
        }
    }
}

/// The TLS handshake.
pub(super) async fn encrypt(
    socket: Box<dyn Socket>,
    client: &TlsClient,
) -> Result<Box<dyn Socket>, WireError> {
    let stream = client.connect(socket).await.map_err(TlsError::from_handshake)?;
    Ok(Box::new(stream))
}
