//! The network of WASI, for guests that come with it: `wasi:http` under the rules of `http`, and `wasi:sockets` where the
//! operator grants it.
//!
//! A guest of `wasi:sockets` looks names up by itself and then connects to addresses. Lookups are replaced by ours, which
//! answer for names that are allowed alone and remember the addresses; of those, and of addresses that are listed
//! themselves, it may connect to the allowed ports. Nothing else is: no listening, no binding, no UDP.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::vec;

use bridge_net::TlsError;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, Uri};
use tokio::time::timeout;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::sockets::SocketAddrUse;
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
use crate::state::State;

/// The interface whose functions are replaced, as the linker knows it. Were it to be called otherwise, the original would
/// answer, which refuses.
const NAME_LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";

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
            NetworkError::TooMany { .. } => Self::ConnectionLimitReached,
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

/// Lets a guest use TCP as far as its operator lets it.
pub(super) fn configure(wasi: &mut WasiCtxBuilder, outlet: &Arc<Outlet>) {
    let granted = outlet.grants_wasi_sockets();
    let outlet = Arc::clone(outlet);
    wasi.allow_tcp(granted).allow_udp(false).allow_ip_name_lookup(false).socket_addr_check(
        move |address, what| {
            let allowed = granted && may_use(&outlet, address, what);
            Box::pin(async move { allowed })
        },
    );
}

pub(super) fn may_use(outlet: &Outlet, address: SocketAddr, what: SocketAddrUse) -> bool {
    match what {
        // What every connection begins with: any free port of any of our addresses.
        SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
        SocketAddrUse::TcpConnect => outlet.may_connect(address),
        SocketAddrUse::TcpListen
        | SocketAddrUse::TcpAccept
        | SocketAddrUse::UdpBind
        | SocketAddrUse::UdpSend
        | SocketAddrUse::UdpReceive => false,
    }
}

/// What a lookup found: the interface's `resolve-address-stream`.
struct Found(vec::IntoIter<IpAddr>);

#[wasmtime_wasi::async_trait]
impl Pollable for Found {
    async fn ready(&mut self) {}
}

/// Replaces the lookup of names.
pub(super) fn shadow_name_lookup(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let shadowed = shadow(linker);
    linker.allow_shadowing(false);
    shadowed
}

fn shadow(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, State>;
    type Looked = (Result<Resource<Found>, ErrorCode>,);
    type Next = (Result<Option<IpAddress>, ErrorCode>,);

    let mut lookup = linker.instance(NAME_LOOKUP)?;
    let found = ResourceType::host::<Found>();
    lookup.resource("resolve-address-stream", found, |mut store: Store<'_>, id| {
        store.data_mut().table.delete(Resource::<Found>::new_own(id))?;
        Ok(())
    })?;
    lookup.func_wrap_async(
        "resolve-addresses",
        |store: Store<'_>,
         (_, name): (Resource<wasmtime_wasi::p2::Network>, String)|
         -> Box<dyn Future<Output = wasmtime::Result<Looked>> + Send + '_> {
            Box::new(resolve_addresses(store, name))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: Store<'_>, (found,): (Resource<Found>,)| -> wasmtime::Result<Next> {
            let found = store.data_mut().called().table.get_mut(&found)?;
            Ok((Ok(found.0.next().map(IpAddress::from)),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: Store<'_>, (found,): (Resource<Found>,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().called().table, found)?,))
        },
    )
}

/// Waits for the answer, so that there is never one to wait for afterwards.
async fn resolve_addresses(
    mut store: StoreContextMut<'_, State>,
    name: String,
) -> wasmtime::Result<(Result<Resource<Found>, ErrorCode>,)> {
    let state = store.data_mut().called();
    let Some(host) = Host::parse(&name) else { return Ok((Err(ErrorCode::InvalidArgument),)) };
    let looked: Result<_, NetworkError> = match state.call.bounded(state.network.outlet.look_up(&host)).await
    {
        Ok(looked) => looked,
        Err(ended) => Err(ended.into()),
    };
    match looked {
        Ok(found) => Ok((Ok(state.table.push(Found(found.into_iter()))?),)),
        Err(NetworkError::Refused) => Ok((Err(ErrorCode::AccessDenied),)),
        Err(NetworkError::Resolve(_)) => Ok((Err(ErrorCode::NameUnresolvable),)),
        Err(_) => Ok((Err(ErrorCode::TemporaryResolverFailure),)),
    }
}
