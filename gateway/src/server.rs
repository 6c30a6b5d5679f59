//! The port: HTTP/1.1 with upgrades, over TLS or plain. How connections are taken and ended is the runtime's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use runtime::Drain;
use runtime::port::{Limits, Port, answer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::api::request::Peer;
use crate::guard::Guarded;

const BUFFER_BYTES: usize = 512 * 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at a time.
pub(crate) const CONNECTION_LIMIT: usize = 16 * 1024;

/// A port that listens and does not answer yet.
pub(crate) struct Server {
    port: Port,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl Server {
    /// Listens; port 0 takes any free port. A connection whose other end has taken no byte for `write_timeout`, while
    /// there were some for it, is closed.
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        write_timeout: Duration,
    ) -> io::Result<Self> {
        let port = Port::bind(address).await?;
        let limits = Limits {
            connections: CONNECTION_LIMIT,
            buffer_bytes: BUFFER_BYTES,
            write_timeout,
            last_answer: Duration::ZERO,
        };
        Ok(Self { port, tls, limits })
    }

    /// The address with the real port.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.port.address()
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Answers until all work of `drain` has ended.
    pub(crate) async fn serve(self, router: Router, drain: Drain) {
        let Self { port, tls, limits } = self;
        let served = drain.clone();
        let serve = move |stream, peer| {
            let connection =
                Connection { router: router.clone(), peer: Peer::of(peer), drain: served.clone(), limits };
            connection.serve(stream, tls.clone())
        };
        port.accept(limits, drain, serve).await;
    }
}

struct Connection {
    router: Router,
    peer: Peer,
    drain: Drain,
    limits: Limits,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let stream = Guarded { stream, watch: Arc::clone(&self.peer.watch) };
        match tls {
            None => self.answer(stream).await,
            Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.answer(stream).await,
                Ok(Err(error)) => tracing::debug!(%error, peer = %self.peer.address, "TLS handshake failed"),
                Err(_) => tracing::debug!(peer = %self.peer.address, "TLS handshake took too long"),
            },
        }
    }

    async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self { router, peer, drain, limits } = self;
        let handle = move |mut request: axum::extract::Request| {
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request)
        };
        answer(stream, limits, drain, handle).await;
    }
}
