//! The HTTP door of the sandbox as its clients meet it, and a server that callbacks are sent to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::docker::{BUSYBOX, Engine};
use crate::folder::Folder;
use crate::http::{Answer, Request, Streaming};
use crate::process::{Process, program};
use crate::wait::{eventually, secs, until};

/// The program's name.
pub const SANDBOX: &str = "semilayer-sandbox";
/// The token of every server that a test starts.
pub const TOKEN: &str = "test-sandbox-token-0123456789";

/// A running server.
#[derive(Debug)]
pub struct Door {
    /// The process.
    pub process: Process,
    /// Its engine.
    pub engine: Engine,
    folder: Folder,
    address: SocketAddr,
    variables: Vec<(String, String)>,
}

impl Door {
    /// Starts one with folders of its own.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more environment variables.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let engine = Engine::shared();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(own).collect();
        let process = launch(&folder, engine.host(), "0", &variables);
        let address = listening(&process).await;
        Self { process, engine, folder, address, variables }
    }

    /// Starts it again after its end, with the same folders and on the same port.
    pub async fn restart(&mut self) {
        let port = self.address.port().to_string();
        self.process = launch(&self.folder, self.engine.host(), &port, &self.variables);
        listening(&self.process).await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps its artifacts.
    pub fn artifacts(&self) -> PathBuf {
        self.folder.path().join("state/artifacts")
    }

    /// The folders of runs among its artifacts.
    pub fn kept(&self) -> Vec<String> {
        let Ok(entries) = self.artifacts().read_dir() else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".server.lock").collect()
    }

    /// Where it keeps its states.
    pub fn states(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Sends a request with the token.
    pub async fn send(&self, request: Request) -> Answer {
        request.bearer(TOKEN).send(self.address).await
    }

    /// A GET with the token.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    /// A POST without a body, with the token.
    pub async fn post(&self, path: &str) -> Answer {
        self.send(Request::new("POST", path)).await
    }

    /// A POST of JSON, with the token.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::post(path, body)).await
    }

    /// A DELETE with the token.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Request::new("DELETE", path)).await
    }

    /// Sends a request with the token and waits for the head of the answer.
    pub async fn open(&self, request: Request) -> Streaming {
        request.bearer(TOKEN).open(self.address).await
    }

    /// Runs a line of shell in an image without a network, with what else the order says, and waits for its end.
    pub async fn shell(&self, line: &str, more: Value) -> Value {
        self.post_json("/run", &order(line, more)).await.ok()
    }

    /// Begins a run that is not waited for, and answers its id.
    pub async fn detach(&self, line: &str, more: Value) -> String {
        let mut order = order(line, more);
        order["detached"] = true.into();
        let answer = self.post_json("/run", &order).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let started = answer.json();
        assert_eq!(started["status"], "running");
        assert_eq!(started["url"], format!("/runs/{}", started["id"].as_str().unwrap()));
        started["id"].as_str().unwrap().to_owned()
    }

    /// What the server says of a run.
    pub async fn run(&self, id: &str) -> Value {
        self.get(&format!("/runs/{id}")).await.ok()
    }

    /// A run when it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        eventually(format!("the end of {id}"), secs(60), async || {
            let run = self.run(id).await;
            (run["status"] != "running").then_some(run)
        })
        .await
    }

    /// Waits until a run's process has written a line.
    pub async fn written(&self, id: &str, line: &str) {
        until(format!("{line:?} of {id}"), secs(60), async || {
            let run = self.run(id).await;
            run["logs"].as_array().is_some_and(|lines| lines.iter().any(|written| written == line))
        })
        .await;
    }

    /// Whether the engine has nothing left of a run.
    pub async fn is_gone(&self, id: &str) -> bool {
        self.engine.left(&format!("light-runner.run-id={id}")).await.is_empty()
    }
}

/// The body of a run: a line of shell, one file, no network, and what else there is to say.
pub fn order(line: &str, more: Value) -> Value {
    let mut order =
        json!({"image": BUSYBOX, "files": {"a.txt": "hello"}, "entrypoint": line, "network": "none"});
    if let Value::Object(more) = more {
        for (name, value) in more {
            order[name] = value;
        }
    }
    order
}

/// A command of the program with its folders in `folder`.
pub fn command(folder: &Folder, docker_host: &str) -> tokio::process::Command {
    let mut command = program(SANDBOX);
    command
        .env("HOME", folder.path())
        .env("SEMILAYER_SANDBOX_STATE_DIR", folder.file("state"))
        .env("DOCKER_HOST", docker_host)
        .env("SEMILAYER_LOG_LEVEL", "debug")
        .env("SEMILAYER_LOG_FORMAT", "text")
        .current_dir(folder.path());
    command
}

fn launch(folder: &Folder, docker_host: &str, port: &str, variables: &[(String, String)]) -> Process {
    let mut command = command(folder, docker_host);
    command
        .env("SEMILAYER_SANDBOX_TOKEN", TOKEN)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .args(["serve", "--port", port]);
    Process::start("sandbox", command)
}

async fn listening(process: &Process) -> SocketAddr {
    let address = |line: &str| line.strip_prefix("listening on http://")?.parse().ok();
    process.stdout.find("the address that the server listens on", secs(30), address).await
}

/// A server that callbacks are sent to: keeps what comes, and answers with the statuses that it was given, then with 204.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

/// A callback.
#[derive(Debug, Clone)]
pub struct Received {
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Receiver {
    /// One at `address`; port 0 takes any.
    pub async fn at(address: SocketAddr, statuses: &[u16]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut statuses) = (Arc::clone(&seen), VecDeque::from(statuses.to_vec()));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Some(received) = receive(stream, statuses.pop_front().unwrap_or(204)).await {
                    kept.lock().unwrap().push(received);
                }
            }
        });
        Self { address, seen, task }
    }

    /// One anywhere that takes everything.
    pub async fn start() -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), &[]).await
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/done", self.address)
    }

    /// What has come so far.
    pub fn seen(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many have come.
    pub async fn wait(&self, count: usize) -> Vec<Received> {
        eventually(format!("{count} callbacks"), secs(60), async || {
            let seen = self.seen();
            (seen.len() >= count).then_some(seen)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(mut stream: TcpStream, status: u16) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let mut received = Received { head, body: bytes[head_end + 4..].to_vec() };
    let length: usize = received.header("content-length")?.parse().ok()?;
    while received.body.len() < length {
        if stream.read_buf(&mut received.body).await.ok()? == 0 {
            return None;
        }
    }
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.ok()?;
    Some(received)
}
