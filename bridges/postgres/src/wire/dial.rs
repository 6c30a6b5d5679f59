//! Opens a byte stream to one address of a server, encrypted or not.
//!
//! Used for sessions and for cancel requests alike, so that a cancel goes the same way as what it cancels.

use bridge_net::{Address, Socket, connect_tcp};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::certificate::server_end_point;
use super::{TlsError, TlsNegotiation, WireError};

/// One way to one server.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) address: Address,
    pub(super) security: Security,
}

#[derive(Clone, Debug)]
pub(super) enum Security {
    Plain,
    /// Encrypted if the server offers it.
    Offer(TlsClient),
    Encrypted(TlsClient),
}

/// What a handshake needs, and how it begins.
#[derive(Clone, Debug)]
pub(super) struct TlsClient {
    pub(super) tls: bridge_net::TlsClient,
    pub(super) negotiation: TlsNegotiation,
}

/// An open stream.
pub(super) struct Dialed {
    pub(super) socket: Box<dyn Socket>,
    pub(super) privacy: Privacy,
}

/// Who else can see what goes over a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Privacy {
    /// Anyone on the way.
    Open,
    /// Nobody: it does not leave the machine.
    Local,
    /// Nobody: it is encrypted. `end_point` binds a login to it, see [`server_end_point`].
    Encrypted { end_point: Option<Vec<u8>> },
}

/// Connects and, where the route says so, negotiates TLS.
pub(super) async fn open(route: &Route) -> Result<Dialed, WireError> {
    let failed = |source| WireError::Connect { address: route.address.to_string(), source };
    match &route.address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(failed)?;
            Ok(Dialed { socket: Box::new(socket), privacy: Privacy::Local })
        }
        Address::Tcp(address) => {
            let socket = connect_tcp(*address).await.map_err(failed)?;
            secure(socket, &route.security).await
        }
    }
}

async fn secure(mut socket: TcpStream, security: &Security) -> Result<Dialed, WireError> {
    let (client, offered) = match security {
        Security::Plain => return Ok(plain(socket)),
        Security::Offer(client) | Security::Encrypted(client) => {
            (client, is_offered(&mut socket, client).await?)
        }
    };
    if offered {
        handshake(socket, client).await
    } else if matches!(security, Security::Offer(_)) {
        Ok(plain(socket))
    } else {
        Err(TlsError::NotOffered.into())
    }
}

fn plain(socket: TcpStream) -> Dialed {
    Dialed { socket: Box::new(socket), privacy: Privacy::Open }
}

/// Asks for TLS. Exactly one byte is read, so that nothing sent before the handshake can pass for the server's words.
async fn is_offered(socket: &mut TcpStream, client: &TlsClient) -> Result<bool, WireError> {
    if client.negotiation == TlsNegotiation::Direct {
        return Ok(true);
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(WireError::from_io)?;
    match socket.read_u8().await.map_err(WireError::from_io)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(WireError::Protocol("an unknown answer to the request for TLS")),
    }
}

async fn handshake(socket: TcpStream, client: &TlsClient) -> Result<Dialed, WireError> {
    let stream = client.tls.connect(socket).await.map_err(TlsError::from_handshake)?;
    let chain = stream.get_ref().1.peer_certificates();
    let end_point = chain.and_then(|chain| server_end_point(chain.first()?));
    Ok(Dialed { socket: Box::new(stream), privacy: Privacy::Encrypted { end_point } })
}
