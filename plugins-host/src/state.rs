//! Everything that host functions know of the instance that calls them.
//!
//! Each getter that hands a part of it to a host function says that the guest has called the host, which is what its time
//! to compute is counted from.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtx;

use crate::call::CallState;
use crate::limits::{FIELDS_BYTES, Limits, Meter, RESOURCES};
use crate::log::GuestLog;
use crate::network::Network;

/// The data of a store.
pub(crate) struct State {
    /// The job under way.
    pub(crate) call: CallState,
    /// Resources of this instance: sockets, answers, streams.
    pub(crate) table: ResourceTable,
    /// To where it may connect.
    pub(crate) network: Network,
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) meter: Meter,
    pub(crate) log: Arc<GuestLog>,
}

impl State {
    /// Of an instance that has not been called yet.
    pub(crate) fn new(
        call: CallState,
        limits: &Limits,
        network: Network,
        wasi: WasiCtx,
        log: Arc<GuestLog>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        Self { call, table, network, wasi, http, meter: Meter::new(limits), log }
    }

    /// What the generated linker hands to the host functions of `semilayer:bridge`.
    #[inline]
    pub(crate) fn called(&mut self) -> &mut Self {
        self.meter.host_called();
        self
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.meter.host_called();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
