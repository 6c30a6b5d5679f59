//! The gateway as operators and applications meet it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::folder::Folder;
use crate::http::{Answer, Request, Streaming};
use crate::process::{Finished, Process, program, run};
use crate::runner::{Runner, Settings};
use crate::wait::{eventually, secs, until};

/// The program's name.
pub const GATEWAY: &str = "semilayer-gateway";
/// The operator's token of every gateway that a test starts.
pub const ADMIN: &str = "ak_test-operator-token-0123456789abcdef";

/// Who a runner is, as the gateway told it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its token.
    pub token: String,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub process: Process,
    folder: Folder,
    address: SocketAddr,
    variables: Vec<(String, String)>,
}

impl Gateway {
    /// Starts one with a store of its own.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more environment variables.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(own).collect();
        let process = launch(&folder, "127.0.0.1:0", &variables);
        let address = listening(&process).await;
        let gateway = Self { process, folder, address, variables };
        gateway.ready().await;
        gateway
    }

    /// Starts it again after its end, with the same store and on the same port.
    pub async fn restart(&mut self) {
        self.process = launch(&self.folder, &self.address.to_string(), &self.variables);
        self.ready().await;
    }

    async fn ready(&self) {
        until("the gateway is ready", secs(30), async || {
            Request::get("/ready").try_send(self.address).await.is_some_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps its store.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What a runner is told to dial.
    pub fn runner_url(&self) -> String {
        runner_url(self.address)
    }

    /// Asks without any token.
    pub async fn get(&self, path: &str) -> Answer {
        Request::get(path).send(self.address).await
    }

    /// Asks as the operator.
    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = Request::new(method, path).bearer(ADMIN);
        let request = if body.is_null() { request } else { request.json(&body) };
        request.send(self.address).await
    }

    /// Asks as the operator for something that must be there.
    pub async fn admin_get(&self, path: &str) -> Value {
        self.admin("GET", path, Value::Null).await.ok()
    }

    /// Makes a runner.
    pub async fn create_runner(&self, name: &str) -> Credentials {
        let made = self.admin("POST", "/api/runners", json!({"name": name})).await.ok();
        credentials(&made)
    }

    /// What the gateway says of a runner.
    pub async fn runner(&self, id: &str) -> Value {
        self.admin_get(&format!("/api/runners/{id}")).await
    }

    /// Whether a runner is online.
    pub async fn is_online(&self, id: &str) -> bool {
        self.runner(id).await["status"] == "online"
    }

    /// Gives a source to a runner.
    pub async fn assign(&self, source: &str, runner: &str) {
        let path = format!("/api/runners/{runner}/sources/{source}");
        let answer = self.admin("PUT", &path, Value::Null).await;
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    }

    /// Makes an application's key: `secret` or `public`.
    pub async fn create_key(&self, kind: &str) -> String {
        let name = format!("{kind}-{}", uuid::Uuid::new_v4().simple());
        let body = json!({"kind": kind, "name": name});
        let made = self.admin("POST", "/api/keys", body).await.ok();
        made["token"].as_str().unwrap_or_else(|| panic!("no token in {made}")).to_owned()
    }

    /// Puts sources and lenses in place.
    pub async fn push(&self, sources: Value, lenses: Value) -> Value {
        let config = json!({"stack": "test", "sources": sources, "lenses": lenses});
        self.admin("PUT", "/api/config", config).await.ok()
    }

    /// An application with this key.
    pub fn app(&self, key: &str) -> App {
        App { address: self.address, key: key.to_owned() }
    }

    /// An application that may ask for everything.
    pub async fn secret_app(&self) -> App {
        self.app(&self.create_key("secret").await)
    }

    /// A runner that serves these sources and is connected.
    pub async fn connect_runner(&self, name: &str, sources: &[&str]) -> (Credentials, Runner) {
        let credentials = self.create_runner(name).await;
        for source in sources {
            self.assign(source, &credentials.id).await;
        }
        let runner = self.settings(&credentials).connect().await;
        (credentials, runner)
    }

    /// How a runner of this gateway is to be started.
    pub fn settings(&self, credentials: &Credentials) -> Settings {
        Settings::new(credentials, &self.runner_url())
    }

    /// Runs a command of the program as the operator.
    pub async fn cli(&self, arguments: &[&str]) -> Finished {
        let mut command = command(&self.folder);
        command.env("SEMILAYER_GATEWAY_API", format!("http://{}", self.address));
        command.env("SEMILAYER_ADMIN_TOKEN", ADMIN).args(arguments);
        run(GATEWAY, command, secs(60)).await
    }

    /// The newest rows of the audit log for one request id, at least `count` of them.
    pub async fn audit_of(&self, request_id: &str, count: usize) -> Vec<Value> {
        let path = format!("/api/audit?requestId={request_id}&limit=1000");
        eventually(format!("{count} audit rows of {request_id}"), secs(10), async || {
            let rows = self.admin_get(&path).await;
            let rows = list(&rows, "entries");
            (rows.len() >= count).then_some(rows)
        })
        .await
    }
}

/// What a runner is told to dial to get to a gateway at `address`.
pub fn runner_url(address: SocketAddr) -> String {
    format!("ws://{address}/connect")
}

/// The id, name and token in the gateway's answer to a new or rotated runner.
#[track_caller]
pub fn credentials(made: &Value) -> Credentials {
    let runner = made.get("runner").unwrap_or(made);
    let text =
        |value: &Value| value.as_str().unwrap_or_else(|| panic!("no credentials in {made}")).to_owned();
    Credentials { id: text(&runner["id"]), name: text(&runner["name"]), token: text(&made["token"]) }
}

/// The list in an answer: the answer itself, or its field.
#[track_caller]
pub fn list(answer: &Value, field: &str) -> Vec<Value> {
    let items = answer.as_array().or_else(|| answer[field].as_array());
    items.unwrap_or_else(|| panic!("no {field} in {answer}")).clone()
}

/// A command of the program, with everything it keeps in `folder`.
pub fn command(folder: &Folder) -> Command {
    let mut command = program(GATEWAY);
    command.env("HOME", folder.path()).env("XDG_STATE_HOME", folder.path()).current_dir(folder.path());
    command
}

fn launch(folder: &Folder, listen: &str, variables: &[(String, String)]) -> Process {
    let mut command = command(folder);
    command
        .env("SEMILAYER_LISTEN", listen)
        .env("SEMILAYER_DATABASE_URL", format!("sqlite:{}", folder.file("gateway.db")))
        .env("SEMILAYER_ADMIN_TOKEN", ADMIN)
        .env("SEMILAYER_LOG_LEVEL", "debug")
        .env("SEMILAYER_LOG_FORMAT", "text")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .arg("serve");
    Process::start("gateway", command)
}

/// The address that a gateway says it listens on.
pub async fn listening(process: &Process) -> SocketAddr {
    process.stdout.find("the address that the gateway listens on", secs(30), address_in).await
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.strip_prefix("listening on ")?.split_once("://")?;
    address.parse().ok()
}

/// An application.
#[derive(Debug, Clone)]
pub struct App {
    address: SocketAddr,
    key: String,
}

impl App {
    /// A request with its key.
    pub fn request(&self, path: &str, body: &Value) -> Request {
        Request::post(path, body).bearer(&self.key)
    }

    /// Asks for rows.
    pub async fn query(&self, lens: &str, body: &Value) -> Answer {
        self.request(&format!("/v1/query/{lens}"), body).send(self.address).await
    }

    /// Asks for rows that must come.
    pub async fn rows(&self, lens: &str, body: &Value) -> Vec<Value> {
        let answer = self.query(lens, body).await.ok();
        list(&answer, "rows")
    }

    /// Asks for rows as lines, and waits for the head of the answer.
    pub async fn lines(&self, lens: &str, body: &Value) -> Streaming {
        let request =
            self.request(&format!("/v1/query/{lens}"), body).header("accept", "application/x-ndjson");
        request.open(self.address).await
    }

    /// How many rows there must be.
    pub async fn count(&self, lens: &str, body: &Value) -> u64 {
        let answer = self.request(&format!("/v1/count/{lens}"), body).send(self.address).await.ok();
        answer["count"].as_u64().unwrap_or_else(|| panic!("no count in {answer}"))
    }

    /// Walks all pages by cursor, and answers them one by one.
    pub async fn walk(&self, lens: &str, body: &Value) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut body = body.clone();
        loop {
            let answer = self.query(lens, &body).await.ok();
            pages.push(list(&answer, "rows"));
            match answer["meta"].get("nextCursor") {
                Some(cursor) => body["cursor"] = cursor.clone(),
                None => return pages,
            }
            assert!(pages.len() < 10_000, "the walk does not end");
        }
    }
}
