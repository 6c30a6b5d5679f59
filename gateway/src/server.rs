//! The port: HTTP/1.1 with upgrades, over TLS or plain.
//!
//! Connections, headers and handshakes are bounded in number, size and time, and so is the patience with callers that do
//! not read their answers. When the gateway stops, answers under way are finished and idle connections closed; probes are
//! answered until the end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::Drain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::api::request::Peer;
use crate::guard::Guarded;

/// The largest head of a request; it also bounds what one connection buffers of an answer.
const BUFFER_BYTES: usize = 512 * 1024;
/// Also how long a kept connection may be idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at a time.
pub(crate) const CONNECTION_LIMIT: usize = 16 * 1024;
/// Pause after a failed accept, which means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that listens and does not answer yet.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    write_timeout: Duration,
}

impl Server {
    /// Listens; port 0 takes any free port. A connection whose other end has taken no byte for `write_timeout`, while
    /// there were some for it, is closed.
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        write_timeout: Duration,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls, write_timeout })
    }

    /// The address with the real port.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Answers until all work of `drain` has ended.
    pub(crate) async fn serve(self, router: Router, drain: Drain) {
        let slots = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        let stopping = drain.stopping();
        loop {
            // A full house does not accept: callers wait in the system's queue rather than being turned away.
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (self.listener.accept().await, slot)
            };
            let Some(accepted) = stopping.run_until_cancelled(accepted).await else { return };
            let (Ok((stream, peer)), Ok(slot)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            set_options(&stream, self.write_timeout);
            let peer = Peer::of(peer);
            let connection = Connection { router: router.clone(), peer, drain: drain.clone(), slot };
            let connection = connection.serve(stream, self.tls.clone());
            // The drain waits for answers under way. Who connects after it has begun is not waited for.
            if drain.refusing().is_cancelled() {
                drain.spawn_companion("late connection", connection);
            } else {
                drain.spawn("connection", connection);
            }
        }
    }
}

struct Connection {
    router: Router,
    peer: Peer,
    drain: Drain,
    slot: OwnedSemaphorePermit,
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
        let Self { router, peer, drain, slot } = self;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request.map(Body::new))
        });
        // Who connects during the drain is a probe, or gets one refusal.
        let draining = drain.refusing().is_cancelled();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(BUFFER_BYTES)
            .keep_alive(!draining)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let (refusing, stopping) = (drain.refusing(), drain.stopping());
        // How the peer leaves is of no interest, hence no look at the results.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = stopping.cancelled() => {}
            () = refusing.cancelled(), if !draining => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    _ = connection => {}
                    () = stopping.cancelled() => {}
                }
            }
        }
        drop(slot);
    }
}

fn set_options(stream: &TcpStream, write_timeout: Duration) {
    // Rows leave in small pieces; none of them is to wait for another.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    // Only the system knows whether the other end has taken anything: a socket of ours becomes writable long after that.
    // Elsewhere the systems' own patience is what there is.
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout)) {
        tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
    #[cfg(not(target_os = "linux"))]
    let _unused = write_timeout;
}
