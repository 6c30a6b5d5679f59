//! The network of WASI, for guests that come with it: `wasi:http` under the rules of `http`, and `wasi:sockets` (`sockets`)
//! where the operator grants it.

mod sockets;

use std::sync::Arc;

use bridge_net::TlsError;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, Uri};
use tokio::time::timeout;
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::body::Arriving;
use super::connect::{CONNECT, Outlet, Target};
use super::error::NetworkError;
use super::host::Host;
use super::http::is_ours;
use super::pool::Origin;
use super::request::{Ask, Payload};
use super::tls::Choice;
use crate::call::{CallState, Ended};
use crate::limits::SENT_AT_ONCE;
use crate::state::State;
#[cfg(test)]
pub(super) use sockets::may_use;
pub(super) use sockets::{add_to_linker, configure};

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.meter.host_called();
        self.network.hooks.begin(self.call.clone());
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.network.hooks }
    }
}

/// How `wasi:http` sends requests.
pub(crate) struct Hooks {
    outlet: Arc<Outlet>,
    /// The job under way.
    call: Option<CallState>,
}

impl Hooks {
    pub(super) fn new(outlet: Arc<Outlet>) -> Self {
        Self { outlet, call: None }
    }

    /// Requests are for this job from now on.
    pub(super) fn begin(&mut self, call: CallState) {
        self.call = Some(call);
    }
}

type Sent = Result<(Response<WasiBody>, BoxedWork), Error>;
type BoxedWork = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // The length of a body is checked by the interface itself.
        Arc::new(|name| is_ours(name) && *name != header::CONTENT_LENGTH)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        SENT_AT_ONCE
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: BoxedWork,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (outlet, call) = (Arc::clone(&self.outlet), self.call.clone());
        Box::new(async move {
            let call = call.ok_or(Error::ConfigurationError)?;
            let answer =
                send(outlet, call, request, options.unwrap_or_default()).await.map_err(Error::from)?;
            let nothing_left: BoxedWork = Box::new(async { Ok(()) });
            Ok((answer.map(|body| body.map_err(Error::from).boxed_unsync()), nothing_left))
        })
    }
}

async fn send(
    outlet: Arc<Outlet>,
    call: CallState,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Response<Arriving>, NetworkError> {
    let ask = ask_of(request)?;
    // Connecting has a limit of its own in any case.
    let connecting = options.connect_timeout.map_or(CONNECT, |limit| limit.min(CONNECT));
    let limit = options.first_byte_timeout.and_then(|limit| limit.checked_add(connecting));
    let work = async {
        match limit {
            Some(limit) => timeout(limit, outlet.ask(ask)).await.map_err(|_| NetworkError::Late)?,
            None => outlet.ask(ask).await,
        }
    };
    let answer = call.bounded(work).await??;
    Ok(answer.map(|body| body.bound_to(call, options.between_bytes_timeout)))
}

fn ask_of(request: Request<WasiBody>) -> Result<Ask, NetworkError> {
    let (mut head, body) = request.into_parts();
    let secure = head.uri.scheme_str() == Some("https");
    let target = target_of(&head.uri, if secure { 443 } else { 80 }).ok_or(WRONG_URI)?;
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    head.headers.insert(header::HOST, HeaderValue::try_from(authority).map_err(|_| WRONG_URI)?);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let payload = if body.is_end_stream() {
        Payload::Whole(bytes::Bytes::new())
    } else {
        Payload::Stream(body.map_err(Into::into).boxed_unsync())
    };
    Ok(Ask {
        origin: Origin { target, tls: secure.then(Choice::http) },
        method: super::http::permitted(head.method)?,
        uri: Uri::builder().path_and_query(path).build().map_err(|_| WRONG_URI)?,
        headers: head.headers,
        payload,
    })
}

const WRONG_URI: NetworkError =
    NetworkError::Invalid { field: "authority", expected: "a host with an optional port" };

/// Where a request goes. An authority with a user, or with a port that is none, goes nowhere.
fn target_of(uri: &Uri, default_port: u16) -> Option<Target> {
    let authority = uri.authority()?;
    let host = Host::parse(authority.host())?;
    let port = match authority.port_u16() {
        Some(port) if authority.as_str() == format!("{}:{port}", authority.host()) => port,
        None if authority.as_str() == authority.host() => default_port,
        Some(_) | None => return None,
    };
    (port != 0).then_some(Target { host, port })
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Ended(Ended::Cancelled) | NetworkError::Broken(_) | NetworkError::Abandoned => {
                Self::ConnectionTerminated
            }
            NetworkError::Ended(Ended::TimedOut) | NetworkError::Late => Self::HttpResponseTimeout,
            NetworkError::Invalid { .. } => Self::HttpRequestUriInvalid,
            NetworkError::Refused => Self::HttpRequestDenied,
            NetworkError::TooMany { .. } | NetworkError::Full { .. } => Self::ConnectionLimitReached,
            NetworkError::Resolve(_) => Self::DnsError { rcode: None, info_code: None },
            NetworkError::Connect(_) => Self::ConnectionRefused,
            NetworkError::Silent => Self::ConnectionTimeout,
            NetworkError::Tls(TlsError::Certificate(_)) => Self::TlsCertificateError,
            NetworkError::Tls(_) => Self::TlsProtocolError,
            NetworkError::Lost(_) => Self::HttpResponseIncomplete,
            NetworkError::HeadTooLarge => Self::HttpResponseHeaderSectionSize(None),
            NetworkError::Nonsense(_) | NetworkError::Flood => Self::HttpProtocolError,
            NetworkError::Upgrade => Self::HttpUpgradeFailed,
        }
    }
}
