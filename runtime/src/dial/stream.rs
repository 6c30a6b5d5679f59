//! The opened stream, whatever it is made of.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::Secured;

/// An open stream to the host of a URL, and what is known of the way there.
#[derive(Debug)]
pub struct Dialed {
    stream: Transport,
    remote: SocketAddr,
    via: Option<String>,
    tls: Option<Peer>,
}

#[derive(Debug)]
struct Peer {
    version: &'static str,
    issuer: Option<String>,
}

/// Bytes both ways: TCP, or TLS over it, or TLS to the server within TLS to a proxy.
pub(super) trait Duplex: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin> Duplex for T {}

pub(super) type Transport = Box<dyn Duplex>;

impl Dialed {
    pub(super) fn plain(stream: Transport, remote: SocketAddr, via: Option<String>) -> Self {
        Self { stream, remote, via, tls: None }
    }

    pub(super) fn secure(secured: Secured<Transport>, remote: SocketAddr, via: Option<String>) -> Self {
        let Secured { stream, version, issuer } = secured;
        Self { stream: Box::new(stream), remote, via, tls: Some(Peer { version, issuer }) }
    }

    /// The address that accepted: the server's, or the proxy's.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// Host and port of the proxy on the way, if there is one.
    pub fn via_proxy(&self) -> Option<&str> {
        self.via.as_deref()
    }

    /// `TLS 1.3` or `TLS 1.2`; `None` without TLS to the server.
    pub fn tls_version(&self) -> Option<&'static str> {
        self.tls.as_ref().map(|peer| peer.version)
    }

    /// Who issued the server's certificate.
    pub fn peer_issuer(&self) -> Option<&str> {
        self.tls.as_ref().and_then(|peer| peer.issuer.as_deref())
    }
}

impl AsyncRead for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
