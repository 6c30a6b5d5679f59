//! Real servers: those that `cargo xtask services up` started, or one of our own to be hurt.
//!
//! A server of our own dies with the test process, however that ends.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::{Client, Connection};
use serde_json::{Value, json};

/// What a test needs to know about a server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) tls_port: Option<u16>,
    pub(crate) socket_dir: Option<PathBuf>,
    pub(crate) ca: PathBuf,
    pub(crate) other_ca: PathBuf,
    pub(crate) client_cert: PathBuf,
    pub(crate) client_key: PathBuf,
    users: Value,
}

/// The Redis for tests that leave it as they found it.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| shared("redis"))
}

/// The Valkey for the same.
pub(crate) fn valkey() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| shared("valkey"))
}

#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its servers")]
fn shared(service: &str) -> Server {
    let path = std::env::var_os("SEMILAYER_TEST_SERVICES");
    let path = path.expect("SEMILAYER_TEST_SERVICES names no servers: run the tests with `cargo xtask test`");
    let state: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let servers = state["servers"].as_array().unwrap();
    let server = servers.iter().find(|server| server["service"] == service);
    let server = server.unwrap_or_else(|| panic!("no {service} was started: run `cargo xtask services up`"));
    let tls = |name: &str| PathBuf::from(state["tls"][name].as_str().unwrap());
    let port = |name: &str| server[name].as_u64().and_then(|port| u16::try_from(port).ok());
    Server {
        port: port("port").unwrap(),
        tls_port: port("tlsPort"),
        socket_dir: server["socketDir"].as_str().map(PathBuf::from),
        ca: tls("ca"),
        other_ca: tls("otherCa"),
        client_cert: tls("clientCert"),
        client_key: tls("clientKey"),
        users: server["users"].clone(),
    }
}

impl Server {
    pub(crate) fn password(&self, role: &str) -> &str {
        self.users[role]["password"].as_str().unwrap()
    }

    /// Settings for the bridge.
    pub(crate) fn config(&self, role: &str, database: u32) -> Value {
        json!({
            "host": "127.0.0.1",
            "port": self.port,
            "username": role,
            "password": self.password(role),
            "db": database,
        })
    }

    /// A connection of another client, as `app`.
    pub(crate) fn client(&self, database: u32) -> Connection {
        let mut connection =
            Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap().get_connection().unwrap();
        let auth = redis::cmd("AUTH").arg("app").arg(self.password("app")).to_owned();
        auth.exec(&mut connection).unwrap();
        redis::cmd("SELECT").arg(database).exec(&mut connection).unwrap();
        connection
    }
}

/// A prefix that no other test has. Its keys are deleted in the end.
pub(crate) struct Prefix {
    pub(crate) name: String,
    pub(crate) server: &'static Server,
    pub(crate) database: u32,
}

impl Prefix {
    pub(crate) fn new() -> Self {
        Self::on(server(), 0)
    }

    pub(crate) fn on(server: &'static Server, database: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("test-{}-{number}", std::process::id()), server, database }
    }

    /// The key of that name under the prefix.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.name)
    }

    pub(crate) fn client(&self) -> Connection {
        self.server.client(self.database)
    }

    pub(crate) fn config(&self) -> Value {
        self.server.config("app", self.database)
    }

    /// Sets a string under the prefix.
    pub(crate) fn set(&self, name: &str, value: impl redis::ToSingleRedisArg) {
        redis::cmd("SET").arg(self.key(name)).arg(value).exec(&mut self.client()).unwrap();
    }

    /// Runs a command on a key under the prefix.
    pub(crate) fn run(&self, command: &str, name: &str, arguments: &[&str]) {
        redis::cmd(command).arg(self.key(name)).arg(arguments).exec(&mut self.client()).unwrap();
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // A test that has failed because its server is gone must not fail twice.
        if std::thread::panicking() {
            return;
        }
        let mut client = self.client();
        delete(&mut client, &self.name);
        delete(&mut client, &format!("{}:*", self.name));
        delete(&mut client, &format!("{}-*", self.name));
    }
}

fn delete(client: &mut Connection, pattern: &str) {
    let mut cursor = 0_u64;
    loop {
        let scan =
            redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(10_000).to_owned();
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query(client).unwrap();
        if !keys.is_empty() {
            redis::cmd("UNLINK").arg(&keys).exec(client).unwrap();
        }
        cursor = next;
        if cursor == 0 {
            return;
        }
    }
}

/// A server to be hurt, at a port of its own.
pub(crate) struct Victim {
    pub(crate) port: u16,
    process: Child,
}

impl Victim {
    pub(crate) const PASSWORD: &str = "pä ss!word'\"";

    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, process: spawn(port) }
    }

    pub(crate) fn config(&self) -> Value {
        json!({"host": "127.0.0.1", "port": self.port, "password": Self::PASSWORD})
    }

    pub(crate) fn client(&self) -> Connection {
        client_of(self.port).expect("the server answers")
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), at the same port.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.port);
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(port: u16) -> Child {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command.args([
        "--port",
        &port.to_string(),
        "--requirepass",
        Victim::PASSWORD,
        "--enable-debug-command",
        "yes",
    ]);
    command.current_dir(std::env::temp_dir()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn().expect("redis-server is installed by `cargo xtask services up`");
    let end = Instant::now() + Duration::from_secs(10);
    while client_of(port).is_none() {
        assert!(Instant::now() < end, "the server never answered");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

fn client_of(port: u16) -> Option<Connection> {
    let mut connection = Client::open(format!("redis://127.0.0.1:{port}/")).unwrap().get_connection().ok()?;
    redis::cmd("AUTH").arg(Victim::PASSWORD).exec(&mut connection).ok()?;
    Some(connection)
}

/// Repeats `check` until it holds; fails after ten seconds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !check().await {
        assert!(Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
