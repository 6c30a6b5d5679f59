//! A gateway with a shop's sources and lenses, and the applications that ask it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use runtime::settings::Mapping;
use runtime::{Drain, Drained};
use semilayer_gateway::app::{App, Running};
use semilayer_gateway::audit::Actor;
use semilayer_gateway::capability::Scope;
use semilayer_gateway::config;
use semilayer_gateway::control::{By, Control, NewKey, NewRunner};
use semilayer_gateway::model::KeyKind;
use semilayer_gateway::settings::{ServeFlags, Settings};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything may take that is about to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const ADMIN: &str = "ak_the-operators-token-of-the-tests";

/// Two sources and their lenses. `products` is read from a managed source, `notes` from a runner-local one.
fn shop() -> Value {
    json!({
        "stack": "shop",
        "sources": {
            "main": {"bridge": "postgres", "host": "db.internal", "password": "hunter2"},
            "local": {"bridge": "sqlite", "credentialsLocation": "runner-local"},
        },
        "lenses": {
            "products": {
                "source": "main", "table": "public.products", "grants": {"query": "public"},
                "fields": {
                    "id": {"type": "number", "primaryKey": true},
                    "title": {"type": "text", "from": "name"},
                    "price": {"type": "number"},
                },
            },
            "notes": {
                "source": "local", "table": "notes",
                "fields": {
                    "id": {"type": "number", "primaryKey": true},
                    "rank": {"type": "number"},
                    "word": {"type": "text", "transform": ["trim", "lowercase"]},
                },
            },
        },
    })
}

/// A gateway that answers, and its operator.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) control: Arc<Control>,
    pub(crate) secret_key: String,
    pub(crate) public_key: String,
    drain: Drain,
    /// Carries the connections of the applications, which outlive the gateway's drain.
    clients: Drain,
    running: Option<Running>,
    folder: PathBuf,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more of the environment.
    pub(crate) async fn start_with(environment: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("semilayer-data-plane-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let own = [
            ("SEMILAYER_LISTEN", "127.0.0.1:0"),
            ("SEMILAYER_STATE_DIR", folder.to_str().unwrap()),
            ("SEMILAYER_ADMIN_TOKEN", ADMIN),
        ];
        let mapping: Mapping = own.iter().chain(environment).copied().collect();
        let settings = Settings::load(&ServeFlags::default(), &mapping).unwrap().settings;
        let drain = Drain::new();
        let app = App::build(&settings, &drain).await.unwrap();
        let control = Arc::clone(app.control());
        let running = app.spawn(&drain);
        let mut gateway = Self {
            address: running.local_addr(),
            control,
            secret_key: String::new(),
            public_key: String::new(),
            drain,
            clients: Drain::new(),
            running: Some(running),
            folder,
        };
        gateway.push(shop()).await;
        gateway.secret_key = gateway.key("server", KeyKind::Secret).await;
        gateway.public_key = gateway.key("browser", KeyKind::Public).await;
        gateway
    }

    pub(crate) fn by() -> By {
        By::new(Actor::Admin, "test")
    }

    pub(crate) async fn push(&self, document: Value) {
        let document = config::parse(&document.to_string(), config::Format::Json).unwrap();
        self.control.push(&Self::by(), config::check(&document).unwrap()).await.unwrap();
    }

    async fn key(&self, name: &str, kind: KeyKind) -> String {
        let (_, key) = self
            .control
            .create_key(&Self::by(), NewKey { name: name.to_owned(), kind, scopes: Vec::new() })
            .await
            .unwrap();
        key.expose().to_owned()
    }

    /// A secret key that may run commands.
    pub(crate) async fn scoped_key(&self, name: &str) -> String {
        let new = NewKey { name: name.to_owned(), kind: KeyKind::Secret, scopes: vec![Scope::Exec] };
        let (_, key) = self.control.create_key(&Self::by(), new).await.unwrap();
        key.expose().to_owned()
    }

    /// Makes a runner that has these sources; answers its id and its token.
    pub(crate) async fn runner(&self, name: &str, sources: &[&str]) -> (String, String) {
        let new = NewRunner {
            name: name.to_owned(),
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            ..NewRunner::default()
        };
        let (runner, token) = self.control.create_runner(&Self::by(), new).await.unwrap();
        (runner.id.to_string(), token.expose().to_owned())
    }

    /// Gives the lenses' sources other settings for one test.
    pub(crate) async fn timeout(&self, seconds: u64) {
        let mut shop = shop();
        shop["sources"]["main"]["timeout"] = json!(seconds * 1_000);
        self.push(shop).await;
    }

    /// Drains as SIGTERM does, with this much time for running work.
    pub(crate) fn stop(&self, grace: Duration) -> impl Future<Output = Drained> + use<> {
        self.drain.clone().run(grace, std::future::pending())
    }

    /// A connection of an application.
    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        // Ends with the connection; how does not matter.
        self.clients.spawn_companion("client", async move { drop(connection.await) });
        Client { sender, key: self.secret_key.clone(), patience: PATIENCE }
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, path: &str, body: Value) -> Answer {
        self.connect().await.ask(path, body).await
    }

    pub(crate) async fn query(&self, body: Value) -> Answer {
        self.ask("/v1/query/products", body).await
    }

    /// The same with rows as a stream of lines.
    pub(crate) async fn lines(&self, body: Value) -> Stream {
        self.connect().await.stream("/v1/query/products", &[("accept", "application/x-ndjson")], body).await
    }

    /// Asks the operators' API.
    pub(crate) async fn admin(&self, path: &str) -> Value {
        let mut client = self.connect().await;
        client.key = ADMIN.to_owned();
        let answer = client.send("GET", path, &[], String::new()).await.whole().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Asks the operators' API until the answer is what is wanted.
    pub(crate) async fn eventually(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.admin(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(std::time::Instant::now() < deadline, "it did not come to be: {answer}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The newest audit rows of an action, once there are so many.
    pub(crate) async fn audit(&self, action: &str, rows: usize) -> Vec<Value> {
        let path = format!("/api/audit?action={action}");
        let page = self.eventually(&path, |page| page["entries"].as_array().unwrap().len() >= rows).await;
        page["entries"].as_array().unwrap().clone()
    }

    /// Waits until so many runners are connected.
    pub(crate) async fn connected(&self, sessions: usize) {
        let count = |page: &Value| -> usize {
            page["runners"]
                .as_array()
                .unwrap()
                .iter()
                .map(|runner| runner["sessions"].as_array().unwrap().len())
                .sum()
        };
        self.eventually("/api/runners", |page| count(page) == sessions).await;
    }

    /// One line of the metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = self.connect().await.send("GET", "/metrics", &[], String::new()).await.whole().await;
        let line = answer.text.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", answer.text))
            .split(' ')
            .next_back()
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.running.take());
        // What cannot be removed is the system's to clean up.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A connection over which one request follows another.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    pub(crate) key: String,
    /// How long it waits for an answer to begin.
    pub(crate) patience: Duration,
}

impl Client {
    pub(crate) async fn ask(&mut self, path: &str, body: Value) -> Answer {
        self.stream(path, &[], body).await.whole().await
    }

    pub(crate) async fn stream(&mut self, path: &str, headers: &[(&str, &str)], body: Value) -> Stream {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send("POST", path, headers, body).await
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Stream {
        let mut request = Request::builder().method(method).uri(path).header("host", "gateway");
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let sent = async {
            self.sender.ready().await.unwrap();
            self.sender.send_request(request).await.unwrap()
        };
        let response = timeout(self.patience, sent).await.expect("no answer in time");
        Stream { response, read: Vec::new() }
    }
}

/// An answer whose body is still to come.
pub(crate) struct Stream {
    response: Response<Incoming>,
    read: Vec<u8>,
}

/// The body broke off.
#[derive(Debug)]
pub(crate) struct BrokenOff;

impl Stream {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    /// The next line of the body; `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            match self.piece().await {
                Ok(Some(piece)) => self.read.extend_from_slice(&piece),
                Ok(None) => {
                    assert!(self.read.is_empty(), "half a line at the end");
                    return None;
                }
                Err(BrokenOff) => panic!("the stream broke off"),
            }
        }
    }

    /// The next event of a stream of them, comments passed over; `None` at its end.
    pub(crate) async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                if event.starts_with(':') {
                    continue;
                }
                let (name, data) = event.trim_end().split_once('\n').unwrap();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                return Some((name.strip_prefix("event: ").unwrap().to_owned(), data));
            }
            match self.piece().await {
                Ok(Some(piece)) => self.read.extend_from_slice(&piece),
                Ok(None) => {
                    assert!(self.read.is_empty(), "half an event at the end");
                    return None;
                }
                Err(BrokenOff) => panic!("the stream broke off"),
            }
        }
    }

    /// All lines to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        lines
    }

    /// The next bytes of the body.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        match timeout(PATIENCE, self.response.frame()).await.expect("nothing more in time") {
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap())),
            Some(Err(_)) => Err(BrokenOff),
            None => Ok(None),
        }
    }

    /// The whole body, or that it broke off.
    pub(crate) async fn try_whole(mut self) -> Result<Answer, BrokenOff> {
        let mut body = std::mem::take(&mut self.read);
        while let Some(piece) = self.piece().await? {
            body.extend_from_slice(&piece);
        }
        let (status, headers) = (self.status(), self.response.headers().clone());
        Ok(Answer { status, headers, text: String::from_utf8(body).unwrap() })
    }

    pub(crate) async fn whole(self) -> Answer {
        self.try_whole().await.expect("the answer broke off")
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The body, once the status is 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    #[track_caller]
    pub(crate) fn rows(&self) -> Value {
        self.ok()["rows"].clone()
    }

    /// Status and code of a refusal.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        (self.status, body["code"].as_str().unwrap().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
