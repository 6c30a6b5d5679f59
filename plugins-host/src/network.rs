//! The network, as a plugin may use it: byte streams, HTTP requests, and what guests bring along of WASI.
//!
//! All of it goes through one [`Outlet`] for each instance, which decides (`policy`), looks names up, connects and counts
//! (`connect`), and encrypts (`tls`). [`Outside`] is what the instances of a plugin share. Host functions are thin: they
//! parse, wait within the job's limits and turn errors into those of the interface.

pub(crate) mod host;

mod body;
mod connect;
mod error;
mod held;
mod http;
mod internet;
mod policy;
mod pool;
mod request;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod wasi;

use std::collections::HashMap;
use std::sync::Arc;

use bridge_net::Roots;
use connect::Outlet;
use internet::{Internet, Machine};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::DropGuard;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiCtxBuilder;

use crate::allow::Allowlist;
use crate::bindings;
use crate::state::State;
use crate::stats::Stats;

pub(crate) use host::Endpoint;
#[expect(unreachable_pub, reason = "the bindings re-export it with what is theirs")]
pub use http::Response;
#[expect(unreachable_pub, reason = "the bindings re-export it with what is theirs")]
pub use socket::Socket;

/// What the operator lets a plugin do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed {
    pub(crate) hosts: Allowlist,
    /// Open connections of one instance.
    pub(crate) sockets: usize,
    /// Whether `wasi:sockets` is there for it, too.
    pub(crate) wasi_sockets: bool,
}

/// What the instances of one plugin share.
pub(crate) struct Outside {
    /// The plugin's package name.
    plugin: Arc<str>,
    allowed: Allowed,
    internet: Box<dyn Internet>,
    tls: tls::Configurations,
    refusals: policy::Refusals,
    stats: Arc<Stats>,
}

impl Outside {
    /// `roots` are trusted where a plugin brings none of its own; the system's when they are not set.
    pub(crate) fn new(plugin: Arc<str>, allowed: Allowed, roots: Roots, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            allowed,
            internet: Box::new(Machine::default()),
            tls: tls::Configurations::new(roots),
            refusals: policy::Refusals::default(),
            stats,
        })
    }
}

/// To where one instance may connect, and what it has open. Dropping it closes everything.
pub(crate) struct Network {
    outlet: Arc<Outlet>,
    hooks: wasi::Hooks,
    /// The places of the guest's own sockets, by the socket.
    sockets: HashMap<u32, OwnedSemaphorePermit>,
    _open: DropGuard,
}

impl Network {
    /// `endpoints` are those of the source's own settings.
    pub(crate) fn new(outside: &Arc<Outside>, endpoints: Vec<Endpoint>) -> Self {
        let outlet = Arc::new(Outlet::new(Arc::clone(outside), endpoints));
        let open = outlet.gone().clone().drop_guard();
        let hooks = wasi::Hooks::new(Arc::clone(&outlet));
        Self { outlet, hooks, sockets: HashMap::new(), _open: open }
    }

    /// Lets the guest use `wasi:sockets` as far as its operator lets it.
    pub(crate) fn configure(&self, wasi: &mut WasiCtxBuilder) {
        wasi::configure(wasi, &self.outlet);
    }
}

/// Adds everything that has to do with the network, over what WASI has added of its own.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    bindings::net::add_to_linker::<State, HasSelf<State>>(linker, State::called)?;
    bindings::http::add_to_linker::<State, HasSelf<State>>(linker, State::called)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasi::add_to_linker(linker)
}
