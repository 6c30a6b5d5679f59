//! One connection: TCP, TLS where it is asked for, HTTP/1.1.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_net::{IpFamily, Socket, TlsClient, connect_tcp, resolve};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::request::{Question, body_of, path_of};
use crate::config::{Settings, Tls};
use crate::error::{CertificateError, Exception, RequestError};

/// A refusal, or an answer of ours, is not longer than this.
const TEXT_LIMIT: usize = 1024 * 1024;
/// What is read from the socket at once, at most.
const READ_BUFFER: usize = 512 * 1024;

/// Opens connections and writes requests for one source.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<TlsClient>,
    timeout: Duration,
    database: String,
    /// Who asks. Marked as secret, so that nothing prints it.
    credentials: Vec<(HeaderName, HeaderValue)>,
    host_header: HeaderValue,
}

type Driven = Option<Pin<Box<Connection<TokioIo<Box<dyn Socket>>, Full<Bytes>>>>>;

/// A connection, driven by whoever waits on it.
pub(crate) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// Nothing once it has ended.
    connection: Driven,
}

impl Connector {
    /// Reads what the settings name.
    pub(super) async fn load(settings: &Settings) -> Result<Self, CertificateError> {
        let tls = match &settings.tls {
            Some(tls) => Some(tls_client(tls, &settings.host).await?),
            None => None,
        };
        let host = match settings.host.contains(':') {
            true => format!("[{}]:{}", settings.host, settings.port),
            false => format!("{}:{}", settings.host, settings.port),
        };
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            tls,
            timeout: settings.connect_timeout,
            database: settings.database.clone(),
            credentials: credentials(settings),
            host_header: HeaderValue::try_from(host).map_err(|_| CertificateError::Name)?,
        })
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Link, RequestError> {
        timeout(self.timeout, self.open()).await.map_err(|_| RequestError::Silent)?
    }

    async fn open(&self) -> Result<Link, RequestError> {
        let addresses = resolve(&self.host, self.port, IpFamily::Any).await.map_err(RequestError::Dns)?;
        let mut last = RequestError::Silent;
        for address in addresses {
            match connect_tcp(address).await {
                Ok(stream) => return self.greet(stream).await,
                Err(error) => last = RequestError::Connect(error),
            }
        }
        Err(last)
    }

    async fn greet(&self, stream: TcpStream) -> Result<Link, RequestError> {
        let stream: Box<dyn Socket> = match &self.tls {
            Some(client) => Box::new(client.connect(stream).await.map_err(RequestError::Tls)?),
            None => Box::new(stream),
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(RequestError::Lost)?;
        Ok(Link { sender, connection: Some(Box::pin(connection)) })
    }

    /// The request that asks `question`.
    pub(super) fn request(&self, question: &Question<'_>) -> Request<Full<Bytes>> {
        let (kind, body) = body_of(question);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = hyper::Method::POST;
        // Made of what is percent-encoded, so it is a path.
        if let Ok(path) = path_of(question, &self.database).parse() {
            *request.uri_mut() = path;
        }
        let headers = request.headers_mut();
        headers.insert(hyper::header::HOST, self.host_header.clone());
        headers.insert(hyper::header::USER_AGENT, HeaderValue::from_static(crate::AGENT));
        headers.extend(self.credentials.iter().cloned());
        if let Ok(kind) = HeaderValue::try_from(kind) {
            headers.insert(hyper::header::CONTENT_TYPE, kind);
        }
        request
    }
}

async fn tls_client(tls: &Tls, host: &str) -> Result<TlsClient, CertificateError> {
    let config = bridge_net::client_config(tls.check, &tls.roots, tls.identity.as_ref()).await?;
    Ok(TlsClient::new(Arc::new(config), host)?)
}

/// With a certificate and no password, the certificate says who asks.
fn credentials(settings: &Settings) -> Vec<(HeaderName, HeaderValue)> {
    let by_certificate = settings.password.expose().is_empty()
        && settings.tls.as_ref().is_some_and(|tls| tls.identity.is_some());
    let mut headers = Vec::new();
    if by_certificate {
        let on = HeaderValue::from_static("on");
        headers.push((HeaderName::from_static("x-clickhouse-ssl-certificate-auth"), on));
        if let Ok(user) = HeaderValue::from_bytes(settings.user.as_bytes()) {
            headers.push((HeaderName::from_static("x-clickhouse-user"), user));
        }
        return headers;
    }
    let pair = STANDARD.encode(format!("{}:{}", settings.user, settings.password.expose()));
    if let Ok(mut value) = HeaderValue::try_from(format!("Basic {pair}")) {
        value.set_sensitive(true);
        headers.push((hyper::header::AUTHORIZATION, value));
    }
    headers
}

impl Link {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, RequestError> {
        let answer = self.sender.send_request(request);
        drive(&mut self.connection, answer).await.map_err(RequestError::Lost)
    }

    /// Waits for `work` on this connection.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> T {
        drive(&mut self.connection, work).await
    }

    /// Asks something of ours and takes the whole answer.
    pub(super) async fn text(&mut self, connector: &Connector, sql: &str) -> Result<String, RequestError> {
        let response = self.send(connector.request(&Question::plain(sql))).await?;
        let status = response.status();
        let body = self.whole(response.into_body()).await?;
        match status.is_success() {
            true => Ok(String::from_utf8_lossy(&body).into_owned()),
            false => Err(Exception::read(&body, Some(status.as_u16())).into()),
        }
    }

    /// The whole of a body that is short.
    pub(super) async fn whole(&mut self, body: Incoming) -> Result<Bytes, RequestError> {
        let collected = self.wait(Limited::new(body, TEXT_LIMIT).collect()).await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(lost) => RequestError::Lost(*lost),
                Err(_) => RequestError::Nonsense("a refusal that does not end"),
            }
        })
    }

    /// Whether the server has not closed it; looks without waiting.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let ended = match &mut self.connection {
            Some(connection) => connection.as_mut().poll(&mut context).is_ready(),
            None => true,
        };
        if ended {
            self.connection = None;
        }
        !ended && self.sender.is_ready()
    }
}

/// Polls the connection together with what waits for it: bytes move only while somebody wants them.
async fn drive<T>(connection: &mut Driven, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        // How it ended is told to the work.
        if let Some(running) = connection
            && running.as_mut().poll(context).is_ready()
        {
            *connection = None;
        }
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        // What the work has just asked for is begun at once.
        if let Some(running) = connection
            && running.as_mut().poll(context).is_ready()
        {
            *connection = None;
            return work.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}
