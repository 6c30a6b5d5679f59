//! `wasi:sockets`: looking names up, and TCP.
//!
//! A guest looks names up by itself and then connects to addresses. Lookups are replaced by ours, which answer for names
//! that are allowed alone and remember the addresses; of those, and of addresses that are listed themselves, it may connect
//! to the allowed ports. Nothing else is: no listening, no binding, no UDP.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::vec;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::Host as _;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView};

use crate::network::connect::Outlet;
use crate::network::error::NetworkError;
use crate::network::host::Host;
use crate::state::State;

/// The interfaces of which functions are replaced, as the linker knows them. Were a lookup to be called otherwise, the
/// original would answer, which refuses.
const NAME_LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";
const TCP: &str = "wasi:sockets/tcp@0.2.12";
const TCP_CREATE_SOCKET: &str = "wasi:sockets/tcp-create-socket@0.2.12";

type Store<'a> = StoreContextMut<'a, State>;
type Made = (Result<Resource<TcpSocket>, ErrorCode>,);

/// Lets a guest use TCP as far as its operator lets it.
pub(crate) fn configure(wasi: &mut WasiCtxBuilder, outlet: &Arc<Outlet>) {
    let granted = outlet.grants_wasi_sockets();
    let outlet = Arc::clone(outlet);
    wasi.allow_tcp(granted).allow_udp(false).allow_ip_name_lookup(false).socket_addr_check(
        move |address, what| {
            let allowed = granted && may_use(&outlet, address, what);
            Box::pin(async move { allowed })
        },
    );
}

pub(crate) fn may_use(outlet: &Outlet, address: SocketAddr, what: SocketAddrUse) -> bool {
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

/// Replaces the lookup of names, and what makes and ends a socket.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let shadowed = replace_lookup(linker).and_then(|()| count_sockets(linker));
    linker.allow_shadowing(false);
    shadowed
}

fn replace_lookup(linker: &mut Linker<State>) -> wasmtime::Result<()> {
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

/// Counts sockets among the connections of their instance, from when they are made: each is one of the process's, whether
/// it is connected or not.
fn count_sockets(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let socket = ResourceType::host::<TcpSocket>();
    linker.instance(TCP)?.resource("tcp-socket", socket, |mut store: Store<'_>, id| {
        let state = store.data_mut().called();
        state.table.delete(Resource::<TcpSocket>::new_own(id))?;
        state.network.sockets.remove(&id);
        Ok(())
    })?;
    linker.instance(TCP_CREATE_SOCKET)?.func_wrap_async(
        "create-tcp-socket",
        |store: Store<'_>,
         (family,): (IpAddressFamily,)|
         -> Box<dyn Future<Output = wasmtime::Result<Made>> + Send + '_> {
            Box::new(create_socket(store, family))
        },
    )
}

async fn create_socket(mut store: Store<'_>, family: IpAddressFamily) -> wasmtime::Result<Made> {
    let state = store.data_mut().called();
    let Ok(slot) = state.network.outlet.slot().await else {
        return Ok((Err(ErrorCode::NewSocketLimit),));
    };
    match state.sockets().create_tcp_socket(family) {
        Ok(socket) => {
            state.network.sockets.insert(socket.rep(), slot);
            Ok((Ok(socket),))
        }
        Err(refused) => Ok((Err(refused.downcast()?),)),
    }
}
