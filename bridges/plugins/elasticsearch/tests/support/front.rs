//! A front as operators put one before a cluster: it ends TLS, asks who is there, and hands what it lets through to a real
//! server. It answers by itself what that server cannot be brought to say.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, crypto};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The user that may come in, and the one that comes in and may do nothing.
pub(crate) const USER: (&str, &str) = ("app", "pw!se:cret/ä");
pub(crate) const STRANGER: (&str, &str) = ("stranger", "other-pw!secret");
/// The key that may come in.
pub(crate) const KEY: (&str, &str) = ("key-id-7", "key-se-cret");

/// An authority that nobody knows.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// PEM of a certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
    chain: rustls_pki_types::CertificateDer<'static>,
    secret: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of a host, by name or address.
    pub(crate) fn identity(&self, host: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            chain: certificate.der().clone(),
            secret: key.serialize_der(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// An answer of the front itself, to a search.
pub(crate) enum Answer {
    Status(u16, &'static [(&'static str, &'static str)], Json),
    /// The connection stays open, and nothing comes.
    Silence,
}

/// A running front; it ends with the test.
pub(crate) struct Front {
    scheme: &'static str,
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    upstream: u16,
    asks_who: bool,
    answers: Mutex<VecDeque<Answer>>,
    /// Paths that were let through to the server or answered.
    log: Mutex<Vec<String>>,
}

impl Front {
    /// One without TLS and without logins.
    pub(crate) async fn plain(upstream: u16) -> Self {
        Self::start("http", upstream, None, false).await
    }

    /// One with TLS and logins. With `clients`, it wants a certificate of that authority.
    pub(crate) async fn secured(upstream: u16, identity: &Identity, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(identity.secret.clone()).unwrap();
        let config = builder.with_single_cert(vec![identity.chain.clone()], key).unwrap();
        Self::start("https", upstream, Some(TlsAcceptor::from(Arc::new(config))), true).await
    }

    async fn start(scheme: &'static str, upstream: u16, tls: Option<TlsAcceptor>, asks_who: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared =
            Arc::new(Shared { upstream, asks_who, answers: Mutex::default(), log: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { scheme, port, shared, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(self.scheme)
    }

    /// The same address by another scheme.
    pub(crate) fn url_of(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// What the next searches are answered; those after them go to the server.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.answers.lock().unwrap().extend(answers);
    }

    /// Leaves out the answers that nobody has come for.
    pub(crate) fn forget(&self) {
        self.shared.answers.lock().unwrap().clear();
    }

    /// The paths that somebody who was let in has asked for.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, shared).await;
                    }
                }
                None => serve(stream, shared).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // A client that goes away in the middle is no matter of the front's.
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    match shared.asks_who.then(|| login(authorization)) {
        Some(Login::Unknown) => {
            let mut answer = told(401, &security("unable to authenticate with provided credentials", 401));
            answer.headers_mut().insert("www-authenticate", "Basic realm=\"security\"".parse().unwrap());
            return answer;
        }
        Some(Login::Stranger) if request.uri().path() != "/" => {
            let reason = "action [indices:data/read/search] is unauthorized for user [stranger]";
            return told(403, &security(reason, 403));
        }
        Some(Login::Known | Login::Stranger) | None => {}
    }
    shared.log.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
    let is_search = request.uri().path().ends_with("/_search");
    let own = if is_search { shared.answers.lock().unwrap().pop_front() } else { None };
    match own {
        Some(Answer::Status(status, headers, body)) => {
            let mut answer = told(status, &body);
            for (name, value) in headers {
                answer.headers_mut().insert(*name, value.parse().unwrap());
            }
            answer
        }
        Some(Answer::Silence) => std::future::pending().await,
        None => forward(request, shared.upstream).await,
    }
}

enum Login {
    Known,
    Stranger,
    Unknown,
}

fn login(authorization: Option<&str>) -> Login {
    let pair = |(name, secret): (&str, &str)| STANDARD.encode(format!("{name}:{secret}"));
    match authorization.and_then(|header| header.split_once(' ')) {
        Some(("Basic", given)) if given == pair(USER) => Login::Known,
        Some(("Basic", given)) if given == pair(STRANGER) => Login::Stranger,
        Some(("ApiKey", given)) if given == pair(KEY) => Login::Known,
        _ => Login::Unknown,
    }
}

/// The body of Elasticsearch's refusals, as its reference has it.
fn security(reason: &str, status: u16) -> Json {
    let cause = json!({"type": "security_exception", "reason": reason});
    json!({"error": {"root_cause": [cause], "type": "security_exception", "reason": reason}, "status": status})
}

fn told(status: u16, body: &Json) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

async fn forward(request: Request<Incoming>, upstream: u16) -> Response<Full<Bytes>> {
    let stream = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Incoming>(TokioIo::new(stream)).await.unwrap();
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, Full::from(body))
}
