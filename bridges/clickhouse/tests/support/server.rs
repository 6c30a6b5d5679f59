//! The real servers that `cargo xtask test` started.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a test needs to know about a server.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) ca: PathBuf,
    pub(crate) other_ca: PathBuf,
    pub(crate) client_cert: PathBuf,
    pub(crate) client_key: PathBuf,
    /// By role.
    users: Value,
}

/// The server that nearly all tests use.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| of_service("clickhouse"))
}

/// A server of before parameters were.
pub(crate) fn old_server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| of_service("clickhouse-old"))
}

impl Server {
    /// A role's name.
    pub(crate) fn name(&self, role: &str) -> &str {
        self.users[role]["name"].as_str().unwrap_or_else(|| panic!("the server has no role {role}"))
    }

    /// A role's password; empty where a certificate is the way in.
    pub(crate) fn password(&self, role: &str) -> &str {
        self.users[role]["password"].as_str().unwrap_or_default()
    }
}

/// Repeats `check` until it holds; fails after ten seconds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !check().await {
        assert!(Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its servers")]
fn of_service(service: &str) -> Server {
    let path = std::env::var_os("SEMILAYER_TEST_SERVICES")
        .unwrap_or_else(|| panic!("these tests need the servers of `cargo xtask services up`"));
    let state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let servers = state["servers"].as_array().unwrap();
    let server = servers.iter().find(|server| server["service"] == service);
    let server = server.unwrap_or_else(|| panic!("`cargo xtask services up` has not started {service}"));
    let tls = |name: &str| PathBuf::from(state["tls"][name].as_str().unwrap());
    let port = |name: &str| server[name].as_u64().unwrap().try_into().unwrap();
    Server {
        host: server["host"].as_str().unwrap().to_owned(),
        port: port("port"),
        tls_port: port("tlsPort"),
        ca: tls("ca"),
        other_ca: tls("otherCa"),
        client_cert: tls("clientCert"),
        client_key: tls("clientKey"),
        users: server["users"].clone(),
    }
}
