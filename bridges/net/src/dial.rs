//! From where a server listens to a byte stream.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A server may be silent for long while it works, so a dead peer is only found by asking.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A byte stream of any transport.
pub trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp {
        /// A name or a literal address, this one without brackets.
        host: String,
        port: u16,
    },
    Unix {
        /// The socket file itself.
        path: PathBuf,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => path.display().fmt(f),
        }
    }
}

/// A resolved address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
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

/// Which addresses of a host name count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    V4,
    V6,
    Any,
}

/// The addresses of `host`, at least one; a literal address is its own, whatever the family.
pub async fn resolve(host: &str, port: u16, family: IpFamily) -> io::Result<Vec<SocketAddr>> {
    if let Ok(literal) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(literal, port)]);
    }
    let found = tokio::net::lookup_host((host, port)).await?;
    let wanted: Vec<_> = found.filter(|address| family.has(address)).collect();
    if wanted.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, family.none_found()));
    }
    Ok(wanted)
}

impl IpFamily {
    fn has(self, address: &SocketAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Any => true,
        }
    }

    fn none_found(self) -> &'static str {
        match self {
            Self::V4 | Self::V6 => "the name has no such address",
            Self::Any => "the name has no address",
        }
    }
}

/// Connects, without TLS: small writes leave at once, and a peer that is silent for a minute is asked whether it lives.
pub async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    Ok(socket)
}

/// When an attempt that begins now has to end: after `limit`, and with the caller's `deadline` at the latest.
pub fn attempt_end(limit: Option<Duration>, deadline: Instant) -> Instant {
    let own = limit.and_then(|limit| Instant::now().checked_add(limit));
    own.map_or(deadline, |own| own.min(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_literal_address_is_not_filtered_by_family() {
        let resolved = resolve("127.0.0.1", 5432, IpFamily::V6).await.unwrap();
        assert_eq!(resolved, ["127.0.0.1:5432".parse().unwrap()]);
        let resolved = resolve("::1", 5432, IpFamily::V4).await.unwrap();
        assert_eq!(resolved, ["[::1]:5432".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_gives_addresses_of_the_family_only() {
        let resolved = resolve("localhost", 5432, IpFamily::V4).await.unwrap();
        assert_eq!(resolved, ["127.0.0.1:5432".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_connection_does_not_wait_to_write_and_asks_after_a_silent_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = connect_tcp(listener.local_addr().unwrap()).await.unwrap();
        assert!(socket.nodelay().unwrap());
        assert!(SockRef::from(&socket).keepalive().unwrap());
    }

    #[test]
    fn an_attempt_ends_with_the_earlier_of_its_limit_and_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(attempt_end(None, deadline), deadline);
        assert_eq!(attempt_end(Some(Duration::from_secs(120)), deadline), deadline);
        assert_eq!(attempt_end(Some(Duration::MAX), deadline), deadline);
        assert!(attempt_end(Some(Duration::from_secs(1)), deadline) < deadline);
    }
}
