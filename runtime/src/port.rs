//! An HTTP/1.1 port: how connections are taken, how long they may last, and what becomes of them at the end.
//!
//! Connections, heads and waits are bounded, and so is the patience with callers that do not read their answers. Once the
//! daemon drains, answers under way are finished and idle connections closed; who connects after that, or has just
//! connected, gets one answer.
//! What lies between the socket and HTTP (TLS, something that watches the bytes) is for the daemon to put there.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Drain;

/// Also how long a kept connection may be idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection that has had no request may take for its first one once the daemon drains.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// Pause after a failed accept, which means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that listens and does not answer yet.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

/// What a port's connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// The largest head of a request; it also bounds what one connection buffers of an answer.
    pub buffer_bytes: usize,
    /// How long the other end may take no byte of what there is for it. Kept where the system can tell, which is Linux.
    pub write_timeout: Duration,
    /// How long an answer that is under way may take once everything must stop, within what a drain gives.
    pub last_answer: Duration,
}

impl Port {
    /// Listens; port 0 takes any free port.
    ///
    /// # Errors
    /// The port is taken, or the address is not ours.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections until all work of `drain` has ended. Each is served by what `serve` makes of it, in a task of its
    /// own; [`answer`] is the last part of that.
    pub async fn accept<F>(
        self,
        limits: Limits,
        drain: Drain,
        serve: impl Fn(TcpStream, SocketAddr) -> F + Send,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(limits.connections));
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
            set_options(&stream, limits.write_timeout);
            let served = serve(stream, peer);
            let connection = async move {
                served.await;
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

/// Answers the requests of one connection, with upgrades, until its other end leaves or `drain` ends it.
pub async fn answer<S, F>(stream: S, limits: Limits, drain: Drain, handle: impl Fn(Request<Body>) -> F + Send)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send,
{
    let (refusing, stopping) = (drain.refusing(), drain.stopping());
    // Who connects during the drain is a probe, or gets one refusal.
    let draining = refusing.is_cancelled();
    let asked = CancellationToken::new();
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        asked.cancel();
        handle(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(limits.buffer_bytes)
        .keep_alive(!draining)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // How the peer leaves is of no interest, hence no look at the results.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopping.cancelled(), if draining => {}
        () = refusing.cancelled(), if !draining => {
            // The first request may be on its way: who has just connected is answered like who connects from now on.
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = tokio::time::timeout(FIRST_REQUEST, asked.cancelled()) => {}
                () = stopping.cancelled() => {}
            }
            connection.as_mut().graceful_shutdown();
            let last = async {
                stopping.cancelled().await;
                tokio::time::sleep(limits.last_answer).await;
            };
            tokio::select! {
                _ = connection => {}
                () = last => {}
            }
        }
    }
}

fn set_options(stream: &TcpStream, write_timeout: Duration) {
    // Answers leave in small pieces; none of them is to wait for another.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::Drained;

    /// How long something may take that nothing delays.
    const SOON: Duration = Duration::from_secs(10);
    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// A port whose answers wait for `open`.
    struct Rig {
        address: SocketAddr,
        drain: Drain,
        open: CancellationToken,
        serving: tokio::task::JoinHandle<()>,
    }

    async fn rig(connections: usize, last_answer: Duration) -> Rig {
        let limits = Limits { connections, buffer_bytes: 16 * 1024, write_timeout: SOON, last_answer };
        let port = Port::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (address, drain, open) = (port.address(), Drain::new(), CancellationToken::new());
        let (served, opened) = (drain.clone(), open.clone());
        let serve = move |stream, _| {
            let opened = opened.clone();
            answer(stream, limits, served.clone(), move |_| {
                let opened = opened.clone();
                async move {
                    opened.cancelled().await;
                    Ok(Response::new(Body::from("ok")))
                }
            })
        };
        let serving = drain.spawn_companion("server", port.accept(limits, drain.clone(), serve));
        Rig { address, drain, open, serving }
    }

    async fn ask(rig: &Rig) -> TcpStream {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(ASKED).await.unwrap();
        stream
    }

    /// Everything until the connection is closed.
    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        // A reset ends it, too.
        let _ended = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn an_answer_under_way_is_finished_and_an_idle_connection_closed() {
        let rig = rig(8, Duration::ZERO).await;
        let (busy, idle) = (ask(&rig).await, TcpStream::connect(rig.address).await.unwrap());
        while rig.drain.running() < 2 {
            tokio::task::yield_now().await;
        }
        let draining = rig.drain.clone().run(SOON, std::future::pending());
        let callers = async {
            assert_eq!(rest(idle).await, "");
            rig.open.cancel();
            let answer = rest(busy).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
        };
        assert_eq!(tokio::join!(draining, callers).0, Drained::Clean);
        rig.serving.await.unwrap();
    }

    #[tokio::test]
    async fn who_has_connected_before_the_drain_and_asks_after_it_is_answered() {
        let rig = rig(8, Duration::ZERO).await;
        let mut late = TcpStream::connect(rig.address).await.unwrap();
        while rig.drain.running() < 1 {
            tokio::task::yield_now().await;
        }
        rig.open.cancel();
        let refusing = rig.drain.refusing();
        let draining = rig.drain.clone().run(SOON, std::future::pending());
        let caller = async {
            refusing.cancelled().await;
            late.write_all(ASKED).await.unwrap();
            let answer = rest(late).await;
            assert!(answer.ends_with("ok"), "{answer:?}");
        };
        assert_eq!(tokio::join!(draining, caller).0, Drained::Clean);
    }

    #[tokio::test]
    async fn an_answer_that_outlasts_the_grace_has_a_little_longer_or_not() {
        for (last_answer, expected) in [(SOON, Some("ok")), (Duration::ZERO, None)] {
            let rig = rig(8, last_answer).await;
            let busy = ask(&rig).await;
            while rig.drain.running() < 1 {
                tokio::task::yield_now().await;
            }
            let stopping = rig.drain.stopping();
            let draining = rig.drain.clone().run(Duration::ZERO, std::future::pending());
            let caller = async {
                stopping.cancelled().await;
                if !last_answer.is_zero() {
                    rig.open.cancel();
                }
                let answer = rest(busy).await;
                assert_eq!(answer.split_once("\r\n\r\n").map(|(_, body)| body), expected, "{answer}");
            };
            assert_eq!(tokio::join!(draining, caller).0, Drained::Stopped);
        }
    }

    #[tokio::test]
    async fn a_full_house_lets_callers_wait_and_turns_nobody_away() {
        let rig = rig(1, Duration::ZERO).await;
        let first = ask(&rig).await;
        while rig.drain.running() < 1 {
            tokio::task::yield_now().await;
        }
        let mut second = ask(&rig).await;
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(50), second.read(&mut byte)).await;
        assert!(early.is_err() && rig.drain.running() == 1, "{early:?}");
        drop(first);
        rig.open.cancel();
        tokio::time::timeout(SOON, second.read_exact(&mut byte)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let rig = rig(8, Duration::ZERO).await;
        rig.open.cancel();
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20 * 1024));
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_finishes_a_head_is_closed() {
        let rig = rig(8, Duration::ZERO).await;
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        let began = tokio::time::Instant::now();
        let mut bytes = Vec::new();
        let _ended = tokio::time::timeout(2 * HEADER_TIMEOUT, stream.read_to_end(&mut bytes)).await.unwrap();
        assert!(began.elapsed() >= HEADER_TIMEOUT, "{:?}", began.elapsed());
    }

    /// What one program takes for the end of a request, and another for its middle, is refused.
    #[tokio::test]
    async fn bodies_of_more_than_one_length_are_refused() {
        for lengths in [
            "content-length: 3\r\ncontent-length: 4\r\n",
            "content-length: 3, 4\r\n",
            "content-length: +3\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding : chunked\r\n",
        ] {
            let rig = rig(8, Duration::ZERO).await;
            rig.open.cancel();
            let mut stream = TcpStream::connect(rig.address).await.unwrap();
            let request =
                format!("POST / HTTP/1.1\r\nhost: x\r\n{lengths}\r\nabcdGET / HTTP/1.1\r\nhost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = rest(stream).await;
            assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains(" 200 "), "{lengths}: {answer}");
        }
    }
}
