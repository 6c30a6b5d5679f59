//! The program itself: its commands, exit codes and signals.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::gateway::{Gateway, job};

const LIMIT: Duration = Duration::from_secs(20);
const TOKEN: &str = "rk_command_token";

fn program(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semilayer-runner"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let output: Output = timeout(LIMIT, program(arguments, environment).output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A SQLite file with one table.
fn database() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'tea')",
        )
        .unwrap();
    (folder, path)
}

fn sqlite(name: &str) -> Value {
    json!({"id": name, "name": name, "bridge": "sqlite", "credentialsLocation": "runner-local"})
}

/// A started daemon with its log.
struct Daemon {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Daemon {
    fn start(url: &str, more: &[(&str, &str)]) -> Self {
        let mut environment = vec![
            ("SEMILAYER_RUNNER_ID", "r1"),
            ("SEMILAYER_RUNNER_TOKEN", TOKEN),
            ("SEMILAYER_GATEWAY_URL", url),
            ("SEMILAYER_HEALTH_PORT", "0"),
        ];
        environment.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
        environment.extend(more);
        let mut child = program(&["start"], &environment).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().expect("the runner has ended").to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Reads the log up to a line with that message.
    async fn logged(&mut self, message: &str) -> Value {
        let reading = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap();
                assert!(!line.to_string().contains(TOKEN), "{line}");
                if line["message"] == message {
                    return line;
                }
            }
            panic!("the log ended without {message:?}");
        };
        timeout(LIMIT, reading).await.unwrap_or_else(|_| panic!("not logged: {message}"))
    }

    async fn exit(mut self) -> i32 {
        timeout(LIMIT, self.child.wait()).await.expect("it does not end").unwrap().code().unwrap()
    }
}

fn url(gateway: &Gateway) -> String {
    gateway.url().to_string()
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_bad_environment_lists_every_mistake_and_exits_with_2() {
    let environment = [("SEMILAYER_GATEWAY_URL", "nonsense"), ("SEMILAYER_MAX_JOBS", "many")];
    let (code, _, complaint) = run(&["start"], &environment).await;
    assert_eq!(code, 2);
    for key in [
        "SEMILAYER_RUNNER_ID: ",
        "SEMILAYER_RUNNER_TOKEN: ",
        "SEMILAYER_GATEWAY_URL: ",
        "SEMILAYER_MAX_JOBS: ",
    ] {
        assert!(complaint.contains(key), "{key} in\n{complaint}");
    }
    assert_eq!(run(&["--no-such-flag"], &[]).await.0, 2);
}

#[tokio::test]
async fn bridges_are_listed_with_their_manifests() {
    let (code, listed, _) = run(&["bridges", "--json"], &[]).await;
    assert_eq!(code, 0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let sqlite = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|bridge| bridge["name"] == "@semilayer/bridge-sqlite")
        .unwrap();
    assert_eq!(sqlite["kind"], "native");
    assert_eq!(sqlite["manifest"]["fields"][0]["key"], "path");
    let (code, text, _) = run(&["bridges"], &[]).await;
    assert!(code == 0 && text.contains("@semilayer/bridge-sqlite"), "{text}");
    for field in ["path ", "url ", "readOnly ", "busyTimeoutMs ", "pool.max "] {
        assert!(text.contains(&format!("\n  {field}")), "{field} in\n{text}");
    }
}

#[tokio::test]
async fn a_taken_health_port_says_how_to_have_another() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let environment = [
        ("SEMILAYER_RUNNER_ID", "r1"),
        ("SEMILAYER_RUNNER_TOKEN", TOKEN),
        ("SEMILAYER_GATEWAY_URL", "ws://127.0.0.1:1"),
        ("SEMILAYER_HEALTH_PORT", &port),
    ];
    let (code, _, complaint) = run(&["start"], &environment).await;
    assert_eq!(code, 2);
    let expected = format!("cannot listen on 127.0.0.1:{port}");
    assert!(complaint.contains(&expected) && complaint.contains("--health-port"), "{complaint}");
}

#[tokio::test]
async fn the_log_of_a_start_has_the_health_port_as_an_address() {
    let gateway = Gateway::bind().await;
    let health = free_port();
    let port = health.port().to_string();
    let mut daemon = Daemon::start(&url(&gateway), &[("SEMILAYER_HEALTH_PORT", &port)]);
    assert_eq!(daemon.logged("runner started").await["health"], health.to_string());
}

#[tokio::test]
async fn completions_are_printed_for_a_shell() {
    let (code, script, _) = run(&["completions", "bash"], &[]).await;
    assert!(code == 0 && script.contains("test-source"), "{script}");
}

#[tokio::test]
async fn a_running_daemon_serves_jobs_answers_probes_and_stops_cleanly() {
    let (_folder, path) = database();
    let (gateway, health) = (Gateway::bind().await, free_port());
    let port = health.port().to_string();
    let daemon = Daemon::start(
        &url(&gateway),
        &[("SEMILAYER_HEALTH_PORT", &port), ("SEMILAYER_SOURCE_SHOP_PATH", path.to_str().unwrap())],
    );
    let mut socket = gateway.accept().await;
    assert_eq!(socket.authorization, format!("Bearer {TOKEN}"));
    assert_eq!(socket.frame().await["runnerId"], "r1");
    let probe = [("SEMILAYER_HEALTH_PORT", port.as_str())];
    assert_eq!(run(&["probe", "--live"], &probe).await.0, 0);
    let (code, _, complaint) = run(&["probe", "--ready"], &probe).await;
    assert!(code == 1 && complaint.contains("connecting"), "{complaint}");

    socket.acknowledge(json!([sqlite("shop")]), &["drain/1"]).await;
    socket.heartbeat().await;
    assert_eq!(run(&["probe", "--ready"], &probe).await.0, 0);
    let mut query = job("1", "query", "items", json!({}));
    query["params"]["source"] = json!("shop");
    socket.send(query).await;
    let frames = socket.answer("1").await;
    assert_eq!(frames[0]["rows"], json!([{"id": 1, "name": "tea"}]), "{frames:?}");

    // Like a probe it needs neither id nor token.
    let (code, status, _) = run(&["status"], &probe).await;
    assert!(code == 0 && status.contains("runner    r1\n"), "{status}");
    assert!(status.contains("link      connected\njobs      0 of at most 64\n"), "{status}");
    assert!(status.contains("sources   1\n  shop: open") && !status.contains(TOKEN), "{status}");

    daemon.signal("-TERM");
    assert_eq!(socket.frame().await["type"], "draining");
    assert_eq!(socket.end().await.0, 1001);
    assert_eq!(daemon.exit().await, 0);
    assert_eq!(run(&["probe", "--live"], &probe).await.0, 1);
}

#[tokio::test]
async fn a_stranger_on_the_health_port_cannot_write_to_the_terminal_what_it_likes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let stranger = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        let answer = "HTTP/1.0 503 Busy\r\n\r\nno\u{1b}]0;owned\u{7}\u{202e}\nnot yet";
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let environment = [("SEMILAYER_HEALTH_PORT", port.as_str())];
    let ((), (code, _, complaint)) = tokio::join!(stranger, run(&["probe", "--ready"], &environment));
    assert_eq!((code, complaint.as_str()), (1, "no?]0;owned??\nnot yet\n"));
}

#[tokio::test]
async fn a_hangup_reads_the_settings_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runner.toml");
    std::fs::write(&file, "max_jobs = 5\n").unwrap();
    let gateway = Gateway::bind().await;
    let mut daemon = Daemon::start(&url(&gateway), &[("SEMILAYER_CONFIG", file.to_str().unwrap())]);
    let mut socket = gateway.greet(json!([]), &["stats/1"]).await;
    assert_eq!(socket.heartbeat().await["stats"]["maxJobs"], 5);
    std::fs::write(&file, "max_jobs = 6\n").unwrap();
    daemon.signal("-HUP");
    daemon.logged("settings read again").await;
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.heartbeat().await["stats"]["maxJobs"], 6);

    std::fs::write(&file, "max_jobs = 0\n").unwrap();
    daemon.signal("-HUP");
    let kept = daemon.logged("the settings are kept as they were").await;
    assert_eq!(kept["setting"], "SEMILAYER_MAX_JOBS");
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.heartbeat().await["stats"]["maxJobs"], 6);
}

#[tokio::test]
async fn refused_credentials_exit_with_3_and_a_refused_version_with_4() {
    for (status, expected) in [("401 Unauthorized", 3), ("403 Forbidden", 3), ("426 Upgrade Required", 4)] {
        let gateway = Gateway::bind().await;
        let mut daemon = Daemon::start(&url(&gateway), &[("SEMILAYER_EXIT_ON_AUTH_FAILURE", "true")]);
        gateway.refuse(status).await;
        let line = daemon.logged("the gateway refuses this runner").await;
        assert!(line["advice"].is_string(), "{line}");
        assert_eq!(daemon.exit().await, expected);
    }
}

mod doctor {
    use super::*;

    async fn doctor(more: &[&str], environment: &[(&str, &str)]) -> (i32, Vec<Value>) {
        let arguments: Vec<_> = ["doctor", "--json"].iter().chain(more).copied().collect();
        let settings = [("SEMILAYER_RUNNER_ID", "r1"), ("SEMILAYER_RUNNER_TOKEN", TOKEN)];
        let environment: Vec<_> = settings.iter().chain(environment).copied().collect();
        let (code, report, complaint) = run(&arguments, &environment).await;
        assert!(!report.contains(TOKEN) && !complaint.contains(TOKEN));
        let report: Value = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}{complaint}"));
        assert_eq!(report["ok"], code == 0);
        (code, report["checks"].as_array().unwrap().clone())
    }

    fn check<'c>(checks: &'c [Value], name: &str) -> &'c Value {
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {checks:?}"))
    }

    fn status(checks: &[Value], name: &str) -> String {
        check(checks, name)["status"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn everything_right_is_passed_and_the_sources_are_really_opened() {
        let (_folder, path) = database();
        let gateway = Gateway::bind().await;
        let gateway_url = url(&gateway);
        let environment = [
            ("SEMILAYER_GATEWAY_URL", gateway_url.as_str()),
            ("SEMILAYER_SOURCE_SHOP_PATH", path.to_str().unwrap()),
            ("SEMILAYER_SOURCE_GONE_PATH", "/nonexistent/secret-folder/gone.db"),
        ];
        let playing = async {
            // The first connection is the look at the network alone.
            drop(gateway.tcp().await);
            let mut socket = gateway.accept().await;
            assert_eq!(socket.authorization, format!("Bearer {TOKEN}"));
            assert_eq!(socket.frame().await["maxJobs"], 0);
            socket.acknowledge(json!([sqlite("shop"), sqlite("gone"), sqlite("unset")]), &["drain/1"]).await;
            assert_eq!(socket.frame().await["type"], "draining");
        };
        let ((code, checks), ()) = tokio::join!(doctor(&[], &environment), playing);
        for name in ["configuration", "dns", "tcp", "proxy", "tls", "token", "source shop"] {
            assert_eq!(status(&checks, name), "passed", "{checks:?}");
        }
        // One that cannot be opened, and one without settings, fail the whole.
        assert_eq!(code, 1);
        let gone = check(&checks, "source gone");
        assert_eq!(gone["status"], "failed");
        assert!(!gone.to_string().contains("secret-folder"), "{gone}");
        assert!(gone["detail"].as_str().unwrap().contains("there is no file at its path"), "{gone}");
        assert!(gone["advice"].as_str().unwrap().starts_with("check SEMILAYER_SOURCE_GONE_PATH"), "{gone}");
        let unset = check(&checks, "source unset");
        assert!(unset["detail"].as_str().unwrap().contains("SEMILAYER_SOURCE_UNSET_PATH"), "{unset}");
        assert!(unset["advice"].as_str().unwrap().contains("SEMILAYER_SOURCE_UNSET_…_FILE"), "{unset}");
    }

    #[tokio::test]
    async fn a_misspelt_variable_and_a_bridge_that_is_not_here_are_told_with_what_to_do() {
        let gateway = Gateway::bind().await;
        let gateway_url = url(&gateway);
        let environment = [
            ("SEMILAYER_GATEWAY_URL", gateway_url.as_str()),
            ("SEMILAYER_SOURCE_ODERS_PATH", "/orders.db"),
            ("SEMILAYER_SOURCE_WAREHOUSE_PATH", "/w.db"),
            ("SEMILAYER_EXEC_SANDBOX_IMGES", "python:*"),
            ("SEMILAYER_EXEC_SANDBOX_IMAGE", "alpine:3.19"),
        ];
        let mut foreign = sqlite("ledger");
        foreign["bridge"] = json!("@acme/ledger");
        let playing = async {
            drop(gateway.tcp().await);
            gateway.greet(json!([sqlite("orders"), foreign]), &[]).await
        };
        let ((code, checks), _socket) = tokio::join!(doctor(&[], &environment), playing);
        assert_eq!(code, 1);
        let warned = |text: &str| {
            let fits = |check: &&Value| {
                check["status"] == "warning" && check["detail"].as_str().unwrap().contains(text)
            };
            assert!(checks.iter().any(|check| fits(&check)), "{text} in {checks:?}");
        };
        warned(
            "SEMILAYER_SOURCE_ODERS_PATH belongs to no assigned source; for source orders it must be SEMILAYER_SOURCE_ORDERS_PATH",
        );
        warned("SEMILAYER_SOURCE_WAREHOUSE_PATH belongs to no source that is assigned to this runner");
        warned("SEMILAYER_EXEC_SANDBOX_IMGES: is not a setting; did you mean SEMILAYER_EXEC_SANDBOX_IMAGES?");
        warned("SEMILAYER_EXEC_SANDBOX_IMAGE has no effect while SEMILAYER_EXEC is off");
        let ledger = check(&checks, "source ledger");
        assert!(ledger["advice"].as_str().unwrap().contains("a runner that has its bridge"), "{ledger}");
        let token = check(&checks, "token");
        assert!(token["detail"].as_str().unwrap().ends_with("2 sources are assigned"), "{token}");
    }

    #[tokio::test]
    async fn the_sources_are_counted_as_people_do() {
        for (sources, says) in [
            (json!([sqlite("shop")]), "1 source is assigned"),
            (json!([]), "no source is assigned yet (semilayer-gateway assign)"),
        ] {
            let gateway = Gateway::bind().await;
            let gateway_url = url(&gateway);
            let playing = async {
                drop(gateway.tcp().await);
                gateway.greet(sources, &[]).await
            };
            let environment = [("SEMILAYER_GATEWAY_URL", gateway_url.as_str())];
            let ((_, checks), _socket) = tokio::join!(doctor(&[], &environment), playing);
            let token = check(&checks, "token")["detail"].as_str().unwrap();
            assert!(token.ends_with(says), "{token}");
        }
    }

    #[tokio::test]
    async fn a_refused_token_fails_with_advice() {
        let gateway = Gateway::bind().await;
        let gateway_url = url(&gateway);
        let environment = [("SEMILAYER_GATEWAY_URL", gateway_url.as_str())];
        let playing = async {
            drop(gateway.tcp().await);
            gateway.refuse("401 Unauthorized").await;
        };
        let ((code, checks), ()) = tokio::join!(doctor(&[], &environment), playing);
        assert_eq!(code, 1);
        let token = check(&checks, "token");
        assert_eq!(token["status"], "failed");
        assert!(token["advice"].as_str().unwrap().contains("SEMILAYER_RUNNER_TOKEN"), "{token}");
        assert_eq!(status(&checks, "sources"), "skipped");
    }

    #[tokio::test]
    async fn an_id_that_the_token_was_not_made_for_fails_with_both_that_it_may_be() {
        let gateway = Gateway::bind().await;
        let gateway_url = url(&gateway);
        let environment = [("SEMILAYER_GATEWAY_URL", gateway_url.as_str())];
        let playing = async {
            drop(gateway.tcp().await);
            let mut socket = gateway.accept().await;
            assert_eq!(socket.frame().await["runnerId"], "r1");
            socket.close(4401, "runner mismatch").await;
        };
        let ((code, checks), ()) = tokio::join!(doctor(&[], &environment), playing);
        assert_eq!(code, 1);
        let token = check(&checks, "token");
        let expected = "the gateway refuses this runner's id and token: revoked, or the id is not the one that the token was \
                        made for";
        assert_eq!(token["detail"], expected);
        assert!(token["advice"].as_str().unwrap().starts_with("check SEMILAYER_RUNNER_ID; "), "{token}");
    }

    #[tokio::test]
    async fn a_closed_port_and_an_unknown_name_fail_at_their_stage() {
        let closed = free_port();
        let (code, checks) = doctor(&[], &[("SEMILAYER_GATEWAY_URL", &format!("ws://{closed}"))]).await;
        assert_eq!((code, status(&checks, "dns").as_str()), (1, "passed"));
        assert_eq!(status(&checks, "tcp"), "failed");
        let advice = check(&checks, "tcp")["advice"].as_str().unwrap();
        assert!(advice.starts_with(&format!("nothing listens on {closed}")), "{advice}");
        assert_eq!(status(&checks, "token"), "skipped");

        let (code, checks) = doctor(&[], &[("SEMILAYER_GATEWAY_URL", "wss://no-such-host.invalid")]).await;
        assert_eq!((code, status(&checks, "dns").as_str()), (1, "failed"));
        assert_eq!(status(&checks, "tcp"), "skipped");
    }

    #[tokio::test]
    async fn an_unknown_certificate_authority_is_named_and_no_token_is_sent() {
        let listener = TlsListener::bind().await;
        let gateway_url = format!("wss://localhost:{}", listener.port);
        let environment = [("SEMILAYER_GATEWAY_URL", gateway_url.as_str())];
        let ((code, checks), heard) = tokio::join!(doctor(&[], &environment), listener.hear());
        assert_eq!(code, 1);
        let tls = check(&checks, "tls");
        assert_eq!(tls["status"], "failed");
        assert!(tls["detail"].as_str().unwrap().contains("Test Authority"), "{tls}");
        assert!(tls["advice"].as_str().unwrap().contains("SEMILAYER_CA_FILE"), "{tls}");
        assert_eq!(heard, "");
    }

    #[tokio::test]
    async fn a_certificate_authority_from_the_settings_is_trusted_and_named() {
        let listener = TlsListener::bind().await;
        let gateway_url = format!("wss://localhost:{}", listener.port);
        let authority = listener.authority.to_str().unwrap().to_owned();
        let environment = [("SEMILAYER_GATEWAY_URL", gateway_url.as_str())];
        let flags = ["--ca-file", authority.as_str()];
        let ((_, checks), heard) = tokio::join!(doctor(&flags, &environment), async {
            let first = listener.hear().await;
            first + &listener.hear().await
        });
        let tls = check(&checks, "tls");
        assert_eq!(tls["status"], "passed");
        assert!(tls["detail"].as_str().unwrap().contains("Test Authority"), "{tls}");
        // Only after that did the token leave.
        assert!(heard.contains(&format!("authorization: Bearer {TOKEN}")), "{heard}");
    }

    #[tokio::test]
    async fn wrong_settings_exit_with_2() {
        let (code, checks) = doctor(&[], &[("SEMILAYER_MAX_JOBS", "many")]).await;
        assert_eq!(code, 2);
        assert!(checks[0]["detail"].as_str().unwrap().starts_with("SEMILAYER_MAX_JOBS: "), "{checks:?}");
    }

    /// A TLS server with an authority of its own that closes after the first words of its client.
    struct TlsListener {
        listener: tokio::net::TcpListener,
        config: std::sync::Arc<tokio_rustls::rustls::ServerConfig>,
        port: u16,
        authority: PathBuf,
        _folder: TempDir,
    }

    impl TlsListener {
        async fn bind() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let authority = folder.path().join("authority.pem");
            let config = certificates(folder.path(), &authority);
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            Self { listener, config, port, authority, _folder: folder }
        }

        /// What the next client says inside TLS, in lower-case header names.
        async fn hear(&self) -> String {
            let (stream, _) = timeout(LIMIT, self.listener.accept()).await.unwrap().unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(self.config.clone());
            let Ok(mut stream) = acceptor.accept(stream).await else { return String::new() };
            let mut heard = vec![0; 4_096];
            let length = stream.read(&mut heard).await.unwrap_or(0);
            String::from_utf8_lossy(&heard[..length]).replace("Authorization", "authorization")
        }
    }

    fn certificates(folder: &Path, authority: &Path) -> std::sync::Arc<tokio_rustls::rustls::ServerConfig> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test Authority");
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(authority, certificate.pem()).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&leaf_key, &issuer)
            .unwrap();
        let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        std::fs::write(&chain, leaf.pem()).unwrap();
        std::fs::write(&key, leaf_key.serialize_pem()).unwrap();
        runtime::tls::server_config(&chain, &key).unwrap()
    }
}

mod test_source {
    use super::*;

    #[tokio::test]
    async fn a_source_is_tested_without_a_gateway_when_its_bridge_is_named() {
        let (_folder, path) = database();
        let environment = [("SEMILAYER_SOURCE_SHOP_PATH", path.to_str().unwrap())];
        let (code, report, _) = run(&["test-source", "shop", "--bridge", "sqlite"], &environment).await;
        assert!(code == 0 && report.starts_with("ok    source shop"), "{report}");
        let (code, report, _) = run(&["test-source", "other", "--bridge", "sqlite"], &environment).await;
        assert!(code == 1 && report.contains("SEMILAYER_SOURCE_OTHER_PATH"), "{report}");
    }

    #[tokio::test]
    async fn the_gateway_is_asked_which_sources_there_are() {
        let (_folder, path) = database();
        let gateway = Gateway::bind().await;
        let gateway_url = url(&gateway);
        let environment = [
            ("SEMILAYER_RUNNER_ID", "r1"),
            ("SEMILAYER_RUNNER_TOKEN", TOKEN),
            ("SEMILAYER_GATEWAY_URL", gateway_url.as_str()),
            ("SEMILAYER_SOURCE_SHOP_PATH", path.to_str().unwrap()),
        ];
        let managed = json!({"id": "m", "name": "managed", "bridge": "sqlite", "credentialsLocation": "managed",
            "config": {"path": "/m.db"}});
        for (name, expected, says) in [
            ("shop", 0, ""),
            ("nobody", 1, "it has shop, unset, managed"),
            ("shpo", 1, "did you mean shop?"),
            ("managed", 1, "semilayer-gateway sources test managed"),
        ] {
            let playing = async {
                drop(gateway.tcp().await);
                gateway.greet(json!([sqlite("shop"), sqlite("unset"), managed]), &[]).await
            };
            let arguments = ["test-source", name];
            let ((code, report, complaint), _socket) = tokio::join!(run(&arguments, &environment), playing);
            assert_eq!(code, expected, "{report}{complaint}");
            assert!(complaint.contains(says), "{complaint}");
        }
    }
}
