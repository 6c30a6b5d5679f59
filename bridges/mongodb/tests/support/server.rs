//! Real servers: the one that `cargo xtask test` started, and ones of our own that can be hurt.
//!
//! Databases are named after the process and the test that uses them, and dropped by the next run.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use protocol::SourceConfig;
use serde_json::{Value, json};

/// What a test needs to know about a server.
pub(crate) struct Server {
    state: Value,
    pub(crate) ca: PathBuf,
    pub(crate) other_ca: PathBuf,
    pub(crate) client_cert: PathBuf,
    pub(crate) client_key: PathBuf,
}

/// The server for tests that leave it as they found it.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let state = services();
        let servers = state["servers"].as_array().unwrap();
        let found = servers.iter().find(|server| server["service"] == "mongodb");
        let found =
            found.expect("the test services have no mongodb: start them with `cargo xtask services up`");
        let tls = |name: &str| PathBuf::from(state["tls"][name].as_str().unwrap());
        Server {
            state: found.clone(),
            ca: tls("ca"),
            other_ca: tls("otherCa"),
            client_cert: tls("clientCert"),
            client_key: tls("clientKey"),
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its servers")]
fn services() -> Value {
    let path = std::env::var_os("SEMILAYER_TEST_SERVICES")
        .expect("SEMILAYER_TEST_SERVICES names no file: run the tests with `cargo xtask test`");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Server {
    /// The URL of a role.
    pub(crate) fn url(&self, role: &str) -> &str {
        self.state["users"][role]["url"].as_str().unwrap()
    }

    pub(crate) fn password(&self, role: &str) -> &str {
        self.state["users"][role]["password"].as_str().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.state["port"].as_u64().unwrap().try_into().unwrap()
    }

    /// Whether the server only stands in for MongoDB. What it cannot show is named where it matters.
    pub(crate) fn is_stand_in(&self) -> bool {
        !self.state["standIn"].is_null()
    }

    /// The folder of the server's programs.
    pub(crate) fn programs(&self) -> PathBuf {
        PathBuf::from(
            self.state["binDir"]
                .as_str()
                .expect("the server runs in a container: it cannot be started again"),
        )
    }
}

/// A database of a test's own.
pub(crate) struct Scratch {
    pub(crate) name: String,
    pub(crate) client: Client,
}

impl Scratch {
    /// An empty database on the shared server.
    pub(crate) async fn new() -> Self {
        Self::at(server().url("app")).await
    }

    /// An empty database on another server.
    pub(crate) async fn at(url: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let client = Client::with_uri_str(url).await.unwrap();
        let name = format!("semilayer_test_{}_{number}", std::process::id());
        drop_left_overs(&client).await;
        client.database(&name).drop().await.unwrap();
        Self { name, client }
    }

    pub(crate) fn database(&self) -> mongodb::Database {
        self.client.database(&self.name)
    }

    /// Fills a collection.
    pub(crate) async fn insert(&self, collection: &str, documents: Vec<Document>) {
        self.database().collection(collection).insert_many(documents).await.unwrap();
    }

    /// The settings of a source for this database.
    pub(crate) fn config(&self) -> SourceConfig {
        self.config_with(json!({"url": server().url("app")}))
    }

    /// Settings with the database added.
    pub(crate) fn config_with(&self, mut settings: Value) -> SourceConfig {
        settings["database"] = json!(self.name);
        serde_json::from_value(settings).unwrap()
    }

    /// Drops the database.
    pub(crate) async fn drop(self) {
        self.database().drop().await.unwrap();
    }
}

/// Databases of test processes that ended without dropping them.
async fn drop_left_overs(client: &Client) {
    for name in client.list_database_names().await.unwrap() {
        let process = name.strip_prefix("semilayer_test_").and_then(|rest| rest.split('_').next());
        let lives = process.is_none_or(|process| std::path::Path::new("/proc").join(process).exists());
        if !lives {
            // Another test process may be faster.
            client.database(&name).drop().await.ok();
        }
    }
}

/// Repeats `check` until it holds; fails after twenty seconds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !check().await {
        assert!(Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server of a test's own, without users and TLS, to be hurt. It dies with the test.
pub(crate) struct Victim {
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    process: Child,
}

impl Victim {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(port, &folder);
        let victim = Self { port, folder, process };
        victim.wait().await;
        victim
    }

    pub(crate) fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// Kills the server as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again at the same port, over the same data.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.port, &self.folder);
        self.wait().await;
    }

    async fn wait(&self) {
        let client = Client::with_uri_str(self.url()).await.unwrap();
        eventually("the server answers", async || {
            client.database("admin").run_command(doc! {"ping": 1}).await.is_ok()
        })
        .await;
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(port: u16, folder: &tempfile::TempDir) -> Child {
    let mut command = Command::new(server().programs().join("secantusd-py"));
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--cache-size", "64M"]);
    command.args(["--log-level", "WARNING", "--enable-test-commands", "--storage-path"]);
    command.arg(folder.path().join("data"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
