//! What the interface in `wit/` looks like in Rust. Made by wasmtime; everything else stays out of this file.

wasmtime::component::bindgen!({
    path: "../wit/0.1.0",
    world: "bridge-plugin",
    imports: {
        "semilayer:bridge/host": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "semilayer:bridge/net.socket": crate::network::Socket,
        "semilayer:bridge/http.response": crate::network::Response,
    },
    require_store_data_send: true,
});

pub(crate) use self::exports::semilayer::bridge::bridge;
pub(crate) use self::semilayer::bridge::{host, http, net, types};
