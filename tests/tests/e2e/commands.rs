//! The commands of the runner and the gateway as a person types them.

use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use harness::folder::Folder;
use harness::gateway::{ADMIN, Credentials, GATEWAY, Gateway, command, list, listening};
use harness::process::{Process, program, run};
use harness::runner::{RUNNER, Settings};
use harness::sandbox::SANDBOX;
use harness::services::tls;
use harness::sqlite::Sqlite;
use harness::v1::StrictGateway;
use harness::wait::{secs, within};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::foreign_gateway::{local, managed};

const TOKEN: &str = "rk_of-the-commands";

fn credentials() -> Credentials {
    Credentials { id: "runner-1".to_owned(), name: "one".to_owned(), token: TOKEN.to_owned() }
}

#[tokio::test]
async fn a_bad_environment_lists_every_mistake_and_exits_with_2() {
    within(secs(60), async {
        let settings = Settings::new(&credentials(), "ftp://gateway")
            .without("SEMILAYER_RUNNER_ID")
            .with("SEMILAYER_RUNNER_TOKEN", "")
            .with("SEMILAYER_MAX_JOBS", "plenty")
            .with("SEMILAYER_DRAIN_TIMEOUT", "soon")
            .with("SEMILAYER_HEALTH_PORT", "99999")
            .with("SEMILAYER_LOG_FORMAT", "xml");
        for command in ["start", "doctor"] {
            let finished = settings.run(&[command]).await;
            assert_eq!(finished.code, Some(2), "{command}: {}", finished.both());
            for name in [
                "SEMILAYER_RUNNER_ID",
                "SEMILAYER_RUNNER_TOKEN",
                "SEMILAYER_GATEWAY_URL",
                "SEMILAYER_MAX_JOBS",
                "SEMILAYER_DRAIN_TIMEOUT",
                "SEMILAYER_HEALTH_PORT",
                "SEMILAYER_LOG_FORMAT",
            ] {
                assert!(
                    finished.both().contains(name),
                    "{command} does not name {name}: {}",
                    finished.both()
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_gateways_bad_environment_lists_every_mistake_and_exits_with_2_too() {
    within(secs(30), async {
        let folder = Folder::new();
        let mut serve = command(&folder);
        serve.env("SEMILAYER_LISTEN", "0.0.0.0:0").env("SEMILAYER_DATABASE_URL", "oracle:x");
        serve.env("SEMILAYER_ADMIN_TOKEN", "short").env("SEMILAYER_TLS_KEY", "only-a-key").arg("serve");
        let finished = run(GATEWAY, serve, secs(20)).await;
        assert_eq!(finished.code, Some(2), "{}", finished.both());
        for name in ["LISTEN", "DATABASE_URL", "ADMIN_TOKEN", "TLS_CERT"] {
            assert!(finished.stderr.contains(&format!("SEMILAYER_{name}")), "{name}: {}", finished.stderr);
        }
    })
    .await;
}

/// A gateway that speaks TLS with the certificate of the test services, and a runner of it.
async fn secure_gateway(folder: &Folder) -> (Process, SocketAddr, Credentials) {
    let tls = tls();
    let file = |name: &str| tls.folder.join(name);
    let mut serve = command(folder);
    serve.env("SEMILAYER_ADMIN_TOKEN", ADMIN).args(["serve", "--listen", "127.0.0.1:0"]);
    serve.env("SEMILAYER_TLS_CERT", file("server.crt")).env("SEMILAYER_TLS_KEY", file("server.key"));
    let gateway = Process::start("gateway", serve);
    let address = listening(&gateway).await;
    let mut create = command(folder);
    create.env("SEMILAYER_ADMIN_TOKEN", ADMIN).env("SEMILAYER_CA_FILE", &tls.ca);
    create
        .env("SEMILAYER_GATEWAY_API", format!("https://{address}"))
        .args(["runners", "create", "one", "--json"]);
    let made = run(GATEWAY, create, secs(30)).await.json();
    (gateway, address, harness::gateway::credentials(&made))
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_named_and_a_wrong_one_is_told_apart() {
    within(secs(60), async {
        let folder = Folder::new();
        let (_gateway, address, one) = secure_gateway(&folder).await;
        let url = format!("wss://localhost:{}/connect", address.port());
        let trusting =
            |ca: &std::path::Path| Settings::new(&one, &url).with("SEMILAYER_CA_FILE", ca.to_str().unwrap());

        let good = trusting(&tls().ca);
        let report = good.run(&["doctor"]).await.ok();
        assert!(
            report.contains("issuer") || report.contains("issued by"),
            "doctor shows who signed: {report}"
        );
        let runner = good.connect().await;
        assert_eq!(runner.ready().await.0, 200);

        for wrong in [trusting(&tls().other_ca), Settings::new(&one, &url)] {
            let report = wrong.run(&["doctor"]).await;
            assert_eq!(report.code, Some(1), "{}", report.both());
            let tls_line = report.stdout.lines().find(|line| line.contains("tls")).unwrap();
            assert!(tls_line.starts_with("FAIL"), "{}", report.stdout);
            assert!(report.stdout.contains("SEMILAYER_CA_FILE"), "what to do: {}", report.stdout);
            let daemon = wrong.start();
            harness::wait::until("it says why it is not connected", secs(20), async || {
                let Some(ready) = daemon.try_get("/ready").await else { return false };
                ready.status == 503 && ready.text().contains("certificate")
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_learns_the_token_before_the_certificate_is_verified() {
    within(secs(60), async {
        let folder = Folder::new();
        let (_gateway, address, one) = secure_gateway(&folder).await;
        let link = harness::fault::Link::to(address).await;
        let url = format!("wss://localhost:{}/connect", link.address().port());
        let distrusting =
            Settings::new(&one, &url).with("SEMILAYER_CA_FILE", tls().other_ca.to_str().unwrap());
        let runner = distrusting.start();
        harness::wait::until("it has tried", secs(20), async || link.connections() >= 1).await;
        harness::wait::until("it has given up", secs(20), async || {
            runner.metric("runner_connect_attempts_total{result=\"failed\"}").await.unwrap_or(0.0)
                + runner.metric("runner_connect_attempts_total{result=\"unreachable\"}").await.unwrap_or(0.0)
                >= 1.0
        })
        .await;
        // A hello of TLS and an alert are far less than a request with a token.
        let sent = link.sent_up() / link.connections();
        assert!(sent < 700, "{sent} bytes a connection went to a server that was not verified");
    })
    .await;
}

#[tokio::test]
async fn a_gateway_without_tls_must_be_on_this_machine() {
    within(secs(30), async {
        let settings = Settings::new(&credentials(), "ws://192.0.2.1/connect");
        let finished = settings.run(&["start"]).await;
        assert_eq!(finished.code, Some(2));
        assert!(finished.stderr.contains("--insecure-gateway"), "{}", finished.stderr);
    })
    .await;
}

#[tokio::test]
async fn bridges_lists_what_the_runner_can_talk_to() {
    within(secs(30), async {
        // It needs neither id nor token.
        let settings = Settings::new(&credentials(), "ws://127.0.0.1:1/connect")
            .without("SEMILAYER_RUNNER_ID")
            .without("SEMILAYER_RUNNER_TOKEN");
        let text = settings.run(&["bridges"]).await.ok();
        let json = settings.run(&["bridges", "--json"]).await.json();
        let listed = json.as_array().or_else(|| json["bridges"].as_array()).unwrap();
        for name in ["@semilayer/bridge-sqlite", "@semilayer/bridge-postgres"] {
            assert!(text.contains(name), "{text}");
            let bridge = listed.iter().find(|bridge| bridge["name"] == name);
            let bridge = bridge.unwrap_or_else(|| panic!("no {name} in {json}"));
            assert!(bridge.to_string().contains("\"fields\""), "{bridge}");
        }
    })
    .await;
}

#[tokio::test]
async fn completions_are_scripts_for_the_shell() {
    within(secs(30), async {
        let settings = Settings::new(&credentials(), "ws://127.0.0.1:1/connect");
        for shell in ["bash", "zsh", "fish"] {
            let script = settings.run(&["completions", shell]).await.ok();
            assert!(script.contains("semilayer-runner") && script.contains("test-source"), "{shell}");
        }
        assert_eq!(settings.run(&["completions", "tcl"]).await.code, Some(2));
    })
    .await;
}

#[tokio::test]
async fn probes_ask_the_running_daemon() {
    within(secs(60), async {
        let mut gateway = StrictGateway::start(TOKEN).await;
        let settings = Settings::new(&credentials(), &gateway.url());
        let mut runner = settings.start();
        let probes = settings.clone().with("SEMILAYER_HEALTH_PORT", &runner.health().port().to_string());
        harness::wait::until("the process lives", secs(20), async || {
            probes.run(&["probe", "--live"]).await.code == Some(0)
        })
        .await;
        assert_eq!(probes.run(&["probe", "--ready"]).await.code, Some(1), "nobody has acknowledged it");
        let _socket = gateway.runner_with(&[]).await;
        runner.connected().await;
        assert_eq!(probes.run(&["probe", "--ready"]).await.code, Some(0));
        runner.process.kill().await;
        assert_eq!(probes.run(&["probe", "--live"]).await.code, Some(1));
    })
    .await;
}

#[tokio::test]
async fn status_shows_what_the_daemon_says_and_nothing_of_this_terminal() {
    within(secs(60), async {
        let mut gateway = StrictGateway::start(TOKEN).await;
        let mut runner =
            Settings::new(&credentials(), &gateway.url()).with("SEMILAYER_MAX_JOBS", "3").start();
        let _socket = gateway.runner_with(&[local("main", "@semilayer/bridge-sqlite")]).await;
        runner.connected().await;
        // Another terminal: it has neither id nor token, and settings that are none of the daemon's.
        let elsewhere = Settings::new(&credentials(), "ftp://elsewhere")
            .without("SEMILAYER_RUNNER_ID")
            .without("SEMILAYER_RUNNER_TOKEN")
            .with("SEMILAYER_EXEC", "full")
            .with("SEMILAYER_MAX_JOBS", "7");
        let address = runner.health();
        let beside = elsewhere.clone().with("SEMILAYER_HEALTH_PORT", &address.port().to_string());
        let said = beside.run(&["status"]).await.ok();
        for line in [
            "runner    runner-1".to_owned(),
            format!("gateway   {}", gateway.url()),
            format!("health    {address}"),
            "link      connected".to_owned(),
            "jobs      0 of at most 3".to_owned(),
            "exec      off".to_owned(),
            "sources   1".to_owned(),
        ] {
            assert!(said.lines().any(|said| said == line), "{line}\n{said}");
        }
        assert!(said.contains("\n  main: "), "{said}");
        assert!(!said.contains(TOKEN), "{said}");

        runner.process.kill().await;
        let gone = beside.run(&["status"]).await;
        assert_eq!((gone.code, gone.stdout.as_str()), (Some(1), ""), "{}", gone.stderr);
        assert!(gone.stderr.contains(&address.to_string()), "{}", gone.stderr);
        let off = elsewhere.with("SEMILAYER_HEALTH_PORT", "0").run(&["status"]).await;
        assert_eq!(off.code, Some(2), "{}", off.both());
    })
    .await;
}

/// Runs a command whose reader has gone, as that of `… | head -1` does; its exit code, and what it complained of.
async fn unread(mut command: Command) -> (Option<i32>, String) {
    // A socket that is shut down, since the end of a pipe may live on in a program that another test starts.
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.shutdown(Shutdown::Both).unwrap();
    command.stdin(Stdio::null()).stdout(OwnedFd::from(theirs)).stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.spawn().unwrap().wait_with_output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_failure_to_be_told_of() {
    within(secs(120), async {
        let gateway = Gateway::start().await;
        let folder = Folder::new();
        for (name, arguments) in [
            (RUNNER, &["bridges"][..]),
            (RUNNER, &["bridges", "--json"]),
            (RUNNER, &["completions", "bash"]),
            (SANDBOX, &["export-openapi"]),
            (GATEWAY, &["export-openapi"]),
            (GATEWAY, &["completions", "bash"]),
            (GATEWAY, &["runners", "create", "one"]),
            (GATEWAY, &["runners", "list"]),
            (GATEWAY, &["keys", "list", "--json"]),
            (GATEWAY, &["audit"]),
            (GATEWAY, &["demo", "--once"]),
        ] {
            let mut command = program(name);
            command.env("HOME", folder.path()).current_dir(folder.path()).args(arguments);
            command.env("SEMILAYER_GATEWAY_API", format!("http://{}", gateway.address()));
            command.env("SEMILAYER_ADMIN_TOKEN", ADMIN);
            assert_eq!(unread(command).await, (Some(141), String::new()), "{name} {arguments:?}");
        }
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = program(RUNNER);
        let output = command.arg("bridges").stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn();
        let output = output.unwrap().wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(1), "a full disk is one");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("cannot write: "), "{output:?}");
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page_from_a_terminal() {
    within(secs(60), async {
        let gateway = Gateway::start().await;
        for name in ["one", "two", "three"] {
            gateway.cli(&["runners", "create", name]).await.ok();
        }
        gateway.cli(&["keys", "create", "shop"]).await.ok();
        let arguments = ["audit", "--action", "runner.create", "--actor", "admin", "--limit", "2"];
        let first = gateway.cli(&arguments).await;
        assert_eq!(first.code, Some(0), "{}", first.stderr);
        let cursor = first
            .stderr
            .strip_prefix("there are more: --cursor ")
            .unwrap_or_else(|| panic!("where does it go on? {}", first.both()));
        let first = lines_of(&first.stdout);
        assert_eq!(first.len(), 3, "{first:?}");
        assert!(first[0].starts_with("TIME") && first[1].contains("runner.create  ok"), "{first:?}");
        let next = gateway.cli(&[&arguments[..], &["--cursor", cursor.trim()]].concat()).await;
        assert_eq!((next.code, next.stderr.as_str()), (Some(0), ""));
        let next = lines_of(&next.stdout);
        assert_eq!(next.len(), 2, "{next:?}");
        assert!(!first.contains(&next[1]), "{next:?}");
        let json = gateway.cli(&["audit", "--since", "2020-01-01T00:00:00Z", "--json"]).await.json();
        let actions: Vec<_> = list(&json, "entries").iter().map(|row| row["action"].clone()).collect();
        assert_eq!(actions[..2], ["key.create", "runner.create"]);
        let none = gateway.cli(&["audit", "--until", "2020-01-01T00:00:00Z"]).await.ok();
        assert_eq!(none.lines().count(), 1, "{none}");
        let wrong = gateway.cli(&["audit", "--since", "yesterday"]).await;
        assert_eq!(wrong.code, Some(1), "{}", wrong.both());
        assert!(wrong.stderr.contains("a time such as"), "{}", wrong.stderr);
    })
    .await;
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn doctor_is_content_with_a_good_setup() {
    within(secs(60), async {
        let people = Sqlite::people();
        let mut gateway = StrictGateway::start(TOKEN).await;
        let settings =
            Settings::new(&credentials(), &gateway.url()).with("SEMILAYER_SOURCE_MAIN_PATH", people.path());
        let doctor = tokio::spawn(async move { settings.run(&["doctor", "--json"]).await });
        let _socket = gateway.runner_with(&[local("main", "@semilayer/bridge-sqlite")]).await;
        let finished = doctor.await.unwrap();
        assert_eq!(finished.code, Some(0), "{}", finished.both());
        let report: Value = serde_json::from_str(&finished.stdout).unwrap();
        let text = report.to_string();
        for word in ["token", "main"] {
            assert!(text.contains(word), "{text}");
        }
        assert!(!text.contains(people.path()), "a path is a secret: {text}");
    })
    .await;
}

#[tokio::test]
async fn doctor_names_what_is_wrong_and_what_to_do() {
    within(secs(90), async {
        let mut gateway = StrictGateway::start(TOKEN).await;
        let good = Settings::new(&credentials(), &gateway.url());

        let refused = good.clone().with("SEMILAYER_RUNNER_TOKEN", "rk_wrong").run(&["doctor"]).await;
        assert_eq!(refused.code, Some(1), "{}", refused.both());
        assert!(
            refused.stdout.contains("401") && refused.stdout.contains("SEMILAYER_RUNNER_TOKEN"),
            "{}",
            refused.stdout
        );

        let closed = format!("ws://127.0.0.1:{}/connect", harness::process::free_port());
        let unreachable = good.clone().with("SEMILAYER_GATEWAY_URL", &closed).run(&["doctor"]).await;
        assert_eq!(unreachable.code, Some(1));
        assert!(unreachable.stdout.to_lowercase().contains("refused"), "{}", unreachable.stdout);

        let nowhere = good.clone().with("SEMILAYER_GATEWAY_URL", "wss://gateway.invalid/connect");
        let nowhere = nowhere.run(&["doctor"]).await;
        assert_eq!(nowhere.code, Some(1));
        assert!(nowhere.stdout.contains("cannot resolve"), "{}", nowhere.stdout);

        let missing = good.with("SEMILAYER_SOURCE_MAIN_PATH", "/nonexistent/file.db");
        let doctor = tokio::spawn(async move { missing.run(&["doctor"]).await });
        let _socket = gateway.runner_with(&[local("main", "@semilayer/bridge-sqlite")]).await;
        let finished = doctor.await.unwrap();
        assert_eq!(finished.code, Some(1), "{}", finished.both());
        assert!(finished.stdout.contains("main"), "{}", finished.stdout);
    })
    .await;
}

#[tokio::test]
async fn test_source_opens_a_source_without_any_gateway() {
    within(secs(60), async {
        let people = Sqlite::people();
        let settings = Settings::new(&credentials(), "ws://127.0.0.1:1/connect")
            .with("SEMILAYER_SOURCE_MAIN_PATH", people.path());
        settings.run(&["test-source", "main", "--bridge", "sqlite"]).await.ok();
        let wrong = settings.clone().with("SEMILAYER_SOURCE_MAIN_PATH", "/nonexistent/file.db");
        let wrong = wrong.run(&["test-source", "main", "--bridge", "sqlite"]).await;
        assert_eq!(wrong.code, Some(1), "{}", wrong.both());
        let unknown = settings.run(&["test-source", "other", "--bridge", "sqlite"]).await;
        assert_eq!(unknown.code, Some(1), "{}", unknown.both());
        // No gateway has anything to do with it: the plugin is not here.
        let missing = settings.run(&["test-source", "main", "--bridge", "@acme/bridge-things"]).await;
        assert_eq!(missing.code, Some(1), "{}", missing.both());
        assert!(missing.stdout.contains("--plugin-dir"), "{}", missing.stdout);
        assert!(!missing.stdout.contains("gateway"), "{}", missing.stdout);
    })
    .await;
}

#[tokio::test]
async fn a_runner_whose_token_is_refused_says_so_and_can_be_told_to_leave() {
    within(secs(60), async {
        let gateway = StrictGateway::start(TOKEN).await;
        let settings =
            Settings::new(&credentials(), &gateway.url()).with("SEMILAYER_RUNNER_TOKEN", "rk_wrong");
        let runner = settings.start();
        let ready = harness::wait::eventually("the refusal is told", secs(20), async || {
            let (status, ready) = match runner.try_get("/ready").await {
                Some(answer) => (answer.status, answer.json()),
                None => return None,
            };
            (status == 503 && ready.to_string().contains("401")).then_some(ready)
        })
        .await;
        assert_eq!(ready["connected"], false);
        let mut leaving = settings.argument("--exit-on-auth-failure").start();
        assert_eq!(leaving.process.wait(secs(20)).await.code(), Some(3));
    })
    .await;
}

#[tokio::test]
async fn a_config_for_a_runner_local_source_is_ignored_and_reported() {
    within(secs(60), async {
        let (own, planted) = (Sqlite::people(), Sqlite::numbers(3));
        let mut gateway = StrictGateway::start(TOKEN).await;
        let settings =
            Settings::new(&credentials(), &gateway.url()).with("SEMILAYER_SOURCE_MAIN_PATH", own.path());
        let mut runner = settings.start();
        let mut socket = gateway.runner().await;
        let mut source = managed("main", "@semilayer/bridge-sqlite", &planted.config());
        source["credentialsLocation"] = "runner-local".into();
        let ack = json!({"type": "hello-ack", "serverVersion": "1", "assignedSources": [source]});
        socket.send_text(ack.to_string());
        runner.connected().await;
        let count = socket.ask("main", "count", "people", json!({})).await.ok();
        assert_eq!(count.total, Some(7));
        let events = runner.metric("runner_security_events_total{event=\"config_for_local_source\"}").await;
        assert!(events.unwrap() >= 1.0);
    })
    .await;
}
