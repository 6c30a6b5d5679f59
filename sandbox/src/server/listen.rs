//! The port: HTTP/1.1, with bounded connections, heads and patience.
//!
//! A connection whose other end is gone takes its request with it: that is how a run learns that nobody waits for it.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// The largest head of a request; it also bounds what one connection buffers of an answer.
const BUFFER_BYTES: usize = 64 * 1024;
/// Also how long a kept connection may be idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the other end may take no byte of what there is for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer that is under way may take once everything must stop, within what a drain gives.
const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 4096;
/// Pause after a failed accept, which means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that listens and does not answer yet.
#[derive(Debug)]
pub(crate) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Listens; port 0 takes any free port.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until all work of `drain` has ended.
    pub(crate) async fn serve(self, router: Router, drain: Drain) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let stopping = drain.stopping();
        loop {
            // A full house does not accept: callers wait in the system's queue.
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (self.listener.accept().await, slot)
            };
            let Some(accepted) = stopping.run_until_cancelled(accepted).await else { return };
            let (Ok((stream, _)), Ok(slot)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            set_options(&stream);
            let connection = answer(stream, router.clone(), drain.clone());
            let connection = async move {
                connection.await;
                drop(slot);
            };
            // The drain waits for answers under way, not for who connects after it has begun.
            if drain.refusing().is_cancelled() {
                drain.spawn_companion("late connection", connection);
            } else {
                drain.spawn("connection", connection);
            }
        }
    }
}

async fn answer(stream: TcpStream, router: Router, drain: Drain) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let (refusing, stopping) = (drain.refusing(), drain.stopping());
    let draining = refusing.is_cancelled();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(!draining)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How the peer leaves is of no interest, hence no look at the results.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopping.cancelled(), if draining => {}
        () = refusing.cancelled(), if !draining => {
            connection.as_mut().graceful_shutdown();
            let last = async {
                stopping.cancelled().await;
                // Runs are cancelled when they must stop, and their callers are told so.
                tokio::time::sleep(LAST_ANSWER_LIMIT).await;
            };
            tokio::select! {
                _ = connection => {}
                () = last => {}
            }
        }
    }
}

fn set_options(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT)) {
        tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
    #[cfg(not(target_os = "linux"))]
    let _unused = WRITE_TIMEOUT;
}
