//! No secret of any source leaves the runner: not to the gateway, not into logs, metrics or health answers.
//!
//! Every field of every source holds a value that exists nowhere else. Sources that work run every kind of job; sources
//! that fail do so in every way that a driver has words for. Then everything that the runner said is searched.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;

use harness::canary::{Canary, Leak, search};
use harness::fault::{Link, Mood};
use harness::folder::Folder;
use harness::gateway::Credentials;
use harness::postgres::Database;
use harness::runner::{Runner, Settings};
use harness::services::{Server, tls};
use harness::sqlite::Sqlite;
use harness::v1::{RunnerSocket, StrictGateway};
use harness::wait::{secs, within};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::foreign_gateway::{local, managed};

const TOKEN: &str = "rk_canary-token-0123456789abcdef";
const KINDS: [&str; 10] = [
    "test",
    "listTargets",
    "introspectTarget",
    "query",
    "read",
    "batchRead",
    "count",
    "aggregate",
    "search",
    "similar",
];

#[tokio::test]
async fn no_secret_of_a_managed_source_is_ever_said_in_text_logs() {
    within(secs(150), leaks_nothing("text", false)).await;
}

#[tokio::test]
async fn no_secret_of_a_runner_local_source_is_ever_said_in_json_logs() {
    within(secs(150), leaks_nothing("json", true)).await;
}

async fn leaks_nothing(log_format: &str, runner_local: bool) {
    let zoo = Zoo::build(runner_local).await;
    let mut gateway = StrictGateway::start(TOKEN).await;
    let credentials =
        Credentials { id: "canary".to_owned(), name: "canary".to_owned(), token: TOKEN.to_owned() };
    let mut settings = Settings::new(&credentials, &gateway.url()).with("SEMILAYER_LOG_FORMAT", log_format);
    if runner_local {
        settings = zoo.sources.iter().fold(settings, |settings, source| source.plant(settings));
    }
    let mut runner = settings.start();
    let assigned = zoo.assigned(runner_local);
    let mut socket = gateway.runner_with(&assigned).await;
    runner.connected().await;

    run_everything(&zoo, &mut socket).await;
    // Another set of settings makes the runner compare, close and reopen.
    socket.assign(&assigned[1..]);
    socket.assign(&assigned);
    run_everything(&zoo, &mut socket).await;

    let mut said = health_answers(&runner).await;
    if runner_local {
        said.extend(command_outputs(&zoo, &settings, &mut gateway).await);
    }
    socket.closed_by(&mut runner).await;
    said.push(("stdout".to_owned(), runner.process.stdout.bytes()));
    said.push(("stderr".to_owned(), runner.process.stderr.bytes()));
    said.push(("to the gateway".to_owned(), gateway.record()));

    let log = runner.process.stderr.text();
    assert!(log.lines().count() > 10, "the log says too little to prove anything:\n{log}");
    // The runner's own token goes to the gateway, in the one header that is for it, and nowhere else.
    let token = [Canary::of("token", TOKEN)];
    let elsewhere = said.iter().filter(|(place, _)| place != "to the gateway");
    let tokens: Vec<Leak> = elsewhere.flat_map(|(place, text)| search(&token, place, text)).collect();
    assert!(tokens.is_empty(), "{tokens:#?}");
    let leaks: Vec<Leak> = said.iter().flat_map(|(place, text)| search(&zoo.canaries, place, text)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

trait Leave {
    async fn closed_by(self, runner: &mut Runner);
}

impl Leave for RunnerSocket {
    /// Lets the runner stop in its own way, so that its last words are heard.
    async fn closed_by(mut self, runner: &mut Runner) {
        runner.process.signal(harness::process::Signal::TERM);
        self.closed().await;
        runner.process.wait(secs(20)).await;
    }
}

/// Every kind of job on every source. Those that work must work, or the test would prove nothing; those that cannot
/// must fail with a code and a message.
async fn run_everything(zoo: &Zoo, socket: &mut RunnerSocket) {
    for source in &zoo.sources {
        for kind in KINDS {
            let options = match kind {
                "batchRead" => json!({"where": {"id": {"$in": [1, 2]}}}),
                "aggregate" => json!({"dimensions": [{"field": "id"}], "measures": {"n": {"agg": "count"}}}),
                _ => json!({}),
            };
            let limit = source.deadline;
            let id = socket.start_within(limit, &source.name, kind, "people", options);
            let outcome = socket.outcome(&id).await;
            match (&source.fails, kind) {
                (_, "search" | "similar") => assert_ne!(outcome.error, None),
                (None, _) => assert_eq!(outcome.error, None, "{kind} on {}", source.name),
                (Some(codes), _) => {
                    assert!(
                        codes.contains(&outcome.code()),
                        "{kind} on {}: {:?}",
                        source.name,
                        outcome.error
                    );
                }
            }
        }
        // A query that the database itself refuses, with names of the test's own in the text.
        let refused = socket.ask(&source.name, "query", "no_such_table", json!({})).await;
        assert_ne!(refused.error, None);
    }
}

async fn health_answers(runner: &Runner) -> Vec<(String, Vec<u8>)> {
    let mut said = Vec::new();
    for path in ["/health", "/ready", "/metrics", "/status", "/nowhere"] {
        let answer = runner.get(path).await;
        said.push((path.to_owned(), format!("{:?}\n{}", answer.headers, answer.text()).into_bytes()));
    }
    said
}

async fn command_outputs(
    zoo: &Zoo,
    settings: &Settings,
    gateway: &mut StrictGateway,
) -> Vec<(String, Vec<u8>)> {
    let mut said = Vec::new();
    for arguments in [&["doctor"][..], &["doctor", "--json"]] {
        let assigned = zoo.assigned(true);
        let (finished, _socket) = tokio::join!(settings.run(arguments), gateway.runner_with(&assigned));
        assert_eq!(finished.code, Some(1), "some sources are broken: {}", finished.both());
        said.push((arguments.join(" "), finished.both().into_bytes()));
    }
    for arguments in [["status"], ["test-source"]] {
        said.push((arguments.join(" "), settings.run(&arguments).await.both().into_bytes()));
    }
    for source in &zoo.sources {
        let finished = settings.run(&["test-source", &source.name, "--bridge", source.bridge]).await;
        assert_eq!(finished.code == Some(0), source.fails.is_none(), "{}: {}", source.name, finished.both());
        said.push((format!("test-source {}", source.name), finished.both().into_bytes()));
    }
    said
}

/// All sources, and what keeps them alive.
struct Zoo {
    sources: Vec<Source>,
    canaries: Vec<Canary>,
    _folders: Vec<Folder>,
    _sqlite: Sqlite,
    _database: Database,
    _links: Vec<Link>,
}

struct Source {
    name: String,
    bridge: &'static str,
    config: Value,
    /// The codes that it may fail with; none for one that works.
    fails: Option<Vec<&'static str>>,
    deadline: std::time::Duration,
}

impl Source {
    /// The same settings as variables.
    fn plant(&self, settings: Settings) -> Settings {
        let prefix = format!("SEMILAYER_SOURCE_{}", self.name.to_uppercase().replace('-', "_"));
        self.config.as_object().unwrap().iter().fold(settings, |settings, (field, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            settings.with(&format!("{prefix}_{}", upper_snake(field)), &text)
        })
    }
}

/// `connectionTimeoutMillis` as a variable has it.
fn upper_snake(field: &str) -> String {
    field.chars().fold(String::new(), |name, letter| {
        let gap = if letter.is_ascii_uppercase() { "_" } else { "" };
        format!("{name}{gap}{}", letter.to_ascii_uppercase())
    })
}

const SQLITE: &str = "@semilayer/bridge-sqlite";
const POSTGRES: &str = "@semilayer/bridge-postgres";

impl Zoo {
    fn assigned(&self, runner_local: bool) -> Vec<Value> {
        let of = |source: &Source| match runner_local {
            true => local(&source.name, source.bridge),
            false => managed(&source.name, source.bridge, &source.config),
        };
        self.sources.iter().map(of).collect()
    }

    async fn build(runner_local: bool) -> Self {
        let (user, database, password) =
            (Canary::word("user"), Canary::word("database"), Canary::new("password"));
        let store = Database::named(&database.value, &user.value, &password.value).await;
        let grant = format!(
            "create table people (id int primary key, full_name text); insert into people values (1, 'Ada');
             alter table people owner to {}",
            user.value
        );
        store.ask_as("admin", &grant).await;
        let server = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Server::shared("postgres").port);
        let link = Link::on(odd_address(), server).await;
        let silent = Link::on(odd_address(), server).await;
        silent.set(Mood::Blackhole);
        let sqlite = Sqlite::named(&format!("{} \"é.db", Canary::word("path").value));
        sqlite.run("CREATE TABLE people (id INTEGER PRIMARY KEY, full_name TEXT); INSERT INTO people VALUES (1, 'Ada');");
        let mut zoo = Self {
            sources: Vec::new(),
            canaries: vec![user.clone(), database.clone(), password.clone()],
            _folders: vec![Folder::new()],
            _sqlite: sqlite,
            _database: store,
            _links: Vec::new(),
        };
        zoo.add_sqlite(runner_local);
        let account = Account { user, database, password };
        zoo.add_postgres(&account, link.address());
        zoo.add_broken(&account, link.address(), silent.address());
        zoo.add_tls(&account, link.address());
        zoo._links = vec![link, silent];
        zoo
    }

    fn add(&mut self, name: &str, bridge: &'static str, config: Value, fails: Option<&[&'static str]>) {
        let fails = fails.map(<[_]>::to_vec);
        self.sources.push(Source { name: name.to_owned(), bridge, config, fails, deadline: secs(20) });
    }

    /// Keeps a value to look for.
    fn secret(&mut self, canary: Canary) -> String {
        let value = canary.value.clone();
        self.canaries.push(canary);
        value
    }

    fn add_sqlite(&mut self, runner_local: bool) {
        let path = self._sqlite.path().to_owned();
        let path = self.secret(Canary::of("sqlite path", path));
        let unknown = self.secret(Canary::new("unknown field"));
        self.add("file", SQLITE, json!({"path": path, "token": unknown}), None);
        let url = format!(
            "file:{}?mode=ro",
            utf8_percent_encode(&path, NON_ALPHANUMERIC).to_string().replace("%2F", "/")
        );
        let url = self.secret(Canary::of("sqlite url", url));
        // SQLite's manifest has no field `url`, and a runner's own variables are those of the manifest.
        let field = if runner_local { "path" } else { "url" };
        self.add("file-url", SQLITE, json!({field: url}), None);
        let missing = self._folders[0].file(&format!("{}/é \" missing.db", Canary::word("missing").value));
        let missing = self.secret(Canary::of("missing path", missing));
        self.add("file-missing", SQLITE, json!({"path": missing}), Some(&["SOURCE_UNREACHABLE"]));
        let garbage = self._folders[0].write(&Canary::word("garbage").value, &"not a database ".repeat(500));
        let garbage = self.secret(Canary::of("garbage path", garbage));
        self.add(
            "file-garbage",
            SQLITE,
            json!({"path": garbage}),
            Some(&["SOURCE_UNREACHABLE", "SOURCE_QUERY_FAILED"]),
        );
        if !runner_local {
            let wrong = self.secret(Canary::new("wrong number"));
            let config = json!({"path": self._sqlite.path(), "busyTimeoutMs": wrong});
            self.add(
                "file-number",
                SQLITE,
                config,
                Some(&["SOURCE_NOT_CONFIGURED", "SOURCE_UNREACHABLE", "bad_request"]),
            );
        }
    }

    fn add_postgres(&mut self, account: &Account, address: SocketAddr) {
        let host = self.secret(Canary::of("host", address.ip().to_string()));
        let port = address.port();
        for form in
            [format!(":{port}"), format!("port {port}"), format!("port\":{port}"), format!("port={port}")]
        {
            self.secret(Canary::of("port", form));
        }
        self.add("fields", POSTGRES, account.fields(&host, port), None);
        let url = self.secret(Canary::of("url", account.url(&address.to_string(), "")));
        self.add("by-url", POSTGRES, json!({"url": url}), None);
    }

    fn add_broken(&mut self, account: &Account, address: SocketAddr, silent: SocketAddr) {
        let (host, port) = (address.ip().to_string(), address.port());
        let wrong = Account { password: Canary::new("wrong password"), ..account.clone() };
        self.secret(wrong.password.clone());
        self.add("wrong-password", POSTGRES, wrong.fields(&host, port), Some(&["SOURCE_UNREACHABLE"]));
        let nobody = Account { user: Canary::word("unknown user"), ..account.clone() };
        self.secret(nobody.user.clone());
        self.add("unknown-user", POSTGRES, nobody.fields(&host, port), Some(&["SOURCE_UNREACHABLE"]));
        let nowhere = Account { database: Canary::word("unknown database"), ..account.clone() };
        self.secret(nowhere.database.clone());
        self.add("unknown-database", POSTGRES, nowhere.fields(&host, port), Some(&["SOURCE_UNREACHABLE"]));
        let name =
            self.secret(Canary::of("unresolvable host", format!("{}.invalid", Canary::word("h").value)));
        self.add("dns", POSTGRES, account.fields(&name, port), Some(&["SOURCE_UNREACHABLE"]));
        let closed = odd_address().to_string();
        let closed = self.secret(Canary::of("closed host", closed));
        self.add("refused", POSTGRES, account.fields(&closed, port), Some(&["SOURCE_UNREACHABLE"]));
        let quiet = self.secret(Canary::of("silent host", silent.ip().to_string()));
        let mut silence = account.fields(&quiet, silent.port());
        silence["connectionTimeoutMillis"] = 1_500.into();
        self.add("timeout", POSTGRES, silence, Some(&["SOURCE_UNREACHABLE", "QUERY_TIMEOUT"]));
        self.sources.last_mut().unwrap().deadline = secs(1);
        let malformed = self.secret(Canary::of(
            "malformed url",
            format!("postgres://{}:x y@[::bad/{}", Canary::word("a").value, account.password.value),
        ));
        self.add(
            "malformed-url",
            POSTGRES,
            json!({"url": malformed}),
            Some(&["bad_request", "SOURCE_NOT_CONFIGURED", "SOURCE_UNREACHABLE"]),
        );
    }

    /// Certificates in places whose names are secrets: good ones, ones that do not fit, and one that is not there.
    fn add_tls(&mut self, account: &Account, address: SocketAddr) {
        let tls = tls();
        let folder = self._folders[0].file(&Canary::word("certificates").value);
        fs::create_dir(&folder).unwrap();
        let mut keep = |name: &str, from: &std::path::Path| {
            let path = format!("{folder}/{}-{name}", Canary::word(name).value);
            fs::copy(from, &path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            self.canaries.push(Canary::of(name, path.clone()));
            path
        };
        let ca = keep("ca.crt", &tls.ca);
        let other_ca = keep("other-ca.crt", &tls.other_ca);
        let (cert, key) = (keep("client.crt", &tls.client_cert), keep("client.key", &tls.client_key));
        let absent =
            self.secret(Canary::of("absent key", format!("{folder}/{}.key", Canary::word("absent").value)));
        let query = |pairs: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value));
            format!("?{}", pairs.iter().map(pair).collect::<Vec<_>>().join("&"))
        };
        let unreachable: Option<&[&'static str]> =
            Some(&["SOURCE_UNREACHABLE", "SOURCE_NOT_CONFIGURED", "bad_request"]);
        for (name, pairs, fails) in [
            (
                "tls",
                vec![("sslmode", "verify-ca"), ("sslrootcert", &*ca), ("sslcert", &*cert), ("sslkey", &*key)],
                None,
            ),
            ("tls-other-ca", vec![("sslmode", "verify-ca"), ("sslrootcert", &*other_ca)], unreachable),
            ("tls-other-name", vec![("sslmode", "verify-full"), ("sslrootcert", &*ca)], unreachable),
            (
                "tls-no-key",
                vec![
                    ("sslmode", "verify-ca"),
                    ("sslrootcert", &*ca),
                    ("sslcert", &*cert),
                    ("sslkey", &*absent),
                ],
                unreachable,
            ),
        ] {
            let url = self
                .secret(Canary::of(format!("{name} url"), account.url(&address.to_string(), &query(&pairs))));
            self.add(name, POSTGRES, json!({"url": url}), fails);
        }
    }
}

#[derive(Clone)]
struct Account {
    user: Canary,
    database: Canary,
    password: Canary,
}

impl Account {
    fn fields(&self, host: &str, port: u16) -> Value {
        json!({
            "host": host,
            "port": port,
            "user": self.user.value,
            "password": self.password.value,
            "database": self.database.value,
        })
    }

    fn url(&self, address: &str, query: &str) -> String {
        let (user, password) = (&self.user.value, encoded(&self.password.value));
        format!("postgres://{user}:{password}@{address}/{}{query}", self.database.value)
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An address of this machine that nothing else has in its texts.
fn odd_address() -> IpAddr {
    let random = uuid::Uuid::new_v4();
    let [a, b, c, ..] = *random.as_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 100 + a % 100, 100 + b % 100, 100 + c % 100))
}
