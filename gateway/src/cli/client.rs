//! One request to a running gateway: every command makes one or two, so each has a connection of its own.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::Secret;
use runtime::dial::{Dialer, Proxies};
use runtime::settings::{Key, Reader, Source};
use runtime::terminal::complain;
use runtime::tls::ClientTls;
use serde_json::Value;
use tokio::time::Instant;
use url::{Host, Url};

use super::RemoteFlags;
use super::error::CliError;
use crate::token::{EXPECTED_TOKEN, is_token};

const EXPECTED_URL: &str =
    "the gateway's http or https URL, without user, query or route: http://127.0.0.1:8787";
/// Routes of the gateway that people may have copied from elsewhere.
const ROUTES: [&str; 5] = ["/api", "/connect", "/docs", "/v1", "/health"];
const TOKEN_NAME: &str = "SEMILAYER_ADMIN_TOKEN";
const DEFAULT_URL: &str = "http://127.0.0.1:8787";
/// A source's test may take as long as its timeout.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// What may stand in a path as it is (RFC 3986, unreserved).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A running gateway and the token that opens it.
pub(super) struct Client {
    url: Url,
    token: Secret,
    dialer: Dialer,
}

impl Client {
    /// Reads flags and environment.
    pub(super) fn load(flags: &RemoteFlags, source: &dyn Source) -> Result<Self, CliError> {
        let mut reader = Reader::new(source);
        let url_key = Key::env("SEMILAYER_GATEWAY_API").flag("--url", flags.url.clone());
        let url = reader.parsed_by(url_key, EXPECTED_URL, parse_url);
        let token = reader.secret(TOKEN_NAME);
        match &token {
            None => reader.mistake(
                TOKEN_NAME,
                "is required, or SEMILAYER_ADMIN_TOKEN_FILE: `serve` printed the token on its first start",
            ),
            Some(token) if !is_token(token) => reader.mistake(TOKEN_NAME, EXPECTED_TOKEN),
            Some(_) => {}
        }
        let ca_key = Key::env("SEMILAYER_CA_FILE").flag("--ca-file", flags.ca_file.clone());
        let ca_file = reader.text(ca_key).map(PathBuf::from);
        let ssl_cert_file = reader.text("SSL_CERT_FILE").map(PathBuf::from);
        let proxies = Proxies::load(&mut reader);
        for warning in reader.finish()? {
            complain(&warning);
        }
        let url = match url {
            Some(url) => url,
            None => Url::parse(DEFAULT_URL).map_err(|error| CliError::Argument(error.to_string()))?,
        };
        if url.scheme() == "http" && !is_this_machine(&url) {
            complain(&"warning: the admin token crosses the network in the clear; use https");
        }
        let tls = ClientTls::load(ca_file.as_deref(), ssl_cert_file.as_deref())?;
        // No proxy leads back to this machine.
        let proxies = if is_this_machine(&url) { Proxies::none() } else { proxies };
        Ok(Self { url, token: token.unwrap_or_default(), dialer: Dialer::new(tls, proxies) })
    }

    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, CliError> {
        self.send(Method::GET, path, None).await
    }

    /// A list with those of the parameters that are there.
    pub(super) async fn find(
        &self,
        path: &[&str],
        parameters: &[(&str, Option<&str>)],
    ) -> Result<Value, CliError> {
        let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        let pairs: Vec<String> =
            given.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, PATH))).collect();
        let mut target = self.target(path);
        if !pairs.is_empty() {
            target = format!("{target}?{}", pairs.join("&"));
        }
        self.answer(self.request(Method::GET, target, None)?).await
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, CliError> {
        self.send(Method::POST, path, Some(("application/json", body.to_string()))).await
    }

    /// Sends a request and reads the answer, JSON or nothing. A refusal is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<(&str, String)>,
    ) -> Result<Value, CliError> {
        self.answer(self.request(method, self.target(path), body)?).await
    }

    /// Sends a request and hands on the events of the answer as they come, each with its name and its JSON. A refusal is an
    /// error.
    pub(super) async fn events(
        &self,
        path: &[&str],
        body: &Value,
        mut on: impl FnMut(&str, Value) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut request =
            self.request(Method::POST, self.target(path), Some(("application/json", body.to_string())))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let stream = self.dialer.dial(&self.url, Instant::now() + DIAL_TIMEOUT).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = in_time(sender.send_request(request)).await??;
            let status = response.status();
            let mut body = response.into_body();
            if !status.is_success() {
                let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|_| CliError::NotOurs)?;
                return Err(refused(status.as_u16(), &body.to_bytes()));
            }
            let mut events = Events::default();
            // The gateway is never silent for long, whatever the command does.
            while let Some(frame) = in_time(body.frame()).await? {
                events.push(frame?.data_ref().map_or(b"".as_slice(), |data| data))?;
                while let Some((name, data)) = events.next()? {
                    on(&name, data)?;
                }
            }
            Ok(())
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = answer.as_mut() => answer,
            _ = connection => answer.await,
        }
    }

    /// The route that these segments are.
    fn target(&self, path: &[&str]) -> String {
        let segments = path.iter().map(|segment| utf8_percent_encode(segment, PATH).to_string());
        let base = self.url.path().trim_end_matches('/');
        format!("{base}/api/{}", segments.collect::<Vec<_>>().join("/"))
    }

    fn request(
        &self,
        method: Method,
        target: String,
        body: Option<(&str, String)>,
    ) -> Result<Request<Full<Bytes>>, CliError> {
        let host = self.url.host_str().unwrap_or_default();
        let host = self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose()));
        let (kind, text) = body.unzip();
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        // The token has been looked at; only a strange URL gets here with a mistake.
        request
            .body(Full::new(Bytes::from(text.unwrap_or_default())))
            .map_err(|_| CliError::Argument("the URL has characters that no request can carry".to_owned()))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Value, CliError> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request)).await.map_err(|_| CliError::TimedOut)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Value, CliError> {
        let stream = self.dialer.dial(&self.url, Instant::now() + DIAL_TIMEOUT).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            Ok::<_, CliError>((status, body.map_err(|_| CliError::NotOurs)?.to_bytes()))
        };
        let mut answer = std::pin::pin!(answer);
        // The connection moves the bytes; it ends before the answer only when it fails.
        let (status, bytes) = tokio::select! {
            answer = answer.as_mut() => answer,
            _ = connection => answer.await,
        }?;
        let body = match bytes.as_ref() {
            b"" => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|_| CliError::NotOurs)?,
        };
        if status.is_success() { Ok(body) } else { Err(CliError::Refused { status: status.as_u16(), body }) }
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    tokio::time::timeout(ANSWER_TIMEOUT, work).await.map_err(|_| CliError::TimedOut)
}

fn refused(status: u16, body: &[u8]) -> CliError {
    match serde_json::from_slice(body) {
        Ok(body) => CliError::Refused { status, body },
        Err(_) => CliError::NotOurs,
    }
}

/// Server-sent events out of the pieces in which they come.
#[derive(Default)]
struct Events {
    read: Vec<u8>,
    /// Bytes in which no event ends, so that a long one is not looked through again with each piece.
    searched: usize,
}

impl Events {
    fn push(&mut self, piece: &[u8]) -> Result<(), CliError> {
        if self.read.len() + piece.len() > ANSWER_LIMIT {
            return Err(CliError::NotOurs);
        }
        self.read.extend_from_slice(piece);
        Ok(())
    }

    /// The next whole event; comments are passed over.
    fn next(&mut self) -> Result<Option<(String, Value)>, CliError> {
        while let Some(end) = self.end() {
            let event: Vec<u8> = self.read.drain(..end).collect();
            self.searched = 0;
            let event = std::str::from_utf8(&event).map_err(|_| CliError::NotOurs)?;
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                return Ok(Some((
                    name.to_owned(),
                    serde_json::from_str(data).map_err(|_| CliError::NotOurs)?,
                )));
            }
        }
        Ok(None)
    }

    /// Where the first event ends, if it is whole.
    fn end(&mut self) -> Option<usize> {
        let rest = self.read.get(self.searched..)?;
        match rest.windows(2).position(|pair| pair == b"\n\n") {
            Some(at) => Some(self.searched + at + 2),
            None => {
                self.searched = self.read.len().saturating_sub(1);
                None
            }
        }
    }
}

fn parse_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let path = url.path().trim_end_matches('/');
    let is_route = ROUTES.iter().any(|route| path.ends_with(route));
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && !is_route;
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare).then_some(url)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let stream =
            "event: chunk\ndata: {\"data\":\"ä\\n\"}\n\n: still running\n\nevent: done\ndata: {}\n\n";
        for size in 1..stream.len() {
            let (mut events, mut read) = (Events::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                events.push(piece).unwrap();
                while let Some((name, data)) = events.next().unwrap() {
                    read.push(format!("{name} {data}"));
                }
            }
            assert_eq!(read, ["chunk {\"data\":\"ä\\n\"}", "done {}"], "{size}");
        }
        let mut events = Events::default();
        events.push(b"event: chunk\ndata: {\n\n").unwrap();
        assert!(events.next().is_err());
    }

    #[test]
    fn the_url_is_the_gateways_and_none_of_its_routes() {
        for good in ["http://127.0.0.1:8787", "https://gateway.example/", "https://example.org/semilayer/"] {
            assert!(parse_url(good).is_some(), "{good}");
        }
        for bad in [
            "127.0.0.1:8787",
            "ws://127.0.0.1:8787/connect",
            "http://127.0.0.1:8787/api/",
            "https://example.org/semilayer/v1",
            "http://ak_x@127.0.0.1:8787",
            "http://127.0.0.1:8787?token=x",
        ] {
            assert!(parse_url(bad).is_none(), "{bad}");
        }
    }
}
