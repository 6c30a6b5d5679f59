//! What the interface in `wit/` looks like in Rust. Made by wit-bindgen.

wit_bindgen::generate!({
    path: "../../../wit/0.1.0",
    world: "bridge-plugin",
});
