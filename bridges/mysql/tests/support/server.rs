//! Real servers: those that `cargo xtask services up` started.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The kinds of server that every test meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Mysql,
    /// 10.11, where the machine has no newer one.
    Mariadb,
    Mariadb11,
}

pub(crate) const ENGINES: [Engine; 3] = [Engine::Mysql, Engine::Mariadb, Engine::Mariadb11];

/// What a test needs to know about a server.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) ca: PathBuf,
    pub(crate) other_ca: PathBuf,
    pub(crate) client_cert: PathBuf,
    pub(crate) client_key: PathBuf,
    /// The folder of the server's programs; none for a container.
    pub(crate) programs: Option<PathBuf>,
    /// By role: name and password.
    users: Value,
}

impl Server {
    /// The role's password; empty where there is none.
    pub(crate) fn password(&self, role: &str) -> &str {
        self.users[role]["password"].as_str().unwrap_or_default()
    }

    pub(crate) fn user(&self, role: &str) -> &str {
        self.users[role]["name"].as_str().unwrap_or_else(|| panic!("the server has no user {role}"))
    }
}

/// The server of that engine, left by every test as it was found.
pub(crate) fn server(engine: Engine) -> &'static Server {
    static SERVERS: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
    SERVERS[engine as usize].get_or_init(|| from_state(&state(), engine))
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
fn state() -> Value {
    let path = std::env::var_os("SEMILAYER_TEST_SERVICES").map(PathBuf::from);
    let path = path.unwrap_or_else(|| panic!("no servers: run the tests by `cargo xtask test`"));
    let state = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_slice(&state).unwrap()
}

fn from_state(state: &Value, engine: Engine) -> Server {
    let service = match engine {
        Engine::Mysql => "mysql",
        Engine::Mariadb => "mariadb",
        Engine::Mariadb11 => "mariadb11",
    };
    let servers = state["servers"].as_array().unwrap();
    let server = servers.iter().find(|server| server["service"] == service);
    let server = server.unwrap_or_else(|| panic!("no {service} server: run `cargo xtask services up`"));
    let tls = |name: &str| PathBuf::from(state["tls"][name].as_str().unwrap());
    Server {
        engine,
        host: server["host"].as_str().unwrap().to_owned(),
        port: server["port"].as_u64().unwrap().try_into().unwrap(),
        ca: tls("ca"),
        other_ca: tls("otherCa"),
        client_cert: tls("clientCert"),
        client_key: tls("clientKey"),
        programs: server["binDir"].as_str().map(PathBuf::from),
        users: server["users"].clone(),
    }
}
