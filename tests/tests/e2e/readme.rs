//! The way of the README: a gateway, a runner, a source, a lens, a key, a query.

use harness::folder::Folder;
use harness::gateway::{GATEWAY, Gateway, command, credentials, listening};
use harness::postgres::{Database, events_lens};
use harness::process::{Process, run};
use harness::runner::Settings;
use harness::sqlite::{Sqlite, people_lens, people_rows};
use harness::wait::{eventually, secs, until, within};
use serde_json::{Value, json};

#[tokio::test]
async fn rows_travel_from_sqlite_to_an_application_in_both_credential_modes() {
    within(secs(90), async {
        let people = Sqlite::people();
        let gateway = Gateway::start().await;
        let mut managed = people.config();
        managed["bridge"] = "sqlite".into();
        let sources =
            json!({"here": managed, "there": {"bridge": "sqlite", "credentialsLocation": "runner-local"}});
        let lenses = json!({"people": people_lens("here"), "locals": people_lens("there")});
        gateway.push(sources, lenses).await;
        let runner = gateway.create_runner("one").await;
        for source in ["here", "there"] {
            gateway.assign(source, &runner.id).await;
        }
        let settings = gateway.settings(&runner).with("SEMILAYER_SOURCE_THERE_PATH", people.path());
        let _daemon = settings.connect().await;
        let app = gateway.secret_app().await;
        for lens in ["people", "locals"] {
            assert_eq!(app.rows(lens, &json!({"orderBy": {"field": "id"}})).await, people_rows());
            assert_eq!(
                app.lines(lens, &json!({"orderBy": {"field": "id"}})).await.lines().await,
                people_rows()
            );
            assert_eq!(app.count(lens, &json!({"where": {"age": {"$lt": 50}}})).await, 2);
            let pages = app.walk(lens, &json!({"orderBy": {"field": "city"}, "limit": 3})).await;
            assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
            let answer = app.query(lens, &json!({"limit": 2, "total": true})).await.ok();
            assert_eq!(answer["meta"]["lens"], lens);
            assert_eq!((&answer["meta"]["count"], &answer["meta"]["total"]), (&json!(2), &json!(7)));
            assert!(answer["meta"]["durationMs"].is_u64() && answer["meta"]["nextCursor"].is_string());
        }
    })
    .await;
}

#[tokio::test]
async fn rows_travel_from_postgres_to_an_application_in_both_credential_modes() {
    within(secs(90), async {
        let database = Database::create().await;
        database.seed_events(500).await;
        let gateway = Gateway::start().await;
        let mut managed = database.config();
        managed["bridge"] = "postgres".into();
        let sources = json!({"here": managed, "there": {"bridge": "postgres", "credentialsLocation": "runner-local"}});
        let lenses = json!({"events": events_lens("here"), "locals": events_lens("there")});
        gateway.push(sources, lenses).await;
        let runner = gateway.create_runner("one").await;
        for source in ["here", "there"] {
            gateway.assign(source, &runner.id).await;
        }
        let settings = plant(gateway.settings(&runner), "THERE", &database.config());
        let _daemon = settings.connect().await;
        let app = gateway.secret_app().await;
        for lens in ["events", "locals"] {
            let rows = app.rows(lens, &json!({"orderBy": {"field": "id"}, "limit": 2})).await;
            let payload = "p".repeat(60);
            assert_eq!(rows, [
                json!({"id": "1", "kind": "kind 1", "at": "2024-01-01T00:01:00.000Z", "payload": payload}),
                json!({"id": "2", "kind": "kind 2", "at": "2024-01-01T00:02:00.000Z", "payload": payload}),
            ]);
            assert_eq!(app.count(lens, &json!({"where": {"kind": null}})).await, 100);
            assert_eq!(app.lines(lens, &json!({"limit": 1000})).await.lines().await.len(), 500);
        }
    })
    .await;
}

/// Settings of a source as variables of a runner.
pub(crate) fn plant(settings: Settings, name: &str, config: &Value) -> Settings {
    config.as_object().unwrap().iter().fold(settings, |settings, (field, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        settings.with(&format!("SEMILAYER_SOURCE_{name}_{}", field.to_uppercase()), &text)
    })
}

#[tokio::test]
async fn the_first_start_makes_an_operators_token_and_every_step_has_a_command() {
    within(secs(120), async {
        let people = Sqlite::people();
        let folder = Folder::new();
        let mut serve = command(&folder);
        serve.args(["serve", "--listen", "127.0.0.1:0"]);
        let gateway = Process::start("gateway", serve);
        let address = listening(&gateway).await;
        let admin = gateway
            .stdout
            .find("the operator's token", secs(20), |line| {
                line.split_whitespace().find(|word| word.starts_with("ak_")).map(str::to_owned)
            })
            .await;
        let url = format!("http://{address}");
        let cli = async |arguments: &[&str]| {
            let mut command = command(&folder);
            command.env("SEMILAYER_GATEWAY_API", &url).env("SEMILAYER_ADMIN_TOKEN", &admin).args(arguments);
            run(GATEWAY, command, secs(60)).await
        };

        let runner = credentials(&cli(&["runners", "create", "one", "--json"]).await.json());
        assert!(runner.token.starts_with("rk_"));
        cli(&[
            "sources",
            "create",
            "here",
            "--bridge",
            "sqlite",
            "--set",
            &format!("path={}", people.path()),
        ])
        .await
        .ok();
        cli(&["sources", "create", "there", "--bridge", "sqlite", "--credentials-location", "runner-local"])
            .await
            .ok();
        let config =
            json!({"lenses": {"people": people_lens("here"), "locals": people_lens("there")}}).to_string();
        let config = folder.write("config.json", &config);
        let dry = cli(&["push", &config, "--dry-run"]).await.ok();
        assert!(dry.contains("people"), "{dry}");
        cli(&["push", &config]).await.ok();
        for source in ["here", "there"] {
            cli(&["assign", "one", source]).await.ok();
        }
        let key = cli(&["keys", "create", "app", "--kind", "secret", "--json"]).await.json();
        let key = key["token"].as_str().unwrap().to_owned();

        let settings = Settings::new(&runner, &harness::gateway::runner_url(address));
        let _daemon = settings.with("SEMILAYER_SOURCE_THERE_PATH", people.path()).connect().await;
        let listed = cli(&["runners", "list"]).await.ok();
        assert!(listed.contains("one") && !listed.contains(&runner.token), "{listed}");
        cli(&["sources", "test", "here"]).await.ok();
        cli(&["sources", "test", "there"]).await.ok();
        for lens in ["people", "locals"] {
            let request = harness::http::Request::post(
                format!("/v1/query/{lens}"),
                &json!({"orderBy": {"field": "id"}}),
            );
            assert_eq!(request.bearer(&key).send(address).await.ok()["rows"], json!(people_rows()));
        }
        let keys = cli(&["keys", "list"]).await.ok();
        assert!(keys.contains("app") && !keys.contains(&key), "{keys}");
    })
    .await;
}

#[tokio::test]
async fn assignments_reach_a_connected_runner_at_once() {
    within(secs(60), async {
        let people = Sqlite::people();
        let gateway = Gateway::start().await;
        let mut config = people.config();
        config["bridge"] = "sqlite".into();
        gateway.push(json!({"main": config}), json!({"people": people_lens("main")})).await;
        let (credentials, _runner) = gateway.connect_runner("one", &[]).await;
        let app = gateway.secret_app().await;
        assert_eq!(app.query("people", &json!({})).await.code(503), "no_runners_online");
        gateway.assign("main", &credentials.id).await;
        let answer = app.query("people", &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        until("presence is told", secs(10), async || gateway.is_online(&credentials.id).await).await;
    })
    .await;
}

#[tokio::test]
async fn the_gateway_keeps_no_token_and_no_managed_secret_in_the_clear() {
    within(secs(60), async {
        let gateway = Gateway::start().await;
        let secret = "canary-of-a-managed-password";
        let source = json!({"bridge": "postgres", "host": "localhost", "database": "d", "user": "u", "password": secret});
        gateway.push(json!({"main": source}), json!({})).await;
        let runner = gateway.create_runner("one").await;
        let key = gateway.create_key("secret").await;
        let shown = gateway.admin_get("/api/sources").await.to_string();
        assert!(!shown.contains(secret), "{shown}");
        let files = eventually("the store is written", secs(5), async || {
            let entries = std::fs::read_dir(gateway.folder().path()).unwrap();
            let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
            (!files.is_empty()).then_some(files)
        })
        .await;
        let log = gateway.process.stderr.bytes();
        let texts = files.into_iter().map(|file| std::fs::read(file).unwrap()).chain([log]);
        for text in texts {
            for secret in [secret, &runner.token, &key, harness::gateway::ADMIN] {
                assert!(!text.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is kept");
            }
        }
    })
    .await;
}
