//! One exchange over HTTP/1.1: a request on a connection that is idle or new, and the head of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::body::{Arriving, Outgoing, whole};
use super::connect::{Line, Outlet};
use super::error::NetworkError;
use super::pool::{Link, Origin};

/// The head of an answer, and the trailers after it.
const HEAD: usize = 64 << 10;
/// What is read of a body at once.
pub(super) const BUFFER: usize = 128 << 10;
/// Answers before the answer (100, 103) that are taken.
const INTERIM: u32 = 16;
/// What a connection may take to come to rest after the end of its last answer. A server that sends more than it
/// announced never lets it.
const REST: Duration = Duration::from_millis(100);

/// A request.
pub(super) struct Ask {
    pub(super) origin: Origin,
    pub(super) method: Method,
    /// Path and query alone.
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
}

/// The body of a request.
pub(super) enum Payload {
    Whole(Bytes),
    /// Can be sent once, so it gets a new connection, which is not stale.
    Stream(Outgoing),
}

/// An exchange that failed.
struct Failure {
    error: NetworkError,
    /// Not a byte of the request was sent.
    unsent: bool,
}

impl Outlet {
    /// Sends a request and waits for the head of its answer. A connection that turns out to be stale is replaced once,
    /// where that cannot make anything happen twice.
    pub(super) async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Response<Arriving>, NetworkError> {
        let Ask { origin, method, uri, headers, payload } = ask;
        let head = |body| {
            let mut request = Request::new(body);
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            request
        };
        let bytes = match payload {
            Payload::Stream(body) => {
                let link = self.link(&origin).await?;
                return self.exchange(link, head(body)).await.map_err(|failure| failure.error);
            }
            Payload::Whole(bytes) => bytes,
        };
        if let Some(link) = self.idle(&origin).await {
            match self.exchange(link, head(whole(bytes.clone()))).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.may_repeat(&method) => {}
                Err(failure) => return Err(failure.error),
            }
        }
        let link = self.link(&origin).await?;
        self.exchange(link, head(whole(bytes))).await.map_err(|failure| failure.error)
    }

    /// A connection that is idle and still good, as far as one can see.
    async fn idle(&self, origin: &Origin) -> Option<Link> {
        loop {
            let mut link = self.pool().take(origin)?;
            if let Ok(Ok(())) = timeout(REST, link.sender.ready()).await {
                return Some(link);
            }
        }
    }

    /// A new connection.
    async fn link(&self, origin: &Origin) -> Result<Link, NetworkError> {
        let Line { stream, slot } = self.connect(&origin.target, origin.tls.as_ref()).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER).max_header_size(HEAD);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(NetworkError::of_exchange)?;
        self.pool().drive(async move {
            // How it ends is told to whoever waits for an answer.
            drop(connection.await);
            drop(slot);
        });
        Ok(Link { origin: origin.clone(), sender })
    }

    async fn exchange(
        self: &Arc<Self>,
        mut link: Link,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Arriving>, Failure> {
        let flooded = watch_interim(&mut request);
        let answer = tokio::select! {
            biased;
            () = flooded.notified() => return Err(Failure { error: NetworkError::Flood, unsent: false }),
            answer = link.sender.try_send_request(request) => answer,
        };
        let mut answer = answer.map_err(|failed| Failure {
            unsent: failed.message().is_some(),
            error: NetworkError::of_exchange(failed.into_error()),
        })?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure { error: NetworkError::Upgrade, unsent: false });
        }
        let headers = self.held().headers(answer.headers());
        *answer.headers_mut() = headers.map_err(|error| Failure { error, unsent: false })?;
        Ok(answer.map(|incoming| Arriving::new(incoming, Arc::clone(self), link)))
    }
}

impl Failure {
    /// A connection that was closed while it was idle looks like one that breaks before the answer.
    fn may_repeat(&self, method: &Method) -> bool {
        self.unsent || (method.is_idempotent() && matches!(self.error, NetworkError::Lost(_)))
    }
}

/// Tells when a server sends interim answers without end.
fn watch_interim(request: &mut Request<Outgoing>) -> Arc<Notify> {
    let flooded = Arc::new(Notify::new());
    let (seen, tell) = (AtomicU32::new(0), Arc::clone(&flooded));
    hyper::ext::on_informational(request, move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) == INTERIM {
            tell.notify_one();
        }
    });
    flooded
}
