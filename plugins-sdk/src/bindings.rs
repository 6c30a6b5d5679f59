//! What the interface in `wit/` looks like in Rust. Made by wit-bindgen; everything else stays out of this file.

wit_bindgen::generate!({
    path: "wit",
    world: "bridge-plugin",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "semilayer_plugin::bindings",
});
