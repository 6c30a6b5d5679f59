//! Real servers: those that `cargo xtask test` started, and ones of our own that can be hurt.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use protocol::SourceConfig;
use serde_json::{Value as Json, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A server.
pub(crate) struct Server {
    port: u16,
    version: String,
    distribution: String,
    stand_in: Option<PathBuf>,
    own: Option<Child>,
}

/// The servers for tests that leave them as they found them.
pub(crate) fn servers() -> &'static [Server] {
    static SERVERS: OnceLock<Vec<Server>> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let state = services();
        let servers = state["servers"].as_array().unwrap();
        let servers: Vec<Server> =
            servers.iter().filter(|server| server["service"] == "opensearch").map(Server::shared).collect();
        assert!(
            !servers.is_empty(),
            "the test services have no opensearch: start them with `cargo xtask services up`"
        );
        servers
    })
}

#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its servers")]
fn services() -> Json {
    let path = std::env::var_os("SEMILAYER_TEST_SERVICES")
        .expect("SEMILAYER_TEST_SERVICES names no file: run the tests with `cargo xtask test`");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Server {
    fn shared(server: &Json) -> Self {
        let port = server["port"].as_u64().unwrap().try_into().unwrap();
        let programs = server["binDir"].as_str().filter(|_| !server["standIn"].is_null());
        Self::at(port, programs.map(PathBuf::from), None)
    }

    fn at(port: u16, stand_in: Option<PathBuf>, own: Option<Child>) -> Self {
        let root = ask(port, "GET", "/", "").unwrap();
        let text = |place: &str| root.pointer(place).and_then(Json::as_str).unwrap_or_default().to_owned();
        Self {
            port,
            version: text("/version/number"),
            distribution: text("/version/distribution"),
            stand_in,
            own,
        }
    }

    /// Another server of the same kind: a stand-in of our own, or another one of those that run.
    pub(crate) fn beside(other: &Self) -> Self {
        match &other.stand_in {
            Some(programs) => Self::start(programs),
            None => {
                let found = servers().iter().find(|server| server.port != other.port);
                Self::at(found.expect("a second server").port, None, None)
            }
        }
    }

    /// A stand-in of our own.
    pub(crate) fn own() -> Self {
        let programs = servers().iter().find_map(|server| server.stand_in.clone());
        Self::start(&programs.expect("the servers run in containers: none can be hurt"))
    }

    fn start(programs: &Path) -> Self {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(programs.join("osmem-server"));
        command.args(["-addr", &format!("127.0.0.1:{port}"), "-parent-pid", &std::process::id().to_string()]);
        command.arg("-no-stdin-watch").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let deadline = Instant::now() + LIMIT;
        while ask(port, "GET", "/", "").is_err() {
            assert!(Instant::now() < deadline, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self::at(port, Some(programs.to_owned()), Some(child))
    }

    pub(crate) fn title(&self) -> String {
        let stand_in = if self.is_stand_in() { " (a stand-in)" } else { "" };
        format!("{} {}{stand_in}", self.distribution, self.version)
    }

    pub(crate) fn is_stand_in(&self) -> bool {
        self.stand_in.is_some()
    }

    pub(crate) fn sorts_by_id(&self) -> bool {
        self.distribution == "opensearch"
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn config(&self) -> SourceConfig {
        serde_json::from_value(json!({"node": self.url()})).unwrap()
    }

    /// Asks the server without the bridge; an answer that is none of success stops the test.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Json {
        ask(self.port, method, path, body).unwrap_or_else(|answer| panic!("{method} {path}: {answer}"))
    }

    pub(crate) fn create(&self, index: &str, body: &Json) {
        self.ask("PUT", &format!("/{}", encoded(index)), &body.to_string());
    }

    pub(crate) fn insert(&self, index: &str, documents: &[(String, Json)]) {
        let mut body = String::new();
        for (id, document) in documents {
            body.push_str(&format!("{}\n{document}\n", json!({"index": {"_id": id}})));
        }
        let answer = self.ask("POST", &format!("/{}/_bulk", encoded(index)), &body);
        assert_eq!(answer["errors"], false, "{answer}");
    }

    pub(crate) fn refresh(&self, index: &str) {
        self.ask("POST", &format!("/{}/_refresh", encoded(index)), "");
    }

    /// Removes every index whose name begins so.
    pub(crate) fn remove(&self, prefix: &str) {
        let found = self.ask("GET", &format!("/_resolve/index/{prefix}*"), "");
        for index in found["indices"].as_array().unwrap() {
            self.ask("DELETE", &format!("/{}", encoded(index["name"].as_str().unwrap())), "");
        }
    }

    /// Stops a server of our own where it is, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let pid = self.own.as_ref().expect("only a server of our own can be stopped").id();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
        // A thread that runs is stopped a little later, and could still answer.
        let deadline = Instant::now() + LIMIT;
        while frozen && !is_stopped(pid) {
            assert!(Instant::now() < deadline, "the server does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.own {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Whether each thread of a process is stopped: the letter behind its name (proc_pid_stat(5)).
fn is_stopped(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.into_iter().all(|task| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    })
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn ask(port: u16, method: &str, path: &str, body: &str) -> Result<Json, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(text)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    match head.split(' ').nth(1) {
        Some("200" | "201") => serde_json::from_str(body).map_err(|error| format!("{error}: {body}")),
        _ => Err(answer),
    }
}
