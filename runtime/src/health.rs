//! The health port: whether the process lives, whether it can work, what it is doing.
//!
//! The server is a companion of the work: it answers while the daemon drains, so that `/ready` can say so, and ends
//! when the work has ended. Requests carry no body that anyone reads; header size, header time, connection count and
//! connection lifetime are bounded, since a health port may be reachable by more than the one who probes it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Drain;
use crate::error::HealthError;
use crate::metrics;

const HEADER_LIMIT_BYTES: usize = 16 * 1024;
/// Also how long a kept connection may be idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_LIMIT: usize = 64;
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// How long an answer that is under way may take at shutdown.
const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Pause after a failed accept, which means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a daemon tells about itself. Called for each request, so answers are cheap and do not block.
pub trait Health: Send + Sync + 'static {
    /// Whether work can be done now, and the JSON that says so.
    fn ready(&self) -> Readiness;

    /// What the daemon is doing. No secrets.
    fn status(&self) -> Value;

    /// The metrics as [`Metrics::encode`](metrics::Metrics::encode) makes them.
    fn metrics(&self) -> String;
}

/// The answer of `/ready`.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// Decides between 200 and 503.
    pub ready: bool,
    /// The body.
    pub body: Value,
}

/// The health server before it listens.
#[derive(Clone, Copy, Debug)]
pub struct HealthServer;

/// A health server that listens and does not answer yet.
#[derive(Debug)]
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl HealthServer {
    /// Listens on `address`; port 0 takes any free port.
    pub async fn bind(address: SocketAddr, health: Arc<dyn Health>) -> Result<BoundServer, HealthError> {
        let failed = |source| HealthError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(BoundServer { listener, address, router: router(health) })
    }
}

impl BoundServer {
    /// The address with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until all work of `drain` has ended.
    pub fn serve(self, drain: &Drain) -> JoinHandle<()> {
        drain.spawn_companion("health", accept(self.listener, self.router, drain.clone()))
    }
}

/// The routes `/health`, `/ready`, `/metrics` and `/status`, for a daemon that serves them beside its own.
pub fn router(health: Arc<dyn Health>) -> Router {
    Router::new()
        .route("/health", get(async || Json(json!({"ok": true}))))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/status", get(async |State(health): State<Arc<dyn Health>>| Json(health.status())))
        .fallback(async || refusal(StatusCode::NOT_FOUND, "no such route", "not_found"))
        .method_not_allowed_fallback(async || {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here", "method_not_allowed")
        })
        .with_state(health)
}

async fn ready(State(health): State<Arc<dyn Health>>) -> Response {
    let Readiness { ready, body } = health.ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn metrics_text(State(health): State<Arc<dyn Health>>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], health.metrics()).into_response()
}

fn refusal(status: StatusCode, message: &str, code: &str) -> Response {
    (status, Json(json!({"error": message, "code": code}))).into_response()
}

async fn accept(listener: TcpListener, router: Router, drain: Drain) {
    let slots = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    let stopping = drain.stopping();
    while let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Above the limit the connection is closed rather than queued: a probe should fail fast.
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            let (router, stopping) = (router.clone(), stopping.clone());
            drain.spawn_companion("health connection", async move {
                answer(stream, router, stopping).await;
                drop(slot);
            });
        }
    }
}

async fn answer(stream: TcpStream, router: Router, stopping: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LIMIT_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // How the peer leaves is of no interest, hence no look at the results.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = tokio::time::sleep(CONNECTION_LIFETIME) => {}
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(tokio::time::timeout(LAST_ANSWER_LIMIT, connection).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::Drained;

    #[derive(Default)]
    struct Daemon {
        ready: AtomicBool,
    }

    impl Health for Daemon {
        fn ready(&self) -> Readiness {
            let ready = self.ready.load(Ordering::SeqCst);
            Readiness { ready, body: json!({"status": if ready { "ready" } else { "draining" }}) }
        }

        fn status(&self) -> Value {
            json!({"jobs": 3})
        }

        fn metrics(&self) -> String {
            "up 1\n# EOF\n".to_owned()
        }
    }

    async fn start(daemon: &Arc<Daemon>) -> (SocketAddr, Drain) {
        let drain = Drain::new();
        let server = HealthServer::bind(([127, 0, 0, 1], 0).into(), daemon.clone()).await.unwrap();
        let address = server.local_addr();
        server.serve(&drain);
        (address, drain)
    }

    /// Sends one request and answers all bytes until the server closes.
    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A server that closes with unread input may reset the connection after its answer.
        drop(stream.read_to_string(&mut answer).await);
        answer
    }

    async fn get(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = exchange(address, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn the_four_routes_answer() {
        let daemon = Arc::new(Daemon::default());
        let (address, _drain) = start(&daemon).await;
        assert_eq!(get(address, "GET", "/health").await, (200, r#"{"ok":true}"#.to_owned()));
        assert_eq!(get(address, "GET", "/ready").await, (503, r#"{"status":"draining"}"#.to_owned()));
        daemon.ready.store(true, Ordering::SeqCst);
        assert_eq!(get(address, "GET", "/ready").await, (200, r#"{"status":"ready"}"#.to_owned()));
        assert_eq!(get(address, "GET", "/metrics").await, (200, "up 1\n# EOF\n".to_owned()));
        assert_eq!(get(address, "GET", "/status").await, (200, r#"{"jobs":3}"#.to_owned()));
        assert_eq!(get(address, "HEAD", "/health").await, (200, String::new()));
    }

    #[tokio::test]
    async fn other_routes_and_methods_get_the_error_envelope() {
        let (address, _drain) = start(&Arc::new(Daemon::default())).await;
        let (status, body) = get(address, "GET", "/secrets").await;
        assert_eq!((status, body.as_str()), (404, r#"{"code":"not_found","error":"no such route"}"#));
        let (status, body) = get(address, "POST", "/health").await;
        assert_eq!(status, 405);
        assert!(body.contains(r#""code":"method_not_allowed""#), "{body}");
    }

    #[tokio::test]
    async fn a_header_that_is_too_large_is_refused() {
        let (address, _drain) = start(&Arc::new(Daemon::default())).await;
        let request = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * HEADER_LIMIT_BYTES));
        let answer = exchange(address, &request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_cut_off() {
        let (address, _drain) = start(&Arc::new(Daemon::default())).await;
        let started = tokio::time::Instant::now();
        let answer = exchange(address, "GET /health HTTP/1.1\r\nHost:").await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(started.elapsed() >= HEADER_TIMEOUT && started.elapsed() < CONNECTION_LIFETIME);
    }

    #[tokio::test]
    async fn readiness_can_be_asked_while_draining_and_the_server_ends_with_the_work() {
        let (address, drain) = start(&Arc::new(Daemon::default())).await;
        let asked = drain.spawn("work", {
            let refusing = drain.refusing();
            async move {
                refusing.cancelled().await;
                get(address, "GET", "/ready").await.0
            }
        });
        // A kept connection must not hold up the end.
        let _kept = TcpStream::connect(address).await.unwrap();
        assert_eq!(drain.run(Duration::from_secs(30), std::future::pending()).await, Drained::Clean);
        assert_eq!(asked.await.unwrap(), 503);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
