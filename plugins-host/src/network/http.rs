//! Requests and answers: the interface `http`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use tokio::time::timeout;
use url::Url;
use wasmtime::component::Resource;

use super::body::Arriving;
use super::connect::{Outlet, Target};
use super::error::NetworkError;
use super::host::Host;
use super::pool::Origin;
use super::request::{Ask, Payload};
use super::tls::Choice;
use crate::bindings::{http, types};
use crate::call::CallState;
use crate::state::State;

/// Bytes of a URL.
const URL: usize = 16 << 10;
/// Headers of a request, and the bytes of their names and values.
const HEADERS: usize = 100;
const HEADER_BYTES: usize = 64 << 10;
/// What one read hands over at the most.
const READ: usize = 256 << 10;
/// What requests are from, where a plugin does not say.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("semilayer-runner/", env!("CARGO_PKG_VERSION")));

/// An answer whose body is still to be read.
#[expect(unreachable_pub, reason = "the bindings re-export it with what is theirs")]
pub struct Response {
    status: u16,
    headers: HeaderMap,
    /// Nothing once it has ended or failed.
    body: Option<Arriving>,
    /// What has arrived and was more than the guest wanted.
    rest: Bytes,
}

impl Response {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn to(
        request: http::Request,
        outlet: &Arc<Outlet>,
        call: &CallState,
    ) -> Result<Self, NetworkError> {
        let limit = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let ask = ask_of(request)?;
        let work = async {
            match limit {
                Some(limit) => timeout(limit, outlet.ask(ask)).await.map_err(|_| NetworkError::Late)?,
                None => outlet.ask(ask).await,
            }
        };
        let (head, body) = call.bounded(work).await??.into_parts();
        Ok(Self { status: head.status.as_u16(), headers: head.headers, body: Some(body), rest: Bytes::new() })
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// In lower case; without values that are not UTF-8.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| str::from_utf8(value.as_bytes()).ok().map(str::to_owned);
        let pairs = self.headers.iter();
        pairs.filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect()
    }

    /// The next bytes of the body, none at its end. Nothing is lost when it is given up.
    pub(super) async fn read(&mut self, call: &CallState, most: u32) -> Result<Vec<u8>, NetworkError> {
        let most = usize::try_from(most).unwrap_or(READ).min(READ);
        if most == 0 {
            return Err(NetworkError::invalid("max-bytes", "at least 1"));
        }
        while self.rest.is_empty() {
            let Some(body) = &mut self.body else { return Ok(Vec::new()) };
            match call.bounded(body.frame()).await? {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    self.body = None;
                    return Err(error);
                }
                None => self.body = None,
            }
        }
        Ok(self.rest.copy_to_bytes(most.min(self.rest.len())).into())
    }
}

/// Reads a guest's request.
fn ask_of(request: http::Request) -> Result<Ask, NetworkError> {
    let url = parse_url(&request.url)?;
    let tls = match (url.scheme(), request.tls) {
        ("https", Some(options)) => Some(Choice::http_with(options)?),
        ("https", None) => Some(Choice::http()),
        (_, Some(_)) => return Err(NetworkError::invalid("tls", "nothing for a URL that is not https")),
        (_, None) => None,
    };
    let host = Host::of_url(&url).ok_or(WRONG_URL)?;
    let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(WRONG_URL)?;
    let method = parse_method(&request.method)?;
    let mut headers = parse_headers(&request.headers)?;
    complete(&mut headers, &url, &host)?;
    let empty = request.body.as_ref().is_none_or(Vec::is_empty);
    if empty && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(Ask {
        origin: Origin { target: Target { host, port }, tls },
        method,
        uri: path_of(&url)?,
        headers,
        payload: Payload::Whole(request.body.unwrap_or_default().into()),
    })
}

const WRONG_URL: NetworkError = NetworkError::Invalid {
    field: "url",
    expected: "an absolute http or https URL without user and fragment",
};

/// The parser of URLs forgives line breaks, spaces, backslashes and missing hosts; a URL that was put together from parts
/// must not have them.
fn parse_url(text: &str) -> Result<Url, NetworkError> {
    if text.len() > URL {
        return Err(NetworkError::invalid("url", "at most 16 KiB"));
    }
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    let has_host = text.split_once("://").is_some_and(|(_, rest)| !rest.starts_with('/'));
    if !has_host || text.contains(odd) {
        return Err(WRONG_URL);
    }
    let url = Url::parse(text).map_err(|_| WRONG_URL)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if plain && matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(WRONG_URL) }
}

fn path_of(url: &Url) -> Result<Uri, NetworkError> {
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Uri::builder().path_and_query(path).build().map_err(|_| WRONG_URL)
}

fn parse_method(text: &str) -> Result<Method, NetworkError> {
    Method::from_bytes(text.as_bytes()).map_err(|_| WRONG_METHOD).and_then(permitted)
}

/// `CONNECT` would make a proxy's tunnel, to wherever.
pub(super) fn permitted(method: Method) -> Result<Method, NetworkError> {
    let usual = method != Method::CONNECT && method.as_str().len() <= 32;
    if usual { Ok(method) } else { Err(WRONG_METHOD) }
}

const WRONG_METHOD: NetworkError =
    NetworkError::Invalid { field: "method", expected: "the name of a method other than CONNECT" };

fn parse_headers(given: &[(String, String)]) -> Result<HeaderMap, NetworkError> {
    let bytes = given
        .iter()
        .fold(0_usize, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()));
    if given.len() > HEADERS || bytes > HEADER_BYTES {
        return Err(NetworkError::invalid("headers", "at most 100, of at most 64 KiB together"));
    }
    let mut headers = HeaderMap::with_capacity(given.len().saturating_add(4));
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|_| NetworkError::invalid("headers", "names that HTTP has"))?;
        if is_ours(&name) {
            return Err(NetworkError::invalid(
                "headers",
                "none that the runner writes itself, such as host or connection",
            ));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            NetworkError::invalid("headers", "values without line breaks and control characters")
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// What says where a message ends and what becomes of the connection, which is the runner's business.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 13] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    OURS.contains(&name.as_str())
}

/// Adds what every request has.
fn complete(headers: &mut HeaderMap, url: &Url, host: &Host) -> Result<(), NetworkError> {
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    headers.insert(header::HOST, HeaderValue::try_from(authority).map_err(|_| WRONG_URL)?);
    headers.entry(header::USER_AGENT).or_insert(AGENT);
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    // Nobody here unpacks anything, unless the guest says so.
    headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    Ok(())
}

/// What a host function answers: the outer failure is a trap.
type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

impl http::Host for State {
    async fn send(&mut self, request: http::Request) -> Answer<Resource<Response>> {
        match Response::to(request, &self.network.outlet, &self.call).await {
            Ok(response) => Ok(Ok(self.table.push(response)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl http::HostResponse for State {
    async fn status(&mut self, response: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status())
    }

    async fn headers(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.table.get(&response)?.headers())
    }

    async fn read(&mut self, response: Resource<Response>, max_bytes: u32) -> Answer<Vec<u8>> {
        let read = self.table.get_mut(&response)?.read(&self.call, max_bytes).await;
        Ok(read.map_err(Into::into))
    }

    async fn drop(&mut self, response: Resource<Response>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}
