//! What lies before every handler: an id for the request, the token, and no new work once the server is about to stop.
//!
//! The token is looked at before anything of a body is read. Without one the server is for this machine alone, and then a
//! request must name this machine, and come from no page that a browser has loaded from elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use runtime::body::discard;
use runtime::{Drain, Secret};
use tracing::Instrument as _;

use super::refusal::Refusal;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who may pass. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    /// SHA-256 of the token.
    token: Option<Vec<u8>>,
    /// Whether requests must name this machine.
    only_here: bool,
    drain: Drain,
}

impl Gate {
    /// With a token, only who has it may pass; without one and `only_here`, only who names this machine.
    pub(crate) fn new(token: Option<&Secret>, only_here: bool, drain: &Drain) -> Self {
        let token = token.map(|token| hash(token.expose()));
        Self(Arc::new(Rules { only_here: only_here && token.is_none(), token, drain: drain.clone() }))
    }

    /// Whether a request may pass.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.0.token {
            None if self.0.only_here && !is_from_here(headers) => Err(Refusal::ForbiddenHost),
            None => Ok(()),
            // Hashes are of one length, and are compared to the end whatever they are.
            Some(token) if bearer(headers).is_some_and(|shown| same(&hash(shown), token)) => Ok(()),
            Some(_) => Err(Refusal::Unauthorized),
        }
    }
}

/// Around every route.
pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let id = identify(&request);
    // The path alone, as everywhere: nobody knows what is in a query.
    let span = tracing::info_span!("request", %id, method = %request.method(), path = request.uri().path());
    let answered = async {
        let refused = match refusal(&gate, &request) {
            None => return next.run(request).await,
            Some(refused) => refused,
        };
        tracing::info!(status = %refused.status(), "request refused");
        turn_away(request.into_body(), refused).await
    };
    let mut response = answered.instrument(span).await;
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn refusal(gate: &Gate, request: &Request) -> Option<Refusal> {
    // Exactly this path is open, so that an orchestrator can ask it.
    if request.uri().path() == "/health" {
        return None;
    }
    if let Err(refused) = gate.admit(request.headers()) {
        return Some(refused);
    }
    let new_work = request.method() == Method::POST && request.uri().path() == "/run";
    (new_work && gate.0.drain.refusing().is_cancelled()).then(Refusal::draining)
}

/// Refuses, and lets a body that is on its way arrive: who still writes would otherwise never see the refusal.
async fn turn_away(body: Body, refused: Refusal) -> Response {
    discard(body).await;
    refused.into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?.trim();
    Some(token).filter(|token| !token.is_empty())
}

fn hash(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0 && a.len() == b.len()
}

/// A page could reach this port by a name of its own, which `Host` tells, or send what needs no leave to any address, which
/// `Origin` tells.
fn is_from_here(headers: &HeaderMap) -> bool {
    let named = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    named(header::HOST).is_none_or(names_this_machine) && named(header::ORIGIN).is_none_or(is_page_of_here)
}

/// `localhost` or an address: no name that somebody else could point here. A request that has arrived was sent to an
/// address of this machine.
fn names_this_machine(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// A page's address is that of the machine that serves it, so only those count that are this machine everywhere:
/// `localhost`, names below it (RFC 6761) and loopback addresses.
fn is_page_of_here(origin: &str) -> bool {
    let Some((_, host)) = origin.split_once("://") else { return false };
    let name = without_port(host).to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_start_matches('[').trim_end_matches(']')
}

/// The caller's own id if no log can be broken by it, otherwise a new one.
fn identify(request: &Request) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = id.filter(|id| (1..=128).contains(&id.len()) && id.chars().all(allowed));
    id.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_token_opens() {
        let gate = Gate::new(Some(&Secret::new("the-right-token")), true, &Drain::new());
        let shown = |value: &str| gate.admit(&headers(&[(header::AUTHORIZATION, value)]));
        assert_eq!(shown("Bearer the-right-token"), Ok(()));
        assert_eq!(shown("Bearer   the-right-token "), Ok(()));
        for wrong in [
            "the-right-token",
            "bearer the-right-token",
            "Bearer",
            "Bearer ",
            "Bearer the-right-tokeN",
            "Bearer x",
            "Basic x",
        ] {
            assert_eq!(shown(wrong), Err(Refusal::Unauthorized), "{wrong}");
        }
        assert_eq!(gate.admit(&HeaderMap::new()), Err(Refusal::Unauthorized));
    }

    #[test]
    fn without_a_token_no_foreign_name_leads_here() {
        let gate = Gate::new(None, true, &Drain::new());
        let named = |host: &str| gate.admit(&headers(&[(header::HOST, host)]));
        for here in
            ["localhost", "LOCALHOST:3000", "127.0.0.1:3000", "[::1]:3000", "[::1]", "192.168.1.5:3000"]
        {
            assert_eq!(named(here), Ok(()), "{here}");
        }
        for elsewhere in
            ["evil.example", "evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example:80", ""]
        {
            assert_eq!(named(elsewhere), Err(Refusal::ForbiddenHost), "{elsewhere}");
        }
        assert_eq!(Gate::new(None, false, &Drain::new()).admit(&headers(&[(header::HOST, "a.b")])), Ok(()));
    }

    #[test]
    fn without_a_token_no_page_from_elsewhere_gets_in() {
        let gate = Gate::new(None, true, &Drain::new());
        let from = |origin: &str| {
            gate.admit(&headers(&[(header::HOST, "127.0.0.1:3000"), (header::ORIGIN, origin)]))
        };
        for here in [
            "http://localhost:8080",
            "http://app.LOCALHOST",
            "https://127.0.0.1",
            "http://127.0.0.1:3000",
            "http://127.8.0.1:3000",
            "http://[::1]",
            "http://[::1]:3000",
            "http://[::ffff:127.0.0.1]:3000",
        ] {
            assert_eq!(from(here), Ok(()), "{here}");
        }
        for elsewhere in [
            "http://evil.example",
            "https://localhost.evil.example:3000",
            "http://evillocalhost",
            "http://203.0.113.9",
            "http://[2001:db8::1]:80",
            "http://[::ffff:203.0.113.9]",
            "http://192.168.1.5",
            "http://0.0.0.0",
            "null",
            "",
            "localhost",
        ] {
            assert_eq!(from(elsewhere), Err(Refusal::ForbiddenHost), "{elsewhere}");
        }
    }
}
